"""Fork proofs on their way: published when the replica has one, repeated where it is missing.

Rules:

- A proof is published, retained, as soon as the replica holds it; again where a peer's leaves show that it does not
  have the same one, or where another one is published than the canonical one that we keep: but one feed's no more often
  than every 30 s, and after a wait by rank (see `rank`), since many may have seen the same; who hears it meanwhile is
  silent.
- After connecting, what the broker retains comes first; what is then still missing there is published.
- A proof about a feed not known here waits, bounded, until the membership changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from random import Random

from medledger.limits import MAX_STRANGERS, PROOF_REPEAT_SECONDS

from . import rank
from .messages import Proof
from .replica import Replica
from .roster import Roster

SETTLING_SECONDS = 1.0


class ForkDesk:
    """The proofs of one node."""

    def __init__(self, replica: Replica, roster: Roster, rng: Random) -> None:
        self._replica = replica
        self._roster = roster
        self._rng = rng
        self._waiting: OrderedDict[bytes, bytes] = OrderedDict()  # proofs by feed not known here
        self._published: dict[bytes, float] = {}  # when the proof was last seen published, by us or another
        self._due: dict[bytes, float] = {}  # feeds whose proof is to be published, and when

    @property
    def next(self) -> float:
        """When `due` will have something."""
        return min(self._due.values(), default=float("inf"))

    def connected(self, now: float) -> None:
        """Nothing is known any more of what the broker retains."""
        self._published.clear()
        at = now + SETTLING_SECONDS * (1 + self._rng.random())
        self._due = dict.fromkeys(self._replica.forks, at)

    def received(self, message: Proof, now: float) -> bool:
        """Hand a proof to the replica; true when it is news there. Raises `MedledgerError` where it proves nothing."""
        feed = message.feed
        if not self._roster.knows(feed):
            self._waiting[feed] = message.proof
            if len(self._waiting) > MAX_STRANGERS:
                self._waiting.popitem(last=False)
            return False
        before = self._replica.forks.get(feed)
        kept = self._replica.import_fork_proof(message.proof)
        if kept.raw == message.proof:
            self._published[feed] = now
            self._due.pop(feed, None)
        else:
            self.missing(feed, now)
        return before is None or before.rank != kept.rank

    def parked(self) -> list[Proof]:
        """Take out the proofs that can be judged, now that the membership has changed."""
        feeds = [feed for feed in self._waiting if self._roster.knows(feed)]
        return [Proof(feed, self._waiting.pop(feed)) for feed in feeds]

    def proved(self, feed: bytes, now: float) -> None:
        """The replica has just proved a fork."""
        self._published.pop(feed, None)
        self._due[feed] = now

    def missing(self, feed: bytes, now: float) -> None:
        """Somebody does not have the proof that we keep of this feed."""
        at = max(now, self._published.get(feed, now) + PROOF_REPEAT_SECONDS * (feed in self._published))
        self._due.setdefault(feed, at + rank.wait(1 - self._rng.random(), self._roster.count))

    def asked(self, buckets: Collection[int], now: float) -> None:
        """A peer differs in these buckets: what it lacks there may be a proof."""
        for feed in self._replica.forks:
            if feed[0] in buckets:
                self.missing(feed, now)

    def due(self, now: float) -> list[Proof]:
        """The proofs to publish now."""
        proofs = []
        forks = self._replica.forks if self.next <= now else {}
        for feed in [feed for feed, at in self._due.items() if at <= now]:
            del self._due[feed]
            proof = forks.get(feed)
            if proof is not None:
                proofs.append(Proof(feed, proof.raw))
                self._published[feed] = now
        return proofs
