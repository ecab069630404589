"""The clocks of a simulated machine: a wall clock that lies at will, and a monotonic one that does not."""

from __future__ import annotations

from collections.abc import Callable
from math import nextafter
from random import Random

from medledger.header import Clock, Sync

EPOCH_MS = 1_800_000_000_000
TEN_YEARS_MS = 10 * 365 * 86_400_000


class MachineClock:
    """What one machine believes about time. `world` gives the seconds since the run began."""

    def __init__(self, world: Callable[[], float], rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._offset_ms = 0
        self._frozen: int | None = None
        self.boot(0.0)

    def boot(self, at: float) -> None:
        """The machine starts: its monotonic clock begins anew, somewhere."""
        self._base = self._rng.uniform(0, 1000) - at
        self.boot_id = self._rng.randbytes(8)

    @property
    def monotonic(self) -> float:
        """Seconds that never step back while the machine runs."""
        return self._world() + self._base

    def moment(self, time: float) -> float:
        """When, in the world's seconds, the monotonic clock has reached this time: not a rounding error earlier."""
        moment = time - self._base
        while moment + self._base < time:
            moment = nextafter(moment, float("inf"))
        return moment

    def jump(self) -> str:
        """Let the wall clock do one of the things that wall clocks do; its name."""
        kind = self._rng.choice(
            ["ten years ahead", "ten years back", "1970", "frozen", "two weeks back", "right again"]
        )
        self._frozen = None
        match kind:
            case "ten years ahead":
                self._offset_ms = TEN_YEARS_MS
            case "ten years back":
                self._offset_ms = -TEN_YEARS_MS
            case "1970":
                self._offset_ms = -EPOCH_MS - int(self._world() * 1000)
            case "frozen":
                self._frozen = self._wall()
            case "two weeks back":
                self._offset_ms -= 14 * 86_400_000
            case _:
                self._offset_ms = 0
        return kind

    def _wall(self) -> int:
        return max(0, EPOCH_MS + self._offset_ms + int(self._world() * 1000))

    def read(self) -> tuple[int, Clock]:
        """The clock as a ledger reads it."""
        now = self._wall() if self._frozen is None else self._frozen
        return now, Clock(int(self.monotonic * 1000), self.boot_id, Sync.NONE)
