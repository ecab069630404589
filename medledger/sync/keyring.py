"""The transport keys of one node, each with its topics and its seal.

Rules:

- A *band* is one key: its topics, and what seals and opens frames on them. A topic tells its band: no two share one.
- The last of the replica's keys is the *current* band. We speak there, and hear all that is said there.
- Under older keys we are there for members that missed a rotation (`stragglers`): we hear beacons and our inbox.
- Where the replica has other keys than before, what was subscribed and is needed no more is given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final, NamedTuple

from medledger.errors import UsageError
from medledger.limits import MAX_HELD_KEYS

from .frames import Codec, TransportKey
from .topics import Address, Topics

Filters = tuple[tuple[str, int], ...]


class Band(NamedTuple):
    """One transport key."""

    codec: Codec
    topics: Topics


class Keyring:
    """The bands of one node."""

    def __init__(self, ledger_id: bytes, me: bytes, keys: Sequence[TransportKey], rng: Random) -> None:
        self._ledger_id: Final = ledger_id
        self._me: Final = me
        self._rng: Final = rng
        self._bands: dict[bytes, Band] = {}  # by key
        self._by_ledger: dict[str, Band] = {}  # by what topics call the ledger
        self.older: tuple[Band, ...] = ()  # newest first
        if not keys:
            raise UsageError("gossip needs a transport key", hint="Give a member's identity when opening the ledger.")
        self.current = self._take(keys)

    def refresh(self, keys: Sequence[TransportKey]) -> Band | None:
        """Take over the replica's keys, oldest to newest; the band that was current, where another one is now."""
        before = self.current
        self.current = self._take(keys)
        return before if self.current is not before else None

    def _take(self, keys: Sequence[TransportKey]) -> Band:
        self._bands = {each.key: self._bands.get(each.key) or self._make(each) for each in keys[-MAX_HELD_KEYS:]}
        self._by_ledger = {band.topics.ledger: band for band in self._bands.values()}
        *older, current = self._bands.values()
        self.older = tuple(reversed(older))
        return current

    def _make(self, key: TransportKey) -> Band:
        return Band(Codec(self._ledger_id, key, self._rng), Topics(self._ledger_id, key.key))

    def read(self, topic: str) -> tuple[Band, Address] | None:
        """The band and address of a topic; None for one of another ledger, or of a key that we do not hold."""
        parts = topic.split("/", 3)
        band = self._by_ledger.get(parts[2]) if len(parts) == 4 else None
        address = band.topics.read(topic) if band else None
        return (band, address) if band and address else None

    def filters(self) -> Filters:
        """All that a node subscribes to, with the quality of service of each."""
        topics = self.current.topics
        everything = (
            (topics.inbox(self._me), 0),
            (topics.all_live, 1),
            (topics.all_proofs, 1),
            (topics.queries, 0),
            (topics.beacons, 0),
        )
        return everything + tuple(
            (topic, 0) for band in self.older for topic in (band.topics.inbox(self._me), band.topics.beacons)
        )
