"""Precedence: how long data feeds wait for the feeds that come first.

Who may write is better known before what they wrote, but nobody may stop the one by lies about the other. Rules:

- Data feeds wait for a few seconds, and for a few more with each block of a feed that comes first.
- When that patience has run out there is none for a while, whatever anybody shows.
"""

from __future__ import annotations

from medledger.limits import ANSWER_SECONDS, BACKOFF_MAX_SECONDS

PATIENCE_SECONDS = 2 * ANSWER_SECONDS


class Precedence:
    """The patience of one node."""

    def __init__(self) -> None:
        self._since = float("-inf")

    def until(self, now: float) -> float:
        """Until when data feeds wait while one that comes first can be had: a time before now where they do not."""
        if now >= self._since + BACKOFF_MAX_SECONDS:
            self._since = now
        return self._since + PATIENCE_SECONDS

    def gained(self, now: float) -> None:
        """A block of a feed that comes first has come of a pull."""
        self._since = now
