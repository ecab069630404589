"""The interpretation pass: entries decoded strictly, held against schema and policy, and put into the indexed table.

It is measured as `Replica.index` runs it, over blocks that were imported before, without the look-up by block id, which
is a line of its own. A small entry is a reading of one sample; what an agent logs is larger, and stated without a bar.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medledger.indexing import Indexer
from medledger.ledger import Ledger

from .growing import grow
from .measure import Line, SignatureCheck, line, seconds
from .scale import Scale
from .world import Content, World, full_reading, small_reading

STEP_ENTRIES = 8_000
METHOD = "total of the passes / entries, against the mean of the reference taken between all passes"


def interpretation(place: Path, scale: Scale) -> Iterator[Line]:
    """Small entries, alone and sixteen in a block, and full ones."""
    for name, per_block, content, bar in (
        ("interpret-small-entry", 1, small_reading, 0.25),
        ("interpret-small-entry-of-16", 16, small_reading, 0.25),
        ("interpret-full-entry", 1, full_reading, None),
    ):
        yield _line(place / f"{name}.db", name, scale.interpreted // per_block, per_block, content, bar)


def _line(path: Path, name: str, blocks: int, per_block: int, content: Content, bar: float | None) -> Line:
    world = World()
    check = SignatureCheck()
    with world.replica(path) as replica:
        replica.index()
        grow(replica, world.author().readings(blocks, per_block, content))
        spent = 0.0
        step = max(1, STEP_ENTRIES // per_block)
        for _ in range(0, blocks, step):
            check.sample()
            spent += seconds(lambda: Indexer(replica).interpret(step))
        result = _contents(replica)
    each = spent / (blocks * per_block)
    return line(name, each * 1e6, "us/entry", ratio=each / check.mean, bar=bar, method=METHOD, result=result)


def identification(place: Path, scale: Scale) -> Iterator[Line]:
    """The look-up of blocks by id, filled in sorted batches. No bar."""
    world = World()
    check = SignatureCheck()
    with world.replica(place / "ledger.db") as replica:
        grow(replica, world.author().readings(scale.interpreted))
        spent = 0.0
        for _ in range(0, scale.interpreted, STEP_ENTRIES):
            check.sample()
            spent += seconds(lambda: Indexer(replica).identify(STEP_ENTRIES))
        result = [replica.store.connection.execute("SELECT count(*), total(pos) FROM block_ids").fetchone()]
    each = spent / scale.interpreted
    yield line("identify-block", each * 1e6, "us/block", ratio=each / check.mean, method=METHOD, result=result)


def _contents(replica: Ledger) -> list[object]:
    sql = "SELECT count(*), count(void), total(time), min(content), max(content) FROM entries"
    return [replica.store.connection.execute(sql).fetchone()]
