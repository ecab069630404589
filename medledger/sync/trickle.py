"""The Trickle timer of RFC 6206: when to send a beacon, so that the network as a whole sends few.

Rules (section 4.2 of the RFC, its steps in brackets):

- Time is cut into intervals of I seconds, Imin <= I <= Imax. In each, the beacon is due at a random point of the
  second half [2], unless k equal beacons were heard before it [3, 4]. At its end I doubles, to at most Imax [5].
- Each voice counts once in an interval: nobody makes us silent by talking.
- An inconsistency starts a new interval of Imin at once, unless I is Imin already [6].
- In one point it is not the RFC's: the first beacon after connecting, and the answer to such a one, is due in the first
  half of its interval. There is nothing to listen for yet, and somebody waits.
- Pure: time is passed in, in seconds of any monotonic clock, and randomness too. However far time jumps ahead, at most
  one beacon becomes due for it; should time step back, the timer waits no longer than one interval.
"""

from __future__ import annotations

from random import Random


class Trickle:
    """One timer. `next` is the time at which `poll` has something to do."""

    def __init__(self, now: float, rng: Random, *, minimum: float, maximum: float, redundancy: int) -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._redundancy = redundancy
        self._rng = rng
        self._fired = False
        self._begin(now, minimum)

    @property
    def next(self) -> float:
        """When to call `poll`."""
        return self._end if self._fired else self._fire_at

    def heard(self, voice: bytes) -> None:
        """Count a beacon equal to ours [3], and whose it is."""
        if len(self._heard) < self._redundancy:
            self._heard.add(voice)

    def reset(self, now: float, *, awaited: bool = False) -> None:
        """Something differs: tell soon [6]; sooner where somebody waits for it."""
        if self.interval > self._minimum:
            self._begin(now, self._minimum, awaited=awaited)

    def restart(self, now: float) -> None:
        """Begin anew at Imin, whatever was before: after connecting, when what was heard says nothing any more."""
        self._begin(now, self._minimum, awaited=True)

    def poll(self, now: float) -> bool:
        """Let time pass; true when a beacon is to be sent now."""
        due = False
        if not self._fired and now >= self._fire_at:
            self._fired = True
            due = len(self._heard) < self._redundancy
        if now >= self._end or now < self._start:
            self._begin(now, min(self.interval * 2, self._maximum))
        return due

    def _begin(self, now: float, interval: float, *, awaited: bool = False) -> None:
        self.interval = interval
        self._start = now
        self._fire_at = now + interval * self._rng.uniform(0.5, 1.0) * (0.5 if awaited else 1.0)
        self._end = now + interval
        self._heard: set[bytes] = set()
        self._fired = False
