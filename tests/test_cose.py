"""COSE_Sign1: our one form, the forms of other tools, and the published examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger import cbor, cose
from medledger.errors import LimitError, MalformedError, NeedsNewerError, SignatureError, UsageError
from medledger.keys import Identity

ME = Identity.from_seed(bytes(range(32)))
OTHER = Identity.from_seed(bytes(32))
AAD = cbor.encode(["medledger/test/1"])


def foreign(
    protected: bytes,
    unprotected: Any,
    payload: Any = b"payload",
    *,
    tag: int | None = 18,
    signature: Any = None,
    signer: Identity = ME,
) -> bytes:
    """A COSE_Sign1 as another tool might write it, signed over what it holds."""
    if signature is None:
        covered = payload if isinstance(payload, bytes) else b""
        signature = signer.sign(cose.sig_structure(protected, AAD, covered))
    fields = [protected, unprotected, payload, signature]
    return cbor2.dumps(fields if tag is None else cbor2.CBORTag(tag, fields))


def protected(headers: Any) -> bytes:
    """A serialised header map."""
    return cbor2.dumps(headers)


class TestOurForm:
    @given(st.binary(max_size=70_000 // 2), st.binary(max_size=300))
    def test_round_trip(self, payload: bytes, aad: bytes) -> None:
        """What is signed verifies strictly and gives back its payload."""
        message = cose.sign1(payload, ME, external_aad=aad)
        assert cose.verify1(message, ME.public_key, external_aad=aad, strict=True) == payload

    @given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
    def test_sig_structure_is_the_array_of_the_specification(self, header: bytes, aad: bytes, payload: bytes) -> None:
        """Concatenation gives exactly the CBOR array ["Signature1", protected, external_aad, payload]."""
        assert cose.sig_structure(header, aad, payload) == cbor2.dumps(["Signature1", header, aad, payload])

    def test_the_bytes(self) -> None:
        """Tag 18, `{1: -19}`, an empty map, the payload, the signature: each in its shortest form."""
        message = cose.sign1(b"abc", ME, external_aad=AAD)
        assert message[:-64] == bytes.fromhex("d28443a10132a0436162635840")
        assert message[-64:] == ME.sign(cose.sig_structure(bytes.fromhex("a10132"), AAD, b"abc"))

    def test_every_changed_byte_is_noticed(self) -> None:
        """No bit of a message can change: it is malformed, of an unknown algorithm, or its signature fails."""
        message = cose.sign1(b"payload", ME, external_aad=AAD)
        for at in range(len(message)):
            for bit in range(8):
                damaged = bytearray(message)
                damaged[at] ^= 1 << bit
                with pytest.raises((MalformedError, NeedsNewerError, SignatureError)):
                    cose.verify1(bytes(damaged), ME.public_key, external_aad=AAD, strict=True)

    def test_another_key_other_external_data(self) -> None:
        """Neither verifies."""
        message = cose.sign1(b"payload", ME, external_aad=AAD)
        with pytest.raises(SignatureError):
            cose.verify1(message, OTHER.public_key, external_aad=AAD)
        with pytest.raises(SignatureError):
            cose.verify1(message, ME.public_key, external_aad=b"")

    def test_only_bytes_are_signed(self) -> None:
        """Text and views are the caller's mistake, and so is a signer that returns something else."""
        for payload in ("text", memoryview(b"view"), None):
            with pytest.raises(UsageError):
                cose.sign1(payload, ME, external_aad=AAD)  # type: ignore[arg-type]
        with pytest.raises(UsageError):
            cose.sign1(b"", ME, external_aad=None)  # type: ignore[arg-type]

    def test_a_broken_signer(self) -> None:
        """A device that returns a short signature is caught when signing, not by the first reader."""

        class Broken:
            public_key = ME.public_key

            def sign(self, message: bytes) -> bytes:
                return b"short"

        with pytest.raises(UsageError):
            cose.sign1(b"", Broken(), external_aad=AAD)


class TestOtherForms:
    """Accepted when lenient; refused, though validly signed, when strict."""

    @pytest.mark.parametrize(
        "message",
        [
            foreign(protected({1: -8}), {}),
            foreign(protected({1: -19}), {4: b"key id"}),
            foreign(protected({1: -19, 3: 0}), {}),
            foreign(protected({1: -19}), {}, tag=None),
            foreign(bytes.fromhex("a10132"), {}).replace(b"\xd2\x84", b"\xd8\x12\x84", 1),
            foreign(bytes.fromhex("a10132"), {}).replace(b"\xd2\x84", b"\xd2\x98\x04", 1),
            foreign(bytes.fromhex("a10132"), {}).replace(b"\xa0\x47", b"\xb8\x00\x47", 1),
            foreign(bytes.fromhex("a10132"), {}).replace(b"\xa0\x47", b"\xbf\xff\x47", 1),
            foreign(bytes.fromhex("a10132"), {}).replace(b"\x47payload", b"\x58\x07payload", 1),
            foreign(bytes.fromhex("a10132"), {}).replace(b"\x47payload", b"\x5f\x43pay\x44load\xff", 1),
            foreign(bytes.fromhex("bf013812ff"), {}),
            foreign(protected({1: -19}), {99: cbor2.CBORTag(35, "(["), "x": 1.5}),
            foreign(protected({1: -19}), {4: [cbor2.CBORTag(1, 0), {"a": {}}]}),
        ],
        ids=[
            "EdDSA",
            "key id",
            "content type",
            "no tag",
            "long tag",
            "long array",
            "long map",
            "indefinite map",
            "long payload head",
            "payload in chunks",
            "protected header not deterministic",
            "tags and floats in the unprotected header",
            "nested unprotected header",
        ],
    )
    def test_accepted(self, message: bytes) -> None:
        """The signature is checked over the bytes that arrived."""
        assert cose.verify1(message, ME.public_key, external_aad=AAD) == b"payload"
        with pytest.raises(MalformedError):
            cose.verify1(message, ME.public_key, external_aad=AAD, strict=True)
        with pytest.raises(SignatureError):
            cose.verify1(message, OTHER.public_key, external_aad=AAD)


class TestRefusals:
    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"\xd2",
            b"\xd2\x84",
            cbor2.dumps(cbor2.CBORTag(18, [])),
            cbor2.dumps(cbor2.CBORTag(18, {})),
            cbor2.dumps(cbor2.CBORTag(18, cbor2.CBORTag(18, 0))),
            foreign(protected({1: -19}), {}) + b"\x00",
            foreign(protected({1: -19}), {})[:-1],
            foreign(protected({1: -19}), {}, tag=17),
            foreign(protected({1: -19}), {}, tag=98),
            foreign(protected({1: -19}), {}, payload=None),
            foreign(protected({1: -19}), {}, payload="payload"),
            foreign(protected({1: -19}), {}, signature="s" * 64),
            foreign(protected({1: -19}), []),
            foreign(protected({1: -19}), ""),
            foreign(protected([]), {}),
            foreign(protected(""), {}),
            foreign(protected(0), {}),
            foreign(b"\xa1\x01", {}),
            foreign(protected({1: -19}) + b"\x00", {}),
            foreign(bytes.fromhex("a2013201 32".replace(" ", "")), {}),
            foreign(protected({1: -19}), {1: -19}),
            foreign(protected({1: -19}), {1: -7}),
            foreign(protected({1: -19}), {2: [1]}),
            foreign(protected({1: -19, b"x": 0}), {}),
            foreign(protected({1: -19}), {1.5: 0}),
            foreign(b"", {1: -19}),
            foreign(b"\xa0", {1: -19}),
            foreign(b"", {}),
            foreign(protected({1: None}), {}),
            foreign(protected({1: -19.0}), {}),
        ],
    )
    def test_structure(self, message: bytes) -> None:
        """A wrong structure is MalformedError, although the signature would verify."""
        for strict in (False, True):
            with pytest.raises(MalformedError):
                cose.verify1(message, ME.public_key, external_aad=AAD, strict=strict)

    @pytest.mark.parametrize("headers", [{1: -7}, {1: -53}, {1: "Ed25519"}, {1: -19, 2: [99], 99: 0}, {1: -8, 2: [1]}])
    def test_what_newer_software_might_read(self, headers: Any) -> None:
        """Other algorithms and critical parameters say nothing against the message."""
        with pytest.raises(NeedsNewerError):
            cose.verify1(foreign(protected(headers), {}), ME.public_key, external_aad=AAD)

    @pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65), bytes(128)])
    def test_signatures(self, signature: bytes) -> None:
        """Of a wrong length or value."""
        with pytest.raises(SignatureError):
            cose.verify1(foreign(protected({1: -19}), {}, signature=signature), ME.public_key, external_aad=AAD)

    def test_size(self) -> None:
        """A message of more than 64 KiB is refused before it is parsed."""
        with pytest.raises(LimitError):
            cose.verify1(cose.sign1(bytes(65536), ME, external_aad=AAD), ME.public_key, external_aad=AAD)

    @given(st.binary(max_size=80), st.booleans())
    def test_arbitrary_bytes(self, data: bytes, ours: bool) -> None:
        """Nothing but our errors escapes, whatever follows a good start."""
        message = bytes.fromhex("d28443a10132") + data if ours else data
        with pytest.raises((MalformedError, NeedsNewerError, SignatureError)):
            cose.verify1(message, ME.public_key, external_aad=AAD)


class TestPublishedExamples:
    """cose-wg/Examples and gluecose."""

    @staticmethod
    def load(path: Path) -> dict[str, Any]:
        example = json.loads(path.read_bytes())
        assert isinstance(example, dict)
        return example

    @pytest.mark.parametrize("name", ["eddsa-examples/eddsa-sig-01", "countersign1/signed1-01"])
    def test_ed25519(self, name: str, shared_data: Callable[[str], Path]) -> None:
        """Both Ed25519 Sign1 examples verify, our signature equals theirs, and they are not in our strict form."""
        example = self.load(shared_data(f"03-cose/cose-wg/{name}.json"))
        key = example["input"]["sign0"]["key"]
        public_key, message = bytes.fromhex(key["x_hex"]), bytes.fromhex(example["output"]["cbor"])
        signer = Identity.from_seed(bytes.fromhex(key["d_hex"]))
        covered = bytes.fromhex(example["intermediates"]["ToBeSign_hex"])
        assert signer.public_key == public_key
        assert signer.sign(covered) == message[-64:]
        assert cose.sig_structure(bytes.fromhex("a201270300"), b"", b"This is the content.") == covered
        assert cose.verify1(message, public_key, external_aad=b"") == b"This is the content."
        with pytest.raises(MalformedError):
            cose.verify1(message, public_key, external_aad=b"", strict=True)
        with pytest.raises(SignatureError):
            cose.verify1(message[:-1] + bytes((message[-1] ^ 1,)), public_key, external_aad=b"")

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("CWT/A_3", NeedsNewerError),
            ("sign1-tests/sign-fail-01", MalformedError),  # wrong tag
            ("sign1-tests/sign-fail-03", NeedsNewerError),  # algorithm -999
            ("sign1-tests/sign-fail-04", NeedsNewerError),  # algorithm "unknown"
            ("sign1-tests/sign-pass-01", MalformedError),  # the algorithm is not protected
            ("sign1-tests/sign-pass-02", NeedsNewerError),
            ("sign1-tests/sign-pass-03", NeedsNewerError),  # without the tag
        ],
    )
    def test_es256(self, name: str, error: type[Exception], shared_data: Callable[[str], Path]) -> None:
        """What the signature covers is rebuilt exactly; the algorithm itself is not ours."""
        example = self.load(shared_data(f"03-cose/cose-wg/{name}.json"))
        message = bytes.fromhex(example["output"]["cbor"])
        value = cbor2.loads(message)
        fields = value.value if isinstance(value, cbor2.CBORTag) else value
        aad = bytes.fromhex(example["input"]["sign0"].get("external", ""))
        header = b"" if fields[0] == b"\xa0" else fields[0]
        if "ChangeAttr" not in example["input"].get("failures", {}):
            covered = bytes.fromhex(example["intermediates"]["ToBeSign_hex"])
            assert cose.sig_structure(header, aad, fields[2]) == covered
        with pytest.raises(error):
            cose.verify1(message, ME.public_key, external_aad=aad)

    @pytest.mark.parametrize(
        "name",
        [
            "CWT/A_4",
            "X25519-tests/x25519-hkdf-256-direct",
            "chacha-poly-examples/chacha-poly-enc-01",
            "eddsa-examples/eddsa-01",
            "encrypted-tests/aes-gcm-01",
            "encrypted-tests/enc-fail-01",
            "encrypted-tests/enc-fail-02",
            "encrypted-tests/enc-pass-01",
            "encrypted-tests/enc-pass-02",
        ],
    )
    def test_other_structures(self, name: str, shared_data: Callable[[str], Path]) -> None:
        """MACs, encrypted and multi-signer messages are never taken for a Sign1, with or without their tag."""
        message = bytes.fromhex(self.load(shared_data(f"03-cose/cose-wg/{name}.json"))["output"]["cbor"])
        foreign_value = cbor.parse_foreign(message, max_size=4096)
        assert isinstance(foreign_value, cbor.Tag)
        with pytest.raises(MalformedError):
            cose.verify1(message, ME.public_key, external_aad=b"")

    def test_gluecose(self, shared_data: Callable[[str], Path]) -> None:
        """All seven: what the signature covers is rebuilt exactly, and each algorithm is refused by its number."""
        paths = sorted(shared_data("03-cose/gluecose").glob("*.json"))
        for path in paths:
            case = self.load(path)["sign1::sign"]
            aad = bytes.fromhex(case.get("external", ""))
            header, payload = bytes.fromhex(case["protectedHeaders"]["cborHex"]), bytes.fromhex(case["payload"])
            assert cose.sig_structure(header, aad, payload).hex() == case["tbsHex"]["cborHex"].lower()
            with pytest.raises(NeedsNewerError, match=str(cbor2.loads(header)[1])):
                cose.verify1(bytes.fromhex(case["expectedOutput"]["cborHex"]), ME.public_key, external_aad=aad)
        assert len(paths) == 7
