"""The way from other threads to the gossip worker: a queue that is bounded in frames and in bytes.

Rules:

- Whoever puts something in never waits. Frames that find the box full are dropped and counted: gossip heals that.
- What the program and the connection have to say is never dropped: it is small, and news of one feed are merged.
- Frames and the connection's news come out in the order they went in.
"""

from __future__ import annotations

import threading
from collections import deque

from medledger.limits import MAILBOX_BYTES, MAILBOX_FRAMES
from medledger.sync import Advanced, Event, Received

BATCH = 256


class Mailbox:
    """Events on their way to one worker."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._events: deque[Event] = deque()
        self._advanced: dict[bytes, tuple[int, int]] = {}
        self._bytes = 0
        self._closed = False
        self.dropped = 0

    def receive(self, topic: str, payload: bytes) -> None:
        """A frame from the broker; dropped where there is no room."""
        size = len(topic) + len(payload)
        with self._condition:
            if len(self._events) >= MAILBOX_FRAMES or self._bytes + size > MAILBOX_BYTES:
                self.dropped += 1
                return
            self._bytes += size
            self._events.append(Received(topic, payload))
            self._condition.notify()

    def put(self, event: Event) -> None:
        """News of the connection."""
        with self._condition:
            self._events.append(event)
            self._condition.notify()

    def advanced(self, feed: bytes, first: int, last: int) -> None:
        """A feed of the replica has grown."""
        with self._condition:
            known = self._advanced.get(feed)
            self._advanced[feed] = (first, last) if known is None else (min(first, known[0]), max(last, known[1]))
            self._condition.notify()

    def close(self) -> None:
        """Wake the worker for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    def take(self, timeout: float) -> list[Event]:
        """The next events, after waiting for them at most `timeout` seconds."""
        with self._condition:
            if not (self._events or self._advanced or self._closed) and timeout > 0:
                self._condition.wait(timeout)
            batch = [self._events.popleft() for _ in range(min(BATCH, len(self._events)))]
            self._bytes -= sum(len(each.topic) + len(each.payload) for each in batch if isinstance(each, Received))
            batch += [Advanced(feed, first, last) for feed, (first, last) in self._advanced.items()]
            self._advanced.clear()
            return batch
