"""Writes tests/vectors/frames: one frame a file, and whether it must open. Run it from the project's root.

Every key and all randomness are fixed, so that the files only change when the format does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b, sha256
from pathlib import Path
from random import Random
from typing import Any

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt

from medledger import cbor
from medledger.keys import Identity
from medledger.sync.frames import DOMAIN, Codec, Origin
from medledger.sync.frontier import Frontier, Height
from medledger.sync.messages import (
    Beacon,
    Blocks,
    Claim,
    Data,
    Done,
    Gone,
    Leaf,
    Leaves,
    Message,
    Probe,
    Query,
    Range,
    Status,
    Want,
    WantBranches,
    place,
    salted,
)
from medledger.sync.topics import Topics
from medledger.transport_key import TransportKey

LEDGER_ID = sha256(b"the ledger of the frame vectors").digest()
KEY = TransportKey(sha256(b"the transport key of the frame vectors").digest())
SENDER = Identity.from_seed(sha256(b"the sender of the frame vectors").digest())
ADDRESSEE = sha256(b"the addressee of the frame vectors").digest()
FEED = sha256(b"a feed of the frame vectors").digest()
BOOT = bytes(range(8))
NONCE = bytes(range(8, 16))
DIRECTORY = Path(__file__).parent / "frames"

topics = Topics(LEDGER_ID, KEY.key)
frontier = Frontier({FEED: Height(1000, sha256(b"head").digest())})
BEACON = Beacon(frontier.root, frontier.count, frontier.total, frontier.newest, answer=False)
INBOX = topics.inbox(ADDRESSEE)

MESSAGES: dict[str, tuple[str, Message]] = {
    "beacon": (topics.beacons, BEACON),
    "probe": (INBOX, Probe(NONCE, BOOT, False, *frontier.digests())),
    "leaves": (INBOX, Leaves(NONCE, 0, 1, (Leaf(FEED[:8], 1000, frontier.newest, b""),))),
    "want": (INBOX, Want(NONCE, BOOT, 2, 131072, (Range(FEED, 990, 1000, frontier.newest),))),
    "want-branches": (
        INBOX,
        WantBranches(NONCE, BOOT, 2, 131072, FEED, place(990, b""), b"", salted(NONCE, sha256(b"held").digest())),
    ),
    "data": (INBOX, Data(NONCE, 0, 1, (b"a block", b"another block"))),
    "done": (INBOX, Done(NONCE, 1, Status.COMPLETE)),
    "gone": (topics.beacons, Gone()),
    "query": (topics.queries, Query(NONCE, (Range(FEED, 990, 1000, b""),), ADDRESSEE[:8])),
    "claim": (topics.queries, Claim(NONCE, b"\x80" + bytes(7))),
    "blocks": (topics.live(FEED), Blocks(FEED, (b"a block",))),
}


def codec(name: str, *, ledger_id: bytes = LEDGER_ID, key: TransportKey = KEY) -> Codec:
    """A codec whose nonces depend on the vector's name only."""
    return Codec(ledger_id, key, Random(name))


def vectors() -> Iterator[dict[str, Any]]:
    """All vectors: honest frames, then one for each way to be wrong."""
    for name, (topic, message) in MESSAGES.items():
        yield vector(name, topic, seal(name, topic, message), None)
    topic = topics.beacons
    good = seal("beacon", topic, BEACON)
    yield vector("other-topic", topics.live(FEED), good, "does not open")
    other = codec("other-ledger", ledger_id=sha256(b"another").digest())
    yield vector("other-ledger", topic, other.seal_signed(topic, BEACON, origin(), SENDER), "does not open")
    stranger = codec("other-key", key=TransportKey(bytes(32)))
    yield vector("other-key", topic, stranger.seal_signed(topic, BEACON, origin(), SENDER), "not ours")
    yield vector("flipped-bit", topic, good[:-1] + bytes((good[-1] ^ 1,)), "does not open")
    yield vector("truncated", topic, good[:-1], "does not open")
    yield vector("too-long", topic, good + bytes(200), "size")
    yield vector("empty", topic, b"", "size")
    yield vector("wrong-kind", topic, seal("wrong-kind", topic, MESSAGES["done"][1]), "kind")
    plaintext = plain("beacon", BEACON)
    yield vector("bad-signature", topic, raw("bad-signature", topic, spoil(plaintext, 1)), "not signed")
    yield vector("changed-field", topic, raw("changed-field", topic, spoil(plaintext, -1)), "not signed")
    yield vector("trailing-byte", topic, raw("trailing-byte", topic, plaintext + b"\0"), "fields")
    body = cbor.encode([*origin(), *BEACON.body(), 0])
    yield vector("extra-field", topic, raw("extra-field", topic, plaintext[:65] + body), "fields")
    long_integer = plaintext[65:].replace(b"\x48" + BOOT + b"\x07", b"\x48" + BOOT + b"\x18\x07")
    yield vector("long-integer", topic, raw("long-integer", topic, plaintext[:65] + long_integer), "fields")


def origin() -> Origin:
    """The sender of all vectors."""
    return Origin(SENDER.public_key, BOOT, 7)


def seal(name: str, topic: str, message: Message) -> bytes:
    """An honest frame."""
    if message.KIND.signed:
        return codec(name).seal_signed(topic, message, origin(), SENDER)
    return codec(name).seal(topic, message)


def plain(name: str, message: Message) -> bytes:
    """What is inside an honest signed beacon, by opening it."""
    sealed = seal(name, topics.beacons, message)
    return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[28:], associated(topics.beacons), sealed[4:28], seal_key())


def raw(name: str, topic: str, plaintext: bytes) -> bytes:
    """Any plaintext under the right key, as a member could seal it."""
    nonce = Random(name).randbytes(24)
    return KEY.id + nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated(topic), nonce, seal_key())


def seal_key() -> bytes:
    """The key that seals, derived as the format says."""
    return blake2b(LEDGER_ID, key=KEY.key, person=b"medledger seal", digest_size=32).digest()


def associated(topic: str) -> bytes:
    """The associated data."""
    return cbor.encode([DOMAIN, LEDGER_ID, topic, KEY.id])


def spoil(data: bytes, at: int) -> bytes:
    """One bit flipped."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def vector(name: str, topic: str, frame: bytes, reason: str | None) -> dict[str, Any]:
    """One file's content. `error` is null for a frame that opens, else what its `FrameError` speaks of."""
    return {
        "name": name,
        "ledger_id": LEDGER_ID.hex(),
        "transport_key": KEY.key.hex(),
        "topic": topic,
        "frame": frame.hex(),
        "error": reason,
    }


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for each in vectors():
        (DIRECTORY / f"{each['name']}.json").write_text(json.dumps(each, indent=2) + "\n")
