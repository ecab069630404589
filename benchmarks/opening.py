"""Opening a ledger, and what an import holds in memory: neither may grow with the number of blocks.

- Opening is `Ledger.open` and its membership, after which it can be read and appended to. A large ledger and one
  without a block of the box take turns; compared are the medians.
- The memory is the peak resident size of a process that does nothing but import blocks as they are made.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from medledger.ledger import Ledger

from .measure import Line, in_turns, line
from .scale import ROOT, Scale
from .world import World

OPEN_BAR_MS = 5.0
PEAK_BAR = 1.05  # the memory that SQLite and Python take is not the same to the page in two runs


def opening(world: World, path: Path, scale: Scale) -> Line:
    """The ledger at `path` against one of the same world that holds no block of the box."""
    empty_path = path.with_name("empty.db")
    world.replica(empty_path).close()

    def open_and_close(place: Path) -> None:
        with Ledger.open(place) as ledger:
            assert ledger.membership.knows(world.box.public_key)

    subjects = [lambda: open_and_close(path), lambda: open_and_close(empty_path)]
    large, empty = map(median, in_turns(subjects, scale.opens))
    return line(
        "opening-large-ledger",
        (large - empty) * 1e3,
        "ms more than empty",
        reference=f"{OPEN_BAR_MS} ms (empty: {empty * 1e3:.2f} ms, large: {large * 1e3:.2f} ms)",
        ratio=(large - empty) * 1e3 / OPEN_BAR_MS,
        bar=1.0,
        method=f"medians of {scale.opens} rounds, {scale.ledger} blocks, taken in turns",
        result=[scale.ledger],
    )


def import_memory(place: Path, scale: Scale) -> Iterator[Line]:
    """The peak of importing four times as many blocks, over the peak of importing some."""
    some, many = (_peak(place / f"{count}.db", count) for count in (scale.memory, 4 * scale.memory))
    yield line(
        "import-memory",
        many / 2**20,
        "MiB peak resident",
        reference=f"peak for a quarter of the blocks ({some / 2**20:.1f} MiB)",
        ratio=many / some,
        bar=PEAK_BAR,
        method=f"a process of its own imports {scale.memory}, another {4 * scale.memory} one-entry blocks, in one call",
        result=[scale.memory],
    )


def _peak(path: Path, blocks: int) -> int:
    """Bytes resident at most in a process that imports this many."""
    command = [sys.executable, "-m", "benchmarks.process", str(path), str(blocks)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)
