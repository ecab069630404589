"""The spool: the room that messages and blocks take until a peer has them, and what happens when there is none left.

The spool is no file of its own: it is the raw messages in the inbox, and own blocks that no peer has confirmed.

Policy:

- It is *full* when less than `min_free_bytes` are free on a disk that it lies on, or when it takes `max_bytes`.
- While it is full nothing new is taken and nothing is dropped: a message is answered with an error that says "full", so
  that its sender keeps it and sends it again; a device's batch is not acknowledged, and its own memory holds it. The
  agent goes on listening, answers repetitions of what is logged already, and says that it is unhealthy.
- It looks again before each batch, so that it takes messages again as soon as there is room.
- How many hours the disk lasts is reckoned from how fast the inbox and the ledger grew within the last hour. Fewer than
  `hours` is an alarm that refuses nothing. An outage, however long, is no reason to stop while there is room.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medledger.errors import StoreError

from .config import SpoolSection
from .health import HEALTH, Health
from .inbox import Inbox

RATE_SECONDS: Final = 3600.0
"""The growth of so long a time is what a rate is reckoned from."""

LEAST_SECONDS: Final = 300.0
"""From less than that no rate is reckoned."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes: of the inbox, of own blocks that no peer has confirmed (about), and free on the fullest of the disks."""

    inbox: int
    unconfirmed: int
    free: int


def refusal(section: SpoolSection, usage: Usage) -> str | None:
    """Why nothing new is taken, None while there is room."""
    if usage.free < section.min_free_bytes:
        return f"the disk is full: {_mib(usage.free)} are free, {_mib(section.min_free_bytes)} must stay free"
    taken = usage.inbox + usage.unconfirmed
    if section.max_bytes and taken >= section.max_bytes:
        return f"the spool is full: it takes {_mib(taken)} of {_mib(section.max_bytes)}"
    return None


def hours_left(section: SpoolSection, usage: Usage, bytes_per_hour: float | None) -> float | None:
    """How long the room lasts at this rate; None where the rate is not known or nothing grows."""
    if not bytes_per_hour or bytes_per_hour < 0:
        return None
    room = usage.free - section.min_free_bytes
    if section.max_bytes:
        room = min(room, section.max_bytes - usage.inbox - usage.unconfirmed)
    return max(0, room) / bytes_per_hour


class Rate:
    """How fast something grows. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def saw(self, size: int, now: float) -> None:
        """It has this size now."""
        self._seen.append((now, size))
        while self._seen[0][0] < now - RATE_SECONDS:
            self._seen.popleft()

    @property
    def per_hour(self) -> float | None:
        """Bytes in an hour; None where it was not looked at for long enough."""
        if not self._seen:
            return None
        (since, before), (now, size) = self._seen[0], self._seen[-1]
        return max(0, size - before) / (now - since) * 3600 if now - since >= LEAST_SECONDS else None


class Spool:
    """Watches the room of one agent. `unconfirmed` gives (own unconfirmed blocks, all blocks here)."""

    def __init__(
        self,
        section: SpoolSection,
        inbox: Inbox,
        ledger: Path,
        unconfirmed: Callable[[], tuple[int, int]],
        health: Health = HEALTH,
    ) -> None:
        self.section = section
        self._inbox = inbox
        self._ledger = ledger
        self._unconfirmed = unconfirmed
        self._health = health
        self._rate = Rate()
        self._unconfirmed_bytes = 0
        self._usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """What was seen last."""
        return self._usage

    @property
    def hours_left(self) -> float | None:
        """How long the disk lasts at the present rate, None where that is not known."""
        return None if self._usage is None else hours_left(self.section, self._usage, self._rate.per_hour)

    def gate(self) -> str | None:
        """Why nothing new is taken at this moment. Quick: before each batch. Raises `StoreError`."""
        free = min(_free(self._inbox.path.parent), _free(self._ledger.parent))
        self._usage = Usage(self._inbox.used_bytes(), self._unconfirmed_bytes, free)
        why = refusal(self.section, self._usage)
        if why is None:
            self._health.mended("spool")
            return None
        kept = f"{why}. Nothing is acknowledged; senders must keep what they have"
        # a sentence without figures, so that it is logged once
        self._health.fault("spool", "the disk or the spool is full: nothing is acknowledged until there is room")
        return kept

    def look(self, now: float) -> None:
        """Measure all of it, for alarms and metrics; from time to time. `now` is monotonic seconds."""
        stored = sum(_size(self._ledger.with_name(self._ledger.name + suffix)) for suffix in ("", "-wal"))
        unconfirmed, blocks = self._unconfirmed()
        self._unconfirmed_bytes = stored * unconfirmed // blocks if blocks else 0
        self.gate()
        assert self._usage is not None  # `gate` has just looked
        self._rate.saw(stored + self._usage.inbox, now)
        left = self.hours_left
        if left is not None and self.section.hours and left < self.section.hours:
            self._health.fault(
                "spool hours", f"at the present rate the disk lasts less than {self.section.hours} hours"
            )
        else:
            self._health.mended("spool hours")


def _free(directory: Path) -> int:
    try:
        found = os.statvfs(directory)
    except OSError as error:
        raise StoreError(f"the disk of {directory} cannot be looked at: {error.strerror or error}") from error
    return found.f_bavail * found.f_frsize


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
