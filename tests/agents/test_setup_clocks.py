"""A box without a battery for its clock is set up: it wakes in 1970, and a time server sets it in the middle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from brokers import Broker
from faked_clocks import WallClock
from setups import Hospital, NewBox

BEFORE = "@1970-01-01 00:00:10"
SLEEP = "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds)\n"
"""What libfaketime leaves of time.sleep never ends."""


def test_a_clock_that_is_set_in_the_middle_of_setup(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of 1970 is approved and its box joins, though the clock jumps by decades: no patience is at its end."""
    hospital, box = Hospital.found(tmp_path / "hospital", broker.url), NewBox(tmp_path / "box")
    clock = WallClock(tmp_path)
    clock.set(BEFORE)
    (tmp_path / "sitecustomize.py").write_text(SLEEP)
    with monkeypatch.context() as faked:
        for name, value in clock.environment.items():
            faked.setenv(name, value)
        faked.setenv("PYTHONPATH", f"{tmp_path}:{os.environ['PYTHONPATH']}")
        setup = box.setup("--label", "bed 7", "--broker", broker.url, "--patience", "10min")
    with setup:
        request = setup.until_asked()
        clock.set("+0")
        assert hospital.approve(request, "--wait", "60s")["arrived"]
        assert setup.enrolled()["roles"] == ["bedside"]
    assert hospital.members()["bed 7"]["feed"] == box.identity().public_key.hex()
