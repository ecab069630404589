"""What brokers do to those who rely on them, done by real ones: they die, fall silent, refuse, forget and lie."""

from __future__ import annotations

import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Mosquitto, find_mosquitto, free_port
from medledger import Ledger
from medledger.errors import Fault, TransportError, UsageError
from medledger.transport import BrokerAddress, Gossip, session
from medledger.transport.bell import Bell
from medledger.transport.session import Ask
from medledger_agents.broker import EmbeddedBroker
from worlds import found, join, reading

SECONDS = 20.0
WILL_BYTES = 160  # more than a last will takes, less than a beacon

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="needs mosquitto")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes everything in the end, the last first."""
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def mosquitto(tmp_path: Path, stack: ExitStack) -> Callable[..., Mosquitto]:
    """A running Mosquitto with these settings, or one that lets everybody in. Its port is shown when a test fails."""

    def start(*settings: str) -> Mosquitto:
        program = find_mosquitto()
        assert program is not None
        broker = Mosquitto(program, tmp_path, settings=settings) if settings else Mosquitto(program, tmp_path)
        print("broker:", broker.url, *settings)
        return stack.enter_context(broker)

    return start


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def equal(*ledgers: Ledger) -> bool:
    """Whether all hold the same."""
    return len({ledger.digest() for ledger in ledgers}) == 1


def two(tmp_path: Path, stack: ExitStack) -> tuple[Ledger, Ledger]:
    """A founder and a ward."""
    founder = stack.enter_context(found(tmp_path))
    return founder, stack.enter_context(join(founder, tmp_path, "ward"))


# --- several brokers -------------------------------------------------------------------------------------------------


def test_a_lost_broker_is_followed_by_the_next(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """Both nodes go from the first to the second, in its turn back to the first, and hold the same after each move."""
    founder, ward = two(tmp_path, stack)
    brokers = [mosquitto(), mosquitto()]
    urls = [broker.url for broker in brokers]
    nodes = [stack.enter_context(Gossip(ledger, urls)) for ledger in (founder, ward)]
    assert nodes[0].status()["brokers"] == urls
    for number in range(3):
        serving, other = brokers[number % 2], brokers[1 - number % 2]
        assert until(lambda url=serving.url: all(node.status()["connected"] and node.status()["broker"] == url
                                                 for node in nodes))  # fmt: skip
        ward.append(reading(number))
        assert until(lambda: equal(founder, ward))
        if number:
            other.start()
        serving.kill()
    brokers[0].start()
    assert until(lambda: all(node.status()["connected"] for node in nodes))


def test_dead_brokers_of_a_list_are_passed_over_at_the_start(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """The first that works is taken, without waiting; where none does, the error names each and its reason."""
    founder, _ = two(tmp_path, stack)
    dead = [f"mqtt://127.0.0.1:{free_port('127.0.0.1')}" for _ in range(3)]
    broker = mosquitto()
    started = time.monotonic()
    with Gossip(founder, [*dead, broker.url]) as gossip:
        assert gossip.status()["broker"] == broker.url
        assert time.monotonic() - started < 2
    with pytest.raises(TransportError, match="none of 3 brokers") as caught:
        Gossip(founder, dead).start()
    assert all(url in str(caught.value) for url in dead)
    assert caught.value.fault is Fault.NOBODY


def test_an_account_that_one_broker_refuses_and_another_takes(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """The list goes on at the other. Where all refuse it, a node that may wait raises an alarm, once, and goes on."""
    assert shutil.which("mosquitto_passwd"), "comes with mosquitto"
    founder, _ = two(tmp_path, stack)
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", passwords, "ward", "secret"], check=True, capture_output=True)
    closed = mosquitto("persistence false", "allow_anonymous false", f"password_file {passwords}")
    opened = mosquitto()
    account = {"username": "box", "password": "wrong"}
    with Gossip(founder, [closed.url, opened.url], **account) as gossip:
        assert gossip.status()["broker"] == opened.url
    alarms: list[str] = []
    with Gossip(founder, [closed.url], **account, must_connect=False, on_alarm=alarms.append) as gossip:
        assert until(lambda: bool(alarms))
        time.sleep(2)  # at least another attempt
        assert alarms == [f"the broker {closed.url} refuses us: Not authorized"]
        assert not gossip.status()["connected"]


class Silent:
    """TCP servers that take connections and never say a word. One thread sees to all of them, and notes who came to
    whom, and whether another connection was still open then."""

    def __init__(self, count: int = 1) -> None:
        self._servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        self.urls = [f"mqtt://127.0.0.1:{server.getsockname()[1]}" for server in self._servers]
        self.visits: list[int] = []
        self.together = 0
        self._open: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            for server in select.select(self._servers, [], [], 0.02)[0]:
                self._open = [connection for connection in self._open if not hung_up(connection)]
                self.together += bool(self._open)
                self._open.append(server.accept()[0])
                self.visits.append(self._servers.index(server))

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for each in (*self._servers, *self._open):
            each.close()


def hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed it; it is closed here then, too."""
    connection.setblocking(False)
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    connection.close()
    return True


def test_never_two_brokers_at_once(tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that accepts and never answers is left in time, and the next is greeted only after that, in order."""
    monkeypatch.setattr(session, "CONNECT_SECONDS", 0.3)
    founder, _ = two(tmp_path, stack)
    silent = stack.enter_context(Silent(3))
    with pytest.raises(TransportError, match="does not answer as an MQTT broker"):
        Gossip(founder, silent.urls).start()
    with Gossip(founder, silent.urls, must_connect=False) as gossip:
        assert until(lambda: len(silent.visits) >= 7)
        assert not gossip.status()["connected"]
    assert silent.visits[:7] == [0, 1, 2, 0, 1, 2, 0]
    assert not silent.together


def test_a_silent_broker_is_passed_over(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose first broker accepts and never answers is in sync over its second."""
    monkeypatch.setattr(session, "CONNECT_SECONDS", 0.5)
    founder, ward = two(tmp_path, stack)
    silent = stack.enter_context(Silent())
    broker = mosquitto()
    ward.append(reading())
    stack.enter_context(Gossip(ward, broker.url))
    assert stack.enter_context(Gossip(founder, [*silent.urls, broker.url])).wait_in_sync(SECONDS)
    assert equal(founder, ward)


# --- connections that are not what they seem -------------------------------------------------------------------------


def test_a_broker_that_stops_answering_is_left(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """SIGSTOP: the socket stays open and takes bytes. After one to two times the keepalive (here one second, else 30)
    the next broker is tried, however much is waiting to be sent; closing stays quick."""
    founder, ward = two(tmp_path, stack)
    brokers = [mosquitto(), mosquitto()]
    urls = [broker.url for broker in brokers]
    nodes = [stack.enter_context(Gossip(ledger, urls, keepalive=1)) for ledger in (founder, ward)]
    stuck = stack.enter_context(Gossip(join(founder, tmp_path, "theatre"), urls[0]))
    assert all(node.wait_in_sync(SECONDS) for node in nodes)
    brokers[0].pause()
    started = time.monotonic()
    for number in range(200):
        ward.append(*[reading(number) for _ in range(50)])
    assert until(lambda: all(node.status()["broker"] == urls[1] and node.status()["connected"] for node in nodes))
    print(f"left after {time.monotonic() - started:.1f} s")
    assert until(lambda: equal(founder, ward))
    started = time.monotonic()
    stuck.close()
    assert time.monotonic() - started < 2
    brokers[0].resume()


def test_a_broker_that_pauses_is_found_again(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """The only broker stops for longer than two keepalives and goes on: so do we."""
    founder, ward = two(tmp_path, stack)
    broker = mosquitto()
    nodes = [stack.enter_context(Gossip(ledger, broker.url, keepalive=1)) for ledger in (founder, ward)]
    assert all(node.wait_in_sync(SECONDS) for node in nodes)
    broker.pause()
    ward.append(reading(1))
    assert until(lambda: not any(node.status()["connected"] for node in nodes), 10)
    broker.resume()
    assert until(lambda: equal(founder, ward))


def test_a_broker_with_hardly_any_queue(tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack) -> None:
    """One message in flight and one queued for each client: what it drops is asked for again."""
    founder, ward = two(tmp_path, stack)
    auditor = stack.enter_context(join(founder, tmp_path, "auditor", "auditor"))
    broker = mosquitto(
        "max_inflight_messages 1", "max_queued_messages 1", "allow_anonymous true", "persistence false"
    )  # fmt: skip
    for number in range(1500):
        ward.append(reading(number))
    nodes = [stack.enter_context(Gossip(ledger, broker.url)) for ledger in (founder, ward, auditor)]
    for number in range(300):
        ward.append(reading(number))
    assert until(lambda: equal(founder, ward, auditor))
    assert all(node.wait_in_sync(SECONDS) for node in nodes)


def test_somebody_else_with_our_client_id(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """A broker throws out the older of two with one id. We come back with another id, and leave the twin alone."""
    founder, ward = two(tmp_path, stack)
    broker = mosquitto("log_type notice", "allow_anonymous true", "persistence false")
    stack.enter_context(Gossip(ward, broker.url))
    gossip = stack.enter_context(Gossip(founder, broker.url, client_id="bed-7"))
    assert gossip.wait_in_sync(SECONDS)
    (ours,) = re.findall(r" as (bed-7-[0-9a-f]{8}) ", broker.log)
    losses: list[object] = []
    twin = Client(CallbackAPIVersion.VERSION2, client_id=ours, reconnect_on_failure=False)
    twin.on_disconnect = lambda *_: losses.append(1)
    twin.connect(broker.host, broker.port)
    twin.loop_start()
    assert until(lambda: len(re.findall(r" as bed-7-[0-9a-f]{8} ", broker.log)) == 3)
    ward.append(reading(2))
    assert until(lambda: equal(founder, ward))
    assert not losses
    twin.disconnect()
    twin.loop_stop()


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
    alarms: list[str] = []
    gossip = stack.enter_context(Gossip(founder, broker.url, on_alarm=alarms.append))
    broker.kill()
    assert not gossip.wait_in_sync(SECONDS)
    assert gossip.status()["failure"] == "ZeroDivisionError: "
    assert any("a fault of its own" in alarm for alarm in alarms)


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
            process.wait(10)
        assert until(lambda: bool(wills), 5 if kill else 1) == kill
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
    """A protocol that is not spoken here is refused by name."""
    founder, _ = two(tmp_path, stack)
    with pytest.raises(UsageError, match=r"'3\.1'"):
        Gossip(founder, "mqtt://broker", protocol="3.1")


def test_what_a_broker_says_in_mqtt_5_is_passed_on(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], stack: ExitStack
) -> None:
    """Packets that are too large for it are not sent, and it is said; so is a refused publication."""
    founder = stack.enter_context(found(tmp_path))
    rules = tmp_path / "acl"
    rules.write_text("topic read ml/1/#\n")
    broker = mosquitto("allow_anonymous true", "persistence false", f"acl_file {rules}", "max_packet_size 20000")
    alarms: list[str] = []
    gossip = stack.enter_context(Gossip(founder, broker.url, protocol="5", on_alarm=alarms.append))
    founder.append(reading(1))
    for _ in range(20):
        founder.append(*[reading(number) for number in range(200)])
    assert until(lambda: any("takes no packet over 20000 bytes" in text for text in alarms))
    assert until(lambda: any("refuses what we publish: Not authorized" in text for text in alarms))
    assert gossip.status()["connected"]
    assert len(alarms) == 2
