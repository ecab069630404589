"""Gossip over a real broker: real sockets, real threads, real disks."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Broker
from medledger import Identity, Ledger, make_request
from medledger.errors import Fault, TransportError, UsageError
from medledger.limits import CONNECT_SECONDS, MAILBOX_FRAMES
from medledger.sync import Advanced, Connected, Received
from medledger.sync.topics import Topics
from medledger.transport import Alarm, BrokerAddress, Gossip
from medledger.transport.mailbox import Mailbox
from waiting import equal, until
from worlds import found, join, reading

SECONDS = 20.0


# --- converging ------------------------------------------------------------------------------------------------------


def test_two_nodes_converge(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """What either appends, before or while both gossip, is on the other's disk within moments."""
    founder = stack.enter_context(found(tmp_path))
    ward = stack.enter_context(join(founder, tmp_path, "ward"))
    for rate in range(50):
        ward.append(reading(rate))
    first = stack.enter_context(Gossip(founder, broker.url))
    second = stack.enter_context(Gossip(ward, broker.url))
    assert first.wait_in_sync(SECONDS)
    assert equal(founder, ward)
    ward.append(reading(100))
    founder.append(reading(101))
    assert until(lambda: equal(founder, ward))
    assert second.wait_in_sync(SECONDS)
    status = first.status()
    assert status["connected"]
    assert status["peers"] == 1
    assert status["failure"] is None


def test_an_auditor_pulls_a_full_replica(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """A third node that has nothing but the reply to its request ends with every block, and verifies each signature."""
    founder = stack.enter_context(found(tmp_path))
    wards = [stack.enter_context(join(founder, tmp_path, name)) for name in ("ward", "theatre")]
    for ward in wards:
        for rate in range(150):
            ward.append(reading(rate))
    identity = Identity.generate()
    secret = bytes(16)
    reply = founder.enrol(make_request(identity, secret=secret, label="auditor", roles=["auditor"]))
    auditor = stack.enter_context(Ledger.join(tmp_path / "auditor.db", identity, reply, secret))
    for ledger in (founder, *wards):
        stack.enter_context(Gossip(ledger, broker.url))
    gossip = stack.enter_context(Gossip(auditor, broker.url))
    assert until(lambda: equal(founder, auditor, *wards))
    assert gossip.wait_in_sync(SECONDS)
    assert len(list(auditor.entries(type="reading"))) == 300
    auditor.verify(every_signature=True)


def test_a_broker_killed_and_restarted_loses_nothing(tmp_path: Path, own_broker: Broker, stack: ExitStack) -> None:
    """SIGKILL while blocks are written, more of them while it is away: after it is back all digests are equal."""
    founder = stack.enter_context(found(tmp_path))
    wards = [stack.enter_context(join(founder, tmp_path, name)) for name in ("ward", "theatre")]
    nodes = [stack.enter_context(Gossip(ledger, own_broker.url)) for ledger in (founder, *wards)]
    assert all(node.wait_in_sync(SECONDS) for node in nodes)
    writing = threading.Event()

    def write(ledger: Ledger) -> None:
        for rate in range(60):
            ledger.append(reading(rate))
            writing.set()
            time.sleep(0.01)

    threads = [threading.Thread(target=write, args=(ledger,)) for ledger in wards]
    for thread in threads:
        thread.start()
    writing.wait()
    own_broker.kill()
    assert until(lambda: not any(node.status()["connected"] for node in nodes))
    for thread in threads:
        thread.join()
    own_broker.start()
    assert until(lambda: equal(founder, *wards))
    assert all(node.wait_in_sync(SECONDS) for node in nodes)
    assert len(list(founder.entries(type="reading"))) == 120


def test_what_was_appended_last_leaves_before_closing(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """A block written right before `close` reaches a node that goes on."""
    founder = stack.enter_context(found(tmp_path))
    ward = stack.enter_context(join(founder, tmp_path, "ward"))
    stack.enter_context(Gossip(founder, broker.url))
    with Gossip(ward, broker.url) as gossip:
        assert gossip.wait_in_sync(SECONDS)
        ward.append(reading(1))
    assert until(lambda: equal(founder, ward))


# --- hostile traffic -------------------------------------------------------------------------------------------------


def test_replayed_and_forged_frames_change_nothing(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """A client of the broker that records all, then sends it again, elsewhere, damaged, and noise: nothing happens."""
    founder = stack.enter_context(found(tmp_path))
    ward = stack.enter_context(join(founder, tmp_path, "ward"))
    recorded: list[tuple[str, bytes]] = []
    attacker = stack.enter_context(eavesdropper(broker, recorded))
    ward.append(reading(0))
    nodes = [stack.enter_context(Gossip(ledger, broker.url)) for ledger in (founder, ward)]
    assert until(lambda: equal(founder, ward))
    assert all(node.wait_in_sync(SECONDS) for node in nodes)
    ward.append(reading(21))
    assert until(lambda: equal(founder, ward))
    key = founder.transport_key
    assert key is not None
    topics = Topics(founder.id, key.key)
    assert ward.me is not None
    digest = founder.digest()
    honest = list(recorded)
    assert len({topic for topic, _ in honest}) >= 3
    for topic, payload in honest:
        for elsewhere in (topic, topics.beacons, topics.live(ward.me), topics.proofs(ward.me), topics.inbox(ward.me)):
            attacker.publish(elsewhere, payload, 1)
        attacker.publish(topic, payload[:-1] + bytes((payload[-1] ^ 1,)), 1)
        attacker.publish(topic, payload[: len(payload) // 2], 1)
        attacker.publish(topic, payload[:4] + bytes(len(payload)), 1)
    attacker.publish(topics.beacons, bytes(1_000_000), 1).wait_for_publish(SECONDS)
    assert until(lambda: all(node.status()["counters"].get("refused frames", 0) > 10 for node in nodes))
    assert founder.digest() == ward.digest() == digest
    ward.append(reading(99))
    assert until(lambda: equal(founder, ward))
    assert all(node.status()["failure"] is None for node in nodes)


def eavesdropper(broker: Broker, recorded: list[tuple[str, bytes]]) -> ExitStack:
    """A client that hears and may publish everything, as a broker's owner can."""
    client = Client(CallbackAPIVersion.VERSION2)
    subscribed = threading.Event()
    client.on_message = lambda _client, _data, message: recorded.append((message.topic, message.payload))
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.subscribe("ml/#", 1)
    assert subscribed.wait(SECONDS)

    class Attacker(ExitStack):
        publish = client.publish

    attacker = Attacker()
    attacker.callback(client.loop_stop)
    attacker.callback(client.disconnect)
    return attacker


# --- starting and stopping -------------------------------------------------------------------------------------------


def test_closing_is_quick_whatever_the_broker_does(tmp_path: Path, own_broker: Broker, stack: ExitStack) -> None:
    """Connected, and after the broker has gone: no wait for it, and closing twice is nothing."""
    founder = stack.enter_context(found(tmp_path))
    gossip = Gossip(founder, own_broker.url).start()
    own_broker.kill()
    founder.append(reading(1))
    assert until(lambda: not gossip.status()["connected"])
    for each in (gossip, Gossip(founder, own_broker.url, must_connect=False).start()):
        started = time.monotonic()
        each.close()
        each.close()
        assert time.monotonic() - started < CONNECT_SECONDS
        assert not each.wait_in_sync(0.1)
    assert not [thread for thread in threading.enumerate() if thread.name == "medledger-gossip"]


def test_a_broker_that_is_not_there_is_an_error_or_waited_for(
    tmp_path: Path, own_broker: Broker, stack: ExitStack
) -> None:
    """Refused at the start it is a TransportError, unless the node may wait: then it connects when the broker comes."""
    founder = stack.enter_context(found(tmp_path))
    own_broker.kill()
    with pytest.raises(TransportError, match="cannot be reached") as caught:
        Gossip(founder, own_broker.url).start()
    assert caught.value.hint
    with Gossip(founder, own_broker.url, must_connect=False) as gossip:
        assert not gossip.status()["connected"]
        own_broker.start()
        assert until(lambda: gossip.status()["connected"])


# paho leaves the socket of a failed TLS handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_something_that_is_no_broker_is_an_error(tmp_path: Path, stack: ExitStack) -> None:
    """A server that hangs up, or speaks no TLS, is named in one sentence."""
    founder = stack.enter_context(found(tmp_path))
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = server.getsockname()[1]

    def hang_up() -> None:
        for _ in range(2):
            server.accept()[0].close()

    thread = threading.Thread(target=hang_up, daemon=True)
    thread.start()
    with pytest.raises(TransportError, match="cannot be reached"):
        Gossip(founder, f"mqtts://127.0.0.1:{port}").start()


def test_alarms_reach_the_program(tmp_path: Path, own_broker: Broker, stack: ExitStack) -> None:
    """`on_alarm` is called with the sentence and what to do, as `status` keeps them; one that raises harms nobody."""
    founder = stack.enter_context(found(tmp_path))
    heard: list[Alarm] = []

    def on_alarm(alarm: Alarm) -> None:
        heard.append(alarm)
        raise RuntimeError("a bug of the program's")

    with Gossip(founder, own_broker.url, on_alarm=on_alarm) as gossip:
        twin = stack.enter_context(Gossip(founder, own_broker.url))
        assert until(lambda: any("another process with this node's key" in alarm.text for alarm in heard))
        assert any("stop all but one" in alarm.hint for alarm in heard)
        kept = [Alarm(row["text"], row["hint"]) for row in gossip.status()["alarms"]]
        assert kept[::-1] == heard[: len(kept)]
        assert gossip.status()["last_alarm"] in [alarm.text for alarm in heard]
        assert twin.status()["failure"] is None


def test_gossip_needs_a_member_s_identity(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """A ledger opened to read has no transport key and signs nothing."""
    found(tmp_path).close()
    reader = stack.enter_context(Ledger.open(tmp_path / "founder.db"))
    with pytest.raises(UsageError, match="identity"):
        Gossip(reader, broker.url)


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", BrokerAddress("broker", 1883, False)),
        ("mqtt://broker:1884/", BrokerAddress("broker", 1884, False)),
        ("mqtts://broker", BrokerAddress("broker", 8883, True)),
        ("mqtts://user:p%40ss@broker:1", BrokerAddress("broker", 1, True, "user", "p@ss")),
        ("mqtt://[::1]:1883", BrokerAddress("::1", 1883, False)),
    ],
)
def test_addresses(url: str, expected: BrokerAddress) -> None:
    """Host, port, TLS and account as the URL says, or the scheme's port."""
    assert BrokerAddress.parse(url) == expected
    assert BrokerAddress.parse(str(expected)).host == expected.host


@pytest.mark.parametrize(
    "url", ["", "broker", "broker:1883", "http://broker", "mqtt://", "mqtt://:1883", "mqtt://b:x", "mqtt://b:99999",
            "mqtt://b/path", "mqtt://b?query", "mqtt://[::1"]
)  # fmt: skip
def test_bad_addresses_are_errors(url: str) -> None:
    """Each says what is wrong, and that it is the caller's to mend."""
    with pytest.raises(TransportError) as caught:
        BrokerAddress.parse(url)
    assert caught.value.fault is Fault.CALLER
    assert caught.value.hint


@pytest.mark.parametrize("option", ["ca", "certificate"])
@pytest.mark.parametrize("urls", ["mqtt://broker", ["mqtts://broker", "mqtt://other"]])
def test_what_is_for_tls_is_refused_without_it(
    tmp_path: Path, stack: ExitStack, option: str, urls: str | list[str]
) -> None:
    """Whoever names a file for TLS does not mean to speak in clear, to any of the brokers. Files are not looked at."""
    founder = stack.enter_context(found(tmp_path))
    with pytest.raises(UsageError, match=f"{option} is given, and mqtt://.*1883 is an address without TLS") as caught:
        Gossip(founder, urls, **{option: "some.pem"})
    assert "mqtts://" in (caught.value.hint or "")


def test_a_password_belongs_to_a_user(tmp_path: Path, stack: ExitStack) -> None:
    """One that nobody could use is refused. Where only some of the brokers know a user, it is theirs."""
    founder = stack.enter_context(found(tmp_path))
    with pytest.raises(UsageError, match="no user that it belongs to") as caught:
        Gossip(founder, "mqtt://broker", password="secret")
    assert "secret" not in str(caught.value)
    Gossip(founder, ["mqtt://broker", "mqtt://bed-7@other"], password="secret")


def test_errors_do_not_show_passwords() -> None:
    """Neither of a bad address nor of a good one."""
    with pytest.raises(TransportError) as caught:
        BrokerAddress.parse("mqtt://user:secret@b/path")
    assert "secret" not in str(caught.value)
    address = BrokerAddress.parse("mqtt://user:secret@b")
    assert "secret" not in repr(address) + str(address)


# --- the mailbox -----------------------------------------------------------------------------------------------------


def test_a_full_mailbox_drops_frames_and_nothing_else() -> None:
    """Frames over the bounds are dropped and counted; the replica's news get in and are merged by feed."""
    mailbox = Mailbox()
    for _ in range(MAILBOX_FRAMES + 10):
        mailbox.receive("topic", b"payload")
    assert mailbox.dropped == 10
    mailbox.put(Connected())
    mailbox.advanced(b"feed", 3, 4)
    mailbox.advanced(b"feed", 5, 9)
    events = []
    while batch := mailbox.take(0):
        events += batch
    assert sum(isinstance(event, Received) for event in events) == MAILBOX_FRAMES
    assert Connected() in events
    assert Advanced(b"feed", 3, 9) in events
    for _ in range(20):
        mailbox.receive("topic", bytes(1_000_000))
    assert mailbox.dropped == 14
