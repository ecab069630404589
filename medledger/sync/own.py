"""Our own feed: how far others have it, and whether we may go on signing.

A key that signs in two places forks its feed. While the replica is *recovering* it does not sign, and waits to be told
that nothing of our feed is missing here. Rules:

- It is told so when we hold all that every peer heard lately has shown, have listened for 2 s since we connected and
  since the last block of ours came, and neither of the following two holds.
- A member has shown more of our feed than we hold. Its word keeps us from signing until it has handed these blocks over
  or is gone. It does not make a replica that is ready stop: only blocks with our signature do, and the replica sees
  these itself when they are imported.
- Another process of our key has answered a question of ours within 160 s: nonces make sure that it lives now. An old
  frame of ours that somebody replays answers nothing.
"""

from __future__ import annotations

from typing import Final

from medledger.limits import PEER_SECONDS, RECOVERY_SECONDS

from .alarms import Alarms
from .delivery import Delivery
from .frontier import Frontier
from .peers import Peer, Peers
from .publishing import Publisher
from .replica import Replica

RECOVERING: Final = "recovering"


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
        self._twin_at = float("-inf")
        self._look_at = now + RECOVERY_SECONDS

    @property
    def next(self) -> float:
        """When `confirm` may have something to tell."""
        return self._look_at if self._recovering else float("inf")

    def listen(self, now: float) -> None:
        """We have connected, or something of our feed has come: what was heard before says too little."""
        self._look_at = now + RECOVERY_SECONDS

    def moved(self, root: bytes, now: float) -> None:
        """Our root, at this time; our feed's length and the replica's state may have changed."""
        length = self.publisher.length
        self.delivery.moved(root, length, now)
        recovering = self._replica.state == RECOVERING
        if recovering and self._recovering is False:
            self._alarms.surpassed(now)
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
        self._alarms.twin_lives(now)

    # --- what the replica may know ------------------------------------------------------------------------------

    def due(self, now: float) -> bool:
        """Whether it is time to see if the replica can be told that nothing is missing."""
        return bool(self._recovering) and now >= self._look_at

    def confirm(self, now: float, *, in_sync: bool) -> None:
        """Tell the replica that nothing of our feed is missing, where that is so."""
        self.listen(now)
        if not in_sync:
            return
        for peer in self._peers:
            if peer.own > self._length and not peer.stranger and not peer.gone and now - peer.heard_at <= PEER_SECONDS:
                self._alarms.withheld(peer.id.key, now)
                return
        if now - self._twin_at > PEER_SECONDS:
            with self._alarms.about("this node cannot begin to sign", now):
                self._replica.peer_has_no_more(self._length)
