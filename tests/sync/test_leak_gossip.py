"""A transport key in use that a revoked member holds: what nodes tell people of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from ledger_world import World
from medledger import governing
from medledger.keys import fingerprint
from medledger.limits import ALARM_REPEAT_SECONDS, LEAK_SECONDS
from rotation_world import feed_of, settle
from worlds import reading


@pytest.fixture
def world(tmp_path: Path, rng: Random) -> Iterator[World]:
    """A founder alone."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack)


def test_a_key_that_a_revoked_member_holds_is_told_of_once(world: World) -> None:
    """Two governors revoke the same member while they cannot hear each other: neither knew that it was effective, so
    neither made another key. Every node says so, once in each boot; another key ends it, and who leaks that is told of.
    """
    second, ward, clinic, box = (world.add(name) for name in ("second", "ward", "clinic", "box"))
    governing.change_epoch(world.founder, governors=[feed_of(world.founder), feed_of(second), feed_of(ward)])
    for ledger in (clinic, box):
        ledger.append(reading(60))
    world.settle()
    revoked = world.stations.pop("clinic")
    world.net.leave(revoked)

    def revoke_apart(feed: bytes) -> None:
        world.stations["second"].group = 1
        world.founder.revoke(feed, reason="lost")
        second.revoke(feed, reason="lost")
        world.stations["second"].group = 0

    def told() -> list[int]:
        alarms = [station.node.status(world.net.now)["alarms"] for station in world.stations.values()]
        return [sum("held by who was revoked" in row["text"] for row in rows) for rows in alarms]

    revoke_apart(feed_of(clinic))
    settle(world, "founder", "second", "ward", "box")
    assert world.founder.membership.transport.leaked == (feed_of(clinic),)
    world.net.run(LEAK_SECONDS / 2)
    assert told() == [0, 0, 0, 0]
    world.net.run(LEAK_SECONDS)
    assert told() == [1, 1, 1, 1]
    (row,) = (row for row in world.stations["box"].node.status(0.0)["alarms"] if "who was revoked" in row["text"])
    assert fingerprint(feed_of(clinic)) in row["text"]
    assert "medledger key rotate" in row["hint"]
    world.net.run(2 * ALARM_REPEAT_SECONDS)
    assert told() == [1, 1, 1, 1]
    world.net.restart(world.stations["ward"])
    world.net.run(2 * LEAK_SECONDS)
    assert told() == [1, 1, 1, 1]

    world.founder.rotate_transport_key()
    settle(world, "founder", "second", "ward", "box")
    world.net.leave(world.stations.pop("box"))
    revoke_apart(feed_of(box))
    settle(world, "founder", "second", "ward")
    world.net.run(2 * LEAK_SECONDS)
    assert told() == [2, 2, 2]


def test_a_revocation_that_brings_its_key_is_not_told_of_as_a_leak(world: World) -> None:
    """Whatever is between the two blocks for a moment."""
    ward, _ = world.add("ward"), world.add("clinic")
    world.settle()
    world.founder.revoke(feed_of(ward), reason="lost")
    world.net.run(3 * LEAK_SECONDS)
    for station in world.stations.values():
        alarms = station.node.status(world.net.now)["alarms"]
        assert not any("who was revoked" in row["text"] for row in alarms) or station.name == "ward", alarms
