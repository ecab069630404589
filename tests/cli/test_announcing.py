"""What a sync that stays says to a log: a line at the start, and one for each change that lasts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from brokers import Broker
from medledger.cli.announcing import STEADY_SECONDS, Announcer
from setups import Hospital, program
from waiting import until

STATUS: dict[str, Any] = {
    "broker": "mqtt://localhost:1883",
    "connected": False,
    "peers": 0,
    "peer_list": [],
    "in_sync": False,
    "blocks": 3,
    "feeds": 2,
}
THERE = {"connected": True, "peers": 1}
SYNCED = {**THERE, "in_sync": True}


def said(capsys: pytest.CaptureFixture[str], *seen: tuple[float, dict[str, Any]], wanted: bool = True) -> list[str]:
    """What is said of these states, each seen at its time."""
    announcer = Announcer(wanted=wanted)
    for now, change in seen:
        announcer.look({**STATUS, **change}, now)
    return [line.split(": ", 1)[1].split(";")[0] for line in capsys.readouterr().err.splitlines()]


def test_a_line_at_the_start_and_one_for_each_change_that_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    """Said once; what changes back within a moment, as with each block that comes, is not said at all."""
    steady = STEADY_SECONDS
    seen = [(0.0, {}), (1.0, {}), (1.1, SYNCED), (1.1 + steady, SYNCED), (9.0, SYNCED), (9.5, THERE), (10.0, SYNCED)]
    seen += [(20.0, SYNCED), (30.0, {"connected": True}), (30.0 + steady, {"connected": True})]
    assert said(capsys, *seen) == ["connecting", "in sync", "connected, no other replica is there yet"]
    assert said(capsys, *seen, wanted=False) == []


def test_a_replica_that_stays_tells_its_log(broker: Broker, tmp_path: Path) -> None:
    """The real program, without a terminal: how it stands is in the log before anybody asks."""
    hospital = Hospital.found(tmp_path / "hospital", broker.url)
    copy = tmp_path / "copy.txt"
    with copy.open("w") as log:
        command = [sys.executable, "-m", "medledger", "sync", str(hospital.ledger), "--stay"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        try:
            assert until(lambda: "no other replica is there yet; 1 block of 1 feed here." in copy.read_text())
        finally:
            process.terminate()
            process.wait(30)
    assert broker.url in copy.read_text()
    assert "in sync" not in copy.read_text()
    program("fsck", hospital.ledger)
