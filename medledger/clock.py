"""The clock of a running process, as blocks record it: the one place in the library that reads it for blocks.

A box may start in 1970 or be set back by weeks. Blocks therefore carry, beside the wall clock's claim, a monotonic
count within one boot of the process, and whether anything disciplines the wall clock.

The kernel knows whether something does, whichever program it is (systemd-timesyncd, chrony, ntpd): each of them clears
STA_UNSYNC through adjtimex(2), and the kernel sets it again when the error that it estimates has grown to 16 seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from .header import Clock, Sync

ClockReader = Callable[[], tuple[int, Clock]]
"""Gives the UTC milliseconds and what stands behind them."""

RELEASED: Final = 1_795_305_600_000
"""2026-11-22, UTC ms: the day of the release that CHANGELOG.md names last, or on which the first is prepared. The clock
of a machine that runs this software and shows less is not set. Each release moves it (tests/test_release.py)."""

FORMAT_BEGAN: Final = 1_767_225_600_000
"""2026-01-01, UTC ms: what stands on a ledger with an earlier time was dated by a clock that was not set, since the
format is not older. What is found on a ledger hangs on it, so it is the same in every release."""

_BOOT_ID: Final = os.urandom(8)
_TIMEX_BYTES: Final = 512  # more than any libc's struct timex (208 on 64 bits)
_TIME_ERROR: Final = 5  # what adjtimex returns while STA_UNSYNC is set
_REMEMBERED_NS: Final = 1_000_000_000


def system_clock() -> tuple[int, Clock]:
    """The wall clock in UTC milliseconds (never below 0), and what stands behind it."""
    now = max(0, time.time_ns() // 1_000_000)
    monotonic = time.monotonic_ns()
    return now, Clock(monotonic // 1_000_000, _BOOT_ID, _sync_state(monotonic // _REMEMBERED_NS))


@lru_cache(maxsize=1)
def _sync_state(second: int) -> int:
    """Asked once in a second, which the argument names: the answer changes in minutes."""
    del second
    return Sync.NTP if synchronised() else Sync.NONE


def synchronised() -> bool | None:
    """Whether something keeps the wall clock right; None where the system does not say."""
    call = _adjtimex()
    state = -1 if call is None else call()
    return None if state < 0 else state != _TIME_ERROR


@lru_cache(maxsize=1)
def _adjtimex() -> Callable[[], int] | None:
    """Asks the kernel and sets nothing (modes is 0); None where there is no such call."""
    try:
        import ctypes

        function: Any = ctypes.CDLL(None).adjtimex
    except (ImportError, OSError, AttributeError):
        return None
    return lambda: int(function(ctypes.create_string_buffer(_TIMEX_BYTES)))
