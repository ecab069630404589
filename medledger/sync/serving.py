"""Serving: answering what peers ask, within what they may ask.

Rules:

- A probe is answered by all leaves of the buckets that differ, in pages; by one empty page where none does, so that the
  answer is never silence.
- A want is answered by data frames of whole blocks within its credit, and then by a done; one for branches, by those of
  their blocks that the asker does not hold. What leaves is what the replica releases, and nothing else.
- Requests, ranges and bytes are budgeted for each sender, a probe by the pages of leaves that answer it. Where ranges
  or bytes are spent the answer is "busy"; where requests are there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medledger.errors import FrameError
from medledger.limits import LEAVES_PER_PAGE, MAX_DATA_BYTES, MAX_LEAF_PAGES

from .frontier import PREFIX_BYTES, Frontier
from .messages import (
    SALTED_BYTES,
    Data,
    Done,
    Leaf,
    Leaves,
    Message,
    Probe,
    Status,
    Want,
    WantBranches,
    place,
    salted,
)
from .peers import Peer, Peers
from .replica import Replica

BLOCK_HEAD_BYTES = 3  # what CBOR puts in front of a block, at most


class Server:
    """Answers from one replica."""

    def __init__(self, replica: Replica, frontier: Frontier, peers: Peers) -> None:
        self._replica = replica
        self._frontier = frontier
        self._peers = peers

    def probe(self, peer: Peer, message: Probe, buckets: list[int], now: float) -> list[Message]:
        """The leaves of the buckets that differ from the asker's; nothing beyond its budget."""
        pages_beyond = sum(map(self._frontier.size, buckets)) // LEAVES_PER_PAGE
        if not self._peers.may_ask(peer, now, min(pages_beyond, MAX_LEAF_PAGES)):
            raise FrameError("a sender asks more often than its budget allows")
        size = None if message.full else PREFIX_BYTES
        found = list(self._leaves(buckets, size))[: LEAVES_PER_PAGE * MAX_LEAF_PAGES]
        pages = [tuple(found[at : at + LEAVES_PER_PAGE]) for at in range(0, len(found), LEAVES_PER_PAGE)] or [()]
        return [Leaves(message.nonce, page, len(pages), leaves) for page, leaves in enumerate(pages)]

    def want(self, peer: Peer, message: Want, now: float) -> list[Message]:
        """Blocks of the ranges asked for, and a done."""
        if not self._peers.may_look_up(peer, len(message.ranges), now):
            return [Done(message.nonce, 0, Status.BUSY)]
        packer = Packer(message)
        for feed, start, stop, _ in message.ranges:
            at, end = start, min(stop, self._frontier.length(feed))
            while at < end and not packer.full:
                blocks = self._replica.release(feed, at, end, min(packer.left, MAX_DATA_BYTES))
                if not blocks:
                    break
                packer.add(blocks)
                at += len(blocks)
        return self._answer(peer, packer, now)

    def branches(self, peer: Peer, message: WantBranches, now: float) -> list[Message]:
        """Blocks on branches that the asker does not hold, and a done."""
        held = {message.held[at : at + SALTED_BYTES] for at in range(0, len(message.held), SALTED_BYTES)}
        ids = [
            block_id
            for seq, block_id in self._replica.branch_places(message.feed)
            if message.low <= (at := place(seq, block_id))
            and (not message.high or at < message.high)
            and salted(message.nonce, block_id) not in held
        ]
        packer = Packer(message)
        if ids:
            blocks = self._replica.release_branches(message.feed, ids, message.size)
            packer.add(blocks)
            packer.full |= len(blocks) < len(ids)
        return self._answer(peer, packer, now)

    def _answer(self, peer: Peer, packer: Packer, now: float) -> list[Message]:
        """The frames that were packed, where the peer's budget allows them."""
        nonce, frames = packer.nonce, packer.frames
        if not self._peers.may_take(peer, sum(len(block) for frame in frames for block in frame), now):
            return [Done(nonce, 0, Status.BUSY)]
        answer: list[Message] = [Data(nonce, index, len(frames), tuple(blocks)) for index, blocks in enumerate(frames)]
        return [*answer, Done(nonce, len(frames), Status.MORE if packer.full else Status.COMPLETE)]

    def _leaves(self, buckets: list[int], size: int | None) -> Iterator[Leaf]:
        """Leaves with ids cut to `size`, but for feeds whose prefixes we hold twice."""
        for bucket in buckets:
            held = list(self._frontier.leaves([bucket]))
            prefixes = [feed[:PREFIX_BYTES] for feed, _ in held]
            for feed, (length, head, fork) in held:
                twice = size is not None and prefixes.count(feed[:size]) > 1
                yield Leaf(feed if twice else feed[:size], length, head[:size], fork[:size])


class Packer:
    """Blocks in frames, within the credit of a want."""

    def __init__(self, want: Want | WantBranches) -> None:
        self.nonce = want.nonce
        self.left = want.size  # bytes of credit
        self.full = False  # there is more than the credit covers
        self.frames: list[list[bytes]] = []
        self._most = want.frames
        self._room = 0  # bytes of the last frame

    def add(self, blocks: Sequence[bytes]) -> None:
        """Put these after those before, as far as the credit goes."""
        for block in blocks:
            size = len(block) + BLOCK_HEAD_BYTES
            if size > self.left or (size > self._room and len(self.frames) == self._most):
                self.full = True
                return
            if size > self._room:
                self.frames.append([])
                self._room = MAX_DATA_BYTES
            self.frames[-1].append(block)
            self._room -= size
            self.left -= size
