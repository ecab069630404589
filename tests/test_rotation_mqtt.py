"""Rotations of the transport key over a real broker: who is connected moves, who was away is told."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Broker
from medledger import Ledger
from medledger.errors import FrameError
from medledger.sync.frames import Codec
from medledger.sync.messages import Blocks, Data, Envelope, Leaves, Message
from medledger.sync.topics import Topics
from medledger.transport import Gossip
from waiting import until
from worlds import found, join, reading

SECONDS = 20.0


def alike(*ledgers: Ledger) -> bool:
    """Whether all hold the same, and speak under the same key."""
    return len({(ledger.digest(), ledger.transport_key) for ledger in ledgers}) == 1


def feed_of(ledger: Ledger) -> bytes:
    """A member's own feed."""
    assert ledger.me is not None
    return ledger.me


class Spy:
    """A client that hears everything on the broker, with a member's transport keys."""

    def __init__(self, broker: Broker, ledger: Ledger) -> None:
        self._ledger = ledger
        self._keys = ledger.transport_keys
        self._frames: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()
        subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda *_: self._client.subscribe("ml/#")
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._hear(message.topic, message.payload)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        assert subscribed.wait(SECONDS)

    def _hear(self, topic: str, payload: bytes) -> None:
        with self._lock:
            self._frames.append((topic, payload))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def heard(self) -> int:
        """How many frames there were."""
        with self._lock:
            return len(self._frames)

    def read(self, since: int) -> list[Message]:
        """What opens of the frames after the first so many."""
        with self._lock:
            frames = self._frames[since:]
        return [message for frame in frames if (message := self._open(*frame)) is not None]

    def _open(self, topic: str, payload: bytes) -> Message | None:
        for key in self._keys:
            address = Topics(self._ledger.id, key.key).read(topic)
            if address is not None:
                try:
                    return Codec(self._ledger.id, key, Random(0)).open(topic, address.channel, payload).message
                except FrameError:
                    continue
        return None


def test_a_revocation_among_running_nodes(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """The others move at once; what they write then, the revoked one cannot read; who was away comes back by itself."""
    founder = stack.enter_context(found(tmp_path))
    ward, clinic, box = (stack.enter_context(join(founder, tmp_path, name)) for name in ("ward", "clinic", "box"))
    spy = Spy(broker, box)
    stack.callback(spy.close)
    running = [stack.enter_context(Gossip(ledger, broker.url)) for ledger in (founder, ward)]
    away = Gossip(clinic, broker.url).start()
    assert until(lambda: alike(founder, ward, clinic))
    assert away.wait_in_sync(SECONDS)
    away.close()
    clinic.append(reading(99))
    founder.revoke(feed_of(box), reason="stolen")
    assert until(lambda: ward.transport_key == founder.transport_key != box.transport_key)
    time.sleep(0.5)  # whatever was under way under the old key
    since = spy.heard
    for rate in range(20):
        ward.append(reading(rate))
    assert until(lambda: alike(founder, ward))
    back = stack.enter_context(Gossip(clinic, broker.url))
    assert until(lambda: alike(founder, ward, clinic))
    assert until(lambda: all(each.status()["in_sync"] for each in (*running, back)))
    assert len(list(founder.entries(type="reading"))) == 21
    read = spy.read(since)
    assert any(isinstance(message, Envelope) for message in read)
    assert not any(isinstance(message, Blocks | Data | Leaves) for message in read)
    assert {each.status()["transport_key"] for each in (*running, back)} == {key_id(founder)}


def key_id(ledger: Ledger) -> str:
    """The id of the key that a ledger's node should speak under."""
    assert ledger.transport_key is not None
    return ledger.transport_key.id.hex()


def test_keys_change_while_everybody_writes(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """Ten keys in a few seconds: every block arrives, and no subscription is left behind."""
    founder = stack.enter_context(found(tmp_path))
    ward, clinic = (stack.enter_context(join(founder, tmp_path, name)) for name in ("ward", "clinic"))
    running = [stack.enter_context(Gossip(ledger, broker.url)) for ledger in (founder, ward, clinic)]
    assert until(lambda: alike(founder, ward, clinic))
    for rate in range(10):
        founder.rotate_transport_key()
        for ledger in (founder, ward, clinic):
            ledger.append(reading(rate))
        time.sleep(0.2)
    assert until(lambda: alike(founder, ward, clinic))
    assert len(list(clinic.entries(type="reading"))) == 30
    assert len(founder.transport_keys) == 11
    assert until(lambda: all(each.status()["in_sync"] for each in running))
    assert not any(each.status()["last_alarm"] for each in running)
