"""`python -m sim.soak`: the big numbers. Many seeds, every scenario, and a table of all bars in docs/reliability.md.

Each line of the table names the fault class, what it is held to, what was measured, the seed that repeats it, and the
commit. Exit status 1 where a bar does not hold; failing seeds are printed with the command that repeats them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from . import storage
from .bars import Bar
from .malformed import malformed_frames
from .run import EVENTS, Result, run_seed
from .scale import many
from .scenarios import cloned_card, hostile_broker, lying_clocks

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
HITS = 1000
SEEDS_PER_PROCESS = 100  # then a fresh one


def simulate(first: int, events: int, processes: int) -> list[Bar]:
    """Run seeds from `first` on until so many events have happened."""
    total, runs, failed = 0, 0, 0
    faults: Counter[str] = Counter()
    slowest = 0.0
    started = time.monotonic()
    with get_context("spawn").Pool(processes, maxtasksperchild=SEEDS_PER_PROCESS) as pool:
        seeds = range(first, first + max(1, events // EVENTS))
        for result in pool.imap_unordered(run_seed, seeds):
            total += result.events
            runs += 1
            faults += result.faults
            slowest = max(slowest, result.converged_after or 0.0)
            if result.failure is not None:
                failed += 1
                print(_repeat(result), flush=True)
            if runs % 100 == 0:
                print(f"{runs} runs, {total:,} events, {time.monotonic() - started:.0f} s", flush=True)
    name, hits = min(faults.items(), key=lambda item: item[1])
    print("hits of each fault: " + ", ".join(f"{name} {count:,}" for name, count in sorted(faults.items())))
    where = f"{first}-{first + runs - 1}"
    return [
        Bar("simulation: events", f">= {events:,}", f"{total:,} in {runs:,} worlds", total >= events, where),
        Bar("simulation: invariants", "0 broken", f"{failed} runs failed", failed == 0, where),
        Bar(
            f"simulation: {len(faults)} kinds of faults",
            f"each >= {HITS:,} times",
            f"the rarest, {name}: {hits:,}; {sum(faults.values()):,} in all",
            hits >= HITS,
            where,
        ),
        Bar("convergence", "one digest within 192 s", f"within {slowest:.0f} s", failed == 0, where),
    ]


def _repeat(result: Result) -> str:
    return f"FAILED {result.failure}\n    make sim SEED={result.seed} EVENTS={EVENTS}"


def scenarios(seed: int, worlds: int, *, feeds: int, peers: int, frames: int) -> Iterator[Bar]:
    """The bars that scenarios of their own show."""
    for scenario in (hostile_broker, cloned_card, lying_clocks):
        yield from scenario(range(seed, seed + worlds))
    yield from malformed_frames(seed, frames)
    yield from many(seed, feeds, peers)


def table(bars: Iterable[Bar], commit: str) -> str:
    """The bars as Markdown."""
    lines = ["| fault class | bar | measured | holds | seed | commit |", "|---|---|---|---|---|---|"]
    for bar in bars:
        holds = "yes" if bar.holds else "**no**"
        lines.append(f"| {bar.name} | {bar.bar} | {bar.measured} | {holds} | {bar.seed} | {commit} |")
    return "\n".join(lines)


def write_table(page: Path, text: str) -> None:
    """Put the table between the page's markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def commit() -> str:
    """The commit that runs, marked where files differ from it."""
    git = partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, check=True)
    name = git(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
    changed = git(["git", "status", "--porcelain", "--untracked-files=no", "--", "medledger", "tests"]).stdout
    return f"{name} and changes" if changed else name


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m sim.soak", description="Measure every bar of reliability.")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--events", type=int, default=50_000_000, help="events of the simulated worlds together")
    parser.add_argument("--worlds", type=int, default=20, help="worlds of each scenario")
    parser.add_argument("--frames", type=int, default=1_000_000, help="malformed frames")
    parser.add_argument("--feeds", type=int, default=10_000)
    parser.add_argument("--peers", type=int, default=500)
    parser.add_argument("--share", type=float, default=1.0, help="of the disk's points, faults and bytes")
    parser.add_argument("--kills", type=int, default=2000, help="how often a program is killed on a real disk")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    name = commit()
    bars = simulate(arguments.seed, arguments.events, arguments.processes)
    sizes = {name: getattr(arguments, name) for name in ("feeds", "peers", "frames")}
    bars += scenarios(arguments.seed, arguments.worlds, **sizes)
    with tempfile.TemporaryDirectory() as directory:
        for bar, broken in storage.measure(
            arguments.seed, Path(directory), share=arguments.share, times=arguments.kills
        ):
            bars.append(bar)
            print("\n".join(broken), flush=True)
    text = table(bars, name)
    print(text)
    write_table(PAGE, text)
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
