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
from .measure import Line, Rounds, line
from .scale import Scale
from .world import Content, World, full_reading, small_reading

STEP_ENTRIES = 2_000
ROUND_ENTRIES = 8_000


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
    step = min(blocks, STEP_ENTRIES // per_block)
    rounds = Rounds(min(blocks * per_block, ROUND_ENTRIES))
    with world.replica(path) as replica:
        replica.index()
        grow(replica, world.author().readings(blocks, per_block, content))
        indexer = Indexer(replica)
        for _ in range(0, blocks, step):
            rounds.measure(step * per_block, lambda: indexer.interpret(step))
        result = _contents(replica)
    return line(name, rounds.each * 1e6, "us/entry", ratio=rounds.ratio, bar=bar, method=rounds.method, result=result)


def identification(place: Path, scale: Scale) -> Iterator[Line]:
    """The look-up of blocks by id, filled in sorted batches. No bar."""
    world = World()
    step = min(scale.interpreted, STEP_ENTRIES)
    rounds = Rounds(min(scale.interpreted, ROUND_ENTRIES))
    with world.replica(place / "ledger.db") as replica:
        replica.index()
        grow(replica, world.author().readings(scale.interpreted))
        indexer = Indexer(replica)
        for _ in range(0, scale.interpreted, step):
            rounds.measure(step, lambda: indexer.identify(step))
        result = [replica.store.connection.execute("SELECT count(*), total(pos) FROM block_ids").fetchone()]
    yield line("identify-block", rounds.each * 1e6, "us/block", ratio=rounds.ratio, method=rounds.method, result=result)


def _contents(replica: Ledger) -> list[object]:
    sql = "SELECT count(*), count(void), total(time), min(content), max(content) FROM entries"
    return [replica.store.connection.execute(sql).fetchone()]
