"""Forks and rotations of the transport key: proofs under another key, and keys that lie on a branch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from forge import Chain, small_entry
from ledger_world import World
from medledger import Identity, Ledger
from medledger.sync.frontier import Missing
from medledger.sync.messages import Leaf
from medledger.sync.roster import Roster
from medledger.sync.splits import splits
from medledger.sync.topics import Topics
from rotation_world import feed_of, one_key, settle
from worlds import reading, sync


@pytest.fixture
def world(tmp_path: Path, rng: Random) -> Iterator[World]:
    """A founder alone."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack)


def test_fork_proofs_are_published_under_the_new_key(world: World) -> None:
    """The broker retains them where somebody who joins later looks; and who was offline gets them in envelopes."""
    ward, clinic = world.add("ward"), world.add("clinic")
    world.settle()
    key = ward.identity
    assert key is not None
    world.net.stop(world.stations.pop("ward"))
    one, other = Chain(key, ward.id), Chain(key, ward.id)
    raws = [one.add([small_entry(1)]), other.add([small_entry(2)])]
    world.net.leave(world.stations["clinic"])
    world.founder.import_blocks(raws)
    world.founder.rotate_transport_key()
    world.net.run(10)
    new = world.founder.transport_key
    assert new is not None
    assert Topics(world.founder.id, new.key).proofs(feed_of(ward)) in world.net.retained
    world.net.come_back(world.stations["clinic"])
    settle(world, "founder", "clinic", seconds=30)
    assert list(clinic.forks) == [feed_of(ward)]


def test_a_key_on_a_branch_of_its_governors_fork_reaches_who_was_offline(world: World) -> None:
    """The straggler hears of the fork in an envelope, fetches the branches, and finds the key there."""
    ward = world.add("ward")
    world.settle()
    world.net.leave(world.stations["ward"])
    world.net.run(1)
    world.net.stop(world.stations["founder"])
    directory = world.copy(world.founder, "twin")
    clones = []
    for at in (world.directory, directory):
        identity = Identity.load(at / "founder.key")
        clones.append(world.stack.enter_context(Ledger.open(at / "founder.db", identity)))
    clones[0].append(reading(1))
    clones[1].rotate_transport_key()
    sync(clones[1], clones[0])
    assert clones[0].forks
    world.stations["founder"] = world.connect("founder", clones[0])
    world.net.restart(world.stations["ward"])
    settle(world, "founder", "ward", seconds=60)
    assert len(ward.transport_keys) == 2


def test_a_key_on_the_shorter_branch_of_a_fork_that_nobody_knows_of_moves_the_longer(world: World) -> None:
    """A clone of the governor rotates among some while the other writes among the rest, and more; then they meet."""
    ward, clinic = world.add("ward"), world.add("clinic")
    world.settle()
    world.net.leave(world.stations["ward"])
    world.net.leave(world.stations["clinic"])
    world.net.run(1)
    world.net.stop(world.stations["founder"])
    directory = world.copy(world.founder, "twin")
    original, twin = (
        world.stack.enter_context(Ledger.open(at / "founder.db", Identity.load(at / "founder.key")))
        for at in (world.directory, directory)
    )
    twin.rotate_transport_key()
    sync(twin, clinic)
    for step in range(70):
        original.append(reading(step))
    sync(original, ward)
    assert not clinic.forks
    assert not ward.forks
    assert not one_key(ward, clinic)
    world.net.come_back(world.stations["ward"])
    world.net.come_back(world.stations["clinic"])
    settle(world, "ward", "clinic")
    assert {*ward.forks} == {*clinic.forks} == {feed_of(original)}
    assert one_key(ward, clinic)


def test_a_feed_that_is_told_a_thousand_times_costs_one_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is ours says nothing, another one that there was a fork; and who repeats it makes us read no more."""
    ledger = world.founder
    ledger.append(reading(1))
    feed, first = feed_of(ledger), ledger.block(feed_of(ledger), 0)
    frontier, roster = world.stations["founder"].node.frontier, Roster(ledger.membership)
    world.net.run(1)
    looks = []
    release = Ledger.release

    def count(self: Ledger, *arguments: Any) -> Any:
        looks.append(arguments)
        return release(self, *arguments)

    monkeypatch.setattr(Ledger, "release", count)
    ours, other = Leaf(feed[:8], 1, first.id[:8], b""), Leaf(feed[:8], 1, bytes(8), b"")
    assert splits(ledger, frontier, roster, [ours] * 1000) == {}
    assert splits(ledger, frontier, roster, [other] * 1000) == {feed: Missing(0, 1, bytes(8))}
    assert len(looks) == 2
