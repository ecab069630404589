"""A governor, its members, and the network between them, over replicas in memory: where the tests of gossip start."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from gossip_network import Links, Network, Station
from medledger.keys import Identity
from medledger.limits import BEACON_MAX_SECONDS
from medledger.sync import Publish
from medledger.sync.frames import Codec, Origin
from medledger.sync.messages import Message
from medledger.sync.topics import Topics
from memory_replica import KEY, LEDGER_ID, MemoryReplica, identity, make

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

    def answer(self, who: Identity, answer: Callable[[Station, Any], object]) -> None:
        """Let this be done with whatever is said to a member that has no node: by whom it was said, and what."""
        listen, inbox = self.net.on_publish, TOPICS.inbox(who.public_key)
        assert listen is not None

        def both(station: Station, effect: Publish) -> None:
            listen(station, effect)
            _, asker, message, topic = self.spoken[-1]
            if topic == inbox:
                answer(asker, message)

        self.net.on_publish = both

    def _listen(self, station: Station, effect: Publish) -> None:
        address = TOPICS.read(effect.topic)
        assert address is not None
        message = self.codec.open(effect.topic, address.channel, effect.payload).message
        self.spoken.append((self.net.now, station, message, effect.topic))


def seeds(rng: Random, count: int) -> list[int]:
    """Seeds of several runs."""
    return [rng.randrange(2**32) for _ in range(count)]


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


def forge(
    world: World, message: Message, topic: str, who: Identity, *, counter: int = 0, boot: bytes = b"evilboot"
) -> None:
    """A member with the transport key says something, signed by a key that it has."""
    if message.KIND.signed:
        frame = world.codec.seal_signed(topic, message, Origin(who.public_key, boot, counter), who)
    else:
        frame = world.codec.seal(topic, message)
    world.net.inject(topic, frame)
