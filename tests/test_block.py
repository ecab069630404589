"""Blocks: one encoding, whatever anybody changes in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge import Chain, make_block, small_entry
from medledger import block as b
from medledger import cbor
from medledger import header as h
from medledger.errors import LimitError, MalformedBlockError, MedledgerError, NewerBlockError, UsageError
from medledger.keys import Identity
from medledger.limits import MAX_BLOCK_BYTES, MAX_BODY_BYTES, MAX_ENTRIES_PER_BLOCK, MAX_INT, MAX_SEQ

ME = Identity.from_seed(bytes(range(32)))
HASH = st.binary(min_size=32, max_size=32)
UINT = st.integers(0, MAX_INT) | st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, MAX_INT])


@st.composite
def headers(draw: st.DrawFn) -> h.Header:
    """Any header within the ranges of version 1."""
    seq = draw(st.integers(0, MAX_SEQ))
    feeds = sorted(draw(st.sets(HASH.filter(lambda feed: feed != ME.public_key), max_size=8)))
    parents = tuple(h.Parent(feed, draw(st.integers(0, MAX_SEQ)), draw(HASH)) for feed in feeds)
    return h.Header(
        author=ME.public_key,
        seq=seq,
        prev=None if seq == 0 else draw(HASH),
        epoch=draw(UINT),
        block_class=draw(st.sampled_from([0, 1])),
        time=draw(UINT),
        clock=h.Clock(draw(UINT), draw(st.binary(min_size=8, max_size=8)), draw(st.integers(0, 255))),
        parents=parents,
        entries_root=draw(HASH),
        entries_count=draw(st.integers(1, MAX_ENTRIES_PER_BLOCK)),
        body_size=draw(st.integers(0, MAX_BODY_BYTES)),
    )


@given(headers(), st.binary(min_size=64, max_size=64))
def test_a_header_reads_back_as_it_was_written(header: h.Header, signature: bytes) -> None:
    """Round trip, for every header that version 1 allows; and the payload is deterministic CBOR."""
    payload = h.encode_payload(header)
    data = h.encode_header(payload, signature)
    assert h.parse_header(data) == (header, payload, signature)
    assert cbor.encode(cbor.decode(payload, max_size=2000)) == payload


@given(headers(), st.binary(min_size=64, max_size=64), st.data())
def test_no_byte_of_a_header_can_be_added_removed_or_lengthened(
    header: h.Header, signature: bytes, data: st.DataObject
) -> None:
    """Whatever is changed, the bytes are refused or are the encoding of what they now say."""
    encoded = bytearray(h.encode_header(h.encode_payload(header), signature))
    at = data.draw(st.integers(0, len(encoded) - 1))
    change = data.draw(st.sampled_from(["flip", "insert", "delete", "cut"]))
    if change == "flip":
        encoded[at] ^= data.draw(st.integers(1, 255))
    elif change == "insert":
        encoded.insert(at, data.draw(st.integers(0, 255)))
    elif change == "delete":
        del encoded[at]
    else:
        del encoded[at:]
    try:
        parsed, payload, signed = h.parse_header(bytes(encoded))
    except (MalformedBlockError, NewerBlockError):
        return
    assert h.encode_header(h.encode_payload(parsed), signed) == bytes(encoded)
    assert payload == h.encode_payload(parsed)


@given(st.lists(st.binary(max_size=300) | HASH.map(b.Hidden), min_size=1, max_size=40))
def test_a_body_reads_back_as_it_was_written(body: list[bytes | b.Hidden]) -> None:
    """Entries and hidden ones, in order, whatever their lengths."""
    encoded = b.encode_body(body)
    leaves, size, hidden = b.scan_body(encoded)
    assert b.split_body(encoded) == body
    assert len(leaves) == len(body)
    assert size == sum(len(item) for item in body if isinstance(item, bytes))
    assert hidden == sum(isinstance(item, b.Hidden) for item in body)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_with_our_errors(data: bytes) -> None:
    """No other exception, whatever comes in."""
    for parse in (b.parse_block, h.parse_header, b.scan_body):
        with pytest.raises(MedledgerError):
            parse(data)


@given(st.lists(st.binary(max_size=30) | HASH.map(b.Hidden), min_size=1, max_size=5), st.data())
def test_a_body_has_one_encoding(body: list[bytes | b.Hidden], data: st.DataObject) -> None:
    """A changed body is refused, or is itself exactly what the encoder writes for what it says."""
    encoded = bytearray(b.encode_body(body))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        b.scan_body(bytes(encoded))
    except MalformedBlockError:
        return
    assert b.encode_body(b.split_body(bytes(encoded))) == bytes(encoded)


@pytest.mark.parametrize(
    ("start", "replacement"),
    [("version", b"\x8d\x02"), ("algorithm", bytes.fromhex("d28443a10126a0")), ("extension", b"\xa1\x01\x01")],
)
def test_what_is_newer_is_not_called_malformed(start: str, replacement: bytes) -> None:
    """An unknown version, algorithm or extension asks for newer software, and is nobody's fault."""
    raw = make_block(ME, None, [small_entry()])
    header = b.split_block(raw)[0]
    payload = bytearray(h.parse_header(header)[1])
    if start == "version":
        payload[:2] = replacement
    elif start == "extension":
        payload[-1:] = replacement
    data = h.encode_header(bytes(payload), bytes(64))
    if start == "algorithm":
        data = replacement + data[7:]
    with pytest.raises(NewerBlockError) as caught:
        h.parse_header(data)
    assert caught.value.fault.value == "nobody"


def test_a_block_at_every_limit_fits_and_one_beyond_does_not() -> None:
    """The limits agree with each other: the largest body with the largest header is a legal block."""
    entries = [bytes(MAX_BODY_BYTES // MAX_ENTRIES_PER_BLOCK)] * MAX_ENTRIES_PER_BLOCK
    parents = tuple(h.Parent(bytes([n]) * 32, MAX_SEQ, bytes(32)) for n in range(8))
    raw = make_block(ME, None, entries, parents=parents, time=MAX_INT, epoch=MAX_INT)
    assert len(raw) <= MAX_BLOCK_BYTES
    assert b.parse_block(raw).header.parents == parents
    with pytest.raises(LimitError):
        b.check_body_limits([*entries, b""])
    with pytest.raises(LimitError):
        b.check_body_limits([bytes(MAX_BODY_BYTES + 1)])
    with pytest.raises(UsageError):
        b.check_body_limits([])
    with pytest.raises(LimitError):
        b.split_block(raw + bytes(MAX_BLOCK_BYTES))


def test_parents_are_sorted_distinct_and_of_other_feeds() -> None:
    """Anything else is not the one encoding."""
    one, two = h.Parent(b"\x01" * 32, 5, bytes(32)), h.Parent(b"\x02" * 32, 5, bytes(32))
    own = h.Parent(ME.public_key, 5, bytes(32))
    for parents in ((two, one), (one, one), (own,)):
        with pytest.raises(MalformedBlockError):
            b.parse_block(make_block(ME, None, [small_entry()], parents=parents))
    assert b.parse_block(make_block(ME, None, [small_entry()], parents=(one, two))).header.parents == (one, two)


def test_the_id_covers_the_signature() -> None:
    """Two blocks that differ in their signature alone have different ids."""
    assert b.parse_block(make_block(ME, None, [b"x"])).id != b.parse_block(make_block(ME, None, [b"x"], sign=False)).id


def test_a_block_keeps_the_bytes_it_came_from() -> None:
    """`raw` is what arrived."""
    for raw in Chain(ME).grow(3).raws:
        assert b.parse_block(raw).raw == raw
