"""The clock of a running process, as blocks record it: the one place in the library that reads it for blocks.

A box may start in 1970 or be set back by weeks. Blocks therefore carry, beside the wall clock's claim, a monotonic
count within one boot of the process, and whether anything disciplines the wall clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from .header import Clock, Sync

ClockReader = Callable[[], tuple[int, Clock]]
"""Gives the UTC milliseconds and what stands behind them."""

_BOOT_ID: Final = os.urandom(8)
# systemd-timesyncd touches this file at each synchronisation (systemd-timesyncd.service(8)).
_SYNCHRONISED: Final = "/run/systemd/timesync/synchronized"


def system_clock() -> tuple[int, Clock]:
    """The wall clock in UTC milliseconds (never below 0), and what stands behind it."""
    now = max(0, time.time_ns() // 1_000_000)
    return now, Clock(time.monotonic_ns() // 1_000_000, _BOOT_ID, _sync_state())


def _sync_state() -> int:
    return Sync.NTP if os.path.exists(_SYNCHRONISED) else Sync.NONE
