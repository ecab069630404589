"""Simulated worlds from fixed seeds: in each one every invariant holds, and all replicas end alike.

`make sim SEED=n EVENTS=m` repeats one, `make soak` runs many more.
"""

from __future__ import annotations

import pytest

from sim.faults import KINDS
from sim.run import run_seed

EVENTS = 20_000
SEEDS = (1, 2, 7, 8, 9, 10, 11, 13, 14, 15, 16, 18, 20, 22, 23)
"""Of the first 24 those that together run every line and branch of the library that all 24 do, with every kind of
fault, refusal and alarm, and each kind of fault in four worlds at least. The soak runs the others too."""
OTHERS = sorted({*range(1, 25)} - {*SEEDS})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in OTHERS)])
def test_a_world_from_a_fixed_seed_holds_every_invariant(seed: int) -> None:
    """Nothing acknowledged lost, nothing forged taken, nobody accused falsely, no self-fork; one digest in the end."""
    result = run_seed(seed, EVENTS)
    print(f"{result.events:,} events, trace {result.trace}; {dict(result.faults)}")
    assert result.failure is None, f"repeat with: make sim SEED={seed} EVENTS={EVENTS}"
    assert result.faults.keys() <= KINDS
