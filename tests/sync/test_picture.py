"""What a node shows of itself: counted right, bounded, and said in plain data."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

from gossip_network import Station
from gossip_world import TOPICS, World, adopt, forge
from medledger.limits import MAX_PEERS, PEER_SECONDS, RECENT_ALARMS, STATUS_ROWS, UNCONFIRMED_SECONDS
from medledger.sync import Advanced, Node, picture
from medledger.sync.alarms import Alarms
from medledger.sync.delivery import Delivery
from medledger.sync.messages import Beacon
from memory_replica import identity


def shown(world: World, station: Station) -> dict[str, Any]:
    """A node's status, once through JSON."""
    status: dict[str, Any] = json.loads(json.dumps(station.node.status(world.net.now)))
    return status


def row(status: dict[str, Any], who: Station) -> dict[str, Any]:
    """The row of one peer."""
    (found,) = [each for each in status["peer_list"] if each["feed"] == who.replica.me.hex()]
    return dict(found)


# --- traffic ---------------------------------------------------------------------------------------------------------


def test_every_frame_is_counted_once_with_its_bytes(rng: Random) -> None:
    """Out: what the network was given, by channel. In: what it delivered, echoes and frames to nobody included."""
    world = World(rng.randrange(2**32), "abc")
    delivered = dict.fromkeys(world.net.stations, (0, 0))
    handle = Node.handle

    world.settle()
    for station in world.members:
        world.net.append(station, bytes(1000))
    world.net.inject(TOPICS.beacons, b"noise" * 20)
    before = {station: shown(world, station)["traffic"]["in"] for station in world.net.stations}
    for station in world.net.stations:
        node = station.node

        def counting(event: Any, now: float, node: Node = node, station: Station = station) -> Any:
            payload = getattr(event, "payload", None)
            if payload is not None:
                frames, size = delivered[station]
                delivered[station] = (frames + 1, size + len(payload))
            return handle(node, event, now)

        node.handle = counting  # type: ignore[method-assign]
    world.net.run(300)
    for station in world.net.stations:
        traffic = shown(world, station)["traffic"]
        sent = [(topic, size) for _, name, topic, size in world.net.traffic if name == station.name]
        assert (traffic["out"]["frames"], traffic["out"]["bytes"]) == (len(sent), sum(size for _, size in sent))
        names = {"s": "beacons", "b": "live", "i": "inbox", "e": "proofs", "q": "queries"}
        for letter, name in names.items():
            sizes = [size for topic, size in sent if topic.split("/")[3] == letter]
            tally = traffic["out"]["channels"].get(name, {"frames": 0, "bytes": 0})
            assert (tally["frames"], tally["bytes"]) == (len(sizes), sum(sizes))
        came = traffic["in"]["frames"] - before[station]["frames"], traffic["in"]["bytes"] - before[station]["bytes"]
        assert came == delivered[station]
        assert came[0] > 0
        for way in ("in", "out"):
            for part in ("kinds", "channels"):
                tallies = traffic[way][part].values()
                assert sum(each["bytes"] for each in tallies) == traffic[way]["bytes"]
                assert sum(each["frames"] for each in tallies) == traffic[way]["frames"]
        assert traffic["in"]["kinds"]["refused"]["bytes"] == 100
        assert traffic["in"]["kinds"]["repeated"]["frames"] > 0


def test_what_goes_to_and_comes_from_one_peer_is_its_own(rng: Random) -> None:
    """Signed frames count for their peer, on both sides alike; live blocks for nobody."""
    world = World(rng.randrange(2**32), "a")
    (member,) = world.members
    world.settle()
    for _ in range(3):
        world.net.append(world.governor, bytes(500))
    world.net.run(200)
    here, there = shown(world, world.governor), shown(world, member)
    to, back = row(here, member), row(there, world.governor)
    inbox = here["traffic"]["out"]["channels"]["inbox"]
    assert (to["frames_out"], to["bytes_out"]) == (inbox["frames"], inbox["bytes"])
    kinds = there["traffic"]["in"]["kinds"]
    signed = [kind for name, kind in kinds.items() if name not in ("blocks", "proof", "repeated", "refused")]
    assert back["bytes_in"] == sum(kind["bytes"] for kind in signed)
    assert back["frames_in"] == sum(kind["frames"] for kind in signed)


# --- where everybody stands ------------------------------------------------------------------------------------------


def test_a_peer_is_level_ahead_or_behind_by_so_many_blocks(rng: Random) -> None:
    """A newcomer sees how far ahead the others are, and the feed that it lags in; the others see it behind."""
    world = World(rng.randrange(2**32), "a")
    (member,) = world.members
    world.settle()
    world.net.run(200)
    assert {row(shown(world, world.governor), member)["standing"]} == {"level"}
    member.group = 1  # cut off
    for _ in range(30):
        world.net.append(world.governor, bytes(40_000))
    world.net.run(30)
    member.group = 0
    lag: list[tuple[str, int]] = []
    assert world.net.run(100, until=lambda: bool(_note(lag, shown(world, member), world.governor)))
    assert ("ahead", 30) in lag
    world.settle()
    world.net.run(200)
    assert row(shown(world, member), world.governor)["standing"] == "level"
    assert shown(world, member)["feeds_behind"] == shown(world, member)["blocks_behind"] == 0


def _note(lag: list[tuple[str, int]], status: dict[str, Any], who: Station) -> bool:
    """Keep where somebody stands; whether a feed lags."""
    each = row(status, who)
    lag.append((each["standing"], each["difference"]))
    if not status["lagging_feeds"]:
        return False
    (feed,) = status["lagging_feeds"]
    assert feed["feed"] == who.replica.me.hex()
    assert feed["wanted"] - feed["ours"] == 30
    assert feed["sources"] == 1
    assert status["blocks_behind"] == 30
    assert status["probes_under_way"] + status["pulls_under_way"] > 0 or not status["in_sync"]
    return True


def test_who_lacks_blocks_of_ours_is_behind(rng: Random) -> None:
    """A peer whose beacons go on showing what we held a while ago."""
    world = World(rng.randrange(2**32), "ab")
    one, two = world.members
    world.settle()
    world.net.run(100)
    old = one.node.frontier
    beacon = Beacon(old.root, old.count, old.total, old.newest, False)
    one.group = 1
    for _ in range(5):
        world.net.append(two, bytes(100))
    world.net.run(100)
    forge(world, beacon, TOPICS.beacons, one.replica.identity, counter=0)
    world.net.run(1)
    forged = [each for each in shown(world, two)["peer_list"] if each["boot"] == b"evilboot".hex()]
    assert [(each["standing"], each["difference"]) for each in forged] == [("behind", -5)]


def test_beacons_and_peers_have_their_ages(rng: Random) -> None:
    """Seconds since, as the machine's clock tells them; a peer that fell silent is counted no more."""
    world = World(rng.randrange(2**32), "a")
    (member,) = world.members
    world.settle()
    world.net.run(100)
    status = shown(world, world.governor)
    assert status["peers"] == 1
    beacon = status["beacon"]
    assert beacon["interval_seconds"] >= 16
    assert 0 <= beacon["heard_seconds"] <= 130
    assert beacon["heard_seconds"] == row(status, member)["beacon_seconds"]
    world.net.stop(member)
    world.net.run(PEER_SECONDS + 1)
    status = shown(world, world.governor)
    assert status["peers"] == 0
    assert row(status, member)["heard_seconds"] > PEER_SECONDS


def test_own_blocks_wait_since_they_were_written(rng: Random) -> None:
    """How many nobody has shown to hold, and since when; an alarm in between starts no new count."""
    delivery = Delivery()
    delivery.moved(b"one", 3, 100.0)
    assert (delivery.unconfirmed, delivery.since) == (3, 100.0)
    assert delivery.next == 100.0 + UNCONFIRMED_SECONDS
    assert delivery.overdue(delivery.next) is not None
    assert delivery.since == 100.0
    assert delivery.next == 100.0 + 2 * UNCONFIRMED_SECONDS
    delivery.seen_root(b"one", 2000.0)
    assert (delivery.unconfirmed, delivery.since) == (0, None)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_it_stays_small_whoever_speaks(rng: Random) -> None:
    """More peers and lagging feeds than are listed: 100 of each, and how many others there are."""
    world = World(rng.randrange(2**32), "")
    people = [identity(f"author {number}") for number in range(150)]
    for who in people:
        world.replica.enrol(who.public_key)
    rich = world.join("rich")
    rich.replica.import_blocks([block.raw for block in world.replica.chains[world.replica.me]])
    for who in people:
        adopt(rich.replica, who, 2)
    rich.node.handle(Advanced(rich.replica.me, 0, 0), 0.0)
    seen: list[tuple[int, int]] = []

    def look() -> bool:
        status = shown(world, world.governor)
        seen.append((len(status["lagging_feeds"]), status["lagging_feeds_more"]))
        return world.net.converged()

    assert world.net.run(100, until=look)
    assert (STATUS_ROWS, 50) in seen
    beacon = Beacon(bytes(16), 1, 1, bytes(8), False)
    for number, who in enumerate(people):
        forge(world, beacon, TOPICS.beacons, who, boot=number.to_bytes(8, "big"))
    world.net.run(1)
    status = shown(world, world.governor)
    assert len(status["peer_list"]) == STATUS_ROWS
    assert status["peer_list_more"] == len(world.governor.node.peers) - STATUS_ROWS > 0
    assert len(world.governor.node.peers) <= MAX_PEERS
    assert len(json.dumps(status)) < 100_000


def test_the_last_alarms_are_kept_with_what_to_do(rng: Random) -> None:
    """Twenty of them, the newest first, with their age; each repeated one no more often than it is raised."""
    alarms = Alarms()
    for number in range(30):
        alarms.tell(f"alarm {number}", float(number), hint=f"do {number}")
        alarms.tell(f"alarm {number}", number + 0.5)
    told = alarms.log.data(40.0)
    assert len(told) == RECENT_ALARMS
    assert told[0] == {"text": "alarm 29", "hint": "do 29", "seconds": 11.0}
    assert [each["seconds"] for each in told] == [11.0 + step for step in range(RECENT_ALARMS)]
    world = World(rng.randrange(2**32), "a")
    (member,) = world.members
    world.settle()
    forge(world, Beacon(bytes(16), 1, 1, bytes(8), False), TOPICS.beacons, member.replica.identity)
    world.net.run(1)
    (alarm,) = shown(world, member)["alarms"]
    assert "another process with this node's key" in alarm["text"]
    assert "stop all but one" in alarm["hint"]
    assert member.alarms == [alarm["text"]]


def test_every_field_is_documented(rng: Random) -> None:
    """The module's table and the page on gossip name each field of the status, and of its rows."""
    world = World(rng.randrange(2**32), "a")
    world.settle()
    status = shown(world, world.governor)
    page = (Path(__file__).resolve().parents[2] / "docs" / "gossip.md").read_text().partition("## The picture")[2]
    fields = {*status, *status["beacon"], *status["traffic"], *status["traffic"]["in"]}
    fields |= {field for each in status["peer_list"] for field in each}
    assert fields - set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", picture.__doc__ or "")) == set()
    assert fields - set(re.findall(r"`([a-z_]+)`", page)) == set()
