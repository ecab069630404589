"""When a device measured what it signed, by this box's clock: between which two moments.

A device need not know the time: with each transmission of a batch it says how long ago it sealed it
(docs/serial-link.md). The transmission itself is not older than the moment at which the line was last seen quiet. Since
then it may have waited for this box, however late it is read: while nothing can be logged, nothing is read either.

All is reckoned by the monotonic clock, and only the result said in UTC, by this box's clock as it stands at `utc`. How
far that clock may be believed, bedside/ward.py knows.
"""

from __future__ import annotations

from typing import Final

from medledger_bridge.link.batch import SignedBatch

from .envelope import Span

SLACK_MS: Final = 2000
"""How long bytes may be on their way from the device to where this box sees them: buffers of adapters, slow lines."""

DRIFT: Final = 990
"""What a device counts is off by at most one part in so many: by one in 1,000 of what passed (docs/serial-link.md)."""


def measured(batch: SignedBatch, quiet: int, now: int, utc: int) -> Span | None:
    """Between which UTC ms a batch was measured; None where its device does not know how old it is.

    It came in between `quiet` and `now`, ms of the monotonic clock; `utc` is the time now.
    """
    if batch.age is None:
        return None
    oldest = batch.age + batch.uptime - batch.readings[0][0]
    return utc - (now - quiet) - SLACK_MS - oldest - oldest // DRIFT, utc - batch.age + batch.age // DRIFT
