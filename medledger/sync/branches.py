"""Branches of governors' forked feeds: approvals on them count, so every replica gets all blocks of all branches.

Rules:

- Where a peer's leaf of such a feed is ours but for the mark, and both of us know of the fork, one of us has branch
  blocks that the other lacks. It is asked for its branches, and told what we hold of them, so that it sends the others.
- What we hold is told in windows of at most 4,096 blocks in the order of their places. A window is asked for again
  until the peer has no more there, then the next one.
- One peer is asked at a time about one feed. It is let go when all windows are through, when it gave nothing that we
  could take, or after three pulls in vain; then not asked again for a while about the same pair of marks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from medledger.limits import (
    BACKOFF_MAX_SECONDS,
    BRANCH_IDS_PER_REQUEST,
    MAX_BRANCH_PULLS,
    MAX_BRANCH_SOURCES,
    MAX_DATA_BYTES,
    PATIENCE_FAILURES,
    PROBE_PAUSE_SECONDS,
    RECENT_ROOTS,
    SETTLED_SECONDS,
)

from .frontier import Frontier, agree
from .messages import NONCE_BYTES, Leaf, Status, WantBranches, place, salted
from .peers import Peer, PeerId, Peers
from .pulls import Pull, Pulls
from .replica import ImportReport, Replica
from .roster import Roster


@dataclass(slots=True)
class Source:
    """One peer that holds other branches of a feed than we do, and how far we have come with it."""

    mark: bytes  # that it has shown
    low: bytes = b""  # where the window begins that it is asked for
    gained: bool = False  # it gave something
    vain: int = 0  # pulls in a row that gave nothing


@dataclass(slots=True)
class Search:
    """One feed of which peers hold other branches than we do."""

    feed: bytes
    sources: dict[PeerId, Source] = field(default_factory=dict)
    not_before: float = float("-inf")


class BranchDesk:
    """All that one node does to get at branches."""

    def __init__(self, replica: Replica, frontier: Frontier, peers: Peers, roster: Roster, rng: Random) -> None:
        self._replica = replica
        self._frontier = frontier
        self._peers = peers
        self._roster = roster
        self._rng = rng
        self.pulls: Final = Pulls()
        self._searches: OrderedDict[bytes, Search] = OrderedDict()
        self._settled: OrderedDict[bytes, float] = OrderedDict()  # peer, feed and both marks, and until when
        self._next = float("inf")

    @property
    def idle(self) -> bool:
        """Nobody is known to hold other branches than we do."""
        return not self._searches

    def offer(self, peer: PeerId, leaves: Iterable[Leaf], now: float) -> int:
        """Take note of a peer's marks; the number of feeds of which it may have branch blocks for us."""
        found = 0
        for leaf in leaves:
            for feed in self._roster.resolve(leaf.feed) if leaf.fork else ():
                if not self._roster.control(feed) or not self._differs(feed, leaf):
                    continue
                if now < self._settled.get(self._pair(peer, feed, leaf.fork), float("-inf")):
                    continue
                search = self._searches.setdefault(feed, Search(feed))
                if peer in search.sources or len(search.sources) < MAX_BRANCH_SOURCES:
                    search.sources.setdefault(peer, Source(leaf.fork)).mark = leaf.fork
                    found += 1
                    self._next = now
        return found

    def _differs(self, feed: bytes, leaf: Leaf) -> bool:
        """Whether what stands is alike and the marks are not: else what stands, or the proof, comes first."""
        length, head, mark = self._frontier.height(feed)
        return bool(mark) and length == leaf.length and agree(head, leaf.head) and not agree(mark, leaf.fork)

    def _pair(self, peer: PeerId, feed: bytes, theirs: bytes) -> bytes:
        return b"".join((peer.key, feed, theirs[:8], self._frontier.height(feed).fork))

    # --- asking -------------------------------------------------------------------------------------------------

    @property
    def next(self) -> float:
        """When `due` will have something, should nothing arrive before."""
        return self._next

    def due(self, now: float) -> list[tuple[PeerId, WantBranches]]:
        """The wants to send now."""
        if now < self._next:
            return []
        self._next = now + BACKOFF_MAX_SECONDS  # should the disk fail now
        later = float("inf")
        wants = []
        busy = {pull.want.feed for pull in self.pulls if isinstance(pull.want, WantBranches)}
        for search in list(self._searches.values()):
            if search.feed in busy:
                continue
            if len(self.pulls) >= MAX_BRANCH_PULLS:
                break
            peer = self._choose(search, now)
            if peer is None:
                later = min(later, self._retry_at(search))
            else:
                want = self._request(search, peer)
                self.pulls.begin(peer.id, want, now)
                wants.append((peer.id, want))
        self._next = later
        return wants

    def _retry_at(self, search: Search) -> float:
        """When somebody can be asked about a feed."""
        return max(search.not_before, min((peer.retry_at for peer in self._known(search)), default=float("inf")))

    def _choose(self, search: Search, now: float) -> Peer | None:
        """Whom to ask now about a feed; None where nobody can be, or need be any more."""
        ours = self._frontier.height(search.feed).fork
        for who, source in list(search.sources.items()):
            if self._peers.get(who) is None or agree(ours, source.mark):
                self._drop(search, who)
        ready = [peer for peer in self._known(search) if max(peer.retry_at, search.not_before) <= now]

        def rank(peer: Peer) -> tuple[bool, int, bool, float]:
            return peer.gone, peer.failures, not search.sources[peer.id].low, self._rng.random()

        return min(ready, key=rank, default=None)

    def _known(self, search: Search) -> list[Peer]:
        return [peer for peer in map(self._peers.get, search.sources) if peer is not None]

    def _request(self, search: Search, peer: Peer) -> WantBranches:
        nonce = self._rng.randbytes(NONCE_BYTES)
        places = [place(*each) for each in self._replica.branch_places(search.feed)]
        low = search.sources[peer.id].low
        start = bisect_left(places, low)
        stop = start + BRANCH_IDS_PER_REQUEST
        high = places[stop] if stop < len(places) else b""
        held = b"".join(salted(nonce, each[8:]) for each in places[start:stop])
        size = peer.credit * MAX_DATA_BYTES
        return WantBranches(nonce, peer.id.boot, peer.credit, size, search.feed, low, high, held)

    # --- answers ------------------------------------------------------------------------------------------------

    def settle(self, pull: Pull, report: ImportReport | None, now: float) -> None:
        """Draw the conclusions from an import of a pull's blocks, or from their absence (None)."""
        want = pull.want
        assert isinstance(want, WantBranches)
        self._next = now
        peer = self._peers.get(pull.peer)
        if peer is not None:
            pull.judge(peer, report, now, self._rng.random())
            if report is not None and report.accepted:
                peer.probe_pause = PROBE_PAUSE_SECONDS
            else:
                peer.found_nothing()
        search = self._searches.get(want.feed)
        source = search.sources.get(pull.peer) if search else None
        if search is None or source is None:
            return
        gained = report is not None and report.accepted > 0
        source.gained |= gained
        source.vain = 0 if gained else source.vain + 1
        if pull.complete and want.high:
            source.low, source.vain = want.high, 0
        elif pull.complete:
            self._let_go(search, pull.peer, now, 0.0 if source.gained else SETTLED_SECONDS)
        elif pull.whole and not gained and pull.status is Status.MORE:
            self._let_go(
                search, pull.peer, now, SETTLED_SECONDS
            )  # as much as it may send, and nothing that we can take
        elif source.vain >= PATIENCE_FAILURES:
            self._let_go(search, pull.peer, now, BACKOFF_MAX_SECONDS)

    def postpone(self, pull: Pull, now: float) -> None:
        """The replica could not take a pull's blocks: nobody's fault out there, and no better at once."""
        search = self._searches.get(pull.want.feed) if isinstance(pull.want, WantBranches) else None
        if search is not None:
            search.not_before = now + BACKOFF_MAX_SECONDS
        self._next = now

    def abandon(self) -> None:
        """Forget the pulls under way, and who had what: the connection they would be answered on is gone."""
        self.pulls.clear()
        self._searches.clear()

    def _let_go(self, search: Search, peer: PeerId, now: float, seconds: float) -> None:
        """Be done with a peer, for at least so long."""
        self._settled[self._pair(peer, search.feed, search.sources[peer].mark)] = now + seconds
        if len(self._settled) > RECENT_ROOTS:
            self._settled.popitem(last=False)
        self._drop(search, peer)

    def _drop(self, search: Search, peer: PeerId) -> None:
        del search.sources[peer]
        if not search.sources:
            self._searches.pop(search.feed, None)
