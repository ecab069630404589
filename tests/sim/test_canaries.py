"""A simulator that finds nothing may be blind: with a bug planted in the shipped code it must fail and say why."""

from __future__ import annotations

import pytest

from sim.canary import CANARIES, PLAN, QUIET
from sim.run import run_seed

EVENTS = 3000
SEEDS = range(1, 31)


@pytest.mark.parametrize("name", CANARIES)
def test_a_planted_bug_is_found(name: str) -> None:
    """One of a few short runs breaks the rule that the bug breaks."""
    plant, rule, plan = CANARIES[name]
    with plant():
        for seed in SEEDS:
            failure = run_seed(seed, EVENTS, plan).failure
            if failure is not None and failure.startswith(f"{rule}:"):
                return
    raise AssertionError(f"no run out of {len(SEEDS)} found that the code {name}")


def test_without_a_bug_the_same_runs_hold() -> None:
    """What the canaries die of is what was planted."""
    for seed in SEEDS[:2]:
        for plan in (PLAN, QUIET):
            assert run_seed(seed, EVENTS, plan).failure is None, f"seed {seed}"
