"""How fast something goes, and how long the rest will take."""

from __future__ import annotations

from collections import deque
from typing import Final

from .output import duration_text, number_text, size_text

WINDOW_SECONDS: Final = 10.0
_SPACING_SECONDS: Final = 0.1


class Rate:
    """Blocks and bytes a second, over the last seconds. Hand it running totals."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, blocks: int, size: int) -> None:
        """So much was done by now."""
        samples = self._samples
        if samples and (blocks < samples[-1][1] or size < samples[-1][2] - size // 2):
            samples.clear()  # it began anew
        if len(samples) > 1 and now - samples[-2][0] < _SPACING_SECONDS:
            samples.pop()
        samples.append((now, blocks, size))
        while len(samples) > 2 and now - samples[1][0] > WINDOW_SECONDS:
            samples.popleft()

    @property
    def blocks(self) -> float:
        """Blocks a second."""
        return self._per_second(1)

    @property
    def bytes(self) -> float:
        """Bytes a second."""
        return self._per_second(2)

    def _per_second(self, at: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        return max(0.0, (last[at] - first[at]) / seconds) if seconds > 0 else 0.0


def rate_text(rate: Rate) -> str:
    """Both, for people."""
    return f"{number_text(round(rate.blocks))} blocks/s, {size_text(round(rate.bytes))}/s"


def time_left_text(left: int, per_second: float) -> str:
    """How long `left` more will take, as the end of a sentence; nothing where that cannot be told."""
    if left <= 0 or per_second <= 0:
        return ""
    return f", {duration_text(round(left / per_second) * 1000)} left"
