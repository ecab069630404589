"""What a node lacks: the notes that `pulling` works with."""

from __future__ import annotations

from dataclasses import dataclass, field

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
