"""Our own feed: how far others have it, and whether we may go on signing.

A key that signs in two places forks its feed. While the replica is *recovering* it does not sign, and waits to be told
that nothing of our feed is missing here. Rules:

- It is told so when we hold all that every peer heard lately has shown (one at least has), have listened for 2 s since
  we connected and since the last block of ours came, and neither of the following two holds. Where such blocks made it
  stop, their author may be alive and silent: then that is 160 s.
- A member has shown more of our feed than we hold. Its word keeps us from signing until it has handed these blocks over
  or is gone. It does not make a replica that is ready stop: only blocks with our signature do, and the replica sees
  these itself when they are imported.
- Another process of our key has answered a question of ours within 160 s: nonces make sure that it lives now. Whoever
  is heard with our key is asked, up to three times; an old frame of ours that somebody replays answers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medledger.limits import ANSWER_SECONDS, PATIENCE_FAILURES, PEER_SECONDS, RECOVERY_SECONDS

from .alarms import Alarms
from .delivery import Delivery
from .frontier import Frontier
from .peers import Peer, PeerId, Peers
from .publishing import Publisher
from .replica import Replica

RECOVERING: Final = "recovering"


@dataclass(slots=True)
class Challenge:
    """A question to another process of our key: when it was asked last, and how often."""

    at: float
    times: int = 1


class OwnFeed:
    """Our own feed, as others show it."""

    def __init__(self, replica: Replica, frontier: Frontier, peers: Peers, alarms: Alarms, now: float) -> None:
        self._replica = replica
        self._peers = peers
        self._alarms = alarms
        self.publisher: Final = Publisher(replica, frontier, now)
        self.delivery: Final = Delivery()
        self._recovering: bool | None = None
        self._length = 0
        self._surpassed = False  # others have blocks of ours that made the replica stop
        self._twin_at = float("-inf")
        self._challenges: dict[PeerId, Challenge] = {}
        self._look_at = now + RECOVERY_SECONDS

    @property
    def next(self) -> float:
        """When `confirm` may have something to tell."""
        return self._look_at if self._recovering else float("inf")

    def listen(self, now: float) -> None:
        """We have connected, or something of our feed has come: what was heard before says too little."""
        self._look_at = now + (PEER_SECONDS if self._surpassed else RECOVERY_SECONDS)

    def moved(self, root: bytes, now: float) -> None:
        """Our root, at this time; our feed's length and the replica's state may have changed."""
        length = self.publisher.length
        self.delivery.moved(root, length, now)
        recovering = self._replica.state == RECOVERING
        if recovering and self._recovering is False:
            self._alarms.surpassed(now)
            self._surpassed = True
        self._surpassed &= recovering
        if length != self._length or recovering != self._recovering:
            self.listen(now)
        self._length, self._recovering = length, recovering

    # --- what others show ---------------------------------------------------------------------------------------

    def shown(self, peer: Peer, length: int, now: float) -> None:
        """A peer has told how much of our feed it holds."""
        peer.own = length
        self.delivery.seen_length(length, now)

    def seen_root(self, peer: Peer, root: bytes, *, was_ours: bool, now: float) -> None:
        """A peer has shown its root: one that is or was ours says that it holds no more of our feed than we do."""
        if was_ours:
            peer.own = 0
        self.delivery.seen_root(root, now)

    def twin(self, now: float) -> None:
        """Another process has answered us with our own key."""
        self._twin_at = now
        self._challenges.clear()
        self._alarms.twin_lives(now)

    # --- what the replica may know ------------------------------------------------------------------------------

    def due(self, now: float) -> bool:
        """Whether it is time to see if the replica can be told that nothing is missing."""
        return bool(self._recovering) and now >= self._look_at

    def confirm(self, now: float, *, in_sync: bool) -> list[Peer]:
        """Tell the replica that nothing of our feed is missing, where that is so. Returns peers to ask for a sign of
        life first.
        """
        self._look_at = now + RECOVERY_SECONDS
        if now - self._twin_at <= PEER_SECONDS:
            return []
        peers = [peer for peer in self._peers if not peer.gone]
        twins = [peer for peer in peers if peer.id.key == self._replica.me and self._doubtful(peer, now)]
        if twins or not in_sync:
            return [peer for peer in twins if self._challenges[peer.id].at == now]
        for peer in peers:
            if peer.own > self._length and not peer.stranger and now - peer.heard_at <= PEER_SECONDS:
                self._alarms.withheld(peer.id.key, now)
                return []
        with self._alarms.about("this node cannot begin to sign", now):
            self._replica.peer_has_no_more(self._length)
        return []

    def _doubtful(self, peer: Peer, now: float) -> bool:
        """Whether this process of our key may live, and has not answered yet; asks it again when it is time to."""
        challenge = self._challenges.get(peer.id)
        if challenge is None or now - challenge.at > PEER_SECONDS:
            self._challenges = {each: made for each, made in self._challenges.items() if now - made.at <= PEER_SECONDS}
            challenge = self._challenges[peer.id] = Challenge(now)
        elif now - challenge.at >= 2 * ANSWER_SECONDS:
            if challenge.times >= PATIENCE_FAILURES:
                return False
            challenge.at, challenge.times = now, challenge.times + 1
        return True
