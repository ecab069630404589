"""Bulk import: validate and store blocks that somebody hands us, as `Ledger.import_blocks` does it.

The blocks before the measured ones are imported first, so that the measured ones meet a ledger of its full size. They
are made batch by batch between the measured calls, each signed. Compared are totals: what a commit, a flush and a
checkpoint cost is in them, the lagging indexes are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .growing import grow
from .measure import REFERENCE, Line, SignatureCheck, line
from .opening import opening
from .scale import Scale
from .world import World

CHECK_SECONDS_OF_THE_BAR = 54e-6
ENTRIES_PER_SECOND = 300_000
METHOD = "total of the calls / blocks, against the mean of the reference taken between all calls"


def large_ledger(place: Path, scale: Scale) -> Iterator[Line]:
    """One-entry blocks, the last of a large ledger; then opening that ledger."""
    world = World()
    author = world.author()
    check = SignatureCheck()
    with world.replica(place / "ledger.db") as replica:
        grow(replica, author.readings(scale.ledger - scale.measured))
        spent = grow(replica, author.readings(scale.measured), check)
        result = [replica.digest(), author.head]
    each = spent / scale.measured
    for name, bar in (("import-1-entry", 0.3), ("import-1-entry-moonshot", 0.2)):
        yield line(name, each * 1e6, "us/block", ratio=each / check.mean, bar=bar, method=METHOD, result=result)
    yield opening(world, place / "ledger.db", scale)


def import_16_entry(place: Path, scale: Scale) -> Iterator[Line]:
    """Blocks of sixteen entries: entries a second, as they would be where the reference takes 54 us."""
    world = World()
    author = world.author()
    check = SignatureCheck()
    with world.replica(place / "ledger.db") as replica:
        grow(replica, author.readings(scale.ledger_16 - scale.measured_16, 16))
        spent = grow(replica, author.readings(scale.measured_16, 16), check)
        result = [replica.digest(), author.head]
    rate = 16 * scale.measured_16 / spent * check.mean / CHECK_SECONDS_OF_THE_BAR
    yield line(
        "import-16-entry",
        rate,
        "entries/s at 54 us",
        reference=f"{ENTRIES_PER_SECOND} entries/s where {REFERENCE} takes 54 us",
        ratio=rate / ENTRIES_PER_SECOND,
        bar=1.0,
        at_least=True,
        method=METHOD,
        result=result,
    )
