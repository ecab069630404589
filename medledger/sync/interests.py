"""What a node lacks: the notes that `pulling` works with.

Rules:

- An interest is one feed of which peers hold more than we do, or other blocks, with what each of them has shown: a peer
  is asked for no more than that. What one makes up is asked of it alone.
- Control feeds and our own come first. Within either, whichever was asked for goes to the end: however much of one feed
  is lacking, the others have their turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from medledger.limits import MAX_INTERESTS

from .peers import PeerId
from .runs import segment_end


class Shown(NamedTuple):
    """What a peer has shown of a feed: its length, and the beginning of its head's id where that is known."""

    stop: int
    head: bytes


@dataclass(slots=True)
class Search:
    """Looking for the place where a peer's branch of a feed leaves ours.

    It is asked for up to the end of a segment, as far as the peer goes: only there may be who vouches for it.
    """

    start: int
    stop: int
    step: int = 1

    def further_back(self, seq: int, shown: int) -> None:
        """The block at `seq` does not link. The peer has shown a feed that long."""
        self.start = max(0, seq - self.step)
        self.stop = max(seq + 1, min(shown, segment_end(seq)))
        self.step *= 2


@dataclass(slots=True)
class Interest:
    """One feed that we lack blocks of."""

    feed: bytes
    sources: dict[PeerId, Shown] = field(default_factory=dict)
    guessed: bool = False  # nobody has shown these blocks: we ask whoever may have them
    not_before: float = float("-inf")
    search: Search | None = None

    @property
    def stop(self) -> int:
        """As far as anybody says that the feed goes."""
        return max((shown.stop for shown in self.sources.values()), default=0)


class Interests:
    """All interests of one node, in the order they are asked for."""

    def __init__(self) -> None:
        self._first: OrderedDict[bytes, Interest] = OrderedDict()  # our own feed and control feeds
        self._later: OrderedDict[bytes, Interest] = OrderedDict()

    def __len__(self) -> int:
        return len(self._first) + len(self._later)

    def __iter__(self) -> Iterator[Interest]:
        """In their order. What is dropped or asked for meanwhile is passed over or not, but harms nothing."""
        return chain(list(self._first.values()), list(self._later.values()))

    def get(self, feed: bytes) -> Interest | None:
        """The interest in a feed, if there is one."""
        return self._first.get(feed) or self._later.get(feed)

    def first(self) -> list[Interest]:
        """Those that come first."""
        return list(self._first.values())

    def later(self) -> list[Interest]:
        """The others."""
        return list(self._later.values())

    def make(self, feed: bytes, *, first: bool) -> Interest | None:
        """The interest in a feed, a new one where there is none; None where there is no room."""
        found = self.get(feed)
        queue = self._first if first else self._later
        if found is None and len(queue) < MAX_INTERESTS:
            found = queue[feed] = Interest(feed)
        return found

    def asked(self, feed: bytes) -> None:
        """This feed was asked for: it is the others' turn."""
        for queue in (self._first, self._later):
            if feed in queue:
                queue.move_to_end(feed)

    def promote(self, feed: bytes) -> None:
        """This feed comes first from now on."""
        interest = self._later.pop(feed, None)
        if interest is not None:
            self._first[feed] = interest

    def drop(self, feed: bytes) -> None:
        """Nothing more is to be had of this feed."""
        self._first.pop(feed, None)
        self._later.pop(feed, None)
