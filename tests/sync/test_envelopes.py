"""Envelopes, the bands of a keyring, and hails: the parts of gossip under several keys, by themselves."""

from __future__ import annotations

from random import Random

import pytest

from medledger import Identity, cbor
from medledger.errors import FrameError, SealError, UsageError
from medledger.keys import seal_to
from medledger.limits import (
    HAIL_MAX_SECONDS,
    MAX_BLOCK_BYTES,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_HELD_KEYS,
    MAX_INT,
)
from medledger.sync import Advanced, Connected, Node, Publish, Subscribe, Tick, WakeAt
from medledger.sync.envelopes import disclose, enclose
from medledger.sync.frames import Codec, Origin
from medledger.sync.keyring import Keyring
from medledger.sync.messages import Beacon, Data, Done, Envelope, Probe, Status
from medledger.sync.topics import Channel, Topics
from medledger.transport_key import TransportKey
from memory_replica import LEDGER_ID, MemoryReplica, identity

ME = identity("me")
DONE = Done(b"a nonce.", 1, Status.COMPLETE)


def keys(count: int) -> tuple[TransportKey, ...]:
    """So many transport keys."""
    return tuple(TransportKey(bytes([n]) * 32) for n in range(1, count + 1))


def test_what_is_enclosed_is_disclosed_to_its_addressee() -> None:
    """And to nobody else."""
    envelope = enclose(DONE, ME.kem_public_key, Random(1).randbytes)
    assert disclose(envelope, ME.unseal) == DONE
    with pytest.raises(FrameError, match="not sealed to our key"):
        disclose(envelope, Identity.generate().unseal)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02",
        bytes([Probe.KIND]) + cbor.encode([b"a nonce.", bytes(8), False, bytes(32), b""]),
        bytes([Envelope.KIND]) + cbor.encode([bytes(64)]),
        bytes([Done.KIND]),
        bytes([Done.KIND]) + cbor.encode({}),
        bytes([Done.KIND]) + cbor.encode([b"a nonce.", 1]),
        bytes([Done.KIND]) + cbor.encode([b"a nonce.", 1, 0]) + b"\0",
    ],
)
def test_what_may_not_be_in_an_envelope_is_refused(content: bytes) -> None:
    """Nothing, requests, envelopes, what cannot be read."""
    with pytest.raises(FrameError):
        disclose(Envelope(seal_to(ME.kem_public_key, content)), ME.unseal)


def test_the_largest_data_fits_a_frame_in_an_envelope() -> None:
    """Whatever the sender, counter and number of blocks."""
    for size in (MAX_BLOCK_BYTES, 100):
        blocks, left = [], MAX_DATA_BYTES
        while left > 3:
            blocks.append(bytes(min(size, left - 3)))
            left -= len(blocks[-1]) + 3
        data = Data(b"a nonce.", 15, 16, tuple(blocks))
        envelope = enclose(data, ME.kem_public_key, Random(1).randbytes)
        codec, topic = Codec(LEDGER_ID, keys(1)[0], Random(1)), Topics(LEDGER_ID, keys(1)[0].key).inbox(ME.public_key)
        frame = codec.seal_signed(topic, envelope, Origin(ME.public_key, bytes(8), MAX_INT), ME)
        assert len(frame) <= MAX_FRAME_BYTES
        opened = codec.open(topic, Channel.INBOX, frame).message
        assert isinstance(opened, Envelope)
        assert disclose(opened, ME.unseal) == data


def test_nothing_is_sealed_to_a_key_of_small_order() -> None:
    """It is an error, and no envelope that anybody opens."""
    with pytest.raises(SealError):
        enclose(DONE, bytes(31), Random(1).randbytes)


# --- bands --------------------------------------------------------------------------------------------------------


def test_a_topic_tells_its_band() -> None:
    """Of the keys that we hold; no other topic is read."""
    one, two, three = keys(3)
    keyring = Keyring(LEDGER_ID, ME.public_key, (one, two), Random(1))
    assert keyring.current.codec.key_id == two.id
    for key in (one, two):
        found = keyring.read(Topics(LEDGER_ID, key.key).beacons)
        assert found is not None
        assert found[0].codec.key_id == key.id
    for topic in (Topics(LEDGER_ID, three.key).beacons, Topics(bytes(32), one.key).beacons, "ml/1", "", "ml/1//s"):
        assert keyring.read(topic) is None


def test_bands_stay_while_their_keys_do() -> None:
    """Only a change of the key in use is told."""
    one, two, three = keys(3)
    keyring = Keyring(LEDGER_ID, ME.public_key, (two,), Random(1))
    before = keyring.current
    assert keyring.refresh((one, two)) is None
    assert keyring.current is before
    assert keyring.refresh((one, two, three)) is before
    assert keyring.older[0] is before
    assert len(keyring.filters()) == 5 + 2 * 2


def test_bands_are_bounded() -> None:
    """However many keys there are."""
    keyring = Keyring(LEDGER_ID, ME.public_key, keys(40), Random(1))
    assert len(keyring.older) == MAX_HELD_KEYS - 1
    with pytest.raises(UsageError):
        Keyring(LEDGER_ID, ME.public_key, (), Random(1))


# --- one node -----------------------------------------------------------------------------------------------------


def alone(held: int) -> tuple[MemoryReplica, Node]:
    """A node that nobody answers, with so many keys."""
    replica = MemoryReplica(ME, ME.public_key)
    replica.transport_keys = keys(held)
    return replica, Node(replica, rng=Random(1), boot_id=bytes(8), now=0.0)


def run(node: Node, seconds: float) -> list[Publish]:
    """What a node publishes by itself."""
    now, published = 0.0, []
    effects = node.handle(Connected(), now)
    while True:
        published += [each for each in effects if isinstance(each, Publish)]
        now = next(each.time for each in effects if isinstance(each, WakeAt))
        if now > seconds:
            return published
        effects = node.handle(Tick(), now)


@pytest.mark.parametrize("held", [1, 2, 16])
def test_hails_are_few(held: int) -> None:
    """An hour alone: under each older key a hail in 128 s at most."""
    _, node = alone(held)
    hours = run(node, 3600)
    for at, key in enumerate(reversed(keys(held))):
        topics = Topics(LEDGER_ID, key.key)
        heard = [each for each in hours if each.topic == topics.beacons]
        if at:
            assert 3600 / HAIL_MAX_SECONDS / 2 < len(heard) < 3600 / (HAIL_MAX_SECONDS / 2) + 10
            hail = Codec(LEDGER_ID, key, Random(1)).open(topics.beacons, Channel.BEACONS, heard[-1].payload).message
            assert isinstance(hail, Beacon)
            assert (hail.count, hail.total, hail.newest) == (0, 0, bytes(8))
            assert hail.root != node.frontier.root


def test_a_change_of_keys_changes_what_is_heard() -> None:
    """One effect says all that is wanted; what went before is said under the old key no more."""
    replica, node = alone(1)
    node.handle(Connected(), 0.0)
    one, two = keys(2)
    replica.transport_keys = (one, two)
    replica.enrol(identity("somebody").public_key)
    effects = node.handle(Advanced(ME.public_key, 0, 0), 10.0)
    [wanted] = [each.filters for each in effects if isinstance(each, Subscribe)]
    old, new = Topics(LEDGER_ID, one.key), Topics(LEDGER_ID, two.key)
    topics = {topic for topic, _ in wanted}
    assert {new.beacons, new.queries, new.all_live, new.all_proofs, new.inbox(ME.public_key)} <= topics
    assert {old.beacons, old.inbox(ME.public_key)} <= topics
    assert not {old.queries, old.all_live, old.all_proofs} & topics
    assert node.status(10.0)["transport_key"] == two.id.hex()
    assert node.status(10.0)["older_keys"] == 1
