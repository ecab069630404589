"""The Trickle timer of RFC 6206: when to send a beacon, so that the network as a whole sends few.

Rules (section 4.2 of the RFC, its steps in brackets):

- Time is cut into intervals of I seconds, Imin <= I <= Imax. In each, the beacon is due at a random point of the
  second half [2], unless k equal beacons were heard before it [3, 4]. At its end I doubles, to at most Imax [5].
- Each voice counts once in an interval: nobody makes us silent by talking.
- An inconsistency starts a new interval of Imin at once, unless I is Imin already [6].
- In two points it is not the RFC's. The first beacon after connecting is due in the second quarter of its interval, and
  the answer to such a one from that quarter on: there is nothing to listen for yet, and somebody waits.
- And the random point is such that of n nodes one or two are due long before the others, and further ones in numbers
  that grow with time (as in RFC 5740): in the time that the first take to be heard hardly anybody else speaks, in short
  intervals and among thousands too. Fewer than k heard in an interval tell how few there are; else n is as many as
  there may be.
- Pure: time is passed in, in seconds of any monotonic clock, and randomness too. However far time jumps ahead, at most
  one beacon becomes due for it; should time step back, the timer waits no longer than one interval.
"""

from __future__ import annotations

from math import log
from random import Random


class Trickle:
    """One timer. `next` is the time at which `poll` has something to do; `most` is how many nodes there may be."""

    def __init__(self, now: float, rng: Random, *, minimum: float, maximum: float, redundancy: int) -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._redundancy = redundancy
        self._rng = rng
        self._fired = False
        self.most = 1
        self._others = redundancy  # that were heard in the last whole interval
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
            self._begin(now, self._minimum, earliest=0.25 if awaited else 0.5)

    def restart(self, now: float) -> None:
        """Begin anew at Imin, whatever was before: after connecting, when what was heard says nothing any more."""
        self._others = self._redundancy
        self._begin(now, self._minimum)
        self._fire_at = now + self._minimum * self._rng.uniform(0.25, 0.5)

    def poll(self, now: float) -> bool:
        """Let time pass; true when a beacon is to be sent now."""
        due = False
        if not self._fired and now >= self._fire_at:
            self._fired = True
            due = len(self._heard) < self._redundancy
        if now >= self._end or now < self._start:
            self._others = len(self._heard)
            self._begin(now, min(self.interval * 2, self._maximum))
        return due

    def _begin(self, now: float, interval: float, *, earliest: float = 0.5) -> None:
        self.interval = interval
        self._start = now
        self._fire_at = now + interval * (earliest + (1 - earliest) * self._turn())
        self._end = now + interval
        self._heard: set[bytes] = set()
        self._fired = False

    def _turn(self) -> float:
        """A random point from 0 to 1, before which about n^point - 1 of n nodes are due."""
        crowd = self.most if self._others >= self._redundancy else self._others + 1
        share = self._rng.random()
        return log(1 + share * (crowd - 1), crowd) if crowd > 1 else share
