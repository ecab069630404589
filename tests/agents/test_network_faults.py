"""Agents and the network: what was acknowledged arrives, whatever became of the broker; a cloned card is found."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator

import pytest

from boxes import Box, Monitor, World, oru
from brokers import Broker
from medledger import Ledger
from medledger.transport import Gossip
from waiting import until

HOURS = 13
PER_HOUR = 60
MONITORS = 4
AHEAD = 64  # messages that a monitor of this test sends before it waits


def readings_of(ledger: Ledger, box: Box) -> Counter[bytes]:
    """The hash of each message that the box has logged, as a replica holds it."""
    return Counter(entry.content["raw"] for entry in ledger.entries("reading", author=box.identity.public_key))


def play(monitor: Monitor, messages: list[bytes]) -> list[bytes]:
    """Send all, some ahead of their acknowledgements; those that were acknowledged."""
    taken = []
    for start in range(0, len(messages), AHEAD):
        some = messages[start : start + AHEAD]
        monitor.send(*some)
        taken += [message for message in some if monitor.receive()[0] == "AA"]
    return taken


def test_a_broker_that_is_away_for_thirteen_hours_loses_nothing(
    world: World, own_broker: Broker, rng: random.Random
) -> None:
    """Four monitors, a reading a minute each, as fast as the box takes them. In is out: none lost, none doubled.

    The broker dies when some have been said and comes back, on its port, after the last.
    """
    box = world.box("bed-7", "bedside", gossip={"broker": own_broker.url}, batch={"window_seconds": 0.05})
    feeds = [
        [oru(number, sender=f"MON-{place}", value=str(rng.randint(40, 180))) for number in range(HOURS * PER_HOUR)]
        for place in range(MONITORS)
    ]
    taken: list[bytes] = []
    with box.start() as agent, Gossip(world.hospital, own_broker.url):
        monitors = [agent.monitor() for _ in feeds]
        for monitor, messages in zip(monitors, feeds, strict=True):
            taken += play(monitor, messages[:PER_HOUR])
        assert until(lambda: readings_of(world.hospital, box).total() > 0)
        own_broker.kill()
        for monitor, messages in zip(monitors, feeds, strict=True):
            taken += play(monitor, messages[PER_HOUR:])
        assert len(taken) == HOURS * PER_HOUR * MONITORS  # the broker's absence is none of the monitors' business
        own_broker.start()
        expected = Counter(box.named(message) for message in taken)
        assert until(lambda: readings_of(world.hospital, box) == expected, 60)
    assert set(expected.values()) == {1}


def test_a_box_without_a_broker_from_the_start_catches_up_later(world: World, own_broker: Broker) -> None:
    """Switched on in a dead network: it logs at once, and is heard when there is somebody to hear it."""
    own_broker.kill()
    box = world.box("bed-7", "bedside", gossip={"broker": own_broker.url})
    with box.start() as agent:
        monitor = agent.monitor()
        assert [monitor.ask(oru(number))[0] for number in range(10)] == ["AA"] * 10
        own_broker.start()
        with Gossip(world.hospital, own_broker.url):
            assert until(lambda: readings_of(world.hospital, box).total() == 10, 60)


def clone(world: World, box: Box) -> Box:
    """The same card in a second box: replica, inbox, key, witness and all."""
    home = world.directory / "clone"
    shutil.copytree(box.home, home)
    copy = Box(home, box.role, box.identity, {})
    shutil.copy(box.config, copy.config)
    return copy


def test_a_cloned_card_is_found_and_neither_box_goes_on(world: World, own_broker: Broker) -> None:
    """Both log a reading of their own under one key. The hospital gets the proof; both boxes say that they have forked,
    and acknowledge nothing more: their monitors keep what they have. What was acknowledged is kept as evidence where it
    was logged.
    """
    box = world.box("bed-7", "bedside", gossip={"broker": own_broker.url})
    with box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        agent.stop()
    copy = clone(world, box)
    feed = box.identity.public_key
    own_broker.kill()
    with box.start() as first, copy.start() as second:
        one, two = first.monitor(), second.monitor()
        assert one.ask(oru(2, sender="MON-7", value="60"))[0] == "AA"
        assert two.ask(oru(2, sender="MON-8", value="99"))[0] == "AA"
        own_broker.start()
        with Gossip(world.hospital, own_broker.url):
            assert until(lambda: feed in world.hospital.forks, 60)
            numbers = iter(range(3, 10_000))
            for monitor, place in ((one, "MON-7"), (two, "MON-8")):
                assert until(lambda: refused(monitor, place, numbers), 60)  # noqa: B023 - called at once
    for each, message in ((box, oru(2, sender="MON-7", value="60")), (copy, oru(2, sender="MON-8", value="99"))):
        with each.ledger() as ledger:
            ledger.verify(every_signature=True)
            assert any(box.named(message) in disputed.raw for disputed in ledger.disputed())
    world.hospital.verify(every_signature=True)
    assert readings_of(world.hospital, box).total() == 1  # what both share stands


def refused(monitor: Monitor, place: str, numbers: Iterator[int]) -> bool:
    """Whether the next message is not taken, with the reason that the feed has forked."""
    code, _, reason = monitor.ask(oru(next(numbers), sender=place))
    return code == "AE" and "forked" in reason


def test_the_files_of_a_box_are_its_own(world: World) -> None:
    """A second agent on the same directory is refused, and the first goes on."""
    box = world.box("bed-7", "bedside")
    with box.start() as agent:
        with pytest.raises(AssertionError, match="in use"):
            box.start()
        assert agent.monitor().ask(oru(1))[0] == "AA"
