"""Our own new blocks on their way out, live, as the replica releases them.

Rules:

- Of a backlog of more than four frames a beacon tells instead, and peers pull.
- Blocks of ours that came back from peers are no news to them.
- Where the replica cannot release them it is asked again later: they are safe there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from medledger.limits import BACKOFF_MAX_SECONDS, LIVE_BACKLOG_FRAMES, LIVE_FRAME_BYTES

from .frontier import Frontier
from .messages import Blocks
from .replica import Replica


class Publisher:
    """How far one node's own feed has been published."""

    def __init__(self, replica: Replica, frontier: Frontier, now: float) -> None:
        self._replica = replica
        self._frontier = frontier
        self._published = 0
        self._possible_at = now
        self._held_until = now

    @property
    def not_before(self) -> float:
        """When blocks can be published, and may be."""
        return max(self._possible_at, self._held_until)

    @property
    def length(self) -> int:
        """Of our own feed."""
        me = self._replica.me
        return 0 if me is None else self._frontier.length(me)

    @property
    def waiting(self) -> bool:
        """Whether there are blocks to publish."""
        return self.length > self._published

    def begin(self) -> None:
        """What we hold at the start is told of by beacons."""
        self._published = self.length

    def known(self, length: int) -> None:
        """So many of our blocks came from peers."""
        self._published = max(self._published, length)

    def due(self) -> Iterator[Blocks]:
        """The frames to publish now. Raises what `Replica.release` raises."""
        return islice(self.until(self.length), LIVE_BACKLOG_FRAMES)

    def until(self, length: int) -> Iterator[Blocks]:
        """The frames up to this length, however many. Raises what `Replica.release` raises."""
        me = self._replica.me
        while me is not None and self._published < length:
            blocks = self._replica.release(me, self._published, length, LIVE_FRAME_BYTES)
            if not blocks:
                return
            self._published += len(blocks)
            yield Blocks(me, tuple(blocks))

    def hold(self, until: float) -> None:
        """Publish nothing before then, and no longer than until then."""
        self._held_until = until

    def leave_rest(self) -> bool:
        """Pass over what is left; true where there is something, of which a beacon should tell."""
        left = self.waiting
        self._published = max(self._published, self.length)
        return left

    def postpone(self, now: float) -> None:
        """They cannot be released now."""
        self._possible_at = now + BACKOFF_MAX_SECONDS
