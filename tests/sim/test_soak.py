"""The soak keeps what it has measured, when a run's process dies, a scenario breaks or somebody interrupts it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from sim import soak
from sim.bars import Bar
from sim.faults import KINDS
from sim.run import Result
from sim.truth import Failure
from sim.workers import SEEDS_PER_PROCESS, run_all
from sim.world import World


def _run(seed: int) -> Result:
    """A run that dies, hangs or ends well, as its seed has it."""
    if seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 5:
        time.sleep(600)
    return Result(seed, "a plan", events=20_000, acknowledged=1)


def test_a_process_that_dies_or_hangs_costs_one_seed_which_is_told() -> None:
    """The other seeds are run all the same."""
    results = {each.seed: each.failure for each in run_all(range(1, 9), _run, 2, patience=1.0)}
    assert set(results) == set(range(1, 9))
    assert {seed for seed, failure in results.items() if failure} == {3, 5}
    assert "code -9" in (results[3] or "")


def test_many_seeds_take_several_processes() -> None:
    """Every seed is run once, though each process runs a part of them only."""
    seeds = range(10, 10 + 2 * SEEDS_PER_PROCESS + 3)
    assert sorted(each.seed for each in run_all(seeds, _run, 2)) == list(seeds)


def test_an_interrupted_soak_shows_what_it_has_and_leaves_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runs done by then are in the table, with their seeds."""
    page = tmp_path / "page.md"
    page.write_text("as it was")

    def results(*_: object) -> Iterator[Result]:
        yield from map(_run, (1, 2, 4))
        raise KeyboardInterrupt

    with mock.patch.object(soak, "run_all", results):
        status = soak.main([], page)
    told = capsys.readouterr().out
    assert status == soak.INTERRUPTED
    assert "60,000 in 3 worlds, 3 blocks acknowledged | **no** | seed 1-2, 4 |" in told
    assert page.read_text() == "as it was"


def test_a_scenario_that_breaks_is_a_line_that_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the seed of the world that broke, and the parts after it are measured."""

    def broken(seeds: range) -> list[Bar]:
        for seed in seeds:
            with World(seed):
                if seed == 8:
                    raise Failure("convergence", "planted")
        return []

    with (
        mock.patch.object(soak, "hostile_broker", broken),
        mock.patch.object(soak, "lying_clocks", return_value=[Bar("clock", "0", "0", True, 7)]),
    ):
        assert soak.main(["--only", "hostile-broker", "clocks", "--seed", "7"], tmp_path / "none") == 1
    told = capsys.readouterr().out
    assert "convergence: planted | **no** | `--only hostile-broker --seed 8` |" in told
    assert "| clock | 0 | 0 | yes |" in told


def test_a_fault_that_never_struck_breaks_its_bar() -> None:
    """So does one that struck less than a thousand times."""
    simulation = soak.Simulation()
    faults = dict.fromkeys(KINDS, soak.HITS)
    simulation.see(Result(1, "", events=10, faults=soak.Counter(faults)))
    assert [bar.holds for bar in simulation.bars(10)] == [True] * 5
    for hits in (0, soak.HITS - 1):
        simulation.faults["disk full"] = hits
        assert [bar.holds for bar in simulation.bars(10)] == [True, True, False, True, True]


def test_numbers_are_written_as_ranges() -> None:
    """One alone, several in a row, and gaps."""
    assert soak.ranges([7, 1, 2, 3, 5]) == "1-3, 5, 7"
