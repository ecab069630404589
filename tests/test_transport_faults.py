"""What brokers do to those who rely on them, done by real ones: they die, fall silent, refuse, forget and lie."""

from __future__ import annotations

import re
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Broker, Electing, Mosquitto, free_port
from medledger import Ledger
from medledger.errors import Fault, TransportError
from medledger.limits import CONNECT_SECONDS, KEEPALIVE_SECONDS
from medledger.transport import Alarm, Gossip, session
from waiting import equal, until
from worlds import found, join, reading

SECONDS = 20.0


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
        assert time.monotonic() - started < CONNECT_SECONDS
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
    alarms: list[Alarm] = []
    with Gossip(founder, [closed.url], **account, must_connect=False, on_alarm=alarms.append) as gossip:
        assert until(lambda: bool(alarms))
        time.sleep(2)  # at least another attempt
        assert [alarm.text for alarm in alarms] == [f"the broker {closed.url} refuses us: Not authorized"]
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


def test_an_election_is_waited_for_as_long_as_one_likes(tmp_path: Path, own_broker: Broker, stack: ExitStack) -> None:
    """A broker that is there and takes nobody yet: an error at once, or after that time; or it takes us in the end. One
    that is not there at all is an error at once.
    """
    founder = stack.enter_context(found(tmp_path))
    own_broker.kill()
    with Electing(own_broker.host, own_broker.port) as electing:
        with pytest.raises(TransportError, match="cannot be reached: it hangs up"):
            Gossip(founder, own_broker.url).start()
        assert electing.visits == 1
        started = time.monotonic()
        with pytest.raises(TransportError, match="cannot be reached: it hangs up"):
            Gossip(founder, own_broker.url, connect_seconds=1.5).start()
        assert time.monotonic() - started >= 1.5
        assert electing.visits > 2
        before = electing.visits
        gossip = Gossip(founder, ["mqtt://127.0.0.1:1", own_broker.url], connect_seconds=SECONDS)
        thread = threading.Thread(target=gossip.start)
        thread.start()
        assert until(lambda: electing.visits > before + 1)
    started = time.monotonic()
    with pytest.raises(TransportError, match="cannot be reached"):
        Gossip(founder, own_broker.url, connect_seconds=SECONDS).start()
    assert time.monotonic() - started < SECONDS / 2
    own_broker.start()
    thread.join(SECONDS)
    assert gossip.status()["connected"]
    gossip.close()


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
    assert time.monotonic() - started < KEEPALIVE_SECONDS
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
    assert until(lambda: not any(node.status()["connected"] for node in nodes))
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
