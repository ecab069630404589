"""The validation core: numbered checks, the segment rule, and the fast path held against the slow one."""

from __future__ import annotations

import random
from collections import Counter
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forge import LEDGER_ID, Chain, head_of, make_block, small_entry
from medledger import block as b
from medledger import header as h
from medledger import keys, merkle, validation
from medledger.errors import (
    BlockError,
    BlockSignatureError,
    BodyError,
    DivergedError,
    Fault,
    GapError,
    MalformedBlockError,
    MedledgerError,
    RuleError,
)
from medledger.keys import Identity
from medledger.validation import validate_block, validate_range, validate_segment
from reference_validation import Refused, validate

ME = Identity.from_seed(bytes(range(32)))
OTHER = Identity.from_seed(bytes(range(1, 33)))
DIFFERENTIAL_CASES = 50_000


def accept_all(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Stands for libsodium in the differential test alone: what is compared is everything around it."""


# --- each check ---------------------------------------------------------------------------------------------------


def test_an_honest_chain_is_accepted() -> None:
    """Block by block, and as one segment, with the same result."""
    chain = Chain(ME).grow(10)
    whole = validate_segment(LEDGER_ID, ME.public_key, None, chain.raws)
    head = None
    for raw, bulk in zip(chain.raws, whole, strict=True):
        assert validate_block(LEDGER_ID, ME.public_key, head, raw) == bulk
        head = h.Head(bulk.seq, bulk.id, bulk.epoch)


def crooked() -> dict[str, tuple[type[BlockError], Fault, h.Head | None, bytes]]:
    """One crooked block for each check: name -> (error, whose fault, head, block)."""
    chain = Chain(ME).grow(2)
    head = chain.head
    entry = small_entry(7)
    good = make_block(ME, head, [entry])
    header, body = b.split_block(good)
    hidden = [b.Hidden(merkle.leaf_hash(entry))]
    relay, nobody, author = Fault.RELAY, Fault.NOBODY, Fault.AUTHOR
    return {
        "1 framing": (MalformedBlockError, relay, head, b"\x83" + good[1:]),
        "1 size": (MalformedBlockError, relay, head, good + bytes(70_000)),
        "1 trailing byte": (MalformedBlockError, relay, head, good + b"\x00"),
        "1 truncated": (MalformedBlockError, relay, head, good[:-1]),
        "2 untagged": (MalformedBlockError, relay, head, b.join_block(header[1:], body)),
        "3 another's": (MalformedBlockError, relay, head, make_block(OTHER, head, [entry])),
        "4 gap": (GapError, nobody, head, make_block(ME, head, [entry], seq=9)),
        "4 repeated": (GapError, nobody, head, chain.raws[-1]),
        "5 unlinked": (DivergedError, nobody, head, make_block(ME, head, [entry], prev=bytes(32))),
        "5 unlinked, unsigned": (
            BlockSignatureError,
            relay,
            head,
            make_block(ME, head, [entry], prev=bytes(32), sign=False),
        ),
        "6 epoch falls": (RuleError, author, head._replace(epoch=3), make_block(ME, head, [entry], epoch=2)),
        "7 count": (BodyError, relay, head, make_block(ME, head, [entry], entries_count=2)),
        "7 hidden governance": (
            BodyError,
            relay,
            head,
            make_block(ME, head, hidden, block_class=0, body_size=len(entry)),
        ),
        "8 root": (BodyError, relay, head, b.join_block(header, b.encode_body([small_entry(8)]))),
        "9 size": (BodyError, relay, head, make_block(ME, head, [entry], body_size=1)),
        "10 signature": (BlockSignatureError, relay, head, make_block(ME, head, [entry], sign=False)),
        "10 of another ledger": (BlockSignatureError, relay, head, make_block(ME, head, [entry], ledger_id=bytes(32))),
    }


@pytest.mark.parametrize("name", crooked())
def test_each_check_names_its_error_and_the_party_at_fault(name: str) -> None:
    """A block that fails one check is refused by that check's error."""
    error, fault, head, raw = crooked()[name]
    with pytest.raises(error) as caught:
        validate_block(LEDGER_ID, ME.public_key, head, raw)
    assert type(caught.value) is error
    assert caught.value.fault is fault
    assert caught.value.feed in (ME.public_key, None)


def test_a_data_entry_may_be_hidden_and_the_block_still_verifies() -> None:
    """The leaf hash takes its place; the size is then not checked, the root is."""
    entries = [small_entry(n) for n in range(3)]
    raw = make_block(ME, None, entries)
    header = b.split_block(raw)[0]
    body: list[bytes | b.Hidden] = [entries[0], b.Hidden(merkle.leaf_hash(entries[1])), entries[2]]
    accepted = validate_block(LEDGER_ID, ME.public_key, None, b.join_block(header, b.encode_body(body)))
    assert accepted.has_holes
    assert accepted.id == head_of(raw).id


# --- segments -----------------------------------------------------------------------------------------------------


def test_a_successor_vouches_for_a_block_whose_own_signature_fails() -> None:
    """Ids cover signatures, so one signature authenticates every byte before it."""
    chain = Chain(ME).grow(3)
    chain.add(sign=False)
    with pytest.raises(BlockSignatureError):
        validate_segment(LEDGER_ID, ME.public_key, None, chain.raws)
    chain.add()
    assert len(validate_segment(LEDGER_ID, ME.public_key, None, chain.raws)) == 5


def test_the_last_block_of_a_segment_must_verify_by_itself() -> None:
    """A block of seq 63 modulo 64 with a bad signature stops the feed, whatever follows it."""
    chain = Chain(ME).grow(63)
    chain.add(sign=False)
    chain.grow(5)
    accepted, error = validate_range(LEDGER_ID, ME.public_key, None, chain.raws)
    assert len(accepted) == 63
    assert isinstance(error, BlockSignatureError)
    assert error.seq == 63


def test_one_damaged_block_costs_only_what_lies_beyond_it() -> None:
    """The longest run that ends in a signature is accepted, and the error names the first block that is not."""
    chain = Chain(ME).grow(20)
    damaged = list(chain.raws)
    damaged[12] = damaged[12][:-1] + bytes([damaged[12][-1] ^ 1])
    accepted, error = validate_range(LEDGER_ID, ME.public_key, None, damaged)
    assert len(accepted) == 12
    assert isinstance(error, BodyError)
    assert error.seq == 12


@settings(max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=140), st.data())
def test_live_and_bulk_replicas_reach_the_same_verdict(signed: list[bool], data: st.DataObject) -> None:
    """However a feed is cut into ranges, and wherever an author's signatures fail, the same blocks are accepted.

    A live replica takes each block as it comes, and what it could not take comes again in a range with what followed.
    """
    chain = Chain(ME)
    for good in signed:
        chain.add(sign=good)
    bulk, _ = validate_range(LEDGER_ID, ME.public_key, None, chain.raws)
    head: h.Head | None = None
    held = 0
    reach = 0
    while reach < len(chain.raws):
        reach = min(len(chain.raws), reach + data.draw(st.integers(1, 64)))
        accepted, _ = validate_range(LEDGER_ID, ME.public_key, head, chain.raws[held:reach])
        if accepted:
            last = accepted[-1]
            head, held = h.Head(last.seq, last.id, last.epoch), held + len(accepted)
    assert held == len(bulk)
    assert (head is None) == (not bulk)
    assert head is None or head.id == bulk[-1].id


# --- the fast path against the slow one ----------------------------------------------------------------------------


def mutated(rng: random.Random, raw: bytes) -> bytes:
    """A block with one to three bytes flipped, inserted, removed, repeated, or moved."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(data))
        match rng.randrange(8):
            case 0 | 1 | 2:
                data[at] ^= 1 << rng.randrange(8)
            case 3:
                data[at] = rng.choice(
                    (0, 1, 0x17, 0x18, 0x19, 0x1B, 0x40, 0x58, 0x80, 0x81, 0x98, 0xA0, 0xF4, 0xF6, 0xFF)
                )
            case 4:
                data.insert(at, rng.randrange(256))
            case 5:
                del data[at]
            case 6:
                end = min(len(data), at + rng.randrange(1, 40))
                data[at:at] = data[at:end]
            case 7:
                del data[at : at + rng.randrange(1, 40)]
        if not data:
            return b""
    return bytes(data)


def test_fast_and_slow_validation_agree_on_every_mutation(rng: random.Random) -> None:
    """The same verdict on 50,000 mutated blocks, with the signature left out so that mutations reach every check."""
    templates: list[tuple[h.Head | None, bytes]] = []
    parents = tuple(h.Parent(bytes([n]) * 32, n << 20, bytes([n]) * 32) for n in (1, 2))
    for count in (1, 2, 3, 16, 30):
        chain = Chain(ME).grow(2)
        body: list[bytes | b.Hidden] = [small_entry(n) for n in range(count)]
        if count == 3:
            body[1] = b.Hidden(bytes(32))
        changes = {"parents": parents} if count == 2 else {}
        templates.append((None, Chain(ME).add(body, **changes)))
        templates.append((chain.head, chain.add(body, **changes)))
        templates.append((chain.head, chain.add(body, block_class=0, epoch=300)))
    verdicts: Counter[str] = Counter()
    with mock.patch.object(validation, "verify", accept_all):
        for case in range(DIFFERENTIAL_CASES):
            head, raw = templates[case % len(templates)]
            changed = mutated(rng, raw)
            try:
                slow = validate(LEDGER_ID, ME.public_key, head, changed, accept_all)
            except Refused:
                slow = None
            try:
                block = validate_block(LEDGER_ID, ME.public_key, head, changed)
                fast = (block.seq, block.id)
                verdicts["accepted"] += 1
            except MedledgerError as error:
                fast = None
                verdicts[type(error).__name__] += 1
            assert fast == slow, (case, head, changed.hex())
    assert verdicts["accepted"] > 100, verdicts  # mutations that pass: a changed time, clock or signature
    assert len(verdicts) >= 6, verdicts


def test_the_slow_reference_itself_checks_signatures() -> None:
    """It is only the stub that lets them pass."""
    raw = make_block(ME, None, [small_entry()], sign=False)
    validate(LEDGER_ID, ME.public_key, None, raw, accept_all)
    with pytest.raises(MedledgerError):
        validate(LEDGER_ID, ME.public_key, None, raw, keys.verify)
    validate(LEDGER_ID, ME.public_key, None, make_block(ME, None, [small_entry()]), keys.verify)
