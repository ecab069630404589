"""Two COSE libraries that nobody here wrote verify our blocks from the bytes alone, and refuse tampered ones.

They run in an environment of their own (`.venv-outside`, made by `make test`), where medledger is not installed. What
they are given is what an auditor's counterpart would have: header bytes, the ledger's id, the author's public key.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cbor2
import nacl.bindings
import pytest

from medledger.errors import MalformedBlockError
from medledger.header import encode_header, encode_payload, parse_header, signed_message, signing_prefix
from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger.records import Reading

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE_PYTHON = ROOT / ".venv-outside" / "bin" / "python"
SECONDS = 60

LEDGER_ID = hashlib.sha256(b"the genesis of a test").digest()
AUTHOR, SECRET = nacl.bindings.crypto_sign_seed_keypair(bytes(range(32)))
STRANGER, STRANGER_SECRET = nacl.bindings.crypto_sign_seed_keypair(bytes(32))


@dataclass(frozen=True)
class Case:
    """One header to judge, and the author it is expected to be by."""

    name: str
    header: bytes
    author: bytes = AUTHOR


class Judge(Protocol):
    """One outside verifier, asked about many headers at once: name -> its result."""

    def __call__(self, cases: Sequence[Case], ledger_id: bytes = LEDGER_ID) -> dict[str, dict[str, Any]]: ...


@pytest.fixture(params=["pycose", "cwt"])
def judge(request: pytest.FixtureRequest) -> Judge:
    """Runs one outside verifier over many headers: name -> its result."""
    assert OUTSIDE_PYTHON.exists(), "the outside verifiers have no environment: run `make test`, which makes it"

    def run(cases: Sequence[Case], ledger_id: bytes = LEDGER_ID) -> dict[str, dict[str, Any]]:
        blocks = [{"name": c.name, "header": c.header.hex(), "author": c.author.hex()} for c in cases]
        done = subprocess.run(
            [OUTSIDE_PYTHON, ROOT / "tests" / "outside" / f"verify_with_{request.param}.py"],
            input=json.dumps({"ledger_id": ledger_id.hex(), "blocks": blocks}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.stderr == ""
        results = json.loads(done.stdout)["results"]
        assert [result["name"] for result in results] == [case.name for case in cases]
        assert done.returncode == (0 if all(result["verdict"] == "valid" for result in results) else 1)
        return {result["name"]: result for result in results}

    return run


# --- a block by hand, from the written format and nothing of medledger's ---------------------------------------------


def payload_of(seq: int, prev: bytes | None, **changes: object) -> bytes:
    """The signed payload of a header, field by field as the format lists them."""
    fields: dict[str, object] = {
        "version": 1,
        "author": AUTHOR,
        "seq": seq,
        "prev": prev,
        "epoch": 0,
        "class": 1,
        "time": 1_790_000_000_000 + seq,
        "clock": [seq * 1000, bytes(8), 1],
        "parents": [[STRANGER, 7, hashlib.sha256(b"seen").digest()]] if seq else [],
        "entries_root": hashlib.sha256(b"root" + bytes([seq])).digest(),
        "entries_count": 1 + seq,
        "body_size": 100,
        "ext": {},
    }
    return cbor2.dumps(list((fields | changes).values()), canonical=True)


def sign1(
    payload: bytes,
    *,
    secret: bytes = SECRET,
    algorithm: int = -19,
    domain: str = "medledger/block/1",
    ledger_id: bytes = LEDGER_ID,
    unprotected: dict[int, object] | None = None,
) -> bytes:
    """A COSE_Sign1 over a payload, from RFC 9052 section 4.4."""
    protected = cbor2.dumps({1: algorithm})
    external_aad = cbor2.dumps([domain, ledger_id])
    message = cbor2.dumps(["Signature1", protected, external_aad, payload])
    signature = nacl.bindings.crypto_sign(message, secret)[:64]
    return cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected or {}, payload, signature]))


def feed(length: int) -> list[bytes]:
    """The headers of a feed of that length."""
    headers: list[bytes] = []
    for seq in range(length):
        prev = hashlib.sha256(headers[-1]).digest() if headers else None
        headers.append(sign1(payload_of(seq, prev)))
    return headers


# --- what they must say ----------------------------------------------------------------------------------------------


def test_blocks_of_the_written_format_are_valid(judge: Judge) -> None:
    """A feed built by hand from the written format verifies, and the verifier reads author, position and id from it."""
    headers = feed(4)
    results = judge([Case(f"seq {seq}", header) for seq, header in enumerate(headers)])
    for seq, header in enumerate(headers):
        assert results[f"seq {seq}"] == {
            "name": f"seq {seq}",
            "verdict": "valid",
            "author": AUTHOR.hex(),
            "seq": seq,
            "id": hashlib.sha256(header).hexdigest(),
        }


def test_blocks_that_a_ledger_wrote_are_valid(judge: Judge, tmp_path: Path) -> None:
    """Every block of a real ledger's feed, control and data, verifies outside; under another ledger's id none does."""
    identity = Identity.load_or_create(tmp_path / "founder.key")
    with Ledger.create(tmp_path / "ward.db", identity, name="ward", roles=["bedside"]) as ledger:
        for beats in range(60, 70):
            ledger.append(Reading(device="MON-7", samples=[("8867-4", str(beats), "/min")]))
        blocks = list(ledger.blocks(identity.public_key))
        ledger_id = ledger.id
    cases = [Case(f"seq {block.seq}", block.header_bytes, identity.public_key) for block in blocks]
    results = judge(cases, ledger_id)
    assert len(blocks) > 10
    assert [results[f"seq {block.seq}"].get("id") for block in blocks] == [block.id.hex() for block in blocks]
    assert {result["verdict"] for result in judge(cases, LEDGER_ID).values()} == {"refused"}


def test_every_changed_byte_is_refused(judge: Judge) -> None:
    """Changing any single byte of a header, in its lowest or its highest bit, makes the outside verifier refuse it."""
    header = feed(2)[1]
    cases = [
        Case(f"byte {at} ^ {mask:#04x}", header[:at] + bytes([header[at] ^ mask]) + header[at + 1 :])
        for at in range(len(header))
        for mask in (0x01, 0x80)
    ]
    accepted = [name for name, result in judge(cases).items() if result["verdict"] != "refused"]
    assert accepted == []


def test_every_truncation_is_refused(judge: Judge) -> None:
    """A header that ends early anywhere, down to no bytes at all, is refused."""
    header = feed(1)[0]
    results = judge([Case(f"{size} bytes", header[:size]) for size in range(len(header))])
    assert {result["verdict"] for result in results.values()} == {"refused"}


def test_random_bytes_are_refused(judge: Judge, rng: random.Random) -> None:
    """Bytes that are no COSE message at all are refused, not crashed on."""
    results = judge([Case(f"noise {n}", rng.randbytes(rng.randrange(1, 400))) for n in range(200)])
    assert {result["verdict"] for result in results.values()} == {"refused"}


FORGERIES = {
    "signed by a stranger": Case("", sign1(payload_of(0, None), secret=STRANGER_SECRET)),
    "expected of another author": Case("", sign1(payload_of(0, None)), STRANGER),
    "names another author than the signer": Case(
        "", sign1(payload_of(0, None, author=AUTHOR), secret=STRANGER_SECRET), STRANGER
    ),
    "signed for another ledger": Case("", sign1(payload_of(0, None), ledger_id=bytes(32))),
    "signed as another kind of document": Case("", sign1(payload_of(0, None), domain="medledger/genesis/1")),
    "signed with another algorithm's number": Case("", sign1(payload_of(0, None), algorithm=-8)),
    "of another version": Case("", sign1(payload_of(0, None, version=2))),
    "signature of another block": Case("", sign1(payload_of(1, bytes(32)))[:-64] + sign1(payload_of(0, None))[-64:]),
}


def test_forgeries_are_refused(judge: Judge) -> None:
    """Blocks that are well formed but not what they claim to be are refused, each for its reason."""
    results = judge([replace(case, name=name) for name, case in FORGERIES.items()])
    assert {name: result["verdict"] for name, result in results.items()} == dict.fromkeys(FORGERIES, "refused")


def test_the_hand_made_block_is_in_our_one_encoding() -> None:
    """Built by hand or by `medledger.block`: the same bytes, so that the verdicts are about our blocks."""
    for header_bytes in feed(4):
        header, payload, signature = parse_header(header_bytes)
        assert encode_payload(header) == payload
        assert encode_header(payload, signature) == header_bytes
        nacl.bindings.crypto_sign_open(signature + signed_message(signing_prefix(LEDGER_ID), payload), AUTHOR)


GENUINE = sign1(payload_of(0, None))
MALLEABLE = {
    "something in the unprotected map": sign1(payload_of(0, None), unprotected={99: b"x"}),
    "signature length in two bytes": GENUINE[:-66] + b"\x59\x00\x40" + GENUINE[-64:],
    "tag in two bytes": b"\xd8\x12" + GENUINE[1:],
    "array length in two bytes": GENUINE[:1] + b"\x98\x04" + GENUINE[2:],
    "array of indefinite length": GENUINE[:1] + b"\x9f" + GENUINE[2:] + b"\xff",
    "protected length in two bytes": GENUINE[:2] + b"\x58\x03" + GENUINE[3:],
}


def test_what_a_signature_does_not_cover_is_caught_by_the_one_encoding(judge: Judge) -> None:
    """COSE rightly calls these valid: the signature holds, only bytes outside it differ. Our id covers those bytes, so
    each would be a second, validly signed block at one position; `medledger.block` refuses every one of them."""
    results = judge([Case(name, header) for name, header in MALLEABLE.items()])
    assert {name: result["verdict"] for name, result in results.items()} == dict.fromkeys(MALLEABLE, "valid")
    assert len({result["id"] for result in results.values()} | {hashlib.sha256(GENUINE).hexdigest()}) == 7
    for header in MALLEABLE.values():
        with pytest.raises(MalformedBlockError):
            parse_header(header)


def test_a_verifier_that_cannot_read_its_input_says_so() -> None:
    """Input that is not the expected JSON ends with exit code 2 and one line on standard error."""
    for script in ("verify_with_pycose.py", "verify_with_cwt.py"):
        done = subprocess.run(
            [OUTSIDE_PYTHON, ROOT / "tests" / "outside" / script],
            input="no json",
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 2
        assert "cannot be used" in done.stderr
