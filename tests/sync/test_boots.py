"""A member that draws a new boot id every few seconds: what is believed of its key stays, and nobody waits for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

from gossip_network import Station
from gossip_world import TOPICS, World, adopt, forge
from medledger.sync.messages import Beacon, Data, Done, Leaf, Leaves, Message, Probe, Status, Want
from medledger.sync.precedence import Precedence
from memory_replica import identity, make


class Shifty:
    """A member without a replica: it shows `leaves()` to whoever asks, and answers no want but for its own feed, of
    which it shows one block more each time where it `gives`. Where it `drips` it answers the others with blocks that
    are no blocks, as slowly and as long as it may.
    """

    def __init__(
        self, world: World, name: str, leaves: Callable[[], list[Leaf]], *, gives: bool = False, drips: bool = False
    ) -> None:
        self.world = world
        self.who = identity(name)
        self.asked: Counter[str] = Counter()  # wants, by who sent them
        self._leaves = leaves
        self._gives = gives
        self._drips = drips
        self._drops: list[tuple[float, Data, str]] = []
        self._blocks: list[Any] = []
        self._boot, self._counter, self._born = b"", 0, float("-inf")
        world.answer(self.who, self._answer)

    def run(self, seconds: float, *, every: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Time passes; it shows another root each second, and after so many it is another boot."""
        end = self.world.net.now + seconds
        while self.world.net.now < end:
            if self.world.net.now >= self._born + every:
                self._boot, self._counter, self._born = self.world.net.rng.randbytes(8), 0, self.world.net.now
            beacon = Beacon(self.world.net.rng.randbytes(16), 5, 10**6, bytes(8), answer=False)
            self._say(beacon, TOPICS.beacons)
            for _ in range(5):
                if self.world.net.run(0.2, until=until):
                    return True
                now = self.world.net.now
                for _, drop, topic in [each for each in self._drops if each[0] <= now]:
                    self._say(drop, topic)
                self._drops = [each for each in self._drops if each[0] > now]
        return False

    def _answer(self, asker: Station, message: Any) -> None:
        topic = TOPICS.inbox(asker.replica.me)
        if isinstance(message, Probe):
            self._say(Leaves(message.nonce, 0, 1, (*self._leaves(), *self._own())), topic)
        elif isinstance(message, Want):
            self.asked[asker.name] += 1
            feed, start, stop, _ = message.ranges[0]
            if feed == self.who.public_key:
                blocks = tuple(block.raw for block in self._blocks[start:stop])
                self._say(Data(message.nonce, 0, 1, blocks), topic)
                self._say(Done(message.nonce, 1, Status.COMPLETE), topic)
            elif self._drips:
                drops = [Data(message.nonce, index, message.frames, (b"no block",)) for index in range(message.frames)]
                self._drops += [
                    (self.world.net.now + 1.7 * index, drop, topic) for index, drop in enumerate(drops, start=1)
                ]

    def _own(self) -> list[Leaf]:
        if not self._gives:
            return []
        prev = self._blocks[-1].id if self._blocks else None
        self._blocks.append(make(self.who, len(self._blocks), prev, b"true"))
        return [Leaf(self.who.public_key[:8], len(self._blocks), self._blocks[-1].id[:8], b"")]

    def _say(self, message: Message, topic: str) -> None:
        forge(self.world, message, topic, self.who, counter=self._counter, boot=self._boot)
        self._counter += 1


def longer(world: World, *feeds: bytes) -> Callable[[], list[Leaf]]:
    """Feeds longer than they are, with heads that nobody has, each time others."""
    rng = world.net.rng
    return lambda: [Leaf(feed[:8], rng.randrange(1000, 2**40), rng.randbytes(8), b"") for feed in feeds]


def test_a_new_boot_is_believed_no_more_than_the_ones_before(rng: Random) -> None:
    """Of 300 feeds that it made longer it has given nothing: each further boot is asked for little."""
    world = World(rng.randrange(2**32), "abc")
    for number in range(300):
        world.replica.enrol(identity(f"device {number}").public_key)
        adopt(world.replica, identity(f"device {number}"), 1)
    world.net.restart(world.governor)
    world.settle()
    world.net.stop(world.members[2])
    liar = Shifty(world, "c", longer(world, *(feed for feed in world.replica.chains if feed != world.replica.me)))
    liar.run(30, every=3)
    liar.asked.clear()
    liar.run(60, every=3)
    assert sum(liar.asked.values()) >= 3
    assert all(wants <= 20 for wants in liar.asked.values())  # hardly more than boots


@pytest.mark.parametrize("gives", [False, True])
@pytest.mark.parametrize("drips", [False, True])
def test_lies_about_a_governors_feed_do_not_hold_back_data(*, gives: bool, drips: bool) -> None:
    """Silent about it, or very slow, and true about its own feed perhaps: data is pulled within seconds.

    In a world of a fixed seed: in one of a hundred a member that gives and drips holds up the first pulls for as long
    as the answer to a credit of 16 frames can be made to last, 27 s (seeds 555023 and 3562853100).
    """
    world = World(3, "abc")
    world.settle()
    world.net.run(30)
    giver, reader, member = world.members
    world.net.stop(member)
    world.net.censor = lambda topic, _: "/b/" in topic or topic == TOPICS.queries  # nothing but what is asked for
    liar = Shifty(world, "c", longer(world, world.replica.me), gives=gives, drips=drips)
    every = 60.0 if drips else 1.0  # a boot that gives earns credit, which makes drops last
    liar.run(60, every=every)

    def arrived(step: int) -> bool:
        return len(reader.replica.chains.get(giver.replica.me, ())) > step

    before = world.net.now
    longest = 0.0
    for step in range(10):
        began = world.net.now
        world.net.append(giver, b"news %d" % step)
        assert liar.run(120, every=every, until=partial(arrived, step))
        longest = max(longest, world.net.now - began)
    assert liar.asked[reader.name]
    assert longest < 12
    assert world.net.now - before < 10 * 3


def test_an_honest_restart_is_not_held_against_anybody(rng: Random) -> None:
    """A member that lied, and runs an honest node again, is asked soon, and believed with the first block it gives."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    honest = world.members[2]
    world.net.stop(honest)
    liar = Shifty(world, "c", longer(world, world.members[0].replica.me, world.members[1].replica.me))
    liar.run(60, every=3)
    assert liar.asked
    world.net.censor = lambda topic, _: "/b/" in topic or topic == TOPICS.queries
    world.net.restart(honest)
    world.net.run(5)
    world.net.append(honest, b"true")
    assert world.net.run(30, until=world.net.converged)
    boot = honest.node.id
    trusted = [peer for peer in (station.node.peers.get(boot) for station in world.net.stations) if peer is not None]
    assert any(peer.vain == 0 for peer in trusted)


def test_patience_with_what_comes_first_runs_out() -> None:
    """A few seconds, a few more with each gain, then none for a while."""
    precedence = Precedence()
    until = precedence.until(100.0)
    assert 100.0 < until <= 105.0
    assert precedence.until(until) == until
    precedence.gained(until)
    assert until < precedence.until(until) <= until + 5.0
    assert precedence.until(until + 20.0) < until + 20.0
    assert precedence.until(until + 40.0) > until + 40.0
