"""The key that seals a ledger's gossip, so that a broker learns sizes and times at most.

Every member holds it, and nobody else. A replica keeps it sealed to its own member's key, so that a copy of the
database handed to somebody gives nothing away. Its name is a hash of it, and its id, which stands in front of each
frame, the beginning of that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from .errors import UsageError

KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 4
NAME_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class TransportKey:
    """One transport key. `name` and `id` reveal nothing of it."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise UsageError(f"a transport key is {KEY_BYTES} bytes")

    @property
    def name(self) -> bytes:
        """What acts on the ledger call it: nobody can make another key of this name."""
        return blake2b(self.key, digest_size=NAME_BYTES, person=b"medledger/tkid/1").digest()

    @property
    def id(self) -> bytes:
        """Tells members which of their keys a frame was sealed with."""
        return self.id_of(self.name)

    @staticmethod
    def id_of(name: bytes) -> bytes:
        """The id of the key of this name."""
        return name[:KEY_ID_BYTES]
