"""Validation: which bytes are an author's next blocks. Pure, and the part that is tested for speed.

It authenticates bytes and never decodes an entry. What entries mean is a later pass that can only mark them void.

The unit of acceptance is a *segment*: consecutive blocks from a feed's head + 1 whose last block's own signature
verifies. Ids cover signatures, so that one signature authenticates every byte before it. A block whose seq is 63
modulo 64 must verify by its own signature, which bounds a segment to 64 blocks. The checks of a block, in order:

 (1) size and framing: at most MAX_BLOCK_BYTES, `[header, body]`
 (2) the header is in its one encoding, of a version, algorithm and extension known here
 (3) its author is the feed it came for
 (4) its seq is the head's + 1
 (5) its prev is the head's id
 (6) its epoch is not below the head's
 (7) the body has as many entries as the header says, nothing hidden in a control block
 (8) the entries' Merkle root is the header's
 (9) their lengths add up to the header's body_size, where nothing is hidden
(10) the author's signature stands behind it: its own, or a successor's within the segment

Nothing unauthenticated waits and nothing damaged accuses: until (10) has passed, an error's fault is the relay's or
nobody's. Where a block breaks (6) and yet verifies by its own signature, the author did it, and the error says so. A
block that breaks (5) is the author's where a signature stands behind it as in (10): then there is a fork to look for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from . import merkle
from .block import scan_body, split_block
from .errors import (
    BlockError,
    BlockSignatureError,
    BodyError,
    DivergedError,
    GapError,
    LimitError,
    MalformedBlockError,
    MedledgerError,
    RuleError,
    SignatureError,
)
from .header import (
    Before,
    BlockClass,
    Head,
    Header,
    encode_commitment,
    expect_next,
    parse_header,
    signed_message,
    signed_parts,
    signing_prefix,
)
from .keys import verify
from .limits import MAX_BLOCK_BYTES, MAX_BODY_BYTES, SEGMENT_BLOCKS


class ValidBlock(NamedTuple):
    """A block that passed, cut for the store: nothing in it needs parsing again."""

    seq: int
    id: bytes
    epoch: int
    block_class: int
    header_bytes: bytes
    body_bytes: bytes
    has_holes: bool


def validate_block(ledger_id: bytes, feed: bytes, head: Head | None, raw: bytes) -> ValidBlock:
    """One block that must stand by its own signature, as it arrives live.

    `head` is the feed's last block, None for an empty feed. Raises a `BlockError`; returns nothing unverified.
    """
    return validate_segment(ledger_id, feed, head, (raw,))[0]


def validate_segment(ledger_id: bytes, feed: bytes, head: Head | None, raws: Iterable[bytes]) -> list[ValidBlock]:
    """All of these blocks, or the error of the first that is refused."""
    accepted, error = validate_range(ledger_id, feed, head, list(raws))
    if error is not None:
        raise error
    return accepted


def validate_range(
    ledger_id: bytes, feed: bytes, head: Head | None, raws: Sequence[bytes]
) -> tuple[list[ValidBlock], BlockError | None]:
    """The longest run of these blocks that ends in a signature, and why the next one is refused.

    However a feed is cut into ranges, the same blocks end up accepted, which is why live and bulk replicas agree.
    """
    prefix = signing_prefix(ledger_id)
    before: Before | None = head
    accepted: list[ValidBlock] = []
    linked: list[ValidBlock] = []
    error: BlockError | None = None
    for raw in raws:
        try:
            block = (None if before is None else _usual(feed, before, raw)) or _check(prefix, feed, before, raw)
            if block.seq % SEGMENT_BLOCKS == SEGMENT_BLOCKS - 1:
                _verify(prefix, feed, block)  # (10) by its own
                accepted.extend(linked)
                accepted.append(block)
                linked.clear()
            else:
                linked.append(block)
        except DivergedError as refusal:
            authentic, _ = count_authentic(ledger_id, feed, raws[len(accepted) + len(linked) :])
            error = refusal if authentic else _unsigned(feed, refusal.seq)
            break
        except BlockError as refusal:
            error = refusal
            break
        before = block
    while linked:
        try:
            _verify(prefix, feed, linked[-1])  # (10) for all before it
        except BlockSignatureError as refusal:
            error = refusal
            linked.pop()
        else:
            accepted.extend(linked)
            break
    return accepted, error


def _usual(feed: bytes, head: Before, raw: bytes) -> ValidBlock | None:
    """Checks (1) to (9) by building the header that must be there, for the kind of block that nearly all are.

    None for any other, and for any that fails: then `_check` finds out, step by step, what is the matter.
    """
    if not 4 < len(raw) <= MAX_BLOCK_BYTES:
        return None
    start = raw[:2]
    if start == b"\x82\x58":
        at, end = 3, 3 + raw[2]
    elif start == b"\x82\x59" and raw[2]:
        at, end = 4, 4 + (raw[2] << 8 | raw[3])
    else:
        return None
    header_bytes, body_bytes = raw[at:end], raw[end:]
    if len(body_bytes) > 26 and body_bytes[:2] == b"\x81\x58" and body_bytes[2] == len(body_bytes) - 3:
        root, count, size = sha256(b"\x00" + body_bytes[3:]).digest(), 1, body_bytes[2]
    else:
        try:
            leaves, size, hidden = scan_body(body_bytes)
        except MalformedBlockError:
            return None
        if hidden or size > MAX_BODY_BYTES:
            return None
        root, count = merkle.root(leaves), len(leaves)
    block_class = expect_next(feed, head, encode_commitment(root, count, size), header_bytes)
    if block_class is None:
        return None
    block_id = sha256(header_bytes).digest()
    return ValidBlock(head.seq + 1, block_id, head.epoch, block_class, header_bytes, body_bytes, False)


def _check(prefix: bytes, feed: bytes, head: Before | None, raw: bytes) -> ValidBlock:
    """Checks (1) to (9), one after the other, each with its error; who made what breaks (5) is the caller's to find."""
    try:
        header_bytes, body_bytes = split_block(raw)  # (1)
    except LimitError as too_large:
        raise MalformedBlockError(str(too_large), feed=feed) from None
    header, payload, signature = parse_header(header_bytes)  # (2)
    seq = header.seq
    if header.author != feed:  # (3)
        raise MalformedBlockError("a block is of another feed than it came for", feed=feed, seq=seq)
    if seq != (0 if head is None else head.seq + 1):  # (4)
        raise GapError("a block does not follow the feed's head", feed=feed, seq=seq)
    if head is not None:
        if header.prev != head.id:  # (5)
            raise DivergedError("a signed block does not link to the block before it here", feed=feed, seq=seq)
        if header.epoch < head.epoch:  # (6)
            _verify_own(prefix, feed, seq, payload, signature)
            raise RuleError("a block's epoch is below that of the block before it", feed=feed, seq=seq)
    has_holes = check_body(header, body_bytes)
    return ValidBlock(
        seq, sha256(header_bytes).digest(), header.epoch, header.block_class, header_bytes, body_bytes, has_holes
    )


def check_body(header: Header, body_bytes: bytes) -> bool:
    """Checks (7) to (9): the body is the one the header commits to. True where entries are hidden.

    Raises `BodyError`, or `MalformedBlockError` where the body is not in its one encoding.
    """
    leaves, size, hidden = scan_body(body_bytes)
    if len(leaves) != header.entries_count:  # (7)
        raise BodyError("a body's number of entries is not the header's", feed=header.author, seq=header.seq)
    if hidden and header.block_class == BlockClass.CONTROL:  # (7)
        raise BodyError("an entry of a control block is hidden", feed=header.author, seq=header.seq)
    if merkle.root(leaves) != header.entries_root:  # (8)
        raise BodyError("a body's Merkle root is not the header's", feed=header.author, seq=header.seq)
    if not hidden and size != header.body_size:  # (9)
        raise BodyError("a body's size is not the header's", feed=header.author, seq=header.seq)
    return hidden > 0


def authenticate(ledger_id: bytes, feed: bytes, raw: bytes) -> Header:
    """That a block, wherever it may belong in its feed, carries its author's own signature. Its header; nothing else
    is checked. Raises a `BlockError`.
    """
    header, payload, signature = parse_header(split_block(raw)[0])
    if header.author != feed:
        raise MalformedBlockError("a block is of another feed than it came for", feed=feed, seq=header.seq)
    _verify_own(signing_prefix(ledger_id), feed, header.seq, payload, signature)
    return header


def count_authentic(ledger_id: bytes, feed: bytes, raws: Sequence[bytes]) -> tuple[int, int]:
    """How many of these blocks, from the first on, a signature of the author stands behind, wherever they belong.

    Each but the first follows the one before, in one segment; the second number is how many do, and were looked at.
    """
    prefix, chain = signing_prefix(ledger_id), []
    following: tuple[int, bytes | None] | None = None
    for raw in raws[:SEGMENT_BLOCKS]:
        try:
            header_bytes = split_block(raw)[0]
            header, payload, signature = parse_header(header_bytes)
        except MedledgerError:
            break
        if header.author != feed or following not in (None, (header.seq, header.prev)):
            break
        chain.append((header.seq, payload, signature))
        if header.seq % SEGMENT_BLOCKS == SEGMENT_BLOCKS - 1:
            break
        following = header.seq + 1, sha256(header_bytes).digest()
    looked = len(chain)
    while chain:
        try:
            _verify_own(prefix, feed, *chain[-1])
        except BlockSignatureError:
            chain.pop()
        else:
            break
    return len(chain), looked


def _verify(prefix: bytes, feed: bytes, block: ValidBlock) -> None:
    payload, signature = signed_parts(block.header_bytes)
    _verify_own(prefix, feed, block.seq, payload, signature)


def _verify_own(prefix: bytes, feed: bytes, seq: int, payload: bytes, signature: bytes) -> None:
    """Check (10) by the block's own signature."""
    try:
        verify(feed, signed_message(prefix, payload), signature)
    except SignatureError:
        raise _unsigned(feed, seq) from None


def _unsigned(feed: bytes, seq: int | None) -> BlockSignatureError:
    return BlockSignatureError("no signature of the author stands behind this block", feed=feed, seq=seq)
