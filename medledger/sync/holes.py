"""Holes: entries that were hidden from us, and asking others for them.

A block verifies with an entry's leaf hash in the place of the entry, and its id is the same. Thus digests say nothing
of it, and whoever passes a block on could erase its entries for good, did nobody ask again. Rules:

- Up to 64 blocks with hidden entries, of all feeds in turn, are asked for again, each by a range of its own. One peer
  at a time is asked for them: an author of one of them first, then any other, by chance, until all were asked; then it
  is the turn of other blocks.
- Before each is a pause of up to a minute. It doubles, to an hour, each time that all were asked in vain: an entry may
  have been erased everywhere, as the law can demand. What fills a hole, and new holes, make it a minute again.
- A peer that has filled a hole is asked for more at once, but only so often before it is another's turn: whatever a
  peer answers, it is never the only one that is asked.
- Strangers are not asked: there are as many of them as somebody likes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice, zip_longest
from random import Random
from typing import Final

from medledger.limits import (
    HOLE_PAUSE_MAX_SECONDS,
    HOLE_PAUSE_SECONDS,
    HOLE_STREAK,
    MAX_DATA_BYTES,
    PEER_SECONDS,
    RANGES_PER_WANT,
)

from .messages import NONCE_BYTES, Range, Want
from .peers import Peer, PeerId, Peers
from .pulls import Pull, Pulls
from .replica import ImportReport, Replica


class HoleDesk:
    """The holes of one node."""

    def __init__(self, replica: Replica, peers: Peers, rng: Random, now: float) -> None:
        self._replica = replica
        self._peers = peers
        self._rng = rng
        self.pulls: Final = Pulls()
        self.count = 0  # blocks with holes, when last looked
        self._batch: list[tuple[bytes, int]] = []  # feed and seq of the blocks that are asked for now
        self._asked: set[bytes] = set()  # keys that were asked for these
        self._last: dict[bytes, int] = {}  # of each feed the seq that was asked for last
        self._filled = False  # one of those asked had something
        self._giver: PeerId | None = None  # who has just filled some, and is asked for more
        self._streak = 0  # how often in a row it has
        self._pause = HOLE_PAUSE_SECONDS
        self._ask_at = float("inf")
        self._look_at = float("inf")
        self.look(now)

    @property
    def next(self) -> float:
        """When `due` will have something, should nothing arrive before."""
        return float("inf") if self.pulls else min(self._ask_at, self._look_at)

    def look(self, now: float) -> None:
        """Blocks have come, perhaps with holes: look soon."""
        self._look_at = min(self._look_at, self._soon(now, HOLE_PAUSE_SECONDS))

    def _soon(self, now: float, pause: float) -> float:
        return now + pause * self._rng.uniform(0.5, 1.0)

    # --- asking -------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[tuple[PeerId, Want]]:
        """The want to send now, if any."""
        if now < self.next:
            return []
        look, ask = now >= self._look_at, now >= self._ask_at
        if look:
            self._look_at = self._soon(now, HOLE_PAUSE_SECONDS)  # once more, should the disk fail now
        if ask:
            self._ask_at = self._soon(now, self._pause)
        holes = self._replica.holes()
        if look:
            self._look_at = float("inf")
            if len(holes) > self.count:
                self._pause = HOLE_PAUSE_SECONDS
                ask = True
        self.count = len(holes)
        if not holes:
            self._ask_at = float("inf")
            self._batch = []
        if not holes or not ask:
            return []
        peer = self._turn(holes, now)
        self._ask_at = self._soon(now, self._pause)
        if peer is None:
            return []
        self._asked.add(peer.id.key)
        nonce = self._rng.randbytes(NONCE_BYTES)
        ranges = tuple(Range(feed, seq, seq + 1, b"") for feed, seq in self._batch)
        want = Want(nonce, peer.id.boot, peer.credit, peer.credit * MAX_DATA_BYTES, ranges)
        self.pulls.begin(peer.id, want, now)
        return [(peer.id, want)]

    def _turn(self, holes: Sequence[tuple[bytes, int]], now: float) -> Peer | None:
        """Whom to ask, the blocks to ask for being chosen; None where nobody is there."""
        giver, self._giver = self._giver, None
        if giver is not None:
            self._next_batch(holes)
            return self._peers.get(giver)
        self._batch = sorted({*self._batch} & {*holes})
        peer = self._choose(now) if self._batch else None
        if peer is None:
            if self._asked and not self._filled:
                self._pause = min(2 * self._pause, HOLE_PAUSE_MAX_SECONDS)
            self._filled = False
            self._next_batch(holes)
            peer = self._choose(now)
        return peer

    def _next_batch(self, holes: Sequence[tuple[bytes, int]]) -> None:
        """Other blocks: of each feed those after the last that was asked for, the feeds in turn."""
        by_feed: dict[bytes, list[int]] = {}
        for feed, seq in holes:
            by_feed.setdefault(feed, []).append(seq)
        queues = []
        for feed, seqs in by_feed.items():
            at = bisect_right(seqs, self._last.get(feed, -1))
            queues.append([(feed, seq) for seq in (seqs[at:] + seqs[:at])[:RANGES_PER_WANT]])
        self._rng.shuffle(queues)
        in_turn = (hole for turn in zip_longest(*queues) for hole in turn if hole is not None)
        self._batch = list(islice(in_turn, RANGES_PER_WANT))
        self._last.update(self._batch)
        self._asked.clear()

    def _choose(self, now: float) -> Peer | None:
        """A peer not asked for these blocks yet: one who wrote some of them, else any."""
        authors = {feed for feed, _ in self._batch}
        peers = {
            peer.id.key: peer  # of several boots the one heard last
            for peer in self._peers
            if not peer.stranger
            and not peer.gone
            and peer.id.key not in self._asked
            and peer.retry_at <= now < peer.heard_at + PEER_SECONDS
        }
        return min(peers.values(), key=lambda peer: (peer.id.key not in authors, self._rng.random()), default=None)

    # --- answers ------------------------------------------------------------------------------------------------

    def settle(self, pull: Pull, report: ImportReport | None, now: float) -> None:
        """Draw the conclusions from an import of a pull's blocks, or from their absence (None)."""
        peer = self._peers.get(pull.peer)
        if peer is not None and pull.failed(report):
            peer.failed(now, self._rng.random())
        self._ask_at = self._soon(now, self._pause)
        holes = self._replica.holes()
        filled = len({*self._batch} - {*holes}) > 0
        self.count = len(holes)
        self._filled |= filled
        self._streak = self._streak + 1 if filled else 0
        if filled:
            self._pause = HOLE_PAUSE_SECONDS
            self._ask_at = self._soon(now, self._pause)
            if self._streak < HOLE_STREAK:
                self._giver, self._ask_at = pull.peer, now
            else:
                self._streak = 0

    def postpone(self, pull: Pull, now: float) -> None:  # noqa: ARG002 (what every desk has)
        """The replica could not take a pull's blocks: nobody's fault out there, and no better at once."""
        self._ask_at = self._soon(now, self._pause)

    def abandon(self) -> None:
        """Forget the pull under way: the connection it would be answered on is gone."""
        self.pulls.clear()
