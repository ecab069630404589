"""Live blocks on their way into the replica.

Rules:

- They are gathered while frames are waiting and imported together, at most 1,000 frames or 4 MiB: a burst costs few
  commits, and a single block goes in at once.
- A frame whose blocks were refused for good is known again by the hash of its blocks. Never by a feed and a seq: these
  are anybody's to name, and the true block must still get in.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from medledger.errors import BlockError, BlockSignatureError, BodyError, MalformedBlockError
from medledger.limits import BAD_BLOCKS, LIVE_BYTES, LIVE_FRAMES

from .bounded import RecentSet
from .messages import Blocks

_FOR_GOOD = (MalformedBlockError, BlockSignatureError, BodyError)


class LiveBlocks:
    """What has come and is not imported yet, and what must not be tried again."""

    def __init__(self) -> None:
        self._frames: list[Blocks] = []
        self._bytes = 0
        self._bad = RecentSet(BAD_BLOCKS)

    def __bool__(self) -> bool:
        return bool(self._frames)

    @property
    def full(self) -> bool:
        """No more should be gathered before an import."""
        return len(self._frames) >= LIVE_FRAMES or self._bytes >= LIVE_BYTES

    def add(self, frame: Blocks) -> bool:
        """Gather a frame; false where it is one that was refused for good."""
        if _hash(frame) in self._bad:
            return False
        self._frames.append(frame)
        self._bytes += sum(map(len, frame.blocks))
        return True

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


def _hash(frame: Blocks) -> bytes:
    digest = blake2b(digest_size=16)
    for block in frame.blocks:
        digest.update(len(block).to_bytes(4, "big") + block)
    return digest.digest()
