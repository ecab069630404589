"""A key that may have signed elsewhere: restored disks, lost witnesses, cloned cards. Real ledgers, simulated network.

In each the node ends in the right state by itself, and no feed forks that need not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from gossip_network import Station
from ledger_world import World, fresh_member
from medledger import Identity, Ledger
from medledger.errors import RecoveringError
from medledger.limits import PEER_SECONDS, RECOVERY_SECONDS
from worlds import reading

SURPASSED = "others hold blocks of this node's own feed that this ledger has never signed: signing stops"
TWIN = "another process uses this node's key right now: a cloned disk"


@pytest.fixture
def world(tmp_path: Path, rng: Random) -> Iterator[World]:
    """A founder alone."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack)


def open_box(world: World, directory: Path, name: str = "ward") -> tuple[Ledger, Station]:
    """Open what lies in a directory, and connect it."""
    ledger = world.stack.enter_context(Ledger.open(directory / f"{name}.db", Identity.load(directory / f"{name}.key")))
    return ledger, world.connect(f"{name} again", ledger)


def write(ledger: Ledger, count: int) -> None:
    """Some readings."""
    for step in range(count):
        ledger.append(reading(60 + step))


def refuses(ledger: Ledger) -> bool:
    """Whether it does not sign for fear of a fork."""
    try:
        ledger.append(reading(1))
    except RecoveringError:
        return True
    return False


def test_a_new_box_signs_once_it_has_listened(world: World) -> None:
    """With nothing but a genesis it is recovering: alone for ever, in company for some seconds."""
    box = fresh_member(world, "ward", "bedside")
    station = world.stations["ward"]
    station.group = 1
    world.net.run(100)
    assert box.state == "recovering"
    station.group = 0
    before = world.net.now
    assert world.net.run(100, until=lambda: box.state == "ready")
    assert world.net.now - before > RECOVERY_SECONDS
    write(box, 3)
    world.settle()
    assert station.alarms == []


def test_a_box_whose_witness_is_lost_gets_all_its_blocks_back_first(world: World) -> None:
    """Of two peers one holds fewer of its blocks: it waits for what the other has, and its feed does not fork."""
    ward, clinic = world.add("ward"), world.add("clinic")
    write(ward, 5)
    world.settle()
    key = ward.identity
    assert key is not None
    backup = world.directory / "backup.db"
    ward.backup(backup)
    clinic_station = world.stations["clinic"]
    clinic_station.group = 1
    write(ward, 5)
    world.net.run(200)
    world.net.stop(world.stations.pop("ward"))
    ward.close()
    for path in [*world.directory.glob("ward.db*"), *world.directory.glob("ward.key.*witness")]:
        path.unlink()
    shutil.copy(backup, world.directory / "ward.db")
    clinic_station.group = 0
    world.net.links.delay = (0.001, 0.3)
    restored, _ = open_box(world, world.directory)
    assert restored.state == "recovering"
    world.net.run(60, until=lambda: restored.state == "ready")
    head = restored.head(key.public_key)
    assert head is not None
    assert (restored.state, head.seq) == ("ready", 9)
    write(restored, 1)
    world.settle()
    assert world.founder.forks == clinic.forks == {}


def test_an_image_restored_with_its_witness_stops_when_its_own_blocks_come(world: World) -> None:
    """Database, key and witness, all of the same older day, look right: until peers show what was signed since."""
    ward = world.add("ward")
    write(ward, 5)
    world.settle()
    key = ward.identity
    assert key is not None
    world.net.stop(world.stations["ward"])
    image = world.copy(ward, "image")
    ward, station = open_box(world, world.directory)
    write(ward, 5)
    world.settle()
    world.net.stop(station)
    ward.close()
    world.net.run(10)
    restored, station = open_box(world, image)
    assert restored.state == "ready"
    assert world.net.run(10, until=lambda: restored.state == "recovering")
    assert refuses(restored)
    before = world.net.now
    assert world.net.run(2 * PEER_SECONDS, until=lambda: restored.state == "ready")
    assert world.net.now - before > PEER_SECONDS - 10  # a living copy would have had time to write once more
    head = restored.head(key.public_key)
    assert head is not None
    assert head.seq == 9
    write(restored, 2)
    world.settle()
    assert world.founder.forks == {}
    assert station.alarms == [SURPASSED]


def test_the_stop_outlasts_a_restart(world: World) -> None:
    """It is stored with the blocks that caused it: opened again without a network, the box still does not sign."""
    ward = world.add("ward")
    write(ward, 2)
    world.settle()
    world.net.stop(world.stations["ward"])
    image = world.copy(ward, "image")
    ward, station = open_box(world, world.directory)
    write(ward, 2)
    world.settle()
    world.net.stop(station)
    ward.close()
    restored, station = open_box(world, image)
    assert world.net.run(10, until=lambda: restored.state == "recovering")
    world.net.stop(station)
    restored.close()
    with Ledger.open(image / "ward.db", Identity.load(image / "ward.key")) as again:
        assert again.state == "recovering"
        assert refuses(again)


def test_of_two_clones_that_meet_one_goes_on(world: World) -> None:
    """The other stops with an alarm before it forks the feed, and stays so until the first is gone for minutes."""
    ward = world.add("ward")
    write(ward, 3)
    world.settle()
    world.net.stop(world.stations.pop("ward"))
    image = world.copy(ward, "clone")
    one, first = open_box(world, world.directory)
    two, second = open_box(world, image)
    world.net.run(60)
    assert (one.state, two.state) == ("ready", "ready")
    for _ in range(10):
        write(one, 1)
        world.net.run(30)
        assert one.state == "ready"
        assert refuses(two)
    assert SURPASSED in second.alarms
    world.net.run(5 * PEER_SECONDS)  # silent, but alive
    assert refuses(two)
    assert TWIN in second.alarms
    world.net.stop(first)
    one.close()
    assert world.net.run(4 * PEER_SECONDS, until=lambda: two.state == "ready")
    write(two, 3)
    world.settle()
    assert world.founder.forks == {}


def test_a_bundle_with_blocks_of_ones_own_is_no_leave_to_sign(world: World) -> None:
    """What it brings beyond the witness was signed elsewhere, and it may be old: a live peer has to confirm."""
    ward = world.add("ward")
    write(ward, 2)
    world.settle()
    world.net.stop(world.stations["ward"])
    image = world.copy(ward, "image")
    ward, station = open_box(world, world.directory)
    write(ward, 2)
    world.settle()
    world.net.stop(station)
    bundle = world.directory / "all.bundle"
    world.founder.export_bundle(bundle)
    write(ward, 2)
    ward.close()
    with Ledger.open(image / "ward.db", Identity.load(image / "ward.key")) as restored:
        assert restored.state == "ready"
        restored.import_bundle(bundle)
        assert restored.state == "recovering"
        assert refuses(restored)
    restored, station = open_box(world, image)
    assert world.net.run(20, until=lambda: restored.state == "ready")


def test_ones_own_old_blocks_are_welcome_back(world: World) -> None:
    """A backup beside the witness of the latest state: blocks up to it are what was missing, and no alarm."""
    ward = world.add("ward")
    write(ward, 2)
    backup = world.directory / "backup.db"
    ward.backup(backup)
    write(ward, 6)
    world.settle()
    restored = world.restore("ward", backup)
    station = world.connect("ward again", restored)
    assert restored.state == "recovering"
    assert world.net.run(10, until=lambda: restored.state == "ready")
    write(restored, 1)
    world.settle()
    assert station.alarms == []
    assert world.founder.forks == {}


def test_those_who_are_heard_and_never_answer_give_no_leave_to_sign(world: World) -> None:
    """They say that they are there, and show nothing: as good as nobody, however long that goes on."""
    ward = world.add("ward")
    write(ward, 2)
    world.settle()
    key = ward.identity
    assert key is not None
    backup = world.directory / "backup.db"
    ward.backup(backup)
    write(ward, 6)
    world.settle()
    world.net.stop(world.stations.pop("ward"))
    ward.close()
    for path in [*world.directory.glob("ward.db*"), *world.directory.glob("ward.key.*witness")]:
        path.unlink()
    shutil.copy(backup, world.directory / "ward.db")
    restored, station = open_box(world, world.directory)
    world.net.censor = lambda _topic, hearer: hearer is not station
    assert not world.net.run(6 * PEER_SECONDS, until=lambda: restored.state == "ready")
    assert refuses(restored)
    world.net.censor = None
    assert world.net.run(6 * PEER_SECONDS, until=lambda: restored.state == "ready")
    head = restored.head(key.public_key)
    assert head is not None
    assert head.seq == 7
    assert world.founder.forks == {}
