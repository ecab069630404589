"""Alarms: telling people, but not the same thing again and again; and the last ones, for whoever looks later."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from medledger.errors import FrameError, MedledgerError
from medledger.keys import fingerprint
from medledger.limits import ALARM_REPEAT_SECONDS, RECENT_ALARMS

from .events import Alarm

DIFFERENT = 64  # texts remembered
NAMED = 3  # members in one text


class AlarmLog:
    """The last alarms, and when they were raised."""

    def __init__(self) -> None:
        self._last: deque[tuple[float, Alarm]] = deque(maxlen=RECENT_ALARMS)

    def add(self, alarm: Alarm, now: float) -> None:
        """One more; the oldest makes room."""
        self._last.append((now, alarm))

    def data(self, now: float) -> list[dict[str, Any]]:
        """As plain data, the newest first."""
        last = list(self._last)[::-1]
        return [{"text": alarm.text, "hint": alarm.hint, "seconds": round(now - at, 3)} for at, alarm in last]


class About:
    """What `Alarms.about` gives to `with`. A class and not a generator: several are passed for each frame."""

    __slots__ = ("_alarms", "_now", "_what")

    def __init__(self, alarms: Alarms, what: str, now: float) -> None:
        self._alarms = alarms
        self._what = what
        self._now = now

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, MedledgerError) or isinstance(error, FrameError):  # what a peer says is no alarm
            return False
        self._alarms.tell(f"{self._what}: {error}", self._now, hint=error.hint)
        return True


class Alarms:
    """The alarms of one node."""

    def __init__(self) -> None:
        self._new: list[Alarm] = []
        self._told: dict[str, float] = {}
        self.log = AlarmLog()

    def tell(self, text: str, now: float, *, hint: str | None = None) -> None:
        """One sentence for people, and one that says what to do about it."""
        if now - self._told.get(text, float("-inf")) < ALARM_REPEAT_SECONDS:
            return
        if len(self._told) >= DIFFERENT:
            self._told.clear()
        self._told[text] = now
        self._new.append(Alarm(text, hint or ""))
        self.log.add(self._new[-1], now)

    def twin(self, now: float) -> None:
        """Somebody else speaks with our key."""
        self.tell(
            "a frame of another process with this node's key: a cloned disk, or an old frame replayed",
            now,
            hint="Where two processes use this key, stop all but one: if both write, its feed forks.",
        )

    def twin_lives(self, now: float) -> None:
        """Another process has answered a question of ours with our own key."""
        self.tell(
            "another process uses this node's key right now: a cloned disk",
            now,
            hint="Stop all but one of them at once: if both write, the feed forks, and the key is lost.",
        )

    def surpassed(self, now: float) -> None:
        """Blocks came that our key has signed and this ledger has not."""
        self.tell(
            "others hold blocks of this node's own feed that this ledger has never signed: signing stops",
            now,
            hint="A disk was restored together with its key, or cloned: make sure that no copy of it runs elsewhere. "
            "Signing goes on by itself once all such blocks are here and no other process uses the key.",
        )

    def withheld(self, who: bytes, now: float) -> None:
        """A member has shown more of our own feed than anybody hands over."""
        self.tell(
            f"member {fingerprint(who)} says that it holds blocks of this node's own feed that are not here, and does "
            "not hand them over: no signing until it does",
            now,
            hint="If it is known that this node has signed no more: stop it, and run `medledger recover`.",
        )

    def newer(self, feed: bytes, now: float) -> None:
        """Blocks came that this release does not understand: not judged, and not kept."""
        self.tell(
            f"blocks of member {fingerprint(feed)} need newer software than this: they are left to later",
            now,
            hint="Update medledger on this machine.",
        )

    def forked(self, feed: bytes, now: float) -> None:
        """A fork was proved."""
        self.tell(
            f"the feed of member {fingerprint(feed)} has forked: its author signed two histories",
            now,
            hint="Find out how (a restored backup, a cloned disk), revoke its key, and enrol its owner with a new one.",
        )

    def leaked(self, holders: Sequence[bytes], now: float) -> None:
        """Revoked members hold the transport key in use."""
        named = ", ".join(map(fingerprint, holders[:NAMED])) + f" and {len(holders) - NAMED} more" * (
            len(holders) > NAMED
        )
        self.tell(
            f"the transport key in use is held by who was revoked, and can read gossip: {named}",
            now,
            hint="A governor should run `medledger key rotate`.",
        )

    def unconfirmed(self, text: str, now: float) -> None:
        """Nobody has shown to hold our blocks; `Delivery` says how many."""
        self.tell(text, now, hint="See that another replica runs, and that it reaches the same broker.")

    def take(self) -> list[Alarm]:
        """Those that have not been raised yet."""
        new, self._new = self._new, []
        return new

    def about(self, what: str, now: float) -> About:
        """Let a ledger that fails end what is begun in the block, and tell of it."""
        return About(self, what, now)
