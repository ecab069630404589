"""The key that seals a ledger's gossip, so that a broker learns sizes and times at most.

Every member holds it, and nobody else. A replica keeps it sealed to its own member's key, so that a copy of the
database handed to somebody gives nothing away. Its id, which stands in front of each frame, is a hash of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from .errors import UsageError

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class TransportKey:
    """One transport key. `id` tells members which key a frame was sealed with; it reveals nothing of it."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise UsageError(f"a transport key is {KEY_BYTES} bytes")

    @property
    def id(self) -> bytes:
        return blake2b(self.key, digest_size=KEY_ID_BYTES, person=b"medledger/tkid/1").digest()
