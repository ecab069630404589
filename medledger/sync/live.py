"""Live blocks on their way into the replica.

Rules:

- They are gathered while frames are waiting and imported together, at most 1,000 frames or 4 MiB: a burst costs few
  commits, and a single block goes in at once.
- A frame whose blocks were refused for good is known again by the hash of its blocks. Never by a feed and a seq: these
  are anybody's to name, and the true block must still get in.
- Each feed has a budget of bytes. What comes beyond it is dropped, and pulled in its turn: whoever floods one feed's
  topic holds up that feed, and no other.
- Blocks that came before those that they follow are *early*, and kept for a while (see `early`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b

from medledger.errors import BlockError, BlockSignatureError, BodyError, MalformedBlockError
from medledger.limits import (
    BAD_BLOCKS,
    LIVE_BYTES,
    LIVE_BYTES_BURST,
    LIVE_BYTES_PER_SECOND,
    LIVE_FEEDS,
    LIVE_FRAME_BYTES,
    LIVE_FRAMES,
)

from .bounded import Budget, RecentSet
from .early import EarlyFrames
from .messages import Blocks

_FOR_GOOD = (MalformedBlockError, BlockSignatureError, BodyError)
FLOODED_SECONDS = 10.0
_LEAST_COST = LIVE_FRAME_BYTES // 64  # what a small frame takes of its feed's budget: handling it is work too


class Fate(Enum):
    """What becomes of a live frame."""

    GATHERED = "gathered"
    BAD = "repeated bad blocks"
    BEYOND = "live blocks beyond their feed's budget"


@dataclass(slots=True)
class Share:
    """What one feed may take of the live path."""

    budget: Budget
    dropped_at: float = float("-inf")


class LiveBlocks:
    """What has come and is not imported yet, and what must not be tried again."""

    def __init__(self) -> None:
        self._frames: list[Blocks] = []
        self._bytes = 0
        self._bad = RecentSet(BAD_BLOCKS)
        self._shares: OrderedDict[bytes, Share] = OrderedDict()
        self._early = EarlyFrames()

    def __bool__(self) -> bool:
        return bool(self._frames)

    @property
    def full(self) -> bool:
        """No more should be gathered before an import."""
        return len(self._frames) >= LIVE_FRAMES or self._bytes >= LIVE_BYTES

    def add(self, frame: Blocks, now: float) -> Fate:
        """Gather a frame, unless it was refused for good or its feed has had its share."""
        if _hash(frame) in self._bad:
            return Fate.BAD
        share = self._share(frame.feed, now)
        if not share.budget.take(max(_LEAST_COST, _size(frame)), now):
            share.dropped_at = now
            return Fate.BEYOND
        self._gather(frame)
        return Fate.GATHERED

    def flooded(self, feed: bytes, now: float) -> bool:
        """Whether blocks of a feed were dropped lately, so that its gaps are our own doing."""
        share = self._shares.get(feed)
        return share is not None and now - share.dropped_at < FLOODED_SECONDS

    def take(self) -> list[Blocks]:
        """All frames gathered, to import."""
        frames, self._frames, self._bytes = self._frames, [], 0
        return frames

    def refused(self, frames: list[Blocks], errors: Iterable[BlockError]) -> None:
        """Remember which of these frames were bad; one that cannot be told from others shows when it comes alone."""
        for error in errors:
            if isinstance(error, _FOR_GOOD):
                suspects = [frame for frame in frames if error.feed in (None, frame.feed)]
                if len(suspects) == 1:
                    self._bad.add(_hash(suspects[0]))

    def keep(self, frames: list[Blocks], feed: bytes, seq: int, length: int, now: float) -> int:
        """Those of a feed are early: see `EarlyFrames.keep`."""
        return self._early.keep(frames, feed, seq, length, now)

    def advanced(self, feed: bytes, length: int) -> None:
        """Our feed is this long now: what waited for that is imported next."""
        for frame in self._early.take(feed, length):
            self._gather(frame)

    def _gather(self, frame: Blocks) -> None:
        self._frames.append(frame)
        self._bytes += _size(frame)

    def _share(self, feed: bytes, now: float) -> Share:
        share = self._shares.get(feed)
        if share is None:
            share = self._shares[feed] = Share(Budget(LIVE_BYTES_PER_SECOND, LIVE_BYTES_BURST, now))
            if len(self._shares) > LIVE_FEEDS:
                self._shares.popitem(last=False)
        self._shares.move_to_end(feed)
        return share


def _size(frame: Blocks) -> int:
    return sum(map(len, frame.blocks))


def _hash(frame: Blocks) -> bytes:
    digest = blake2b(digest_size=16)
    for block in frame.blocks:
        digest.update(len(block).to_bytes(4, "big") + block)
    return digest.digest()
