"""Rates, measured between one picture of gossip and the next.

Rules:

- What came between two pictures came at their end: a status file is written at most two seconds after anything has
  happened, and not at all while nothing does. So no more than two seconds count for it.
- While there is no newer picture the last rate stands until one is due; then it is nothing.
- A process that was started anew counts from nothing again.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Final

from medledger.limits import STATUS_SECONDS

from .netdata import Picture

HISTORY: Final = 120

Counts = tuple[int, int]


class Meter:
    """The traffic of one node as one watches it. `rates` are bytes a second, in and out, one pair for each look."""

    def __init__(self) -> None:
        self.rates: deque[tuple[float, float]] = deque([(0.0, 0.0)] * HISTORY, maxlen=HISTORY)
        self._taken = float("-inf")  # when the last picture was
        self._boot = ""
        self._total: Counts = (0, 0)
        self._peers: dict[str, Counts] = {}
        self._rate = (0.0, 0.0)
        self._peer_rates: dict[str, tuple[float, float]] = {}

    def of(self, feed: str) -> tuple[float, float]:
        """A peer's rates."""
        return self._peer_rates.get(feed, (0.0, 0.0))

    def look(self, picture: Picture) -> None:
        """One more picture, or the same one again."""
        status = picture.status
        taken = time.monotonic() - picture.seconds
        total = (status["traffic"]["in"]["bytes"], status["traffic"]["out"]["bytes"])
        peers = _peers(status["peer_list"])
        if status["boot"] != self._boot:
            self._rate, self._peer_rates = (0.0, 0.0), {}
        elif taken > self._taken + 0.05:
            seconds = min(STATUS_SECONDS, taken - self._taken)
            self._rate = _rate(self._total, total, seconds)
            self._peer_rates = {
                feed: _rate(self._peers.get(feed, (0, 0)), counts, seconds) for feed, counts in peers.items()
            }
        elif picture.seconds > STATUS_SECONDS + 1:
            self._rate, self._peer_rates = (0.0, 0.0), {}
        self.rates.append(self._rate)
        if taken > self._taken + 0.05 or status["boot"] != self._boot:
            self._taken, self._boot, self._total, self._peers = taken, status["boot"], total, peers


def _peers(rows: list[dict[str, Any]]) -> dict[str, Counts]:
    """The bytes of each member, of all its boots."""
    found: dict[str, Counts] = {}
    for row in rows:
        before = found.get(row["feed"], (0, 0))
        found[row["feed"]] = (before[0] + row["bytes_in"], before[1] + row["bytes_out"])
    return found


def _rate(before: Counts, now: Counts, seconds: float) -> tuple[float, float]:
    return max(0.0, (now[0] - before[0]) / seconds), max(0.0, (now[1] - before[1]) / seconds)
