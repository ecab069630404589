"""Early live blocks, which came before those that they follow: kept until the gap is filled, and not asked for.

Rules:

- They are few of each feed, bounded in all, and kept for half a minute: a gap that lasts longer is pulled.
- Anybody with the transport key can make up such blocks. Where there is no room, those that lie farthest beyond what we
  hold go first: a gap that will be filled soon is a short one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from medledger.limits import EARLY_FRAMES, LIVE_BYTES, SEGMENT_BLOCKS

from .messages import Blocks

EARLY_SECONDS = 30.0
NEAR = EARLY_FRAMES * SEGMENT_BLOCKS


class Early(NamedTuple):
    """A frame that waits for the blocks before `seq`, which then was so far `ahead` of what we held."""

    frame: Blocks
    seq: int
    ahead: int
    since: float

    @property
    def size(self) -> int:
        """The bytes of its blocks."""
        return sum(map(len, self.frame.blocks))


class EarlyFrames:
    """The early frames of one node."""

    def __init__(self) -> None:
        self._kept: dict[int, Early] = {}  # by number, the oldest first
        self._of: dict[bytes, list[int]] = {}  # numbers of each feed
        self._far: list[tuple[int, int]] = []  # a heap: the farthest on top, and some that are not kept any more
        self._bytes = 0
        self._number = 0

    def keep(self, frames: Iterable[Blocks], feed: bytes, seq: int, length: int, now: float) -> int:
        """Of these frames, those of a feed begin at `seq` or later, beyond its `length` here. Where the blocks end that
        they wait for: before those that are kept, or after them where there is no room.
        """
        self._expire(now)
        if not all(self._keep(Early(frame, seq, seq - length, now)) for frame in frames if frame.feed == feed):
            return seq + 1
        return min((self._kept[number].seq for number in self._of.get(feed, ())), default=seq)

    def take(self, feed: bytes, length: int) -> list[Blocks]:
        """The feed is this long now: what waited for that, and what may follow it, so that all goes in at once."""
        near = sorted(
            (seq, number) for number in self._of.get(feed, ()) if (seq := self._kept[number].seq) < length + NEAR
        )
        return [self._drop(number).frame for _, number in near] if near and near[0][0] <= length else []

    def _keep(self, new: Early) -> bool:
        """Whether there is room for one."""
        of = self._of.get(new.frame.feed, ())
        farthest = max(of, key=lambda number: self._kept[number].seq, default=None)
        if len(of) >= EARLY_FRAMES and farthest is not None:
            if self._kept[farthest].seq <= new.seq:
                return False
            self._drop(farthest)
        while self._bytes + new.size > LIVE_BYTES:
            ahead, number = self._far[0] if self._far else (0, 0)
            if -ahead <= new.ahead:
                return False
            if number in self._kept:
                self._drop(number)
            else:
                heapq.heappop(self._far)
        self._number += 1
        self._kept[self._number] = new
        self._of.setdefault(new.frame.feed, []).append(self._number)
        self._bytes += new.size
        heapq.heappush(self._far, (-new.ahead, self._number))
        if len(self._far) > 2 * len(self._kept) + EARLY_FRAMES:
            self._far = sorted((-early.ahead, number) for number, early in self._kept.items())
        return True

    def _drop(self, number: int) -> Early:
        early = self._kept.pop(number)
        self._bytes -= early.size
        of = self._of[early.frame.feed]
        of.remove(number)
        if not of:
            del self._of[early.frame.feed]
        return early

    def _expire(self, now: float) -> None:
        while self._kept:
            number, oldest = next(iter(self._kept.items()))
            if now < oldest.since + EARLY_SECONDS:
                break
            self._drop(number)
