"""Probing: finding out what a peer holds, once its beacon has shown that it is not what we hold.

Rules:

- A beacon that shows a root which we have, or lately had, needs no question: the peer has nothing that we lack.
- Else the peer is probed a moment later, by rank where it seems to be a little ahead, and soonest where it is far
  ahead: what differs may be on its way already, and many nodes that heard the beacon may lack the same (see `rank`;
  whoever is asked for it by several publishes it, see `claims`). Of peers that showed the same root one is asked, and
  the next when it has answered: at once where much is lacking, since they can share the load.
- A peer that seems to hold less than we do, and asks us, is not asked in return while it does: what it has for us shows
  when it has what it lacks, and mostly that is nothing.
- The answer comes in pages. When all have come, or no more come, the peer is level (we hold all it listed), or what it
  listed is being pulled; after that it is probed again unless its root has become ours.
- Where digests differ though all prefixes agree, whole ids are asked for.
- A probe that finds nothing settles that pair of roots with that member, for a while: what was said about it may have
  been lost. Where three members say the same, it is settled with all: one alone may show another's root, and lie. Such
  a probe also doubles the pause before the next to that peer; one without an answer counts as a failure.
- Of one key one process is asked at a time. Who takes long keeps nobody else from being asked: after a moment not those
  who showed the same root, and when there is no room for more probes, its own is given up. Strangers have a room apart.
- Where only fork proofs differ nothing is settled: they are published by who has them, and the peer is asked again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from medledger.errors import FrameError
from medledger.limits import (
    ANSWER_SECONDS,
    BACKOFF_MAX_SECONDS,
    GAP_PATIENCE_SECONDS,
    MAX_PROBES,
    PATIENCE_FAILURES,
    PEER_SECONDS,
    QUERY_STEP_SECONDS,
    RECENT_ROOTS,
    SETTLED_SECONDS,
    SHARED_BLOCKS_PER_LEAF,
)

from . import rank
from .frontier import Frontier, agree
from .messages import NONCE_BYTES, Beacon, Leaf, Leaves, Probe
from .peers import Peer, PeerId, Peers
from .roster import Roster

MUCH_BLOCKS = 64  # more than links that lose now and then keep back
FAR_BLOCKS = 1000  # more than can be on their way live
SETTLED_VOICES = 3  # members that say the same of a pair of roots: more than one that lies
SETTLED_KEYS = 8  # remembered of each pair
FORKS_PATIENCE_SECONDS = 8.0  # pauses up to this leave time for a proof to arrive before the peer counts as level


class Verdict(Enum):
    """What a beacon says about a peer."""

    EQUAL = "equal"  # its root is ours
    SETTLED = "settled"  # it differs, and we know that it has nothing for us
    BEHIND = "behind"  # its root was ours a while ago
    TRAILING = "trailing"  # its root was ours a moment ago
    DIFFERENT = "different"


@dataclass(slots=True)
class Inquiry:
    """One probe under way."""

    peer: PeerId
    probe: Probe
    deadline: float
    root: bytes  # the peer's, when it was asked
    ours: bytes  # our root then
    since: float
    stranger: bool
    pages: set[int] = field(default_factory=set)
    announced: int = 0  # pages that are coming
    found: int = 0  # feeds it has something of for us
    listed: int = 0
    buckets: set[int] = field(default_factory=set)
    alike: bool = True  # every leaf so far agrees with ours as far as prefixes tell
    forks: bool = False  # a fork is known there and not here, or the other way round


class Prober:
    """All probes of one node, and the roots it had."""

    def __init__(self, frontier: Frontier, peers: Peers, roster: Roster, rng: Random) -> None:
        self._frontier = frontier
        self._peers = peers
        self._roster = roster
        self._rng = rng
        self._open: dict[bytes, Inquiry] = {}
        # Pairs of roots: with whom they are settled, until when, and whether that is a member.
        self._settled: OrderedDict[bytes, dict[bytes, tuple[float, bool]]] = OrderedDict()
        self._roots: OrderedDict[bytes, float] = OrderedDict()  # that were ours, and until when
        self._root = frontier.root
        self._next = float("inf")
        self._lacking = False
        self._behind = False  # a probe has shown that much is lacking, and it has not come yet

    @property
    def idle(self) -> bool:
        """No probe is under way."""
        return not self._open

    @property
    def under_way(self) -> int:
        """Probes that wait for their answers."""
        return len(self._open)

    def moved(self, now: float) -> None:
        """The frontier may have changed."""
        root = self._frontier.root
        if root == self._root:
            return
        self._roots[self._root] = now
        self._roots.move_to_end(self._root)
        if len(self._roots) > RECENT_ROOTS:
            self._roots.popitem(last=False)
        self._root = root
        for peer in self._peers:
            if not peer.level and peer.beacon is not None and peer.beacon.root == root:
                peer.level = True

    def hear(self, peer: Peer, beacon: Beacon, now: float) -> Verdict:
        """Judge a beacon, and plan to probe its sender where that is called for."""
        peer.beacon = beacon
        peer.beacon_at = now
        verdict = self._judge(peer, beacon, now)
        # Whose root was ours a moment ago has on its way what it lacks.
        peer.showed = 0 if verdict is Verdict.TRAILING else beacon.total - self._frontier.total
        peer.level = verdict is not Verdict.DIFFERENT
        if verdict is Verdict.DIFFERENT:
            self._plan(peer, now + self._pause(beacon.total - self._frontier.total), now)
        else:
            peer.probe_at = None
        return verdict

    def _pause(self, ahead: int) -> float:
        """How long before a peer is probed that seems to hold so many blocks more than we do.

        One that holds no more will ask somebody itself, and gets time for that where it lacks much. Should it have what
        others lack, it is enough if one of all who heard its beacon fetches that, and from there it spreads: so the
        more they are, the longer each of them waits.
        """
        pause = 0.05 * self._rng.random()
        if ahead <= 0:
            pause += 0.2 + max(0.55, 0.5 * len(self._peers)) * self._rng.random()
            pause += ANSWER_SECONDS * (ahead < -MUCH_BLOCKS)
        elif ahead <= FAR_BLOCKS:
            pause += 0.02 + rank.wait(1 - self._rng.random(), self._roster.count, QUERY_STEP_SECONDS)
        return pause

    def asked(self, peer: Peer, now: float) -> None:
        """A peer asks us for leaves, or for blocks."""
        if peer.probe_at is not None and peer.beacon is not None and peer.beacon.total < self._frontier.total:
            peer.probe_at = max(peer.probe_at, now + ANSWER_SECONDS)

    def _judge(self, peer: Peer, beacon: Beacon, now: float) -> Verdict:
        if beacon.root == self._root:
            return Verdict.EQUAL
        until = self._roots.get(beacon.root)
        if until is not None:
            return Verdict.TRAILING if now - until < ANSWER_SECONDS else Verdict.BEHIND
        return Verdict.SETTLED if self._is_settled(peer, beacon.root + self._root, now) else Verdict.DIFFERENT

    def _is_settled(self, peer: Peer, pair: bytes, now: float) -> bool:
        lately = {key: member for key, (until, member) in self._settled.get(pair, {}).items() if now < until}
        return peer.id.key in lately or sum(lately.values()) >= SETTLED_VOICES

    def _settle(self, peer: Peer, pair: bytes, now: float) -> None:
        found = self._settled.setdefault(pair, {})
        found.pop(peer.id.key, None)
        found[peer.id.key] = now + SETTLED_SECONDS, not peer.stranger
        if len(found) > SETTLED_KEYS:
            del found[next(iter(found))]
        self._settled.move_to_end(pair)
        if len(self._settled) > RECENT_ROOTS:
            self._settled.popitem(last=False)

    def caught_up(self) -> bool:
        """Whether we are level now with a peer, where a probe had shown that much is lacking; asked once."""
        done = self._behind and any(peer.beacon is not None and peer.beacon.root == self._root for peer in self._peers)
        self._behind &= not done
        return done

    def again(self, now: float) -> None:
        """All that was known to lack has been pulled: see whether that made us level."""
        for peer in self._peers:
            if not peer.level and peer.probe_at is None and peer.beacon is not None:
                self._plan(peer, now + 0.05 * self._rng.random(), now)

    def _plan(self, peer: Peer, at: float, now: float) -> None:
        if peer.failures >= PATIENCE_FAILURES and peer.heard_at < now:
            return
        pause = peer.probe_pause * (0.5 + self._rng.random() / 2)
        at = max(at, peer.retry_at, peer.probed_at + pause)
        peer.probe_at = at if peer.probe_at is None else min(at, peer.probe_at)
        self._next = min(self._next, peer.probe_at)

    # --- asking -------------------------------------------------------------------------------------------------

    @property
    def next(self) -> float:
        """When `due` will have something to do, should nothing arrive before."""
        return min([self._next, *(inquiry.deadline for inquiry in self._open.values())])

    def challenge(self, peer: Peer, now: float) -> tuple[PeerId, Probe] | None:
        """Ask a peer whatever it shows, to see whether it lives; None where it has not shown anything yet."""
        return None if peer.beacon is None else (peer.id, self._probe(peer, now, full=False))

    def due(self, now: float) -> list[tuple[PeerId, Probe]]:
        """The probes to send now."""
        if now < self._next:
            return []
        self._next = float("inf")
        probes = []
        for peer in self._peers:
            if peer.probe_at is None:
                continue
            if peer.beacon is None or peer.beacon.root == self._root or now - peer.heard_at > PEER_SECONDS:
                peer.probe_at = None
            elif peer.probe_at <= now:
                if not self._room(peer, now) or self._asked_already(peer, now):
                    peer.probe_at = now + ANSWER_SECONDS * (0.5 + self._rng.random() / 2)
                else:
                    probes.append((peer.id, self._probe(peer, now, full=False)))
            if peer.probe_at is not None:
                self._next = min(self._next, peer.probe_at)
        return probes

    def _room(self, peer: Peer, now: float) -> bool:
        """Whether one more may be probed; else who takes long is not waited for any more."""
        taken = [inquiry for inquiry in self._open.values() if inquiry.stranger == peer.stranger]
        if len(taken) >= MAX_PROBES and now - taken[0].since >= 2 * ANSWER_SECONDS:
            taken[0].deadline = now
        return len(taken) < MAX_PROBES

    def _asked_already(self, peer: Peer, now: float) -> bool:
        """Whether this peer is being probed, or another that showed the same root, a moment ago."""
        assert peer.beacon is not None  # nobody is probed before its beacon
        return any(
            inquiry.peer.key == peer.id.key
            or (
                inquiry.root == peer.beacon.root
                and now - inquiry.since < ANSWER_SECONDS
                and inquiry.stranger <= peer.stranger
            )
            for inquiry in self._open.values()
        )

    def _probe(self, peer: Peer, now: float, *, full: bool) -> Probe:
        assert peer.beacon is not None
        peer.probe_at = None
        peer.probed_at = now
        probe = Probe(self._rng.randbytes(NONCE_BYTES), peer.id.boot, full, *self._frontier.digests())
        deadline, root = now + ANSWER_SECONDS, peer.beacon.root
        self._open[probe.nonce] = Inquiry(peer.id, probe, deadline, root, self._root, now, peer.stranger)
        return probe

    # --- answers ------------------------------------------------------------------------------------------------

    def leaves(self, peer: PeerId, message: Leaves, now: float) -> tuple[Inquiry, tuple[Leaf, ...]]:
        """The probe that a page answers, and the leaves in it that are news. `FrameError` for what nobody asked."""
        inquiry = self._open.get(message.nonce)
        if inquiry is None or inquiry.peer != peer:
            raise FrameError("an answer to nothing that was asked")
        if message.page in inquiry.pages:
            return inquiry, ()
        inquiry.pages.add(message.page)
        inquiry.announced = message.pages
        inquiry.deadline = now + ANSWER_SECONDS
        inquiry.listed += len(message.leaves)
        inquiry.buckets.update(leaf.feed[0] for leaf in message.leaves)
        for leaf in message.leaves:
            self._compare(inquiry, leaf)
        if len(inquiry.pages) == message.pages:
            inquiry.deadline = now
        return inquiry, message.leaves

    def _compare(self, inquiry: Inquiry, leaf: Leaf) -> None:
        feeds = self._roster.resolve(leaf.feed)
        if len(feeds) != 1:
            inquiry.alike = False
            return
        ours = self._frontier.height(feeds[0])
        same_fork = agree(ours.fork, leaf.fork)
        inquiry.forks |= not same_fork
        inquiry.alike &= same_fork and ours.length == leaf.length and agree(ours.head, leaf.head)

    def close(self, now: float) -> list[tuple[PeerId, Probe]]:
        """End the probes whose answers are complete or overdue; the probes to send in their place, for whole ids."""
        probes: list[tuple[PeerId, Probe]] = []
        for nonce, inquiry in list(self._open.items()):
            if inquiry.deadline > now:
                continue
            del self._open[nonce]
            peer = self._peers.get(inquiry.peer)
            if peer is None or peer.beacon is None:
                continue
            if len(inquiry.pages) < max(1, inquiry.announced):
                peer.failed(now, self._rng.random())
                self._plan(peer, now, now)
                continue
            peer.answered()
            if inquiry.found:
                self._behind |= peer.beacon.total - self._frontier.total > MUCH_BLOCKS
                self._share(inquiry, peer.beacon.total, now)
                continue  # what comes of it decides when to ask again
            if self._collides(inquiry):
                probes.append((peer.id, self._probe(peer, now, full=True)))
                continue
            peer.found_nothing()
            if inquiry.forks:
                peer.level = peer.probe_pause > FORKS_PATIENCE_SECONDS
                self._plan(peer, now, now)
                continue
            self._settle(peer, inquiry.root + inquiry.ours, now)
            if peer.beacon.root == inquiry.root:
                peer.level = True
                self._lacking |= inquiry.root != self._root and peer.probe_pause < BACKOFF_MAX_SECONDS
        return probes

    def lacking(self) -> bool:
        """Whether a peer was found that has nothing for us, and lacks something that we have; asked once."""
        lacking, self._lacking = self._lacking, False
        return lacking

    def _share(self, inquiry: Inquiry, total: int, now: float) -> None:
        """Peers that showed the same root would list the same. Where much is lacking, the next one is asked at once all
        the same: it can share the load. Else none is, until what is known to lack may have come.
        """
        much = total - self._frontier.total >= SHARED_BLOCKS_PER_LEAF * inquiry.listed
        for peer in self._peers:
            if peer.probe_at is None or peer.beacon is None or peer.beacon.root != inquiry.root:
                continue
            if much:
                self._plan(peer, now, now)
            else:
                peer.probe_at = max(peer.probe_at, now + ANSWER_SECONDS * (0.5 + self._rng.random() / 2))

    def _collides(self, inquiry: Inquiry) -> bool:
        """Whether the digests can only differ by what prefixes do not show."""
        here = sum(map(self._frontier.size, inquiry.buckets))
        return inquiry.alike and not inquiry.probe.full and inquiry.listed > 0 and inquiry.listed == here

    def hasten(self, peer: PeerId, now: float) -> None:
        """This peer is gone: what it sent may still arrive, and nothing more is waited for."""
        for inquiry in self._open.values():
            if inquiry.peer == peer:
                inquiry.deadline = min(inquiry.deadline, now + GAP_PATIENCE_SECONDS)

    def abandon(self) -> None:
        """Forget the probes under way: the connection they would be answered on is gone."""
        self._open.clear()
