"""Disk full, I/O errors, failing syncs: a sample in every run, all of it in the soak; and that it notices."""

from __future__ import annotations

import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import SEED
from medledger import Ledger, files
from medledger.errors import MedledgerError, StoreError
from medledger.store import connection
from sim.crash_life import DATABASE, Life, key
from sim.crash_matrix import Broken, live_on
from sim.disk import Disk, Mode, PowerCut
from sim.failing_disk import ACTIONS, FAULTS, FailingDisk, measure
from sim.mounting import mounted

SAMPLE_SEED = 1


def test_a_sample_of_the_faults(tmp_path: Path) -> None:
    """It says what failed and what to do, starts clean, and has what it acknowledged."""
    bar, broken = measure(SAMPLE_SEED, tmp_path, share=0.06)
    print(bar)
    assert broken == []
    assert bar.holds


def damaged_by_a_restart_cut_short() -> int:
    """A flush lost a commit that the system still shows. The process ends, and the power goes while the next one opens
    the ledger: at each point, some of what it wrote is kept. How often the ledger is then not what was acknowledged.
    """
    life = Life(Disk("box"), random.Random(SAMPLE_SEED))
    with mounted(life.disk):
        ledger = life.start()
        for _ in range(6):
            life.append(ledger)
        life.disk.fail("sync", lose=True)
        with pytest.raises(StoreError):
            life.append_large(ledger)
        life.disk.crash(Mode.KILLED, life.rng)
    damaged = 0
    for point in range(1, 100):
        for chance in range(8):
            rng = random.Random(f"{point}:{chance}")
            disk = life.disk.copy("after")
            disk.crash_at = disk.points + point
            with mounted(disk), suppress(PowerCut):
                Ledger.open(disk.path(DATABASE), key("box"))
            opened = disk.crash_at is not None and not disk.dead
            disk.crash(Mode.REORDERED, rng)
            try:
                live_on(disk, life, life.promises.copy(), rng)
            except (Broken, MedledgerError):
                damaged += 1
        if opened:
            return damaged
    raise AssertionError("opening has no end")


def test_a_restart_over_a_lost_flush_may_be_cut_short() -> None:
    """Whatever of it reaches the disk, what was acknowledged is there and whole."""
    assert damaged_by_a_restart_cut_short() == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_fault(tmp_path: Path) -> None:
    """Each operation of each thing that a box does, failing in each way."""
    bar, broken = measure(SEED, tmp_path)
    print(bar)
    assert broken == []
    assert bar.holds


# --- planted bugs ----------------------------------------------------------------------------------------------------


def broken_by(kind: str, actions: tuple[str, ...]) -> list[str]:
    """What fails when these things are done and operations of this kind fail."""
    failing = FailingDisk(SAMPLE_SEED, None)
    failing.run_some(actions, [fails for fails in FAULTS if fails.kind == kind])
    return failing.broken


def test_building_on_a_log_that_was_never_flushed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a new process takes over what the system shows of the log, and what a failed flush lost."""
    monkeypatch.setattr(files, "flush_again", lambda path: files.sync_directory(path.parent))
    assert any("lost" in line for line in broken_by("sync", ACTIONS))


def test_a_failed_commit_that_is_taken_for_a_success_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the error of a COMMIT goes nowhere."""

    def commit(self: connection.Connection) -> None:
        with suppress(sqlite3.Error):
            self.connection.execute("COMMIT")

    monkeypatch.setattr(connection.Connection, "_commit", commit)
    assert any("lost" in line for line in broken_by("sync", ("append",)))


def test_a_checkpoint_of_what_a_flush_has_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a new process brings the log into the database, cut short, instead of writing the log again."""

    def begin(self: connection.Connection, opened: sqlite3.Connection, path: Path) -> None:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        real(self, opened, path)

    real = connection.Connection.__init__
    monkeypatch.setattr(connection.Connection, "__init__", begin)
    monkeypatch.setattr(files, "flush_again", lambda path: files.sync_directory(path.parent))
    assert damaged_by_a_restart_cut_short() > 0
