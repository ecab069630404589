"""`python -m sim.soak`: the big numbers. Many seeds, every scenario, and a table of all bars in docs/reliability.md.

Each line of the table names the fault class, what it is held to, what was measured, what repeats it, and the commit
that was loaded when the soak began. Exit status 1 where a bar does not hold; failing seeds are printed with the command
that repeats them. Ctrl-C ends it with a table of what was measured by then. Only a whole soak is written to the page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from . import storage
from .bars import Bar
from .disk import PowerCut
from .faults import KINDS, rarest
from .malformed import malformed_frames
from .run import EVENTS, Result, run_seed
from .scale import many
from .scenarios import cloned_card, hostile_broker, lying_clocks
from .workers import run_all
from .world import CONVERGENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
HITS = 1000
PROGRESS_SECONDS = 60.0
PARTS = ("simulation", "hostile-broker", "cloned-card", "clocks", "malformed", "scale", "disk")
INTERRUPTED = 130


@dataclass
class Simulation:
    """The sum of many runs."""

    events: int = 0
    seeds: set[int] = field(default_factory=set)
    failed: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    machines: int = 0
    compared: int = 0
    level: tuple[float, int] = (0.0, 0)  # the slowest, and its seed
    ready: tuple[float, int] = (0.0, 0)

    def see(self, result: Result) -> None:
        """One more."""
        self.seeds.add(result.seed)
        self.events += result.events
        self.faults += result.faults
        self.acknowledged += result.acknowledged
        self.machines += result.machines
        self.compared += result.compared
        self.level = max(self.level, (result.converged_after or 0.0, result.seed))
        self.ready = max(self.ready, (result.ready_after or 0.0, result.seed))
        if result.failure is not None:
            self.failed.append(result.seed)

    def bars(self, events: int) -> list[Bar]:
        """What they show, held to so many events."""
        where, runs, failed = ranges(self.seeds), len(self.seeds), len(self.failed)
        name, hits = rarest(self.faults)
        worlds = f"{self.events:,} in {runs:,} worlds, {self.acknowledged:,} blocks acknowledged"
        compared = f"within {self.level[0]:.0f} s; {self.compared:,} of {self.machines:,} machines compared"
        struck = f"the rarest, {name}: {hits:,}; {sum(self.faults.values()):,} in all"
        limit = f"{CONVERGENCE_SECONDS:.0f} s"
        return [
            Bar("simulation: events", f">= {events:,}", worlds, self.events >= events, where),
            Bar(
                "simulation: invariants", "0 broken", f"{failed} runs failed", failed == 0, ranges(self.failed) or where
            ),
            Bar(f"simulation: {len(KINDS)} kinds of faults", f"each >= {HITS:,} times", struck, hits >= HITS, where),
            Bar("simulation: convergence", f"one digest within {limit}", compared, failed == 0, self.level[1]),
            Bar(
                "simulation: recovery",
                f"who has all that it let out signs within {limit}",
                f"within {self.ready[0]:.0f} s",
                failed == 0,
                self.ready[1],
            ),
        ]


def simulate(simulation: Simulation, first: int, events: int, processes: int) -> None:
    """Run seeds from `first` on until so many events have happened, and say how far that is."""
    started = told = time.monotonic()
    seeds = range(first, first + max(1, -(-events // EVENTS)))
    with closing(run_all(seeds, run_seed, processes)) as results:
        for result in results:
            simulation.see(result)
            if result.failure is not None:
                print(f"FAILED {result.failure}\n    make sim SEED={result.seed} EVENTS={EVENTS}", flush=True)
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS or len(simulation.seeds) == len(seeds):
                told, done = now, len(simulation.seeds)
                left = (now - started) / done * (len(seeds) - done)
                print(
                    f"{done:,} of {len(seeds):,} runs, {simulation.events:,} events, {len(simulation.failed)} failed; "
                    f"{now - started:,.0f} s, {left:,.0f} s to go",
                    flush=True,
                )
    print("hits of each fault: " + ", ".join(f"{name} {simulation.faults[name]:,}" for name in sorted(KINDS)))


def ranges(seeds: Iterable[int]) -> str:
    """Numbers as people write them: 1-3, 5."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and runs[-1][1] == seed - 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def scenarios(arguments: argparse.Namespace) -> dict[str, Callable[[], list[Bar]]]:
    """The parts that scenarios of their own show."""
    seed = arguments.seed
    seeds = range(seed, seed + arguments.worlds)
    return {
        "hostile-broker": partial(hostile_broker, seeds),
        "cloned-card": partial(cloned_card, seeds),
        "clocks": partial(lying_clocks, seeds),
        "malformed": partial(malformed_frames, seed, arguments.frames),
        "scale": partial(many, seed, arguments.feeds, arguments.peers),
    }


def held(part: str, seed: int, measure: Callable[[], list[Bar]]) -> list[Bar]:
    """The bars of one part; one that does not hold where it could not be measured to its end."""
    try:
        return measure()
    except (Exception, PowerCut) as error:  # noqa: BLE001 - the other parts are measured all the same
        traceback.print_exc()
        return [Bar(part, "is measured to its end", f"{error}", False, getattr(error, "seed", seed))]


def disk(arguments: argparse.Namespace) -> list[Bar]:
    """What is promised of the disk."""
    bars = []
    with tempfile.TemporaryDirectory() as directory:
        for bar, broken in storage.measure(
            arguments.seed, Path(directory), share=arguments.share, times=arguments.kills
        ):
            bars.append(bar)
            print("\n".join([f"{bar.name}: {bar.measured}", *broken]), flush=True)
    return bars


def measure(arguments: argparse.Namespace, rows: list[tuple[str, Bar]]) -> None:
    """All parts that are asked for, one after the other; `rows` has what is known, also when this is interrupted."""
    if "simulation" in arguments.only:
        simulation = Simulation()
        try:
            simulate(simulation, arguments.seed, arguments.events, arguments.processes)
        finally:
            rows += [("simulation", bar) for bar in simulation.bars(arguments.events)]
    parts = {**scenarios(arguments), "disk": partial(disk, arguments)}
    for part, call in parts.items():
        if part in arguments.only:
            bars = held(part, arguments.seed, call)
            print("\n".join(f"{bar.name}: {bar.measured}" for bar in bars), flush=True)
            rows += [(part, bar) for bar in bars]


def table(rows: Iterable[tuple[str, Bar]], commit: str) -> str:
    """The bars as Markdown."""
    lines = ["| fault class | bar | measured | holds | repeat | commit |", "|---|---|---|---|---|---|"]
    for part, bar in rows:
        holds = "yes" if bar.holds else "**no**"
        again = f"seed {bar.seed}" if part == "simulation" else f"`--only {part} --seed {bar.seed}`"
        lines.append(f"| {bar.name} | {bar.bar} | {bar.measured} | {holds} | {again} | {commit} |")
    lines += ["", *_HOW]
    return "\n".join(lines)


_HOW = (
    "`make sim SEED=...` repeats a seed of the simulation. Any other line is repeated by",
    "`PYTHONPATH=tests .venv/bin/python -m sim.soak --worlds 1` and what stands under *repeat*.",
)


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


def read(words: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sim.soak", description="Measure every bar of reliability.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to measure; no page is written")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--events", type=int, default=50_000_000, help="events of the simulated worlds together")
    parser.add_argument("--worlds", type=int, default=20, help="worlds of each scenario")
    parser.add_argument("--frames", type=int, default=1_000_000, help="malformed frames")
    parser.add_argument("--feeds", type=int, default=10_000)
    parser.add_argument("--peers", type=int, default=500)
    parser.add_argument("--share", type=float, default=1.0, help="of the disk's points, faults and bytes")
    parser.add_argument("--kills", type=int, default=2000, help="how often a program is killed on a real disk")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args(words)


def main(words: list[str] | None = None, page: Path = PAGE) -> int:
    """Read the command line and run."""
    arguments = read(words)
    name = commit()
    rows: list[tuple[str, Bar]] = []
    whole = set(arguments.only) == set(PARTS)
    status = 0
    try:
        measure(arguments, rows)
    except KeyboardInterrupt:
        whole, status = False, INTERRUPTED
        print("\nInterrupted: this is what was measured by then.", flush=True)
    text = table(rows, name)
    print(text, flush=True)
    if whole:
        write_table(page, text)
    else:
        print(f"{page.name} is as it was: only a whole soak is written to it.")
    return status or (0 if all(bar.holds for _, bar in rows) else 1)


if __name__ == "__main__":
    sys.exit(main())
