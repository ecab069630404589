"""Queries: asking all for blocks, where nobody is known who has them.

Rules:

- A gap that live blocks show has a moment to close by itself, longer for most nodes than for a few (see `rank`). What
  is lacking then is asked for in a query, up to 64 feeds at a time; but where somebody else has just asked for as much,
  its answer is waited for: it is for all.
- Who claims blocks that we asked for is sent a want for whatever of them does not arrive by itself.
- What is still lacking when the longest wait for a claim is over is asked for again: after twice the time, three times
  at most, counting those that we kept silent about. Who has claimed it in vain is excluded then. After that the puller
  guesses whom to ask, once, and the rest is left to beacons.
- What peers have shown that are silent now may be a lie: it is asked for once, and not waited for.
- While blocks of a gap come in, nothing is asked and nobody is excluded.
- A feed of which more is known to be lacking, since peers have shown it, is the puller's alone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from random import Random

from medledger.limits import (
    CLAIM_STEP_SECONDS,
    MAX_EXCLUDED,
    MAX_GAPS,
    MAX_QUERIES,
    QUERIES_PER_GAP,
    QUERY_SECONDS,
    QUERY_STEP_SECONDS,
    RANGES_PER_WANT,
)

from . import rank
from .claims import claimed
from .frontier import PREFIX_BYTES, Frontier
from .messages import NONCE_BYTES, Claim, Query, Range
from .peers import PeerId
from .pulling import Puller
from .roster import Roster


@dataclass(slots=True)
class Gap:
    """Blocks of one feed that we lack, up to `stop`, and nobody is known to have."""

    feed: bytes
    stop: int
    due: float
    length: int  # of our feed when it was last asked for
    live: bool  # blocks after them have come, so that somebody must have them
    asked: int = 0  # queries for it, our own and those of others
    claimants: dict[PeerId, None] = field(default_factory=dict)


class Asker:
    """What one node asks of all."""

    def __init__(self, frontier: Frontier, puller: Puller, roster: Roster, rng: Random) -> None:
        self._frontier = frontier
        self._puller = puller
        self._roster = roster
        self._rng = rng
        self._gaps: OrderedDict[bytes, Gap] = OrderedDict()
        self._open: OrderedDict[bytes, tuple[Range, ...]] = OrderedDict()  # our last queries, by nonce

    @property
    def idle(self) -> bool:
        """Nothing is asked for that there must be."""
        return not any(gap.live for gap in self._gaps.values())

    @property
    def next(self) -> float:
        """When `due` will have something, should nothing arrive before."""
        return min((gap.due for gap in self._gaps.values()), default=float("inf"))

    def gap(self, feed: bytes, stop: int, now: float) -> None:
        """A live block shows that we lack those before `stop`. They may be on their way: wait a moment."""
        if self._puller.seeks(feed):
            self._puller.guess(feed, stop)
        else:
            wait = rank.wait(1 - self._rng.random(), self._roster.count, QUERY_STEP_SECONDS)
            self._lacking(feed, stop, now + wait, live=True)

    def lost(self, feed: bytes, stop: int, now: float) -> None:
        """Whoever has shown these blocks does not answer any more. One query says whether anybody else has them."""
        if feed not in self._gaps:
            self._lacking(feed, stop, now + QUERY_SECONDS * self._rng.random(), live=False)

    def _lacking(self, feed: bytes, stop: int, due: float, *, live: bool) -> None:
        gap = self._gaps.get(feed)
        if gap is None and len(self._gaps) < MAX_GAPS:
            asked = 0 if live else QUERIES_PER_GAP - 1
            gap = self._gaps[feed] = Gap(feed, stop, due, self._frontier.length(feed), live, asked)
        if gap is not None:
            gap.stop = stop  # the first blocks that are missing come first
            gap.live |= live

    # --- asking -------------------------------------------------------------------------------------------------

    def due(self, now: float) -> Query | None:
        """The query to publish now, if any."""
        gaps: list[Gap] = []
        for gap in list(self._gaps.values()):
            length = self._frontier.length(gap.feed)
            if length >= gap.stop:
                del self._gaps[gap.feed]
            elif gap.due > now or len(gaps) >= RANGES_PER_WANT:
                continue
            elif length > gap.length and gap.asked:
                gap.length = length  # it comes in
                gap.due = now + self._pause(1)
            elif gap.asked >= QUERIES_PER_GAP:
                del self._gaps[gap.feed]
                if gap.live:
                    self._puller.guess(gap.feed, gap.stop)
            else:
                gaps.append(gap)
        if not gaps:
            return None
        excluded = dict.fromkeys(who.key[:PREFIX_BYTES] for gap in gaps for who in gap.claimants)
        for gap in gaps:
            self._asked(gap, now)
        ranges = tuple(Range(gap.feed, gap.length, gap.stop, b"") for gap in gaps)
        query = Query(self._rng.randbytes(NONCE_BYTES), ranges, b"".join(list(excluded)[-MAX_EXCLUDED:]))
        self._open[query.nonce] = ranges
        if len(self._open) > MAX_QUERIES:
            self._open.popitem(last=False)
        return query

    def _asked(self, gap: Gap, now: float) -> None:
        gap.asked += 1
        gap.length = self._frontier.length(gap.feed)
        gap.due = now + self._pause(gap.asked)

    def _pause(self, asked: int) -> float:
        """How long to wait for what a query brings: longer than anybody waits with a claim."""
        claims = CLAIM_STEP_SECONDS + rank.longest(self._roster.count)
        return (QUERY_SECONDS * self._rng.uniform(0.5, 1) + claims) * float(2 ** (asked - 1))

    # --- what others say ----------------------------------------------------------------------------------------

    def heard(self, query: Query, now: float) -> None:
        """Somebody else asks all: where that is for as much as we lack, it asks for us too."""
        for feed, start, stop, _ in query.ranges:
            gap = self._gaps.get(feed)
            if gap is None or start > self._frontier.length(feed) or stop < gap.stop:
                continue
            if gap.asked < QUERIES_PER_GAP:  # else who never stops asking would keep us from giving up
                self._asked(gap, now)

    def claimed(self, who: PeerId, claim: Claim, now: float) -> None:
        """Somebody answers; us, where the query was ours."""
        for _, each in claimed(claim, self._open.get(claim.nonce, ())):
            gap = self._gaps.get(each.feed)
            if gap is not None:
                gap.claimants[who] = None
                self._puller.claimed(each.feed, each.stop, who, now)

    def abandon(self) -> None:
        """The connection is gone: what was asked will not be answered. Beacons tell what is lacking after the next."""
        self._gaps.clear()
        self._open.clear()
