"""What a node lacks, and the pulls by which it gets it: the notes that `pulling` works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from .messages import Status, Want
from .peers import PeerId


@dataclass(slots=True)
class Search:
    """Looking for the place where a peer's branch of a feed leaves ours."""

    start: int
    stop: int
    step: int = 1

    def further_back(self, seq: int) -> None:
        """The block at `seq` does not link either."""
        self.step *= 2
        self.start, self.stop = max(0, seq - self.step), seq + 1


@dataclass(slots=True)
class Interest:
    """One feed that we lack blocks of."""

    feed: bytes
    stop: int
    head: bytes
    sources: dict[PeerId, None] = field(default_factory=dict)
    not_before: float = float("-inf")
    search: Search | None = None


@dataclass(slots=True)
class Pull:
    """One want under way."""

    peer: PeerId
    want: Want
    deadline: float
    frames: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    count: int | None = None  # of frames that are coming, once announced
    status: Status | None = None

    @property
    def whole(self) -> bool:
        """All frames that were announced are here."""
        return self.count is not None and len(self.frames) == self.count

    @property
    def run(self) -> int:
        """The number of blocks up to the first frame that is missing."""
        blocks = 0
        for index in range(len(self.frames)):
            if index not in self.frames:
                break
            blocks += len(self.frames[index])
        return blocks

    @property
    def blocks(self) -> list[bytes]:
        """What has arrived, in the order it was sent in."""
        return [block for index in sorted(self.frames) for block in self.frames[index]]
