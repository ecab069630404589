"""Simulated worlds from fixed seeds: in each one every invariant holds, and all replicas end alike.

`make sim SEED=n EVENTS=m` repeats one, `make soak` runs many more.
"""

from __future__ import annotations

import pytest

from sim.faults import KINDS
from sim.run import run_seed

EVENTS = 20_000
SEEDS = range(1, 25)  # half a million events: about a minute on two cores


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_from_a_fixed_seed_holds_every_invariant(seed: int) -> None:
    """Nothing acknowledged lost, nothing forged taken, nobody accused falsely, no self-fork; one digest in the end."""
    result = run_seed(seed, EVENTS)
    print(f"{result.events:,} events, trace {result.trace}; {dict(result.faults)}")
    assert result.failure is None, f"repeat with: make sim SEED={seed} EVENTS={EVENTS}"
    assert result.faults.keys() <= KINDS
