"""The gossip machine over real ledgers, in the simulated network: real blocks, real disks, only time and links are not.

Here the signatures, membership, forks and recovery are the ledger's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from gossip_network import Links
from ledger_world import World, fresh_member
from medledger import Identity, Ledger
from worlds import reading


@pytest.fixture
def world(tmp_path: Path, rng: Random) -> Iterator[World]:
    """A founder alone."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack)


def test_ledgers_converge_live_and_after_losses(world: World) -> None:
    """Three members write over links that lose a fifth of all: the digests are equal, and every entry is there."""
    world.net.links = Links(delay=(0.001, 0.2), lose=0.2, lose_sure=0.2, repeat=0.1)
    members = [world.add(name) for name in ("ward", "theatre", "clinic")]
    for step in range(10):
        for ledger in members:
            ledger.append(reading(60 + step))
        world.net.run(1)
    world.settle()
    assert len(list(world.founder.entries(type="reading"))) == 30
    world.founder.verify(every_signature=True)


def test_a_member_enrolled_over_gossip_syncs_from_nothing(world: World) -> None:
    """With genesis and transport key alone it gets the founder's feed, finds itself enrolled, and gets the rest."""
    ward = world.add("ward")
    for step in range(200):
        ward.append(reading(step % 100))
    world.settle()
    auditor = fresh_member(world, "auditor", "auditor")
    world.settle(10)
    assert auditor.membership.knows(ward.identity.public_key if ward.identity else b"")
    assert len(list(auditor.entries(type="reading"))) == 200


def test_a_cloned_card_is_proved_on_every_ledger(world: World) -> None:
    """Key, witness and database copied, both copies write: all keep the proof and the blocks before the split."""
    ward = world.add("ward")
    other = world.add("clinic")
    for step in range(5):
        ward.append(reading(step))
    world.settle()
    key = ward.identity
    assert key is not None
    world.net.stop(world.stations.pop("ward"))
    clones = []
    for copy in ("one", "two"):
        directory = world.copy(ward, copy)
        identity = Identity.load(directory / "ward.key")
        clones.append(world.stack.enter_context(Ledger.open(directory / "ward.db", identity)))
    stations = [world.connect(f"clone {at}", ledger) for at, ledger in enumerate(clones)]
    stations[1].group = world.stations["clinic"].group = 1
    world.net.run(1)
    for step in range(3):
        for at, ledger in enumerate(clones):
            ledger.append(reading(100 * at + step))
    world.net.run(5)
    stations[1].group = world.stations["clinic"].group = 0
    world.settle()
    for ledger in (world.founder, other, *clones):
        assert list(ledger.forks) == [key.public_key]
        head = ledger.head(key.public_key)
        assert head is not None
        assert head.seq == 4
    assert [ledger.state for ledger in clones] == ["forked", "forked"]


def test_a_restored_backup_recovers_before_it_signs(world: World) -> None:
    """An older database beside the witness of the newer: recovering, until the feed is back from peers, then ready."""
    ward = world.add("ward")
    for step in range(5):
        ward.append(reading(step))
    world.settle()
    backup = world.directory / "backup.db"
    ward.backup(backup)
    for step in range(5):
        ward.append(reading(step))
    world.settle()
    restored = world.restore("ward", backup)
    assert restored.state == "recovering"
    world.stations["ward"] = world.connect("ward", restored)
    world.settle(10)
    world.net.run(1)
    assert restored.state == "ready"
    restored.append(reading(99))
    world.settle(10)
    assert not world.founder.forks


def test_a_revoked_member_is_cut_everywhere(world: World) -> None:
    """After the revocation has arrived its later blocks stand nowhere and it is not heard, though it knows the key."""
    ward, clinic = world.add("ward"), world.add("clinic")
    ward.append(reading(1))
    world.settle()
    key = ward.identity
    assert key is not None
    world.stations["ward"].group = 1
    world.founder.revoke(key.public_key, reason="lost")
    world.net.run(2)
    ward.append(reading(2))
    world.net.run(2)
    world.stations["ward"].group = 0
    world.net.run(100)
    for ledger in (world.founder, clinic):
        head = ledger.head(key.public_key)
        assert head is not None
        assert head.seq == 0
    assert world.founder.digest() == clinic.digest()
    counters = world.stations["founder"].node.counters
    assert counters["refused: a frame's sender is revoked"] > 0
