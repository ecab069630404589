"""Members that show what they do not have, do not give what they show, or give too much: little is wasted on them."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from gossip_network import Station
from gossip_world import TOPICS, World, adopt, forge
from medledger.errors import NewerBlockError
from medledger.limits import (
    BEACON_MAX_SECONDS,
    LIVE_BYTES_BURST,
    PEER_SECONDS,
    RANGES_BURST,
    RANGES_PER_SECOND,
    RANGES_PER_WANT,
    REQUESTS_BURST,
    REQUESTS_PER_SECOND,
    UNCONFIRMED_SECONDS,
)
from medledger.sync import Publish
from medledger.sync.live import Fate
from medledger.sync.messages import Beacon, Blocks, Data, Done, Leaf, Leaves, Message, Probe, Query, Range, Status, Want
from memory_replica import identity, make

BOOT = b"evilboot"


class Liar:
    """A member without a node of its own, which answers as it likes. `leaves` is what it shows, whoever asks."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.who = identity(name)
        self.leaves: list[Leaf] = []
        self.sends: list[bytes] | None = []  # blocks, in answer to any want; None for silence
        self.status = Status.COMPLETE
        self.asked: Counter[str] = Counter()  # by kind
        self._counter = 0
        world.answer(self.who, self._answer)

    def beacon(self) -> None:
        """Show a root that nobody has, and more blocks than anybody."""
        root = self.world.net.rng.randbytes(16)
        self.say(Beacon(root, 5, 10**6, bytes(8), answer=False), TOPICS.beacons)

    def say(self, message: Message, topic: str) -> None:
        """Anything, signed."""
        forge(self.world, message, topic, self.who, counter=self._counter, boot=BOOT)
        self._counter += 1

    def _answer(self, asker: Station, message: Any) -> None:
        self.asked[type(message).__name__] += 1
        topic = TOPICS.inbox(asker.replica.me)
        if isinstance(message, Probe):
            for at in range(0, max(1, len(self.leaves)), 512):
                pages = max(1, -(-len(self.leaves) // 512))
                self.say(Leaves(message.nonce, at // 512, pages, tuple(self.leaves[at : at + 512])), topic)
        elif isinstance(message, Want) and self.sends is not None:
            if self.sends:
                self.say(Data(message.nonce, 0, 1, tuple(self.sends)), topic)
            self.say(Done(message.nonce, int(bool(self.sends)), self.status), topic)


def lies_about(world: World, count: int = 0) -> list[Leaf]:
    """Every feed that the governor holds, longer than it is, with heads that nobody has."""
    rng = world.net.rng
    feeds = [feed for feed in world.replica.chains if feed != world.replica.me][: count or None]
    return [Leaf(feed[:8], rng.randrange(1000, 2**40), rng.randbytes(8), b"") for feed in feeds]


def big_world(rng: Random, feeds: int, members: str) -> World:
    """A world whose governor holds one block of each of many feeds."""
    world = World(rng.randrange(2**32), members)
    for number in range(feeds):
        author = identity(f"device {number}")
        world.replica.enrol(author.public_key)
        adopt(world.replica, author, 1)
    world.net.restart(world.governor)
    assert world.net.run(100, until=lambda: agreed(*world.net.stations))
    world.net.run(100)
    return world


def agreed(*stations: Station) -> bool:
    """Whether these hold the same, as their roots say: cheap, and in tests of long histories called very often."""
    return len({station.node.frontier.root for station in stations}) == 1


def shout(world: World, liar: Liar, seconds: float, every: float = 5.0) -> None:
    """Time passes, and the liar shows something new all the while."""
    end = world.net.now + seconds
    while world.net.now < end:
        liar.beacon()
        world.net.run(every)


# --- shown, and not given --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nothing", "silence", "busy", "more", "old blocks", "noise"])
def test_who_shows_and_does_not_give_is_asked_ever_less(rng: Random, kind: str) -> None:
    """500 feeds made longer, anew at each probe: a probe and a want in half a minute from each node, and no more.

    Meanwhile blocks travel as ever, and the nodes count as in sync.
    """
    world = big_world(rng, 500, "abc")
    liar = Liar(world, "c")
    world.net.stop(world.members[2])
    liar.leaves = lies_about(world)
    if kind == "silence":
        liar.sends = None
    elif kind == "busy":
        liar.status = Status.BUSY
    elif kind == "more":
        liar.status = Status.MORE
    elif kind == "old blocks":
        liar.status, liar.sends = Status.MORE, [chain[0].raw for chain in list(world.replica.chains.values())[:50]]
    elif kind == "noise":
        liar.sends = [b"no block at all"]
    shout(world, liar, 60)
    liar.asked.clear()
    before = world.net.now
    shout(world, liar, 300)
    honest = [station for station in world.net.stations if station.up]
    assert liar.asked["Want"] <= 20 * len(honest)
    assert liar.asked["Probe"] <= 20 * len(honest)
    spent = sum(size for at, _, topic, size in world.net.traffic if at >= before and "/i/" in topic)
    assert spent / len(honest) / 300 < 4096  # bytes a second
    assert all(station.node._puller.interests <= 70 for station in honest)
    world.net.append(world.members[0], b"business as usual")
    assert world.net.run(0.5, until=world.net.converged)
    assert world.net.run(30, until=lambda: all(station.node.in_sync(world.net.now) for station in honest))


def test_a_newcomer_is_served_while_a_member_lies(rng: Random) -> None:
    """A liar that a newcomer hears first makes all feeds longer: it gets everything from the others in seconds."""
    world = big_world(rng, 1000, "ab")
    liar = Liar(world, "b")
    world.net.stop(world.members[1])
    liar.leaves = lies_about(world)
    liar.sends = None
    world.enrol("c")
    newcomer = world.join("c")
    liar.beacon()
    before = world.net.now
    assert world.net.run(60, until=lambda: agreed(newcomer, world.governor))
    assert world.net.now - before < 20


def test_a_peer_that_recovers_is_trusted_again(rng: Random) -> None:
    """Busy for a while, then not: what it has is pulled after its next beacon, and soon as fast as before."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.net.run(5)
    giver = world.members[0]
    giver.node._server._peers.may_take = lambda *_: False  # its budget is spent
    world.net.censor = lambda topic, _: "/b/" in topic
    world.net.append(giver, b"wanted")
    world.net.run(120)
    assert not world.net.converged()
    del giver.node._server._peers.may_take
    assert world.net.run(3 * BEACON_MAX_SECONDS, until=world.net.converged)
    before = world.net.now
    world.net.append(giver, b"wanted, too")
    assert world.net.run(2 * BEACON_MAX_SECONDS, until=world.net.converged)
    assert world.said(Want, before)


def test_lies_about_one_feed_do_not_slow_the_others(rng: Random) -> None:
    """What a liar says of a feed is asked of the liar: others are asked for what they have shown themselves."""
    world = big_world(rng, 200, "ab")
    liar = Liar(world, "b")
    world.net.stop(world.members[1])
    liar.leaves = lies_about(world)
    world.enrol("c")
    newcomer = world.join("c")
    liar.beacon()
    world.net.run(30, until=lambda: agreed(newcomer, world.governor))
    assert newcomer.replica.digest() == world.replica.digest()
    honest = [
        want
        for _, who, want, topic in world.said(Want)
        if who is newcomer and topic != TOPICS.inbox(liar.who.public_key)
    ]
    assert all(each.stop <= 2000 for want in honest for each in want.ranges)
    assert len(honest) <= 20


# --- about our own feed ----------------------------------------------------------------------------------------------


def test_a_lie_about_our_own_feed_does_not_stop_us(rng: Random) -> None:
    """Only blocks that we signed do: a member's word makes a node that is ready look, and go on."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    liar, victim = Liar(world, "c"), world.members[0]
    world.net.stop(world.members[2])
    liar.leaves = [Leaf(victim.replica.me[:8], 10**9, bytes(8), b"")]
    shout(world, liar, 100)
    assert liar.asked["Want"] >= 1
    assert victim.replica.state == "ready"
    assert victim.alarms == []


def test_a_lie_about_our_own_feed_keeps_us_from_signing_while_we_recover(rng: Random) -> None:
    """It may be true: an alarm names who says so. When the member is gone for good, the node goes on by itself."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    liar, victim = Liar(world, "c"), world.members[0]
    world.net.stop(world.members[2])
    liar.leaves = [Leaf(victim.replica.me[:8], 10**9, bytes(8), b"")]
    victim.replica.doubt = True
    world.net.restart(victim)
    shout(world, liar, 300, every=1.0)
    assert victim.replica.state == "recovering"
    assert any("does not hand them over" in text for text in victim.alarms)
    assert world.net.run(2 * PEER_SECONDS, until=lambda: victim.replica.state == "ready")


def test_old_frames_of_our_own_are_no_living_twin(rng: Random) -> None:
    """A broker replays what we said in a former life: a recovering node asks, hears nothing, and goes on."""
    world = World(rng.randrange(2**32), "ab")
    recorded: list[Publish] = []
    listen = world.net.on_publish
    assert listen is not None
    victim = world.members[0]

    def record(station: Station, effect: Publish) -> None:
        listen(station, effect)
        if station is victim:
            recorded.append(effect)

    world.net.on_publish = record
    world.settle()
    world.net.run(100)
    victim.replica.doubt = True
    world.net.restart(victim)
    for effect in recorded:
        world.net.inject(effect.topic, effect.payload)
    assert world.net.run(60, until=lambda: victim.replica.state == "ready")
    assert "another process uses this node's key right now: a cloned disk" not in victim.alarms


# --- a feed that floods, or is kept from us --------------------------------------------------------------------------


def test_a_feed_that_floods_holds_up_itself_only(rng: Random) -> None:
    """Far more live bytes than its share: beyond it they are pulled, and another feed's block is live as ever."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    world.net.run(5)
    flooding, other, reader = world.members
    before = world.net.now
    for _ in range(2 * LIVE_BYTES_BURST // 30_000):
        world.net.append(flooding, bytes(30_000))
        world.net.run(0.001)
    world.net.append(other, b"a reading")
    length = len(other.replica.chains[other.replica.me])
    assert world.net.run(0.2, until=lambda: len(reader.replica.chains.get(other.replica.me, ())) == length)
    assert reader.node.counters[Fate.BEYOND.value] > 0
    assert world.net.run(60, until=world.net.converged)
    assert len(world.said(Query, before)) <= 25  # 4 to 11 in 47 worlds: not one for each of 140 blocks at each of three


def test_copies_of_one_block_do_not_crowd_out_the_others(rng: Random) -> None:
    """A member says one block again and again, sealed anew: after the feed's share it is not even looked at."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    world.net.append(world.members[0], bytes(60_000))
    world.net.run(5)
    author, reader = world.members
    (block,) = author.replica.chains[author.replica.me]
    imported = len(reader.replica.imported)
    for _ in range(500):
        forge(world, Blocks(author.replica.me, (block.raw,)), TOPICS.live(author.replica.me), identity("b"))
        world.net.run(0.001)
    world.net.run(1)
    assert len(reader.replica.imported) - imported <= 1.1 * LIVE_BYTES_BURST / 60_000 + 20


def test_blocks_of_a_newer_version_are_told_of_and_asked_for_seldom(rng: Random) -> None:
    """They cannot be judged here: an alarm says so, nobody is paused for it, and they come when the software can."""
    world = World(rng.randrange(2**32), "ab")
    world.settle()
    modern, old = world.members
    understand = old.replica.import_blocks

    def refuse(raws: Any) -> Any:
        known = [raw for raw in raws if modern.replica.me not in raw]
        report = understand(known)
        if len(known) < len(raws):
            report.refuse(NewerBlockError("a block of version 2", feed=modern.replica.me, seq=0))
        return report

    old.replica.import_blocks = refuse
    for step in range(50):
        world.net.append(modern, b"from the future %d" % step)
    world.net.run(100)
    assert len([text for text in old.alarms if "newer software" in text]) == 1
    before = world.net.now
    world.net.run(1000)
    assert len([1 for _, who, _, _ in world.said(Want, before) if who is old]) <= 25
    old.replica.import_blocks = understand
    world.settle(4 * BEACON_MAX_SECONDS)


def test_one_feed_that_the_broker_censors_arrives_by_pulls(rng: Random) -> None:
    """No live frame of it ever arrives: beacons tell, others hand it over, within two intervals of the last block."""
    world = World(rng.randrange(2**32), "abcd")
    world.settle()
    censored = world.members[0]
    world.net.censor = lambda topic, _: topic == TOPICS.live(censored.replica.me)
    for step in range(20):
        for station in world.members:
            world.net.append(station, b"reading %d" % step)
        world.net.run(20)
    assert world.net.run(2 * BEACON_MAX_SECONDS, until=world.net.converged)
    world.net.run(UNCONFIRMED_SECONDS)
    assert censored.alarms == []


def test_a_feed_whose_every_frame_is_censored_raises_an_alarm(rng: Random) -> None:
    """A broker that keeps all that one node says from the others cannot be outwitted: the node says so."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    world.net.run(5)
    censored = world.members[0]
    censored.group = 1
    world.net.append(censored, b"nobody hears of this")
    world.net.run(UNCONFIRMED_SECONDS + 1)
    assert [text for text in censored.alarms if "no peer has confirmed" in text] == censored.alarms != []


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_long_feed_does_not_keep_the_others_waiting(rng: Random) -> None:
    """Two feeds of a hundred times the length of the others: the others are here long before these are."""
    world = World(rng.randrange(2**32), "")
    for name, count in (("long one", 8000), ("long two", 8000), *((f"device {at}", 80) for at in range(20))):
        world.replica.enrol(identity(name).public_key)
        adopt(world.replica, identity(name), count, size=200)
    world.net.restart(world.governor)
    world.enrol("c")
    newcomer = world.join("c")
    short = [identity(f"device {at}").public_key for at in range(20)]

    def short_ones_are_here() -> bool:
        return all(len(newcomer.replica.chains.get(feed, ())) == 80 for feed in short)

    assert world.net.run(60, until=short_ones_are_here)
    longest = max(len(newcomer.replica.chains.get(identity(name).public_key, ())) for name in ("long one", "long two"))
    assert longest < 8000
    assert world.net.run(60, until=lambda: agreed(newcomer, world.governor))


@pytest.mark.parametrize("feeds", [2000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_newcomer_in_a_ledger_of_many_feeds(rng: Random, feeds: int) -> None:
    """It holds them all within seconds, and its peers served hardly more than they are."""
    world = big_world(rng, feeds, "a")
    world.enrol("b")
    world.net.run(5)
    before = world.net.now
    newcomer = world.join("b")
    assert world.net.run(60, until=lambda: agreed(newcomer, world.governor))
    blocks = [block.raw for chain in newcomer.replica.chains.values() for block in chain]
    spent = sum(size for at, _, topic, size in world.net.traffic if at >= before and "/i/" in topic)
    assert spent <= 1.6 * sum(map(len, blocks))  # leaves of about 30 bytes, perhaps twice, beside blocks of 150
    assert world.net.now - before < 30


def test_a_probe_counts_for_the_pages_that_answer_it(rng: Random) -> None:
    """A short question about all of many feeds, again and again: pages of leaves, not questions, are what runs out."""
    world = big_world(rng, 1500, "a")
    liar = Liar(world, "a")
    world.net.stop(world.members[0])
    before = world.net.now
    nothing = bytes(32)
    for number in range(500):
        probe = Probe(number.to_bytes(8, "big"), world.governor.node.id.boot, False, nothing, b"")
        liar.say(probe, TOPICS.inbox(world.replica.me))
        world.net.run(0.002)
    world.net.run(1)
    assert 50 <= len(world.said(Leaves, before)) <= REQUESTS_BURST + 2 * REQUESTS_PER_SECOND
    world.net.run(10)
    liar.say(Probe(b"at last!", world.governor.node.id.boot, False, nothing, b""), TOPICS.inbox(world.replica.me))
    before = world.net.now
    world.net.run(1)
    assert len(world.said(Leaves, before)) == 3


def test_a_want_counts_for_its_ranges(rng: Random) -> None:
    """The same 64 blocks of as many feeds, again and again: ranges run out, not wants, and the rest is told "busy"."""
    world = big_world(rng, RANGES_PER_WANT, "a")
    liar = Liar(world, "a")
    world.net.stop(world.members[0])
    feeds = [feed for feed in world.replica.chains if feed != world.replica.me][:RANGES_PER_WANT]
    ranges = tuple(Range(feed, 0, 1, b"") for feed in feeds)
    for number in range(2 * RANGES_BURST // RANGES_PER_WANT):
        want = Want(number.to_bytes(8, "big"), world.governor.node.id.boot, 16, 2**20, ranges)
        liar.say(want, TOPICS.inbox(world.replica.me))
        world.net.run(1 / REQUESTS_PER_SECOND)
    world.net.run(1)
    done = [message for _, _, message, _ in world.said(Done)]
    served = sum(message.status is not Status.BUSY for message in done) * RANGES_PER_WANT
    assert RANGES_BURST <= served <= RANGES_BURST + RANGES_PER_SECOND * world.net.now
    assert sum(message.status is Status.BUSY for message in done) >= 100


def test_a_search_for_a_split_ends(rng: Random) -> None:
    """A member shows another head of its own feed, and gives an old signed block that links to nothing, for ever."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    for step in range(200):
        world.net.append(world.members[2], b"%d" % step)
    world.settle()
    world.net.run(30)
    liar = Liar(world, "c")
    world.net.stop(world.members[2])
    liar.leaves = [Leaf(liar.who.public_key[:8], 200, b"no block", b"")]
    liar.sends = [make(liar.who, 190, bytes(32), b"astray").raw]
    shout(world, liar, 60)
    assert 3 <= liar.asked["Want"] <= 600  # of three nodes; thousands, did it not end
