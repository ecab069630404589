"""The trace of a simulated run: a hash over every event, and the last ones in a form that people read."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from struct import Struct

LAST = 60
_HEAD = Struct("<dHH")


class Trace:
    """What happened, in order. Two runs are the same when their digests are."""

    def __init__(self, last: int = LAST) -> None:
        self.events = 0
        self._hash = blake2b(digest_size=16)
        self._names: dict[str, int] = {}
        self._last: deque[tuple[float, str, str, bytes]] = deque(maxlen=last)

    def note(self, now: float, who: str, what: str, mark: bytes = b"") -> None:
        """One more event: when, at whom, what, and what tells it from others of its kind."""
        names = self._names
        head = _HEAD.pack(now, names.setdefault(who, len(names)), names.setdefault(what, len(names)))
        self._hash.update(head)
        self._hash.update(mark)
        self._last.append((now, who, what, mark))
        self.events += 1

    @property
    def digest(self) -> str:
        """The hash of everything so far."""
        return self._hash.copy().hexdigest()

    def lines(self) -> list[str]:
        """The last events, one a line."""
        return [f"{now:12.6f}  {who:<12} {what:<24} {mark[:8].hex()}" for now, who, what, mark in self._last]
