"""What gossip costs among many: 10,000 feeds and 500 peers around one broker, in sync, and when little is missing.

The nodes are the shipped ones; the replicas are in memory (`memory_replica`), since 500 ledgers of 10,000 feeds would
say nothing more about the traffic. Replicas share the blocks that all of them hold.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

from medledger.keys import Identity
from medledger.limits import BEACON_MAX_SECONDS
from medledger.sync import Advanced, Connected, Event, Node, Publish, Received, Subscribe, Tick, WakeAt
from medledger.sync.frames import Codec
from medledger.sync.messages import Beacon, Claim, Query
from medledger.sync.topics import Channel, Topics
from memory_replica import KEY, LEDGER_ID, MemoryMembership, MemoryReplica, Parsed, make

from .bars import Bar
from .broker import Broker
from .schedule import Schedule

QUIET_SECONDS = 5 * BEACON_MAX_SECONDS
INTERVALS = 10
BEACONS = 6
RESPONDERS = 3
OVERHEAD = 0.10
BLOCK_BYTES = 1000

Chains = dict[bytes, list[Parsed]]


class Shared(MutableMapping[bytes, list[Parsed]]):
    """Chains that many replicas share, and those that one of them has made its own."""

    def __init__(self, base: Chains) -> None:
        self._base = base
        self._own: Chains = {}

    def __getitem__(self, feed: bytes) -> list[Parsed]:
        return self._own[feed] if feed in self._own else self._base[feed]

    def __setitem__(self, feed: bytes, chain: list[Parsed]) -> None:
        self._own[feed] = chain

    def __delitem__(self, feed: bytes) -> None:
        raise TypeError("feeds are never forgotten")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._base | self._own)

    def __len__(self) -> int:
        return len(self._base | self._own)

    def setdefault(self, feed: bytes, default: list[Parsed] | None = None) -> list[Parsed]:
        """A chain that may be changed."""
        if feed not in self._own:
            self._own[feed] = list(self._base.get(feed, default or ()))
        return self._own[feed]


class Post:
    """One node at the broker."""

    def __init__(self, number: int, world: Crowd, replica: MemoryReplica) -> None:
        self.number = number
        self.group = 0
        self.replica = replica
        rng = Random(f"{world.seed} post {number}")
        self.node = Node(replica, rng=rng, boot_id=rng.randbytes(8), now=world.schedule.now)
        self._world = world
        self._wake = 0
        self._session = world.broker.connect(self)
        world.schedule.after(rng.random(), self.handle, Connected())

    def receive(self, session: int, topic: str, payload: bytes) -> None:
        self.handle(Received(topic, payload))

    def write(self, payload: bytes) -> None:
        """Append one block."""
        advance = self.replica.append(payload)
        self.handle(Advanced(advance.feed, advance.first, advance.last))

    def handle(self, event: Event) -> None:
        """Hand an event to the node and carry out what it answers."""
        world = self._world
        world.events += 1
        for effect in self.node.handle(event, world.schedule.now):
            if isinstance(effect, Publish):
                world.heard(self, effect)
                world.broker.publish(self, effect.topic, effect.payload, effect.qos, retain=effect.retain)
            elif isinstance(effect, WakeAt):
                self._wake += 1
                world.schedule.at(effect.time, self._tick, self._wake)
            elif isinstance(effect, Subscribe):
                assert self._session is not None  # this broker never dies
                world.broker.subscribe(self._session, effect.filters)

    def _tick(self, wake: int) -> None:
        if wake == self._wake:
            self.handle(Tick())


@dataclass
class Traffic:
    """What was published since it was reset."""

    frames: Counter[str]
    bytes: Counter[str]
    queries: dict[bytes, set[int]]  # by nonce: who has claimed
    hellos: int


class Crowd:
    """Many feeds, and nodes that hold them."""

    def __init__(self, seed: int, feeds: int, peers: int, growing: int) -> None:
        self.seed = seed
        self.events = 0
        self.schedule = Schedule()
        self.rng = Random(f"crowd {seed}")
        self.broker = Broker(self.schedule, Random(f"crowd broker {seed}"), Counter())
        self.topics = Topics(LEDGER_ID, KEY.key)
        self.codec = Codec(LEDGER_ID, KEY, self.rng)
        self.authors = [_author(number) for number in range(feeds)]
        governor = _author(feeds)
        keys = frozenset(author.public_key for author in self.authors)
        self.membership = MemoryMembership(keys | {governor.public_key}, frozenset({governor.public_key}))
        self.before: Chains = {}
        self.now: Chains = {}
        for number, author in enumerate(self.authors):
            first = make(author, 0, None, b"first")
            self.before[author.public_key] = self.now[author.public_key] = [first]
            if number >= feeds - growing:
                self.now[author.public_key] = self._grown(author, first)
        self.posts: list[Post] = []
        self.traffic = Traffic(Counter(), Counter(), {}, 0)
        for number in range(peers - 1):
            self.join(number, self.now)

    def _grown(self, author: Identity, first: Parsed) -> list[Parsed]:
        """A feed that has grown by ten blocks and a bit."""
        chain = [first]
        for seq in range(1, 11):
            chain.append(make(author, seq, chain[-1].id, self.rng.randbytes(BLOCK_BYTES + 50)))
        return chain

    def join(self, number: int, chains: Chains) -> Post:
        """One more node, which holds this."""
        replica = MemoryReplica(self.authors[number], next(iter(self.membership.electors)))
        replica.membership = self.membership
        replica.chains = Shared(chains)  # type: ignore[assignment]
        replica.imported = deque(maxlen=0)  # type: ignore[assignment]
        post = Post(number, self, replica)
        self.posts.append(post)
        return post

    def run(self, seconds: float, until: Any = None) -> bool:
        """Let time pass."""
        end = self.schedule.now + seconds
        while self.schedule.step(end):
            if until is not None and until():
                return True
        return until is not None and until()

    def reset(self) -> None:
        """Count from here."""
        self.traffic = Traffic(Counter(), Counter(), {}, 0)

    def heard(self, post: Post, effect: Publish) -> None:
        """Count what is published."""
        traffic = self.traffic
        address = self.topics.read(effect.topic)
        assert address is not None
        channel = address.channel
        traffic.frames[channel.value] += 1
        traffic.bytes[channel.value] += len(effect.payload)
        if channel in (Channel.QUERIES, Channel.BEACONS):
            message = self.codec.open(effect.topic, channel, effect.payload).message
            if isinstance(message, Query):
                traffic.queries.setdefault(message.nonce, set())
            elif isinstance(message, Claim):
                traffic.queries.setdefault(message.nonce, set()).add(post.number)
            elif isinstance(message, Beacon):
                traffic.hellos += message.answer


def many(seed: int, feeds: int = 10_000, peers: int = 500, growing: int = 100) -> list[Bar]:
    """The bars of many feeds and peers."""
    crowd = Crowd(seed, feeds, peers, growing)
    crowd.run(QUIET_SECONDS)
    beacons = _in_sync(crowd)
    answers = _hello(crowd, peers - 1)
    overhead, missing, took = _catch_up(crowd, growing)
    responders, queries = _gaps(crowd)
    crowd_size = f"{feeds:,} feeds, {peers} peers"
    return [
        Bar(
            f"{crowd_size}: in sync",
            f"<= {BEACONS} beacons a 64 s interval",
            f"{beacons:.1f}",
            beacons <= BEACONS,
            seed,
        ),
        Bar(
            f"{crowd_size}: responders to a query",
            f"<= {RESPONDERS} on average",
            f"{responders:.2f} over {queries} queries; a newcomer's hello: {answers} beacons",
            queries > 0 and responders <= RESPONDERS,
            seed,
        ),
        Bar(
            f"{crowd_size}: overhead, {missing / 2**20:.2f} MiB of {growing} feeds missing",
            f"<= {OVERHEAD:.0%}",
            f"{overhead:.1%}, level after {took:.1f} s",
            overhead <= OVERHEAD,
            seed,
        ),
    ]


def _in_sync(crowd: Crowd) -> float:
    """Beacons in an interval of 64 s, when nothing happens; there is no other traffic."""
    crowd.reset()
    crowd.run(INTERVALS * BEACON_MAX_SECONDS)
    others = {channel: count for channel, count in crowd.traffic.frames.items() if channel != Channel.BEACONS.value}
    assert not others, f"in sync, and yet {others}"
    return crowd.traffic.frames[Channel.BEACONS.value] / INTERVALS


def _hello(crowd: Crowd, number: int) -> int:
    """Beacons that answer one newcomer that holds all."""
    crowd.reset()
    crowd.join(number, crowd.now)
    crowd.run(2)
    return crowd.traffic.frames[Channel.BEACONS.value] - crowd.traffic.hellos


def _catch_up(crowd: Crowd, growing: int) -> tuple[float, int, float]:
    """What it costs, over the bytes of the missing blocks, to bring one node up to date; these, and the seconds."""
    crowd.run(QUIET_SECONDS)
    crowd.reset()
    start = crowd.schedule.now
    post = crowd.join(len(crowd.posts), crowd.before)
    missing = sum(len(block.raw) for chain in crowd.now.values() for block in chain[1:])
    root = crowd.posts[0].node.frontier.root
    assert crowd.run(120, lambda: post.node.frontier.root == root), "not level after 120 s"
    took = crowd.schedule.now - start
    crowd.run(10)
    return sum(crowd.traffic.bytes.values()) / missing - 1, missing, took


def _gaps(crowd: Crowd, rounds: int = 20) -> tuple[float, int]:
    """How many answer a query. Half of all nodes lose a live block, and the next one shows them that they have."""
    crowd.run(QUIET_SECONDS)
    crowd.reset()
    for _ in range(rounds):
        author, *others = crowd.rng.sample(crowd.posts, len(crowd.posts))
        for post in others[: len(others) // 2]:
            post.group = 1
        author.write(b"not heard by all")
        crowd.run(0.5)
        for post in others:
            post.group = 0
        author.write(b"shows the gap")
        crowd.run(30)
    queries = crowd.traffic.queries.values()
    return sum(map(len, queries)) / max(1, len(queries)), len(queries)


def _author(number: int) -> Identity:
    return Identity.from_seed(sha256(b"crowd %d" % number).digest())
