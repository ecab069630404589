"""Rotations of the transport key while ledgers gossip: who moves, who is left behind, and who is shut out.

Real ledgers in the simulated network. The revoked member is given every frame that travels, and all of its keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from forge import Chain, small_entry
from gossip_network import Links
from ledger_world import World, fresh_member
from medledger import Identity, governing
from medledger.acts import GovTransport
from medledger.errors import MedledgerError
from medledger.keys import seal_to
from medledger.limits import BEACON_MAX_SECONDS, HAIL_MAX_SECONDS
from medledger.sync.frames import Codec, Origin
from medledger.sync.messages import Beacon, Blocks, Envelope
from medledger.sync.topics import Topics
from medledger.transport_key import TransportKey
from rotation_world import Tap, feed_of, one_key, settle
from worlds import reading


@pytest.fixture
def world(tmp_path: Path, rng: Random) -> Iterator[World]:
    """A founder alone."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack)


# --- who moves ----------------------------------------------------------------------------------------------------


def test_everybody_who_is_connected_moves_at_once(world: World) -> None:
    """The block that brings the key goes out under the one before: a second later all speak under the new one."""
    members = [world.add(name) for name in ("ward", "clinic", "theatre")]
    world.settle()
    world.net.run(300)  # timers at their longest
    world.founder.rotate_transport_key()
    world.net.run(1)
    assert one_key(world.founder, *members)
    assert len(world.founder.transport_keys) == 2
    members[0].append(reading(70))
    settle(world, "founder", "ward", "clinic", "theatre", seconds=5)
    assert all(station.node.in_sync(world.net.now) for station in world.stations.values())


def test_rotations_survive_bad_links(world: World) -> None:
    """A fifth of all frames lost, others repeated and late, a new key every few seconds, and everybody writes."""
    world.net.links = Links(delay=(0.001, 0.2), lose=0.2, lose_sure=0.2, repeat=0.1)
    members = [world.add(name) for name in ("ward", "clinic", "theatre")]
    for step in range(6):
        world.founder.rotate_transport_key()
        for ledger in members:
            ledger.append(reading(60 + step))
        world.net.run(4)
    settle(world, "founder", "ward", "clinic", "theatre")
    assert len(list(world.founder.entries(type="reading"))) == 18


def test_a_key_made_while_its_governor_was_not_connected_is_heard_of(world: World) -> None:
    """As by a command, without gossip: when the governor is back its hail moves the others within seconds."""
    ward, clinic = world.add("ward"), world.add("clinic")
    world.settle()
    world.net.leave(world.stations["founder"])
    world.net.run(300)
    world.founder.rotate_transport_key()
    world.net.restart(world.stations["founder"])
    assert settle(world, "founder", "ward", "clinic", seconds=10) < 10
    assert one_key(world.founder, ward, clinic)


# --- who is shut out ----------------------------------------------------------------------------------------------


def test_the_revoked_member_reads_nothing_new(world: World) -> None:
    """Its keys open the revocation itself; and of what others say once they have the new key only hails, which say
    nothing, and envelopes that are not for it.
    """
    ward, clinic = world.add("ward"), world.add("clinic")
    box = world.add("box")
    for ledger in (ward, clinic, box):
        ledger.append(reading(60))
    world.settle()
    tap = Tap(world, ward)
    world.founder.revoke(feed_of(ward), reason="lost")
    world.net.run(2)
    for step in range(5):
        for ledger in (world.founder, clinic, box):
            ledger.append(reading(70 + step))
        world.net.run(20)
    settle(world, "founder", "clinic", "box")
    world.net.leave(world.stations["clinic"])
    world.net.come_back(world.stations["clinic"])
    world.net.run(300)
    assert ward.transport_keys == world.founder.transport_keys[:1]
    farewell = [message for who, message in tap.read() if who == "founder" and isinstance(message, Blocks)]
    assert farewell
    before = len(list(ward.entries(type="reading")))
    ward.import_blocks([block for message in farewell for block in message.blocks])
    assert [entry.type for entry in ward.entries(type="gov.transport")] == ["gov.transport"]
    assert len(list(ward.entries(type="reading"))) == before
    assert {*tap.moved} == {"founder", "clinic", "box"}
    for _, message in tap.read(moved=True):
        if isinstance(message, Beacon):
            assert (message.count, message.total, message.newest) == (0, 0, bytes(8))
            assert all(message.root != station.node.frontier.root for station in world.stations.values())
        else:
            assert isinstance(message, Envelope), message
    assert ward.transport_key != world.founder.transport_key


def test_the_revoked_member_is_not_heard_on_any_key(world: World) -> None:
    """Cut off while it is revoked, it goes on under the old key: nobody answers it, nobody takes its blocks."""
    ward, clinic = world.add("ward"), world.add("clinic")
    ward.append(reading(1))
    world.settle()
    world.stations["ward"].group = 1
    world.founder.revoke(feed_of(ward), reason="stolen")
    world.net.run(2)
    ward.append(reading(2))
    world.net.run(2)
    tap = Tap(world, ward)
    world.stations["ward"].group = 0
    world.net.leave(world.stations["ward"])
    world.net.come_back(world.stations["ward"])
    world.net.run(100)
    settle(world, "founder", "clinic")
    assert world.founder.head(feed_of(ward)) == clinic.head(feed_of(ward))
    head = clinic.head(feed_of(ward))
    assert head is not None
    assert head.seq == 0
    assert not any(isinstance(message, Envelope) for who, message in tap.read() if who != "ward")
    counters = world.stations["founder"].node.counters
    assert counters["refused: a frame's sender is revoked"] > 0


def test_live_blocks_under_an_old_key_are_not_taken(world: World) -> None:
    """Nor anything else that is bare: whoever holds an old key could put it there. Nor what a revoked key has said."""
    ward, clinic = world.add("ward"), world.add("clinic")
    world.settle()
    old = ward.transport_key
    assert old is not None
    world.founder.revoke(feed_of(ward))
    settle(world, "founder", "clinic")
    world.net.leave(world.stations["clinic"])
    world.net.run(1)
    clinic.append(reading(5))
    topics, codec = Topics(ward.id, old.key), Codec(ward.id, old, Random(1))
    topic = topics.live(feed_of(clinic))
    raw = list(clinic.raw_blocks(feed_of(clinic)))
    before = world.founder.digest()
    world.net.inject(topic, codec.seal(topic, Blocks(feed_of(clinic), tuple(raw))))
    world.net.run(5)
    assert world.founder.digest() == before


def test_a_replay_of_what_stragglers_said_costs_little(world: World) -> None:
    """All beacons that were recorded under an old key, after a restart: a few answers, which one member can open."""
    ward, clinic = world.add("ward"), world.add("clinic")
    tap = Tap(world, ward)
    world.settle()
    for step in range(20):
        clinic.append(reading(60 + step))
        world.net.run(3)
    said = [effect for _, station, effect in tap.frames if station.name == "clinic" and effect.topic.endswith("/s")]
    assert len(said) > 3
    world.net.leave(world.stations["clinic"])
    world.founder.revoke(feed_of(ward))
    world.net.run(5)
    world.net.restart(world.stations["founder"])
    world.net.run(5)
    tap.frames.clear()
    for _ in range(100):
        for effect in said:
            world.net.inject(effect.topic, effect.payload)
    world.net.run(5)
    envelopes = [message for who, message in tap.read() if isinstance(message, Envelope)]
    assert len(envelopes) <= len(said)
    assert not world.founder.forks


# --- who is left behind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotations", [1, 2, 7])
def test_who_was_offline_catches_up(world: World, rotations: int) -> None:
    """Across one rotation or several it comes back under an old key, is told the new one, and gets its blocks out."""
    ward, clinic = world.add("ward"), world.add("clinic")
    world.settle()
    world.net.leave(world.stations["ward"])
    world.net.run(1)
    for step in range(rotations):
        world.founder.rotate_transport_key()
        clinic.append(reading(70 + step))
        world.net.run(5)
    ward.append(reading(99))
    world.net.restart(world.stations["ward"])
    assert settle(world, "founder", "ward", "clinic", seconds=20) < 20
    assert len(list(world.founder.entries(type="reading"))) == rotations + 1


def test_who_was_offline_while_another_was_revoked_catches_up(world: World) -> None:
    """And the revoked one learns nothing by pretending: it hears envelopes that are not for it."""
    world.add("ward")
    world.add("clinic")
    box = world.add("box")
    world.settle()
    for name in ("ward", "clinic"):
        world.net.leave(world.stations[name])
    world.net.run(1)
    world.founder.revoke(feed_of(box), reason="lost")
    world.founder.append(reading(70))
    world.net.run(5)
    tap = Tap(world, box)
    for name in ("ward", "clinic"):
        world.net.restart(world.stations[name])
    settle(world, "founder", "ward", "clinic")
    said = [(who, message) for who, message in tap.read() if who == "founder"]
    assert any(isinstance(message, Envelope) for _, message in said)
    assert all(isinstance(message, Envelope | Beacon) for _, message in said)


def test_a_straggler_holds_its_own_blocks_back(world: World) -> None:
    """What it writes while it is being told goes out under the new key only; the revoked one listens, and is silent."""
    ward, clinic = world.add("ward"), world.add("clinic")
    box = world.add("box")
    world.settle()
    world.net.leave(world.stations["ward"])
    world.founder.revoke(feed_of(box))
    world.net.run(3)
    world.net.stop(world.stations.pop("box"))
    tap = Tap(world, box)
    world.net.restart(world.stations["ward"])
    for step in range(10):
        ward.append(reading(60 + step))
        world.net.run(0.1)
    settle(world, "founder", "ward", "clinic")
    assert not any(isinstance(message, Blocks) for _, message in tap.read())
    assert clinic.head(feed_of(ward)) == ward.head(feed_of(ward))


def test_a_reply_with_an_old_key_lets_a_box_in(world: World) -> None:
    """It was made before two rotations and used after: genesis and an old key are enough."""
    ward = world.add("ward")
    world.settle()
    late = fresh_member(world, "late", "auditor")
    world.net.stop(world.stations["late"])
    world.net.run(2)
    for _ in range(2):
        world.founder.rotate_transport_key()
        ward.append(reading(70))
        world.net.run(2)
    world.net.restart(world.stations["late"])
    settle(world, "founder", "ward", "late", seconds=20)
    assert late.transport_key == world.founder.transport_key


def test_a_member_that_lacks_the_key_reads_until_it_is_given_one(world: World) -> None:
    """A governor forgot it: it hears all in envelopes, its own blocks wait, and a copy of the key ends that."""
    ward, clinic = world.add("ward"), world.add("clinic")
    world.settle()
    key = TransportKey(b"k" * 32)
    members = sorted((feed_of(ledger), ledger) for ledger in (world.founder, clinic))
    boxes = [(feed, seal_to(world.founder.sealing_key(feed) or b"", key.key)) for feed, _ in members]
    world.founder.append(GovTransport(epoch=0, generation=1, key=key.name, boxes=boxes))
    world.net.run(3)
    clinic.append(reading(70))
    world.net.run(3 * BEACON_MAX_SECONDS)
    assert ward.head(feed_of(clinic)) == clinic.head(feed_of(clinic))
    assert world.founder.key_status().lacking == (feed_of(ward),)
    ward.append(reading(80))
    world.net.run(5)
    assert world.founder.head(feed_of(ward)) is None
    world.founder.share_transport_key()
    settle(world, "founder", "ward", "clinic")
    assert world.founder.head(feed_of(ward)) is not None


# --- those who were apart -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["the bridge is back", "everybody connects again"])
def test_two_governors_that_rotated_apart_end_on_one_key(world: World, how: str) -> None:
    """Each half of the network has a key that the other has not: they hear of each other under the one before."""
    second, ward, clinic = world.add("second"), world.add("ward"), world.add("clinic")
    governing.change_epoch(world.founder, governors=[feed_of(world.founder), feed_of(second), feed_of(ward)])
    world.settle()
    for name in ("second", "clinic"):
        world.stations[name].group = 1
    for at, ledger in enumerate((world.founder, second)):
        for step in range(1 + at):
            ledger.rotate_transport_key()
            ledger.append(reading(60 + step))
            world.net.run(2)
    assert one_key(world.founder, ward)
    assert one_key(second, clinic)
    assert not one_key(ward, clinic)
    world.net.run(600)
    for station in world.stations.values():
        station.group = 0
        if how == "everybody connects again":
            world.net.leave(station)
            world.net.come_back(station)
    limit = 20 if how == "everybody connects again" else 2 * HAIL_MAX_SECONDS
    assert settle(world, "founder", "second", "ward", "clinic", seconds=limit) < limit
    ward.append(reading(99))
    settle(world, "founder", "second", "ward", "clinic", seconds=10)


def test_fork_proofs_that_a_broker_retains_may_be_removed(world: World) -> None:
    """After a rotation one lies under the old key, too. An operator may remove whatever is retained: who joins
    then hears of the fork all the same, and what is retained again is what is of use.
    """
    ward = world.add("ward")
    world.settle()
    key = ward.identity
    assert key is not None
    world.net.stop(world.stations.pop("ward"))
    one, other = Chain(key, ward.id), Chain(key, ward.id)
    world.founder.import_blocks([one.add([small_entry(1)]), other.add([small_entry(2)])])
    world.net.run(10)
    world.founder.rotate_transport_key()
    world.net.run(10)
    topics = [Topics(world.founder.id, each.key).proofs(feed_of(ward)) for each in world.founder.transport_keys]
    assert [topic in world.net.retained for topic in topics] == [True, True]
    world.net.retained.clear()
    newcomer = fresh_member(world, "newcomer", "auditor")
    settle(world, "founder", "newcomer")
    assert list(newcomer.forks) == [feed_of(ward)]
    assert [topic in world.net.retained for topic in topics] == [False, True]


def test_who_is_no_member_is_not_answered_under_an_old_key(world: World) -> None:
    """It is refused and counted, and no alarm."""
    ward = world.add("ward")
    world.add("clinic")
    world.settle()
    old = ward.transport_key
    assert old is not None
    world.net.leave(world.stations["ward"])
    world.founder.rotate_transport_key()
    settle(world, "founder", "clinic")
    topics, codec, nobody = Topics(ward.id, old.key), Codec(ward.id, old, Random(1)), Identity.generate()
    beacon = Beacon(bytes(16), 0, 0, bytes(8), True)
    frame = codec.seal_signed(topics.beacons, beacon, Origin(nobody.public_key, b"whatever", 0), nobody)
    world.net.inject(topics.beacons, frame)
    world.net.run(3)
    founder = world.stations["founder"]
    assert founder.node.counters["refused: a sender under an older key is no member here"] == 1
    assert founder.alarms == []


def test_a_signature_by_somebody_else_is_no_straggler(world: World) -> None:
    """Who holds an old key cannot speak for a member, nor as nobody's."""
    ward, clinic = world.add("ward"), world.add("clinic")
    world.settle()
    old = ward.transport_key
    assert old is not None
    world.founder.revoke(feed_of(ward))
    settle(world, "founder", "clinic")
    world.net.run(20)  # until the two have heard each other under the new key, and hails need no answer
    topics, codec = Topics(ward.id, old.key), Codec(ward.id, old, Random(1))
    beacon = Beacon(bytes(16), 0, 0, bytes(8), True)
    assert ward.identity is not None
    forged = codec.seal_signed(topics.beacons, beacon, Origin(feed_of(clinic), b"evilboot", 0), ward.identity)
    tap = Tap(world, ward)
    world.net.inject(topics.beacons, forged)
    world.net.run(3)
    assert not any(isinstance(message, Envelope) for _, message in tap.read())
    counters = world.stations["founder"].node.counters
    assert counters["refused: a frame is not signed by the sender it names"] == 1
    with pytest.raises(MedledgerError):
        ward.rotate_transport_key()
