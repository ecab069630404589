"""Housekeeping: once a minute the agent looks at its disk and clock, and removes raw messages whose time is over.

It writes, and so it fails where the disk is full or dying. That is a fault, and it is tried for ever: no reading is
lost for want of it, and a fresh process has no other disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from medledger.clock import RELEASED

from . import logs
from .config import InboxSection
from .health import HEALTH, Health
from .inbox import Inbox
from .meters import METERS
from .spool import Spool

LOOK_SECONDS: Final = 60.0
DAY_MS: Final = 86_400_000


class Housekeeping:
    """The part. `confirmed`: how many blocks of our feed some peer holds; `looked` is called after, in a thread."""

    name = "housekeeping"
    essential = False

    def __init__(
        self,
        section: InboxSection,
        inbox: Inbox,
        spool: Spool,
        confirmed: Callable[[], int],
        looked: Callable[[], None],
        *,
        health: Health = HEALTH,
    ) -> None:
        self.section = section
        self._inbox = inbox
        self._spool = spool
        self._confirmed = confirmed
        self._looked = looked
        self._health = health

    async def start(self) -> None:
        """Look for the first time."""
        await asyncio.to_thread(self.look)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.to_thread(self._looked)
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    async def stop(self) -> None:
        """Nothing is left behind."""

    def look(self) -> None:
        """Look at everything once; blocks on the disk. Raises `StoreError`."""
        self._spool.look(time.monotonic())
        now = time.time_ns() // 1_000_000
        if now < RELEASED:
            self._health.fault("clock", "the clock shows a day before this software was made: set it (timedatectl)")
        else:
            self._health.mended("clock")
        self.remove(now)

    def remove(self, now: int) -> None:
        """Remove the raw messages that need be kept no longer, at this time in UTC milliseconds."""
        if not self.section.keep_days:
            return
        confirmed = self._confirmed() if self.section.keep_until_confirmed else None
        before = now - self.section.keep_days * DAY_MS
        removed = 0
        while count := self._inbox.remove(received_before=before, confirmed=confirmed, now=now):
            removed += count
        if removed:
            METERS.count("removed", by=removed)
            logs.event("raw messages removed", count=removed, older_than_days=self.section.keep_days)
