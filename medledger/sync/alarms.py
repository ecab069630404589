"""Alarms: telling people, but not the same thing again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from medledger.errors import MedledgerError
from medledger.limits import ALARM_REPEAT_SECONDS

from .events import Alarm

DIFFERENT = 64  # texts remembered


class Alarms:
    """The alarms of one node."""

    def __init__(self) -> None:
        self._new: list[Alarm] = []
        self._told: dict[str, float] = {}

    def tell(self, text: str, now: float) -> None:
        """One sentence for people."""
        if now - self._told.get(text, float("-inf")) < ALARM_REPEAT_SECONDS:
            return
        if len(self._told) >= DIFFERENT:
            self._told.clear()
        self._told[text] = now
        self._new.append(Alarm(text))

    def take(self) -> list[Alarm]:
        """Those that have not been raised yet."""
        new, self._new = self._new, []
        return new

    @contextmanager
    def about(self, what: str, now: float) -> Iterator[None]:
        """Let a ledger that fails end what was begun here, and tell of it."""
        try:
            yield
        except MedledgerError as error:
            self.tell(f"{what}: {error}", now)
