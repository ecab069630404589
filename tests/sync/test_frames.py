"""Frames: what is sealed opens for its topic and says the same; whatever is wrong with one gets a FrameError."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger import cbor
from medledger.errors import FrameError, UsageError
from medledger.keys import Identity
from medledger.limits import (
    BRANCH_IDS_PER_REQUEST,
    LEAVES_PER_PAGE,
    MAX_BEACON_BYTES,
    MAX_BLOCK_BYTES,
    MAX_DATA_BYTES,
    MAX_EXCLUDED,
    MAX_FRAME_BYTES,
    MAX_INT,
    MAX_QUERY_BYTES,
    MAX_SEQ,
    PULL_FRAMES_MAX,
    RANGES_PER_WANT,
)
from medledger.sync.frames import KINDS, Codec, Frame, Origin
from medledger.sync.frontier import BUCKETS, Frontier, Height
from medledger.sync.messages import (
    Beacon,
    Blocks,
    Claim,
    Data,
    Done,
    Gone,
    Kind,
    Leaf,
    Leaves,
    Message,
    Probe,
    Proof,
    Query,
    Range,
    Status,
    Want,
    WantBranches,
    salted,
)
from medledger.sync.topics import Channel, Topics
from medledger.transport_key import TransportKey

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
LEDGER_ID = b"L" * 32
KEY = TransportKey(b"k" * 32)
SIGNER = Identity.from_seed(b"s" * 32)
TOPICS = Topics(LEDGER_ID, KEY.key)
ORIGIN = Origin(SIGNER.public_key, b"boot-id!", 0)
CHANNELS = {
    Beacon: Channel.BEACONS,
    Gone: Channel.BEACONS,
    Query: Channel.QUERIES,
    Claim: Channel.QUERIES,
    Blocks: Channel.LIVE,
    Proof: Channel.PROOFS,
}


def codec(ledger_id: bytes = LEDGER_ID, key: TransportKey = KEY) -> Codec:
    """A codec of the tests' ledger and key."""
    return Codec(ledger_id, key, Random(1))


def place(message: Message) -> tuple[str, Channel]:
    """Where a message belongs."""
    channel = CHANNELS.get(type(message), Channel.INBOX)
    if isinstance(message, Blocks | Proof):
        return (TOPICS.live if isinstance(message, Blocks) else TOPICS.proofs)(message.feed), channel
    shared = {Channel.BEACONS: TOPICS.beacons, Channel.QUERIES: TOPICS.queries}
    return shared.get(channel, TOPICS.inbox(b"p" * 32)), channel


def seal(message: Message, *, origin: Origin = ORIGIN, by: Codec | None = None, topic: str | None = None) -> bytes:
    """A message as a frame for where it belongs."""
    topic = place(message)[0] if topic is None else topic
    by = by or codec()
    return by.seal_signed(topic, message, origin, SIGNER) if message.KIND.signed else by.seal(topic, message)


def open_frame(message: Message, frame: bytes) -> Frame:
    """Open a frame where a message belongs, and check its signature."""
    topic, channel = place(message)
    opened = codec().open(topic, channel, frame)
    codec().check_signature(opened)
    return opened


# --- what the messages may be, for fuzzing ---------------------------------------------------------------------------

uints = st.integers(0, 2**32 - 1)
prefixes = st.binary(min_size=8, max_size=8)
ids = st.binary(min_size=32, max_size=32)
leaves = st.builds(
    Leaf,
    st.one_of(prefixes, ids),
    st.integers(1, MAX_SEQ + 1),
    st.one_of(prefixes, ids),
    st.sampled_from([b"", b"f" * 8]),
)
ranges = st.integers(1, MAX_SEQ + 1).flatmap(
    lambda stop: st.builds(Range, ids, st.integers(0, stop - 1), st.just(stop), st.binary(max_size=32))
)
blocks = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20).map(tuple)
heights = st.builds(Height, st.integers(1, MAX_SEQ + 1), ids, st.one_of(st.just(b""), ids))
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Beacon, st.binary(min_size=16, max_size=16), uints, uints, prefixes, st.booleans()),
    st.dictionaries(ids, heights, max_size=20).flatmap(
        lambda held: st.builds(
            lambda nonce, full: Probe(nonce, b"boot-id!", full, *Frontier(held).digests()), prefixes, st.booleans()
        )
    ),
    st.builds(Leaves, prefixes, st.just(2), st.just(5), st.lists(leaves, max_size=20).map(tuple)),
    st.builds(
        Want,
        prefixes,
        prefixes,
        st.integers(1, PULL_FRAMES_MAX),
        st.integers(1, PULL_FRAMES_MAX * MAX_DATA_BYTES),
        st.lists(ranges, min_size=1, max_size=20).map(tuple),
    ),
    st.builds(
        WantBranches,
        prefixes,
        prefixes,
        st.integers(1, PULL_FRAMES_MAX),
        st.integers(1, PULL_FRAMES_MAX * MAX_DATA_BYTES),
        ids,
        st.binary(max_size=40),
        st.binary(max_size=40),
        st.lists(prefixes, max_size=20).map(b"".join),
    ),
    st.builds(Data, prefixes, st.just(1), st.just(3), blocks),
    st.builds(Done, prefixes, st.integers(0, PULL_FRAMES_MAX), st.sampled_from(Status)),
    st.builds(Gone),
    st.builds(
        Query,
        prefixes,
        st.lists(ranges, min_size=1, max_size=20).map(tuple),
        st.lists(prefixes, max_size=MAX_EXCLUDED).map(b"".join),
    ),
    st.builds(Claim, prefixes, st.binary(min_size=8, max_size=8).filter(any)),
    st.builds(Blocks, ids, blocks),
    st.builds(Proof, ids, st.binary(min_size=1, max_size=2000)),
)


# --- honest frames ---------------------------------------------------------------------------------------------------


@given(messages, st.integers(0, MAX_INT))
def test_what_is_sealed_opens_and_says_the_same(message: Message, counter: int) -> None:
    """Opening gives the message and, of a signed one, its sender, boot and counter."""
    origin = ORIGIN._replace(counter=counter)
    opened = open_frame(message, seal(message, origin=origin))
    assert opened.message == message
    assert opened.origin == (origin if message.KIND.signed else None)


@pytest.mark.parametrize("path", sorted((VECTORS / "frames").glob("*.json")), ids=lambda path: path.stem)
def test_vectors(path: Path) -> None:
    """Each recorded frame opens, or gets the error that it is recorded with."""
    vector = json.loads(path.read_text())
    by = codec(bytes.fromhex(vector["ledger_id"]), TransportKey(bytes.fromhex(vector["transport_key"])))
    address = Topics(bytes.fromhex(vector["ledger_id"]), bytes.fromhex(vector["transport_key"])).read(vector["topic"])
    assert address is not None
    frame = bytes.fromhex(vector["frame"])
    if vector["error"] is None:
        by.check_signature(by.open(vector["topic"], address.channel, frame))
        return
    with pytest.raises(FrameError, match=vector["error"]):
        by.check_signature(by.open(vector["topic"], address.channel, frame))


def test_the_vectors_are_those_that_the_generator_writes() -> None:
    """The format has not changed unnoticed: generating the vectors again gives the same files."""
    generator = load(VECTORS / "make_frames.py")
    recorded = {path.stem: json.loads(path.read_text()) for path in (VECTORS / "frames").glob("*.json")}
    assert {each["name"]: each for each in generator.vectors()} == recorded


def load(path: Path) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- sizes -----------------------------------------------------------------------------------------------------------


def test_a_beacon_never_takes_more_than_200_bytes() -> None:
    """Sealed and signed, whatever the counter and however much the replica holds."""
    largest = Beacon(b"r" * 16, 2**32 - 1, 2**62, b"n" * 8, answer=True)
    assert len(seal(largest, origin=ORIGIN._replace(counter=MAX_INT))) <= MAX_BEACON_BYTES


def test_the_largest_query_fits_its_channel() -> None:
    """64 ranges with whole ids, the highest numbers, and all peers excluded that may be."""
    ranges = (Range(b"f" * 32, MAX_SEQ, MAX_SEQ + 1, b"h" * 32),) * RANGES_PER_WANT
    largest = Query(b"n" * 8, ranges, bytes(8 * MAX_EXCLUDED))
    frame = seal(largest, origin=ORIGIN._replace(counter=MAX_INT))
    assert len(frame) <= MAX_QUERY_BYTES
    assert open_frame(largest, frame).message == largest


def test_the_largest_of_each_kind_fits_its_frame() -> None:
    """A full frame of data, the largest single block, a page of whole ids and a full probe are within the limit."""
    small = 200
    full = Data(b"n" * 8, 15, 16, (bytes(small),) * (MAX_DATA_BYTES // (small + 3)))
    page = Leaves(b"n" * 8, 127, 128, (Leaf(b"f" * 32, MAX_SEQ, b"h" * 32, b"m" * 32),) * LEAVES_PER_PAGE)
    everything = Frontier({bytes((bucket,)) + bytes(31): Height(1, bytes(32)) for bucket in range(BUCKETS)})
    probe = Probe(b"n" * 8, b"b" * 8, True, *everything.digests())
    held = b"".join(salted(b"n" * 8, bytes(32)) for _ in range(BRANCH_IDS_PER_REQUEST))
    branches = WantBranches(b"n" * 8, b"b" * 8, 16, 2**20, b"f" * 32, b"l" * 40, b"h" * 40, held)
    for message in (full, page, probe, branches, Blocks(b"f" * 32, (bytes(MAX_BLOCK_BYTES),))):
        frame = seal(message, origin=ORIGIN._replace(counter=MAX_INT))
        assert len(frame) <= MAX_FRAME_BYTES
        assert open_frame(message, frame).message == message


# --- frames that are wrong -------------------------------------------------------------------------------------------


@given(messages, st.data())
def test_a_frame_damaged_anywhere_does_not_open(message: Message, data: st.DataObject) -> None:
    """Any byte changed, cut off or added is a FrameError, whatever the frame says."""
    frame = seal(message)
    at = data.draw(st.integers(0, len(frame) - 1))
    change = data.draw(st.integers(1, 255))
    for damaged in (frame[:at] + bytes((frame[at] ^ change,)) + frame[at + 1 :], frame[:at], frame + b"\0"):
        with pytest.raises(FrameError):
            open_frame(message, damaged)


@given(messages, messages)
def test_a_frame_opens_for_its_own_topic_only(message: Message, other: Message) -> None:
    """Misrouted by a broker, to another topic of the same ledger, a frame does not open."""
    topic, channel = place(other)
    if topic == place(message)[0]:
        topic = TOPICS.inbox(b"q" * 32)
    with pytest.raises(FrameError):
        codec().open(topic, channel, seal(message))


def test_a_member_cannot_pass_on_what_was_said_to_it() -> None:
    """A signature covers the topic: sealed again for another inbox by a member, a want is not the sender's any more."""
    message = Want(b"n" * 8, b"b" * 8, 1, 1000, (Range(b"f" * 32, 0, 1, b""),))
    opened = open_frame(message, seal(message))
    elsewhere = TOPICS.inbox(b"q" * 32)
    resealed = codec()._seal(
        elsewhere, bytes((Kind.WANT,)) + opened.signature + cbor.encode([*ORIGIN, *message.body()])
    )
    again = codec().open(elsewhere, Channel.INBOX, resealed)
    assert again.message == message
    with pytest.raises(FrameError, match="not signed"):
        codec().check_signature(again)


@given(st.binary(max_size=300))
def test_noise_is_a_frame_error(noise: bytes) -> None:
    """Arbitrary bytes on any channel, with or without our key's id in front."""
    for channel in Channel:
        for frame in (noise, KEY.id + noise):
            with pytest.raises(FrameError):
                codec().open(TOPICS.beacons, channel, frame)


_items: Any = st.recursive(
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), st.text(max_size=8), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)


@given(st.sampled_from(Kind), st.lists(_items, max_size=9), st.booleans())
def test_a_member_that_seals_nonsense_gets_a_frame_error(kind: Kind, items: list[Any], named: bool) -> None:
    """Well sealed, fields of any other form than the kind's are refused, and nothing escapes as another error."""
    topic, channel = TOPICS.beacons, next(channel for channel, kinds in KINDS.items() if kind in kinds)
    body = cbor.encode([*ORIGIN, *items] if named and kind.signed else items)
    plaintext = bytes((kind,)) + (bytes(64) if kind.signed else b"") + body
    frame = codec()._seal(topic, plaintext)
    try:
        codec().check_signature(codec().open(topic, channel, frame))
    except FrameError:
        return
    assert not kind.signed  # bare kinds have little form: nonsense of the right form is the replica's to refuse


@pytest.mark.parametrize("body", [b"", b"\xff", b"\x80", b"\xa0", b"\x9f\xff", b"\x82\x01", b"\x1b" + bytes(8)])
def test_bad_cbor_is_a_frame_error(body: bytes) -> None:
    """Empty, cut short, indefinite, no list, too few items."""
    for kind in (Kind.BEACON, Kind.BLOCKS):
        channel = Channel.BEACONS if kind is Kind.BEACON else Channel.LIVE
        plaintext = bytes((kind,)) + (bytes(64) if kind.signed else b"") + body
        with pytest.raises(FrameError):
            codec().open(TOPICS.beacons, channel, codec()._seal(TOPICS.beacons, plaintext))


def test_an_empty_plaintext_is_a_frame_error() -> None:
    """Sealed, and nothing in it."""
    with pytest.raises(FrameError, match="size"):
        codec().open(TOPICS.beacons, Channel.BEACONS, codec()._seal(TOPICS.beacons, b""))


def test_a_key_of_another_form_is_refused() -> None:
    """A transport key whose id is not four bytes is the caller's mistake."""

    class Key:
        id = b"too long"
        key = b"k" * 32

    with pytest.raises(UsageError):
        Codec(LEDGER_ID, Key(), Random(1))


# --- topics ----------------------------------------------------------------------------------------------------------


def test_topics_name_nobody() -> None:
    """No part of a ledger's, feed's or peer's id stands in a topic, and another key gives other topics."""
    feed = b"\xab" * 32
    for topic in (TOPICS.live(feed), TOPICS.inbox(feed), TOPICS.proofs(feed), TOPICS.beacons):
        assert feed.hex()[:8] not in topic
        assert LEDGER_ID.hex()[:8] not in topic
    assert Topics(LEDGER_ID, b"other key" * 3).live(feed) != TOPICS.live(feed)
    assert TOPICS.live(feed).split("/")[-1] != TOPICS.inbox(feed).split("/")[-1]


def test_topics_are_read_back() -> None:
    """A topic of the ledger gives its channel and token; anything else gives nothing."""
    feed = b"f" * 32
    address = TOPICS.read(TOPICS.live(feed))
    assert address is not None
    assert (address.channel, address.token) == (Channel.LIVE, TOPICS.feed_token(feed))
    prefix = TOPICS.beacons[:-1]
    for wrong in ("", "ml/1", "ml/1/x/s", prefix, prefix + "x", prefix + "b", prefix + "b/short", prefix + "s/more"):
        assert TOPICS.read(wrong) is None
