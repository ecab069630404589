"""Claims: answering a query that was put to all, so that one or two do, however many could.

Rules:

- Who holds all of a range that a query asks for, and is not excluded by it, may answer. It publishes a claim; and the
  blocks themselves, again, on their feed's topic, where they fit four live frames: whoever missed them has them then.
  Of more than that the claim is all, and the asker sends the claimant a want.
- The author of the feed answers at once. Everybody else waits for 250 ms and then by rank (see `rank`), in a ledger of
  as many as it has feeds.
- A claim silences whoever hears it, about the ranges that it names. One made well before its rank's time does not, nor
  does one of a peer that the query excludes: who claims and does not deliver wins nothing but one round.
- A claim may overtake its query: it is remembered until that comes.
- Blocks that were published since the query came are not published again.
- Where three peers want the same few blocks of one node within 2 s, more of them will: it publishes them, unasked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from medledger.limits import (
    ANSWER_SECONDS,
    CLAIM_STEP_SECONDS,
    LIVE_BACKLOG_FRAMES,
    LIVE_FRAME_BYTES,
    MAX_QUERIES,
    REPUBLISHED_BURST,
    REPUBLISHED_PER_SECOND,
    SEEN_FRAMES,
    WANTED_BY,
)

from . import rank
from .bounded import Budget
from .frontier import PREFIX_BYTES, Frontier
from .messages import CLAIMED_BYTES, Blocks, Claim, Query, Range
from .peers import PeerId
from .replica import Replica
from .roster import Roster

FEW_BLOCKS = 64


def claim_wait(key: bytes, nonce: bytes, feeds: int) -> float:
    """How long the peer of this key waits with a claim of others' blocks, in a ledger of so many feeds."""
    return CLAIM_STEP_SECONDS + rank.wait(rank.share_of(key, nonce), feeds)


def bitmap(places: Sequence[int]) -> bytes:
    """Which ranges of a query are claimed, the first bit being the first range."""
    bits = bytearray(CLAIMED_BYTES)
    for at in places:
        bits[at >> 3] |= 0x80 >> (at & 7)
    return bytes(bits)


def claimed(claim: Claim, ranges: Sequence[Range]) -> Iterator[tuple[int, Range]]:
    """The ranges of a query that a claim names, with their places in it."""
    for at, each in enumerate(ranges):
        if claim.ranges[at >> 3] & (0x80 >> (at & 7)):
            yield at, each


def prefixes(excluded: bytes) -> set[bytes]:
    """The prefixes that a query excludes."""
    return {excluded[at : at + PREFIX_BYTES] for at in range(0, len(excluded), PREFIX_BYTES)}


class Answer(NamedTuple):
    """A claim, where there was a query, and blocks to publish again."""

    claim: Claim | None
    frames: list[Blocks]


@dataclass(slots=True)
class Heard:
    """A query that we can answer some of."""

    query: Query
    at: float
    due: dict[int, float]  # of each range that we hold and nobody has claimed, when we will
    published: set[bytes] = field(default_factory=set)  # marks of blocks that were, since it came


@dataclass(slots=True)
class Wanted:
    """A few blocks that peers want of us, one by one."""

    since: float
    by: set[bytes] = field(default_factory=set)


class Claimant:
    """What one node answers of the queries it hears."""

    def __init__(self, replica: Replica, frontier: Frontier, roster: Roster, me: PeerId, now: float) -> None:
        self._replica = replica
        self._frontier = frontier
        self._roster = roster
        self._me = me
        self._heard: dict[bytes, Heard] = {}
        self._overtaking: OrderedDict[bytes, tuple[PeerId, Claim]] = OrderedDict()  # claims before their queries
        self._wanted: OrderedDict[Range, Wanted] = OrderedDict()
        self._unasked: list[Range] = []  # to publish, since several want them
        self._budget = Budget(REPUBLISHED_PER_SECOND, REPUBLISHED_BURST, now)

    @property
    def next(self) -> float:
        """When `due` will have something."""
        if self._unasked:
            return float("-inf")
        return min((at for heard in self._heard.values() for at in heard.due.values()), default=float("inf"))

    def query(self, query: Query, now: float) -> None:
        """Somebody asks all."""
        mine = self._me.key
        if mine[:PREFIX_BYTES] in prefixes(query.excluded) or len(self._heard) >= MAX_QUERIES:
            return
        wait = claim_wait(mine, query.nonce, self._roster.count)
        due = {
            at: now + (0.0 if each.feed == mine else wait)
            for at, each in enumerate(query.ranges)
            if self._frontier.length(each.feed) >= each.stop
        }
        if due:
            self._heard[query.nonce] = Heard(query, now, due)
        if query.nonce in self._overtaking:
            self.claimed(*self._overtaking.pop(query.nonce), now)

    def claimed(self, who: PeerId, claim: Claim, now: float) -> None:
        """Somebody answers."""
        heard = self._heard.get(claim.nonce)
        if heard is None:
            self._overtaking[claim.nonce] = who, claim
            if len(self._overtaking) > MAX_QUERIES:
                self._overtaking.popitem(last=False)
            return
        if who.key[:PREFIX_BYTES] in prefixes(heard.query.excluded):
            return
        early = now - heard.at + 2 * CLAIM_STEP_SECONDS < claim_wait(who.key, claim.nonce, self._roster.count)
        for at, each in claimed(claim, heard.query.ranges):
            if who.key == each.feed or not early:
                heard.due.pop(at, None)
        if not heard.due:
            del self._heard[claim.nonce]

    def wanted(self, who: PeerId, ranges: Sequence[Range], now: float) -> None:
        """A peer wants blocks of us."""
        for each in ranges:
            if each.stop - each.start > FEW_BLOCKS or self._frontier.length(each.feed) < each.stop:
                continue
            wanted = self._wanted.pop(each, None)
            if wanted is None or now - wanted.since > ANSWER_SECONDS:
                wanted = Wanted(now)
            self._wanted[each] = wanted
            if len(self._wanted) > MAX_QUERIES:
                self._wanted.popitem(last=False)
            before = len(wanted.by)
            wanted.by.add(who.key)
            if before < WANTED_BY <= len(wanted.by) and self._budget.take(1, now):
                self._unasked.append(each)

    def published(self, blocks: Blocks) -> None:
        """These blocks go to all."""
        for heard in self._heard.values():
            if len(heard.published) < SEEN_FRAMES and any(each.feed == blocks.feed for each in heard.query.ranges):
                heard.published.update(map(_mark, blocks.blocks))

    def due(self, now: float) -> Iterator[Answer]:
        """What to answer now. Raises what `Replica.release` raises."""
        unasked, self._unasked = self._unasked, []
        if unasked:
            yield Answer(None, self._blocks(unasked, set()))
        for nonce, heard in list(self._heard.items()):
            places = [at for at, due in heard.due.items() if due <= now]
            if not places:
                continue
            for at in places:
                del heard.due[at]
            if not heard.due:
                del self._heard[nonce]
            frames = self._blocks([heard.query.ranges[at] for at in places], heard.published)
            for frame in frames:
                self.published(frame)
            yield Answer(Claim(nonce, bitmap(places)), frames)

    def abandon(self) -> None:
        """Forget all: whoever asked on the connection that is gone will ask again."""
        self._heard.clear()
        self._overtaking.clear()
        self._wanted.clear()
        self._unasked.clear()

    def _blocks(self, ranges: Sequence[Range], published: set[bytes]) -> list[Blocks]:
        """The blocks of the ranges that are small, in as many live frames as may be published at once."""
        frames: list[Blocks] = []
        for feed, start, stop, _ in ranges:
            mine: list[Blocks] = []
            at = start
            while at < stop and len(frames) + len(mine) < LIVE_BACKLOG_FRAMES:
                raws = self._replica.release(feed, at, stop, LIVE_FRAME_BYTES)
                if not raws:
                    break
                at += len(raws)
                mine.append(Blocks(feed, tuple(raw for raw in raws if _mark(raw) not in published)))
            if at >= stop:
                frames += [frame for frame in mine if frame.blocks]
        return frames


def _mark(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=16).digest()
