"""The embedded broker of the demo and the tests does what they need of it, with a real MQTT client."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from brokers import Broker, accepts, free_port, new_broker
from medledger.errors import TransportError, UsageError
from medledger_agents.broker import EmbeddedBroker

SECONDS = 10


class Client:
    """A paho client that keeps what it receives."""

    def __init__(self, broker: Broker, client_id: str) -> None:
        self.inbox: queue.Queue[tuple[str, bytes, bool]] = queue.Queue()
        self.subscribed: queue.Queue[int] = queue.Queue()
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv311)
        self.mqtt.on_message = lambda _c, _u, message: self.inbox.put((message.topic, message.payload, message.retain))
        self.mqtt.on_subscribe = lambda _c, _u, mid, _codes, _p: self.subscribed.put(mid)
        self.mqtt.connect(broker.host, broker.port)
        self.mqtt.loop_start()

    def subscribe(self, topic: str, qos: int) -> None:
        """Subscribe and wait for the broker's word."""
        self.mqtt.subscribe(topic, qos)
        self.subscribed.get(timeout=SECONDS)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        """Publish and wait until it is sent (QoS 0) or acknowledged (QoS 1)."""
        self.mqtt.publish(topic, payload, qos, retain).wait_for_publish(SECONDS)

    def close(self) -> None:
        """Disconnect and end paho's thread."""
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedBroker]:
    """A running embedded broker."""
    with EmbeddedBroker() as running:
        yield running


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 256])
def test_a_payload_of_a_whole_frame_arrives_unchanged(embedded: EmbeddedBroker, qos: int, size: int) -> None:
    """Payloads up to the largest gossip frame arrive byte for byte, at both qualities of service we use."""
    payload = os.urandom(size)
    receiver, sender = Client(embedded, f"r-{qos}-{size}"), Client(embedded, f"s-{qos}-{size}")
    try:
        receiver.subscribe(f"ml/1/{qos}/{size}/#", qos)
        sender.publish(f"ml/1/{qos}/{size}/b", payload, qos)
        assert receiver.inbox.get(timeout=SECONDS) == (f"ml/1/{qos}/{size}/b", payload, False)
    finally:
        receiver.close()
        sender.close()


def test_a_burst_of_large_frames_arrives_complete_and_in_order(embedded: EmbeddedBroker) -> None:
    """Bulk data frames sent back to back at QoS 0 all arrive, in the order they were sent."""
    receiver, sender = Client(embedded, "r-burst"), Client(embedded, "s-burst")
    frames = [number.to_bytes(4, "big") + os.urandom(64 * 1024 - 4) for number in range(64)]
    try:
        receiver.subscribe("burst", 0)
        for frame in frames:
            sender.publish("burst", frame, 0)
        assert [receiver.inbox.get(timeout=SECONDS)[1] for _ in frames] == frames
    finally:
        receiver.close()
        sender.close()


def test_a_retained_message_reaches_a_later_subscriber(embedded: EmbeddedBroker) -> None:
    """Roster heads and fork proofs are retained: who subscribes later still receives them."""
    sender = Client(embedded, "s-retain")
    sender.publish("roster", b"head", 1, retain=True)
    late = Client(embedded, "r-retain")
    try:
        late.subscribe("roster", 1)
        assert late.inbox.get(timeout=SECONDS) == ("roster", b"head", True)
    finally:
        sender.close()
        late.close()


def test_url_names_the_port_only_after_start() -> None:
    """A broker on port 0 has no address before it is started; afterwards the port is the one that accepts."""
    broker = EmbeddedBroker()
    with pytest.raises(UsageError, match="no port"):
        _ = broker.url
    with broker:
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
        assert accepts("127.0.0.1", broker.port)
        with pytest.raises(UsageError, match="already"):
            broker.start()
    assert not accepts("127.0.0.1", broker.port)
    broker.stop()  # a second stop is harmless


def test_a_taken_port_is_a_transport_error_with_its_reason(embedded: EmbeddedBroker) -> None:
    """Starting on a port that somebody else holds says so in one sentence."""
    with pytest.raises(TransportError, match="address already in use"):
        EmbeddedBroker(port=embedded.port).start()


def test_the_broker_ends_when_its_parent_is_killed() -> None:
    """A demo that is killed leaves no broker behind."""
    script = (
        "import time\nfrom medledger_agents.broker import EmbeddedBroker\n"
        "print(EmbeddedBroker().start().port, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert accepts("127.0.0.1", port)
        parent.kill()
    deadline = time.monotonic() + SECONDS
    while accepts("127.0.0.1", port):
        assert time.monotonic() < deadline, "the broker outlived its parent"
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["chosen", "embedded"])
def test_a_killed_broker_comes_back_on_its_port(kind: str, tmp_path: Path) -> None:
    """The broker the tests chose, and the embedded one, can be killed and restarted; a client reconnects by itself."""
    broker = new_broker(tmp_path) if kind == "chosen" else EmbeddedBroker(port=free_port("127.0.0.1"))
    with broker:
        url = broker.url
        client = Client(broker, "survivor")
        client.mqtt.reconnect_delay_set(0.1, 0.2)
        try:
            client.subscribe("before", 1)
            broker.restart()
            assert broker.url == url
            deadline = time.monotonic() + SECONDS
            while not client.mqtt.is_connected():
                assert time.monotonic() < deadline, "the client did not reconnect"
                time.sleep(0.05)
            client.subscribe("after", 1)
            client.publish("after", b"here", 1)
            assert client.inbox.get(timeout=SECONDS)[1] == b"here"
        finally:
            client.close()


def test_nothing_is_written_to_disk_or_to_the_terminal(tmp_path: Path) -> None:
    """The embedded broker leaves no file in its working directory and prints nothing."""
    script = (
        "import socket\nfrom medledger_agents.broker import EmbeddedBroker\n"
        "with EmbeddedBroker() as broker:\n"
        "    socket.create_connection((broker.host, broker.port)).close()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
