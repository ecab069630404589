"""Each byte of a database flipped: a sample in every run, all of them in the soak; and that a missed one is noticed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from conftest import SEED
from medledger import audit, indexing
from sim.byte_flips import ByteFlips, make_ledger, measure

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
