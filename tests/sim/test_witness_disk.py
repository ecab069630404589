"""The witness and the key on a disk that fails and forgets: what counts is never gone, whoever wrote it."""

from __future__ import annotations

import random

import pytest

from medledger.errors import KeyFileError, StoreError
from medledger.keys import Identity, Witness
from sim.crash_life import key
from sim.disk import Disk, Mode, PowerCut
from sim.mounting import mounted

LEDGER = bytes(range(32))
TOKEN = b"instance token 1"


def witness_on(disk: Disk) -> Witness:
    """As the next process opens it."""
    return Witness(disk.path("box.witness"), key("box").public_key, LEDGER)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_height_that_was_flushed_survives_every_later_point(mode: Mode, rng: random.Random) -> None:
    """Each point of a write, cut in each way: the old height or the new one, and the token, never less."""
    for cut in range(1, 100):
        disk = Disk("box")
        with mounted(disk):
            witness = witness_on(disk)
            witness.bind(TOKEN)
            witness.advance(3)
            disk.crash_at = disk.points + cut
            try:
                witness.advance(4)
            except PowerCut:
                disk.crash(mode, rng)
            else:
                break
            again = witness_on(disk)
            assert again.seq in (3, 4)
            assert again.token == TOKEN
            again.advance(5)
            disk.crash(Mode.DROPPED, rng)
            assert witness_on(disk).seq == 5
    assert cut > 4


def test_a_height_left_by_a_killed_process_is_made_durable_before_it_counts(rng: random.Random) -> None:
    """The file shows it, but its name was never flushed: the next process flushes it before a block leaves."""
    disk = Disk("box")
    with mounted(disk):
        witness_on(disk).advance(3)
        disk.fail("dirsync")
        with pytest.raises(StoreError, match="cannot be written"):
            witness_on(disk).advance(4)
        disk.crash(Mode.KILLED, rng)
        again = witness_on(disk)
        assert again.seq == 4
        again.advance(4)
        disk.crash(Mode.DROPPED, rng)
        assert witness_on(disk).seq == 4


@pytest.mark.parametrize("kind", ["open", "create", "write", "sync", "rename", "dirsync"])
def test_a_write_that_failed_is_tried_again(kind: str, rng: random.Random) -> None:
    """Whatever failed, and whatever the file shows since then, the same process can write once the disk is mended."""
    disk = Disk("box")
    with mounted(disk):
        witness = witness_on(disk)
        witness.bind(TOKEN)
        witness.advance(3)
        disk.fail(kind, lose=True)
        with pytest.raises(StoreError, match=r"cannot be (read|written)"):
            witness.advance(4)
        assert witness.seq == 3
        disk.mend()
        witness.advance(5)
        disk.crash(Mode.DROPPED, rng)
        again = witness_on(disk)
        assert (again.seq, again.token) == (5, TOKEN)


def test_a_key_that_a_killed_process_left_is_made_durable_before_it_is_used(rng: random.Random) -> None:
    """Its name was given and not flushed: what is signed with it must not outlive it."""
    disk = Disk("box")
    with mounted(disk):
        disk.fail("dirsync")
        with pytest.raises(KeyFileError):
            Identity.load_or_create(disk.path("box.key"))
        disk.crash(Mode.KILLED, rng)
        used = Identity.load(disk.path("box.key"))
        disk.crash(Mode.DROPPED, rng)
        assert Identity.load(disk.path("box.key")).public_key == used.public_key
        disk.fail("dirsync")
        with pytest.raises(KeyFileError, match="durable"):
            Identity.load(disk.path("box.key"))
