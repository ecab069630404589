"""Whether all is well with an agent: the faults that somebody should look at, each until it is mended.

- A fault is known by what it is about (`spool`, `part gossip`, `recording`) and says in one sentence what is wrong. It
  is logged once when it comes or changes, and once when it is mended.
- The sentence holds nothing of a message: it goes to the log, to /health and to systemd's status line.
- Any thread may tell. `watch` is called after each change, in the thread that made it.
- A process has one, `HEALTH`; a test makes its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from . import logs


class Health:
    """The faults of one agent."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], None]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this after each change. It must be quick and must not raise."""
        self._watchers.append(changed)

    def fault(self, what: str, reason: str) -> None:
        """Something is wrong, or wrong in another way than before."""
        with self._lock:
            if self._faults.get(what) == reason:
                return
            self._faults[what] = reason
        logs.event("unhealthy", level=logging.ERROR, what=what, reason=reason)
        self._changed()

    def mended(self, what: str) -> None:
        """It is right again, if it was wrong."""
        with self._lock:
            if self._faults.pop(what, None) is None:
                return
        logs.event("healthy again", what=what)
        self._changed()

    def faults(self) -> dict[str, str]:
        """What is wrong now: a sentence for each, the oldest first."""
        with self._lock:
            return dict(self._faults)

    def _changed(self) -> None:
        for changed in self._watchers:
            changed()


HEALTH: Final = Health()
