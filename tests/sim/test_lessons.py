"""Faults that simulated runs have found, each alone and small."""

from __future__ import annotations

from random import Random

import pytest

from medledger import Identity, Ledger
from medledger.errors import StoreError
from sim.disk import Disk, Mode
from sim.mounting import mounted
from sim.world import World
from worlds import reading


def test_what_a_failed_flush_lost_does_not_take_later_blocks_with_it(rng: Random) -> None:
    """The log has a hole that the system does not show: a block acknowledged after a restart survives a power cut."""
    disk = Disk("box")
    with mounted(disk):
        me = Identity(bytes(32), disk.path("box.key"))
        ledger = Ledger.create(disk.path("box.db"), me, name="Ward", roles=["hospital"])
        ledger.append(reading(1))
        disk.fail("sync", name="-wal", lose=True)
        with pytest.raises(StoreError):
            ledger.append(reading(2))
        disk.crash(Mode.KILLED, rng)
        ledger = Ledger.open(disk.path("box.db"), me)
        acknowledged = ledger.append(reading(3))
        disk.crash(Mode.DROPPED, rng)
        with Ledger.open(disk.path("box.db"), me) as ledger:
            assert ledger.block(me.public_key, acknowledged.seq) == acknowledged


def test_a_ledger_whose_log_cannot_be_flushed_is_read_and_not_written(rng: Random) -> None:
    """It opens and says what is wrong when something is to be written; opened again after that, it goes on."""
    disk = Disk("box")
    with mounted(disk):
        me = Identity(bytes(32), disk.path("box.key"))
        ledger = Ledger.create(disk.path("box.db"), me, name="Ward", roles=["hospital"])
        block = ledger.append(reading(1))
        disk.crash(Mode.KILLED, rng)
        disk.fail("write", name="-wal", lasting=True)
        with Ledger.open(disk.path("box.db"), me) as ledger:
            assert ledger.block(me.public_key, block.seq) == block
            with pytest.raises(StoreError) as caught:
                ledger.append(reading(2))
            assert "open the ledger again" in (caught.value.hint or "")
            disk.mend()
        with Ledger.open(disk.path("box.db"), me) as ledger:
            assert ledger.append(reading(2)).seq == block.seq + 1


def test_a_disk_that_fails_when_signing_may_begin_is_an_alarm(rng: Random) -> None:
    """A newcomer's store takes the peers' word that nothing of its feed is missing; where it cannot, it tells so."""
    with World(rng.randrange(2**32)) as world:
        founder = world.found()
        member = world.join(founder, "ward", "bedside")
        assert member is not None
        member.disk.fail("sync", lasting=True, name=".witness.tmp")
        world.run(30)
        assert any("cannot begin to sign" in text for text in member.alarms)
        member.disk.mend()
        world.run(120, until=lambda: member.ledger is not None and member.ledger.state == "ready")
        assert member.ledger is not None
        assert member.ledger.state == "ready"
