"""The gossip machine of one node: events in, effects out; it does no I/O and knows no clock.

Rules:

- `handle(event, now)` returns what is to be done. `now` is seconds of a monotonic clock; randomness is passed in, and
  must be secure where frames really travel, since nonces come from it.
- What the gate refuses is counted and changes nothing; blocks and proofs that pass it are for the replica to judge.
- In sync, beacons are all there is. A differing beacon leads to a probe (`probing`), that to pulls (`pulling`, and
  `branches` of governors' forked feeds). Entries hidden from us are asked for again in their own time (`holes`).
- Our own new blocks are published live, as the replica releases them; of a long backlog a beacon tells, and peers pull.
  Live blocks of others are gathered while frames are waiting, and imported together.
- A fork proof is published as soon as the replica has it, and wherever it turns out to be missing (`forks`).
- `handle` never raises for what comes from outside, nor for a disk that fails: that is an alarm, and tried again later.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from medledger.errors import FrameError, MedledgerError
from medledger.limits import (
    BACKOFF_MAX_SECONDS,
    HOLD_SECONDS,
)

from .events import Advanced, Connected, Disconnected, Effect, Event, Publish, Received, Subscribe, Tick, WakeAt
from .frontier import agree
from .gate import Admitted
from .live import Fate
from .messages import (
    Beacon,
    Blocks,
    Claim,
    Data,
    Done,
    Gone,
    Leaves,
    Probe,
    Proof,
    Query,
    Want,
    WantBranches,
)
from .parts import Parts
from .peers import Peer
from .probing import Verdict
from .pulls import Desk, Pull
from .replica import ImportReport, Replica
from .splits import splits
from .stragglers import tells_of_another_key
from .traffic import REFUSED, REPEATED


class Node(Parts):
    """One replica's part in the gossip of its ledger."""

    def __init__(self, replica: Replica, *, rng: Random, boot_id: bytes, now: float) -> None:
        super().__init__(replica, rng, boot_id, now, self._changed)
        self._effects: list[Effect] = []
        self._intake.reload(now)
        self._leaks.look(now)
        self._own.publisher.begin()

    # --- events -------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; the effects to carry out, in order."""
        self._effects = []
        _EVENTS[type(event)](self, event, now)
        tick = type(event) is Tick
        if not tick and self._gathered:
            self._effects.append(WakeAt(now))  # the tick does whatever else is due as well
        else:
            self._proceed(now, flush=tick or self._repair.full)
        return self._effects

    def _on_connected(self, _: Connected, now: float) -> None:
        self.connected = True
        self._begin(now)
        self._own.publisher.hold(now + HOLD_SECONDS)

    def _begin(self, now: float) -> None:
        """Find out anew where everybody stands: on another connection, or under another key."""
        self._effects.append(Subscribe(self._keyring.filters()))
        self._alone = True
        self._trickle.most = self._roster.count
        self._trickle.restart(now)
        self._stragglers.restart(now)
        self._own.listen(now)
        self._forks.connected(now)

    def _on_disconnected(self, _: Disconnected, now: float) -> None:  # noqa: ARG002 (the table's signature)
        self.connected = False
        self._abandon()

    def _abandon(self) -> None:
        """What is under way can be answered no more."""
        self._prober.abandon()
        for desk in self._desks:
            desk.abandon()
        self._repair.abandon()

    def _on_advanced(self, event: Advanced, now: float) -> None:
        self._holes.look(now)
        self._intake.look({event.feed}, now)
        self._repair.advanced(event.feed, self.frontier.length(event.feed))

    def _on_tick(self, _: Tick, now: float) -> None:
        pass

    def _on_received(self, event: Received, now: float) -> None:
        admitted = None
        try:
            admitted = self._gate.admit(event.topic, event.payload, now)
            if admitted is None:
                self._traffic.dropped(event.topic, REPEATED, len(event.payload))
                self.counters["repeated frames"] += 1
                return
            self._traffic.admitted(event.topic, admitted.message, len(event.payload), admitted.peer)
            self.counters["frames"] += 1
            self._take(admitted, now)
        except FrameError as error:
            if admitted is None:
                self._traffic.dropped(event.topic, REFUSED, len(event.payload))
            self.counters["refused frames"] += 1
            self.counters[f"refused: {str(error).partition(':')[0]}"] += 1

    def _take(self, admitted: Admitted, now: float) -> None:
        """What passed the gate."""
        message, peer = admitted.message, admitted.peer
        if peer is None:
            _BARE[type(message)](self, message, now)
        elif peer.id == self.id:
            return
        elif admitted.straggler:
            with self._alarms.about("blocks cannot be read or released", now):
                self._effects += self._stragglers.heard(message, peer, admitted.band, self._beacon(), self._voice, now)
        else:
            known = admitted.band is self._keyring.current
            if known and tells_of_another_key(message, peer, enveloped=admitted.enveloped):
                self._own.publisher.hold(now + HOLD_SECONDS)
            elif self._alone:
                self._own.publisher.hold(now)
            peer.band = None if known else admitted.band
            peer.enveloped = admitted.enveloped
            self._alone = False
            handler = _SIGNED.get(type(message))
            if handler is None:  # a fork proof in an envelope: good whoever hands it over
                _BARE[type(message)](self, message, now)
            else:
                handler(self, message, peer, now)

    # --- what others say ----------------------------------------------------------------------------------------

    def _on_beacon(self, beacon: Beacon, peer: Peer, now: float) -> None:
        if peer.id.key == self.id.key:
            self._alarms.twin(now)
        self._traffic.beacon_heard_at = now
        verdict = self._prober.hear(peer, beacon, now)
        was_ours = verdict in (Verdict.EQUAL, Verdict.BEHIND, Verdict.TRAILING)
        self._own.seen_root(peer, beacon.root, was_ours=was_ours, now=now)
        if verdict in (Verdict.EQUAL, Verdict.SETTLED):
            self._trickle.heard(b"" if peer.stranger else peer.id.key)  # strangers have as many keys as they like
        # Who differs for ever, and has nothing for us however often it is asked, does not make us talk. Nor does who
        # has more than we do: it is asked, and then we know whether it lacks anything.
        differs = verdict is Verdict.DIFFERENT and peer.probe_pause < BACKOFF_MAX_SECONDS
        if beacon.answer or verdict is Verdict.BEHIND or (differs and beacon.total <= self.frontier.total):
            self._trickle.reset(now, awaited=beacon.answer)

    def _on_gone(self, _: Gone, peer: Peer, now: float) -> None:
        peer.probe_at = None
        self._prober.hasten(peer.id, now)
        for desk in self._desks:
            desk.pulls.hasten(peer.id, now)

    def _on_own_will(self, _: Gone, now: float) -> None:
        """The broker has told all that we are gone: it means a connection before this one."""
        if self.connected:
            self._send_beacon(now)

    def _on_probe(self, probe: Probe, peer: Peer, now: float) -> None:
        self._prober.asked(peer, now)
        buckets = self.frontier.differing(probe.bitmap, probe.digests)
        self._forks.asked(buckets, now)
        self._effects += [self._voice.say(peer.id, answer) for answer in self._server.probe(peer, probe, buckets, now)]

    def _on_leaves(self, message: Leaves, peer: Peer, now: float) -> None:
        inquiry, leaves = self._prober.leaves(peer.id, message, now)
        if peer.id.key == self.id.key:
            self._own.twin(now)
        split = {}
        if peer.enveloped:
            with self._alarms.about("the ledger cannot be read", now):
                split = splits(self._replica, self.frontier, self._roster, leaves)
        inquiry.found += self._puller.offer(peer.id, leaves, now, split) + self._branches.offer(peer.id, leaves, now)
        for leaf in leaves:
            for feed in self._roster.resolve(leaf.feed):
                if not agree(leaf.fork, self.frontier.height(feed).fork):
                    self._forks.missing(feed, now)
                if feed == self.id.key:
                    self._own.shown(peer, leaf.length, now)

    def _on_want(self, want: Want | WantBranches, peer: Peer, now: float) -> None:
        self._prober.asked(peer, now)
        with self._alarms.about("blocks cannot be read or released", now):
            if isinstance(want, Want):
                self._repair.wanted(peer.id, want.ranges, now)
                answers = self._server.want(peer, want, now)
            else:
                answers = self._server.branches(peer, want, now)
            self._effects += [self._voice.say(peer.id, answer) for answer in answers]

    def _on_data(self, data: Data, peer: Peer, now: float) -> None:
        desk = self._desk(data.nonce)
        self._finish(desk, desk.pulls.data(peer.id, data, now), now)

    def _on_done(self, done: Done, peer: Peer, now: float) -> None:
        desk = self._desk(done.nonce)
        self._finish(desk, desk.pulls.done(peer.id, done, now), now)

    def _desk(self, nonce: bytes) -> Desk:
        """Who has asked with this nonce; should nobody have, any will say so."""
        return next((desk for desk in self._desks if nonce in desk.pulls), self._puller)

    def _on_query(self, query: Query, _: Peer, now: float) -> None:
        self._repair.query(query, now)

    def _on_claim(self, claim: Claim, peer: Peer, now: float) -> None:
        self._repair.claim(peer.id, claim, now)

    def _on_blocks(self, message: Blocks, now: float) -> None:
        if not self._roster.knows(message.feed):
            self.counters["live blocks of unknown authors"] += len(message.blocks)
            return
        fate = self._repair.heard(message, now)
        if fate is not Fate.GATHERED:
            self.counters[fate.value] += 1

    def _on_proof(self, message: Proof, now: float) -> None:
        self._intake.proof(message, now)

    @property
    def _gathered(self) -> bool:
        """There are live blocks to import, or our own to publish, as soon as the events that wait are handled."""
        if self._repair.waiting:
            return not self._repair.full
        return self.connected and self._own.publisher.waiting

    # --- what that leads to -------------------------------------------------------------------------------------

    def _proceed(self, now: float, *, flush: bool) -> None:
        """Everything that time or the last event has made due."""
        if flush and self._repair.waiting:
            self._import_live(now)
        for desk in self._desks:
            for pull in desk.pulls.expired(now):
                self._finish(desk, pull, now)
        probes = self._prober.close(now)
        if self._prober.lacking():
            self._trickle.reset(now)
        if self._own.due(now) and self.connected:
            doubtful = self._own.confirm(now, in_sync=self.in_sync(now))
            probes += filter(None, (self._prober.challenge(peer, now) for peer in doubtful))
            self._own.moved(self.frontier.root, now)
        if self._trickle.poll(now) and self.connected:
            self._send_beacon(now)
        if self.connected:
            self._effects += [self._voice.beacon(*hail) for hail in self._stragglers.hails(alone=self._alone, now=now)]
            if flush and now >= self._own.publisher.not_before:
                self._publish_own(now)
            for peer, probe in (*probes, *self._prober.due(now)):
                self._effects.append(self._voice.say(peer, probe))
            for desk in self._desks:
                with self._alarms.about("the ledger cannot be read", now):
                    self._effects += [self._voice.say(peer, want) for peer, want in desk.due(now)]
            with self._alarms.about("blocks cannot be read or released", now):
                for message in self._repair.due(now):
                    self._effects.append(self._voice.to_all(message))
            for proof in self._forks.due(now):
                self._effects.append(self._voice.proof(proof))
        overdue = self._own.delivery.overdue(now)
        if overdue is not None:
            self._alarms.unconfirmed(overdue, now)
        self._leaks.tell(now)
        self._effects += self._alarms.take()
        self._effects.append(WakeAt(self._wake_at(now)))

    def _wake_at(self, now: float) -> float:
        unpublished = self.connected and self._own.publisher.waiting
        if self._repair.waiting or (unpublished and self._own.publisher.not_before <= now):
            return now
        times = [self._trickle.next, self._own.delivery.next, self._leaks.next]
        if self.connected:
            times += [self._prober.next, self._forks.next, self._own.next, self._repair.next, self._stragglers.next]
            times += [min(desk.next, desk.pulls.deadline) for desk in self._desks]
            times += [self._own.publisher.not_before] * unpublished
        return max(now, min(times))

    def _import_live(self, now: float) -> None:
        frames = self._repair.take()
        report = self._import([block for frame in frames for block in frame.blocks], now)
        if report is not None:
            self._repair.imported(frames, report, now)

    def _finish(self, desk: Desk, pull: Pull | None, now: float) -> None:
        """A pull has ended, if one is given: import what came, and see what is lacking still."""
        if pull is None:
            return
        blocks = pull.blocks
        report = self._import(blocks, now) if blocks else None
        if blocks and report is None:
            desk.postpone(pull, now)
            return
        with self._alarms.about("the ledger cannot be read", now):
            desk.settle(pull, report, now)
        self._repair.lost(now)
        if self._puller.idle and self._branches.idle:
            self._prober.again(now)
            if self._prober.caught_up() and self.connected:
                self._send_beacon(now)  # before all who heard how far behind we were ask us what we hold

    def _import(self, blocks: list[bytes], now: float) -> ImportReport | None:
        report = self._intake.blocks(blocks, now)
        if report is not None and report.accepted:
            self._holes.look(now)
            for advance in report.advanced:
                self._repair.advanced(advance.feed, advance.last + 1)
                if advance.feed == self.id.key:  # it came back from peers: no news to them
                    self._own.publisher.known(advance.last + 1)
        return report

    def _changed(self, membership: bool, now: float) -> None:
        """What we hold may have changed."""
        self._prober.moved(now)
        self._own.moved(self.frontier.root, now)
        if membership:
            self._puller.membership_changed(now)
            self._trickle.most = self._roster.count
            self._trickle.reset(now)  # feeds that others have held all along are ours to fetch now
            self._take_keys(now)
            self._leaks.look(now)

    def _take_keys(self, now: float) -> None:
        """The membership says which transport keys there are: go on under the best one that we hold."""
        filters = self._keyring.filters()
        before = self._keyring.refresh(self._replica.transport_keys)
        if not self.connected or filters == self._keyring.filters():
            return
        if before is None:
            self._effects.append(Subscribe(self._keyring.filters()))
            return
        with self._alarms.about("the blocks of a new transport key cannot be released", now):
            self._effects += [
                self._voice.live(each, before) for each in self._own.publisher.until(self._replica.own_rotation)
            ]
        self._own.publisher.hold(now)
        self._abandon()
        self.peers.part()
        self._begin(now)

    # --- what we say --------------------------------------------------------------------------------------------

    def will(self) -> Publish:
        """What the broker is to publish, not retained, when the connection that is about to be made ends: a new one for
        each connection. It tells peers not to wait for us.
        """
        return self._voice.will()

    def _send_beacon(self, now: float) -> None:
        self._intake.look(set(), now)  # what the program imported besides blocks that stand
        self._effects.append(self._voice.beacon(self._beacon()))
        self._traffic.beacon_sent_at = now

    def _beacon(self) -> Beacon:
        frontier = self.frontier
        return Beacon(frontier.root, frontier.count, frontier.total, frontier.newest, self._alone)

    def _publish_own(self, now: float) -> None:
        """Publish our new blocks live, as far as the replica releases them."""
        try:
            self._effects += map(self._voice.live, self._own.publisher.due())
        except MedledgerError as error:
            self._alarms.tell(f"own blocks cannot be released: {error}", now, hint=error.hint)
            self._own.publisher.postpone(now)
            return
        if self._own.publisher.leave_rest():
            self._trickle.reset(now)


_EVENTS: Final[dict[type, Callable[[Node, Any, float], None]]] = {
    Connected: Node._on_connected,
    Disconnected: Node._on_disconnected,
    Received: Node._on_received,
    Advanced: Node._on_advanced,
    Tick: Node._on_tick,
}

_SIGNED: Final[dict[type, Callable[[Node, Any, Peer, float], None]]] = {
    Beacon: Node._on_beacon,
    Probe: Node._on_probe,
    Leaves: Node._on_leaves,
    Want: Node._on_want,
    WantBranches: Node._on_want,
    Data: Node._on_data,
    Done: Node._on_done,
    Gone: Node._on_gone,
    Query: Node._on_query,
    Claim: Node._on_claim,
}

_BARE: Final[dict[type, Callable[[Node, Any, float], None]]] = {
    Blocks: Node._on_blocks,
    Proof: Node._on_proof,
    Gone: Node._on_own_will,
}
