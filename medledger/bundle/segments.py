"""Segments: blocks packed into files of at most 8 MiB, and taken out again.

segment = a CBOR sequence (RFC 8742) of byte strings, each an encoded block
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple

from medledger import cbor
from medledger.block import split_block
from medledger.errors import BlockError, MalformedError
from medledger.importing import claimed_place
from medledger.limits import BUNDLE_SEGMENT_BYTES, MAX_BLOCK_BYTES

from .manifest import Segment, Span
from .replica import Replica


class Run(NamedTuple):
    """Blocks of one feed that follow each other, the first of which is number `start`; of no feed: branches."""

    feed: bytes | None
    start: int
    raws: Iterable[bytes]


class Packed(NamedTuple):
    """A segment and its bytes."""

    segment: Segment
    data: bytes


def pack(runs: Iterable[Run]) -> Iterator[Packed]:
    """The blocks as segments, one in memory at a time. Branches begin a segment of their own."""
    packer = _Packer()
    for run in runs:
        if run.feed is None:
            yield from packer.close()
        seq = run.start
        for raw in run.raws:
            item = cbor.encode_bytes(raw)
            if packer.size + len(item) > BUNDLE_SEGMENT_BYTES:
                yield from packer.close()
            packer.add(run.feed, seq, raw, item)
            seq += 1
    yield from packer.close()


class _Packer:
    """The segment that is being filled."""

    def __init__(self) -> None:
        self.size = 0
        self._items: list[bytes] = []
        self._spans: list[Span] = []
        self._open: tuple[bytes, int, int, bytes] | None = None  # feed, start, last seq and last block of the last span

    def add(self, feed: bytes | None, seq: int, raw: bytes, item: bytes) -> None:
        self._items.append(item)
        self.size += len(item)
        if feed is None:
            return
        if self._open is not None and self._open[0] == feed:
            self._open = (feed, self._open[1], seq, raw)
        else:
            self._end_span()
            self._open = (feed, seq, seq, raw)

    def close(self) -> Iterator[Packed]:
        """What is in it, if anything; and begin another."""
        if not self._items:
            return
        self._end_span()
        data = b"".join(self._items)
        segment = Segment(sha256(data).digest(), len(data), len(self._items), tuple(self._spans))
        self._items, self._spans, self.size = [], [], 0
        yield Packed(segment, data)

    def _end_span(self) -> None:
        if self._open is not None:
            feed, start, last, raw = self._open
            self._spans.append(Span(feed, start, last + 1, block_id(raw)))
            self._open = None


def block_id(raw: bytes) -> bytes:
    """The id that an encoded block has, should it be valid."""
    return sha256(split_block(raw)[0]).digest()


def holds(replica: Replica, span: Span) -> bool:
    """Whether a replica holds a feed to the end of a span, with the block there that the span names."""
    head = replica.head(span.feed)
    if head is None or head.seq < span.stop - 1:
        return False
    if head.seq == span.stop - 1:
        return head.id == span.id
    return any(block_id(raw) == span.id for raw in replica.raw_blocks(span.feed, span.stop - 1, span.stop))


def split_segment(data: bytes) -> Iterator[bytes]:
    """The encoded blocks in a segment. Raises `MalformedError`."""
    at = 0
    while at < len(data):
        head = data[at]
        width = {0x58: 1, 0x59: 2, 0x5A: 4}.get(head, 0)
        start = at + 1 + width
        length = int.from_bytes(data[at + 1 : start], "big")
        if not width or not 0 < length <= MAX_BLOCK_BYTES or start + length > len(data):
            raise MalformedError("a segment is not a sequence of byte strings, each a block")
        at = start + length
        yield data[start:at]


def difference(segment: Segment, raws: Iterable[bytes]) -> str | None:
    """How the blocks of a segment differ from what the manifest says of it; None where they do not."""
    places = ((span.feed, seq, span) for span in segment.spans for seq in range(span.start, span.stop))
    count = 0
    for count, raw in enumerate(raws, 1):  # noqa: B007 - the count after the loop is meant
        try:
            author, seq = claimed_place(raw)
            if not segment.spans:
                continue
            expected = next(places, None)
            if expected is None:
                return f"more than the {segment.blocks} blocks of its list"
            if (author, seq) != expected[:2]:
                return f"another block in place of {expected[0].hex()[:8]}/{expected[1]}"
            span = expected[2]
            if seq + 1 == span.stop and block_id(raw) != span.id:
                return f"another block {author.hex()[:8]}/{seq} than the one it names"
        except (BlockError, MalformedError) as error:
            return f"something that is no block: {error}"
    return None if count == segment.blocks else f"{count} blocks and not {segment.blocks}"
