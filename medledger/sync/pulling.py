"""Pulling: which blocks we lack, whom we ask for them, and what we make of the answers.

Rules:

- A *pull* is one want under way to one peer, for ranges of several feeds, with a credit of frames. A feed is in at most
  one pull; the feeds we lack blocks of take turns (see `interests`).
- Our own feed and control feeds come first; data feeds wait, not for long (see `precedence`), while one of these can be
  had of a peer that answers.
- Feeds of authors not known here are parked until the membership changes.
- Of a pull (see `pulls`) that ended with frames missing, what is missing is asked for again, in a range.
- While a peer is paused another is asked; one that is gone, last; one that shows and does not give, less (see `trust`).
- A block that is authentic and does not link to ours starts a *search*: ranges further and further back, each twice as
  long, until one links. Then the replica has the proof of the fork.
- Blocks for which nobody vouches before the credit of a pull ends are a *run* (see `runs`).
- A feed whose further blocks the replica refuses for good (its fork or its revocation lies before them) is *closed* at
  that length.
- Blocks whose every source has fallen silent are *lost*: all are asked who else has them (see `queries`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from random import Random
from typing import Final

from medledger.errors import BlockError, CutError, DivergedError, ForkedError
from medledger.limits import (
    ANSWER_SECONDS,
    BACKOFF_MAX_SECONDS,
    GAP_PATIENCE_SECONDS,
    MAX_DATA_BYTES,
    MAX_INTERESTS,
    MAX_PULLS,
    PATIENCE_FAILURES,
    RANGES_PER_WANT,
)

from .frontier import Frontier, Height, Missing, missing
from .interests import Interest, Interests, Search, Shown
from .messages import NONCE_BYTES, Leaf, Range, Status, Want
from .peers import Peer, PeerId, Peers
from .precedence import Precedence
from .pulls import Pull, Pulls
from .replica import ImportReport
from .roster import Roster
from .runs import Runs
from .trust import Trust, astray

BLOCKS_PER_FRAME = MAX_DATA_BYTES // 256  # a guess, to share ranges out among pulls; the credit is what binds


class Puller:
    """All interests and pulls of one node, whose own feed is `me`."""

    def __init__(self, frontier: Frontier, peers: Peers, roster: Roster, rng: Random, me: bytes) -> None:
        self._frontier = frontier
        self._peers = peers
        self._roster = roster
        self._rng = rng
        self._me = me
        self._interests = Interests()
        self._parked: OrderedDict[tuple[bytes, PeerId], Leaf] = OrderedDict()
        self.pulls: Final = Pulls()
        self._busy: dict[bytes, PeerId] = {}  # feeds in a pull, and of whom
        self._closed: dict[bytes, int] = {}
        self._trust = Trust(frontier, peers, rng)
        self._lost: dict[bytes, int] = {}
        self._runs = Runs()
        self._precedence = Precedence()
        self._dirty = False  # something changed that `due` may act upon
        self._wake = float("inf")  # else, when time alone lets it act

    # --- what we lack -------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Nothing is lacking that anybody could give: what silent peers and liars have shown is not waited for."""
        shown = (who for interest in self._interests for who in interest.sources)
        return not any(map(self._trust.promising, chain((pull.peer for pull in self.pulls), shown)))

    @property
    def interests(self) -> int:
        """Feeds we lack blocks of."""
        return len(self._interests)

    def lagging(self, most: int) -> list[tuple[Interest, int]]:
        """The first of these in the order they are asked for, each with our length."""
        return [(interest, self._frontier.length(interest.feed)) for interest in islice(self._interests, most)]

    @property
    def parked(self) -> int:
        """Feeds of authors not known here."""
        return len(self._parked)

    def seeks(self, feed: bytes) -> bool:
        """Whether peers are known to have more of a feed than we do."""
        return self._interests.get(feed) is not None

    def offer(self, who: PeerId, leaves: Iterable[Leaf], now: float, splits: dict[bytes, Missing] | None = None) -> int:
        """Take note of what a peer holds; the number of feeds it has something of for us. See `splits` for these."""
        theirs: dict[bytes, Height] = {}
        for leaf in leaves:
            feeds = self._roster.resolve(leaf.feed)
            if not feeds:
                self._park(who, leaf)
            theirs.update((feed, Height(leaf.length, leaf.head, leaf.fork)) for feed in feeds)
        found = missing({feed: self._frontier.height(feed) for feed in theirs}, theirs) | (splits or {})
        offered = [(feed, lack) for feed, lack in found.items() if not self._trust.in_vain(who, feed, lack, now)]
        if self._trust.doubted(who):
            self._rng.shuffle(offered)  # not the same ones every time
            self._forsake({peer.id for peer in self._peers.boots(who.key)} - {who})
            believed = any(who in interest.sources for interest in self._interests)
            del offered[0 if believed else RANGES_PER_WANT :]
        for feed, lack in offered:
            self._want(feed, lack, [who])
        return sum(self._closed.get(feed) != self._frontier.length(feed) for feed, _ in offered)

    def guess(self, feed: bytes, stop: int) -> None:
        """We lack blocks before `stop`, which nobody has said to hold: ask their author, and whoever was heard last."""
        new = not self.seeks(feed)
        interest = self._lack(feed, stop, self._likely(feed))
        if interest is not None and new:
            interest.guessed = True

    def claimed(self, feed: bytes, stop: int, who: PeerId, now: float) -> None:
        """A peer says that it has the blocks before `stop`, and may be publishing them: give them a moment."""
        self._lack(feed, stop, [who], now + GAP_PATIENCE_SECONDS * (1 + self._rng.random()))

    def diverged(self, feed: bytes, seq: int) -> None:
        """A live block at `seq` is authentic and does not link to ours."""
        interest = self._want(feed, Missing(seq, seq + 1, b""), self._likely(feed))
        if interest is not None and interest.search is None:
            interest.search = Search(seq, seq + 1)
            interest.search.further_back(seq, seq + 1)

    def membership_changed(self, now: float) -> None:
        """Look again at what was parked, and at what was closed."""
        self._closed.clear()
        self._dirty = True
        for (prefix, peer), leaf in list(self._parked.items()):
            if self._roster.resolve(prefix):
                del self._parked[prefix, peer]
                self.offer(peer, [leaf], now)
        for interest in self._interests.later():
            if self._is_first(interest.feed):
                self._interests.promote(interest.feed)

    def take_lost(self) -> dict[bytes, int]:
        """Feeds whose every source has fallen silent, and how far they go; once."""
        lost, self._lost = self._lost, {}
        return lost

    def _lack(
        self, feed: bytes, stop: int, sources: Sequence[PeerId], not_before: float = float("-inf")
    ) -> Interest | None:
        """Blocks before `stop` are missing, unless they have come meanwhile."""
        here = stop <= self._frontier.length(feed)
        return None if here else self._want(feed, Missing(0, stop, b""), sources, not_before)

    def _want(
        self, feed: bytes, lack: Missing, sources: Sequence[PeerId], not_before: float = float("-inf")
    ) -> Interest | None:
        length = self._frontier.length(feed)
        if self._closed.get(feed) == length:
            return None
        self._dirty = True
        new = not self.seeks(feed)
        interest = self._interests.make(feed, first=self._is_first(feed))
        if interest is None:
            return None
        interest.not_before = not_before if new else min(interest.not_before, not_before)
        for peer in sources:
            before = interest.sources.get(peer)
            if before is None or lack.head or lack.stop > before.stop:
                interest.sources[peer] = Shown(lack.stop, lack.head)
        interest.guessed &= not lack.head
        if 0 < lack.stop <= length and interest.search is None:  # as long as ours, and another head
            interest.search = Search(lack.start, lack.stop)
        return interest

    def _likely(self, feed: bytes) -> list[PeerId]:
        """Who may have live blocks of a feed: its author, and whoever was heard last."""
        authors = [peer.id for peer in self._peers.boots(feed)]
        others = [peer.id for peer in self._peers if peer.id.key != feed and not peer.gone]
        return authors + others[-2:]

    def _park(self, peer: PeerId, leaf: Leaf) -> None:
        self._parked[leaf.feed, peer] = leaf
        if len(self._parked) > MAX_INTERESTS:
            self._parked.popitem(last=False)

    def _is_first(self, feed: bytes) -> bool:
        return feed == self._me or self._roster.control(feed)

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
                run = self._runs.get(ranges[0].feed)
                self.pulls.begin(peer, want, now, run.blocks if run else ())
                for each in ranges:
                    self._busy[each.feed] = peer
                    self._interests.asked(each.feed)
                wants.append((peer, want))
                self._dirty = True  # a peer may take another pull
        return wants

    def _share_out(self, now: float) -> dict[PeerId, list[Range]]:
        """Ranges for at most one further pull from each peer that may be asked."""
        asked = Counter(pull.peer.key for pull in self.pulls)
        # Blocks that the credit of a further pull is good for.
        room = {
            peer.id: peer.credit * BLOCKS_PER_FRAME
            for peer in self._peers
            if peer.retry_at <= now and asked[peer.id.key] < self._trust.pulls_at_once(peer.id)
        }
        shares: dict[PeerId, list[Range]] = {}
        for interest in self._ready(now):
            if not room:
                break
            peer = self._choose(interest, shares, room, asked)
            if peer is None:
                continue
            each = self._range(interest, peer)
            ranges = shares.setdefault(peer, [])
            ranges.append(each)
            room[peer] -= each.stop - each.start
            # How far a search has come is told by the number of blocks, so that it travels alone.
            if interest.search or self._runs.get(interest.feed) or room[peer] <= 0 or len(ranges) >= RANGES_PER_WANT:
                del room[peer]
        return shares

    def _range(self, interest: Interest, peer: PeerId) -> Range:
        """What to ask a peer for: what a search is at, else what the peer has shown."""
        search, shown, run = interest.search, interest.sources[peer], self._runs.get(interest.feed)
        if run is not None:
            return Range(interest.feed, run.next, max(run.next + 1, min(shown.stop, run.end)), b"")
        if search is None:
            return Range(interest.feed, self._frontier.length(interest.feed), shown.stop, shown.head)
        return Range(interest.feed, search.start, search.stop, shown.head if search.stop == shown.stop else b"")

    def _choose(
        self, interest: Interest, shares: dict[PeerId, list[Range]], room: dict[PeerId, int], asked: Counter[bytes]
    ) -> PeerId | None:
        """A peer to ask: one that this round asks anyway, else the one that failed least and is asked least.

        Where nobody has said that it holds the blocks, as after a gap, their author is the likeliest to.
        """
        peers = [peer for peer in interest.sources if peer in room]
        run = self._runs.get(interest.feed)
        if run is not None:
            peers = [peer for peer in peers if peer == run.peer]
        elif interest.search is None:
            for peer in peers:
                if peer in shares:
                    return peer
        keys = {peer.key for peer in shares}
        fresh = [peer for peer in peers if peer.key not in keys]
        if not fresh or len(self.pulls) + len(shares) >= MAX_PULLS:
            return None

        def rank(who: PeerId) -> tuple[bool, int, bool, int, float]:
            peer = self._peer(who)
            guess = interest.guessed and who.key != interest.feed
            return peer.gone, peer.failures, guess, asked[who.key], self._rng.random()

        return min(fresh, key=rank)

    def _ready(self, now: float) -> Iterator[Interest]:
        """Interests to ask for now, in order."""
        first = [interest for interest in self._interests.first() if self._askable(interest, now)]
        wait = bool(first) or self._first_on_its_way()
        until = self._precedence.until(now) if wait else now
        if until > now:
            self._wake = min(self._wake, until)
        yield from first
        if until <= now:
            yield from (interest for interest in self._interests.later() if self._askable(interest, now))

    def _first_on_its_way(self) -> bool:
        """Whether a feed that comes first is in a pull of a peer that answers."""
        peers = (self._peers.get(self._busy[each.feed]) for each in self._interests.first() if each.feed in self._busy)
        return any(peer is not None and not peer.failures for peer in peers)

    def _askable(self, interest: Interest, now: float) -> bool:
        """Whether somebody can be asked now; drops what is satisfied or hopeless, notes when what waits can go on."""
        if interest.feed in self._busy:
            return False
        if self._satisfied(interest):
            self._interests.drop(interest.feed)
            return False
        search = interest.search
        start = self._frontier.length(interest.feed) if search is None else search.start
        run = self._runs.current(interest.feed, start, interest.sources)
        sources = interest.sources if run is None else [run.peer]
        at = max(interest.not_before, min(self._peer(who).retry_at for who in sources))
        if at > now:
            self._wake = min(self._wake, at)
        return at <= now

    def _satisfied(self, interest: Interest) -> bool:
        """Whether nobody is left who has shown more of this feed than we hold."""
        length = self._frontier.length(interest.feed)
        for who, shown in list(interest.sources.items()):
            if self._peers.get(who) is None or (interest.search is None and shown.stop <= length):
                del interest.sources[who]
        return not interest.sources

    # --- answers ------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Forget the pulls under way: the connection they would be answered on is gone."""
        self.pulls.clear()
        self._busy.clear()
        self._dirty = True

    def postpone(self, pull: Pull, now: float) -> None:
        """The replica could not take a pull's blocks: nobody's fault out there, and no better at once."""
        for each in self._ended(pull):
            interest = self._interests.get(each.feed)
            if interest is not None:
                interest.not_before = now + BACKOFF_MAX_SECONDS

    def settle(self, pull: Pull, report: ImportReport | None, now: float) -> None:
        """Draw the conclusions from an import of a pull's blocks, or from their absence (None)."""
        ranges = self._ended(pull)
        if report is not None and any(self._is_first(advance.feed) for advance in report.advanced):
            self._precedence.gained(now)
        interests = [self._interests.get(each.feed) for each in ranges]
        errors = report.refused if report is not None else ()
        running = {
            each.feed: kept
            for each, interest in zip(ranges, interests, strict=True)
            if interest is not None and (kept := self._keep(interest, each, pull, report, now)) is not None
        }
        peer = self._peers.get(pull.peer)
        if peer is not None and running and all(running.get(error.feed or b"") for error in errors):
            pull.credit(peer)
        elif peer is not None:
            wanted = [interest for interest in interests if interest is not None]
            self._trust.appraise(peer, pull, ranges, report, wanted, now)
        refused: dict[bytes, BlockError] = {}
        for error in errors:
            if error.feed is not None:
                refused.setdefault(error.feed, error)
        for each, interest in zip(ranges, interests, strict=True):
            if interest is not None and each.feed not in running:
                self._conclude(interest, each, pull, report, refused.get(each.feed), now)
        if self._trust.doubted(pull.peer):
            self._forsake({pull.peer})

    def _keep(
        self, interest: Interest, asked: Range, pull: Pull, report: ImportReport | None, now: float
    ) -> bool | None:
        """Whether what a pull gave of one feed is kept as a run that goes on; None where it is no such thing."""
        grown = interest.search is None and self._frontier.length(asked.feed) > asked.start
        kept = self._runs.took(pull, asked, report, grown=grown, wanted=self.seeks)
        if kept is False:
            interest.not_before = now + ANSWER_SECONDS * self._rng.random()
        elif kept and interest.search is not None:
            interest.search.start = self._runs.of(interest.feed).start  # all before it is as ours
        return kept

    def _conclude(
        self,
        interest: Interest,
        asked: Range,
        pull: Pull,
        report: ImportReport | None,
        error: BlockError | None,
        now: float,
    ) -> None:
        """What one feed's part of a pull means for our interest in it."""
        feed = interest.feed
        length, _, forked = self._frontier.height(feed)
        peer = self._peers.get(pull.peer)
        if isinstance(error, ForkedError | CutError) and (error.seq is None or error.seq <= length):
            self._closed[feed] = length
            self._interests.drop(feed)
        elif isinstance(error, ForkedError | CutError) or (report and feed in report.forks):
            # Others may have what lies before the fork or the cut, and is not here either.
            self._trust.note_vain(pull.peer, asked, now)
            self._exhaust(interest, pull.peer)
        elif isinstance(error, DivergedError) and error.seq and not (interest.search and astray(pull, asked, [error])):
            shown = interest.sources.get(pull.peer, Shown(asked.stop, asked.head))
            interest.sources = {pull.peer: shown}  # its branch is the one to search
            if interest.search is None:
                interest.search = Search(error.seq, error.seq + 1)
            interest.search.further_back(error.seq, shown.stop)
        elif peer is None or (not pull.answered and peer.failures >= PATIENCE_FAILURES):
            if self._exhaust(interest, pull.peer) and not interest.guessed:
                self._lost[feed] = asked.stop
        elif interest.search is not None and (error is not None or not pull.run):
            if pull.whole:
                self._trust.note_vain(pull.peer, asked, now)
                self._exhaust(interest, pull.peer)
        elif interest.search is not None:
            interest.search.start = asked.start + pull.run  # all as ours: the split lies after them
            if interest.search.start >= interest.search.stop:
                self._interests.drop(feed)
        elif self._satisfied(interest):
            self._interests.drop(feed)
        elif length <= asked.start and pull.whole and (error is not None or pull.status is not Status.MORE or forked):
            # Where we know of a fork, what lies beyond it does not make us longer.
            self._trust.note_vain(pull.peer, asked, now)
            self._exhaust(interest, pull.peer)

    def _exhaust(self, interest: Interest, peer: PeerId) -> bool:
        """This peer has nothing of this feed for us; whether it was the last that might have."""
        interest.sources.pop(peer, None)
        if not interest.sources:
            self._interests.drop(interest.feed)
        return not interest.sources

    def _forsake(self, peers: set[PeerId]) -> None:
        """These give nothing of what they show: whatever else they have shown is not worth waiting for."""
        for interest in self._interests:
            for peer in peers & interest.sources.keys() if interest.feed not in self._busy else ():
                self._exhaust(interest, peer)

    def _ended(self, pull: Pull) -> tuple[Range, ...]:
        """Its feeds may be asked for again."""
        assert isinstance(pull.want, Want)
        for each in pull.want.ranges:
            self._busy.pop(each.feed, None)
        self._dirty = True
        return pull.want.ranges

    def _peer(self, peer: PeerId) -> Peer:
        found = self._peers.get(peer)
        assert found is not None  # it was chosen just now
        return found

    @property
    def next(self) -> float:
        """When `due` will have something, should nothing arrive before."""
        return self._wake
