"""Members that answer slowly, show another's root or never stop talking: those who have it are asked all the same."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from gossip_network import Station
from gossip_world import TOPICS, World, forge
from medledger.limits import BEACON_MAX_SECONDS
from medledger.sync.messages import Beacon, Leaves, Message, Probe
from memory_replica import identity

PAGES = 128


class Crowd:
    """Processes of one member, none with a replica. Probes are answered by empty pages, at once or ever so late."""

    def __init__(self, world: World, name: str, *, slow: bool, root: Callable[[], bytes]) -> None:
        self.world = world
        self.who = identity(name)
        self.slow = slow
        self.root = root
        self.asked = 0
        self._counters: Counter[bytes] = Counter()
        self._later: list[tuple[float, int, bytes, Leaves, str]] = []
        world.answer(self.who, self._answer)

    def run(self, seconds: float, until: Callable[[], bool]) -> bool:
        """Time passes, and they show a root once a second."""
        for _ in range(round(seconds * 5)):
            if self.world.net.run(0.2, until=until):
                return True
            for number in range(4):
                beacon = Beacon(self.root(), 5, 10**6, bytes(8), answer=False)
                self._say(b"evil%04d" % number, beacon, TOPICS.beacons)
            while self._later and self._later[0][0] <= self.world.net.now:
                _, _, boot, leaves, topic = heapq.heappop(self._later)
                self._say(boot, leaves, topic)
        return False

    def _answer(self, asker: Station, probe: Message) -> None:
        if not isinstance(probe, Probe):
            return
        self.asked += 1
        topic = TOPICS.inbox(asker.replica.me)
        if not self.slow:
            self._say(probe.boot, Leaves(probe.nonce, 0, 1, ()), topic)
            return
        for page in range(PAGES - 1):
            at = self.world.net.now + 1.8 * page
            leaves = Leaves(probe.nonce, page, PAGES, ())
            heapq.heappush(self._later, (at, self.asked * PAGES + page, probe.boot, leaves, topic))

    def _say(self, boot: bytes, message: Message, topic: str) -> None:
        self._counters[boot] += 1
        forge(self.world, message, topic, self.who, counter=self._counters[boot], boot=boot)


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("mirror", [True, False])
def test_one_member_does_not_keep_another_from_being_asked(rng: Random, *, slow: bool, mirror: bool) -> None:
    """It shows roots of its own or an honest member's, and says it has nothing: soon, or page by page for minutes."""
    world = World(rng.randrange(2**32), "abc")
    world.settle()
    world.net.run(30)
    giver, reader, member = world.members
    world.net.stop(member)
    world.net.censor = lambda topic, _: "/b/" in topic or topic == TOPICS.queries  # nothing but what is asked for
    crowd = Crowd(
        world, "c", slow=slow, root=lambda: giver.node.frontier.root if mirror else world.net.rng.randbytes(16)
    )
    crowd.run(30, lambda: False)
    world.net.append(giver, b"news")
    assert crowd.run(2 * BEACON_MAX_SECONDS, lambda: bool(reader.replica.chains.get(giver.replica.me)))
    assert crowd.asked
