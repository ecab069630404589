"""Simulated worlds from fixed seeds, on two processes: in each one every invariant holds, and all replicas end alike.

`make sim SEED=n EVENTS=m` repeats one, `make soak` runs many more.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from sim.run import run_seed

PROCESSES = 2
EVENTS = 20_000
SEEDS = range(1, 21)


@pytest.mark.timeout(600)
def test_worlds_from_fixed_seeds_hold_every_invariant() -> None:
    """Nothing acknowledged lost, nothing forged taken, nobody accused falsely, no self-fork; one digest in the end."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run_seed, SEEDS, [EVENTS] * len(SEEDS)))
    faults: Counter[str] = Counter()
    for result in results:
        faults += result.faults
    print(f"{sum(result.events for result in results):,} events; {dict(faults)}")
    failed = [f"make sim SEED={each.seed} EVENTS={EVENTS}: {each.failure}" for each in results if each.failure]
    assert failed == []
