"""Which broker is next, and after what pause.

Rules:

- The brokers are taken in the order they were named, round and round, one at a time. Whichever works is kept until it
  is lost; then it is the next one's turn. Nothing leads back to the first but the end of a round.
- Pauses double with each round in which none worked. They differ from box to box and time to time, so that a broker
  that comes back is not overrun. A broker that takes us and drops us at once has not worked.
"""

from __future__ import annotations

from random import Random

from medledger.limits import RECONNECT_MAX_SECONDS, RECONNECT_SECONDS, STEADY_SECONDS


class Turns:
    """The order of `count` brokers."""

    def __init__(self, count: int, rng: Random) -> None:
        self._count = count
        self._rng = rng
        self._failures = 0
        self.index = 0

    @property
    def rounds(self) -> int:
        """Whole rounds that have failed since a broker last worked."""
        return self._failures // self._count

    def next(self, lasted: float) -> float:
        """Turn to the next broker; `lasted` is how long the last one held. How long to wait first."""
        self.index = (self.index + 1) % self._count
        self._failures = 0 if lasted >= STEADY_SECONDS else self._failures + 1
        # More rounds than these change nothing, and would overflow some day.
        longest = min(RECONNECT_MAX_SECONDS, RECONNECT_SECONDS * 2 ** min(self.rounds, 16))
        return self._rng.uniform(longest / 5, longest)
