"""Serving: answering what peers ask, within what they may ask.

Rules:

- A probe is answered by all leaves of the buckets that differ, in pages; by one empty page where none does, so that the
  answer is never silence.
- A want is answered by data frames of whole blocks within its credit, and then by a done. What leaves is what the
  replica releases, and nothing else.
- Requests and bytes are budgeted for each sender. Over the budget of bytes the answer is "busy"; over that of requests
  there is none.
"""

from __future__ import annotations

from collections.abc import Iterator

from medledger.limits import LEAVES_PER_PAGE, MAX_DATA_BYTES, MAX_LEAF_PAGES

from .frontier import PREFIX_BYTES, Frontier
from .messages import Data, Done, Leaf, Leaves, Message, Probe, Status, Want
from .peers import Peer, Peers
from .replica import Replica

BLOCK_HEAD_BYTES = 3  # what CBOR puts in front of a block, at most


class Server:
    """Answers from one replica."""

    def __init__(self, replica: Replica, frontier: Frontier, peers: Peers) -> None:
        self._replica = replica
        self._frontier = frontier
        self._peers = peers

    def probe(self, message: Probe, buckets: list[int]) -> list[Message]:
        """The leaves of the buckets that differ from the asker's."""
        size = None if message.full else PREFIX_BYTES
        found = list(self._leaves(buckets, size))[: LEAVES_PER_PAGE * MAX_LEAF_PAGES]
        pages = [tuple(found[at : at + LEAVES_PER_PAGE]) for at in range(0, len(found), LEAVES_PER_PAGE)] or [()]
        return [Leaves(message.nonce, page, len(pages), leaves) for page, leaves in enumerate(pages)]

    def want(self, peer: Peer, message: Want, now: float) -> list[Message]:
        """Blocks of the ranges asked for, and a done."""
        frames, more = self._collect(message)
        if not self._peers.may_take(peer, sum(map(len, (block for frame in frames for block in frame))), now):
            return [Done(message.nonce, 0, Status.BUSY)]
        answer: list[Message] = [
            Data(message.nonce, index, len(frames), tuple(blocks)) for index, blocks in enumerate(frames)
        ]
        return [*answer, Done(message.nonce, len(frames), Status.MORE if more else Status.COMPLETE)]

    def _leaves(self, buckets: list[int], size: int | None) -> Iterator[Leaf]:
        """Leaves with ids cut to `size`, but for feeds whose prefixes we hold twice."""
        for bucket in buckets:
            held = list(self._frontier.leaves([bucket]))
            prefixes = [feed[:PREFIX_BYTES] for feed, _ in held]
            for feed, (length, head, fork) in held:
                twice = size is not None and prefixes.count(feed[:size]) > 1
                yield Leaf(feed if twice else feed[:size], length, head[:size], fork[:size])

    def _collect(self, message: Want) -> tuple[list[list[bytes]], bool]:
        """Frames of blocks within the credit, and whether there is more than it covers."""
        frames: list[list[bytes]] = []
        left = message.size  # bytes of credit
        room = 0  # bytes of the last frame
        for feed, start, stop, _ in message.ranges:
            at, end = start, min(stop, self._frontier.length(feed))
            while at < end:
                blocks = self._replica.release(feed, at, end, min(left, MAX_DATA_BYTES))
                if not blocks:
                    break
                for block in blocks:
                    size = len(block) + BLOCK_HEAD_BYTES
                    if size > left:
                        return frames, True
                    if size > room:
                        if len(frames) == message.frames:
                            return frames, True
                        frames.append([])
                        room = MAX_DATA_BYTES
                    frames[-1].append(block)
                    room -= size
                    left -= size
                at += len(blocks)
        return frames, False
