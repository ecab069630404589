"""Whatever state a store is in when its node connects, it ends where the others are, by itself. Real ledgers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from ledger_world import World
from medledger import Identity, Ledger
from medledger.limits import BEACON_MAX_SECONDS
from worlds import reading


@pytest.fixture
def world(tmp_path: Path, rng: Random) -> Iterator[World]:
    """A founder alone."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack)


@pytest.mark.parametrize("missed", [0, 3, 400])
@pytest.mark.parametrize("written", [0, 3, 400])
def test_a_box_that_was_away_ends_where_the_others_are(world: World, missed: int, written: int) -> None:
    """Behind, ahead, both or neither, by a little or by a lot: within an interval, and nobody's feed forks."""
    ward, clinic = world.add("ward"), world.add("clinic")
    for ledger in (ward, clinic):
        ledger.append(reading(60))
    world.settle()
    world.net.stop(world.stations["ward"])
    for step in range(missed):
        clinic.append(reading(step % 100))
        world.founder.append(reading(step % 100))
    for step in range(written):
        ward.append(reading(step % 100))
    world.net.run(200)
    world.net.restart(world.stations["ward"])
    assert world.net.run(BEACON_MAX_SECONDS, until=world.net.converged)
    assert ward.state == "ready"
    assert world.founder.forks == {}
    assert len(list(world.founder.entries(type="reading"))) == 2 + 2 * missed + written


def test_a_box_whose_database_is_gone_starts_from_its_reply(world: World) -> None:
    """Key and witness are left, and the genesis: it gets its own feed back from its peers, and goes on."""
    ward = world.add("ward")
    for step in range(20):
        ward.append(reading(step))
    world.settle()
    key = ward.identity
    assert isinstance(key, Identity)
    world.net.stop(world.stations.pop("ward"))
    ward.close()
    empty = world.directory / "again.db"
    fresh = world.directory / "ward.db"
    with Ledger.open(fresh, key) as old:
        secret = old.store.get_meta("transport_key")
    for path in world.directory.glob("ward.db*"):
        path.unlink()
    Ledger.replicate(empty, world.founder.store.get_meta("genesis")).close()
    again = world.stack.enter_context(Ledger.open(empty, key))
    with again.store.transaction():
        again.store.set_meta("transport_key", secret)  # as a reply to a new request would bring it
    assert again.state == "recovering"
    station = world.connect("ward", again)
    world.settle(BEACON_MAX_SECONDS)
    assert world.net.run(30, until=lambda: again.state == "ready")
    assert again.append(reading(1)).seq == 20
    world.settle()
    assert world.founder.forks == {}
    assert station.alarms == []


def test_an_older_copy_of_everything_but_its_own_feed_is_just_behind(world: World) -> None:
    """A box that had written nothing since its backup is ready at once, and catches up like any other."""
    ward, clinic = world.add("ward"), world.add("clinic")
    ward.append(reading(1))
    world.settle()
    backup = world.directory / "backup.db"
    ward.backup(backup)
    for step in range(50):
        clinic.append(reading(step))
    world.settle()
    restored = world.restore("ward", backup)
    assert restored.state == "ready"
    world.connect("ward", restored)
    world.settle(BEACON_MAX_SECONDS)
    restored.append(reading(2))
    world.settle()
    assert world.founder.forks == {}
