"""Waiting for what replicas and brokers do in their own time."""

from __future__ import annotations

import time
from collections.abc import Callable

from medledger import Ledger


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait for a condition; false where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def equal(*ledgers: Ledger) -> bool:
    """Whether all hold the same."""
    return len({ledger.digest() for ledger in ledgers}) == 1
