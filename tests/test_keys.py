"""Keys: which signatures verify, which keys may be enrolled, sealing, and the file that holds an identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import medledger.keys
from medledger import keys
from medledger.errors import (
    KeyFileError,
    MalformedError,
    MedledgerError,
    SealError,
    SignatureError,
    UsageError,
)
from medledger.keys import Identity, Witness

SEED = bytes(range(32))
ME = Identity.from_seed(SEED)
PASSPHRASE = "correct horse"

# Points of small order, and encodings that are not canonical (RFC 8032 section 5.1.3 and CCTV's list).
UNUSABLE_KEYS = {
    "identity": "01" + "00" * 31,
    "order 2": "ec" + "ff" * 30 + "7f",
    "order 4": "00" * 32,
    "order 4, sign bit": "00" * 31 + "80",
    "order 8": "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "order 8, the other": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "identity not canonical": "ee" + "ff" * 30 + "7f",
    "identity with sign bit": "01" + "00" * 30 + "80",
    "y = p": "ed" + "ff" * 30 + "7f",
    "all ones": "ff" * 32,
    "not on the curve": "02" + "00" * 31,
}


class TestVerify:
    @given(st.binary(max_size=300))
    def test_what_was_signed_verifies(self, message: bytes) -> None:
        """And nothing else does: not another message, key or signature."""
        signature = ME.sign(message)
        assert len(signature) == 64
        keys.verify(ME.public_key, message, signature)
        with pytest.raises(SignatureError):
            keys.verify(ME.public_key, message + b"\x00", signature)
        with pytest.raises(SignatureError):
            keys.verify(Identity.from_seed(bytes(32)).public_key, message, signature)

    def test_every_bit_of_key_and_signature_counts(self) -> None:
        """One flipped bit anywhere is refused."""
        signature = ME.sign(b"message")
        for at in range(64 * 8):
            damaged = bytearray(signature)
            damaged[at // 8] ^= 1 << at % 8
            with pytest.raises(SignatureError):
                keys.verify(ME.public_key, b"message", bytes(damaged))
        for at in range(32 * 8):
            damaged = bytearray(ME.public_key)
            damaged[at // 8] ^= 1 << at % 8
            with pytest.raises(SignatureError):
                keys.verify(bytes(damaged), b"message", signature)

    @pytest.mark.parametrize(
        ("key_size", "signature_size"), [(32, 0), (32, 63), (32, 65), (32, 128), (31, 64), (33, 64), (0, 64)]
    )
    def test_lengths(self, key_size: int, signature_size: int) -> None:
        """Checked first: bytes must not slide between signature and message, nor be read past the end of a key."""
        signature = (ME.sign(b"message") + b"message" * 20)[:signature_size]
        with pytest.raises(SignatureError):
            keys.verify((ME.public_key * 2)[:key_size], b"message", signature)

    def test_only_bytes_are_verified(self) -> None:
        """Other types are the caller's mistake."""
        signature = ME.sign(b"message")
        for arguments in (
            (bytearray(ME.public_key), b"message", signature),
            (ME.public_key, "message", signature),
            (ME.public_key, b"message", bytearray(signature)),
            (ME.public_key, b"message", "s" * 64),
            ("k" * 32, b"message", signature),
            (ME.public_key, b"message", None),
        ):
            with pytest.raises(UsageError):
                keys.verify(*arguments)

    def test_wycheproof(self, shared_data: Callable[[str], Path]) -> None:
        """All 151: 88 valid, 63 invalid."""
        groups = json.loads(shared_data("01-ed25519/wycheproof/ed25519_test.json").read_bytes())["testGroups"]
        verdicts = {"valid": 0, "invalid": 0}
        for group in groups:
            public_key = bytes.fromhex(group["publicKey"]["pk"])
            for case in group["tests"]:
                message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
                if case["result"] == "valid":
                    keys.verify(public_key, message, signature)
                else:
                    with pytest.raises(SignatureError):
                        keys.verify(public_key, message, signature)
                verdicts[case["result"]] += 1
            keys.check_public_key(public_key)
        assert verdicts == {"valid": 88, "invalid": 63}

    def test_speccheck(self, shared_data: Callable[[str], Path]) -> None:
        """All 12 edge cases get the verdict that the published table gives for libsodium."""
        cases = json.loads(shared_data("01-ed25519/speccheck/cases.json").read_bytes())
        table = shared_data("01-ed25519/speccheck/results.md").read_text()
        (row,) = [line for line in table.splitlines() if line.startswith("|LibSodium")]
        verdicts = ""
        for case in cases:
            try:
                keys.verify(*(bytes.fromhex(case[field]) for field in ("pub_key", "message", "signature")))
                verdicts += "V"
            except SignatureError:
                verdicts += "X"
        assert verdicts == row.split("|", 2)[2].replace("|", "").replace(" ", "") == "XXXVXXXXXXXX"

    def test_speccheck_keys_of_small_order_cannot_be_enrolled(self, shared_data: Callable[[str], Path]) -> None:
        """Cases 0 and 1 have a key of small order, 10 and 11 one that is not canonical either."""
        cases = json.loads(shared_data("01-ed25519/speccheck/cases.json").read_bytes())
        for number in (0, 1, 10, 11):
            with pytest.raises(MalformedError):
                keys.check_public_key(bytes.fromhex(cases[number]["pub_key"]))


class TestPublicKeys:
    def test_an_honest_key_is_accepted(self) -> None:
        """Every generated key."""
        for _ in range(50):
            keys.check_public_key(Identity.generate().public_key)

    @pytest.mark.parametrize("hexadecimal", UNUSABLE_KEYS.values(), ids=UNUSABLE_KEYS)
    def test_unusable_keys_are_refused(self, hexadecimal: str) -> None:
        """Small order, mixed order, not canonical, not a point; and nothing verifies under them."""
        with pytest.raises(MalformedError):
            keys.check_public_key(bytes.fromhex(hexadecimal))
        with pytest.raises(SignatureError):
            keys.verify(bytes.fromhex(hexadecimal), b"", bytes.fromhex(hexadecimal) + bytes(32))

    @pytest.mark.parametrize("size", [0, 31, 33, 64])
    def test_lengths(self, size: int) -> None:
        """Other lengths are malformed."""
        with pytest.raises(MalformedError):
            keys.check_public_key(bytes(size))

    def test_types(self) -> None:
        """Other types are the caller's mistake."""
        with pytest.raises(UsageError):
            keys.check_public_key("k" * 32)  # type: ignore[arg-type]

    def test_fingerprint(self) -> None:
        """Four groups of four letters and digits, different for different keys."""
        assert ME.fingerprint == keys.fingerprint(ME.public_key) == "KZDV-VJ2U-MNDU-YAUF"
        assert Identity.generate().fingerprint != ME.fingerprint


class TestIdentity:
    def test_rfc_8032_test_1(self) -> None:
        """Seed, public key and signature of the specification's first test."""
        identity = Identity.from_seed(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
        assert identity.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        assert identity.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")

    def test_every_generated_identity_is_another(self) -> None:
        """And has no file."""
        one, other = Identity.generate(), Identity.generate()
        assert one.public_key != other.public_key
        assert one.path is None

    @pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33), bytearray(32), "s" * 32, None])
    def test_seeds(self, seed: Any) -> None:
        """A seed is 32 bytes."""
        with pytest.raises(UsageError):
            Identity.from_seed(seed)

    def test_only_bytes_are_signed(self) -> None:
        """Text is the caller's mistake."""
        with pytest.raises(UsageError):
            ME.sign("text")  # type: ignore[arg-type]

    def test_the_secret_does_not_show(self) -> None:
        """Not in the representation, and nobody can add attributes by mistake."""
        assert repr(ME) == "<Identity KZDV-VJ2U-MNDU-YAUF>"
        with pytest.raises(AttributeError):
            ME.seed = SEED  # type: ignore[attr-defined]


class TestSealing:
    @given(st.binary(max_size=2000))
    def test_round_trip(self, plaintext: bytes) -> None:
        """What is sealed to a key opens with it, is different each time, and opens with no other key."""
        sealed = keys.seal_to(ME.kem_public_key, plaintext)
        assert ME.unseal(sealed) == plaintext
        assert sealed != keys.seal_to(ME.kem_public_key, plaintext)
        with pytest.raises(SealError):
            Identity.generate().unseal(sealed)

    def test_every_byte_counts(self) -> None:
        """A changed or missing byte is refused."""
        sealed = keys.seal_to(ME.kem_public_key, b"secret")
        for at in range(len(sealed)):
            with pytest.raises(SealError):
                ME.unseal(sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :])
            with pytest.raises(SealError):
                ME.unseal(sealed[:at])

    @pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31), "k" * 32])
    def test_unusable_keys(self, key: Any) -> None:
        """Wrong lengths and points of small order."""
        with pytest.raises(SealError):
            keys.seal_to(key, b"secret")

    def test_types(self) -> None:
        """Text neither seals nor opens."""
        with pytest.raises(SealError):
            keys.seal_to(ME.kem_public_key, "text")  # type: ignore[arg-type]
        with pytest.raises(SealError):
            ME.unseal("text")  # type: ignore[arg-type]


def test_everything_is_of_one_family() -> None:
    """The errors of this module are MedledgerErrors, and the witness is offered here too."""
    assert issubclass(KeyFileError, MedledgerError)
    assert keys.Witness is Witness


def test_one_place_checks_signatures() -> None:
    """No other module of the library names libsodium's check, so that no two places can reach two verdicts."""
    library = Path(medledger.keys.__file__).parent
    naming = [path.name for path in library.rglob("*.py") if "crypto_sign_open" in path.read_text().split('"""', 2)[-1]]
    assert naming == ["keys.py"]
