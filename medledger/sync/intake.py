"""What comes into the replica, and what of ours that changes.

Rules:

- Blocks and proofs are judged by the replica. A disk that fails is an alarm, and nothing is lost by it: what could not
  be stored is still where it came from.
- After each change the frontier is brought up to date, in the feeds that changed and all that have forked; where a fork
  was proved or the membership changed, in all: what stands of a feed ends at its fork or revocation.
- Fork proofs about feeds that were not known are looked at again when the membership changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from medledger.errors import MedledgerError, NewerBlockError

from .alarms import Alarms
from .forks import ForkDesk
from .frontier import Frontier
from .heights import Heights
from .messages import Proof
from .replica import ImportReport, Replica
from .roster import Roster


class Intake:
    """The way into one node's replica. `changed` is called with whether the membership has changed, and the time."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        frontier: Frontier,
        forks: ForkDesk,
        alarms: Alarms,
        counters: Counter[str],
        changed: Callable[[bool, float], None],
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._frontier = frontier
        self._heights = Heights(replica, roster)
        self._forks = forks
        self._alarms = alarms
        self._counters = counters
        self._changed = changed

    def blocks(self, blocks: list[bytes], now: float) -> ImportReport | None:
        """Hand blocks to the replica and take over what changed; None where its disk fails."""
        try:
            report = self._replica.import_blocks(blocks)
        except MedledgerError as error:
            self._alarms.tell(f"blocks cannot be stored: {error}", now, hint=error.hint)
            return None
        self._counters["accepted blocks"] += report.accepted
        self._counters["duplicate blocks"] += report.duplicates
        self._counters["refused blocks"] += len(report.refused)
        for refusal in report.refused:
            feed = refusal.feed
            if isinstance(refusal, NewerBlockError) and feed is not None and self._roster.knows(feed):
                self._alarms.newer(feed, now)
        for feed in report.forks:
            self._forks.proved(feed, now)
            self._alarms.forked(feed, now)
        if report.forks:
            self.reload(now)
        else:
            self.look({advance.feed for advance in report.advanced}, now)
        return report

    def proof(self, message: Proof, now: float) -> None:
        """Hand a fork proof to the replica."""
        try:
            news = self._forks.received(message, now)
        except MedledgerError as error:
            self._counters["refused fork proofs"] += 1
            self._counters[f"refused: {type(error).__name__}"] += 1
            return
        if news:
            self._alarms.forked(message.feed, now)
            self.reload(now)

    def look(self, feeds: set[bytes], now: float) -> None:
        """These feeds have changed in the replica, and perhaps forks and their branches, which nobody tells of."""
        if self._roster.refresh(self._replica.membership):
            self._measure(None, now, membership=True)
            for proof in self._forks.parked():
                self.proof(proof, now)
        else:
            self._measure(feeds, now)

    def reload(self, now: float) -> None:
        """Anything may have changed."""
        self._measure(None, now, membership=self._roster.refresh(self._replica.membership))

    def _measure(self, feeds: set[bytes] | None, now: float, *, membership: bool = False) -> None:
        """Bring the frontier up to date: in these feeds and all that have forked, or in all."""
        with self._alarms.about("the ledger cannot be read", now):
            if feeds is None:
                self._frontier.replace(self._heights.all())
            else:
                for feed, height in self._heights.of(feeds).items():
                    self._frontier.update(feed, height)
        self._changed(membership, now)
