"""Two small things that keep a peer's demands bounded: a set that forgets, and a budget that refills."""

from __future__ import annotations

from collections import OrderedDict


class RecentSet:
    """The last `limit` distinct values added."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[bytes, None] = OrderedDict()

    def add(self, value: bytes) -> bool:
        """Add a value; false when it was there already. Either way it is now the newest."""
        if value in self._values:
            self._values.move_to_end(value)
            return False
        self._values[value] = None
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
        return True

    def __contains__(self, value: bytes) -> bool:
        return value in self._values

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()


class Budget:
    """A token bucket: `burst` at once, `rate` a second in the long run."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Spend `amount`; false, and nothing spent, where less than that is left.

        More than a whole burst is never asked for at once.
        """
        # A clock that steps back refills nothing and takes nothing away.
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True
