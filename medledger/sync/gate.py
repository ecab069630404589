"""The gate: what a frame must pass before anything it says counts, cheap checks before dear ones.

 (1) its topic is one of ours
 (2) its size is within its channel's limits
 (3) it is sealed with our transport key
 (4) it was not seen before: nonce and seal are remembered, our own frames' too, which a broker sends back
 (5) it opens for this topic
 (6) its kind belongs on this channel, and its fields are strict CBOR of the right forms
 (7) a live or proof topic is that of the feed the frame speaks of
 (8) its sender is not revoked                                             (8) to (11): signed frames only
 (9) its counter is fresh in its sender's boot
(10) it is signed by that sender
(11) a request is meant for this boot of ours, and within its sender's budget

Only what passed leaves a trace: nothing is remembered of a frame that fails.
"""

from __future__ import annotations

from medledger.errors import FrameError
from medledger.limits import BRANCH_REQUEST_COST, SEEN_FRAMES

from .bounded import RecentSet
from .frames import KEY_ID_BYTES, NONCE_BYTES, Codec, Origin
from .messages import Blocks, Message, Proof, Request, WantBranches
from .peers import Peer, PeerId, Peers
from .roster import Roster
from .topics import Topics

TAG_BYTES = 16


class Gate:
    """Opens frames for one node."""

    def __init__(self, me: PeerId, codec: Codec, topics: Topics, peers: Peers, roster: Roster) -> None:
        self._me = me
        self._codec = codec
        self._topics = topics
        self._peers = peers
        self._roster = roster
        self._seen = RecentSet(SEEN_FRAMES)

    def sent(self, frame: bytes) -> None:
        """Remember a frame of ours, so that its echo costs nothing."""
        self._seen.add(_mark(frame))

    def admit(self, topic: str, payload: bytes, now: float) -> tuple[Message, Peer | None] | None:
        """What a frame says, and for a signed one who said it; None for one seen before. Raises `FrameError`."""
        address = self._topics.read(topic)  # (1)
        if address is None:
            raise FrameError("a frame came on a topic that is not this ledger's")
        channel = address.channel
        self._codec.check_outside(channel, payload)  # (2) (3)
        mark = _mark(payload)
        if mark in self._seen:  # (4)
            return None
        frame = self._codec.open(topic, channel, payload)  # (5) (6)
        message = frame.message
        if isinstance(message, Blocks | Proof) and self._topics.feed_token(message.feed) != address.token:  # (7)
            raise FrameError("a frame speaks of another feed than its topic")
        peer = None
        if frame.origin is not None:
            self._check_origin(frame.origin)  # (8) (9)
            self._codec.check_signature(frame)  # (10)
            peer = self._heard(frame.origin, now)
        self._seen.add(mark)
        if peer is not None:
            self._check_request(message, peer, now)  # (11)
        return message, peer

    def _check_origin(self, origin: Origin) -> None:
        if self._roster.revoked(origin.sender):
            raise FrameError("a frame's sender is revoked")
        if not self._peers.fresh(PeerId(origin.sender, origin.boot), origin.counter):
            raise FrameError("a frame's counter was used before, or is too old")

    def _heard(self, origin: Origin, now: float) -> Peer:
        stranger = not self._roster.knows(origin.sender)
        return self._peers.heard(PeerId(origin.sender, origin.boot), origin.counter, stranger=stranger, now=now)

    def _check_request(self, message: Message, peer: Peer, now: float) -> None:
        if not isinstance(message, Request):
            return
        if message.boot != self._me.boot:
            raise FrameError("a request is meant for another boot of this node")
        if not self._peers.may_ask(peer, now, BRANCH_REQUEST_COST if isinstance(message, WantBranches) else 1):
            raise FrameError("a sender asks more often than its budget allows")


def _mark(frame: bytes) -> bytes:
    """Nonce and seal: two frames that share these and open are the same frame."""
    return frame[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES] + frame[-TAG_BYTES:]
