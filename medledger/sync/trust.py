"""What is believed of peers that show blocks, after what they gave of those that they had shown.

Rules:

- What a peer did not give, or gave in a form that nobody can take, it is not asked for again for a while, as long as it
  shows the same.
- Three pulls in a row without anything of what it had shown: the peer is paused as if it were silent. Of what it shows
  next one want's worth is believed at a time. Something gained makes all good.
- All this is said of a key: another boot of it begins as the least trusted of those heard lately, and
  shares their pulls.
- A search for a split goes further back with each answer; who answers with anything else gives nothing.
- What was a guess of ours it has not shown. What had come from elsewhere by then it need not give. Blocks beyond a fork
  or a cut that it has not heard of are no fault of it, but nothing gained either.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from random import Random

from medledger.errors import BlockError, CutError, DivergedError, ForkedError
from medledger.limits import MAX_INTERESTS, MAX_PULLS_PER_PEER, PATIENCE_FAILURES, SETTLED_SECONDS

from .frontier import Frontier, Missing
from .interests import Interest, Shown
from .messages import Range
from .peers import Peer, PeerId, Peers
from .pulls import Pull
from .replica import ImportReport


class Trust:
    """What one node believes of its peers."""

    def __init__(self, frontier: Frontier, peers: Peers, rng: Random) -> None:
        self._frontier = frontier
        self._peers = peers
        self._rng = rng
        self._vain: OrderedDict[tuple[bytes, bytes], tuple[Shown, float]] = OrderedDict()  # by key and feed, until when

    def promising(self, who: PeerId) -> bool:
        """Whether a peer answers, and gives what it shows."""
        peer = self._peers.get(who)
        return peer is not None and max(peer.failures, peer.vain) < PATIENCE_FAILURES

    def doubted(self, who: PeerId) -> bool:
        """Whether a peer has shown and not given, too often."""
        peer = self._peers.get(who)
        return peer is not None and peer.vain >= PATIENCE_FAILURES

    def pulls_at_once(self, who: PeerId) -> int:
        """How many pulls may be under way to the boots of a key, to be one of which this peer is asked."""
        return 1 if self.doubted(who) else MAX_PULLS_PER_PEER

    def in_vain(self, who: PeerId, feed: bytes, lack: Missing, now: float) -> bool:
        """Whether this peer has shown the same lately, and not given it."""
        shown, until = self._vain.get((who.key, feed), (None, now))
        return now < until and shown == (lack.stop, lack.head)

    def note_vain(self, who: PeerId, asked: Range, now: float) -> None:
        """This peer has shown more of a feed than it gives."""
        self._vain[who.key, asked.feed] = Shown(asked.stop, asked.head), now + SETTLED_SECONDS
        self._vain.move_to_end((who.key, asked.feed))
        if len(self._vain) > MAX_INTERESTS:
            self._vain.popitem(last=False)

    def appraise(
        self,
        peer: Peer,
        pull: Pull,
        ranges: Sequence[Range],
        report: ImportReport | None,
        interests: list[Interest],
        now: float,
    ) -> None:
        """Whether a peer gave anything of what it had shown, or was not asked for any such thing."""
        pull.judge(peer, report, now, self._rng.random())
        refused = report.refused if report is not None else ()
        searched = any(interest.search is not None for interest in interests)
        if searched and any(astray(pull, each, refused) for each in ranges):
            peer.gave_nothing(now, self._rng.random())
            return
        if report is not None and (
            report.accepted
            or report.forks
            or (searched and report.duplicates)
            or any(isinstance(error, DivergedError) for error in refused)
        ):
            peer.gave()
            return
        if any(isinstance(error, ForkedError | CutError) for error in refused):
            peer.found_nothing()  # nor have we looked who signed these blocks
            return
        owed = any(self._frontier.length(each.feed) < each.stop for each in ranges)
        shown = any(not interest.guessed for interest in interests)
        if owed and shown and (pull.whole or pull.failed(report)):
            peer.gave_nothing(now, self._rng.random())


def astray(pull: Pull, asked: Range, refused: Sequence[BlockError]) -> bool:
    """Whether a peer in whom a split is searched for gives other blocks than it was asked for: the first of these lies
    further back each time, or links. Else a search would never end.
    """
    errors = [error for error in refused if error.feed == asked.feed and isinstance(error, DivergedError)]
    first = min((error.seq for error in errors if error.seq is not None), default=asked.start)
    return pull.whole and first > asked.start
