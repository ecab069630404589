"""Faults are counted where they strike; what a run cannot survive is its result, and takes no seed with it."""

from __future__ import annotations

from random import Random
from unittest import mock

import pytest

from sim.faults import KINDS, rarest
from sim.happenings import Happenings
from sim.machine import Machine
from sim.plan import HAPPENINGS
from sim.run import run_seed
from sim.world import World


def test_what_is_prepared_and_does_not_strike_is_not_counted(rng: Random) -> None:
    """A machine that does nothing meets no error of its disk, no power cut and no end amid effects."""
    seed = rng.randrange(2**32)
    with World(seed) as world:
        world.found()
        happenings = Happenings(world, rng)
        for name in ("disk full", "I/O error", "power cut", "killed amid effects"):
            happenings.happen(name)
        assert not +world.faults, f"seed {seed}"


@pytest.mark.parametrize("name", sorted(HAPPENINGS))
def test_nothing_happens_to_who_does_not_run(name: str, rng: Random) -> None:
    """Where every program is down there is none to kill, to cut off or to censor."""
    seed = rng.randrange(2**32)
    with World(seed) as world:
        world.found().halt()
        Happenings(world, rng).happen(name)
        assert all(kind.startswith(("wall clock", "broker restart", "partition")) for kind in +world.faults), (
            f"seed {seed}"
        )


def test_a_full_disk_counts_once_each_time_that_it_fills(rng: Random) -> None:
    """SQLite may try again and again: it is one misfortune."""
    with World(rng.randrange(2**32)) as world:
        disk = world.found().disk
        for capacity in (disk.used, disk.used + 1):
            disk.capacity = capacity
            file = disk.open("junk", create=True)
            for _ in range(3):
                with pytest.raises(OSError, match="No space"):
                    disk.write(file, "junk", 0, bytes(100))
        assert world.faults["disk full"] == 2


def test_a_kind_that_never_struck_is_the_rarest() -> None:
    """No fault is missed for not having been seen; and one that no list names is an error."""
    counts = dict.fromkeys(KINDS, 5)
    del counts["disk full"]
    assert rarest(counts) == ("disk full", 0)
    with pytest.raises(ValueError, match="moonlight"):
        rarest({"moonlight": 1})


def test_an_exception_of_any_kind_is_a_failure_with_its_seed() -> None:
    """Also one that a program's own call raises, and no node."""
    with mock.patch.object(Machine, "write", side_effect=TypeError("planted")):
        result = run_seed(3, 3000)
    assert result.seed == 3
    assert result.failure is not None
    assert result.failure.startswith("no escaping exception")
    assert "planted" in result.traceback
