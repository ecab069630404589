"""A simulated MQTT broker and the links to it, as bad as the run's `Weather` has it.

A healthy broker keeps what is retained, fans out to whoever subscribed, and delivers in order. Everything else it does
to a frame is drawn frame by frame and counted by name. What it could say on its own account, it knows from what went
through it: it holds no key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from .schedule import Schedule

RECORDED = 2048  # frames kept to be replayed


@dataclass
class Weather:
    """How bad the network is: chances for each delivery, and delays in seconds. All zero is a good day."""

    delay: tuple[float, float] = (0.001, 0.02)
    loss: float = 0.0  # of frames at QoS 0
    sure_loss: float = 0.0  # of frames at QoS 1: a full queue, a broker that lies
    duplication: float = 0.0
    reordering: float = 0.0
    long_delay: float = 0.0
    damage: float = 0.0
    misrouting: float = 0.0
    replay: float = 0.0  # chance that a publication wakes an old one
    forgery: float = 0.0  # chance that the broker makes something up beside it
    retained_lie: float = 0.0  # chance for each retained message that a subscriber is told something else


class Client(Protocol):
    """Who is connected to a broker."""

    number: int
    group: int

    def receive(self, session: int, topic: str, payload: bytes) -> None: ...


@dataclass(eq=False)
class Session:
    """One connection of a client, from its start to its end."""

    client: Client
    number: int
    last: float = 0.0  # when its last frame arrives: frames do not overtake each other, unless they are made to
    filters: tuple[str, ...] = ()
    will: tuple[str, bytes] | None = None  # what is published when it ends without a word


class Broker:
    """The one broker of a run. Clients of different groups do not hear each other: a bridge between sites is down."""

    def __init__(self, schedule: Schedule, rng: Random, faults: Counter[str]) -> None:
        self._schedule = schedule
        self._rng = rng
        self._faults = faults
        self.weather = Weather()
        self.retained: dict[str, tuple[bytes, int]] = {}  # payload, and the group of its publisher
        self.censored: set[str] = set()  # topics that are not passed on
        self.silenced: set[int] = set()  # clients nothing is taken from
        self.up = True
        self._sessions: dict[int, Session] = {}
        self._exact: dict[str, list[Session]] = {}
        self._below: dict[str, list[Session]] = {}
        self._record: list[tuple[str, bytes]] = []
        self._count = 0
        self.frames = 0
        self.bytes = 0

    # --- sessions -----------------------------------------------------------------------------------------------

    def connect(self, client: Client, will: tuple[str, bytes] | None = None) -> Session | None:
        """A clean session; None while the broker is down."""
        if not self.up:
            return None
        self.disconnect(client)
        self._count += 1
        session = Session(client, self._count, self._schedule.now, will=will)
        self._sessions[client.number] = session
        return session

    def disconnect(self, client: Client) -> None:
        """End a client's session without a word; what is on its way to it is lost, and its will is published."""
        session = self._sessions.pop(client.number, None)
        if session is not None:
            self._forget(session)
            if session.will is not None:
                self._schedule.after(self._rng.choice([0.0, 1.0, 60.0]), self._publish_will, session)

    def _publish_will(self, session: Session) -> None:
        assert session.will is not None  # it is the will that is published
        if self.up:
            self._faults["last will"] += 1
        self.publish(session.client, *session.will, 0)

    def die(self) -> list[Client]:
        """End every session; half the time forget what was retained too. Who was connected."""
        self.up = False
        clients = [session.client for session in self._sessions.values()]
        self._sessions.clear()
        self._exact.clear()
        self._below.clear()
        if self._rng.random() < 0.5:
            self.retained.clear()
        return clients

    def subscribe(self, session: Session, filters: Iterable[tuple[str, int]]) -> None:
        """Have these subscribed and no others, and hand over what is retained where it was not subscribed before."""
        if self._sessions.get(session.client.number) is not session:
            return
        wanted = tuple(topic for topic, _ in filters)
        new = set(wanted).difference(session.filters)
        self._set_filters(session, wanted)
        for topic, (payload, group) in list(self.retained.items()):
            heard = topic in new or topic.rpartition("/")[0] + "/+" in new
            if heard and group == session.client.group:
                self._hand_over(session, topic, payload)

    def _set_filters(self, session: Session, filters: tuple[str, ...]) -> None:
        self._forget(session)
        session.filters = filters
        for topic in filters:
            table, name = (self._below, topic[:-2]) if topic.endswith("/+") else (self._exact, topic)
            table.setdefault(name, []).append(session)

    def _forget(self, session: Session) -> None:
        for topic in session.filters:
            table, name = (self._below, topic[:-2]) if topic.endswith("/+") else (self._exact, topic)
            table[name].remove(session)

    # --- frames -------------------------------------------------------------------------------------------------

    def publish(self, sender: Client | None, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        """Take a frame and pass it on."""
        if not self.up:
            return
        self.frames += 1
        self.bytes += len(payload)
        self._remember(topic, payload)
        if topic in self.censored or (sender is not None and sender.number in self.silenced):
            self._faults["censored frame"] += 1
            return
        group = 0 if sender is None else sender.group
        if retain:
            self.retained[topic] = (payload, group)
        self._fan_out(topic, payload, group, sure=qos > 0)
        weather, rng = self.weather, self._rng
        if weather.replay and rng.random() < weather.replay:
            self._replay()
        if weather.forgery and rng.random() < weather.forgery:
            self._forge(topic, payload)

    def _fan_out(self, topic: str, payload: bytes, group: int, *, sure: bool) -> None:
        for session in self._audience(topic):
            if session.client.group != group:
                self._faults["partitioned frame"] += 1
                continue
            self._deliver(session, topic, payload, sure=sure)

    def _audience(self, topic: str) -> list[Session]:
        exact, below = self._exact.get(topic, ()), self._below.get(topic.rpartition("/")[0], ())
        return [*exact, *below]

    def _deliver(self, session: Session, topic: str, payload: bytes, *, sure: bool) -> None:
        weather, rng = self.weather, self._rng
        chance = rng.random()
        chance -= weather.sure_loss if sure else weather.loss
        if chance < 0:
            self._faults["loss"] += 1
            return
        low, high = weather.delay
        at = self._schedule.now + low + (high - low) * rng.random()
        for name, rate in (
            ("duplication", weather.duplication),
            ("reordering", weather.reordering),
            ("delay", weather.long_delay),
            ("damage", weather.damage),
            ("misrouting", weather.misrouting),
        ):
            chance -= rate
            if chance < 0:
                before = topic, session
                at, topic, payload, session = self._spoil(name, at, topic, payload, session)
                self._faults[name] += name != "misrouting" or before != (topic, session)
                break
        else:
            at = session.last = max(at, session.last)
        self._schedule.at(at, session.client.receive, session.number, topic, payload)

    def _spoil(
        self, name: str, at: float, topic: str, payload: bytes, session: Session
    ) -> tuple[float, str, bytes, Session]:
        """Do one of the things that networks do to a frame on its way."""
        rng = self._rng
        match name:
            case "duplication":
                self._schedule.at(at + rng.random(), session.client.receive, session.number, topic, payload)
            case "reordering":
                at += 0.5 * rng.random()
            case "delay":
                at += rng.uniform(1, 60)
            case "damage":
                payload = _damaged(payload, rng)
            case _:
                session, topic = self._elsewhere(session, topic)
        return at, topic, payload, session

    def _elsewhere(self, session: Session, topic: str) -> tuple[Session, str]:
        """Another client, or another topic, or both."""
        if self._rng.random() < 0.7 and self._record:
            topic = self._rng.choice(self._record)[0]
        if self._rng.random() < 0.7:
            session = self._rng.choice(list(self._sessions.values()))
        return session, topic

    # --- what it makes up ---------------------------------------------------------------------------------------

    def _remember(self, topic: str, payload: bytes) -> None:
        if len(self._record) < RECORDED:
            self._record.append((topic, payload))
        elif self._rng.random() < 0.1:
            self._record[int(self._rng.random() * RECORDED)] = (topic, payload)

    def _replay(self) -> None:
        """An old frame again: to all who listen, or to somebody who does not."""
        if not self._sessions:
            return
        topic, payload = self._rng.choice(self._record)
        audience = self._audience(topic)
        if self._rng.random() >= 0.7:
            audience = [self._rng.choice(list(self._sessions.values()))]
        for session in audience:
            self._deliver(session, topic, payload, sure=True)
        self._faults["replay"] += bool(audience)

    def _forge(self, topic: str, payload: bytes) -> None:
        """A frame that nobody sent, as far as one without the key can make it."""
        rng = self._rng
        match rng.randrange(4):
            case 0:
                payload = payload[:4] + rng.randbytes(rng.randrange(400))
            case 1:
                payload = payload[:28] + rng.randbytes(max(0, len(payload) - 28))
            case 2:
                other = rng.choice(self._record)[1]
                payload = payload[: len(payload) // 2] + other[len(other) // 2 :]
            case _:
                topic = topic[: rng.randrange(len(topic))] + rng.choice(["", "/", "+", "#", "x", "/" + "0" * 32])
        audience = self._audience(topic) or list(self._sessions.values())[:1]
        for session in audience:
            self._deliver(session, topic, payload, sure=True)
        self._faults["forgery"] += bool(audience)

    def _hand_over(self, session: Session, topic: str, payload: bytes) -> None:
        """A retained message to a new subscriber."""
        if self.weather.retained_lie and self._rng.random() < self.weather.retained_lie:
            self._faults["lying retained message"] += 1
            match self._rng.randrange(4):
                case 0:
                    return  # kept from it
                case 1:
                    payload = self._rng.choice(self._record)[1]
                case 2:
                    payload = _damaged(payload, self._rng)
                case _:
                    payload = self._rng.choice(list(self.retained.values()))[0]
        self._deliver(session, topic, payload, sure=True)


def _damaged(payload: bytes, rng: Random) -> bytes:
    """A bit flipped, or bytes lost."""
    if not payload:
        return payload
    at = rng.randrange(len(payload))
    if rng.random() < 0.7:
        return payload[:at] + bytes((payload[at] ^ 1 << rng.randrange(8),)) + payload[at + 1 :]
    return payload[:at]
