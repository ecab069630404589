"""Queries and claims: blocks that live frames did not bring are asked of all, and one answer mends it for everybody."""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random
from statistics import mean

from gossip_network import Links, Station
from gossip_world import TOPICS, World, adopt, forge, seeds
from medledger.limits import BEACON_MAX_SECONDS, CLAIM_STEP_SECONDS, QUERIES_PER_GAP
from medledger.sync import Publish
from medledger.sync.claims import bitmap, claim_wait, claimed
from medledger.sync.frontier import PREFIX_BYTES, Frontier, Height
from medledger.sync.messages import Blocks, Claim, Data, Leaf, Message, Probe, Query, Range, Want
from medledger.sync.peers import PeerId, Peers
from medledger.sync.pulling import Puller
from medledger.sync.queries import Asker
from medledger.sync.rank import longest, share_of, wait
from medledger.sync.roster import Roster
from memory_replica import MemoryMembership, identity, make

COUNTERS = count()
FIFTY = "".join(chr(0x100 + at) for at in range(49))  # and the governor
MANY = "abcdefghijklmnopqrs"


def calm(world: World) -> float:
    """Let all converge, and their timers grow long; the time then."""
    world.settle()
    world.net.run(200)
    return world.net.now


def lose_live(world: World, share: float) -> None:
    """The broker loses this share of all live frames, each for one receiver."""
    world.net.censor = lambda topic, _: "/b/" in topic and world.net.rng.random() < share


def kinds(world: World, since: float) -> Counter[str]:
    """How often each kind of message was said."""
    return Counter(type(message).__name__ for at, _, message, _ in world.spoken if at >= since)


# --- one repair for all ----------------------------------------------------------------------------------------------


def test_one_repair_serves_all_who_missed_a_block(rng: Random) -> None:
    """20 nodes, a block that only its author has: one query, one claim, one repair, and hardly a second of any."""
    counts: Counter[str] = Counter()
    for seed in seeds(rng, 8):
        world = World(seed, MANY)
        calm(world)
        author = world.members[0]
        lose_live(world, 1.0)
        world.net.append(author, b"nobody hears this")
        world.net.run(1)
        lose_live(world, 0.0)
        before = world.net.now
        world.net.append(author, b"and everybody hears this")
        assert world.net.run(1.5, until=world.net.converged)
        world.net.run(5)
        counts += kinds(world, before)
    assert counts["Query"] <= 8 * 3
    assert counts["Claim"] <= 1.1 * counts["Query"]
    assert counts["Blocks"] <= 8 + counts["Claim"]
    assert counts["Want"] + counts["Probe"] <= 8


def test_a_live_stream_over_links_that_lose_costs_a_few_frames_a_block(rng: Random) -> None:
    """20 nodes, one block a second, a tenth of the live frames lost: three frames a repair, and few of any other."""
    world = World(rng.randrange(2**32), MANY)
    before = calm(world)
    lose_live(world, 0.1)
    for step in range(100):
        world.net.append(world.members[0], b"reading %d" % step)
        world.net.run(1)
    said = kinds(world, before)
    assert said["Query"] <= 110  # nearly every block is lost by one of twenty
    assert said["Claim"] <= 1.1 * said["Query"]
    assert said["Blocks"] <= 110 + 1.1 * said["Query"]
    assert said["Want"] + said["Probe"] <= 190  # as many as frames were lost
    lose_live(world, 0.0)
    world.settle()


def test_what_was_lost_is_all_that_is_said_again(rng: Random) -> None:
    """Blocks that come before the lost one is back are kept, and not asked for."""
    world = World(rng.randrange(2**32), "abc", Links(delay=(0.001, 0.002)))
    calm(world)
    author = world.members[0]
    lose_live(world, 1.0)
    world.net.append(author, b"lost")
    world.net.run(0.5)
    lose_live(world, 0.0)
    before = world.net.now
    for step in range(8):
        world.net.append(author, b"on time %d" % step)
        world.net.run(0.02)
    assert world.net.run(2, until=world.net.converged)
    assert {each.stop for _, _, query, _ in world.said(Query, before) for each in query.ranges} == {1}
    times = Counter(raw for _, _, message, _ in world.said(Blocks, before) for raw in message.blocks)
    lost, *on_time = (times[block.raw] for block in author.replica.chains[author.replica.me])
    assert on_time == [1] * 8
    assert 1 <= lost <= 3  # all three may ask at the same moment


def test_a_last_block_that_all_missed_is_said_again_when_a_few_have_asked(rng: Random) -> None:
    """Nothing follows it, so a beacon tells all 50: a few ask its author, who publishes it, and the rest need not."""
    world = World(rng.randrange(2**32), FIFTY)
    calm(world)
    lose_live(world, 1.0)
    world.net.append(world.members[0], b"the last one for today")
    world.net.run(1)
    lose_live(world, 0.0)
    before = world.net.now
    assert world.net.run(3 * BEACON_MAX_SECONDS, until=world.net.converged)
    world.net.run(5)
    said = kinds(world, before)
    assert said["Probe"] <= 25
    assert said["Want"] <= 20
    assert said["Blocks"] <= 2


def test_of_many_that_have_a_block_few_answer(rng: Random) -> None:
    """50 nodes, the author gone: on average at most three of five ask, and three answer a query, within seconds."""
    world = World(rng.randrange(2**32), FIFTY)
    calm(world)
    author, victims = world.members[0], world.members[1:6]
    asked, answers = [], []
    for round_ in range(10):
        world.net.censor = lambda topic, station: "/b/" in topic and station in victims
        author.up = True
        world.net.append(author, b"missed %d" % round_)
        world.net.run(0.3)
        world.net.censor = None
        world.net.append(author, b"heard %d" % round_)
        world.net.run(0.05)
        author.up = False
        before = world.net.now - 0.05
        assert world.net.run(10, until=world.net.converged)
        world.net.run(3)
        queries = world.said(Query, before)
        asked.append(len(queries))
        if queries:  # else a beacon has told before
            answers.append(len(world.said(Claim, before)) / len(queries))
    assert len(answers) >= 5
    assert mean(asked) <= 3
    assert mean(answers) <= 3


def test_who_asks_for_ever_does_not_keep_a_gap_open(rng: Random) -> None:
    """A member asks for everything again and again; who lacks what nobody has gives up as soon as ever."""
    world = World(rng.randrange(2**32), "abcd")
    calm(world)
    author, victim = world.members[:2]
    lose_live(world, 1.0)
    world.net.append(author, b"nobody hears this")
    world.net.run(0.3)
    world.net.censor = lambda topic, station: "/b/" not in topic or station is not victim
    world.net.append(author, b"and one hears this")
    world.net.run(0.05)
    author.up = False
    world.net.censor = None
    world.net.run(1)
    assert not victim.node.in_sync(world.net.now)
    everything = (Range(author.replica.me, 0, 2**40 - 1, b""),)
    for counter in range(160):
        forge(world, Query(b"%08d" % counter, everything, b""), TOPICS.queries, identity("c"), counter=counter)
        world.net.run(1)
    assert victim.node.in_sync(world.net.now)


# --- who answers -----------------------------------------------------------------------------------------------------


def test_shares_spread_evenly_and_waits_are_bounded(rng: Random) -> None:
    """Of n peers about n / 2^k wait at most 250 ms x (log2(n) - k), and nobody waits longer than 250 ms x log2(n)."""
    nonce = rng.randbytes(8)
    shares = sorted(share_of(rng.randbytes(32), nonce) for _ in range(4096))
    assert 0 < shares[0] < 0.01
    assert 0.47 < shares[2048] < 0.53
    assert shares[-1] <= 1
    assert wait(1.0, 4096) == longest(4096) == 12 * CLAIM_STEP_SECONDS
    assert wait(2**-12, 4096) == 0
    assert wait(1.0, 0) == 0


def test_a_claim_names_ranges() -> None:
    """The first bit is the first range; bits beyond the query's ranges mean nothing."""
    ranges = [Range(bytes([at]) * 32, 0, 1, b"") for at in range(10)]
    assert bitmap([0, 9]) == b"\x80\x40" + bytes(6)
    assert [at for at, _ in claimed(Claim(bytes(8), bitmap([0, 9, 63])), ranges)] == [0, 9]


def query_of(world: World, feed: bytes, stop: int, *, excluded: bytes = b"", nonce: bytes = b"a query.") -> Query:
    """A query by somebody who runs no node."""
    query = Query(nonce, (Range(feed, 0, stop, b""),), excluded)
    forge(world, query, TOPICS.queries, identity("a"), counter=next(COUNTERS))
    return query


def world_of_holders(rng: Random) -> tuple[World, bytes, float]:
    """A world where all but the author of a feed hold its two blocks."""
    world = World(rng.randrange(2**32), "abcdef")
    device = identity("device")
    world.enrol("device")
    world.net.advanced(world.governor, adopt(world.replica, device, 2))
    before = calm(world)
    return world, device.public_key, before


def test_an_excluded_peer_does_not_answer(rng: Random) -> None:
    """A query that excludes all but one peer is answered by that one."""
    world, feed, before = world_of_holders(rng)
    for station in world.net.stations:
        others = [each.replica.me[:PREFIX_BYTES] for each in world.net.stations if each is not station]
        query = query_of(world, feed, 2, excluded=b"".join(others), nonce=station.replica.me[:8])
        world.net.run(5)
        assert [who for _, who, claim, _ in world.said(Claim, before) if claim.nonce == query.nonce] == [station]


def test_nobody_claims_what_it_has_in_part(rng: Random) -> None:
    """A query for more than anybody holds is not answered; nor is one for feeds that nobody knows."""
    world, feed, before = world_of_holders(rng)
    query_of(world, feed, 3)
    query_of(world, b"u" * 32, 1, nonce=b"another.")
    world.net.run(10)
    assert world.said(Claim, before) == []


def test_an_early_claim_silences_nobody(rng: Random) -> None:
    """One that claims everything at once, before its rank's turn, is answered over; one in its turn is believed."""
    for seed in seeds(rng, 4):
        world, feed, before = world_of_holders(Random(seed))
        members = 8  # with the governor and the device
        liar = identity("b")
        world.net.stop(world.members[1])
        nonces = [world.net.rng.randbytes(8) for _ in range(200)]
        late = max(nonces, key=lambda nonce: claim_wait(liar.public_key, nonce, members))
        soon = min(nonces, key=lambda nonce: claim_wait(liar.public_key, nonce, members))
        for nonce, silenced in ((late, False), (soon, True)):
            query_of(world, feed, 2, nonce=nonce)
            world.net.run(0.1)
            forge(world, Claim(nonce, bitmap([0])), TOPICS.queries, liar, counter=next(COUNTERS))
            world.net.run(10)
            answers = [who for _, who, claim, _ in world.said(Claim, before) if claim.nonce == nonce]
            assert (answers == []) == silenced


def test_blocks_that_were_published_meanwhile_are_not_published_again(rng: Random) -> None:
    """Somebody repairs without a claim: the others claim, and say nothing twice."""
    world, feed, before = world_of_holders(rng)
    query_of(world, feed, 2)
    world.net.run(0.05)
    forge(
        world, Blocks(feed, tuple(block.raw for block in world.replica.chains[feed])), TOPICS.live(feed), identity("a")
    )
    world.net.run(10)
    assert 1 <= len(world.said(Claim, before)) <= 2
    assert world.said(Blocks, before) == []


# --- what claims are worth -------------------------------------------------------------------------------------------


def test_a_claimant_that_does_not_deliver_is_excluded_and_another_answers(rng: Random) -> None:
    """A member claims whatever is asked for and gives nothing: the next query names it, and the blocks come."""
    world = World(rng.randrange(2**32), "abcd")
    calm(world)
    author, asker = world.members[:2]
    liar = identity("c")
    world.net.stop(world.members[2])
    listen = world.net.on_publish
    assert listen is not None

    def claim_all(station: Station, effect: Publish) -> None:
        listen(station, effect)
        message: Message = world.spoken[-1][2]
        if isinstance(message, Query) and liar.public_key[:PREFIX_BYTES] not in message.excluded:
            claim = Claim(message.nonce, bitmap(range(len(message.ranges))))
            forge(world, claim, TOPICS.queries, liar, counter=next(COUNTERS))

    world.net.on_publish = claim_all
    # Honest nodes believe it: its claims are silently taken for those of a rank whose turn it is.
    for station in world.net.stations:
        station.node._repair._claimant._roster = Everybody(1)
    world.net.censor = lambda topic, station: "/b/" in topic and station is asker
    world.net.append(author, b"missed")
    world.net.run(0.5)
    world.net.censor = lambda topic, station: topic == TOPICS.beacons and station is asker
    before = world.net.now
    world.net.append(author, b"heard")
    world.net.run(0.0005)
    world.net.stop(author)
    assert world.net.run(30, until=world.net.converged)
    excluded = [query.excluded for _, _, query, _ in world.said(Query, before)]
    assert excluded[0] == b""
    assert excluded[1] == liar.public_key[:PREFIX_BYTES]
    assert len(excluded) <= QUERIES_PER_GAP


class Everybody:
    """A ledger of so many feeds."""

    def __init__(self, count: int) -> None:
        self.count = count


def test_a_gap_too_large_for_live_frames_is_pulled_from_its_claimant(rng: Random) -> None:
    """The claim says who has it; a want does the rest, and nothing of it is published to all."""
    world = World(rng.randrange(2**32), "abc")
    calm(world)
    author, asker = world.members[:2]
    world.net.censor = lambda _, station: station is asker
    for step in range(60):
        world.net.append(author, b"%d" % step + bytes(5000))
        world.net.run(0.1)
    world.net.censor = None
    before = world.net.now
    world.net.append(author, b"heard")
    world.net.run(0.06)
    asker.node._prober.abandon()
    assert world.net.run(10, until=world.net.converged)
    assert len(world.said(Query, before)) == 1
    (claimant,) = {who.replica.me for _, who, _, _ in world.said(Claim, before)}
    assert {topic for _, who, _, topic in world.said(Want, before)} == {TOPICS.inbox(claimant)}
    assert len(world.said(Blocks, before)) == 1


def test_queries_for_what_nobody_has_end(rng: Random) -> None:
    """A live block far ahead of a feed that nobody can continue: all nodes ask three times together, and then not."""
    world = World(rng.randrange(2**32), "abcdef")
    before = calm(world)
    device = identity("b")
    world.net.stop(world.members[1])
    orphan = make(device, 5, bytes(32), b"its past is lost")
    forge(world, Blocks(device.public_key, (orphan.raw,)), TOPICS.live(device.public_key), identity("a"))
    world.net.run(120)
    assert len(world.said(Query, before)) <= QUERIES_PER_GAP + 2
    assert len(world.said(Want, before)) <= 30
    before = world.net.now
    world.net.run(300)
    assert world.said(Query, before) == world.said(Want, before) == []
    assert all(station.node._repair.idle for station in world.net.stations if station.up)


def test_when_nobody_who_had_blocks_answers_all_are_asked_once() -> None:
    """The puller gives up after three silences; one query follows, and it is not repeated."""
    feed, silent = b"f" * 32, PeerId(b"p" * 32, b"boot-one")
    frontier, peers = Frontier({}), Peers(0.0)
    roster = Roster(MemoryMembership(frozenset({feed}), frozenset()))
    puller = Puller(frontier, peers, roster, Random(1), bytes(32))
    asker = Asker(frontier, puller, roster, Random(1))
    peers.heard(silent, 0, stranger=False, now=0.0)
    puller.offer(silent, [Leaf(feed, 3, bytes(32), b"")], 0.0)
    now, lost = 0.0, {}
    while not lost:
        puller.due(now)
        now += 1
        for pull in puller.pulls.expired(now):
            puller.settle(pull, None, now)
        lost = puller.take_lost()
    assert lost == {feed: 3}
    assert puller.idle
    assert 6 < now < 12
    asker.lost(feed, 3, now)
    queries = [query for at in range(100) if (query := asker.due(now + at)) is not None]
    assert [[(each.feed, each.start, each.stop) for each in query.ranges] for query in queries] == [[(feed, 0, 3)]]
    assert asker.idle


def test_a_claim_that_comes_after_the_blocks_leads_to_nothing() -> None:
    """They are here: there is nothing to want, and no branch to search for."""
    feed, claimant = b"f" * 32, PeerId(b"p" * 32, b"boot-one")
    frontier, peers = Frontier({}), Peers(0.0)
    roster = Roster(MemoryMembership(frozenset({feed}), frozenset()))
    puller = Puller(frontier, peers, roster, Random(1), bytes(32))
    asker = Asker(frontier, puller, roster, Random(1))
    peers.heard(claimant, 0, stranger=False, now=0.0)
    asker.gap(feed, 3, 0.0)
    query = asker.due(1.0)
    assert query is not None
    frontier.update(feed, Height(4, bytes(32)))
    asker.claimed(claimant, Claim(query.nonce, bitmap([0])), 1.1)
    assert puller.due(10.0) == []
    assert puller.idle


def test_in_sync_fifty_nodes_say_no_more_than_six_beacons_an_interval(rng: Random) -> None:
    """And nothing else at all."""
    world = World(rng.randrange(2**32), FIFTY)
    world.settle()
    world.net.run(300)
    before = world.net.now
    world.net.run(640)
    said = kinds(world, before)
    assert said.keys() == {"Beacon"}
    assert said["Beacon"] <= 60


def test_probes_and_pulls_are_not_needed_for_a_small_gap(rng: Random) -> None:
    """One node missed one block: all are asked, and nobody in particular."""
    world = World(rng.randrange(2**32), "abc")
    calm(world)
    world.net.censor = lambda topic, station: "/b/" in topic and station is world.members[1]
    world.net.append(world.members[0], b"missed")
    world.net.run(0.5)
    world.net.censor = None
    before = world.net.now
    world.net.append(world.members[0], b"heard")
    assert world.net.run(1, until=world.net.converged)
    assert world.said(Probe, before) == world.said(Want, before) == world.said(Data, before) == []
