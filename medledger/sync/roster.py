"""Which feeds there are, as far as the membership known here tells: who is known, who governs, who is revoked.

Rules:

- A prefix of eight bytes stands for every known feed that begins with it, which is one unless somebody searched for
  two; whoever lists such feeds gives them whole.
- Feeds of the governors come first, since they say who else may write.
"""

from __future__ import annotations

from .frontier import PREFIX_BYTES
from .replica import Membership


class Roster:
    """An index of the membership."""

    def __init__(self, membership: Membership) -> None:
        self._take(membership)

    def refresh(self, membership: Membership) -> bool:
        """Take over the membership; true when it is another than before."""
        if membership is self._membership:
            return False
        self._take(membership)
        return True

    @property
    def count(self) -> int:
        """The number of known feeds."""
        return len(self._known)

    def knows(self, feed: bytes) -> bool:
        """Whether blocks of this feed can be accepted."""
        return feed in self._known

    def control(self, feed: bytes) -> bool:
        """Whether this is a control feed."""
        return feed in self._control

    def revoked(self, feed: bytes) -> bool:
        """Whether this key is dead."""
        return feed in self._membership.cuts

    def resolve(self, feed: bytes) -> list[bytes]:
        """The known feeds that a whole feed id, or a prefix of one, may mean."""
        if len(feed) == PREFIX_BYTES:
            return self._by_prefix.get(feed, [])
        return [feed] if self.knows(feed) else []

    def _take(self, membership: Membership) -> None:
        self._membership = membership
        self._known = frozenset(membership.known)
        self._control = frozenset(membership.electors)
        self._by_prefix: dict[bytes, list[bytes]] = {}
        for feed in sorted(self._known):
            self._by_prefix.setdefault(feed[:PREFIX_BYTES], []).append(feed)
