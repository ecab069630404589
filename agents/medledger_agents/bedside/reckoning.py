"""What a bedside box can say about a time that its own clock alone tells: that clock may be wrong, and may be set.

What a device without a synchronised clock measured is dated by the box's clock, and who lies where by the ward
system's. Two things are known without comparing them by hope:

- *Order.* By the monotonic clock, which nobody sets: what was measured after everything that the box was told about a
  device needs no other clock. What was told about a time to come counts as told at that time. Before this start of the
  box only its own blocks say when something was told, by the same monotonic clock, unless the machine was started or
  its wall clock was set since; then it counts as told at this start.
- *Lead.* A message of the ward system is received no earlier than it was sent (MSH-7). The sender's clock therefore
  shows at least that, and what has passed since; our clock is ahead of it by the difference at most. A difference
  below zero proves that ours is behind. One above may also be a message that was late. Either way the clocks are known
  to agree only while the difference is small. It is kept for each sender, of its last messages the least.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

Clocks = Callable[[], tuple[int, int]]
"""The wall clock (UTC ms) and the monotonic clock (ms)."""

PROMPT_MS: Final = 5_000
"""How long a message may wait to be decided on and still say something about clocks; how far the two clocks of this
machine may drift apart from one start of the agent to the next."""

DRIFT: Final = 10_000
"""The monotonic clock is off by at most one part in so many."""

MESSAGES: Final = 64
"""Messages of a sender that count: one that is wrong about its time by years is forgotten at last."""

MAX_SENDERS: Final = 16


def clocks() -> tuple[int, int]:
    """Those of this machine."""
    return time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000


class Reckoning:
    """The clocks of one run of an agent. `look` before each decision: the rest is about that moment."""

    def __init__(self, bound: int, read: Clocks = clocks) -> None:
        self._bound = bound
        self._read = read
        self.wall, self.steady = self._began = read()
        self._set: int | None = None  # since when (steady) the wall clock stands as it does, where it was set
        self._told: dict[str, int] = {}  # by device: since when (steady) nothing new has been said
        self._senders: dict[str, deque[tuple[int, int]]] = {}  # what to add to `steady` at least, and since when

    def look(self) -> None:
        """It is now."""
        before = self.wall - self.steady
        self.wall, self.steady = self._read()
        if abs(self.wall - self.steady - before) > PROMPT_MS:
            self._set = self.steady

    def dates(self, received: int) -> bool:
        """Whether what came in then (UTC ms by our clock) has a time by our clock as it stands now."""
        return self.wall >= received and (self._set is None or self.steady - (self.wall - received) >= self._set)

    # --- order ----------------------------------------------------------------------------------------------------

    def told(self, device: str, ahead: int = 0) -> None:
        """Something was said about who is at a device, about a time so many ms ahead."""
        self._told[device] = max(self._told.get(device, self.steady), self.steady + max(0, ahead))

    def told_before(self, device: str, wall: int, steady: int, ahead: int = 0) -> None:
        """The last run was told so, by the clocks of the block that says it."""
        same = abs((self.wall - self.steady) - (wall - steady)) <= PROMPT_MS and steady <= self._began[1]
        since = (steady if same else self._began[1]) + max(0, ahead)
        self._told[device] = max(self._told.get(device, since), since)

    def pending(self, device: str) -> bool:
        """Whether something was told about the device of a time that may still be to come."""
        return self._told.get(device, self.steady) > self.steady

    def after_all(self, device: str, first: int) -> bool:
        """Whether everything about the device was told before `first` (UTC ms by our clock as it stands)."""
        return self.steady - (self.wall - first) >= self._told.get(device, self._began[1])

    # --- the ward system's clock ------------------------------------------------------------------------------------

    def heard(self, sender: str, sent: int, received: int) -> None:
        """A message that says when it was sent, by its sender's clock, came in at `received` by ours."""
        waited = self.wall - received
        if waited > PROMPT_MS or not self.dates(received):
            return  # kept by the last run, or our clock was set in between
        if sender not in self._senders and len(self._senders) >= MAX_SENDERS:
            del self._senders[next(iter(self._senders))]
        steady = self.steady - waited
        self._senders.setdefault(sender, deque(maxlen=MESSAGES)).append((sent - steady, steady))

    def leads(self) -> list[int]:
        """By how much our clock is ahead of each sender's, at most (ms)."""
        return [
            self.wall - max(self.steady + offset - max(0, self.steady - at) // DRIFT for offset, at in heard)
            for heard in self._senders.values()
        ]

    def shows(self) -> Sequence[int]:
        """What the senders' clocks show (UTC ms), first and last, where their messages came at once; or nothing."""
        heard = [each for sender in self._senders.values() for each in sender]
        last = [self.steady + offset + max(0, self.steady - at) // DRIFT for offset, at in heard]
        return (self.wall - min(self.leads()), max(last)) if heard else ()

    def agrees(self) -> bool:
        """Whether our clock is known to agree with the ward system's."""
        leads = self.leads()
        return bool(leads) and all(abs(lead) <= self._bound for lead in leads)

    def behind(self) -> int:
        """By how much our clock is behind, at least (ms); 0 where it is within the bound, or nothing says so."""
        least = min(self.leads(), default=0)
        return -least if least < -self._bound else 0
