"""What a replica holds, in a form that two replicas compare cheaply.

Rules:

- A leaf is what a replica holds of one feed: its length (the head's seq + 1), its head's id, and, where the feed is
  known to have forked, the fork's mark: the SHA-256 of the seq (8 bytes), the two smallest ids, and, where the feed is
  a governor's, the ids of the blocks held on its branches, in ascending order. Its bytes are the feed's 32, the length
  in 8 (big-endian), the id (32, or none of an empty feed) and the mark (32, or none).
- Feeds fall into 256 buckets by their first byte. A bucket's digest is the SHA-256 of its leaves' bytes in the order
  of their feeds; the root is the first 16 bytes of the SHA-256 of the 256 digests in order.
- Equal roots mean equal frontiers. Different ones cost 2 KiB of bucket digests (8 bytes each, empty ones left out) and
  the leaves of the buckets that differ, whatever the number of feeds.
- `missing` is a pure function of two height maps. Nothing here knows of peers, blocks or time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

BUCKETS: Final = 256
ROOT_BYTES: Final = 16
DIGEST_BYTES: Final = 8
PREFIX_BYTES: Final = 8
BITMAP_BYTES: Final = BUCKETS // 8

_EMPTY_DIGEST: Final = sha256(b"").digest()


class Head(Protocol):
    """The last block of a feed."""

    @property
    def seq(self) -> int: ...

    @property
    def id(self) -> bytes: ...


class Fork(Protocol):
    """Two blocks at one place of a feed."""

    @property
    def seq(self) -> int: ...

    @property
    def ids(self) -> tuple[bytes, bytes]: ...


class Height(NamedTuple):
    """What is held of a feed: its length, its head's id or a prefix of it, its fork's mark or a prefix of it."""

    length: int
    head: bytes
    fork: bytes = b""


EMPTY: Final = Height(0, b"")


class Missing(NamedTuple):
    """What to pull of one feed: blocks `start` to `stop` (not included), up to the block `head` begins the id of."""

    start: int
    stop: int
    head: bytes


def height(head: Head | None, fork: Fork | None = None, branches: Iterable[bytes] = ()) -> Height:
    """What a head, a fork proof and the ids of the blocks on a governor's branches say of a feed."""
    length, block_id = (0, b"") if head is None else (head.seq + 1, head.id)
    mark = b""
    if fork is not None:
        mark = sha256(b"".join((fork.seq.to_bytes(8, "big"), *fork.ids, *sorted(branches)))).digest()
    return Height(length, block_id, mark)


def missing(ours: Mapping[bytes, Height], theirs: Mapping[bytes, Height]) -> dict[bytes, Missing]:
    """The blocks that they hold and we lack, by feed.

    A feed of equal length and another head has split: its last block is asked for, to learn where. A feed that is
    shorter there is theirs to pull.
    """
    wanted: dict[bytes, Missing] = {}
    for feed, (length, head, _) in theirs.items():
        here = ours.get(feed, EMPTY)
        if length > here.length:
            wanted[feed] = Missing(here.length, length, head)
        elif length == here.length and length and not agree(here.head, head):
            wanted[feed] = Missing(length - 1, length, head)
    return wanted


def agree(one: bytes, other: bytes) -> bool:
    """Whether two ids or marks, each whole, a prefix, or none, can be the same."""
    return bool(one) == bool(other) and (one.startswith(other) or other.startswith(one))


class Frontier:
    """All leaves of a replica, their bucket digests and their root, kept up to date one feed at a time."""

    def __init__(self, heights: Mapping[bytes, Height] | None = None) -> None:
        self._buckets: list[dict[bytes, Height]] = [{} for _ in range(BUCKETS)]
        self._digests: list[bytes] = [_EMPTY_DIGEST] * BUCKETS
        self._stale: set[int] = set()
        self._root: bytes | None = None
        self.count = 0
        self.total = 0
        self.newest = bytes(PREFIX_BYTES)
        self.replace(heights or {})

    def update(self, feed: bytes, new: Height) -> bool:
        """Take over what is held of one feed now; true when that is news."""
        bucket = self._buckets[feed[0]]
        old = bucket.pop(feed, EMPTY)
        if new != EMPTY:
            bucket[feed] = new
        if old == new:
            return False
        self.count += (new != EMPTY) - (old != EMPTY)
        self.total += new.length - old.length
        if new.length:
            self.newest = new.head[:PREFIX_BYTES]
        self._stale.add(feed[0])
        self._root = None
        return True

    def replace(self, heights: Mapping[bytes, Height]) -> bool:
        """Take over everything at once; true when that is news."""
        gone = [feed for bucket in self._buckets for feed in bucket if feed not in heights]
        changed = [self.update(feed, EMPTY) for feed in gone]
        changed += [self.update(feed, new) for feed, new in heights.items()]
        return any(changed)

    def height(self, feed: bytes) -> Height:
        """What is held of `feed`, with whole ids."""
        return self._buckets[feed[0]].get(feed, EMPTY)

    def length(self, feed: bytes) -> int:
        """The number of blocks of `feed`."""
        return self.height(feed).length

    def size(self, bucket: int) -> int:
        """The number of feeds in one bucket."""
        return len(self._buckets[bucket])

    @property
    def root(self) -> bytes:
        """16 bytes that are equal exactly when the frontiers are."""
        if self._root is None:
            self._refresh()
            self._root = sha256(b"".join(self._digests)).digest()[:ROOT_BYTES]
        return self._root

    def digests(self) -> tuple[bytes, bytes]:
        """A bitmap of the buckets that are not empty, and 8 bytes of the digest of each of these, in order."""
        self._refresh()
        bitmap = bytearray(BITMAP_BYTES)
        parts = []
        for index, bucket in enumerate(self._buckets):
            if bucket:
                bitmap[index >> 3] |= 0x80 >> (index & 7)
                parts.append(self._digests[index][:DIGEST_BYTES])
        return bytes(bitmap), b"".join(parts)

    def differing(self, bitmap: bytes, digests: bytes) -> list[int]:
        """The buckets in which another frontier, given as its `digests`, is not ours."""
        self._refresh()
        found = []
        at = 0
        for index, ours in enumerate(self._digests):
            theirs = _EMPTY_DIGEST[:DIGEST_BYTES]
            if bitmap[index >> 3] & (0x80 >> (index & 7)):
                theirs = digests[at : at + DIGEST_BYTES]
                at += DIGEST_BYTES
            if ours[:DIGEST_BYTES] != theirs:
                found.append(index)
        return found

    def leaves(self, buckets: Iterable[int]) -> Iterator[tuple[bytes, Height]]:
        """What is held of each feed in these buckets, in the order of the feeds."""
        for index in buckets:
            yield from sorted(self._buckets[index].items())

    def _refresh(self) -> None:
        for index in self._stale:
            parts: list[bytes] = []
            for feed, (length, head, fork) in sorted(self._buckets[index].items()):
                parts += (feed, length.to_bytes(8, "big"), head, fork)
            self._digests[index] = sha256(b"".join(parts)).digest()
        self._stale.clear()


def count_bits(bitmap: bytes) -> int:
    """How many buckets a bitmap names."""
    return int.from_bytes(bitmap, "big").bit_count()
