"""The gossip machine in a network of its own: nodes, a broker and links in one thread, everything from one seed.

Each test prints its seed; MEDLEDGER_SEED repeats a run.
"""

from __future__ import annotations

from random import Random

from gossip_network import Links, Station
from gossip_world import GOVERNOR, World, adopt, seeds
from medledger.limits import BEACON_MAX_SECONDS, MAX_BEACON_BYTES
from medledger.sync import Publish
from medledger.sync.messages import Blocks, Claim, Data, Probe, Query, Want
from memory_replica import identity

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


def test_a_gap_shown_by_a_live_block_is_asked_of_all_at_once(rng: Random) -> None:
    """A lost live block is noticed by the next one, and its author says it again within a second: no probe, no want."""
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
    queries = world.said(Query, before)
    assert 1 <= len(queries) <= 2  # both who lack it may have asked before they heard each other
    for _, asker, query, _ in queries:
        assert asker in (other, world.governor)
        assert [(each.feed, each.start, each.stop) for each in query.ranges] == [(author.replica.me, 0, 1)]
    claims = world.said(Claim, before)
    assert {claimant for _, claimant, _, _ in claims} == {author}
    assert {claim.nonce for _, _, claim, _ in claims} <= {query.nonce for _, _, query, _ in queries}
    assert len(world.said(Blocks, before)) <= 1 + len(queries)
    assert world.said(Want, before) == []


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
