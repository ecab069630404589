"""kill -9 in the middle of logging, on a real file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import SEED
from sim.kills import measure


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_nothing_acknowledged_is_lost_and_the_feed_does_not_fork(tmp_path: Path, times: int) -> None:
    """After each kill every acknowledged block is there, the witness has reached what was released, and it goes on."""
    bar, broken = measure(SEED, tmp_path, times=times)
    print(bar)
    assert broken == []
    assert bar.holds
