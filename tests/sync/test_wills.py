"""Last wills: a broker tells that a node's connection has ended. A hint, and treated like one."""

from __future__ import annotations

from random import Random

import pytest

from gossip_network import Links, Station
from gossip_world import TOPICS, World, forge
from medledger.limits import BEACON_MAX_SECONDS, MAX_BEACON_BYTES
from medledger.sync import Publish
from medledger.sync.frontier import Frontier
from medledger.sync.messages import Beacon, Gone, Leaf, Want
from medledger.sync.peers import Peer, PeerId, Peers
from medledger.sync.pulling import Puller
from medledger.sync.roster import Roster
from memory_replica import MemoryMembership, identity


def seen_by(station: Station, other: Station) -> Peer:
    """What one node knows of another."""
    peer = station.node.peers.get(other.node.id)
    assert peer is not None
    return peer


def test_a_will_is_small_and_says_nothing_else(rng: Random) -> None:
    """It goes where beacons go, is not retained, and fits their limit; each is another."""
    world = World(rng.randrange(2**32), "a")
    world.settle()
    one, other = (world.governor.node.will() for _ in range(2))
    assert one.topic == TOPICS.beacons
    assert not one.retain
    assert len(one.payload) <= MAX_BEACON_BYTES
    assert one.payload != other.payload


@pytest.mark.parametrize("published", [True, False])
def test_a_node_that_died_is_not_waited_for(rng: Random, published: bool) -> None:
    """With its will published the others are in sync again at once; without, only after it was asked in vain."""
    world = World(rng.randrange(2**32), "abc", Links(delay=(0.005, 0.005)))
    world.settle()
    world.net.run(30)
    dying, *others = (*world.members, world.governor)
    dying.group = 1
    dying.replica.append(b"nobody will ever get this")
    world.net.restart(dying)
    dying.group = 0

    def in_sync() -> bool:
        return all(station.node.in_sync(world.net.now) for station in others)

    assert world.net.run(5, until=lambda: any(dying.node.id == peer.id for peer in world.governor.node.peers))
    (world.net.die if published else world.net.stop)(dying)
    assert not in_sync()
    assert world.net.run(0.5 if published else 60, until=in_sync)


def test_a_peer_that_is_gone_is_asked_last() -> None:
    """Of two that have what is lacking, the one whose will was published is not asked; alone, it is."""
    feed, gone, other = b"f" * 32, PeerId(b"g" * 32, bytes(8)), PeerId(b"o" * 32, bytes(8))
    peers = Peers(0.0)
    roster = Roster(MemoryMembership(frozenset({feed}), frozenset()))
    for seed in range(20):
        for sources in ((gone, other), (gone,)):
            puller = Puller(Frontier({}), peers, roster, Random(seed), bytes(32))
            for who in sources:
                peers.heard(who, seed, stranger=False, now=0.0)
                puller.offer(who, [Leaf(feed, 1, bytes(32), b"")], 0.0)
            peers.left(gone, seed)
            ((asked, _),) = puller.due(0.0)
            assert asked == sources[-1]


def test_whoever_is_heard_again_is_there(rng: Random) -> None:
    """A beacon after the will, and the peer counts as before."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.net.run(5)
    one, other = world.members
    world.net.die(one)
    world.net.run(1)
    assert seen_by(other, one).gone
    one.up = True
    world.net.append(one, b"I live")
    world.net.run(3 * BEACON_MAX_SECONDS)
    assert not seen_by(other, one).gone


def test_a_node_whose_will_is_published_while_it_lives_contradicts(rng: Random) -> None:
    """A broker that lies, or an older connection that ends late: a beacon follows at once. Replays change nothing."""
    world = World(rng.randrange(2**32), "abc", Links(delay=(0.005, 0.005)))
    world.settle()
    world.net.run(300)
    living = world.members[0]
    will = living.will
    assert will is not None
    before = world.net.now
    for _ in range(20):
        world.net.inject(will.topic, will.payload)
        world.net.run(0.1)
        beacons = [station for _, station, _, _ in world.said(Beacon, before)]
        assert 1 <= beacons.count(living) <= 2  # one in answer, and one may have been due
        assert not any(seen_by(station, living).gone for station in world.net.stations if station is not living)


def test_nobody_ends_another(rng: Random) -> None:
    """Only the peer itself can have signed its will, in this boot, and no will counts twice."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    world.net.run(5)
    one, other, liar = world.members
    peer = seen_by(other, one)
    forge(world, Gone(), TOPICS.beacons, liar.replica.identity)
    forge(world, Gone(), TOPICS.beacons, identity("a"), boot=b"old boot", counter=9)
    world.net.run(1)
    assert not peer.gone
    assert other.node.counters["refused: a last will is of nobody we know, or an old one"] >= 1


def test_pulls_of_a_peer_that_is_gone_end_soon(rng: Random) -> None:
    """A newcomer whose source dies asks another within half a second of the will, not after two seconds of silence."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    for step in range(300):
        world.members[0].replica.append(b"reading %d" % step + bytes(2000))
    world.net.restart(world.members[0])
    world.settle()
    newcomer = world.join("c")
    world.enrol("c")
    died: list[float] = []
    listen = world.net.on_publish
    assert listen is not None

    def kill_whoever_is_asked(station: Station, effect: Publish) -> None:
        listen(station, effect)
        message, topic = world.spoken[-1][2], world.spoken[-1][3]
        if isinstance(message, Want) and station is newcomer and len(newcomer.replica.chains) > 0 and not died:
            (asked,) = [each for each in world.net.stations if TOPICS.inbox(each.replica.me) == topic]
            died.append(world.net.now)
            world.net.die(asked)

    world.net.on_publish = kill_whoever_is_asked
    world.net.run(20, until=lambda: bool(died) and newcomer.replica.digest() == world.replica.digest())
    (at,) = died
    again = min(at_ for at_, station, _, _ in world.said(Want, at + 1e-9) if station is newcomer)
    assert again - at < 0.5
    assert newcomer.replica.digest() == world.replica.digest()
