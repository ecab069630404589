"""Members that missed a rotation of the transport key, and how everybody comes to speak under the same one again.

Rules:

- A *straggler* speaks under an older key than the one in use. What it says is heard when it is a member with a key to
  seal to. Its beacon, where it differs from ours, is answered by a beacon of ours; its probes and wants as anybody's;
  all in envelopes sealed to it alone, since who was revoked may hold that older key too. It is asked nothing.
- Of many nodes that hear its beacon about three answer, by chance: each counts those that it has heard lately.
- Its probe is answered with fork proofs too. It cannot hear those that are published under the key in use, and a block
  that brings it that key may lie on a branch.
- We *hail*: under each older key that we hold a beacon goes out now and then, timed by Trickle with a redundancy of 1.
  Two groups that were apart, and got new keys each, both listen under those that they had together; did nobody speak
  there, they would never hear of each other. It also tells whoever missed the rotation.
  A hail says that we are there, and nothing of what we hold: its root is a hash of ours, the rest is zero.
- Who answers us in an envelope is asked on under the key of that envelope.
- When another key comes into use, everything under way is begun anew under it. The blocks that brought it, where we
  wrote them, go out under the key before: that moves everybody at once who hears us.
- Own new blocks are held back, for a while, where our own key may be an old one: after connecting until somebody is
  heard, and where we are hailed or answered in an envelope under the key that we take for the one in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from random import Random
from typing import Final

from medledger.errors import FrameError, MedledgerError
from medledger.limits import (
    ENVELOPE_COST,
    HAIL_MAX_SECONDS,
    HAIL_MIN_SECONDS,
    MAX_DATA_BYTES,
    PEER_SECONDS,
    STRAGGLER_ANSWERS,
    STRAGGLER_PROOFS,
)

from .events import Publish
from .frontier import PREFIX_BYTES, ROOT_BYTES, Frontier
from .keyring import Band, Keyring
from .messages import Beacon, Message, Probe, Proof, Want, WantBranches
from .peers import Peer, Peers
from .replica import Replica
from .serving import Server
from .trickle import Trickle
from .voice import Voice

EMPTY_ROOT: Final = Frontier().root


def tells_of_another_key(message: Message, peer: Peer, *, enveloped: bool) -> bool:
    """Whether a member that speaks under the key that we take for the one in use does not take it for that."""
    hail = isinstance(message, Beacon) and message.count == 0 and message.root != EMPTY_ROOT
    return not peer.stranger and (enveloped or hail)


class Stragglers:
    """What one node does for members that speak under older keys. `peers` are they."""

    def __init__(
        self,
        replica: Replica,
        keyring: Keyring,
        frontier: Frontier,
        peers: Peers,
        server: Server,
        rng: Random,
        now: float,
    ) -> None:
        self._replica = replica
        self._keyring = keyring
        self._frontier = frontier
        self._peers = peers  # those who speak under the key in use
        self._server = server
        self._rng = rng
        self.peers: Final = Peers(now)
        self._hails: dict[Band, Trickle] = {}
        self.restart(now)

    # --- those who speak under older keys -----------------------------------------------------------------------

    def heard(
        self, message: Message, peer: Peer, band: Band, beacon: Beacon, voice: Voice, now: float
    ) -> list[Publish]:
        """What to answer; `beacon` is ours. Raises `FrameError` where nothing is."""
        if isinstance(message, Beacon) and not self._differs(message, peer, band):
            return []
        sealing_key = self._replica.sealing_key(peer.id.key)
        if sealing_key is None:
            raise FrameError("a sender under an older key is no member here")
        if not isinstance(message, Beacon):
            answers = self._answers(message, peer, now)
        elif self._chosen(now) and self.peers.may_ask(peer, now, ENVELOPE_COST):
            answers = [beacon]
        else:
            return []
        try:
            return [voice.enclose(peer.id, sealing_key, answer, band) for answer in answers]
        except MedledgerError as error:
            raise FrameError("nothing can be sealed to a sender under an older key") from error

    def _differs(self, theirs: Beacon, peer: Peer, band: Band) -> bool:
        """Whether a beacon under an older key asks for an answer: not the hail of one that speaks as we do."""
        known = self._peers.get(peer.id)
        together = known is not None and known.band is None and known.beacon is not None
        if together or theirs.root in (self._frontier.root, self._veiled()):
            if band in self._hails:
                self._hails[band].heard(peer.id.key)
            return theirs.answer and not together
        return True

    def _chosen(self, now: float) -> bool:
        """Whether we are among the few that answer."""
        others = sum(peer.beacon is not None and now - peer.heard_at <= PEER_SECONDS for peer in self._peers)
        return self._rng.random() * (1 + others) < STRAGGLER_ANSWERS

    def _answers(self, message: Message, peer: Peer, now: float) -> list[Message]:
        if isinstance(message, Probe):
            buckets = self._frontier.differing(message.bitmap, message.digests)
            return [*self._server.probe(peer, message, buckets, now), *self._proofs({*buckets})]
        if isinstance(message, Want):
            return self._server.want(peer, message, now)
        if isinstance(message, WantBranches):
            return self._server.branches(peer, message, now)
        raise FrameError("a frame under an older key says what is not heard there")

    def _proofs(self, buckets: set[int]) -> list[Message]:
        """Fork proofs of feeds in these buckets, governors' first: their blocks bring the key."""
        electors = self._replica.membership.electors
        forks = sorted(self._replica.forks.items(), key=lambda each: (each[0] not in electors, each[0]))
        found: list[Message] = [
            Proof(feed, proof.raw) for feed, proof in forks if feed[0] in buckets and len(proof.raw) < MAX_DATA_BYTES
        ]
        return found[:STRAGGLER_PROOFS]

    # --- hails --------------------------------------------------------------------------------------------------

    def restart(self, now: float) -> None:
        """Hail soon under each key: we have connected, or another key is in use."""
        self._hails = {
            band: Trickle(now, self._rng, minimum=HAIL_MIN_SECONDS, maximum=HAIL_MAX_SECONDS, redundancy=1)
            for band in self._keyring.older
        }

    @property
    def next(self) -> float:
        """When a hail may be due."""
        return min((timer.next for timer in self._hails.values()), default=float("inf"))

    def hails(self, *, alone: bool, now: float) -> Iterator[tuple[Beacon, Band]]:
        """What to say now under which keys."""
        for band, timer in self._hails.items():
            if timer.poll(now):
                yield Beacon(self._veiled(), 0, 0, bytes(PREFIX_BYTES), alone), band

    def _veiled(self) -> bytes:
        return blake2b(self._frontier.root, digest_size=ROOT_BYTES, person=b"medledger hail").digest()
