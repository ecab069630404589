"""Pulling a whole replica: several peers share the load, one that dies or stalls is replaced, nothing comes twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from gossip_network import Links, Station
from gossip_world import World, adopt, seeds
from medledger.sync.messages import Data, Want
from memory_replica import MemoryReplica, identity

FEEDS, BLOCKS, SIZE = 40, 60, 2000
AUTHORS = [f"author {number}" for number in range(FEEDS)]


def world_of(seed: int, servers: str) -> World:
    """Peers that all hold the same: many feeds of authors who are not there, and the enrolment of a newcomer."""
    world = World(seed, servers + "x")
    for name in AUTHORS:
        world.enrol(name)
    world.net.run(2)
    fed: list[Station] = [world.governor, *world.members]
    for station in fed[:-1]:
        for name in AUTHORS:
            world.net.advanced(station, adopt(station.replica, identity(name), BLOCKS, SIZE))
    world.net.stop(fed[-1])
    world.net.stations.remove(fed[-1])
    world.settle()
    world.net.links = Links(delay=(0.2, 0.4))  # slow enough for all to have been asked before it is over
    return world


def newcomer(world: World) -> Station:
    """A member with nothing."""
    return world.join("x")


def blocks_from(world: World, since: float) -> Counter[str]:
    """How many blocks each station has sent."""
    sent: Counter[str] = Counter()
    for _, station, data, _ in world.said(Data, since):
        sent[station.name] += len(data.blocks)
    return sent


def pulled_twice(station: Station) -> int:
    """Blocks that came and were held already."""
    return station.node.counters["duplicate blocks"]


def total(replica: MemoryReplica) -> int:
    """Blocks in a replica."""
    return sum(map(len, replica.chains.values()))


def whole(world: World, station: Station) -> Callable[[], bool]:
    """Whether a station holds as much as there is: quicker to ask, at each event, than whether all have converged."""
    everything = total(world.replica)
    return lambda: total(station.replica) == everything


def test_several_peers_share_the_load(rng: Random) -> None:
    """Each that speaks up gives its part; nothing comes twice; the newcomer sees how much is to come."""
    for seed in seeds(rng, 3):
        world = world_of(seed, "abc")
        start = world.net.now
        station = newcomer(world)
        everything = total(world.replica)
        seen: list[int] = []
        while not whole(world, station)():
            assert world.net.now < start + 60
            world.net.run(0.1)
            status = station.node.status(world.net.now)
            seen.append(status["blocks"] + status["blocks_behind"])
        assert world.net.converged()
        sent = blocks_from(world, start)
        assert max(seen) == everything == seen[-1]
        assert sum(sent.values()) == everything
        assert pulled_twice(station) == 0
        helped = [name for name, count in sent.items() if count > everything / 20]
        assert len(helped) >= 2, f"seed {seed}: {sent}"
        assert max(sent.values()) < 0.85 * everything, f"seed {seed}: {sent}"


@pytest.mark.parametrize("how", ["dies", "stalls"])
def test_a_peer_that_dies_or_stalls_is_replaced(rng: Random, how: str) -> None:
    """In the middle of it, the peer that gave most: the others give the rest within a few patient seconds."""
    for seed in seeds(rng, 2):
        world = world_of(seed, "abc")
        start = world.net.now
        station = newcomer(world)
        quarter = total(world.replica) // 4
        assert world.net.run(60, until=lambda: total(station.replica) > quarter)  # noqa: B023 - called at once
        busiest = blocks_from(world, start).most_common(1)[0][0]
        victim = next(each for each in world.net.stations if each.name == busiest)
        if how == "dies":
            world.net.stop(victim)
        else:
            victim.node._server.want = lambda *_: []  # type: ignore[method-assign]  # it beacons, and answers no want
        assert world.net.run(20, until=whole(world, station)), f"seed {seed}"
        assert pulled_twice(station) == 0


def test_a_newcomer_that_is_killed_goes_on_with_what_it_stored(rng: Random) -> None:
    """Again and again in the middle: nothing that was stored is asked for again, and nothing comes twice."""
    for seed in seeds(rng, 2):
        world = world_of(seed, "ab")
        station = newcomer(world)
        everything = total(world.replica)
        for part in range(1, 5):
            held = {feed: len(chain) for feed, chain in station.replica.chains.items()}
            before = world.net.now
            goal = everything * part // 4
            assert world.net.run(60, until=lambda: total(station.replica) >= goal)  # noqa: B023 - called at once
            asked = [want for _, who, want, _ in world.said(Want, before) if who is station]
            assert all(each.start >= held.get(each.feed, 0) for want in asked for each in want.ranges)
            assert pulled_twice(station) == 0
            world.net.restart(station)
        world.settle()


def test_peers_on_bad_links_still_give_it_all(rng: Random) -> None:
    """Frames lost, repeated and late: what is missing is asked for again, in ranges, of whoever answers."""
    world = world_of(rng.randrange(2**32), "abc")
    world.net.links = Links(delay=(0.001, 0.3), lose=0.1, repeat=0.1)
    station = newcomer(world)
    assert world.net.run(600, until=whole(world, station))
    world.settle()
