"""The live path: blocks that all hear as they are written, and mending it where some did not hear them.

Rules:

- Live blocks are gathered and imported together (`live`). What is missing before them is asked of all (`queries`), and
  who has it is heard by all (`claims`): one answer mends it for everybody.
- Of a feed that has had more than its share of the live path nothing is asked of all: what was dropped is pulled, when
  it is that feed's turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from medledger.errors import DivergedError, GapError

from .claims import Claimant
from .frontier import Frontier
from .live import Fate, LiveBlocks
from .messages import Blocks, Claim, Query, Range
from .peers import PeerId
from .pulling import Puller
from .queries import Asker
from .replica import ImportReport, Replica
from .roster import Roster


class Repair:
    """One node's part in the live path of all feeds."""

    def __init__(
        self,
        replica: Replica,
        frontier: Frontier,
        roster: Roster,
        puller: Puller,
        rng: Random,
        me: PeerId,
        now: float,
    ) -> None:
        self._frontier = frontier
        self._puller = puller
        self._live = LiveBlocks()
        self._asker = Asker(frontier, puller, roster, rng)
        self._claimant = Claimant(replica, frontier, roster, me, now)

    # --- blocks -------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """There are blocks to import."""
        return bool(self._live)

    @property
    def full(self) -> bool:
        """They should be, before more are gathered."""
        return self._live.full

    @property
    def idle(self) -> bool:
        """No blocks wait, and none are asked for."""
        return not self._live and self._asker.idle

    def heard(self, blocks: Blocks, now: float) -> Fate:
        """Live blocks have come."""
        self._claimant.published(blocks)
        return self._live.add(blocks, now)

    def take(self) -> list[Blocks]:
        """The frames to import now."""
        return self._live.take()

    def imported(self, frames: list[Blocks], report: ImportReport, now: float) -> None:
        """They were: what was refused shows what is missing."""
        for error in report.refused:
            feed, seq = error.feed, error.seq
            if feed is None or seq is None:
                continue
            if isinstance(error, GapError):
                length = self._frontier.length(feed)
                self._missing(feed, self._live.keep(frames, feed, seq, length, now), now)
            elif isinstance(error, DivergedError):
                self._puller.diverged(feed, seq)
        self._live.refused(frames, report.refused)

    def advanced(self, feed: bytes, length: int) -> None:
        """A feed has grown, whoever the blocks came from."""
        self._live.advanced(feed, length)

    def _missing(self, feed: bytes, stop: int, now: float) -> None:
        if self._live.flooded(feed, now):
            self._puller.guess(feed, stop)
        else:
            self._asker.gap(feed, stop, now)

    # --- what is said about them --------------------------------------------------------------------------------

    def query(self, query: Query, now: float) -> None:
        """Somebody asks all."""
        self._asker.heard(query, now)
        self._claimant.query(query, now)

    def claim(self, who: PeerId, claim: Claim, now: float) -> None:
        """Somebody answers."""
        self._asker.claimed(who, claim, now)
        self._claimant.claimed(who, claim, now)

    def wanted(self, who: PeerId, ranges: Sequence[Range], now: float) -> None:
        """Somebody wants blocks of us; several may want the same."""
        self._claimant.wanted(who, ranges, now)

    def lost(self, now: float) -> None:
        """Ask all for what those that had it do not give any more."""
        for feed, stop in self._puller.take_lost().items():
            self._asker.lost(feed, stop, now)

    @property
    def next(self) -> float:
        """When `due` will have something, should nothing arrive before."""
        return min(self._asker.next, self._claimant.next)

    def due(self, now: float) -> Iterator[Query | Claim | Blocks]:
        """What to say now, to all. Raises what `Replica.release` raises."""
        query = self._asker.due(now)
        if query is not None:
            yield query
        for claim, frames in self._claimant.due(now):
            if claim is not None:
                yield claim
            yield from frames

    def abandon(self) -> None:
        """The connection is gone, and with it whoever asked or would answer."""
        self._asker.abandon()
        self._claimant.abandon()
