"""Whether a broker really passes on what it takes: our own frames must come back to us.

A broker may acknowledge a subscription and then deliver nothing on it (Mosquitto's access rules work like that), or a
publication and then drop it. From inside, that looks like a quiet ward. So we watch for our own frames on topics that
we are subscribed to; where none of the first has come back in time, somebody should look.

- Only frames published after the broker has confirmed our subscriptions count, and any one that comes back will do.
- It says so once for a connection. It is no defence: a broker that wants to deceive us can.
"""

from __future__ import annotations

import threading
from collections import deque
from hashlib import blake2b
from typing import Final

from paho.mqtt.client import topic_matches_sub

from medledger.limits import ECHO_SECONDS

FRAMES: Final = 64  # of ours, looked for at once


class Echo:
    """The watch over one connection. Two threads use it: one publishes, the other receives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._filters: list[str] = []
        self._sent: deque[bytes] = deque(maxlen=FRAMES)
        self._since: float | None = None
        self._over = False

    def subscribed(self, filters: list[str]) -> None:
        """The broker has confirmed these."""
        self._filters = filters

    def published(self, topic: str, payload: bytes, now: float) -> None:
        """A frame of ours is on its way."""
        if self._over or not any(topic_matches_sub(each, topic) for each in self._filters):
            return
        mark = _mark(topic, payload)
        with self._lock:
            self._sent.append(mark)
            if self._since is None:
                self._since = now

    def received(self, topic: str, payload: bytes) -> None:
        """Somebody's frame has come."""
        if self._over or not self._sent:
            return
        mark = _mark(topic, payload)
        with self._lock:
            self._over = mark in self._sent

    def missing(self, now: float) -> bool:
        """Whether it is time to say that none has come back."""
        if self._over or self._since is None or now - self._since < ECHO_SECONDS:
            return False
        self._over = True
        return True


def _mark(topic: str, payload: bytes) -> bytes:
    return blake2b(payload, digest_size=16, key=topic.encode()[:64]).digest()
