"""What peers say to each other: one class for each kind of frame, and what its fields may be.

Rules:

- A message is a deterministic CBOR array of exactly the fields below, in order; anything else is a `FrameError`.
- All but blocks and proofs are *signed* by who sends them: members share the transport key and need not trust each
  other. Blocks and proofs are *bare*: the signatures inside them say all there is to say, and a retained proof must
  still be good when its publisher's boot is long over.
- What answers a request carries the request's nonce, so that an old answer answers nothing. A request to one peer names
  the boot it is meant for, so that an old request asks nobody.
- Reading checks forms and limits only. Whether a thing is true is for others to find out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from medledger.errors import FrameError
from medledger.limits import (
    BRANCH_IDS_PER_REQUEST,
    LEAVES_PER_PAGE,
    MAX_BLOCK_BYTES,
    MAX_DATA_BYTES,
    MAX_EXCLUDED,
    MAX_FORK_PROOF_BYTES,
    MAX_FRAME_BYTES,
    MAX_LEAF_PAGES,
    MAX_SEQ,
    PULL_FRAMES_MAX,
    RANGES_PER_WANT,
)

from .fields import fields, flag, listed, octets, uint
from .frontier import BITMAP_BYTES, DIGEST_BYTES, PREFIX_BYTES, ROOT_BYTES, count_bits

NONCE_BYTES: Final = 8
BOOT_BYTES: Final = 8
KEY_BYTES: Final = 32
ID_BYTES: Final = 32
COUNT_MAX: Final = 2**32 - 1
SALTED_BYTES: Final = 8
PLACE_BYTES: Final = 8 + ID_BYTES
MIN_ENVELOPE_BYTES: Final = 48 + 2  # a sealed box, around a kind and an empty list
CLAIMED_BYTES: Final = RANGES_PER_WANT // 8


class Kind(IntEnum):
    """The first byte of an opened frame. From 16 on, frames are bare."""

    BEACON = 1
    PROBE = 2
    LEAVES = 3
    WANT = 4
    DATA = 5
    DONE = 6
    WANT_BRANCHES = 7
    GONE = 8
    QUERY = 9
    CLAIM = 10
    ENVELOPE = 11
    BLOCKS = 16
    PROOF = 17

    @property
    def signed(self) -> bool:
        return self < Kind.BLOCKS


class Status(IntEnum):
    """How serving a want ended."""

    COMPLETE = 0  # every range was served as far as the responder has it
    MORE = 1  # the credit ended before the ranges did
    BUSY = 2  # nothing was served: ask again later, or somebody else


class Leaf(NamedTuple):
    """One feed of a frontier: ids as 8-byte prefixes, or whole where these do not tell two apart."""

    feed: bytes
    length: int
    head: bytes  # empty for an empty feed
    fork: bytes  # empty for a feed not known to have forked


class Range(NamedTuple):
    """Blocks `start` to `stop` (not included) of a feed; `head`, where known, begins the id of block `stop - 1`."""

    feed: bytes
    start: int
    stop: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Beacon:
    """What a replica holds, in a few bytes, to all."""

    KIND: ClassVar = Kind.BEACON
    root: bytes
    count: int  # feeds
    total: int  # blocks, at most 2^32 - 1 is told
    newest: bytes  # prefix of the id of the head that changed last
    answer: bool  # "I have just connected and heard nobody": tell me soon where you stand

    def body(self) -> list[Any]:
        return [self.root, self.count, min(self.total, COUNT_MAX), self.newest, self.answer]

    @classmethod
    def read(cls, items: list[Any]) -> Beacon:
        root, count, total, newest, answer = fields(items, 5)
        return cls(
            octets(root, ROOT_BYTES),
            uint(count, COUNT_MAX),
            uint(total, COUNT_MAX),
            octets(newest, PREFIX_BYTES),
            flag(answer),
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """Our bucket digests: in which do you differ, and what have you there?"""

    KIND: ClassVar = Kind.PROBE
    nonce: bytes
    boot: bytes  # of the addressee
    full: bool  # answer with whole ids
    bitmap: bytes
    digests: bytes

    def body(self) -> list[Any]:
        return [self.nonce, self.boot, self.full, self.bitmap, self.digests]

    @classmethod
    def read(cls, items: list[Any]) -> Probe:
        nonce, boot, full, bitmap, digests = fields(items, 5)
        octets(bitmap, BITMAP_BYTES)
        return cls(
            octets(nonce, NONCE_BYTES),
            octets(boot, BOOT_BYTES),
            flag(full),
            bitmap,
            octets(digests, count_bits(bitmap) * DIGEST_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Leaves:
    """One page of the answer to a probe: the responder's feeds in the buckets that differ."""

    KIND: ClassVar = Kind.LEAVES
    nonce: bytes
    page: int
    pages: int
    leaves: tuple[Leaf, ...]

    def body(self) -> list[Any]:
        return [self.nonce, self.page, self.pages, [list(leaf) for leaf in self.leaves]]

    @classmethod
    def read(cls, items: list[Any]) -> Leaves:
        nonce, page, pages, leaves = fields(items, 4)
        uint(pages, MAX_LEAF_PAGES, least=1)
        return cls(
            octets(nonce, NONCE_BYTES), uint(page, pages - 1), pages, listed(leaves, 0, LEAVES_PER_PAGE, _read_leaf)
        )


@dataclass(frozen=True, slots=True)
class Want:
    """Send me these ranges: at most so many data frames, and so many bytes of blocks, for now."""

    KIND: ClassVar = Kind.WANT
    nonce: bytes
    boot: bytes  # of the addressee
    frames: int
    size: int
    ranges: tuple[Range, ...]

    def body(self) -> list[Any]:
        return [self.nonce, self.boot, self.frames, self.size, [list(each) for each in self.ranges]]

    @classmethod
    def read(cls, items: list[Any]) -> Want:
        nonce, boot, frames, size, ranges = fields(items, 5)
        return cls(
            octets(nonce, NONCE_BYTES),
            octets(boot, BOOT_BYTES),
            uint(frames, PULL_FRAMES_MAX, least=1),
            uint(size, PULL_FRAMES_MAX * MAX_DATA_BYTES, least=1),
            listed(ranges, 1, RANGES_PER_WANT, _read_range),
        )


@dataclass(frozen=True, slots=True)
class WantBranches:
    """Send me the blocks on branches of this feed at places from `low` to before `high`, but for those that I hold.

    A place is a seq (8 bytes) and an id, or the beginning of one; no `high` is no end. `held` has the salted ids (see
    `salted`) of the blocks there that we hold, one after the other.
    """

    KIND: ClassVar = Kind.WANT_BRANCHES
    nonce: bytes
    boot: bytes  # of the addressee
    frames: int
    size: int
    feed: bytes
    low: bytes
    high: bytes
    held: bytes

    def body(self) -> list[Any]:
        return [self.nonce, self.boot, self.frames, self.size, self.feed, self.low, self.high, self.held]

    @classmethod
    def read(cls, items: list[Any]) -> WantBranches:
        nonce, boot, frames, size, feed, low, high, held = fields(items, 8)
        octets(held, 0, BRANCH_IDS_PER_REQUEST * SALTED_BYTES)
        return cls(
            octets(nonce, NONCE_BYTES),
            octets(boot, BOOT_BYTES),
            uint(frames, PULL_FRAMES_MAX, least=1),
            uint(size, PULL_FRAMES_MAX * MAX_DATA_BYTES, least=1),
            octets(feed, KEY_BYTES),
            octets(low, 0, PLACE_BYTES),
            octets(high, 0, PLACE_BYTES),
            octets(held, len(held) - len(held) % SALTED_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Data:
    """Whole blocks that answer a want. `count`, the frames that are coming, is announced in each of them."""

    KIND: ClassVar = Kind.DATA
    nonce: bytes
    index: int
    count: int
    blocks: tuple[bytes, ...]

    def body(self) -> list[Any]:
        return [self.nonce, self.index, self.count, list(self.blocks)]

    @classmethod
    def read(cls, items: list[Any]) -> Data:
        nonce, index, count, blocks = fields(items, 4)
        uint(count, PULL_FRAMES_MAX, least=1)
        return cls(octets(nonce, NONCE_BYTES), uint(index, count - 1), count, listed(blocks, 1, COUNT_MAX, _read_block))


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to a want is complete: so many data frames were sent."""

    KIND: ClassVar = Kind.DONE
    nonce: bytes
    count: int
    status: Status

    def body(self) -> list[Any]:
        return [self.nonce, self.count, int(self.status)]

    @classmethod
    def read(cls, items: list[Any]) -> Done:
        nonce, count, status = fields(items, 3)
        uint(status, max(Status))
        return cls(octets(nonce, NONCE_BYTES), uint(count, PULL_FRAMES_MAX), Status(status))


@dataclass(frozen=True, slots=True)
class Gone:
    """The sender's connection has ended: sealed when it began, and published by the broker as its last will."""

    KIND: ClassVar = Kind.GONE

    def body(self) -> list[Any]:
        return []

    @classmethod
    def read(cls, items: list[Any]) -> Gone:
        fields(items, 0)
        return cls()


@dataclass(frozen=True, slots=True)
class Query:
    """Who has these ranges? To all, from somebody who does not know whom to ask.

    `excluded` are prefixes of the keys of peers that have claimed such ranges before and did not deliver.
    """

    KIND: ClassVar = Kind.QUERY
    nonce: bytes
    ranges: tuple[Range, ...]
    excluded: bytes  # prefixes of 8 bytes, one after the other

    def body(self) -> list[Any]:
        return [self.nonce, [list(each) for each in self.ranges], self.excluded]

    @classmethod
    def read(cls, items: list[Any]) -> Query:
        nonce, ranges, excluded = fields(items, 3)
        octets(excluded, 0, MAX_EXCLUDED * PREFIX_BYTES)
        return cls(
            octets(nonce, NONCE_BYTES),
            listed(ranges, 1, RANGES_PER_WANT, _read_range),
            octets(excluded, len(excluded) - len(excluded) % PREFIX_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """I have these ranges of a query, and answer it: all others may keep silent about them."""

    KIND: ClassVar = Kind.CLAIM
    nonce: bytes
    ranges: bytes  # a bitmap: the first bit is the query's first range

    def body(self) -> list[Any]:
        return [self.nonce, self.ranges]

    @classmethod
    def read(cls, items: list[Any]) -> Claim:
        nonce, ranges = fields(items, 2)
        if not any(octets(ranges, CLAIMED_BYTES)):
            raise FrameError("a claim claims nothing")
        return cls(octets(nonce, NONCE_BYTES), ranges)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What only the addressee may read of those who hold the key of its frame: see `envelopes`."""

    KIND: ClassVar = Kind.ENVELOPE
    sealed: bytes

    def body(self) -> list[Any]:
        return [self.sealed]

    @classmethod
    def read(cls, items: list[Any]) -> Envelope:
        (sealed,) = fields(items, 1)
        return cls(octets(sealed, MIN_ENVELOPE_BYTES, MAX_FRAME_BYTES))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Blocks of one feed, to all: as their author writes them, or again for those who missed them. Bare."""

    KIND: ClassVar = Kind.BLOCKS
    feed: bytes
    blocks: tuple[bytes, ...]

    def body(self) -> list[Any]:
        return [self.feed, list(self.blocks)]

    @classmethod
    def read(cls, items: list[Any]) -> Blocks:
        feed, blocks = fields(items, 2)
        return cls(octets(feed, KEY_BYTES), listed(blocks, 1, COUNT_MAX, _read_block))


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof that a feed forked. Bare, and retained by the broker."""

    KIND: ClassVar = Kind.PROOF
    feed: bytes
    proof: bytes

    def body(self) -> list[Any]:
        return [self.feed, self.proof]

    @classmethod
    def read(cls, items: list[Any]) -> Proof:
        feed, proof = fields(items, 2)
        return cls(octets(feed, KEY_BYTES), octets(proof, 1, MAX_FORK_PROOF_BYTES))


Message: TypeAlias = (
    Beacon | Probe | Leaves | Want | WantBranches | Data | Done | Gone | Query | Claim | Envelope | Blocks | Proof
)

READERS: Final[dict[int, Callable[[list[Any]], Message]]] = {
    kind.KIND: kind.read
    for kind in (Beacon, Probe, Leaves, Want, WantBranches, Data, Done, Gone, Query, Claim, Envelope, Blocks, Proof)
}


def place(seq: int, block_id: bytes) -> bytes:
    """Where a block stands on its feed's branches, in bytes that sort as these do."""
    return seq.to_bytes(8, "big") + block_id


def salted(nonce: bytes, block_id: bytes) -> bytes:
    """What stands for a block's id in one request. Nobody can make two blocks that are taken for each other in it."""
    return sha256(nonce + block_id).digest()[:SALTED_BYTES]


def _read_block(value: Any) -> bytes:
    return octets(value, 1, MAX_BLOCK_BYTES)


def _read_leaf(value: Any) -> Leaf:
    if type(value) is not list:
        raise FrameError("a leaf is not a list")
    feed, length, head, fork = fields(value, 4)
    uint(length, MAX_SEQ + 1)
    if not feed or bool(head) != bool(length) or not (head or fork):
        raise FrameError("a leaf says nothing, or contradicts itself")
    return Leaf(_prefix(feed), length, _prefix(head), _prefix(fork))


def _read_range(value: Any) -> Range:
    if type(value) is not list:
        raise FrameError("a range is not a list")
    feed, start, stop, head = fields(value, 4)
    uint(stop, MAX_SEQ + 1, least=1)
    return Range(octets(feed, KEY_BYTES), uint(start, stop - 1), stop, octets(head, 0, ID_BYTES))


def _prefix(value: Any) -> bytes:
    if type(value) is not bytes or len(value) not in (0, PREFIX_BYTES, ID_BYTES):
        raise FrameError("an id is neither whole, nor a prefix of eight bytes, nor absent")
    return value
