"""What the replica holds of its feeds, as the frontier counts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from medledger.fork import ForkProof

from .frontier import Head, Height, height
from .replica import Replica
from .roster import Roster


class Heights:
    """The heights of one replica, always in an order that repeats: the newest of them is told in beacons.

    Branches are read of governors' forked feeds only: nobody shares any others.
    """

    def __init__(self, replica: Replica, roster: Roster) -> None:
        self._replica = replica
        self._roster = roster

    def all(self) -> dict[bytes, Height]:
        """Of every feed that has a head or a fork."""
        heads, forks = self._replica.frontier(), self._replica.forks
        return {feed: self._height(feed, heads.get(feed), forks) for feed in dict.fromkeys((*heads, *forks))}

    def of(self, feeds: Iterable[bytes]) -> dict[bytes, Height]:
        """Of these feeds, and of all that have forked: their branches grow without a word."""
        forks = self._replica.forks
        return {feed: self._height(feed, self._replica.head(feed), forks) for feed in sorted({*feeds, *forks})}

    def _height(self, feed: bytes, head: Head | None, forks: Mapping[bytes, ForkProof]) -> Height:
        fork = forks.get(feed)
        shared = fork is not None and self._roster.control(feed)
        return height(head, fork, [block_id for _, block_id in self._replica.branch_places(feed)] if shared else ())
