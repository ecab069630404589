"""The clock that stands behind blocks: it says whether anything keeps it right, and asks the kernel for that."""

from __future__ import annotations

import pytest

from medledger import clock
from medledger.header import Sync


@pytest.fixture(autouse=True)
def _forget() -> None:
    clock._sync_state.cache_clear()


@pytest.mark.parametrize(
    ("state", "expected", "sync"),
    [(0, True, Sync.NTP), (1, True, Sync.NTP), (5, False, Sync.NONE), (-1, None, Sync.NONE)],
    ids=["disciplined", "a leap second to come", "not synchronised", "not told"],
)
def test_the_kernel_says_whether_the_clock_is_synchronised(
    monkeypatch: pytest.MonkeyPatch, state: int, expected: bool | None, sync: Sync
) -> None:
    """Whatever program disciplines it; a system that does not say counts as not synchronised."""
    monkeypatch.setattr(clock, "_adjtimex", lambda: lambda: state)
    assert clock.synchronised() is expected
    assert clock.system_clock()[1].sync == sync


def test_a_system_without_the_call_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails for want of it."""
    monkeypatch.setattr(clock, "_adjtimex", lambda: None)
    assert clock.synchronised() is None
    assert clock.system_clock()[1].sync == Sync.NONE


def test_this_system_is_asked() -> None:
    """The call itself: one of three answers, and the same within the second."""
    assert clock.synchronised() in (True, False, None)
    first, second = clock.system_clock(), clock.system_clock()
    assert first[1].boot_id == second[1].boot_id
    assert first[1].monotonic_ms <= second[1].monotonic_ms
