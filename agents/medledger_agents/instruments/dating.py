"""When a device measured what it signed, by this box's clock: between which two moments.

A device need not know the time. It counts milliseconds since it was switched on (its uptime), and this box learns when
that was at the earliest:

- A batch whose counter a hello did not know yet was sealed after that hello. The device was switched on not earlier
  than the hello was said, less that batch's uptime.
- A hello was not said before the moment at which the line was last seen quiet. Since then it may have waited for this
  box, however late it is read.
- Clocks run apart, so the bound gives way with time; and a batch that came in earlier than the bound allows shows that
  the device's clock runs fast.

A batch was measured between what follows for its first reading, and now. Before the bound is known it is of no known
time: what a device kept may be of another patient. The bound holds for one boot, whenever the line is cut meanwhile.
All is reckoned by the monotonic clock, and only the result said in UTC: a wall clock that is set changes nothing.
"""

from __future__ import annotations

from typing import Final

from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.messages import Hello

from .envelope import Span

SLACK_MS: Final = 2000
"""How long bytes may be on their way from the device to where this box sees them: buffers of adapters, slow lines."""

DRIFT: Final = 1024
"""Two clocks run apart by at most one part in so many (docs/serial-link.md); cheap crystals by one in 10,000."""


class Dating:
    """Dates the batches of one line. Times are ms of this box's monotonic clock, but for `utc`."""

    def __init__(self) -> None:
        self._boot = b""
        self._next = 0  # what the last hello called its next batch
        self._said = 0  # not before then
        self._bound: int | None = None  # the device was not switched on earlier
        self._learnt = 0  # when that was learnt

    def greeted(self, hello: Hello, quiet: int) -> None:
        """The device said hello, not before the line was quiet then."""
        if hello.boot != self._boot:
            self._boot, self._bound = hello.boot, None
        self._next, self._said = hello.next, quiet

    def span(self, batch: SignedBatch, now: int, utc: int) -> Span | None:
        """Between which UTC ms a batch was measured that came in not later than `now`, which is `utc`; or None."""
        if batch.boot != self._boot:
            return None
        held = None if self._bound is None else self._bound - (now - self._learnt) // DRIFT
        told = self._said - SLACK_MS - batch.uptime if batch.counter >= self._next else None
        known = [each for each in (held, told) if each is not None]
        if not known:
            return None
        bound = min(max(known), now - SLACK_MS - batch.uptime)
        if bound != held:
            self._bound, self._learnt = bound, now
        return utc - now + bound + batch.readings[0][0], utc
