"""What a reading takes on disk.

The file is measured closed, after its write-ahead log has been folded in; with everything that lags filled, and before.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .growing import grow
from .measure import Line, line
from .scale import Scale
from .world import Content, World, full_reading, small_reading


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
