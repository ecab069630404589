"""Restored backups, cloned cards, lost disks: no key signs a second history."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from medledger import Identity, Ledger, make_request
from medledger.errors import ForkedError, RecoveringError
from medledger.governing import change_epoch
from worlds import found, join, reading, sync


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger's only governor."""
    with found(tmp_path) as ledger:
        yield ledger


def identity_of(ledger: Ledger) -> Identity:
    """The key that a ledger was opened with."""
    assert ledger.identity is not None
    return ledger.identity


def test_a_restored_backup_does_not_sign_until_its_own_feed_is_back(founder: Ledger, tmp_path: Path) -> None:
    """Blocks that others have seen come back from them; only then does signing resume, with no fork."""
    box = join(founder, tmp_path, "box")
    box.append(reading(1))
    me, path = identity_of(box), box.path
    box.close()
    shutil.copy(path, tmp_path / "backup.db")
    with Ledger.open(path, me) as box:
        box.append(reading(2))
        box.append(reading(3))
        sync(box, founder)
    shutil.copy(tmp_path / "backup.db", path)
    with Ledger.open(path, me) as restored:
        assert restored.state == "recovering"
        with pytest.raises(RecoveringError):
            restored.append(reading(4))
        restored.import_blocks(founder.release(me.public_key, 0, 2))
        assert restored.state == "recovering"
        sync(founder, restored)
        assert restored.state == "ready"
        assert restored.append(reading(4)).seq == 3
        sync(restored, founder)
    assert founder.forks == {}


def test_unseen_blocks_lost_with_the_disk_cost_nothing(founder: Ledger, tmp_path: Path) -> None:
    """What never left the process was in nobody's hands: the restored box goes on from its backup."""
    box = join(founder, tmp_path, "box")
    box.append(reading(1))
    sync(box, founder)
    me, path = identity_of(box), box.path
    box.close()
    shutil.copy(path, tmp_path / "backup.db")
    with Ledger.open(path, me) as box:
        box.append(reading(2))
    shutil.copy(tmp_path / "backup.db", path)
    with Ledger.open(path, me) as restored:
        assert restored.append(reading(3)).seq == 1
        sync(restored, founder)
    assert founder.forks == {}


def test_another_copy_of_the_store_waits_until_a_peer_confirms(founder: Ledger, tmp_path: Path) -> None:
    """A replica made anew for an old key has another token: holding as much as the witness is not enough."""
    box = join(founder, tmp_path, "box")
    box.append(reading(1))
    sync(box, founder)
    me = identity_of(box)
    box.close()
    box.path.unlink()
    secret = os.urandom(16)
    change_epoch(founder)
    reply = founder.enrol(make_request(me, secret=secret, roles=["bedside"]))
    with Ledger.join(tmp_path / "again.db", me, reply, secret) as again:
        assert again.state == "recovering"
        sync(founder, again)
        assert again.state == "recovering"
        again.peer_has_no_more(5)
        assert again.state == "recovering"
        again.peer_has_no_more(1)
        assert again.state == "ready"
        assert again.append(reading(2)).seq == 1


def test_a_cloned_box_is_found_out_and_stops(founder: Ledger, tmp_path: Path) -> None:
    """Both copies write; the proof reaches them, and neither signs again."""
    box = join(founder, tmp_path, "box")
    me = identity_of(box)
    box.close()
    clone_directory = tmp_path / "clone"
    clone_directory.mkdir()
    for path in tmp_path.glob("box*"):
        shutil.copy(path, clone_directory)
    with (
        Ledger.open(tmp_path / "box.db", me) as box,
        Ledger.open(clone_directory / "box.db", Identity.load(clone_directory / "box.key")) as clone,
    ):
        box.append(reading(1))
        clone.append(reading(2))
        sync(box, founder)
        sync(clone, founder)
        assert me.public_key in founder.forks
        for ledger in (box, clone):
            sync(founder, ledger)
            assert ledger.state == "forked"
            with pytest.raises(ForkedError) as caught:
                ledger.append(reading(3))
            assert "new key" in (caught.value.hint or "")
        assert box.digest() == clone.digest() == founder.digest()


def test_the_witness_is_ahead_of_whatever_left_the_process(founder: Ledger, tmp_path: Path) -> None:
    """`release` flushes it first, once for the whole batch."""
    witness = next(tmp_path.glob("founder.key.*.witness"))
    for n in range(20):
        founder.append(reading(n))
    before = witness.read_bytes()
    founder.release(founder.me or b"", 0, 100)
    assert witness.read_bytes() != before
    written = witness.stat().st_mtime_ns
    founder.release(founder.me or b"", 0, 100)
    assert witness.stat().st_mtime_ns == written
