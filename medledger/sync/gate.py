"""The gate: what a frame must pass before anything it says counts, cheap checks before dear ones.

 (1) its topic is one of ours
 (2) its size is within its channel's limits
 (3) it is sealed with our transport key
 (4) it was not seen before: nonce and seal are remembered, our own frames' too, which a broker sends back
 (5) it opens for this topic
 (6) its kind belongs on this channel, and its fields are strict CBOR of the right forms
 (7) a live or proof topic is that of the feed the frame speaks of
 (8) its sender is not revoked                                             (8) to (11): signed frames only
 (9) its counter is fresh in its sender's boot; that of a last will, later than the will before, of a peer we know
(10) it is signed by that sender
(11) a request to one peer is meant for this boot of ours, and every request is within its sender's budget

Only what passed leaves a trace: nothing is remembered of a frame that fails.
"""

from __future__ import annotations

from typing import Final

from medledger.errors import FrameError
from medledger.limits import BRANCH_REQUEST_COST, QUERY_COST, SEEN_FRAMES

from .bounded import RecentSet
from .frames import KEY_ID_BYTES, NONCE_BYTES, Origin
from .keyring import Keyring
from .messages import Blocks, Gone, Message, Probe, Proof, Query, Want, WantBranches
from .peers import Peer, PeerId, Peers
from .roster import Roster

TAG_BYTES = 16

COSTS: Final[dict[type[Message], int]] = {Probe: 1, Want: 1, WantBranches: BRANCH_REQUEST_COST, Query: QUERY_COST}
"""What each request takes of its sender's budget of requests."""


class Gate:
    """Opens frames for one node."""

    def __init__(self, me: PeerId, keyring: Keyring, peers: Peers, roster: Roster) -> None:
        self._me = me
        self._keyring = keyring
        self._peers = peers
        self._roster = roster
        self._seen = RecentSet(SEEN_FRAMES)
        self._my_will = -1  # counter of the last of our own wills that was published while we live

    def sent(self, frame: bytes) -> None:
        """Remember a frame of ours, so that its echo costs nothing."""
        self._seen.add(_mark(frame))

    def admit(self, topic: str, payload: bytes, now: float) -> tuple[Message, Peer | None] | None:
        """What a frame says, and for a signed one who said it; None for one seen before. Raises `FrameError`.

        Of our own frames only a last will is news: published while we live, and said by nobody then.
        """
        found = self._keyring.read(topic)  # (1)
        if found is None:
            raise FrameError("a frame came on a topic that is not this ledger's")
        band, (channel, token) = found
        band.codec.check_outside(channel, payload)  # (2) (3)
        mark = _mark(payload)
        if mark in self._seen:  # (4)
            return None
        frame = band.codec.open(topic, channel, payload)  # (5) (6)
        message = frame.message
        if isinstance(message, Blocks | Proof) and band.topics.feed_token(message.feed) != token:  # (7)
            raise FrameError("a frame speaks of another feed than its topic")
        peer = None
        if frame.origin is not None:
            will = isinstance(message, Gone)
            self._check_origin(frame.origin, will=will)  # (8) (9)
            band.codec.check_signature(frame)  # (10)
            peer = self._left(frame.origin) if will else self._heard(frame.origin, now)
        self._seen.add(mark)
        if peer is not None:
            self._check_request(message, peer, now)  # (11)
        return message, peer

    def _check_origin(self, origin: Origin, *, will: bool) -> None:
        if self._roster.revoked(origin.sender):
            raise FrameError("a frame's sender is revoked")
        who = PeerId(origin.sender, origin.boot)
        if will:
            if origin.counter <= self._my_will if who == self._me else not self._peers.may_leave(who, origin.counter):
                raise FrameError("a last will is of nobody we know, or an old one")
        elif not self._peers.fresh(who, origin.counter):
            raise FrameError("a frame's counter was used before, or is too old")

    def _heard(self, origin: Origin, now: float) -> Peer:
        stranger = not self._roster.knows(origin.sender)
        return self._peers.heard(PeerId(origin.sender, origin.boot), origin.counter, stranger=stranger, now=now)

    def _left(self, origin: Origin) -> Peer | None:
        who = PeerId(origin.sender, origin.boot)
        if who == self._me:
            self._my_will = origin.counter
            return None
        return self._peers.left(who, origin.counter)

    def _check_request(self, message: Message, peer: Peer, now: float) -> None:
        if isinstance(message, Probe | Want | WantBranches) and message.boot != self._me.boot:
            raise FrameError("a request is meant for another boot of this node")
        cost = COSTS.get(type(message), 0)
        if cost and not self._peers.may_ask(peer, now, cost):
            raise FrameError("a sender asks more often than its budget allows")


def _mark(frame: bytes) -> bytes:
    """Nonce and seal: two frames that share these and open are the same frame."""
    return frame[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES] + frame[-TAG_BYTES:]
