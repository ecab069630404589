"""Importing: which of the blocks somebody hands us become part of the replica.

- Blocks arrive in any order within a batch, mixed, twice, or damaged; what stands in the end, when every block has come
  in a batch with those before it, depends only on which blocks there are.
- A bad block changes nothing and is reported with its error; it never stops the good ones.
- Blocks go in by batches, each one transaction with its heads: a crash leaves whole batches.
- Blocks of an author that nobody has enrolled wait, bounded, until a batch brings the enrolment.
- A block that contradicts one we hold is either damaged (dropped), unlinked to our branch (`DivergedError`: fetch
  further back), or the second side of a fork, of which the proof is made, kept and handed on.
- Approvals in the feeds of governors (electors) count on every branch, so such a feed's branches are taken as well, as
  disputed blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import NamedTuple, Protocol

from .block import Hidden, encode_body, split_block, split_body
from .branching import Branches
from .errors import (
    BlockError,
    BlockSignatureError,
    CutError,
    DivergedError,
    ForkedError,
    MalformedBlockError,
    MalformedError,
    MedledgerError,
    UnknownAuthorError,
    UsageError,
)
from .fork import ForkProof, make_proof
from .header import Head, parse_header
from .limits import IMPORT_BATCH_BLOCKS, MAX_BLOCK_BYTES, SEGMENT_BLOCKS, WAITING_BLOCKS, WAITING_BYTES
from .linking import Arrived, Links, named
from .store import BlockRow, Feed, Store
from .validation import ValidBlock, check_body, count_authentic, validate_range


class Advance(NamedTuple):
    """Blocks first to last of a feed are new here and durable, or have entries now that were hidden before."""

    feed: bytes
    first: int
    last: int


@dataclass(slots=True)
class ImportReport:
    """What became of the blocks. `refused` names the first refused block of each run, with its error."""

    accepted: int = 0
    duplicates: int = 0
    filled: int = 0  # blocks among these that brought entries hidden here
    waiting: int = 0  # of authors not enrolled here; not kept after the import: their sender still has them
    refused: list[BlockError] = field(default_factory=list)
    advanced: list[Advance] = field(default_factory=list)  # one for each feed that grew
    forks: list[bytes] = field(default_factory=list)  # feeds whose fork this import proved

    def refuse(self, error: BlockError) -> None:
        if len(self.refused) < 1000:  # a report of a hostile file stays small
            self.refused.append(error)


def claimed_place(raw: bytes) -> tuple[bytes, int]:
    """The author and seq that an encoded block claims, from its fixed layout. Checked when the block is.

    Raises `MalformedBlockError` for bytes too short or too long to be a block, `UsageError` for what is not bytes.
    """
    if type(raw) is not bytes:
        raise UsageError(f"a block is bytes, not {type(raw).__name__}")
    if not 150 < len(raw) <= MAX_BLOCK_BYTES:
        raise MalformedBlockError(f"{len(raw)} bytes are not a block")
    at = 10 if raw[1] == 0x58 else 11
    at += 2 if raw[at] == 0x58 else 3
    return raw[at + 4 : at + 36], _loose_uint(raw, at + 36)


def _loose_uint(raw: bytes, at: int) -> int:
    head = raw[at]
    return head if head < 24 else int.from_bytes(raw[at + 1 : at + 1 + (1 << (head & 3))], "big")


@dataclass(frozen=True, slots=True)
class Limit:
    """How many blocks of a feed can stand, and why no more."""

    length: int
    reason: str = ""

    def error(self, feed: bytes, seq: int) -> BlockError:
        if self.reason == "fork":
            return ForkedError("the feed forked before this block", feed=feed, seq=seq)
        return CutError("the block lies beyond its author's revocation", feed=feed, seq=seq)


class Target(Protocol):
    """The replica that is imported into."""

    @property
    def id(self) -> bytes: ...
    @property
    def store(self) -> Store: ...
    def knows(self, feed: bytes) -> bool: ...
    def limit(self, feed: bytes) -> Limit: ...
    def took(self, feed: bytes, last: int) -> None: ...
    def refold(self) -> None: ...
    def decides(self, feed: bytes, blocks: Sequence[ValidBlock]) -> bool: ...
    def keeps_branches(self, feed: bytes) -> bool: ...
    def adopt_fork(self, proof: ForkProof) -> bool: ...
    def adopt_branch(self, feed: bytes, headers: list[bytes]) -> None: ...


class Importer:
    """One import into a replica: holds what waits between its batches."""

    def __init__(self, replica: Target) -> None:
        self._replica = replica
        self._store = replica.store
        self.report = ImportReport()
        self._waiting: deque[tuple[bytes, Arrived]] = deque()
        self._waiting_bytes = 0
        self._advanced: dict[bytes, Advance] = {}
        self._branches = Branches(replica, self.report)

    def run(self, raws: Iterable[bytes]) -> Iterator[list[Advance]]:
        """Import batch after batch; yields what each one advanced, and whose entries it brought, after its commit."""
        source = iter(raws)
        while batch := list(islice(source, IMPORT_BATCH_BLOCKS)):
            advances = self._batch(batch)
            for advance in advances:
                earlier = self._advanced.get(advance.feed, advance)
                self._advanced[advance.feed] = Advance(advance.feed, earlier.first, advance.last)
            yield [*advances, *self._filled]
        self.report.advanced = list(self._advanced.values())
        self.report.waiting += len(self._waiting)
        for feed in dict.fromkeys(feed for feed, _ in self._waiting):
            self.report.refuse(UnknownAuthorError("no effective enrolment names this author", feed=feed))

    def _batch(self, raws: Sequence[bytes]) -> list[Advance]:
        """One transaction: known authors first, then whoever the batch enrolled."""
        self._new: list[Advance] = []
        self._filled: list[Advance] = []
        groups = self._group(raws)
        with self._store.transaction():
            while ready := [feed for feed in groups if self._replica.knows(feed)]:
                control = False
                for author in ready:
                    control |= self._feed(author, groups.pop(author))
                if control:
                    self._replica.refold()
                if control and self._waiting:
                    for author, arrived in self._waiting:
                        groups.setdefault(author, []).append(arrived)
                    self._waiting.clear()
                    self._waiting_bytes = 0
        for author, blocks in groups.items():
            self._wait(author, blocks)
        return self._new

    def _group(self, raws: Sequence[bytes]) -> dict[bytes, list[Arrived]]:
        """The blocks by author."""
        groups: dict[bytes, list[Arrived]] = {}
        for raw in raws:
            try:
                author, seq = claimed_place(raw)
            except MalformedBlockError as error:
                self.report.refuse(error)
                continue
            group = groups.get(author)
            if group is None:
                groups[author] = [Arrived(seq, raw)]
            else:
                group.append(Arrived(seq, raw))
        return groups

    def _wait(self, author: bytes, blocks: list[Arrived]) -> None:
        for arrived in blocks:
            if len(self._waiting) >= WAITING_BLOCKS or self._waiting_bytes + len(arrived.raw) > WAITING_BYTES:
                self.report.waiting += 1
                continue
            self._waiting.append((author, arrived))
            self._waiting_bytes += len(arrived.raw)

    # --- one feed -----------------------------------------------------------------------------------------------

    def _feed(self, author: bytes, blocks: list[Arrived]) -> bool:
        """Import one author's blocks. True where they may change the membership."""
        feed = self._store.feed(author)
        control = False
        blocks.sort(key=_by_seq)  # in order already, from an honest peer: then this is a scan
        links = Links(blocks)
        while blocks:
            if blocks[0].seq < feed.length:
                forks = len(self.report.forks)
                blocks = self._held(feed, blocks, links)
                control |= len(self.report.forks) > forks
                continue
            limit = self._replica.limit(author)
            branches = blocks[-1].seq >= limit.length and self._replica.keeps_branches(author)
            if blocks[0].seq >= limit.length:
                if branches:
                    control |= self._branches.take(feed, blocks, links, limit.length)
                else:
                    self.report.refuse(limit.error(author, blocks[0].seq))
                break
            beyond = [arrived for arrived in blocks if arrived.seq >= limit.length]
            within = blocks[: len(blocks) - len(beyond)] if beyond else blocks
            accepted, rest = self._append(feed, within, vouched=branches)
            blocks = rest + beyond
            control |= self._replica.decides(author, accepted)
            if branches and rest and rest[0] is within[0]:  # nobody vouches for it before the fork
                control |= self._branches.take(feed, blocks, links, limit.length)
                break
        return control

    def _append(self, feed: Feed, blocks: list[Arrived], *, vouched: bool) -> tuple[list[ValidBlock], list[Arrived]]:
        """Take the longest run that follows the head; what is left to look at after it and the block that ended it.

        That one is left, too, where blocks of a branch may vouch for it.
        """
        accepted, error = validate_range(self._replica.id, feed.author, feed.head, [arrived.raw for arrived in blocks])
        if accepted:
            self._store.append(feed, accepted)
            self.report.accepted += len(accepted)
            self._new.append(Advance(feed.author, accepted[0].seq, accepted[-1].seq))
            self._replica.took(feed.author, accepted[-1].seq)
            if feed.no in self._store.with_disputed:
                self._branches.compare(feed, accepted)
        if error is None:
            return accepted, []
        rest = blocks[len(accepted) + 1 :]
        if blocks[len(accepted)].seq < feed.length:  # a second block at a place we now hold: repeated, or a fork
            return accepted, blocks[len(accepted) :]
        if vouched and isinstance(error, BlockSignatureError):
            return accepted, blocks[len(accepted) :]
        self.report.refuse(error)
        # Another block for the same place may be the undamaged one; whatever lies beyond it would only be a gap.
        return accepted, rest if rest and rest[0].seq <= feed.length else []

    def _held(self, feed: Feed, blocks: list[Arrived], links: Links) -> list[Arrived]:
        """Deal with blocks at or below our head; those above it are left."""
        done: set[bytes] = set()  # blocks that were looked at together with one before them
        for at, arrived in enumerate(blocks):
            if arrived.raw in done:
                continue
            row = self._store.row(feed, arrived.seq) if arrived.seq < feed.length else None
            if row is None:
                return blocks[at:]
            try:
                header_bytes, body_bytes = split_block(arrived.raw)
                if header_bytes != row.header:
                    done.update(self._contradiction(feed, row, links.chain(arrived.raw)))
                    if arrived.seq >= feed.length:  # a fork was proved here: all that follows is beyond it
                        return blocks[at:]
                else:
                    self.report.duplicates += 1
                    self._fill_holes(feed, row, body_bytes)
            except (BlockError, MalformedError) as error:
                self.report.refuse(named(error, feed.author))
        return []

    def _fill_holes(self, feed: Feed, row: BlockRow, body_bytes: bytes) -> None:
        """Take entries that were hidden here and are not hidden there."""
        if body_bytes == row.body:
            return
        header = parse_header(row.header)[0]
        check_body(header, body_bytes)
        ours, theirs = split_body(row.body), split_body(body_bytes)
        merged = [b if isinstance(a, Hidden) else a for a, b in zip(ours, theirs, strict=True)]
        if merged != ours:
            self.report.filled += 1
            self._filled.append(Advance(feed.author, row.seq, row.seq))
            holes = any(isinstance(item, Hidden) for item in merged)
            self._store.replace_body(feed, row.seq, encode_body(merged), has_holes=holes)

    def _contradiction(self, feed: Feed, row: BlockRow, chain: list[bytes]) -> list[bytes]:
        """Another block than ours at a place we hold, and what follows it: damaged, of a branch that split earlier, or
        a fork. Returns those of these blocks that it has dealt with.
        """
        before = self._head_before(feed, row.seq)
        try:
            header = parse_header(split_block(chain[0])[0])[0]
            if header.prev != (before.id if before else None):
                authentic, looked = count_authentic(self._replica.id, feed.author, chain)
                if authentic:
                    message = "a signed block contradicts ours and does not link to the block before it"
                    self.report.refuse(DivergedError(message, feed=feed.author, seq=row.seq))
                else:
                    message = "no signature of the author stands behind this block"
                    self.report.refuse(BlockSignatureError(message, feed=feed.author, seq=row.seq))
                return chain[: max(1, looked)]
            branch, error = validate_range(self._replica.id, feed.author, before, chain)
            if not branch:
                raise error or BlockSignatureError("nothing authenticates this block", feed=feed.author, seq=row.seq)
            ours = [
                stored.header for stored in self._store.page(feed, row.seq, row.seq + SEGMENT_BLOCKS, SEGMENT_BLOCKS)
            ]
            proof = make_proof(self._replica.id, ours, [block.header_bytes for block in branch])
        except MedledgerError as error:
            self.report.refuse(named(error, feed.author))
            return chain[:1]
        for block in branch:
            self._store.add_disputed(feed, block.seq, block.header_bytes, block.body_bytes)
        self._replica.adopt_fork(proof)
        self.report.forks.append(feed.author)
        return chain[:1]

    def _head_before(self, feed: Feed, seq: int) -> Head | None:
        if seq == 0:
            return None
        row = self._store.row(feed, seq - 1)
        assert row is not None  # a feed has no gaps
        return Head(seq - 1, sha256(row.header).digest(), parse_header(row.header)[0].epoch)


def _by_seq(arrived: Arrived) -> int:
    return arrived.seq
