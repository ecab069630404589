"""The gossip machine among enemies and on machines that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from gossip_network import Station
from gossip_world import TOPICS, World, forge
from medledger.errors import StoreError
from medledger.importing import ImportReport
from medledger.keys import Identity
from medledger.sync import Publish
from medledger.sync.messages import Beacon, Blocks, Probe, Want
from memory_replica import identity, make

# --- hostile traffic -------------------------------------------------------------------------------------------------


def test_replayed_and_forged_frames_change_nothing(rng: Random) -> None:
    """All ever published, again, on its own and on other topics, damaged, and noise: same digests, and no answers."""
    world = World(rng.randrange(2**32), "abc")
    recorded: list[tuple[str, bytes]] = []
    listen = world.net.on_publish
    assert listen is not None

    def record(station: Station, effect: Publish) -> None:
        listen(station, effect)
        recorded.append((effect.topic, effect.payload))

    world.net.on_publish = record
    world.net.run(1)
    for step in range(20):
        world.net.append(world.members[step % 3], b"reading %d" % step)
        world.net.run(1)
    world.settle()
    world.net.run(300)
    digest = world.replica.digest()
    imports = [station.replica.imports for station in world.net.stations]
    before = world.net.now
    for topic, payload in recorded:
        world.net.inject(topic, payload)
        world.net.inject(world.net.rng.choice(recorded)[0], payload)
        world.net.inject(topic, world.net.rng.randbytes(len(payload)))
        world.net.inject(topic, payload[:-1] + bytes((payload[-1] ^ 1,)))
        world.net.inject("some/other/topic", payload)
    world.net.run(10)
    assert {station.replica.digest() for station in world.net.stations} == {digest}
    assert [station.replica.imports for station in world.net.stations] == imports
    assert set(world.net.kinds(before)) <= {"s"}
    for station in world.net.stations:
        assert station.node.counters["refused frames"] > 0


def test_old_frames_do_not_ask_a_restarted_node_for_anything(rng: Random) -> None:
    """Requests name the boot they are meant for: replayed to the next boot, they are not answered."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    for step in range(50):
        world.net.append(world.members[0], b"reading %d" % step)
    world.settle()
    requests = []
    listen = world.net.on_publish
    assert listen is not None

    def record(station: Station, effect: Publish) -> None:
        listen(station, effect)
        if isinstance(world.spoken[-1][2], Probe | Want):
            requests.append((effect.topic, effect.payload))

    world.net.on_publish = record
    world.enrol("c")
    world.join("c")
    world.settle(10)
    assert requests
    for station in world.net.stations:
        world.net.restart(station)
    world.net.run(100)
    before = world.net.now
    for topic, payload in requests:
        world.net.inject(topic, payload)
    world.net.run(1)
    assert world.net.kinds(before)["i"] == 0


def test_a_revoked_member_is_not_heard(rng: Random) -> None:
    """Its beacons, well sealed and signed, are refused; so are those of a made-up key beyond its few places."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    revoked = identity("c")
    world.net.stop(world.members[2])
    for station in world.net.stations[:3]:
        cuts = {revoked.public_key: ()}
        before = station.replica.membership
        station.replica.membership = type(before)(before.known, before.electors, cuts)
        world.net.restart(station)
    world.net.run(100)
    probes = len(world.said(Probe))
    beacon = Beacon(bytes(16), 99, 99, bytes(8), answer=True)
    forge(world, beacon, TOPICS.beacons, revoked)
    world.net.run(3)
    assert len(world.said(Probe)) == probes
    for station in world.net.stations[:3]:
        assert station.node.counters["refused: a frame's sender is revoked"] == 1


def test_a_lying_beacon_costs_a_probe_and_no_more(rng: Random) -> None:
    """A member that shows a root nobody has is asked, does not answer, and is left alone; the others stay in sync."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    world.net.run(100)
    liar = identity("liar")
    before = world.net.now
    for counter in range(50):
        forge(world, Beacon(bytes(16), 9, 9, bytes(8), answer=False), TOPICS.beacons, liar, counter=counter)
        world.net.run(1)
    by_node = Counter(station.name for _, station, _, _ in world.said(Probe, before))
    assert max(by_node.values()) <= 12  # 0.5, 1, 2 ... 30 s of pause after each
    assert world.net.run(30, until=lambda: all(each.node.in_sync(world.net.now) for each in world.net.stations))


def test_bad_blocks_are_looked_at_once(rng: Random) -> None:
    """The same forged live block, sealed anew a hundred times, is imported once, and the true one still gets in."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.net.run(5)
    author, other = world.members
    true = make(author.replica.identity, 0, None, b"the true block")
    false = make(identity("somebody else"), 0, None, b"a lie")
    body = false.raw.replace(identity("somebody else").public_key, author.replica.me)
    imports = other.replica.imports
    for _ in range(100):
        forge(world, Blocks(author.replica.me, (body,)), TOPICS.live(author.replica.me), identity("b"))
        world.net.run(0.1)
    assert other.replica.imports == imports + 1
    assert other.node.counters["repeated bad blocks"] == 99
    author.replica.chains[author.replica.me] = [true]
    world.net.restart(author)
    world.settle(10)
    assert len(other.replica.chains[author.replica.me]) == 1


def test_a_member_that_asks_too_much_is_answered_less(rng: Random) -> None:
    """Of a thousand probes in a second some two hundred are answered, and others are served meanwhile."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    world.net.run(5)
    greedy = identity("a")
    target = world.governor.node
    nothing = Probe(bytes(8), target.id.boot, False, bytes(32), b"")
    before = world.net.now
    for counter in range(1000):
        forge(world, nothing, TOPICS.inbox(target.id.key), greedy, counter=counter)
    world.net.run(1)
    answers = [1 for at, station, _, _ in world.spoken if at >= before and station is world.governor]
    assert 200 <= len(answers) <= 280
    world.enrol("d")
    newcomer = world.join("d")
    world.net.run(5, until=lambda: newcomer.replica.digest() == world.replica.digest())
    assert newcomer.replica.digest() == world.replica.digest()


def test_memory_stays_bounded_under_a_flood_of_strangers(rng: Random) -> None:
    """Beacons of 300 made-up keys leave a few dozen peers behind, and members are still among them."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.net.run(1)
    generator = Random(1)
    for _ in range(300):
        stranger = Identity.from_seed(generator.randbytes(32))
        forge(
            world,
            Beacon(bytes(16), 1, 1, bytes(8), answer=False),
            TOPICS.beacons,
            stranger,
            boot=generator.randbytes(8),
        )
    world.net.run(5)
    for station in world.net.stations:
        assert len(station.node.peers) <= 64 + 3
        keys = {peer.id.key for peer in station.node.peers}
        assert {each.replica.me for each in world.net.stations if each is not station} <= keys


# --- when things fail ------------------------------------------------------------------------------------------------


def test_a_disk_that_fails_is_an_alarm_and_tried_again(rng: Random) -> None:
    """Imports that raise do not end the node; when the disk is well again the blocks arrive."""
    world = World(rng.randrange(2**32), "a")
    member = world.members[0]
    healthy: Callable[..., ImportReport] = member.replica.import_blocks

    def full(raws: Any) -> ImportReport:
        raise StoreError("the disk is full")

    member.replica.import_blocks = full
    world.net.run(30)
    assert any("the disk is full" in text for text in member.alarms)
    assert len(member.alarms) == 1
    member.replica.import_blocks = healthy
    world.settle(90)


def test_a_node_whose_blocks_nobody_has_says_so(rng: Random) -> None:
    """Ten minutes after the first block that no peer has shown to hold, and again after ten more; else never."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.net.run(10)
    lonely = world.members[0]
    lonely.group = 1
    world.net.append(lonely, b"into the void")
    world.net.run(590)
    assert lonely.alarms == []
    world.net.run(620)
    assert [text for text in lonely.alarms if "no peer has confirmed" in text] == lonely.alarms
    assert len(lonely.alarms) == 2
    lonely.group = 0
    world.settle()
    world.net.run(1300)
    assert len(lonely.alarms) == 2
    assert lonely.node.status(world.net.now)["own_blocks_unconfirmed"] == 0


def test_a_node_alone_is_in_sync_with_nobody(rng: Random) -> None:
    """Without a peer `in_sync` is false, and the node goes on sending beacons."""
    world = World(rng.randrange(2**32))
    world.net.run(200)
    assert not world.governor.node.in_sync(world.net.now)
    assert world.net.kinds()["s"] >= 8
