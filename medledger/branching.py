"""The branches of a governor's forked feed, as they come in: approvals count on each, so all of them are kept.

They are taken as disputed blocks, on the terms of `validation`: a run that continues a block held here, and ends in a
signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .errors import BlockError, BlockSignatureError, GapError, MalformedError, MedledgerError
from .fork import ForkProof, make_proof
from .header import Head, parse_header
from .limits import SEGMENT_BLOCKS
from .linking import Arrived, Links, named
from .store import Feed, Store
from .validation import ValidBlock, authenticate, validate_range


class Target(Protocol):
    """The replica that they come into."""

    @property
    def id(self) -> bytes: ...

    @property
    def store(self) -> Store: ...

    def adopt_fork(self, proof: ForkProof) -> bool: ...
    def decides(self, feed: bytes, blocks: Sequence[ValidBlock]) -> bool: ...
    def adopt_branch(self, feed: bytes, headers: list[bytes]) -> None: ...


class Report(Protocol):
    """What became of them."""

    accepted: int
    duplicates: int
    forks: list[bytes]

    def refuse(self, error: BlockError) -> None: ...


class Branches:
    """The branches of one replica, and the report of one import."""

    def __init__(self, replica: Target, report: Report) -> None:
        self._replica = replica
        self._store = replica.store
        self._report = report

    def take(self, feed: Feed, blocks: list[Arrived], links: Links, fork: int) -> bool:
        """Take the blocks that continue any branch held here. True where they may change the membership.

        Several may follow one block, and only one of them vouch for it: so whoever signs is looked for first, from the
        last on, and brings those before it. What lies before the `fork` comes as part of such a run only: alone it
        would stand.
        """
        left: dict[bytes, Arrived] = {}  # by id, in order
        for arrived in blocks:
            try:
                block_id = links.of(arrived.raw).id
            except (BlockError, MalformedError) as error:
                self._report.refuse(named(error, feed.author))
                continue
            if self._store.disputed_block(block_id) is not None:
                self._report.duplicates += 1
            else:
                left[block_id] = arrived
        decided = False
        for block_id, arrived in reversed(list(left.items())):
            if block_id in left and arrived.seq >= fork and self._signed(feed, arrived.raw):
                decided |= self._replica.decides(feed.author, self._branch(feed, left, links, block_id, fork))
        self._refuse(feed, left, links)
        return decided

    def compare(self, feed: Feed, accepted: list[ValidBlock]) -> None:
        """A block that was set aside beyond a cut, or for want of a signature, may be the other side of a fork that one
        of these shows.
        """
        by_seq = {block.seq: block for block in accepted}
        disputed = self._store.disputed(feed)
        following = {parse_header(row.header)[0].prev: (block_id, row.header) for block_id, row in disputed}
        for block_id, row in disputed:
            block = by_seq.get(row.seq)
            if block is None or block.id == block_id:
                continue
            ours = [other.header_bytes for other in accepted if other.seq >= row.seq]
            theirs, last = [row.header], block_id
            while last in following and len(theirs) < SEGMENT_BLOCKS:
                last, header = following[last]
                theirs.append(header)
            try:
                proof = make_proof(self._replica.id, ours, theirs)
            except MedledgerError:
                continue  # another past, or no signature of its own: nothing that could be shown to somebody else
            self._replica.adopt_fork(proof)
            self._report.forks.append(feed.author)
            return

    def _refuse(self, feed: Feed, left: dict[bytes, Arrived], links: Links) -> None:
        """None of these were taken. What is missing before them is said once: whoever brings that, brings the rest."""
        gap: BlockError | None = None
        beyond: set[bytes] = set()
        for block_id, arrived in left.items():
            prev = links.of(arrived.raw).prev
            if prev is not None and (prev in beyond or (prev not in left and self._branch_head(feed, prev) is None)):
                beyond.add(block_id)
                gap = gap or GapError("a block continues no branch held here", feed=feed.author, seq=arrived.seq)
            else:
                message = "no signature of the author stands behind this block"
                self._report.refuse(BlockSignatureError(message, feed=feed.author, seq=arrived.seq))
        if gap is not None:
            self._report.refuse(gap)

    def _branch(self, feed: Feed, left: dict[bytes, Arrived], links: Links, last: bytes, fork: int) -> list[ValidBlock]:
        """Take the block `last`, which its author signed, and those of these before it that follow a block held here.

        What was looked at is taken out of `left`, unless nothing is known of the block before it.
        """
        chain = [last]
        while (prev := links.of(left[chain[-1]].raw).prev) in left and prev is not None:
            chain.append(prev)
        head = None if prev is None else self._branch_head(feed, prev)
        if prev is not None and head is None:
            return []
        chain.reverse()
        raws = [left.pop(block_id).raw for block_id in chain]
        accepted, error = validate_range(self._replica.id, feed.author, head, raws)
        if error is not None:
            self._report.refuse(error)
        for block in accepted:
            self._store.add_disputed(feed, block.seq, block.header_bytes, block.body_bytes)
        if accepted:
            self._report.accepted += len(accepted)
            if accepted[0].seq < fork:
                self.compare(feed, accepted)
            self._replica.adopt_branch(feed.author, [block.header_bytes for block in accepted])
        return accepted

    def _signed(self, feed: Feed, raw: bytes) -> bool:
        """Whether a block verifies by its own signature."""
        try:
            authenticate(self._replica.id, feed.author, raw)
        except MedledgerError:
            return False
        return True

    def _branch_head(self, feed: Feed, block_id: bytes) -> Head | None:
        """The block of this id, the last that stands or a disputed one, as what a branch continues from."""
        if feed.head is not None and feed.head.id == block_id:
            return feed.head
        row = self._store.disputed_block(block_id)
        return None if row is None else Head(row.seq, block_id, parse_header(row.header)[0].epoch)
