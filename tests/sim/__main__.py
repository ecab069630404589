"""`python -m sim`: run seeds, one or many, and say what became of them. `make sim SEED=n` is the short way.

Exit status 1 where a run failed; the seed is printed with the command that repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .run import EVENTS, Result, run_seed


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m sim", description="Run simulated worlds of medledger.")
    parser.add_argument("seeds", nargs="+", help="a seed, or a range such as 1-100")
    parser.add_argument("--events", type=int, default=EVENTS, help="events of each run before it is calm")
    parser.add_argument("--quiet", action="store_true", help="print failures and the sum only")
    arguments = parser.parse_args()
    failed = 0
    faults: Counter[str] = Counter()
    events, started = 0, time.process_time()
    for seed in _seeds(arguments.seeds):
        result = run_seed(seed, arguments.events)
        faults += result.faults
        events += result.events
        failed += result.failure is not None
        if result.failure is not None or not arguments.quiet:
            show(result, arguments.events)
    spent = time.process_time() - started
    print(f"{events:,} events, {spent:.1f} s of processor time, {spent / max(1, events) * 1e6:.0f} us each")
    print(_table(faults))
    print(f"{failed} runs failed")
    return 1 if failed else 0


def show(result: Result, events: int) -> None:
    """A run for people."""
    print(f"seed {result.seed}: {result.plan}")
    print(f"  {result.events:,} events, {result.frames:,} frames, {result.simulated:,.0f} s; trace {result.trace}")
    print(f"  {result.acknowledged:,} blocks acknowledged; {result.compared} of {result.machines} machines compared")
    print(f"  faults: {_table(result.faults)}")
    print(f"  refused: {_table(result.refusals)}; alarms: {_table(result.alarms)}")
    if result.failure is None:
        print(
            f"  all invariants held; level after {result.converged_after:.0f} s, ready after {result.ready_after:.0f} s"
        )
        return
    print(f"  FAILED  {result.failure}")
    print(f"  repeat with: make sim SEED={result.seed} EVENTS={events}")
    print("\n".join(f"    {line}" for line in result.lines[-20:]))
    print(result.traceback, end="")


def _seeds(words: list[str]) -> list[int]:
    seeds = []
    for word in words:
        first, _, last = word.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _table(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
