"""Verification of a stored replica: whatever is changed on the disk is found, and the first bad block is named."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from forge import Chain, small_entry
from medledger import Ledger
from medledger.errors import CorruptError, MedledgerError, StoreError
from worlds import found, join, reading, sync

BLOCKS = 150


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with two feeds."""
    with found(tmp_path) as ledger, join(ledger, tmp_path, "box") as box:
        for n in range(BLOCKS):
            box.append(*(reading(n, time=k) for k in range(1 + n % 3)))
        sync(box, ledger)
        yield ledger


def test_an_untouched_replica_verifies_and_is_counted(founder: Ledger) -> None:
    """Blocks, entries, bytes and, when asked, every signature; progress is told."""
    told: list[int] = []
    report = founder.verify(progress=told.append)
    assert (report.feeds, report.blocks, report.entries) == (2, BLOCKS + 2, 2 * BLOCKS + 4)
    assert report.own_signatures is None
    assert told[-1] == report.blocks
    for processes in (1, 2):
        full = founder.verify(every_signature=True, processes=processes)
        assert (full.own_signatures, full.through_successor) == (report.blocks, [])
    founder.fsck()


def test_blocks_that_hold_only_through_a_successor_are_named(founder: Ledger, tmp_path: Path) -> None:
    """They verify, and a reader of the report learns which they are."""
    with join(founder, tmp_path, "odd") as odd:
        assert odd.identity is not None
        chain = Chain(odd.identity, odd.id)
        for n in range(70):
            chain.add([small_entry(n)], sign=n not in (5, 66))
        report = founder.import_blocks(chain.raws)
        assert report.refused == []
        for processes in (1, 2):
            verified = founder.verify(every_signature=True, processes=processes)
            assert verified.through_successor == [(odd.me, 5), (odd.me, 66)]


@pytest.mark.parametrize("column", ["header", "body"])
def test_a_changed_byte_in_a_block_is_found_and_the_block_is_named(
    founder: Ledger, rng: random.Random, column: str
) -> None:
    """Whichever byte of whichever block, payload bytes included."""
    founder.close()
    with closing(sqlite3.connect(founder.path)) as database:
        feeds = dict(database.execute("SELECT no, author FROM feeds"))
    for _ in range(60):
        copy = founder.path.with_name("copy.db")
        shutil.copy(founder.path, copy)
        database = sqlite3.connect(copy)
        rows = database.execute(f"SELECT pos, {column} FROM blocks").fetchall()
        pos, data = rng.choice(rows)
        changed = bytearray(data)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        database.execute(f"UPDATE blocks SET {column} = ? WHERE pos = ?", (bytes(changed), pos))
        database.commit()
        database.close()
        try:
            with Ledger.open(copy) as ledger, pytest.raises(CorruptError) as caught:
                ledger.verify()
        finally:
            copy.unlink()
        assert (caught.value.feed, caught.value.seq) == (feeds[pos >> 40], pos & (2**40 - 1))


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM blocks WHERE pos = (SELECT max(pos) FROM blocks)",
        "DELETE FROM blocks WHERE pos = (SELECT max(pos) - 40 FROM blocks)",
        "UPDATE feeds SET seq = seq - 1 WHERE no = 2",
        "UPDATE feeds SET head = randomblob(32) WHERE no = 2",
        "UPDATE blocks SET header = (SELECT header FROM blocks WHERE pos = (1 << 40)) WHERE pos = (2 << 40) + 3",
    ],
)
def test_lost_moved_and_relabelled_blocks_are_found(founder: Ledger, sql: str) -> None:
    """The last one too, which SQLite's own check does not miss."""
    founder.close()
    database = sqlite3.connect(founder.path)
    assert database.execute(sql).rowcount == 1
    database.commit()
    database.close()
    with Ledger.open(founder.path) as ledger, pytest.raises(CorruptError):
        ledger.verify()


def test_an_index_that_lies_is_found_by_fsck_and_does_not_change_what_is_read(founder: Ledger) -> None:
    """Entries are read from the blocks; the index only finds them."""
    list(founder.entries())
    founder.close()
    database = sqlite3.connect(founder.path)
    database.execute("UPDATE entries SET content = replace(content, '8867-4', '9279-1') WHERE pos = (2 << 40) + 7")
    database.commit()
    database.close()
    with Ledger.open(founder.path) as ledger:
        ledger.verify()
        codes = {entry.content["samples"][0][0] for entry in ledger.entries("reading")}
        assert codes == {"8867-4"}
        with pytest.raises(CorruptError) as caught:
            ledger.fsck()
        assert caught.value.seq == 7


def test_any_byte_of_the_file_may_be_damaged_and_nothing_wrong_is_ever_read(
    founder: Ledger, rng: random.Random
) -> None:
    """Each flip is found, or changes nothing that verify or the reader sees. Only our errors are raised."""
    expected = [(entry.author, entry.seq, entry.index, entry.entry.raw) for entry in founder.entries()]
    digest = founder.digest()
    founder.close()
    whole = founder.path.read_bytes()
    found_out = 0
    for _ in range(150):
        at = rng.randrange(len(whole))
        copy = founder.path.with_name("copy.db")
        copy.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        try:
            with Ledger.open(copy) as ledger:
                ledger.fsck()
                assert ledger.digest() == digest
                assert [(e.author, e.seq, e.index, e.entry.raw) for e in ledger.entries()] == expected
        except MedledgerError:
            found_out += 1
        finally:
            for leftover in copy.parent.glob("copy.db*"):
                leftover.unlink()
    assert found_out > 50


def test_a_full_disk_stops_the_writer_and_loses_nothing(founder: Ledger, tmp_path: Path) -> None:
    """The append says so; when there is room again, it goes on where it was."""
    head = founder.head(founder.me or b"")
    pages = founder.store.connection.execute("PRAGMA page_count").fetchone()[0]
    founder.store.connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for n in range(2000):
            founder.append(*(reading(n) for _ in range(50)))

    with pytest.raises(StoreError, match="disk is full"):
        fill()
    reached = founder.head(founder.me or b"")
    founder.store.connection.execute("PRAGMA max_page_count = 1000000")
    assert reached is not None
    assert head is not None
    assert founder.append(reading()).seq == reached.seq + 1
    founder.fsck()
