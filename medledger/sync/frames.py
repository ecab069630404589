"""Frames: messages sealed for the members of one ledger, and signed by who sends them.

    frame      = key id (4 bytes) ‖ nonce (24) ‖ XChaCha20-Poly1305(plaintext)
    plaintext  = kind (1 byte) ‖ CBOR array of the message's fields                                   bare kinds
               = kind ‖ signature (64) ‖ CBOR array of [sender, boot id, counter, fields ...]         signed kinds
    associated = CBOR of ["medledger/frame/1", ledger id, topic, key id]
    signature  over "medledger/frame-signature/1" ‖ SHA-256(associated) ‖ SHA-256(kind ‖ CBOR array)

- The broker is trusted with nothing: it sees sizes and times. A frame moved to another topic, another ledger or another
  version of the protocol does not open.
- Members share the transport key, so what opens is not yet what its sender said. The signature covers the topic too:
  a member cannot pass on to a third what was said to it.
- Opening is cheap and comes first; checking the signature is a step of its own, so that a receiver can look at sender
  and counter before it pays for it.
- The seal uses a key derived from the transport key, as topics use another: each key has one purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b, sha256
from random import Random
from typing import Final, NamedTuple, Protocol

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from medledger import cbor
from medledger.errors import FrameError, MalformedError, SignatureError, UsageError
from medledger.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Signer, verify
from medledger.limits import MAX_BEACON_BYTES, MAX_FORK_PROOF_BYTES, MAX_FRAME_BYTES, MAX_INT, MAX_QUERY_BYTES

from .messages import BOOT_BYTES, READERS, Kind, Message
from .topics import Channel

DOMAIN: Final = "medledger/frame/1"
SIGNATURE_DOMAIN: Final = b"medledger/frame-signature/1"
KEY_ID_BYTES: Final = 4
NONCE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
SEAL_BYTES: Final = KEY_ID_BYTES + NONCE_BYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES
MAX_DEPTH: Final = 3

MAX_BYTES: Final = {
    Channel.BEACONS: MAX_BEACON_BYTES,
    Channel.QUERIES: MAX_QUERY_BYTES,
    Channel.INBOX: MAX_FRAME_BYTES,
    Channel.LIVE: MAX_FRAME_BYTES,
    Channel.PROOFS: MAX_FORK_PROOF_BYTES + 256,
}
"""The largest frame on each channel, sealed."""

KINDS: Final = {
    Channel.BEACONS: frozenset({Kind.BEACON, Kind.GONE}),
    Channel.QUERIES: frozenset({Kind.QUERY, Kind.CLAIM}),
    Channel.INBOX: frozenset(
        {Kind.PROBE, Kind.LEAVES, Kind.WANT, Kind.WANT_BRANCHES, Kind.DATA, Kind.DONE, Kind.ENVELOPE}
    ),
    Channel.LIVE: frozenset({Kind.BLOCKS}),
    Channel.PROOFS: frozenset({Kind.PROOF}),
}
"""What may be said on each channel."""


class TransportKey(Protocol):
    """The key that all members share, and the name it goes by."""

    @property
    def id(self) -> bytes: ...

    @property
    def key(self) -> bytes: ...


class Origin(NamedTuple):
    """Who sent a signed frame, in which life of its process, and its number there."""

    sender: bytes
    boot: bytes
    counter: int


@dataclass(frozen=True, slots=True)
class Frame:
    """An opened frame. The origin of a signed one is a claim until `Codec.check_signature` has returned."""

    message: Message
    origin: Origin | None
    signature: bytes
    signed: bytes


class Codec:
    """Seals and opens the frames of one ledger under one transport key."""

    def __init__(self, ledger_id: bytes, key: TransportKey, rng: Random) -> None:
        if len(key.id) != KEY_ID_BYTES:
            raise UsageError(f"a transport key's id is {KEY_ID_BYTES} bytes")
        self._ledger_id = ledger_id
        self.key_id: Final = key.id
        self._key = blake2b(ledger_id, key=key.key, person=b"medledger seal", digest_size=32).digest()
        self._rng = rng

    def seal(self, topic: str, message: Message) -> bytes:
        """A bare message as a frame for `topic`."""
        return self._seal(topic, bytes((message.KIND,)) + cbor.encode(message.body()))

    def seal_signed(self, topic: str, message: Message, origin: Origin, signer: Signer) -> bytes:
        """A message signed by its sender as a frame for `topic`."""
        kind = bytes((message.KIND,))
        body = cbor.encode([*origin, *message.body()])
        signature = signer.sign(self._signed(topic, kind + body))
        return self._seal(topic, b"".join((kind, signature, body)))

    def check_outside(self, channel: Channel, frame: bytes) -> None:
        """What can be seen without opening it: size and key id."""
        if not SEAL_BYTES < len(frame) <= MAX_BYTES[channel]:
            raise FrameError("a frame's size is not within the limits of its channel")
        if frame[:KEY_ID_BYTES] != self.key_id:
            raise FrameError("a frame is sealed with a transport key that is not ours")

    def open(self, topic: str, channel: Channel, frame: bytes) -> Frame:
        """Open and read a frame: size, key id, seal, kind, strict CBOR. `FrameError` says which of these failed."""
        self.check_outside(channel, frame)
        plaintext = self._unseal(topic, frame)
        kind = plaintext[0]
        if kind not in KINDS[channel]:
            raise FrameError("a frame is of a kind that its channel does not carry")
        try:
            if Kind(kind).signed:
                return self._read_signed(topic, plaintext)
            items = cbor.decode(plaintext[1:], max_size=len(plaintext), max_depth=MAX_DEPTH)
        except MalformedError as error:
            raise FrameError(f"a frame's fields: {error}") from error
        return Frame(READERS[kind](_listed(items)), None, b"", b"")

    def check_signature(self, frame: Frame) -> None:
        """Raise `FrameError` unless the frame's sender signed it. A bare frame passes."""
        if frame.origin is None:
            return
        try:
            verify(frame.origin.sender, frame.signed, frame.signature)
        except SignatureError as error:
            raise FrameError("a frame is not signed by the sender it names") from error

    def _read_signed(self, topic: str, plaintext: bytes) -> Frame:
        signature, body = plaintext[1 : 1 + SIGNATURE_BYTES], plaintext[1 + SIGNATURE_BYTES :]
        items = _listed(cbor.decode(body, max_size=len(body), max_depth=MAX_DEPTH))
        if len(items) < 3:
            raise FrameError("a signed frame does not name its sender")
        sender, boot, counter = items[:3]
        if (
            type(sender) is not bytes
            or len(sender) != PUBLIC_KEY_BYTES
            or type(boot) is not bytes
            or len(boot) != BOOT_BYTES
            or type(counter) is not int
            or not 0 <= counter <= MAX_INT
        ):
            raise FrameError("a signed frame does not name its sender in the right form")
        kind = plaintext[:1]
        message = READERS[kind[0]](items[3:])
        return Frame(message, Origin(sender, boot, counter), signature, self._signed(topic, kind + body))

    def _associated(self, topic: str) -> bytes:
        return cbor.encode([DOMAIN, self._ledger_id, topic, self.key_id])

    def _signed(self, topic: str, spoken: bytes) -> bytes:
        return SIGNATURE_DOMAIN + sha256(self._associated(topic)).digest() + sha256(spoken).digest()

    def _seal(self, topic: str, plaintext: bytes) -> bytes:
        nonce = self._rng.randbytes(NONCE_BYTES)
        box = crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, self._associated(topic), nonce, self._key)
        return b"".join((self.key_id, nonce, box))

    def _unseal(self, topic: str, frame: bytes) -> bytes:
        nonce = frame[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES]
        box = frame[KEY_ID_BYTES + NONCE_BYTES :]
        try:
            plaintext = crypto_aead_xchacha20poly1305_ietf_decrypt(box, self._associated(topic), nonce, self._key)
        except CryptoError as error:
            raise FrameError("a frame does not open here: forged, damaged, or meant for another topic") from error
        if not plaintext:
            raise FrameError("a frame is empty")
        return plaintext


def _listed(items: object) -> list[object]:
    if type(items) is not list:
        raise FrameError("a frame's fields are not a list")
    return items
