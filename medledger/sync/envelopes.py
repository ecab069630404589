"""Envelopes: messages sealed to one member, inside frames under a key that others hold too.

    content = kind (1 byte) ‖ CBOR array of the message's fields
    sealed  = libsodium sealed box to the member's X25519 key around it

A member that missed a rotation is answered under the key that it has, which revoked members hold as well. Rules:

- The frame around an envelope is signed, so what is inside was said by who signed it.
- Inside are answers only, beacons and fork proofs: nobody is asked anything in an envelope, nor is there another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from medledger import cbor
from medledger.errors import FrameError, MalformedError, MedledgerError
from medledger.keys import Randomness, seal_to

from .messages import READERS, Envelope, Kind, Message

CONTENTS: Final = frozenset({Kind.BEACON, Kind.LEAVES, Kind.DATA, Kind.DONE, Kind.PROOF})
MAX_DEPTH: Final = 3


def enclose(message: Message, sealing_key: bytes, randomness: Randomness) -> Envelope:
    """An envelope for the member whose X25519 key this is. Raises `SealError` where nothing can be sealed to it."""
    assert message.KIND in CONTENTS  # nothing else is answered with
    content = bytes((message.KIND,)) + cbor.encode(message.body())
    return Envelope(seal_to(sealing_key, content, randomness=randomness))


def disclose(envelope: Envelope, unseal: Callable[[bytes], bytes]) -> Message:
    """What an envelope for us holds. Raises `FrameError`."""
    try:
        content = unseal(envelope.sealed)
    except MedledgerError as error:
        raise FrameError("an envelope is not sealed to our key") from error
    if not content or content[0] not in CONTENTS:
        raise FrameError("an envelope holds a kind that it may not")
    try:
        items = cbor.decode(content[1:], max_size=len(content), max_depth=MAX_DEPTH)
    except MalformedError as error:
        raise FrameError(f"an envelope's fields: {error}") from error
    if type(items) is not list:
        raise FrameError("an envelope's fields are not a list")
    return READERS[content[0]](items)
