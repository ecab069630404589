"""What we are to hear on one connection, and what the broker has agreed to.

Rules:

- A subscription that is refused is asked for again, with pauses that grow and differ: a cluster that elects a leader
  refuses for some seconds, and access rules are mended while we are connected.
- People are told when it has lasted, once for a connection.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from typing import Final

from paho.mqtt.client import Client

from medledger.limits import RECONNECT_MAX_SECONDS, RECONNECT_SECONDS, SUBSCRIBE_SECONDS

FILTERS_PER_PACKET: Final = 8  # some brokers take no more at once


class Subscriptions:
    """Those of one connection. The thread of gossip says what is wanted, that of the connection what is answered."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()  # an answer may come before the call that asked has said what its number is
        self._wanted: dict[str, int] = {}
        self._asked: dict[int, list[tuple[str, int]]] = {}
        self._granted: set[str] = set()
        self._lacking_since: float | None = None
        self._again_at = float("inf")
        self._pause = RECONNECT_SECONDS
        self._told = False

    def want(self, filters: list[tuple[str, int]], now: float) -> None:
        """Subscribe to these and to nothing else."""
        with self._lock:
            before, self._wanted = self._wanted, dict(filters)
            self._ask(each for each in filters if each[0] not in before)
            gone = sorted(before.keys() - self._wanted.keys())
            self._granted.difference_update(gone)
            for at in range(0, len(gone), FILTERS_PER_PACKET):
                self._client.unsubscribe(gone[at : at + FILTERS_PER_PACKET])
            self._reckon(now)

    def answered(self, number: int, granted: list[bool], now: float) -> list[str]:
        """The broker has answered to a request; all that it has granted so far."""
        with self._lock:
            for (topic, _), yes in zip(self._asked.pop(number, []), granted, strict=False):
                if not yes:
                    self._again_at = min(self._again_at, now + self._pause * random.uniform(0.5, 1))
                elif topic in self._wanted:
                    self._granted.add(topic)
            self._reckon(now)
            return sorted(self._granted)

    def due(self, now: float) -> bool:
        """Ask again where it is time. True where people should be told that something is not granted."""
        with self._lock:
            if self._lacking_since is None:
                return False
            if now >= self._again_at:
                self._again_at = float("inf")
                self._pause = min(2 * self._pause, RECONNECT_MAX_SECONDS)
                self._ask(each for each in self._wanted.items() if each[0] not in self._granted)
            if self._told or now - self._lacking_since < SUBSCRIBE_SECONDS:
                return False
            self._told = True
            return True

    def _reckon(self, now: float) -> None:
        if self._wanted.keys() <= self._granted:
            self._lacking_since, self._again_at, self._pause = None, float("inf"), RECONNECT_SECONDS
        elif self._lacking_since is None:
            self._lacking_since = now

    def _ask(self, filters: Iterable[tuple[str, int]]) -> None:
        new = list(filters)
        for at in range(0, len(new), FILTERS_PER_PACKET):
            part = new[at : at + FILTERS_PER_PACKET]
            _, number = self._client.subscribe(part)
            if number is not None:
                self._asked[number] = part
