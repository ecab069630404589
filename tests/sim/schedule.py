"""Simulated time: calls in the order of their moments, and of their making where these are equal."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Schedule:
    """What is going to happen. `now` is in seconds since the run began."""

    def __init__(self) -> None:
        self.now = 0.0
        self._number = 0
        self._queue: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def clock(self) -> float:
        """The time, for those who are handed a clock."""
        return self.now

    def after(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        """Call this so much later."""
        self.at(self.now + seconds, call, *arguments)

    def at(self, time: float, call: Callable[..., object], *arguments: Any) -> None:
        """Call this then, or at once where that has passed."""
        self._number += 1
        heapq.heappush(self._queue, (time if time > self.now else self.now, self._number, call, arguments))

    def step(self, until: float = float("inf")) -> bool:
        """Let the next thing happen; false where there is none by `until`, which is now the time."""
        if not self._queue or self._queue[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now, _, call, arguments = heapq.heappop(self._queue)
        call(*arguments)
        return True
