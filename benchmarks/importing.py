"""Bulk import: validate and store blocks that somebody hands us, as `Ledger.import_blocks` does it.

The blocks before the measured ones are imported first, so that the measured ones meet a ledger of its full size. They
are made batch by batch between the measured calls, each signed. Commits, flushes and checkpoints are in the figures,
the lagging indexes are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .growing import grow
from .measure import REFERENCE, Line, Rounds, line
from .opening import opening
from .scale import Scale
from .world import World

CHECK_SECONDS_OF_THE_BAR = 54e-6
ENTRIES_PER_SECOND = 300_000
ROUND_BLOCKS = 5_000
ROUND_BLOCKS_16 = 1_000


def large_ledger(place: Path, scale: Scale) -> Iterator[Line]:
    """One-entry blocks, the last of a large ledger; then opening that ledger."""
    world = World()
    author = world.author()
    rounds = Rounds(min(scale.measured, ROUND_BLOCKS))
    with world.replica(place / "ledger.db") as replica:
        grow(replica, author.readings(scale.ledger - scale.measured))
        grow(replica, author.readings(scale.measured), rounds)
        result = [replica.digest(), author.head]
    method = f"last {scale.measured} of {scale.ledger} blocks: {rounds.method}"
    for name, bar in (("import-1-entry", 0.3), ("import-1-entry-moonshot", 0.2)):
        yield line(name, rounds.each * 1e6, "us/block", ratio=rounds.ratio, bar=bar, method=method, result=result)
    yield opening(world, place / "ledger.db", scale)


def import_16_entry(place: Path, scale: Scale) -> Iterator[Line]:
    """Blocks of sixteen entries: entries a second, as they would be where the reference takes 54 us."""
    world = World()
    author = world.author()
    rounds = Rounds(min(scale.measured_16, ROUND_BLOCKS_16))
    with world.replica(place / "ledger.db") as replica:
        grow(replica, author.readings(scale.ledger_16 - scale.measured_16, 16))
        grow(replica, author.readings(scale.measured_16, 16), rounds)
        result = [replica.digest(), author.head]
    rate = 16 / (rounds.ratio * CHECK_SECONDS_OF_THE_BAR)
    yield line(
        "import-16-entry",
        rate,
        "entries/s at 54 us",
        reference=f"{ENTRIES_PER_SECOND} entries/s where {REFERENCE} takes 54 us",
        ratio=rate / ENTRIES_PER_SECOND,
        bar=1.0,
        at_least=True,
        method=f"last {scale.measured_16} of {scale.ledger_16} blocks: {rounds.method}",
        result=result,
    )
