"""SIGTERM while a command waits for it."""

from __future__ import annotations

import signal
import sys
from itertools import count
from types import FrameType

import pytest

from medledger.cli.stopping import stop_signals


@pytest.mark.parametrize("moment", range(6))
def test_a_signal_is_heard_at_any_moment_of_the_wait(moment: int) -> None:
    """Its handler runs within the wait that it is to end, whatever that holds then."""
    calls = count()
    sent = False

    def raise_it(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal sent
        if event.endswith("call") and next(calls) == moment:
            sent = True
            signal.raise_signal(signal.SIGTERM)

    with stop_signals() as stopped:
        sys.setprofile(raise_it)
        try:
            stopped.wait(0)
        finally:
            sys.setprofile(None)
        assert stopped.is_set() == sent
        assert stopped.wait(0) == sent
