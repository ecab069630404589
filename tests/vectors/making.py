"""What the makers of vectors share: keys, hashes, CBOR, COSE, blocks, built from the specification alone.

Nothing here or in its neighbours imports medledger: the vectors are a second opinion on the format, in the plainest
code that says it. cbor2 writes the CBOR, libsodium signs. Every key, salt and time is fixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import cbor2
from nacl.signing import SigningKey

SHORTEST_RUN = 48  # repeated bytes from which a run is abbreviated


@dataclass(frozen=True)
class Vector:
    """One scenario, and its file below this folder."""

    kind: str
    name: str
    description: str
    inputs: dict[str, Any]
    expected: dict[str, Any]

    @property
    def path(self) -> str:
        """Folder and file name."""
        return f"{self.kind}/{self.name}.json"

    def document(self) -> dict[str, Any]:
        """What the file says: bytes as hexadecimal."""
        return {
            "name": self.name,
            "kind": self.kind,
            "description": self.description,
            "inputs": plain(self.inputs),
            "expected": plain(self.expected),
        }


def plain(value: Any) -> Any:
    """JSON of a value: bytes become hexadecimal, with (xx*n) for a byte repeated n times."""
    if isinstance(value, bytes):
        return "".join(_run(byte, len(list(run))) for byte, run in groupby(value))
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _run(byte: int, count: int) -> str:
    return f"({byte:02x}*{count})" if count >= SHORTEST_RUN else f"{byte:02x}" * count


def accepted(kind: str, name: str, description: str, inputs: dict[str, Any], **results: Any) -> Vector:
    """A vector that must be accepted, with what it must give."""
    return Vector(kind, name, description, inputs, {"verdict": "accepted", **results})


def refused(kind: str, name: str, description: str, inputs: dict[str, Any], error: str, fault: str = "relay") -> Vector:
    """A vector that must be refused, with the class of the error and the party at fault."""
    return Vector(kind, name, description, inputs, {"verdict": "refused", "error": error, "fault": fault})


# --- primitives ---------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def cbor(value: Any) -> bytes:
    """Deterministic CBOR; maps here have keys of one kind, for which cbor2's order is that of RFC 8949 4.2.1."""
    return cbor2.dumps(value, canonical=True)


def person(name: str) -> SigningKey:
    """The key pair of the one who goes by this name."""
    return SigningKey(sha256(f"medledger test vector: {name}".encode()))


def key(name: str) -> bytes:
    """The public key, and so the feed, of the one who goes by this name."""
    return bytes(person(name).verify_key)


def keys(*names: str) -> list[bytes]:
    """Several public keys in order."""
    return sorted(map(key, names))


def sign(name: str, message: bytes) -> bytes:
    """A signature of 64 bytes."""
    return person(name).sign(message).signature


def leaf(data: bytes) -> bytes:
    """The hash of a Merkle leaf."""
    return sha256(b"\x00" + data)


def tree(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, as it is defined."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:]))


# --- COSE_Sign1 ---------------------------------------------------------------------------------------------------

PROTECTED = cbor({1: -19})


def sig_structure(payload: bytes, aad: bytes, protected: bytes = PROTECTED) -> bytes:
    """What a COSE_Sign1 signature covers (RFC 9052 section 4.4)."""
    return cbor(["Signature1", protected, aad, payload])


def sign1(name: str, payload: bytes, aad: bytes) -> bytes:
    """A tagged COSE_Sign1 in the form that the ledger accepts."""
    signature = sign(name, sig_structure(payload, aad))
    return cbor(cbor2.CBORTag(18, [PROTECTED, {}, payload, signature]))


# --- entries and blocks -------------------------------------------------------------------------------------------

LEDGER = sha256(b"medledger test vector: a ledger")
NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
BOOT = b"bootboot"


def salt(n: int) -> bytes:
    """A salt: random in life, numbered here."""
    return n.to_bytes(16, "big")


def entry(content: Any, kind: str = "reading", *, n: int = 0, subject: bytes | None = None) -> bytes:
    """An entry."""
    return cbor([salt(n), kind, NOW + n, subject, content])


def heart_rate(n: int = 0) -> bytes:
    """A small entry, another for each n."""
    return entry({"device": "MON-7", "samples": [["8867-4", [60 + n, 0], "/min"]]}, n=n)


@dataclass(frozen=True)
class Head:
    """The last block of a feed."""

    seq: int
    id: bytes
    epoch: int


def payload_of(who: str, head: Head | None, body: Sequence[bytes | list[bytes]], /, **changes: Any) -> list[Any]:
    """The signed payload of the block after `head`. A hidden entry in `body` is a list of its leaf hash."""
    fields: dict[str, Any] = {
        "version": 1,
        "author": key(who),
        "seq": 0 if head is None else head.seq + 1,
        "prev": None if head is None else head.id,
        "epoch": 0 if head is None else head.epoch,
        "class": 1,
        "time": NOW,
        "clock": [1000, BOOT, 1],
        "parents": [],
        "root": tree([item[0] if isinstance(item, list) else leaf(item) for item in body]),
        "count": len(body),
        "size": sum(len(item) for item in body if isinstance(item, bytes)),
        "ext": {},
    }
    assert changes.keys() <= fields.keys(), changes
    return list({**fields, **changes}.values())


def block_aad(ledger: bytes = LEDGER) -> bytes:
    """The external data of a block's signature."""
    return cbor(["medledger/block/1", ledger])


def sign_payload(who: str, payload: bytes, ledger: bytes = LEDGER) -> bytes:
    """A block header around a payload."""
    return sign1(who, payload, block_aad(ledger))


def spoiled(signature: bytes) -> bytes:
    """A signature with one bit flipped."""
    return signature[:10] + bytes([signature[10] ^ 1]) + signature[11:]


def block(
    who: str,
    head: Head | None,
    body: Sequence[bytes | list[bytes]],
    /,
    *,
    ledger: bytes = LEDGER,
    good: bool = True,
    **changes: Any,
) -> bytes:
    """The next block of a feed; `changes` replace fields before signing, `good=False` spoils the signature."""
    header = sign_payload(who, cbor(payload_of(who, head, body, **changes)), ledger)
    if not good:
        header = header[:-64] + spoiled(header[-64:])
    return cbor([header, list(body)])


def head_of(raw: bytes) -> Head:
    """The head that a feed has after a block."""
    header = cbor2.loads(raw)[0]
    fields = cbor2.loads(cbor2.loads(header).value[2])
    return Head(fields[2], sha256(header), fields[4])


def head_json(head: Head | None) -> dict[str, Any] | None:
    """A head as vectors write it."""
    return None if head is None else {"seq": head.seq, "id": head.id, "epoch": head.epoch}


def fields_json(raw: bytes) -> dict[str, Any]:
    """What an accepted block says, and its id."""
    header = cbor2.loads(raw)[0]
    names = ["version", "author", "seq", "prev", "epoch", "class", "time", "clock", "parents"]
    names += ["entries_root", "entries_count", "body_size", "ext"]
    fields = dict(zip(names, cbor2.loads(cbor2.loads(header).value[2]), strict=True))
    return {"id": sha256(header), **{name: value for name, value in fields.items() if name not in ("version", "ext")}}
