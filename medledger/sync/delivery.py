"""Whether anybody has our own blocks: what a node that is censored, or alone, should tell its people.

Rules:

- A peer confirms our blocks by what it shows: a root that was ours, or our feed's length among its leaves. A broker's
  acknowledgement confirms nothing.
- When the oldest unconfirmed block has waited for ten minutes an alarm is raised, and again for each further ten.
"""

from __future__ import annotations

from collections import OrderedDict

from medledger.limits import RECENT_ROOTS, UNCONFIRMED_SECONDS


class Delivery:
    """The confirmations of one node's own feed."""

    def __init__(self) -> None:
        self._lengths: OrderedDict[bytes, int] = OrderedDict()  # of our feed, at each root that was ours
        self._length = 0
        self._confirmed = 0
        self._waiting: tuple[int, float] | None = None  # blocks up to this length wait since then
        self._told_at = float("-inf")

    @property
    def unconfirmed(self) -> int:
        """Blocks of ours that no peer has shown to hold."""
        return self._length - self._confirmed

    @property
    def since(self) -> float | None:
        """Since when the oldest of these waits, None where none does."""
        return None if self._waiting is None else self._waiting[1]

    @property
    def next(self) -> float:
        """When `overdue` may say something."""
        return max(self._waiting[1], self._told_at) + UNCONFIRMED_SECONDS if self._waiting else float("inf")

    def moved(self, root: bytes, length: int, now: float) -> None:
        """Our root, and our own feed's length, at this time."""
        self._lengths[root] = length
        self._lengths.move_to_end(root)
        if len(self._lengths) > RECENT_ROOTS:
            self._lengths.popitem(last=False)
        if length < self._length:  # it forked: what lay beyond the split does not stand any more
            self._confirmed = min(self._confirmed, length)
            self._waiting = None
        self._length = length
        self._wait(now)

    def seen_root(self, root: bytes, now: float) -> None:
        """A peer has shown this root."""
        self.seen_length(self._lengths.get(root, 0), now)

    def seen_length(self, length: int, now: float) -> None:
        """A peer has shown that it holds this many of our blocks."""
        self._confirmed = max(self._confirmed, min(length, self._length))
        if self._waiting is not None and self._confirmed >= self._waiting[0]:
            self._waiting = None
        self._wait(now)

    def overdue(self, now: float) -> str | None:
        """What to tell people, when it is time to."""
        if now < self.next:
            return None
        self._told_at = now
        return (
            f"no peer has confirmed the last {self.unconfirmed} blocks of this node for "
            f"{UNCONFIRMED_SECONDS / 60:.0f} minutes: they are safe here, and nowhere else as far as is known"
        )

    def _wait(self, now: float) -> None:
        if self._waiting is None and self._length > self._confirmed:
            self._waiting = (self._length, now)
