"""Forks and restored disks, as the gossip machine meets them: proved everywhere, and nobody accused who is honest."""

from __future__ import annotations

from random import Random

import pytest

from gossip_world import GOVERNOR, TOPICS, World
from medledger.limits import BEACON_MAX_SECONDS
from medledger.sync.messages import Want
from memory_replica import MemoryReplica


@pytest.mark.parametrize("branch", [1, 5, 300])
def test_a_cloned_card_is_proved_everywhere(rng: Random, branch: int) -> None:
    """Both copies write apart for a while: every replica has the proof within three intervals, and they are equal."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    original = world.members[0]
    for step in range(10):
        world.net.append(original, b"before %d" % step)
    world.settle()
    clone = world.net.add("clone", original.replica.clone())
    clone.group = world.members[1].group = 1
    world.net.run(5)
    for step in range(branch):
        world.net.append(original, b"original %d" % step)
        world.net.append(clone, b"clone %d" % step)
        world.net.run(0.2)
    clone.group = world.members[1].group = 0
    world.settle(3 * BEACON_MAX_SECONDS)
    me = original.replica.me
    assert {station.replica.forks[me].seq for station in world.net.stations} == {10}
    assert all(len(station.replica.chains[me]) == 10 for station in world.net.stations)
    for station in world.net.stations:
        assert any("forked" in text for text in station.alarms)
    assert {feed for station in world.net.stations for feed in station.replica.forks} == {me}


def test_a_proof_is_retained_for_who_comes_later(rng: Random) -> None:
    """A node that was not there gets the proof from the broker, before it could judge it, and keeps it once it can."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    clone = world.net.add("clone", world.members[0].replica.clone())
    world.net.append(world.members[0], b"one")
    world.net.append(clone, b"other")
    world.settle()
    assert list(world.net.retained) == [TOPICS.proofs(clone.replica.me)]
    world.enrol("c")
    newcomer = world.join("c")
    world.settle(10)
    assert list(newcomer.replica.forks) == [clone.replica.me]


def test_a_restored_node_gets_its_own_feed_back_first(rng: Random) -> None:
    """Its own blocks are asked for before other data, and its replica hears what its peers hold of them."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    for station in world.members:
        for step in range(30):
            world.net.append(station, b"reading %d" % step)
    world.settle()
    lost = world.members.pop(0)
    world.net.stop(lost)
    restored = MemoryReplica(lost.replica.identity, GOVERNOR, recover_to=30)
    before = world.net.now
    station = world.net.add("restored", restored)
    assert restored.state == "recovering"
    world.settle(10)
    world.net.run(5)
    assert restored.state == "ready"
    wants = [want for _, who, want, _ in world.said(Want, before) if who is station]
    feeds = [[each.feed for each in want.ranges] for want in wants]
    assert feeds[0] == [GOVERNOR]
    assert feeds[1] == [restored.me]
    assert station.node.status(world.net.now)["state"] == "ready"


def test_a_recovering_node_is_told_that_nobody_has_more(rng: Random) -> None:
    """Equal beacons tell a replica that waits for it how long its feed is elsewhere."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.members[0].replica.recover_to = 1
    world.net.restart(world.members[0])
    world.net.run(5)
    assert world.members[0].replica.heard_lengths
    assert set(world.members[0].replica.heard_lengths) == {0}
