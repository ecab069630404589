"""Who is out there, as far as their own signed frames tell.

Rules:

- A peer is a key and a boot: one process, from start to end. A restart is another peer, and so is the twin of a
  cloned card; an old frame, replayed, can at worst raise a peer that does not answer.
- What is believed of a key's promises (`vain`) its next boot inherits from those heard lately: nobody gets rid of it by
  restarting. Failures to answer were those of a process.
- Frames of one boot may overtake each other by 1,024 counters. A counter is used up only by a frame whose signature
  verified, so that nobody can burn another's.
- A last will was sealed when its connection began, however many frames were said since: its counter need only be above
  that of the will before. Its peer is *gone* until it is heard again: asked last, and not waited for.
- A key whose enrolment has not reached this replica is a stranger. A newcomer knows none but strangers, so they are
  listened to, but few of them and on one shared budget. A revoked key is not heard at all.
- Memory is bounded in peers, boots of one key, and strangers; the one not heard for longest makes room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from medledger.limits import (
    BACKOFF_MAX_SECONDS,
    BACKOFF_MIN_SECONDS,
    COUNTER_WINDOW,
    MAX_BOOTS_PER_SENDER,
    MAX_PEERS,
    MAX_STRANGERS,
    PATIENCE_FAILURES,
    PEER_SECONDS,
    PROBE_PAUSE_SECONDS,
    PULL_FRAMES_MAX,
    PULL_FRAMES_MIN,
    RANGES_BURST,
    RANGES_PER_SECOND,
    REQUESTS_BURST,
    REQUESTS_PER_SECOND,
    SERVED_BYTES_BURST,
    SERVED_BYTES_PER_SECOND,
)

from .bounded import Budget
from .keyring import Band
from .messages import Beacon


class PeerId(NamedTuple):
    """A key and one life of the process that uses it."""

    key: bytes
    boot: bytes


class Window:
    """The counters of one boot that may still come."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0

    def fresh(self, counter: int) -> bool:
        """Whether this counter was neither used nor overtaken by too many."""
        age = self._highest - counter
        return age < 0 or (age < COUNTER_WINDOW and not self._seen >> age & 1)

    def use(self, counter: int) -> None:
        """Mark a fresh counter as used."""
        ahead = counter - self._highest
        if ahead > 0:
            # A jump past the whole window leaves nothing of it, and must not build a number of that many bits.
            kept = self._seen << ahead if ahead < COUNTER_WINDOW else 0
            self._seen = (kept | 1) & ((1 << COUNTER_WINDOW) - 1)
            self._highest = counter
        else:
            self._seen |= 1 << -ahead


@dataclass(slots=True)
class Peer:
    """One peer. Times are those handed to the machine."""

    id: PeerId
    stranger: bool
    heard_at: float
    gone: bool = False
    will: int = -1  # counter of its last will
    window: Window = field(default_factory=Window)
    band: Band | None = None  # the older key under which it answers us, in envelopes; None: that in use
    enveloped: bool = False  # what it said last came in an envelope: it speaks under another key than we do
    beacon: Beacon | None = None  # the last one
    beacon_at: float | None = None
    showed: int = 0  # blocks that it then held more than we did; fewer where that is negative
    own: int = 0  # blocks of our own feed that it has shown to hold
    level: bool = False  # we hold all that it had when we last learned of it
    probe_at: float | None = None  # when to ask what it holds
    probe_pause: float = PROBE_PAUSE_SECONDS
    probed_at: float = float("-inf")
    credit: int = PULL_FRAMES_MIN  # frames of the next pull
    vain: int = 0  # pulls in a row that gave nothing of what it had shown
    failures: int = 0  # requests without an answer, or with a bad one, since the last good answer
    retry_at: float = float("-inf")
    frames_in: int = 0  # signed frames only: others are nobody's
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0

    def failed(self, now: float, jitter: float) -> None:
        """It did not answer, or wrongly: pause, longer each time. `jitter` is 0 to 1."""
        self.failures += 1
        self.credit = max(PULL_FRAMES_MIN, self.credit // 2)
        pause = min(BACKOFF_MIN_SECONDS * 2 ** min(self.failures - 1, 16), BACKOFF_MAX_SECONDS)
        self.retry_at = now + pause * (0.5 + jitter / 2)

    def answered(self) -> None:
        """It answered. That makes good for silence, not for promises that it did not keep."""
        if self.vain < PATIENCE_FAILURES:
            self.failures = 0
            self.retry_at = float("-inf")

    def delivered(self) -> None:
        """It answered well, and may be asked for more at once."""
        self.answered()
        self.credit = min(PULL_FRAMES_MAX, self.credit * 2)

    def gave(self) -> None:
        """There was something for us in its answer."""
        self.vain = self.failures = 0
        self.retry_at = float("-inf")
        self.probe_pause = PROBE_PAUSE_SECONDS

    def found_nothing(self) -> None:
        """Asking it led to nothing: ask what it holds less often."""
        self.probe_pause = min(2 * self.probe_pause, BACKOFF_MAX_SECONDS)

    def gave_nothing(self, now: float, jitter: float) -> None:
        """It had shown blocks, and none of them came: once more often, it is trusted less. `jitter` is 0 to 1."""
        self.vain += 1
        self.found_nothing()
        if self.vain >= PATIENCE_FAILURES and self.retry_at <= now:
            self.failed(now, jitter)


@dataclass(frozen=True, slots=True)
class Budgets:
    """What one sender may ask of us."""

    requests: Budget
    ranges: Budget  # of wants
    served: Budget  # bytes

    @classmethod
    def full(cls, now: float) -> Budgets:
        """Nothing spent yet."""
        return cls(
            Budget(REQUESTS_PER_SECOND, REQUESTS_BURST, now),
            Budget(RANGES_PER_SECOND, RANGES_BURST, now),
            Budget(SERVED_BYTES_PER_SECOND, SERVED_BYTES_BURST, now),
        )


class Peers:
    """All peers, and what each sender may still ask of us."""

    def __init__(self, now: float) -> None:
        self._peers: OrderedDict[PeerId, Peer] = OrderedDict()
        self._budgets: OrderedDict[bytes, Budgets] = OrderedDict()
        self._strangers: Final = Budgets.full(now)

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._peers.values()))

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, peer: PeerId) -> Peer | None:
        """The peer, where it is remembered."""
        return self._peers.get(peer)

    def boots(self, key: bytes) -> list[Peer]:
        """The peers of one key, the one heard last first."""
        return [peer for peer in reversed(self._peers.values()) if peer.id.key == key]

    def fresh(self, peer: PeerId, counter: int) -> bool:
        """Whether a frame with this counter is no replay, as far as is remembered."""
        known = self._peers.get(peer)
        return known is None or known.window.fresh(counter)

    def heard(self, who: PeerId, counter: int, *, stranger: bool, now: float) -> Peer:
        """Take note of a frame whose signature has verified."""
        peer = self._peers.get(who)
        if peer is None:
            lately = [each.vain for each in self.boots(who.key) if now - each.heard_at <= PEER_SECONDS]
            self._make_room(who, stranger)
            peer = self._peers[who] = Peer(who, stranger, now, vain=max(lately, default=0))
        self._peers.move_to_end(who)
        peer.window.use(counter)
        peer.heard_at = now
        peer.stranger = stranger
        peer.gone = False
        return peer

    def part(self) -> None:
        """Another transport key is in use: what they showed under the one before says nothing any more."""
        for peer in self._peers.values():
            peer.band = peer.beacon = peer.probe_at = None
            peer.level = False
            peer.failures = 0
            peer.retry_at = float("-inf")

    def may_leave(self, who: PeerId, counter: int) -> bool:
        """Whether a last will with this counter may be news: of a peer that is remembered, and later than the last."""
        peer = self._peers.get(who)
        return peer is not None and counter > peer.will

    def left(self, who: PeerId, counter: int) -> Peer:
        """Take note of a last will that may be news, and whose signature has verified."""
        peer = self._peers[who]
        peer.will = counter
        peer.gone = True
        return peer

    def may_ask(self, peer: Peer, now: float, cost: int = 1) -> bool:
        """Whether one more request of this sender is answered; a dear one counts as several."""
        return self._budget(peer, now).requests.take(cost, now)

    def may_look_up(self, peer: Peer, ranges: int, now: float) -> bool:
        """Whether this many more ranges are looked up for this sender."""
        return self._budget(peer, now).ranges.take(ranges, now)

    def may_take(self, peer: Peer, size: int, now: float) -> bool:
        """Whether this many more bytes are served to this sender."""
        return self._budget(peer, now).served.take(size, now)

    def _budget(self, peer: Peer, now: float) -> Budgets:
        if peer.stranger:
            return self._strangers
        budgets = self._budgets.get(peer.id.key)
        if budgets is None:
            budgets = self._budgets[peer.id.key] = Budgets.full(now)
            if len(self._budgets) > MAX_PEERS:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(peer.id.key)
        return budgets

    def _make_room(self, who: PeerId, stranger: bool) -> None:
        same_key = [each.id for each in self._peers.values() if each.id.key == who.key]
        if len(same_key) >= MAX_BOOTS_PER_SENDER:
            del self._peers[same_key[0]]
        if stranger:
            strangers = [each.id for each in self._peers.values() if each.stranger]
            if len(strangers) >= MAX_STRANGERS:
                del self._peers[strangers[0]]
        if len(self._peers) >= MAX_PEERS:
            self._peers.popitem(last=False)
