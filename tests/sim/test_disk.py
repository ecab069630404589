"""The simulated disk itself: what a power cut leaves, what errors do, and that the shipped ledger lives on it."""

from __future__ import annotations

import errno
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from medledger import Identity, Ledger, files
from medledger.errors import StoreError
from sim.disk import SECTOR, Disk, Mode, PowerCut
from sim.mounting import mounted
from worlds import found, reading


def surviving(disk: Disk, mode: Mode, rng: random.Random) -> dict[str, bytes]:
    """The files after a power cut of a copy of the disk."""
    copy = disk.copy("after")
    copy.crash(mode, rng)
    return {name: bytes(copy.open(name).data) for name in copy.names()}


def test_what_was_not_synced_is_lost(rng: random.Random) -> None:
    """Bytes are durable after the file's sync, names after the directory's, and neither brings the other."""
    disk = Disk("box")
    file = disk.open("a", create=True)
    disk.write(file, "a", 0, b"one")
    disk.sync(file, "a")
    assert surviving(disk, Mode.DROPPED, rng) == {}
    disk.sync_directory()
    disk.write(file, "a", 0, b"two")
    disk.rename("a", "b")
    assert surviving(disk, Mode.DROPPED, rng) == {"a": b"one"}
    assert surviving(disk, Mode.KILLED, rng) == {"b": b"two"}
    disk.sync_directory()
    assert surviving(disk, Mode.DROPPED, rng) == {"b": b"one"}
    disk.sync(file, "b")
    assert surviving(disk, Mode.DROPPED, rng) == {"b": b"two"}


def test_writes_are_torn_between_sectors_only(rng: random.Random) -> None:
    """Torn: all writes up to one, and whole sectors of that. Reordered: a later one may survive without an earlier."""
    disk = Disk("box")
    file = disk.open("a", create=True)
    disk.write(file, "a", 0, bytes(3 * SECTOR))
    disk.sync(file, "a")
    disk.sync_directory()
    disk.write(file, "a", 100, b"1" * 2 * SECTOR)
    disk.write(file, "a", 0, b"2")
    seen: dict[Mode, set[tuple[bytes, ...]]] = {Mode.TORN: set(), Mode.REORDERED: set()}
    for mode, states in seen.items():
        for _ in range(3000):
            data = surviving(disk, mode, rng)["a"]
            states.add((data[:1], data[100:101], data[SECTOR : SECTOR + 1], data[2 * SECTOR : 2 * SECTOR + 1]))
            assert len(set(data[100:SECTOR])) == len(set(data[SECTOR : 2 * SECTOR])) == 1
    zero, one, two = b"\0", b"1", b"2"
    assert seen[Mode.TORN] >= {(zero, zero, zero, zero), (zero, one, zero, zero), (two, one, one, one)}
    assert (two, zero, zero, zero) not in seen[Mode.TORN]
    assert seen[Mode.REORDERED] >= {(two, zero, zero, zero), (zero, one, zero, one), (two, one, one, one)}


def test_a_failed_sync_may_lose_what_it_was_to_save(rng: random.Random) -> None:
    """The system goes on showing the data, calls them clean, and no later sync saves them."""
    disk = Disk("box")
    file = disk.open("a", create=True)
    disk.sync_directory()
    disk.write(file, "a", 0, b"lost")
    disk.fail("sync", lose=True)
    with pytest.raises(OSError, match="Input/output"):
        disk.sync(file, "a")
    disk.write(file, "a", 4, b"kept")
    disk.sync(file, "a")
    assert bytes(file.data) == b"lostkept"
    assert surviving(disk, Mode.DROPPED, rng) == {"a": b"\0\0\0\0kept"}


def test_errors_come_where_they_were_planted() -> None:
    """The n-th operation of a kind, on a file by its name, once or lasting; a full disk until something is mended."""
    disk = Disk("box")
    file = disk.open("a", create=True)
    disk.fail("write", nth=2, error=errno.ENOSPC, name="a")
    disk.write(file, "b", 0, b"1")
    disk.write(file, "a", 0, b"1")
    with pytest.raises(OSError, match="No space") as caught:
        disk.write(file, "a", 0, b"2")
    assert caught.value.errno == errno.ENOSPC
    disk.write(file, "a", 0, b"3")
    disk.capacity = 2
    disk.write(file, "a", 0, b"45")
    with pytest.raises(OSError, match="No space"):
        disk.write(file, "a", 2, b"6")
    disk.mend()
    disk.write(file, "a", 2, b"6")
    disk.fail("sync", lasting=True)
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"):
            disk.sync(file, "a")
    assert disk.faults_hit == 4


def test_the_process_ends_at_its_point(rng: random.Random) -> None:
    """Nothing it does afterwards reaches the disk, and only a crash lets the next process start."""
    disk = Disk("box")
    with mounted(disk):
        ledger = found(disk.path("x").parent)
        key = disk.path("founder.key")
        acknowledged = ledger.append(reading(1)).seq
        disk.crash_at = disk.points + 2
        for _ in range(2):
            with pytest.raises(PowerCut):
                ledger.append(reading(2))
        before = disk.points
        disk.crash(Mode.DROPPED, rng)
        with pytest.raises(PowerCut):
            ledger.append(reading(2))
        assert disk.points == before
        with Ledger.open(disk.path("founder.db"), Identity.load(key)) as ledger:
            head = ledger.head(ledger.me or b"")
            assert head is not None
            assert head.seq == acknowledged
            with pytest.raises(StoreError, match="in use"):
                Ledger.open(disk.path("founder.db"))
            assert ledger.append(reading(3)).seq == acknowledged + 1


def test_two_disks_and_the_real_one_keep_apart(tmp_path: Path, rng: random.Random) -> None:
    """The same names on each; ledgers that were made on them converge, and a copy of a disk is another disk."""
    one, two = Disk("one"), Disk("two")
    with mounted(one, two), found(one.path("x").parent) as first, found(two.path("x").parent) as second:
        assert first.id != second.id
        with found(tmp_path) as real:
            assert real.id not in (first.id, second.id)
        clone = one.copy("clone")
        with mounted(clone):
            clone.crash(Mode.KILLED, rng)
            with Ledger.open(clone.path("founder.db"), Identity.load(clone.path("founder.key"))) as third:
                assert third.digest() == first.digest()
                third.append(reading(1))
                assert third.digest() != first.digest()
        with pytest.raises(ValueError, match="mounted"), mounted(Disk("one")):
            pass
        first.fsck()
    with pytest.raises(FileNotFoundError):
        files.read(one.path("founder.key"), 1000)


def test_the_bytes_are_a_database_like_any_other(tmp_path: Path) -> None:
    """What the ledger wrote there is read by the interpreter's own SQLite."""
    disk = Disk("box")
    with mounted(disk):
        with found(disk.path("x").parent) as ledger:
            for rate in range(50):
                ledger.append(reading(rate))
            digest = ledger.digest()
            ledger.backup(disk.path("copy.db"))
        for name in ("founder.db", "copy.db"):
            (tmp_path / name).write_bytes(disk.open(name).data)
    for name in ("founder.db", "copy.db"):
        with Ledger.open(tmp_path / name) as ledger:
            assert ledger.digest() == digest
            ledger.fsck()
        shutil.copy(tmp_path / name, tmp_path / "plain.db")
        connection = sqlite3.connect(tmp_path / "plain.db")
        assert connection.execute("SELECT count(*) FROM blocks").fetchone() == (51,)
        connection.close()
