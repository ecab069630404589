"""The same subjects under pytest-benchmark, one call at a time, for somebody who changes one of them:

    python -m pytest benchmarks --benchmark-compare

The bars are ratios and stand in `python -m benchmarks`; here are plain times, with the reference beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

from medledger.entry import decode_entry
from medledger.interpretation import interpret_all
from medledger.validation import validate_block, validate_range

from .appending import founded
from .appending import small_reading as reading_record
from .growing import grow
from .world import World, full_reading, reading_entry, small_reading

Benchmark = Any  # pytest-benchmark has no types


def test_reference(benchmark: Benchmark) -> None:
    """The unit of the bars: one signature check of 200 bytes."""
    public, secret = crypto_sign_seed_keypair(b"r" * 32)
    signed = crypto_sign(b"m" * 200, secret)
    benchmark(crypto_sign_open, signed, public)


@pytest.mark.parametrize("entries", [1, 16])
def test_validate_one_block(benchmark: Benchmark, entries: int) -> None:
    """Live: with its own signature."""
    world = World()
    author = world.author()
    next(author.readings(1))
    head = author.head
    raw = next(author.readings(1, entries))
    assert benchmark(validate_block, world.ledger_id, world.box.public_key, head, raw).seq == 1


@pytest.mark.parametrize("entries", [1, 16])
def test_validate_a_segment(benchmark: Benchmark, entries: int) -> None:
    """Bulk: 64 blocks, one signature."""
    world = World()
    raws = list(world.author().readings(64, entries))
    accepted, error = benchmark(validate_range, world.ledger_id, world.box.public_key, None, raws)
    assert (len(accepted), error) == (64, None)


@pytest.mark.parametrize("content", [small_reading, full_reading], ids=["small", "full"])
def test_interpret_entries(benchmark: Benchmark, content: Any) -> None:
    """A hundred entries, without the rows."""
    items = [(1, reading_entry(number, content), lambda _: None) for number in range(100)]
    assert len(benchmark(interpret_all, items)) == 100


def test_decode_one_entry(benchmark: Benchmark) -> None:
    """The strict decoder on one small entry."""
    assert benchmark(decode_entry, reading_entry(1)).type == "reading"


def test_import_a_batch(benchmark: Benchmark, tmp_path: Path) -> None:
    """A thousand one-entry blocks into a fresh replica each time."""
    world = World()
    raws = list(world.author().readings(1000))
    number = iter(range(1_000_000))

    def fresh() -> tuple[tuple[object, ...], dict[str, object]]:
        return (world.replica(tmp_path / f"{next(number)}.db"), iter(raws)), {}

    benchmark.pedantic(grow, setup=fresh, rounds=10)


def test_append_durably(benchmark: Benchmark, tmp_path: Path) -> None:
    """One small entry, flushed."""
    with founded(tmp_path / "ledger.db") as ledger:
        assert benchmark(ledger.append, reading_record()).seq > 0
