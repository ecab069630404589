"""Whether a revoked member holds the transport key in use, and so can go on reading gossip: told to people, once.

It says so in the membership. A revocation brings another key along, in blocks that come a moment later, so that what
does not last is not told. It is told again when it has ended and come back, when another key or other members are
concerned, and by another process.
"""

from __future__ import annotations

from medledger.limits import LEAK_SECONDS

from .alarms import Alarms
from .replica import Replica


class LeakWatch:
    """What one node knows of it."""

    def __init__(self, replica: Replica, alarms: Alarms) -> None:
        self._replica = replica
        self._alarms = alarms
        self._leak: tuple[bytes, ...] = ()  # the key in use, and the revoked members that hold it
        self.next = float("inf")
        """When it is to be told, should it last."""

    def look(self, now: float) -> None:
        """The membership may have changed."""
        holders = tuple(sorted(self._replica.key_leaked_to))
        leak = (self._replica.transport_keys[-1].id, *holders) if holders else ()
        if leak != self._leak:
            self._leak = leak
            self.next = now + LEAK_SECONDS if leak else float("inf")

    def tell(self, now: float) -> None:
        """Raise the alarm, where it is time to."""
        if now >= self.next:
            self.next = float("inf")
            self._alarms.leaked(self._leak[1:], now)
