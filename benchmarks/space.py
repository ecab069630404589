"""What a reading takes: bytes on disk, and the resident memory of a process that logs.

The file is measured closed, after its write-ahead log has been folded in; with everything that lags filled, and before.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .growing import grow
from .measure import Line, line
from .scale import ROOT, Scale
from .world import Content, World, full_reading, small_reading

RESIDENT_BAR_MIB = 60.0


def disk(place: Path, scale: Scale) -> Iterator[Line]:
    """Bytes of the file for each reading."""
    cases: tuple[tuple[str, int, Content], ...] = (
        ("disk-small-reading", 1, small_reading),
        ("disk-small-reading-of-16", 16, small_reading),
        ("disk-full-reading", 1, full_reading),
    )
    for name, per_block, content in cases:
        path = place / f"{name}.db"
        blocks = scale.interpreted // per_block
        world = World()
        world.replica(path).close()
        empty = path.stat().st_size
        with world.replica(place / f"{name}-filled.db") as replica:
            grow(replica, world.author().readings(blocks, per_block, content))
        filled = place / f"{name}-filled.db"
        before = filled.stat().st_size
        with type(replica).open(filled) as again:
            again.index()
        after = filled.stat().st_size
        readings = blocks * per_block
        yield line(
            name,
            (after - empty) / readings,
            "bytes/reading",
            reference=f"{(before - empty) / readings:.0f} bytes before the indexes are filled",
            ratio=(after - empty) / max(1, before - empty),
            method=f"size of the closed file less an empty ledger's, over {readings} readings",
            result=[readings, per_block],
        )


def resident(place: Path, scale: Scale) -> Iterator[Line]:
    """A process that embeds a ledger and logs."""
    command = [sys.executable, "-m", "benchmarks.process", "agent", str(place / "agent.db"), str(scale.appends)]
    peak = int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout) / 2**20
    yield line(
        "resident-while-logging",
        peak,
        "MiB peak resident",
        reference=f"{RESIDENT_BAR_MIB:g} MiB",
        ratio=peak / RESIDENT_BAR_MIB,
        bar=1.0,
        method=f"a process of its own logs {scale.appends} readings and reads them back",
        result=[scale.appends],
    )
