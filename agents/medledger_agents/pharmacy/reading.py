"""Reading the ledger for the view: the entries about supplies that count, feed by feed, in small parts.

- A feed is read in its order, up to the first block of which it is not settled whether it counts: its epoch is not
  known here yet, or the end of its author's feed.
- Whoever reads may stop after any part, and goes on behind it another time.
- Most feeds are of beds, and have no supplies: where much is to be read, the ledger's own index says in which blocks
  they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from medledger import cbor
from medledger.block import Block
from medledger.entry import decode_entry
from medledger.findings import Observed, Place
from medledger.findings.reading import blocks_with
from medledger.findings.supply_book import TYPES
from medledger.governance import Point
from medledger.header import Head, Header
from medledger.interpretation import Refusal, interpret
from medledger.ledger import Ledger
from medledger.membership import CUT_UNRESOLVED, EPOCH_UNKNOWN, Membership
from medledger.merkle import leaf_hash

UNDECIDED: Final = frozenset((EPOCH_UNKNOWN, CUT_UNRESOLVED))
INDEX_BLOCKS: Final = 500
"""How many blocks the ledger's index takes in at once."""
SPAN_BLOCKS: Final = 20_000
"""In how many blocks at once the index looks for supplies."""
_NAMES: Final = tuple(sorted(name.encode() for name in TYPES))

Hole = tuple[bytes, int]
"""(feed, seq) of a block that stands with entries hidden."""


class State(NamedTuple):
    """What there is to be read."""

    membership: Membership
    heads: dict[bytes, Head]
    holes: dict[Hole, int]  # each with its size, which says whether an entry has come or was hidden

    @classmethod
    def of(cls, ledger: Ledger) -> State:
        """As it is now."""
        return cls(ledger.membership, ledger.frontier(), ledger.hole_sizes())

    def is_like(self, other: State) -> bool:
        """Whether there is nothing to read."""
        return self.membership is other.membership and self[1:] == other[1:]


ENTRY: Final = 20
"""What an entry costs, and a subject that is judged: as much as so many blocks without supplies, which cost 1."""


class Part(NamedTuple):
    """A part of a feed."""

    feed: bytes
    upto: int  # the last block up to which the feed is read
    entries: tuple[Observed, ...] = ()
    cost: int = 0


def parts(ledger: Ledger, membership: Membership, feed: bytes, start: int, stop: int) -> Iterator[Part]:
    """A feed's blocks with start <= seq < stop, one by one."""
    for block in ledger.blocks(feed, start, stop):
        found = entries_of(ledger, membership, block)
        if found is None:
            yield Part(feed, block.seq - 1)
            return
        yield Part(feed, block.seq, found, 1 + ENTRY * len(found))


def parts_by_index(ledger: Ledger, membership: Membership, feed: bytes, start: int, stop: int) -> Iterator[Part]:
    """The same, but that blocks without supplies are passed over."""
    while start < stop:
        upto = min(start + SPAN_BLOCKS, stop)
        found = blocks_with(ledger, TYPES, feed, start, upto)
        if found is None and ledger.index(INDEX_BLOCKS) > 0:
            yield Part(feed, start - 1, cost=INDEX_BLOCKS)
            continue
        for seq in range(start, upto) if found is None else found:
            for part in parts(ledger, membership, feed, seq, seq + 1):
                yield part
                if part.upto < seq:
                    return
        yield Part(feed, upto - 1, cost=1 + (upto - start) // ENTRY)
        start = upto


def entries_of(ledger: Ledger, membership: Membership, block: Block) -> tuple[Observed, ...] | None:
    """A block's entries about supplies that count; None where it is not settled whether they do."""
    if not any(name in block.body_bytes for name in _NAMES):
        return ()  # as most are, where there are beds
    header = block.header
    fallen = membership.fallen(header.author, Point(header.seq, block.id), ledger.is_ancestor)
    verdicts = interpret(header.block_class, block.body, _refusal(membership, header, fallen))
    about = [(verdict, raw) for verdict, raw in zip(verdicts, block.body, strict=True) if verdict.type in TYPES]
    if any(verdict.void in UNDECIDED for verdict, _ in about):
        return None
    counts = [(verdict.at, raw) for verdict, raw in about if verdict.void is None]
    return tuple(observed(block, at, raw) for at, raw in counts if isinstance(raw, bytes))


def observed(block: Block, index: int, raw: bytes) -> Observed:
    """An entry of a block, with its place."""
    entry, header = decode_entry(raw), block.header
    place = Place(header.author, header.seq, index, block.id)
    said = (entry.type, entry.time, entry.subject, entry.content)
    return Observed(place, *said, header.time, header.clock, header.epoch, leaf_hash(raw))


def _refusal(membership: Membership, header: Header, fallen: str | None) -> Refusal:
    return lambda name: fallen or membership.refusal(header.author, header.epoch, name)


def rights_of(membership: Membership, feed: bytes) -> bytes:
    """All of a membership but its epochs that decides whether a feed's entries count."""
    enrolled = [[each.epoch, sorted(each.roles)] for each in membership.enrolments.get(feed, ())]
    cuts = [[cut.last.seq, cut.last.id] for cut in membership.cuts.get(feed, ())]
    return sha256(cbor.encode([enrolled, cuts])).digest()


def epochs_of(membership: Membership) -> list[bytes]:
    """The ids of its epochs."""
    return [epoch.id for epoch in membership.epochs]


def members_of(membership: Membership) -> bytes:
    """All of a membership that findings are worded by."""
    told = [[feed, each.label or "", rights_of(membership, feed)] for feed, each in sorted(membership.members.items())]
    return sha256(cbor.encode([epochs_of(membership), told])).digest()
