"""The crash matrix: a sample in every run, all of it in the soak; and that it notices what it is there for."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import SEED
from medledger import files
from medledger.store import connection
from medledger.witness import Witness
from sim.crash_life import Joined, Life, ledger_to_join
from sim.crash_matrix import CrashMatrix, live_on, measure
from sim.disk import Disk, Mode, PowerCut
from sim.mounting import mounted

SAMPLE_SEED = 3  # the test run looks at the same points every time


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Joined:
    """The ledger that boxes join."""
    return ledger_to_join(tmp_path_factory.mktemp("stick") / "stick.bundle")


def test_a_sample_of_the_matrix(joined: Joined) -> None:
    """A founder and two who joined: at some points of their lives the power is cut, in each way; no promise breaks."""
    matrix = CrashMatrix(SAMPLE_SEED, joined, share=0.03)
    for number in (0, 1, 3):
        matrix.live(number, steps=50)
    print(matrix.bar())
    assert matrix.broken == []
    assert matrix.points > 1500
    assert matrix.cuts > 200
    assert matrix.second_cuts > 60
    assert matrix.recovering > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_matrix(tmp_path: Path) -> None:
    """Every point of eight lives, in each way."""
    bar, broken = measure(SEED, tmp_path)
    print(bar)
    assert broken == []
    assert bar.holds


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_dies_unwinds_and_leaves_the_same(joined: Joined, number: int, mode: Mode) -> None:
    """The end comes as an exception through all the code that was running: it saves nothing and swallows nothing."""
    for point in random.Random(f"{SAMPLE_SEED}:{number}").sample(range(1, 500), 4):
        rng = random.Random(point)
        life = Life(Disk("box"), random.Random(number), joined if number else None)
        life.disk.crash_at = point
        with pytest.raises(PowerCut):
            life.run(60)
        life.disk.crash(mode, rng)
        live_on(life.disk, life, life.promises, rng)


# --- planted bugs ----------------------------------------------------------------------------------------------------


def broken_by(joined: Joined, numbers: tuple[int, ...], share: float) -> list[str]:
    """What a small matrix finds, at the latest after these lives."""
    matrix = CrashMatrix(SAMPLE_SEED, joined, share)
    for number in numbers:
        matrix.live(number, steps=30)
        if matrix.broken:
            break
    return matrix.broken


def test_a_witness_that_is_not_flushed_is_noticed(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: blocks leave before the witness is on the disk."""

    def advance(self: Witness, seq: int) -> None:
        self._state = self._state._replace(seq=seq)

    monkeypatch.setattr(Witness, "advance", advance)
    assert any("self-fork" in line for line in broken_by(joined, (0, 1), 0.05))


def test_a_commit_that_is_not_flushed_is_noticed(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: `synchronous = NORMAL`, which acknowledges what the next power cut takes."""
    real: Callable[[Path], Any] = connection.connect

    class Hasty:
        """A connection on which FULL means NORMAL."""

        def __init__(self, path: Path) -> None:
            self.real = mounted_connect(path)

        def execute(self, sql: str, *values: Any) -> Any:
            return self.real.execute(sql.replace("= FULL", "= NORMAL"), *values)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    with mounted(Disk("any")):
        mounted_connect = connection.connect
        assert mounted_connect is not real
        monkeypatch.setattr(connection, "connect", Hasty)
        broken = broken_by(joined, (0, 1), 0.05)
        monkeypatch.undo()
    assert any("lost" in line for line in broken)


def test_a_name_that_comes_before_its_bytes_is_noticed(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a small file gets its name before its bytes are on the disk."""

    def write_temporary(path: Path, data: bytes) -> Path:
        temporary = path.with_name(path.name + ".tmp")
        files.remove(temporary)
        files.reserve(temporary)
        descriptor = files.os.open(temporary, files.os.O_WRONLY)
        files.os.pwrite(descriptor, data, 0)
        files.os.close(descriptor)
        return temporary

    monkeypatch.setattr(files, "_write_temporary", write_temporary)
    assert broken_by(joined, (0, 1), 0.1)
