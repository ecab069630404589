"""Each byte of a database flipped: a sample in every run, all of them in the soak; and that a missed one is noticed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from conftest import SEED
from medledger import Identity, Ledger, audit, indexing
from medledger.ledger import RECOVERING
from sim.byte_flips import ByteFlips, make_ledger, measure
from worlds import found, reading

SAMPLE_SEED = 1


@pytest.fixture(scope="module")
def flips(tmp_path_factory: pytest.TempPathFactory) -> ByteFlips:
    """A ledger of a thousand blocks, to be damaged."""
    return ByteFlips(make_ledger(tmp_path_factory.mktemp("flips")), SAMPLE_SEED, whole=0.02)


def test_a_sample_of_the_bytes(flips: ByteFlips) -> None:
    """Each is noticed or changes nothing, and the error names the block that was hit. Some are of the file's header."""
    rng = random.Random(SAMPLE_SEED)
    for offset in [*rng.sample(range(flips.size), 800), *rng.sample(range(16, 96), 20)]:
        flips.flip(offset)
    outcome = flips.outcome
    print(outcome)
    assert outcome.missed == []
    assert outcome.blocks_named == outcome.blocks_hit > 300
    assert outcome.checked_whole > 5


def test_a_damaged_log_of_blocks_that_have_left_is_noticed(tmp_path: Path) -> None:
    """A killed process leaves a log, whose end SQLite takes to be where it stops making sense. Whatever byte of it is
    flipped: what has left is there, or the ledger waits for it and does not sign.
    """
    me = Identity.load_or_create(tmp_path / "founder.key")
    with found(tmp_path) as ledger:
        log = tmp_path / "founder.db-wal"
        for rate in range(30):
            ledger.append(reading(rate))
        assert ledger.release(me.public_key, 0, 100, max_bytes=1 << 20)
        head = ledger.head(me.public_key)
        database, left = ledger.path.read_bytes(), log.read_bytes()
    rng = random.Random(SAMPLE_SEED)
    states = set()
    for offset in rng.sample(range(len(left)), 60):
        ledger.path.write_bytes(database)
        log.write_bytes(left[:offset] + bytes([left[offset] ^ rng.randrange(1, 256)]) + left[offset + 1 :])
        with Ledger.open(ledger.path, me) as again:
            states.add(again.state)
            assert again.state == RECOVERING or again.head(me.public_key) == head
            again.fsck()
    assert RECOVERING in states


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_byte(tmp_path: Path) -> None:
    """All of them."""
    bar, missed = measure(SEED, tmp_path)
    print(bar)
    assert missed == []
    assert bar.holds


def test_a_check_that_looks_away_is_noticed(flips: ByteFlips, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the walk along the feeds and the check of the indexes say yes to everything."""

    def yes(*asked: object) -> bool:
        return len(asked) > 0

    monkeypatch.setattr(audit._Walk, "run", lambda walk: audit.VerifyReport() if walk else None)
    monkeypatch.setattr(audit._Walk, "_feed", yes)
    monkeypatch.setattr(indexing.Indexer, "check", yes)
    monkeypatch.setattr(indexing.Indexer, "_check_batch", yes)
    before = len(flips.outcome.missed)
    for offset in random.Random(SAMPLE_SEED).sample(range(flips.size), 30):
        flips.flip(offset)
    assert any("missed" in line or "named as None" in line for line in flips.outcome.missed[before:])
    del flips.outcome.missed[before:]
