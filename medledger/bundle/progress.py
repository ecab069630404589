"""How far the export, the fetching or the import of a bundle has come, told to whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Blocks and bytes of segments: done, those among them that needed no doing, and all there are."""

    total_blocks: int
    total_bytes: int | None  # None where nobody knows yet: in an export
    blocks: int = 0
    bytes: int = 0
    kept_blocks: int = 0
    kept_bytes: int = 0


Notify = Callable[[Progress], None]


class Meter:
    """Counts, and tells after each step."""

    def __init__(self, notify: Notify | None, total_blocks: int, total_bytes: int | None = None) -> None:
        self.progress = Progress(total_blocks, total_bytes)
        self._notify = notify

    def moved(self, count: int) -> None:
        """So many more bytes; fewer than none where they have to come again."""
        self.progress.bytes += count
        self._tell()

    def done(self, blocks: int) -> None:
        """So many more blocks."""
        self.progress.blocks += blocks
        self._tell()

    def kept(self, blocks: int, size: int) -> None:
        """These were there already."""
        progress = self.progress
        progress.blocks += blocks
        progress.bytes += size
        progress.kept_blocks += blocks
        progress.kept_bytes += size
        self._tell()

    def _tell(self) -> None:
        if self._notify is not None:
            self._notify(self.progress)
