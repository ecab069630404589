"""Keeping the status file: when it is written, and that nothing which goes wrong with it disturbs gossip.

Rules:

- While something changes it is written every two seconds at most; while nothing does every fifteen, as a sign of life.
- The end is written at once: `closed`, or `failed`, after which nothing more is.
- An error is logged, once until writing works again, and gossip goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from medledger import statusfile
from medledger.ledger import Ledger
from medledger.limits import STATUS_QUIET_SECONDS, STATUS_SECONDS

log = logging.getLogger("medledger.transport")


class Reporter:
    """The status file of one `Gossip`; with no path there is none, and all this does nothing."""

    def __init__(self, ledger: Ledger, path: Path | None) -> None:
        self._ledger = ledger
        self._path = path
        self._lock = threading.Lock()  # the worker writes, and whoever closes
        self._written_at = float("-inf")
        self._shown: object = None
        self._due = float("-inf")
        self._ended: str | None = None
        self._works = True

    @property
    def next(self) -> float:
        """When `show` will have something to do, should nothing happen before; of the monotonic clock."""
        return float("inf") if self._path is None or self._ended is not None else self._due

    def show(self, status: dict[str, Any]) -> None:
        """Write it, where it is time to."""
        if self._path is None:
            return
        now = time.monotonic()
        self._due = self._written_at + (STATUS_SECONDS if _gist(status) != self._shown else STATUS_QUIET_SECONDS)
        if now >= self._due:
            with self._lock:
                self._write(status, now)

    def end(self, status: dict[str, Any], how: str) -> None:
        """Write it for the last time; the first end is the one that stands."""
        if self._path is None or self._ended is not None:
            return
        with self._lock:
            self._ended = how
            self._write(status, time.monotonic(), last=True)

    def _write(self, status: dict[str, Any], now: float, *, last: bool = False) -> None:
        if self._path is None or (self._ended is not None and not last):
            return
        self._written_at = now
        self._due = now + STATUS_QUIET_SECONDS
        self._shown = _gist(status)
        try:
            ledger = self._ledger
            content = statusfile.document(
                status,
                ledger_id=ledger.id,
                name=ledger.name,
                members=ledger.membership.members,
                ended=self._ended,
            )
            statusfile.write(self._path, content)
            self._works = True
        except Exception as error:  # noqa: BLE001 - a picture is worth no interruption
            if self._works:
                log.warning("the status file cannot be written: %s", error)
            self._works = False


def _gist(status: dict[str, Any]) -> object:
    """What has to change for a status to be news: every frame that travels does change it."""
    traffic = status["traffic"]
    return (
        *(status[name] for name in ("in_sync", "connected", "state", "blocks", "peers", "feeds_behind")),
        *(traffic[way]["frames"] for way in ("in", "out")),
        len(status["alarms"]),
        status["last_alarm"],
        status["failure"],
    )
