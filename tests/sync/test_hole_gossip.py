"""Hidden entries over gossip: what one peer withholds another gives, and no peer is the only one that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from forge import hide
from gossip_network import Network, Station
from medledger import Ledger
from medledger.block import parse_block
from medledger.errors import StoreError
from medledger.header import BlockClass
from medledger.ledger import Released
from medledger.limits import HOLE_PAUSE_MAX_SECONDS, HOLE_PAUSE_SECONDS
from medledger.sync import Publish
from medledger.sync.frames import Codec
from medledger.sync.messages import Want
from medledger.sync.topics import Topics
from worlds import found, join, reading


class Hiding:
    """Hides the entries of every data block that a ledger gives out."""

    def __init__(self, ledger: Ledger) -> None:
        self._release = ledger.release

    def __call__(self, feed: bytes, start: int, stop: int, max_bytes: int) -> list[Released]:
        raws = self._release(feed, start, stop, max_bytes)
        return [Released(hide(raw)) if parse_block(raw).header.block_class == BlockClass.DATA else raw for raw in raws]


class World:
    """A founder, a ward that has written, a member that hides what it passes on, and a clinic that has nothing yet.

    Nobody but the hiding member reaches the clinic at first.
    """

    def __init__(self, directory: Path, seed: int, stack: ExitStack, blocks: int) -> None:
        print(f"seed {seed}")
        self.net = Network(seed)
        self.stack = stack
        self.founder = stack.enter_context(found(directory))
        self.ward, self.relay, self.clinic = (
            stack.enter_context(join(self.founder, directory, name)) for name in ("ward", "relay", "clinic")
        )
        for step in range(blocks):
            self.ward.append(reading(step))
        self.stations = {ledger.path.stem: self.connect(ledger) for ledger in (self.founder, self.ward, self.relay)}
        assert self.net.run(30, until=self.net.converged)
        self.relay.release = Hiding(self.relay)  # type: ignore[method-assign]
        self.part("founder", "ward")
        self.stations["clinic"] = self.connect(self.clinic)
        self.wants: list[tuple[float, str, str, Want]] = []
        key = self.founder.transport_key
        assert key is not None
        self.topics = Topics(self.founder.id, key.key)
        self.codec = Codec(self.founder.id, key, Random(0))
        self.net.on_publish = self._listen
        assert self.net.run(30, until=lambda: self.clinic.digest() == self.relay.digest())

    def connect(self, ledger: Ledger) -> Station:
        """Give a ledger a node."""
        station = self.net.add(ledger.path.stem, ledger)
        self.stack.callback(ledger.watch(lambda advance: self.net.advanced(station, advance)))
        return station

    def part(self, *names: str) -> None:
        """Let only these hear each other, and only the others each other."""
        for name, station in self.stations.items():
            station.group = int(name in names)

    def asked(self, since: float) -> list[str]:
        """Whom the clinic has asked for blocks since then."""
        inboxes = {
            self.topics.inbox(ledger.me): ledger.path.stem
            for ledger in (self.founder, self.ward, self.relay)
            if ledger.me is not None
        }
        return [inboxes[topic] for at, name, topic, _ in self.wants if name == "clinic" and at >= since]

    def entries(self) -> int:
        """How many readings the clinic can read."""
        return len(list(self.clinic.entries(type="reading")))

    def _listen(self, station: Station, effect: Publish) -> None:
        address = self.topics.read(effect.topic)
        assert address is not None
        message = self.codec.open(effect.topic, address.channel, effect.payload).message
        if isinstance(message, Want):
            self.wants.append((self.net.now, station.name, effect.topic, message))


@pytest.fixture(params=[3])
def world(tmp_path: Path, rng: Random, request: pytest.FixtureRequest) -> Iterator[World]:
    """See `World`; the ward has written three blocks, or as many as a test says."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack, request.param)


def test_what_a_relay_hides_an_honest_peer_gives(world: World) -> None:
    """Digests are equal and nothing looks wrong, and yet the entries come, within minutes, and then it is quiet."""
    assert world.clinic.digest() == world.founder.digest()
    assert (len(world.clinic.holes()), world.entries()) == (3, 0)
    told: list[tuple[int, int]] = []
    world.clinic.watch(lambda advance: told.append((advance.first, advance.last)))
    world.part()
    start = world.net.now
    assert world.net.run(4 * HOLE_PAUSE_SECONDS, until=lambda: not world.clinic.holes())
    assert sorted(told) == [(0, 0), (1, 1), (2, 2)]
    assert world.entries() == 3
    world.clinic.fsck()
    assert all(stop == start + 1 for _, _, _, want in world.wants[1:] for _, start, stop, _ in want.ranges)
    world.net.run(10)
    assert world.stations["clinic"].node.status(world.net.now)["blocks_with_hidden_entries"] == 0
    asked = len(world.asked(start))
    world.net.run(2 * HOLE_PAUSE_MAX_SECONDS)
    assert len(world.asked(start)) == asked <= 5


def test_who_hides_is_asked_ever_less_and_never_alone(world: World) -> None:
    """Alone with it for a day: asked once an hour at the end. When others are there, they are asked before it again."""
    start = world.net.now
    world.net.run(24 * 3600)
    assert set(world.asked(start)) == {"relay"}
    assert 20 <= len(world.asked(start)) <= 60
    assert len(world.asked(world.net.now - 3 * HOLE_PAUSE_MAX_SECONDS)) <= 6
    world.founder.release = Hiding(world.founder)  # type: ignore[method-assign]
    world.part()
    start = world.net.now
    assert world.net.run(4 * HOLE_PAUSE_MAX_SECONDS, until=lambda: world.entries() == 3)
    assert len(world.asked(start)) <= 3, "each peer once at most"


@pytest.mark.parametrize("world", [500], indirect=True)
def test_many_holes_are_filled_in_a_few_answers(world: World) -> None:
    """Sixty-four blocks a want, one want after the other from whoever has them."""
    assert len(world.clinic.holes()) == 500
    world.part()
    start = world.net.now
    assert world.net.run(5 * HOLE_PAUSE_SECONDS, until=lambda: world.entries() == 500)
    assert len(world.asked(start)) <= 14


def test_new_holes_end_a_long_pause(world: World) -> None:
    """What was hidden for good does not keep us from asking soon for what was hidden now."""
    world.ward.release = Hiding(world.ward)  # type: ignore[method-assign]
    world.founder.release = Hiding(world.founder)  # type: ignore[method-assign]
    world.part()
    world.net.run(12 * 3600)
    assert (len(world.clinic.holes()), world.entries()) == (3, 0)
    del world.founder.release
    world.ward.append(reading(99))  # it goes out hidden
    assert world.net.run(5 * HOLE_PAUSE_SECONDS, until=lambda: world.entries() == 3)


def test_a_disk_that_fails_while_holes_are_looked_for_is_an_alarm(world: World) -> None:
    """It is told once, the node goes on, and looks again later."""

    def fail() -> list[tuple[bytes, int]]:
        raise StoreError("the disk is gone")

    world.part()
    world.clinic.holes = fail  # type: ignore[method-assign]
    world.net.run(3 * HOLE_PAUSE_SECONDS)
    assert [text for text in world.stations["clinic"].alarms if "the disk is gone" in text]
    del world.clinic.holes
    assert world.net.run(4 * HOLE_PAUSE_SECONDS, until=lambda: world.entries() == 3)
