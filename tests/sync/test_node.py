"""The gossip machine in a network of its own: nodes, a broker and links in one thread, everything from one seed.

Each test prints its seed; MEDLEDGER_SEED repeats a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from gossip_network import KEY, Links, Network, Station
from medledger.errors import StoreError
from medledger.importing import ImportReport
from medledger.keys import Identity
from medledger.limits import BEACON_MAX_SECONDS, MAX_BEACON_BYTES
from medledger.sync import Publish
from medledger.sync.frames import Codec, Origin
from medledger.sync.messages import Beacon, Blocks, Data, Message, Probe, Want
from medledger.sync.topics import Topics
from memory_replica import LEDGER_ID, MemoryReplica, identity, make

TOPICS = Topics(LEDGER_ID, KEY.key)
GOVERNOR = identity("governor").public_key


class World:
    """A governor, its members, and the network between them."""

    def __init__(self, seed: int, members: str = "", links: Links | None = None) -> None:
        print(f"seed {seed}")
        self.net = Network(seed, links)
        self.replica = MemoryReplica(identity("governor"), GOVERNOR)
        for name in members:
            self.replica.enrol(identity(name).public_key)
        self.governor = self.net.add("governor", self.replica)
        self.members = [self.join(name) for name in members]
        self.spoken: list[tuple[float, Station, Message, str]] = []
        self.codec = Codec(LEDGER_ID, KEY, Random(seed))
        self.net.on_publish = self._listen

    def join(self, name: str, **options: Any) -> Station:
        """A member with an empty replica."""
        return self.net.add(name, MemoryReplica(identity(name), GOVERNOR, **options))

    def enrol(self, name: str) -> None:
        self.net.advanced(self.governor, self.replica.enrol(identity(name).public_key))

    def settle(self, seconds: float = 3 * BEACON_MAX_SECONDS) -> float:
        """Let the network converge; how long that took."""
        before = self.net.now
        assert self.net.run(seconds, until=self.net.converged), f"seed {self.net.seed}: not converged after {seconds} s"
        return self.net.now - before

    def said(self, kind: type[Message], since: float = 0.0) -> list[tuple[float, Station, Any, str]]:
        """What was said of one kind."""
        return [each for each in self.spoken if isinstance(each[2], kind) and each[0] >= since]

    def _listen(self, station: Station, effect: Publish) -> None:
        address = TOPICS.read(effect.topic)
        assert address is not None
        message = self.codec.open(effect.topic, address.channel, effect.payload).message
        self.spoken.append((self.net.now, station, message, effect.topic))


def seeds(rng: Random, count: int) -> list[int]:
    """Seeds of several runs."""
    return [rng.randrange(2**32) for _ in range(count)]


# --- converging ------------------------------------------------------------------------------------------------------


def test_nodes_converge_and_new_blocks_arrive_live(rng: Random) -> None:
    """Five nodes that start empty hold the same within seconds, and one new block reaches all without a single pull."""
    world = World(rng.randrange(2**32), "abcd")
    assert world.settle(5) < 5
    world.net.run(5)
    before = world.net.now
    world.net.append(world.members[0], b"72/min")
    assert world.net.run(0.1, until=world.net.converged)
    world.net.run(1)
    assert world.said(Want, before) == []


def test_nodes_converge_over_links_that_lose_repeat_and_reorder(rng: Random) -> None:
    """A fifth of all frames lost, a tenth of the live ones too, one in ten repeated, order lost: digests are equal."""
    for seed in seeds(rng, 8):
        world = World(seed, "abcd", Links(delay=(0.001, 0.4), lose=0.2, lose_sure=0.1, repeat=0.1))
        for step in range(40):
            for station in world.members:
                world.net.append(station, b"reading %d" % step + bytes(world.net.rng.randrange(2000)))
            world.net.run(world.net.rng.uniform(0, 0.5))
        world.settle()


def test_partitions_heal(rng: Random) -> None:
    """Two halves that wrote apart hold the same within three of the longest beacon intervals after they meet again."""
    for seed in seeds(rng, 5):
        world = World(seed, "abcdef", Links(lose=0.05, lose_sure=0.05))
        world.settle()
        for station in world.members[:3]:
            station.group = 1
        for step in range(30):
            for station in world.members:
                world.net.append(station, b"apart %d" % step)
            world.net.run(10)
        assert not world.net.converged()
        for station in world.members:
            station.group = 0
        world.settle(3 * BEACON_MAX_SECONDS)


def test_a_broker_that_dies_and_comes_back_changes_nothing(rng: Random) -> None:
    """Blocks written while it was away arrive after it is back, and nodes know that they are in sync again."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    world.net.break_off(20)
    world.net.run(10)
    for station in world.members:
        assert not station.node.connected
        world.net.append(station, b"alone")
    world.net.run(10)
    world.settle(10)
    assert world.net.run(5, until=lambda: all(each.node.in_sync(world.net.now) for each in world.members))


def test_nodes_that_crash_and_restart_converge(rng: Random) -> None:
    """Killed at any moment and started again on what they had stored, with another boot id."""
    for seed in seeds(rng, 4):
        world = World(seed, "abcd", Links(delay=(0.001, 0.1), lose=0.1))
        for step in range(60):
            station = world.net.rng.choice(world.members)
            world.net.append(world.net.rng.choice(world.members), b"step %d" % step)
            world.net.run(world.net.rng.uniform(0, 1))
            if step % 3 == 0:
                world.net.restart(station)
        world.settle()


def test_the_same_seed_gives_the_same_run(rng: Random) -> None:
    """Every publication, its time, topic and size, is repeated."""
    seed = rng.randrange(2**32)
    runs = []
    for _ in range(2):
        world = World(seed, "abc", Links(delay=(0.001, 0.3), lose=0.2, repeat=0.2))
        for step in range(10):
            world.net.append(world.members[step % 3], b"reading")
            world.net.run(1)
        world.settle()
        runs.append(world.net.traffic)
    assert runs[0] == runs[1]


# --- what it costs ---------------------------------------------------------------------------------------------------


def test_in_sync_there_are_beacons_and_nothing_else(rng: Random) -> None:
    """With 8 nodes and 40 feeds: at most 6 beacons in 64 s network-wide, of at most 200 bytes each."""
    world = World(rng.randrange(2**32), "abcdefg")
    for number in range(32):
        world.enrol(f"device {number}")
        author = identity(f"device {number}")
        world.net.advanced(world.governor, adopt(world.replica, author, 3))
    world.settle()
    world.net.run(300)  # until the timers are at their longest
    before = world.net.now
    world.net.run(10 * BEACON_MAX_SECONDS)
    kinds = world.net.kinds(before)
    assert set(kinds) == {"s"}
    assert kinds["s"] <= 6 * 10
    assert max(size for at, _, _, size in world.net.traffic if at >= before) <= MAX_BEACON_BYTES


def test_missing_blocks_are_pulled_once(rng: Random) -> None:
    """Ten newcomers at once: each gets every block about once, and no feed is in two pulls of one node."""
    world = World(rng.randrange(2**32), "abcdefghij")
    size = 0
    for number in range(20):
        author = identity(f"device {number}")
        world.enrol(f"device {number}")
        world.net.advanced(world.governor, adopt(world.replica, author, 50, size=200))
        size += 50 * 200
    under_way = watch_pulls(world)
    world.settle()
    assert under_way.overlaps == 0
    served = sum(len(block) for _, _, data, _ in world.said(Data) for block in data.blocks)
    blocks = sum(len(chain) for chain in world.replica.chains.values())
    assert served <= 1.1 * 10 * (size + blocks * 200)


def test_a_little_missing_from_much_costs_little(rng: Random) -> None:
    """20 of 1,000 feeds have grown while a node was away: it is sent at most a tenth more than what it lacks."""
    world = World(rng.randrange(2**32), "a")
    authors = [identity(f"device {number}") for number in range(1000)]
    for author in authors:
        world.replica.enrol(author.public_key)
        adopt(world.replica, author, 1)
    world.net.restart(world.governor)
    world.settle()
    member = world.members[0]
    world.net.stop(member)
    for author in authors[::50]:
        adopt(world.replica, author, 25, size=500)
    world.net.restart(world.governor)
    world.net.run(5)
    before = world.net.now
    world.net.restart(member)
    world.settle(10)
    missing = 20 * 25 * 700
    data = sum(size for at, _, topic, size in world.net.traffic if at >= before and "/i/" in topic)
    assert data <= 1.1 * missing


class Pulls:
    """Ranges asked for and not answered yet, by asker and feed."""

    def __init__(self) -> None:
        self.open: dict[bytes, tuple[Station, set[bytes]]] = {}
        self.overlaps = 0


def watch_pulls(world: World) -> Pulls:
    """Follow wants and dones."""
    pulls = Pulls()
    listen = world.net.on_publish

    def follow(station: Station, effect: Publish) -> None:
        assert listen is not None
        listen(station, effect)
        message = world.spoken[-1][2]
        if isinstance(message, Want):
            feeds = {each.feed for each in message.ranges}
            busy = [held for who, held in pulls.open.values() if who is station and held & feeds]
            pulls.overlaps += len(busy)
            pulls.open[message.nonce] = (station, feeds)
        elif type(message).__name__ == "Done":
            pulls.open.pop(message.nonce, None)

    world.net.on_publish = follow
    return pulls


def adopt(replica: MemoryReplica, author: Identity, count: int, size: int = 10) -> Any:
    """Blocks of an author that runs no node of its own, as if imported."""
    chain = replica.chains.get(author.public_key, [])
    prev = chain[-1].id if chain else None
    raws = []
    for seq in range(len(chain), len(chain) + count):
        block = make(author, seq, prev, bytes(size))
        prev = block.id
        raws.append(block.raw)
    return replica.import_blocks(raws).advanced[0]


# --- order -----------------------------------------------------------------------------------------------------------


def test_control_feeds_come_first_and_unknown_authors_wait(rng: Random) -> None:
    """A newcomer asks for the governor's feed alone before any other, and for none whose author it does not know."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    for station in world.members:
        for step in range(20):
            world.net.append(station, b"reading %d" % step)
    world.settle()
    before = world.net.now
    world.enrol("d")
    newcomer = world.join("d")
    known: list[set[bytes]] = []
    world.net.run(30, until=lambda: world.net.converged() and bool(newcomer.replica.chains))
    wants = [message for at, station, message, _ in world.said(Want, before) if station is newcomer]
    known = [{each.feed for each in want.ranges} for want in wants]
    assert known[0] == {GOVERNOR}
    assert set().union(*known[1:]) == {station.replica.me for station in world.members}
    assert newcomer.replica.digest() == world.replica.digest()


def test_a_gap_shown_by_a_live_block_is_pulled_at_once(rng: Random) -> None:
    """A lost live block is noticed by the next one and fetched in a range within a second, without any probe."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.net.run(200)
    author, other = world.members
    world.net.links.lose_sure = 1.0
    world.net.append(author, b"lost")
    world.net.run(0.5)
    world.net.links.lose_sure = 0.0
    before = world.net.now
    world.net.append(author, b"arrives")
    assert world.net.run(1, until=world.net.converged)
    assert world.said(Probe, before) == []
    wants = [message for _, station, message, _ in world.said(Want, before) if station is other]
    assert [(each.start, each.stop) for want in wants for each in want.ranges] == [(0, 2)]


def test_a_peer_that_does_not_answer_is_replaced(rng: Random) -> None:
    """When the peer that was asked dies, another delivers, and the dead one is asked ever less."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    for step in range(500):
        world.members[0].replica.append(b"reading %d" % step + bytes(1000))
    world.net.restart(world.members[0])
    world.settle()
    newcomer = world.join("d")
    world.enrol("d")

    def kill_whoever_serves(station: Station, effect: Publish) -> None:
        listen(station, effect)
        if isinstance(world.spoken[-1][2], Data) and station.up and station is not world.governor:
            world.net.stop(station)

    listen = world.net.on_publish
    assert listen is not None
    world.net.on_publish = kill_whoever_serves
    world.net.run(120, until=lambda: newcomer.replica.digest() == world.replica.digest())
    assert newcomer.replica.digest() == world.replica.digest()
    before = world.net.now
    world.net.run(300)
    assert len([1 for _, station, _, _ in world.said(Want, before) if station is newcomer]) == 0
    assert len([1 for _, station, _, _ in world.said(Probe, before) if station is newcomer]) <= 6


def test_large_blocks_travel(rng: Random) -> None:
    """Blocks near the size limit, one in a frame, arrive live and pulled."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    for _ in range(40):
        world.net.append(world.members[0], bytes(61_000))
        world.net.run(0.01)
    world.settle(5)
    world.join("c")
    world.enrol("c")
    world.settle(30)


# --- forks and recovery ----------------------------------------------------------------------------------------------


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


def forge(
    world: World, message: Message, topic: str, who: Identity, *, counter: int = 0, boot: bytes = b"evilboot"
) -> None:
    """A member with the transport key says something, signed by a key that it has."""
    if message.KIND.signed:
        frame = world.codec.seal_signed(topic, message, Origin(who.public_key, boot, counter), who)
    else:
        frame = world.codec.seal(topic, message)
    world.net.inject(topic, frame)


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
