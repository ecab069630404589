"""How a sync that stays stands, said in lines: for a log, where no terminal shows it all the time.

A line at the start, and one whenever the state has become another and stayed so for a moment: blocks that come one by
one make a replica fall behind and catch up many times a minute, and nobody wants to read that.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from .netdata import UNANSWERED, unanswered
from .output import count_text, printable, remark

STEADY_SECONDS: Final = 2.0


class Announcer:
    """Says it on stderr, unless that is a terminal or nobody wants it."""

    def __init__(self, *, wanted: bool) -> None:
        self._on = wanted and not sys.stderr.isatty()
        self._said: str | None = None
        self._state = ""
        self._since = 0.0

    def look(self, status: Mapping[str, Any], now: float) -> None:
        """Say how it stands, where that is news."""
        state = _state(status)
        if state != self._state:
            self._state, self._since = state, now
        if self._on and state != self._said and (self._said is None or now - self._since >= STEADY_SECONDS):
            self._said = state
            held = f"{count_text(status['blocks'], 'block')} of {count_text(status['feeds'], 'feed')} here"
            remark(f"{printable(status['broker'])}: {state}; {held}.")


def _state(status: Mapping[str, Any]) -> str:
    if not status["connected"]:
        return "connecting"
    if not status["peers"]:
        return "connected, no other replica is there yet"
    if unanswered(status):
        return UNANSWERED
    return "in sync" if status["in_sync"] else "behind"
