"""One seed is one run: every event, its time and its bytes, here and in another process, however that orders sets."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

from sim.run import run_seed

EVENTS = 3000


def test_a_seed_repeats_byte_for_byte(rng: Random) -> None:
    """The hash over all events is the same when the seed runs again, and another for another seed."""
    seed = rng.randrange(2**32)
    first, again, other = run_seed(seed, EVENTS), run_seed(seed, EVENTS), run_seed(seed + 1, EVENTS)
    assert first.failure is None
    assert (first.trace, first.events, first.faults) == (again.trace, again.events, again.faults), f"seed {seed}"
    assert first.trace != other.trace


def test_a_seed_repeats_in_other_processes(rng: Random) -> None:
    """Python orders sets of bytes by a hash that differs between processes: nothing in a run may depend on it."""
    seed = rng.randrange(2**32)
    script = f"from sim.run import run_seed; print(run_seed({seed}, {EVENTS}).trace)"
    traces = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        traces.add(done.stdout)
    assert len(traces) == 1, f"seed {seed}"


LEFT = """
import gc
from sim.disk import Disk
from sim.run import run_seed
from sim.world import World

run_seed(1, EVENTS)
before = len(gc.get_objects())
for seed in range(2, 5):
    run_seed(seed, EVENTS)
    left = [each for each in gc.get_objects() if isinstance(each, World | Disk)]
    assert not left, left
assert len(gc.get_objects()) < before + 1000, (before, len(gc.get_objects()))
"""


def test_a_finished_world_leaves_nothing_in_memory() -> None:
    """Many seeds in one process take as much memory as the largest of them. No other test's are in this process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = LEFT.replace("EVENTS", str(EVENTS))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
