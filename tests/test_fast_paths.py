"""The short ways through validation give what the long ones give, and honest input takes the short ones."""

from __future__ import annotations

import hashlib
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge import LEDGER_ID, Chain, small_entry
from medledger import block as b
from medledger import header as h
from medledger import validation
from medledger.keys import Identity
from medledger.limits import MAX_INT, MAX_SEQ

ME = Identity.from_seed(bytes(range(32)))
UINT = st.one_of(st.integers(0, 300), st.integers(0, 2**17), st.integers(0, 2**33), st.integers(0, MAX_INT))
HASH = st.binary(min_size=32, max_size=32)


def no_long_way(*_: object) -> None:
    """Stands for the step-by-step checks where a block must not need them."""
    raise AssertionError("an ordinary block went the long way")


@pytest.mark.parametrize("count", [1, 2, 16, 40])
def test_ordinary_blocks_take_the_short_way(count: int) -> None:
    """A block after its feed's first, in its epoch and without parents, is checked by building its header once."""
    chain = Chain(ME)
    for _ in range(70):
        chain.add([small_entry(n) for n in range(count)])
    first = validation.validate_segment(LEDGER_ID, ME.public_key, None, chain.raws[:1])[0]
    head = h.Head(first.seq, first.id, first.epoch)
    with mock.patch.object(validation, "_check", no_long_way):
        assert len(validation.validate_segment(LEDGER_ID, ME.public_key, head, chain.raws[1:])) == 69


@pytest.mark.parametrize("entries", [[small_entry(1)], [small_entry(1), small_entry(2)], [bytes(300)], [b"", b"x"]])
def test_both_ways_cut_the_same_block(entries: list[bytes]) -> None:
    """The short way's block is the long way's, field by field, for control and data and every clock."""
    for block_class in h.BlockClass:
        for number in (0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, MAX_INT):
            chain = Chain(ME).grow(1)
            clock = h.Clock(number, b"bootboot", number & 0xFF)
            raw = chain.branch(1).add(entries, block_class=block_class, time=number, clock=clock)
            quick = validation._usual(ME.public_key, chain.head, raw)
            assert quick is not None
            assert quick == validation._check(h.signing_prefix(LEDGER_ID), ME.public_key, chain.head, raw)


def test_every_flipped_bit_is_refused_or_taken_alike() -> None:
    """What the short way takes, the long way takes too, with the same block: for each bit of a block, and each byte
    removed or doubled.
    """
    chain = Chain(ME).grow(1)
    raw = chain.branch(1).add([small_entry(3)])
    changed = [raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :] for at in range(len(raw)) for bit in range(8)]
    changed += [raw[:at] + raw[at + 1 :] for at in range(len(raw))]
    changed += [raw[:at] + raw[at : at + 1] + raw[at:] for at in range(len(raw))]
    changed += [raw[:at] for at in range(len(raw))]
    taken = 0
    for data in changed:
        quick = validation._usual(ME.public_key, chain.head, data)
        if quick is not None:
            taken += 1
            assert quick == validation._check(h.signing_prefix(LEDGER_ID), ME.public_key, chain.head, data)
    assert taken > 500  # flips within the signature, and within the claims that nothing but it covers


def test_long_integers_never_pass_the_short_way() -> None:
    """An integer in more bytes than it needs, wherever it stands in the header, is left to the long way to refuse."""
    chain = Chain(ME).grow(1)
    head = chain.head
    assert head is not None
    data = b.split_block(chain.add([small_entry(1)]))[0]
    header, payload, signature = h.parse_header(data)
    commitment = h.encode_commitment(header.entries_root, header.entries_count, header.body_size)
    assert h.expect_next(ME.public_key, head, commitment, data) == header.block_class
    for small in (b"\x00", b"\x01", b"\x17", b"\x18\x2a", b"\x19\x03\xe8"):
        longer = {1: b"\x18" + small, 2: b"\x19\x00" + small[1:], 3: b"\x1a\x00\x00" + small[1:]}[len(small)]
        for at in range(len(payload)):
            if payload[at : at + len(small)] == small:
                other = h.encode_header(payload[:at] + longer + payload[at + len(small) :], signature)
                if h.expect_next(ME.public_key, head, commitment, other) is not None:
                    h.parse_header(other)  # raises where that was not the one encoding


@given(
    seq=st.integers(0, MAX_SEQ), prev=HASH, epoch=UINT, block_class=st.integers(0, 1), time=UINT, parents=st.booleans()
)
def test_fields_are_read_in_place(
    seq: int, prev: bytes, epoch: int, block_class: int, time: int, parents: bool
) -> None:
    """Class, epoch, payload and signature of header bytes are the ones that parsing them gives."""
    others = (h.Parent(b"p" * 32, 7, b"i" * 32),) * parents
    header = h.Header(
        ME.public_key, seq, prev if seq else None, epoch, block_class, time, h.Clock(1, b"bootboot", 1), others,
        hashlib.sha256(b"").digest(), 1, 1,
    )  # fmt: skip
    data = h.encode_header(h.encode_payload(header), b"s" * 64)
    parsed, payload, signature = h.parse_header(data)
    assert parsed == header
    assert h.class_and_epoch(data) == (block_class, epoch)
    assert h.signed_parts(data) == (payload, signature)


@given(st.binary(max_size=400))
def test_noise_never_raises_on_the_short_way(data: bytes) -> None:
    """Whatever the bytes, the short way answers None."""
    head = h.Head(3, bytes(32), 0)
    for raw in (data, b"\x82\x58" + data, b"\x82\x59" + data):
        assert validation._usual(ME.public_key, head, raw) is None
