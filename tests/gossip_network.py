"""A broker and its network in one thread: nodes, links that lose, repeat, delay and part, and a clock that is not real.

Everything comes from one seed. `Network.run` hands each node its events in the order of their times and carries out
what it answers.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from medledger.sync import (
    Advanced,
    Alarm,
    Connected,
    Disconnected,
    Event,
    Node,
    Publish,
    Received,
    Subscribe,
    Tick,
    WakeAt,
)


@dataclass
class Links:
    """How bad the network is. Delays in seconds, the rest probabilities for each delivery."""

    delay: tuple[float, float] = (0.001, 0.02)
    lose: float = 0.0
    lose_sure: float = 0.0  # at QoS 1 too, as a broker does whose queue is full
    repeat: float = 0.0


@dataclass(eq=False)
class Station:
    """One node at its place in the network."""

    name: str
    replica: Any
    node: Node
    filters: tuple[str, ...] = ()
    wake: int = 0  # number of the last WakeAt
    group: int = 0  # only stations of one group hear each other
    alarms: list[str] = field(default_factory=list)
    up: bool = True
    will: Publish | None = None  # what the broker is to publish should the connection end


class Network:
    """A broker with all its clients."""

    def __init__(self, seed: int, links: Links | None = None) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.links = links or Links()
        self.now = 0.0
        self.stations: list[Station] = []
        self.retained: dict[str, bytes] = {}
        self.traffic: list[tuple[float, str, str, int]] = []  # time, station, topic, bytes
        self.on_publish: Callable[[Station, Publish], None] | None = None
        self.censor: Callable[[str, Station], bool] | None = None  # whether a topic's message is kept from a station
        self._queue: list[tuple[float, int, Station, Event, int | None]] = []
        self._number = 0

    def add(self, name: str, replica: Any) -> Station:
        """Connect one more node."""
        node = self._node(replica)
        station = Station(name, replica, node)
        self.stations.append(station)
        self._schedule(0.01 * self.rng.random(), station, Connected())
        return station

    def restart(self, station: Station) -> None:
        """Kill the node and start another on the same replica."""
        station.node = self._node(station.replica)
        station.wake += 1
        station.filters = ()
        station.up = True
        self._queue = [each for each in self._queue if each[2] is not station]
        heapq.heapify(self._queue)
        self._schedule(0.0, station, Connected())

    def stop(self, station: Station) -> None:
        """Kill the node."""
        station.up = False

    def die(self, station: Station) -> None:
        """Kill the node; the broker publishes its last will."""
        station.up = False
        if station.will is not None:
            self._deliver(station.will.topic, station.will.payload, station, sure=True)

    def leave(self, station: Station) -> None:
        """One node loses its connection; `come_back` gives it another."""
        station.filters = ()
        self._schedule(0.0, station, Disconnected())

    def come_back(self, station: Station) -> None:
        """A node that had left connects again."""
        self._schedule(0.0, station, Connected())

    def break_off(self, seconds: float) -> None:
        """The broker dies, forgets everything, and comes back."""
        self.retained.clear()
        for station in self.stations:
            station.filters = ()
            self._schedule(0.0, station, Disconnected())
            self._schedule(seconds + self.rng.random(), station, Connected())

    def append(self, station: Station, payload: bytes) -> None:
        """The program at a station writes a block."""
        self.advanced(station, station.replica.append(payload))

    def advanced(self, station: Station, advance: Any) -> None:
        """The replica at a station has grown."""
        self._schedule(0.0, station, Advanced(advance.feed, advance.first, advance.last))

    def inject(self, topic: str, payload: bytes) -> None:
        """Anybody who can write to the broker publishes something."""
        self._deliver(topic, payload, None, sure=True)

    def run(self, seconds: float, *, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; true as soon as `until` holds."""
        end = self.now + seconds
        stuck = 0
        while self._queue and self._queue[0][0] <= end:
            if until is not None and until():
                return True
            at, _, station, event, wake = heapq.heappop(self._queue)
            stuck = stuck + 1 if at <= self.now else 0
            assert stuck < 100_000, f"time stands still (seed {self.seed})"
            self.now = max(self.now, at)
            if not station.up or (wake is not None and wake != station.wake):
                continue
            if isinstance(event, Connected):
                station.will = station.node.will()
            self._carry_out(station, station.node.handle(event, self.now))
        self.now = end
        return until is not None and until()

    def converged(self) -> bool:
        """All replicas that are up hold the same."""
        return len({station.replica.digest() for station in self.stations if station.up}) == 1

    def kinds(self, since: float = 0.0) -> Counter[str]:
        """Publications since then, by channel."""
        return Counter(topic.split("/")[3] for at, _, topic, _ in self.traffic if at >= since)

    def _node(self, replica: Any) -> Node:
        rng = Random(self.rng.random())
        return Node(replica, rng=rng, boot_id=rng.randbytes(8), now=self.now)

    def _carry_out(self, station: Station, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                self.traffic.append((self.now, station.name, effect.topic, len(effect.payload)))
                if self.on_publish is not None:
                    self.on_publish(station, effect)
                if effect.retain:
                    self.retained[effect.topic] = effect.payload
                self._deliver(effect.topic, effect.payload, station, sure=effect.qos > 0)
            elif isinstance(effect, Subscribe):
                before, station.filters = station.filters, tuple(topic for topic, _ in effect.filters)
                new = [each for each in station.filters if each not in before]
                for topic, payload in self.retained.items():
                    if any(_matches(each, topic) for each in new):
                        self._schedule(self.links.delay[1], station, Received(topic, payload))
            elif isinstance(effect, WakeAt):
                station.wake += 1
                self._schedule(effect.time - self.now, station, Tick(), station.wake)
            elif isinstance(effect, Alarm):
                station.alarms.append(effect.text)

    def _deliver(self, topic: str, payload: bytes, sender: Station | None, *, sure: bool) -> None:
        for station in self.stations:
            if not any(_matches(each, topic) for each in station.filters):
                continue
            if sender is not None and sender.group != station.group:
                continue
            if self.censor is not None and self.censor(topic, station):
                continue
            if self.rng.random() < (self.links.lose_sure if sure else self.links.lose):
                continue
            copies = 2 if self.rng.random() < self.links.repeat else 1
            for _ in range(copies):
                self._schedule(self.rng.uniform(*self.links.delay), station, Received(topic, payload))

    def _schedule(self, after: float, station: Station, event: Event, wake: int | None = None) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now + max(after, 0.0), self._number, station, event, wake))


def _matches(topic_filter: str, topic: str) -> bool:
    if topic_filter.endswith("/+"):
        return topic.rpartition("/")[0] == topic_filter[:-2]
    return topic == topic_filter
