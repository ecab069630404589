"""The gate: what a frame must pass before anything it says counts, cheap checks before dear ones.

 (1) its topic is one of ours, under the key in use or an older one; under an older one, beacons or our inbox
 (2) its size is within its channel's limits
 (3) it is sealed with the key of its topic
 (4) it was not seen before: nonce and seal are remembered, our own frames' too, which a broker sends back
 (5) it opens for this topic
 (6) its kind belongs on this channel, and its fields are strict CBOR of the right forms; under an older key it is a
     beacon, a request, a last will, or an envelope
 (7) a live or proof topic is that of the feed the frame speaks of
 (8) its sender is not revoked                                             (8) to (11): signed frames only
 (9) its counter is fresh in its sender's boot; that of a last will, later than the will before, of a peer we know
(10) it is signed by that sender
(11) a request to one peer is meant for this boot of ours, and every request is within its sender's budget
(12) an envelope opens with our own key, and holds what it may

Who speaks under an older key, and not in an envelope, missed a rotation: a *straggler*. Its boots, counters and budgets
are kept apart from those of peers: it is answered, and asked nothing.

Only what passed leaves a trace: nothing is remembered of a frame that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from medledger.errors import FrameError
from medledger.limits import BRANCH_REQUEST_COST, QUERY_COST, SEEN_FRAMES

from .bounded import RecentSet
from .envelopes import disclose
from .frames import KEY_ID_BYTES, NONCE_BYTES, Origin
from .keyring import Band, Keyring
from .messages import Beacon, Blocks, Envelope, Gone, Message, Probe, Proof, Query, Want, WantBranches
from .peers import Peer, PeerId, Peers
from .roster import Roster
from .topics import Channel

TAG_BYTES = 16

UNDER_OLDER_KEYS: Final = (Beacon, Probe, Want, WantBranches, Gone, Envelope)

COSTS: Final[dict[type[Message], int]] = {Probe: 1, Want: 1, WantBranches: BRANCH_REQUEST_COST, Query: QUERY_COST}
"""What each request takes of its sender's budget of requests."""


class Admitted(NamedTuple):
    """What a frame said, under which key, and who said it; nobody for a bare frame and for a last will of our own."""

    message: Message
    peer: Peer | None
    band: Band
    enveloped: bool
    straggler: bool


class Gate:
    """Opens frames for one node. `unseal` opens what is sealed to its own key."""

    def __init__(
        self,
        me: PeerId,
        keyring: Keyring,
        peers: Peers,
        stragglers: Peers,
        roster: Roster,
        unseal: Callable[[bytes], bytes],
    ) -> None:
        self._me = me
        self._keyring = keyring
        self._stragglers = stragglers
        self._unseal = unseal
        self._peers = peers
        self._roster = roster
        self._seen = RecentSet(SEEN_FRAMES)
        self._my_will = -1  # counter of the last of our own wills that was published while we live

    def sent(self, frame: bytes) -> None:
        """Remember a frame of ours, so that its echo costs nothing."""
        self._seen.add(_mark(frame))

    def admit(self, topic: str, payload: bytes, now: float) -> Admitted | None:
        """What a frame says; None for one seen before. Raises `FrameError`.

        Of our own frames only a last will is news: published while we live, and said by nobody then.
        """
        found = self._keyring.read(topic)  # (1)
        if found is None:
            raise FrameError("a frame came on a topic that is not this ledger's")
        band, (channel, token) = found
        older = band is not self._keyring.current
        if older and channel not in (Channel.BEACONS, Channel.INBOX):
            raise FrameError("a frame came under an older key where nothing is heard any more")
        band.codec.check_outside(channel, payload)  # (2) (3)
        mark = _mark(payload)
        if mark in self._seen:  # (4)
            return None
        frame = band.codec.open(topic, channel, payload)  # (5) (6)
        message = frame.message
        if older and not isinstance(message, UNDER_OLDER_KEYS):
            raise FrameError("a frame under an older key is of a kind that is not heard there")
        if isinstance(message, Blocks | Proof) and band.topics.feed_token(message.feed) != token:  # (7)
            raise FrameError("a frame speaks of another feed than its topic")
        will, enveloped = isinstance(message, Gone), isinstance(message, Envelope)
        straggler = older and not will and not enveloped
        peers = self._stragglers if straggler else self._peers
        peer = None
        if frame.origin is not None:
            self._check_origin(frame.origin, peers, will=will)  # (8) (9)
            band.codec.check_signature(frame)  # (10)
            peer = self._left(frame.origin) if will else self._heard(frame.origin, peers, now)
        self._seen.add(mark)
        if peer is not None:
            self._check_request(message, peer, peers, now)  # (11)
        if isinstance(message, Envelope):
            message = disclose(message, self._unseal)  # (12)
        return Admitted(message, peer, band, enveloped, straggler)

    def _check_origin(self, origin: Origin, peers: Peers, *, will: bool) -> None:
        if self._roster.revoked(origin.sender):
            raise FrameError("a frame's sender is revoked")
        who = PeerId(origin.sender, origin.boot)
        if will:
            if origin.counter <= self._my_will if who == self._me else not self._peers.may_leave(who, origin.counter):
                raise FrameError("a last will is of nobody we know, or an old one")
        elif not peers.fresh(who, origin.counter):
            raise FrameError("a frame's counter was used before, or is too old")

    def _heard(self, origin: Origin, peers: Peers, now: float) -> Peer:
        stranger = not self._roster.knows(origin.sender)
        return peers.heard(PeerId(origin.sender, origin.boot), origin.counter, stranger=stranger, now=now)

    def _left(self, origin: Origin) -> Peer | None:
        who = PeerId(origin.sender, origin.boot)
        if who == self._me:
            self._my_will = origin.counter
            return None
        return self._peers.left(who, origin.counter)

    def _check_request(self, message: Message, peer: Peer, peers: Peers, now: float) -> None:
        if isinstance(message, Probe | Want | WantBranches) and message.boot != self._me.boot:
            raise FrameError("a request is meant for another boot of this node")
        cost = COSTS.get(type(message), 0)
        if cost and not peers.may_ask(peer, now, cost):
            raise FrameError("a sender asks more often than its budget allows")


def _mark(frame: bytes) -> bytes:
    """Nonce and seal: two frames that share these and open are the same frame."""
    return frame[KEY_ID_BYTES : KEY_ID_BYTES + NONCE_BYTES] + frame[-TAG_BYTES:]
