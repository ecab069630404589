"""The manifest: what a bundle says it holds.

    manifest = [1, genesis, [[sha-256, size, blocks, [[feed, start, stop, id] ...]] ...], [fork proof ...]]

- A *span* is a run of one feed's blocks in a segment: from `start` to before `stop`, the last of which has this id. A
  segment holds its spans' blocks in that order. One without spans holds branches of governors' forked feeds.
- The spans of a feed continue each other from block 0 on, in the order of the segments. So the frontier is not said a
  second time: it is where each feed's last span ends.
- A reader who holds a feed to a span's end, with that id there, holds all of the span, since an id covers every block
  before it: the segment need not be fetched.
- A manifest proves nothing; it only tells a reader what to fetch, and what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from medledger import cbor
from medledger.errors import LimitError, MalformedError, NeedsNewerError, SchemaError
from medledger.limits import (
    BUNDLE_SEGMENT_BYTES,
    MAX_BUNDLE_SEGMENTS,
    MAX_BUNDLE_SPANS,
    MAX_FORK_PROOF_BYTES,
    MAX_GENESIS_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_SEQ,
)
from medledger.schema import Array, Bytes, Int, Tuple

VERSION: Final = 1
_MAX_ITEMS: Final = 2**16 + 5 * (MAX_BUNDLE_SEGMENTS + MAX_BUNDLE_SPANS) + 16
"""CBOR items of the largest manifest: its fork proofs, and a segment or a span with what is in it."""
_HARMLESS_BYTES: Final = 2**20
"""So few bytes cannot hold more items than memory has room for: about 100 bytes for each."""
MANIFEST_NAME: Final = "manifest.cbor"
SEGMENTS_NAME: Final = "segments"

_HASH: Final = Bytes(32)
_SPAN: Final = Tuple(_HASH, Int(0, MAX_SEQ), Int(1, MAX_SEQ + 1), _HASH)
_SPANS_PER_SEGMENT: Final = 2**16  # a block has over 128 bytes, so no segment can hold more
_SEGMENT: Final = Tuple(
    _HASH, Int(1, BUNDLE_SEGMENT_BYTES), Int(1, _SPANS_PER_SEGMENT), Array(_SPAN, 0, _SPANS_PER_SEGMENT)
)
_MANIFEST: Final = Tuple(
    Int(VERSION, VERSION),
    Bytes(1, MAX_GENESIS_BYTES),
    Array(_SEGMENT, 0, MAX_BUNDLE_SEGMENTS),
    Array(Bytes(1, MAX_FORK_PROOF_BYTES), 0, 2**16),
)


class Span(NamedTuple):
    """A feed's blocks from `start` to before `stop`; `id` is that of the last one."""

    feed: bytes
    start: int
    stop: int
    id: bytes


class Segment(NamedTuple):
    """A file of blocks: its SHA-256, by which it is named, its size in bytes, and what it holds."""

    hash: bytes
    size: int
    blocks: int
    spans: tuple[Span, ...]

    @property
    def name(self) -> str:
        """Where it lies in a bundle."""
        return f"{SEGMENTS_NAME}/{self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says it holds."""

    genesis: bytes
    segments: tuple[Segment, ...]
    fork_proofs: tuple[bytes, ...]

    @property
    def blocks(self) -> int:
        """In all segments."""
        return sum(segment.blocks for segment in self.segments)

    @property
    def size_bytes(self) -> int:
        """Of all segments."""
        return sum(segment.size for segment in self.segments)

    @property
    def spans(self) -> int:
        """In all segments."""
        return sum(len(segment.spans) for segment in self.segments)

    @property
    def frontier(self) -> dict[bytes, tuple[int, bytes]]:
        """(seq, id) of the last block of each feed."""
        return {span.feed: (span.stop - 1, span.id) for segment in self.segments for span in segment.spans}


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's one encoding. Raises `LimitError` where a reader would refuse it."""
    if manifest.spans > MAX_BUNDLE_SPANS:
        raise LimitError(f"a bundle of over {MAX_BUNDLE_SPANS} runs of blocks")
    segments = [
        [segment.hash, segment.size, segment.blocks, list(map(list, segment.spans))] for segment in manifest.segments
    ]
    raw = cbor.encode([VERSION, manifest.genesis, segments, list(manifest.fork_proofs)])
    if len(raw) > MAX_MANIFEST_BYTES:
        raise LimitError(f"a manifest of over {MAX_MANIFEST_BYTES} bytes")
    return raw


def decode_manifest(data: bytes) -> Manifest:
    """Raises `MalformedError` or `NeedsNewerError`."""
    if len(data) > _HARMLESS_BYTES:
        _check_items(data)
    parts = cbor.decode(data, max_size=MAX_MANIFEST_BYTES)
    if isinstance(parts, list) and parts and type(parts[0]) is int and parts[0] > VERSION:
        raise NeedsNewerError(f"a bundle of version {parts[0]}", hint="Update medledger.")
    try:
        _MANIFEST.check(parts, "manifest")
    except SchemaError as error:
        raise MalformedError(f"not a bundle's manifest: {error}") from error
    _, genesis, segments, proofs = parts
    manifest = Manifest(genesis, tuple(map(_segment, segments)), tuple(proofs))
    _check_spans(manifest)
    return manifest


def _check_items(data: bytes) -> None:
    """Refuse what would decode to more items than a manifest can have: 32 MB of small ones take gigabytes."""
    at = 0
    for _ in range(_MAX_ITEMS):
        if at >= len(data):
            return
        kind, info = data[at] >> 5, data[at] & 31
        end = at + 1 + (1 << info - 24 if 24 <= info <= 27 else 0)
        size = info if info < 24 else int.from_bytes(data[at + 1 : end], "big")
        at = end + (size if kind in (2, 3) else 0)  # byte strings and texts have their bytes behind their head
    raise LimitError("a manifest of more items than any bundle has")


def _segment(parts: list[Any]) -> Segment:
    digest, size, blocks, spans = parts
    return Segment(digest, size, blocks, tuple(Span(*span) for span in spans))


def _check_spans(manifest: Manifest) -> None:
    """That each feed's spans continue each other, and fill their segments."""
    if manifest.spans > MAX_BUNDLE_SPANS:
        raise LimitError(f"a manifest of over {MAX_BUNDLE_SPANS} runs of blocks")
    if len({segment.hash for segment in manifest.segments}) < len(manifest.segments):
        raise MalformedError("not a bundle's manifest: a segment is named twice")
    reached: dict[bytes, int] = {}
    for segment in manifest.segments:
        for span in segment.spans:
            if span.start != reached.get(span.feed, 0) or span.stop <= span.start:
                raise MalformedError("not a bundle's manifest: the runs of a feed do not continue each other")
            reached[span.feed] = span.stop
        if segment.spans and segment.blocks != sum(span.stop - span.start for span in segment.spans):
            raise MalformedError("not a bundle's manifest: a segment has not as many blocks as its runs")
