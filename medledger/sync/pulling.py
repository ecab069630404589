"""Pulling: which blocks we lack, whom we ask for them, and what we make of the answers.

Rules:

- An *interest* is a feed that somebody holds more of, or other blocks of, with the peers that do. A *pull* is one want
  under way to one peer, for ranges of several feeds, with a credit of frames. A feed is in one pull at most.
- Our own feed comes first while the replica recovers, with the control feeds; data feeds wait while one of these can be
  had.
- Feeds of authors not known here are parked until the membership changes.
- Of a pull (see `pulls`) that ended with frames missing, what is missing is asked for again, in a range.
- While a peer is paused another is asked. One that has nothing to give is not asked for that feed again until it says
  so anew.
- A block that is authentic and does not link to ours starts a *search*: ranges further and further back, each twice as
  long, until one links. Then the replica has the proof of the fork.
- A feed whose further blocks the replica refuses for good (its fork or its revocation lies before them) is *closed* at
  that length.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from random import Random
from typing import Final

from medledger.errors import BlockError, CutError, DivergedError, ForkedError
from medledger.limits import (
    BACKOFF_MAX_SECONDS,
    GAP_PATIENCE_SECONDS,
    MAX_DATA_BYTES,
    MAX_INTERESTS,
    MAX_PULLS,
    MAX_PULLS_PER_PEER,
    PATIENCE_FAILURES,
    RANGES_PER_WANT,
)

from .frontier import Frontier, Height, Missing, missing
from .interests import Interest, Search
from .messages import NONCE_BYTES, Leaf, Range, Status, Want
from .peers import Peer, PeerId, Peers
from .pulls import Pull, Pulls
from .replica import ImportReport
from .roster import Roster

BLOCKS_PER_FRAME = MAX_DATA_BYTES // 256  # a guess, to share ranges out among pulls; the credit is what binds


class Puller:
    """All interests and pulls of one node."""

    def __init__(self, frontier: Frontier, peers: Peers, roster: Roster, rng: Random) -> None:
        self._frontier = frontier
        self._peers = peers
        self._roster = roster
        self._rng = rng
        self._first: OrderedDict[bytes, Interest] = OrderedDict()  # our own feed and control feeds
        self._later: OrderedDict[bytes, Interest] = OrderedDict()
        self._parked: OrderedDict[tuple[bytes, PeerId], Leaf] = OrderedDict()
        self.pulls: Final = Pulls()
        self._busy: set[bytes] = set()
        self._closed: dict[bytes, int] = {}
        self._dirty = False  # something changed that `due` may act upon
        self._wake = float("inf")  # else, when time alone lets it act
        self.urgent: bytes | None = None  # our own feed, while it must come back

    # --- what we lack -------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing is lacking that anybody could give."""
        return not (self._first or self._later or self.pulls)

    @property
    def interests(self) -> int:
        """Feeds we lack blocks of."""
        return len(self._first) + len(self._later)

    def lagging(self, most: int) -> list[tuple[Interest, int]]:
        """The first of these in the order they are asked for, each with our length."""
        first = islice(chain(self._first.values(), self._later.values()), most)
        return [(interest, self._frontier.length(interest.feed)) for interest in first]

    @property
    def parked(self) -> int:
        """Feeds of authors not known here."""
        return len(self._parked)

    def offer(self, peer: PeerId, leaves: Iterable[Leaf]) -> int:
        """Take note of what a peer holds; the number of feeds it has something of for us."""
        theirs: dict[bytes, Height] = {}
        for leaf in leaves:
            feeds = self._roster.resolve(leaf.feed)
            if not feeds:
                self._park(peer, leaf)
            theirs.update((feed, Height(leaf.length, leaf.head, leaf.fork)) for feed in feeds)
        found = missing({feed: self._frontier.height(feed) for feed in theirs}, theirs)
        for feed, lack in found.items():
            self._want(feed, lack, [peer])
        return sum(self._closed.get(feed) != self._frontier.length(feed) for feed in found)

    def gap(self, feed: bytes, stop: int, now: float) -> None:
        """A live block shows that we lack blocks before `stop`. They may be on their way: wait a moment."""
        self._want(feed, Missing(0, stop, b""), self._sources(feed), now + GAP_PATIENCE_SECONDS * self._rng.random())

    def diverged(self, feed: bytes, seq: int) -> None:
        """A live block at `seq` is authentic and does not link to ours."""
        interest = self._want(feed, Missing(seq, seq + 1, b""), self._sources(feed))
        if interest is not None and interest.search is None:
            interest.search = Search(max(0, seq - 1), seq + 1)

    def membership_changed(self) -> None:
        """Look again at what was parked, and at what was closed."""
        self._closed.clear()
        self._dirty = True
        for (prefix, peer), leaf in list(self._parked.items()):
            if self._roster.resolve(prefix):
                del self._parked[prefix, peer]
                self.offer(peer, [leaf])
        for feed in [feed for feed in self._later if self._is_first(feed)]:
            self._first[feed] = self._later.pop(feed)

    def _want(
        self, feed: bytes, lack: Missing, sources: Sequence[PeerId], not_before: float = float("-inf")
    ) -> Interest | None:
        length = self._frontier.length(feed)
        if self._closed.get(feed) == length:
            return None
        self._dirty = True
        queue = self._first if self._is_first(feed) else self._later
        interest = queue.get(feed)
        if interest is None:
            if len(queue) >= MAX_INTERESTS:
                return None
            interest = queue[feed] = Interest(feed, lack.stop, lack.head, not_before=not_before)
        if lack.stop > interest.stop:
            interest.stop, interest.head = lack.stop, lack.head
        interest.not_before = min(interest.not_before, not_before)
        interest.sources.update(dict.fromkeys(sources))
        if lack.stop <= length and interest.search is None:  # as long as ours, and another head
            interest.search = Search(lack.start, lack.stop)
        return interest

    def _sources(self, feed: bytes) -> list[PeerId]:
        """Whom to ask about a feed whose live blocks we heard: its author, else whoever was heard last."""
        authors = [peer.id for peer in self._peers.boots(feed)]
        others = [peer.id for peer in self._peers if peer.id.key != feed]
        return authors + others[-2:]

    def _park(self, peer: PeerId, leaf: Leaf) -> None:
        self._parked[leaf.feed, peer] = leaf
        if len(self._parked) > MAX_INTERESTS:
            self._parked.popitem(last=False)

    def _is_first(self, feed: bytes) -> bool:
        return feed == self.urgent or self._roster.control(feed)

    # --- asking -------------------------------------------------------------------------------------------------

    def due(self, now: float) -> list[tuple[PeerId, Want]]:
        """The wants to send now."""
        wants: list[tuple[PeerId, Want]] = []
        while self._dirty or now >= self._wake:
            self._dirty = False
            self._wake = float("inf")
            for peer, ranges in self._share_out(now).items():
                credit = self._peer(peer).credit
                nonce = self._rng.randbytes(NONCE_BYTES)
                want = Want(nonce, peer.boot, credit, credit * MAX_DATA_BYTES, tuple(ranges))
                self.pulls.begin(peer, want, now)
                self._busy.update(each.feed for each in ranges)
                wants.append((peer, want))
                self._dirty = True  # a peer may take another pull
        return wants

    def _share_out(self, now: float) -> dict[PeerId, list[Range]]:
        """Ranges for at most one further pull from each peer that may be asked."""
        asked = Counter(pull.peer for pull in self.pulls)
        # Blocks that the credit of a further pull is good for.
        room = {
            peer.id: peer.credit * BLOCKS_PER_FRAME
            for peer in self._peers
            if peer.retry_at <= now and asked[peer.id] < MAX_PULLS_PER_PEER
        }
        shares: dict[PeerId, list[Range]] = {}
        for interest in self._ready(now):
            if not room:
                break
            peer = self._choose(interest, shares, room, asked)
            if peer is None:
                continue
            search = interest.search
            start = search.start if search else self._frontier.length(interest.feed)
            stop = search.stop if search else interest.stop
            ranges = shares.setdefault(peer, [])
            ranges.append(Range(interest.feed, start, stop, interest.head if stop == interest.stop else b""))
            room[peer] -= stop - start
            # How far a search has come is told by the number of blocks, so that it travels alone.
            if search or room[peer] <= 0 or len(ranges) >= RANGES_PER_WANT:
                del room[peer]
        return shares

    def _choose(
        self, interest: Interest, shares: dict[PeerId, list[Range]], room: dict[PeerId, int], asked: Counter[PeerId]
    ) -> PeerId | None:
        """A peer to ask: one that this round asks anyway, else the one that failed least and is asked least.

        Where nobody has said that it holds the blocks, as after a gap, their author is the likeliest to.
        """
        peers = [peer for peer in interest.sources if peer in room]
        if interest.search is None:
            for peer in peers:
                if peer in shares:
                    return peer
        fresh = [peer for peer in peers if peer not in shares]
        if not fresh or len(self.pulls) + len(shares) >= MAX_PULLS:
            return None

        def rank(who: PeerId) -> tuple[bool, int, bool, int, float]:
            peer = self._peer(who)
            guess = not interest.head and who.key != interest.feed
            return peer.gone, peer.failures, guess, asked[who], self._rng.random()

        return min(fresh, key=rank)

    def _ready(self, now: float) -> Iterator[Interest]:
        """Interests to ask for now, in order."""
        first = [interest for interest in list(self._first.values()) if self._askable(interest, now)]
        yield from first
        if not first and not any(feed in self._busy for feed in self._first):
            # Copied, since asking may find an interest satisfied and drop it.
            yield from (interest for interest in list(self._later.values()) if self._askable(interest, now))

    def _askable(self, interest: Interest, now: float) -> bool:
        """Whether somebody can be asked now; drops what is satisfied or hopeless, notes when what waits can go on."""
        if interest.feed in self._busy:
            return False
        retries = [peer.retry_at for peer in map(self._peers.get, interest.sources) if peer is not None]
        satisfied = interest.search is None and self._frontier.length(interest.feed) >= interest.stop
        if satisfied or not retries:
            self._drop(interest.feed)
            return False
        at = max(interest.not_before, min(retries))
        if at > now:
            self._wake = min(self._wake, at)
        return at <= now

    # --- answers ------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Forget the pulls under way: the connection they would be answered on is gone."""
        self.pulls.clear()
        self._busy.clear()
        self._dirty = True

    def postpone(self, pull: Pull, now: float) -> None:
        """The replica could not take a pull's blocks: nobody's fault out there, and no better at once."""
        for each in self._ended(pull):
            interest = self._first.get(each.feed) or self._later.get(each.feed)
            if interest is not None:
                interest.not_before = now + BACKOFF_MAX_SECONDS

    def settle(self, pull: Pull, report: ImportReport | None, now: float) -> None:
        """Draw the conclusions from an import of a pull's blocks, or from their absence (None)."""
        peer = self._peers.get(pull.peer)
        if peer is not None:
            pull.judge(peer, report, now, self._rng.random())
        refused: dict[bytes, BlockError] = {}
        for error in report.refused if report else ():
            if error.feed is not None:
                refused.setdefault(error.feed, error)
        for each in self._ended(pull):
            interest = self._first.get(each.feed) or self._later.get(each.feed)
            if interest is not None:
                self._conclude(interest, each, pull, report, refused.get(each.feed))

    def _conclude(
        self, interest: Interest, asked: Range, pull: Pull, report: ImportReport | None, error: BlockError | None
    ) -> None:
        """What one feed's part of a pull means for our interest in it."""
        feed = interest.feed
        length, _, forked = self._frontier.height(feed)
        peer = self._peers.get(pull.peer)
        if isinstance(error, ForkedError | CutError) or (report and feed in report.forks):
            self._closed[feed] = length
            self._drop(feed)
        elif isinstance(error, DivergedError) and error.seq:
            interest.sources = {pull.peer: None}  # its branch is the one to search
            if interest.search is None:
                interest.search = Search(error.seq - 1, error.seq + 1)
            else:
                interest.search.further_back(error.seq)
        elif peer is None or (not pull.frames and peer.failures >= PATIENCE_FAILURES):
            self._exhaust(interest, pull.peer)
        elif interest.search is not None:
            interest.search.start = asked.start + pull.run  # all as ours: the split lies after them
            if interest.search.start >= interest.search.stop:
                self._drop(feed)
            elif error is not None or (pull.whole and not pull.run):
                self._exhaust(interest, pull.peer)
        elif length >= interest.stop:
            self._drop(feed)
        elif length <= asked.start and pull.whole and (error is not None or pull.status is not Status.MORE or forked):
            self._exhaust(interest, pull.peer)  # where we know of a fork, what lies beyond it does not make us longer

    def _exhaust(self, interest: Interest, peer: PeerId) -> None:
        """This peer has nothing of this feed for us."""
        interest.sources.pop(peer, None)
        if not interest.sources:
            self._drop(interest.feed)

    def _ended(self, pull: Pull) -> tuple[Range, ...]:
        """Its feeds may be asked for again."""
        assert isinstance(pull.want, Want)
        self._busy.difference_update(each.feed for each in pull.want.ranges)
        self._dirty = True
        return pull.want.ranges

    def _drop(self, feed: bytes) -> None:
        self._first.pop(feed, None)
        self._later.pop(feed, None)

    def _peer(self, peer: PeerId) -> Peer:
        found = self._peers.get(peer)
        assert found is not None  # it was chosen just now
        return found

    @property
    def next(self) -> float:
        """When `due` will have something, should nothing arrive before."""
        return self._wake
