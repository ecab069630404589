"""One connection at a time: what a broker may send on it, the last will that it leaves, and the hints of MQTT 5."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Mosquitto, free_port
from medledger import Ledger
from medledger.errors import UsageError
from medledger.transport import Alarm, BrokerAddress, Gossip, connection, session
from medledger.transport.bell import Bell
from medledger.transport.mailbox import Mailbox
from medledger.transport.session import Ask
from medledger_agents.broker import EmbeddedBroker
from waiting import equal, until
from worlds import found, join, reading

SECONDS = 20.0
WILL_BYTES = 160  # more than a last will takes, less than a beacon


def two(tmp_path: Path, stack: ExitStack) -> tuple[Ledger, Ledger]:
    """A founder and a ward."""
    founder = stack.enter_context(found(tmp_path))
    return founder, stack.enter_context(join(founder, tmp_path, "ward"))


# --- what a broker may send ----------------------------------------------------------------------------------------


def test_a_huge_packet_does_not_fill_the_memory(tmp_path: Path, stack: ExitStack) -> None:
    """A broker that sends a publication of 200 MB gets no more of our memory than for a frame of ours."""
    founder, _ = two(tmp_path, stack)
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    size, sent = 200_000_000, threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(bytes((0x20, 2, 0, 0)))  # accepted
            length = bytes((size & 127 | 128, size >> 7 & 127 | 128, size >> 14 & 127 | 128, size >> 21))
            connection.sendall(bytes((0x30,)) + length + bytes((0, 1)) + b"s")
            chunk = bytes(1_000_000)
            for _ in range(size // len(chunk)):
                connection.sendall(chunk)
            sent.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    before = peak = resident()
    with Gossip(founder, f"mqtt://127.0.0.1:{server.getsockname()[1]}") as gossip:
        while not sent.wait(0.005):
            peak = max(peak, resident())
        print(f"grew by {(peak - before) / 1e6:.1f} MB")
        assert peak - before < 32_000_000
        assert gossip.status()["failure"] is None


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_broker_that_sends_rubbish(tmp_path: Path, stack: ExitStack, rng: Random) -> None:
    """Packets of every kind, of any content and length: a session ends or goes on, and nothing else happens."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    address = BrokerAddress("127.0.0.1", server.getsockname()[1], False)
    rounds, opened, ends = 1000, 0, Counter[str]()
    theirs = Random(rng.random())

    def serve() -> None:
        for _ in range(rounds):
            connection, _ = server.accept()
            with connection, suppress(ConnectionError):  # our session may have had enough
                connection.recv(4096)
                connection.sendall(theirs.choice((bytes((0x20, 2, 0, 0)), bytes((0x20, 3, 0, 0, 0)), b"")))
                for _ in range(theirs.randrange(4)):
                    body = theirs.randbytes(theirs.randrange(40))
                    connection.sendall(bytes((theirs.randrange(256), len(body) + theirs.choice((0, 0, 0, 1)))) + body)

    thread = threading.Thread(target=serve)
    thread.start()
    bell = Bell()
    bell.open()
    stack.callback(bell.close)
    ask = Ask("fuzz", None, 30, bell, lambda *_: None, lambda *_: None, lambda: False)
    for _ in range(rounds):
        each = session.Session(address, rng.choice(("3.1.1", "5")), ask, None)
        try:
            each.connect()
            opened += 1
            each.subscribe([("s", 1)])
            while each.turn():
                pass
            ends[str(each.lost)] += 1
        except session.NoSessionError as error:
            ends[str(error).partition(": ")[2]] += 1
        finally:
            each.discard()
    thread.join()
    print(opened, ends)
    assert opened > rounds / 10
    assert len(ends) >= 3


def test_a_fault_of_our_own_is_told(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the connection's thread end on a bug, that is an alarm and stands in the status; nobody waits for ever."""
    founder, _ = two(tmp_path, stack)
    broker = mosquitto()

    def broken(_self: object, _seconds: float) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr("medledger.transport.turns.Turns.next", broken)
    alarms: list[Alarm] = []
    gossip = stack.enter_context(Gossip(founder, broker.url, on_alarm=alarms.append))
    broker.kill()
    assert not gossip.wait_in_sync(SECONDS)
    assert gossip.status()["failure"] == "ZeroDivisionError: "
    assert any("a fault of its own" in alarm.text for alarm in alarms)


@pytest.mark.parametrize("thread", ["gossip", "connection"])
def test_an_alarm_may_make_the_program_close(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    """Whichever thread of gossip's it is told in: both end, and the next `close` has nothing to do."""
    founder, _ = two(tmp_path, stack)

    def broken(*_: object) -> None:
        assert started.wait(SECONDS)
        raise ZeroDivisionError

    started = threading.Event()
    closed: list[object] = []

    def close(_alarm: Alarm) -> None:
        try:
            closed.append(gossip.close())
        except RuntimeError as error:
            closed.append(error)

    before = threading.active_count()
    owner = "gossip.Gossip._step" if thread == "gossip" else "turns.Turns.next"
    monkeypatch.setattr(f"medledger.transport.{owner}", broken)
    gossip = Gossip(founder, "mqtt://127.0.0.1:1", must_connect=False, on_alarm=close).start()
    started.set()
    assert until(lambda: closed == [None])
    assert until(lambda: threading.active_count() == before)
    gossip.close()


# --- the last will ---------------------------------------------------------------------------------------------------

DYING = """
import sys
from medledger import Identity, Ledger
from medledger.transport import Gossip
with Ledger.open(sys.argv[1], Identity.load(sys.argv[2])) as ledger, Gossip(ledger, sys.argv[3]) as gossip:
    print(gossip.wait_in_sync(20), flush=True)
    sys.stdin.read()
"""


def test_a_last_will_tells_that_a_node_is_gone(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """The broker publishes it, not retained, when a node's process is killed, and not when one ends in good order."""
    founder, ward = two(tmp_path, stack)
    ward.close()
    broker = mosquitto()
    gossip = stack.enter_context(Gossip(founder, broker.url))
    wills: list[bytes] = []
    for kill in (False, True):
        with subprocess.Popen(
            [sys.executable, "-c", DYING, tmp_path / "ward.db", tmp_path / "ward.key", broker.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"True\n"
            wills.clear()
            watcher = stack.enter_context(watching(broker, wills))
            if kill:
                process.kill()
            else:
                process.stdin.close()
            process.wait(60)
        assert until(lambda: bool(wills), 60 if kill else 1) == kill
        watcher.close()
    assert len(wills) == 1
    assert gossip.status()["failure"] is None


def watching(broker: Mosquitto, heard: list[bytes]) -> ExitStack:
    """Somebody who hears what is published on the topic of beacons and is shorter than any beacon: wills."""
    client = Client(CallbackAPIVersion.VERSION2)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()

    def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
        if message.topic.endswith("/s") and len(message.payload) < WILL_BYTES:
            assert not message.retain
            heard.append(message.payload)

    client.on_message = on_message
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe("ml/1/+/s")
    assert subscribed.wait(SECONDS)
    stack = ExitStack()
    stack.callback(client.loop_stop)
    stack.callback(client.disconnect)
    return stack


# --- MQTT 5 ----------------------------------------------------------------------------------------------------------


def test_mqtt_5_where_a_broker_speaks_it(tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack) -> None:
    """Nodes of both versions converge on one broker that allows five unanswered publications."""
    founder, ward = two(tmp_path, stack)
    broker = mosquitto("max_inflight_messages 5", "allow_anonymous true", "persistence false")
    first = stack.enter_context(Gossip(founder, broker.url, protocol="5"))
    second = stack.enter_context(Gossip(ward, broker.url, protocol="3.1.1"))
    assert (first.status()["protocol"], second.status()["protocol"]) == ("5", "3.1.1")
    for number in range(300):
        ward.append(reading(number))
        founder.append(reading(number))
    assert until(lambda: equal(founder, ward))
    assert first.wait_in_sync(SECONDS)
    assert first.status()["failure"] is None


def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has no answer to version 5 is greeted again with 3.1.1, and from then on at once."""
    monkeypatch.setattr(session, "CONNECT_SECONDS", 2.0)
    founder, ward = two(tmp_path, stack)
    broker = stack.enter_context(EmbeddedBroker(port=free_port("127.0.0.1")))
    print("broker:", broker.url)
    nodes = [stack.enter_context(Gossip(ledger, broker.url, protocol="5")) for ledger in (founder, ward)]
    assert all(node.wait_in_sync(SECONDS) for node in nodes)
    assert [node.status()["protocol"] for node in nodes] == ["3.1.1", "3.1.1"]
    broker.restart()
    ward.append(reading(1))
    assert until(lambda: equal(founder, ward))


def test_there_is_no_other_version(tmp_path: Path, stack: ExitStack) -> None:
    """A protocol that is not spoken here is refused by name, and so is a keepalive that would never notice anything."""
    founder, _ = two(tmp_path, stack)
    with pytest.raises(UsageError, match=r"'3\.1'"):
        Gossip(founder, "mqtt://broker", protocol="3.1")
    for keepalive in (0, -1, 65_536):
        with pytest.raises(UsageError, match=f"not {keepalive}"):
            Gossip(founder, "mqtt://broker", keepalive=keepalive)


def test_what_a_broker_says_in_mqtt_5_is_passed_on(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """Packets that are too large for it are not sent, and it is said; so is a refused publication."""
    founder = stack.enter_context(found(tmp_path))
    rules = tmp_path / "acl"
    rules.write_text("topic read ml/1/#\n")
    broker = mosquitto("allow_anonymous true", "persistence false", f"acl_file {rules}", "max_packet_size 20000")
    alarms: list[Alarm] = []
    gossip = stack.enter_context(Gossip(founder, broker.url, protocol="5", on_alarm=alarms.append))
    assert until(lambda: gossip.status()["connected"])
    founder.append(reading(1))  # by itself: together with those below it would make a frame that is too large
    assert until(lambda: any("refuses what we publish: Not authorized" in alarm.text for alarm in alarms))
    for _ in range(20):
        founder.append(*[reading(number) for number in range(200)])
    assert until(lambda: any("takes no packet over 20000 bytes" in alarm.text for alarm in alarms))
    time.sleep(0.5)
    assert gossip.status()["connected"]  # Mosquitto would have hung up on a larger packet
    assert len(alarms) == 2


# --- a broker that takes nothing more ------------------------------------------------------------------------------


def test_a_broker_that_never_answers_a_publication_is_left(
    mosquitto: Callable[..., Mosquitto], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It allows one publication at a time and acknowledges none: whoever publishes is let go, to the next broker."""
    monkeypatch.setattr(connection, "STALL_SECONDS", 0.5)
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def serve() -> None:
        link, _ = server.accept()
        with link, suppress(ConnectionError):
            link.recv(4096)
            link.sendall(bytes((0x20, 6, 0, 0, 3, 0x21, 0, 1)))  # accepted; Receive Maximum 1
            while link.recv(4096):
                link.sendall(bytes((0xD0, 0)))  # it is there, whatever it is asked

    threading.Thread(target=serve, daemon=True).start()
    second = mosquitto()
    urls = [f"mqtt://127.0.0.1:{server.getsockname()[1]}", second.url]
    faults: list[Exception] = []
    link = connection.Connection(
        BrokerAddress.parse_all(urls),
        Mailbox(),
        protocol="5",
        client_id="box",
        tls=None,
        on_complaint=lambda *_: None,
        on_fault=faults.append,
    )
    link.open(must_connect=True)
    stack.callback(link.close)
    for _ in range(3):
        link.publish("ml/1/x/s", b"frame", 1, retain=False)
    assert until(lambda: link.up and str(link.address) == second.url, SECONDS)
    assert not faults
