"""The bedside agent through real sockets: monitors that speak MLLP to a process, and what its ledger holds after."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from boxes import NOT_TAKEN, Box, World, oru
from brokers import Broker
from medledger_bridge.mllp import wrap

RESIDENT_BYTES = 60_000_000


def hashes(box: Box) -> Counter[bytes]:
    """How often the hash of each message stands on the box's ledger."""
    return Counter(entry.content["raw"] for entry in box.entries("reading"))


def once(box: Box, *messages: bytes) -> dict[bytes, int]:
    """Each of these messages, logged once."""
    return {box.named(message): 1 for message in messages}


# --- what is promised ------------------------------------------------------------------------------------------------


def test_a_message_is_logged_and_acknowledged(world: World) -> None:
    """MSA-2 repeats MSH-10, and the reading carries the message's hash, its value and the device."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        assert agent.monitor().ask(oru(1, value="72.50")) == ("AA", "1", "")
        agent.stop()
    (entry,) = box.entries("reading")
    assert entry.content["samples"][0][:3] == ["8867-4", [7250, -2], "/min"]
    assert (entry.content["device"], entry.content["raw"]) == ("MON-7", box.named(oru(1, value="72.50")))


def test_what_is_acknowledged_survives_at_once(world: World) -> None:
    """The moment the acknowledgement is read, the machine may go off: the entry is on the disk."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        for number in range(5):
            assert monitor.ask(oru(number))[0] == "AA"
        agent.kill()
    assert hashes(box) == once(box, *(oru(number) for number in range(5)))


def test_a_repeated_message_is_acknowledged_and_logged_once(world: World) -> None:
    """On the same connection, on another, within a batch, and after a restart."""
    box = world.box("bed", "bedside", batch={"window_seconds": 0.2})
    with box.start() as agent:
        first, second = agent.monitor(), agent.monitor()
        assert first.ask(oru(1)) == first.ask(oru(1)) == second.ask(oru(1)) == ("AA", "1", "")
        first.send(oru(2), oru(2))
        assert [first.receive(), first.receive()] == [("AA", "2", "")] * 2
        agent.stop()
    with box.start() as agent:
        assert agent.monitor().ask(oru(2)) == ("AA", "2", "")
        agent.stop()
    assert hashes(box) == once(box, oru(1), oru(2))


def test_an_id_that_is_used_again_is_refused(world: World) -> None:
    """Other bytes under a known id are an error; another sender may use the id."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        assert monitor.ask(oru(1))[0] == "AA"
        code, number, reason = monitor.ask(oru(1, value="99"))
        assert (code, number) == ("AE", "1")
        assert "another message" in reason
        assert monitor.ask(oru(1, value="99", sender="MON-8"))[0] == "AA"
        agent.stop()
    assert hashes(box) == once(box, oru(1), oru(1, value="99", sender="MON-8"))


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_window_makes_one_block(world: World) -> None:
    """Messages of several monitors within a window share a block, and are acknowledged when it is over."""
    box = world.box("bed", "bedside", batch={"window_seconds": 1.0})
    with box.start() as agent:
        monitors = [agent.monitor() for _ in range(4)]
        started = time.monotonic()
        for number, monitor in enumerate(monitors):
            monitor.send(oru(number, sender=f"MON-{number}"))
        assert {monitor.receive()[0] for monitor in monitors} == {"AA"}
        assert time.monotonic() - started > 0.9
        agent.stop()
    entries = box.entries("reading")
    assert len(entries) == 4
    assert len({entry.block_id for entry in entries}) == 1


def test_an_alarm_does_not_wait(world: World) -> None:
    """With a window of a minute an alarm is acknowledged at once, and takes what waits with it."""
    box = world.box("bed", "bedside", batch={"window_seconds": 60})
    with box.start() as agent:
        ordinary, alarm = agent.monitor(), agent.monitor()
        ordinary.send(oru(1), NOT_TAKEN)
        agent.wait_for("message refused")  # so the one before it waits for its window
        assert alarm.ask(oru(2, alarm=True, sender="MON-8"))[0] == "AA"  # or nothing would come for a minute
        assert [ordinary.receive()[0] for _ in range(2)] == ["AA", "AR"]
        agent.stop()
    found = {entry.content.get("alarm") for entry in box.entries("reading")}
    assert found == {None, "MDC_EVT_HI"}


def test_a_full_batch_does_not_wait(world: World) -> None:
    """When as many readings have come as a block is to hold, it is made."""
    box = world.box("bed", "bedside", batch={"window_seconds": 60, "max_entries": 5})
    with box.start() as agent:
        monitor = agent.monitor()
        monitor.send(*(oru(number) for number in range(5)))
        assert [monitor.receive()[0] for _ in range(5)] == ["AA"] * 5  # or nothing would come for a minute
        agent.stop()


# --- what cannot be taken --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected", "reason"),
    [
        (b"MSH|^~\\&|ADT|X|||20260101||ADT^A01|7|P|2.5\rPID|||1\r", ("AR", "7"), "only observations"),
        (b"MSH|^~\\&|LAB|X|||20260101||ORU^R01|8|P|2.5\rPID|||1\r", ("AE", "8"), "no segment"),
        (b"GET / HTTP/1.1\r", ("AR", ""), "do not begin with an MSH"),
        (b"", ("AR", ""), "do not begin with an MSH"),
    ],
    ids=["not an observation", "no measurement", "not HL7", "empty"],
)
def test_what_cannot_be_taken_is_answered_with_the_reason(
    world: World, message: bytes, expected: tuple[str, str], reason: str
) -> None:
    """Its sender is told why, nothing is logged, and the connection goes on."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        code, number, text = monitor.ask(message)
        assert (code, number) == expected
        assert reason in text
        assert monitor.ask(oru(1))[0] == "AA"
        agent.stop()
    assert hashes(box) == once(box, oru(1))


def test_a_box_that_is_not_enrolled_says_so(world: World) -> None:
    """It listens, acknowledges nothing, and takes the same messages once its enrolment is there."""
    box = world.box("bed", "bedside", enrolled=False)
    with box.start() as agent:
        code, _, reason = agent.monitor().ask(oru(1))
        assert code == "AE"
        assert "not enrolled" in reason
        agent.stop()
    with box.ledger() as ledger:
        world.bring_up_to_date(ledger)
    with box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        agent.stop()
    assert hashes(box) == once(box, oru(1))


def test_a_box_that_was_revoked_says_so(world: World) -> None:
    """What it logged after that would stand nowhere, so it acknowledges nothing, and its sender can go elsewhere."""
    box = world.box("bed", "bedside")
    world.hospital.revoke(box.identity.public_key, reason="lost")
    with box.ledger() as ledger:
        world.bring_up_to_date(ledger)
    with box.start() as agent:
        code, _, reason = agent.monitor().ask(oru(1))
        assert (code, reason) == ("AE", "this key has been revoked")
        agent.stop()
    assert not hashes(box)


# --- the wire --------------------------------------------------------------------------------------------------------


def test_bytes_may_come_in_any_pieces(world: World) -> None:
    """One byte at a time, and many messages in one packet, give the same acknowledgements in the same order."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        for byte in wrap(oru(1)) + b"\r\n" + wrap(oru(2)):
            monitor.socket.sendall(bytes((byte,)))
        assert [monitor.receive()[:2] for _ in range(2)] == [("AA", "1"), ("AA", "2")]
        monitor.send(*(oru(number) for number in range(3, 103)))
        assert [monitor.receive()[1] for _ in range(100)] == [str(number) for number in range(3, 103)]
        agent.stop()
    assert hashes(box) == once(box, *(oru(number) for number in range(1, 103)))


def test_no_acknowledgement_waits_for_the_one_behind_it(world: World) -> None:
    """Those that are due go out together, and none that is due stays behind for one that is not."""
    box = world.box("bed", "bedside", batch={"window_seconds": 60})
    with box.start() as agent:
        monitor = agent.monitor()
        by_hand = b"MSH|^~\\&|X|Y|||20261122093000+0000||ZML^Z01|%d|P|2.6\r"
        monitor.send(by_hand % 1, by_hand % 2, oru(3))
        assert [monitor.receive()[:2] for _ in range(2)] == [("AR", "1"), ("AR", "2")]
        monitor.send(oru(4, alarm=True), by_hand % 5)  # which ends the window
        assert [monitor.receive()[:2] for _ in range(3)] == [("AA", "3"), ("AA", "4"), ("AR", "5")]
        agent.stop()
    assert hashes(box) == once(box, oru(3), oru(4, alarm=True))


def test_bytes_that_are_no_mllp_end_the_connection(world: World) -> None:
    """The messages before them are acknowledged first; other connections go on."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        bad, good = agent.monitor(), agent.monitor()
        bad.socket.sendall(wrap(oru(1)) + b"\x0bMSH|^~\\&|half\x0b")
        assert bad.receive() == ("AA", "1", "")
        with pytest.raises(ConnectionError):
            bad.receive()
        assert good.ask(oru(2))[0] == "AA"
        agent.stop()
    assert hashes(box) == once(box, oru(1), oru(2))


def test_half_a_message_is_nothing(world: World) -> None:
    """A sender that hangs up, or stops, inside a message is disconnected, and nothing of it is logged."""
    box = world.box("bed", "bedside", mllp={"port": 0, "stall_seconds": 1})
    with box.start() as agent:
        gone, stalled, idle = agent.monitor(), agent.monitor(), agent.monitor()
        gone.socket.sendall(wrap(oru(1))[:-20])
        gone.close()
        stalled.socket.sendall(wrap(oru(2))[:-20])
        with pytest.raises(ConnectionError):
            stalled.receive()
        assert idle.ask(oru(3))[0] == "AA", "a pause between messages is no fault"
        agent.stop()
    assert hashes(box) == once(box, oru(3))


def test_a_message_beyond_the_limit_ends_the_connection(world: World) -> None:
    """A peer cannot fill the memory."""
    box = world.box("bed", "bedside", mllp={"port": 0, "max_message_bytes": 4096})
    with box.start() as agent:
        monitor = agent.monitor()
        monitor.socket.sendall(b"\x0b" + b"x" * 5000)
        with pytest.raises(ConnectionError):
            monitor.receive()
        agent.stop()


def test_connections_are_limited(world: World) -> None:
    """One too many is turned away at once, and there is room again when another goes."""
    box = world.box("bed", "bedside", mllp={"port": 0, "max_connections": 2})
    with box.start() as agent:
        kept = [agent.monitor(), agent.monitor()]
        assert [monitor.ask(oru(number))[0] for number, monitor in enumerate(kept)] == ["AA", "AA"]
        with pytest.raises(ConnectionError):
            agent.monitor().ask(oru(7))
        kept[0].close()
        agent.wait_for("disconnected")
        assert agent.monitor().ask(oru(8))[0] == "AA"
        agent.stop()


def test_a_flood_is_slowed_down_and_loses_nothing(world: World) -> None:
    """A sender that never waits is read from only as fast as the disk takes: memory stays, everything is logged."""
    count = 2000
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        flood = threading.Thread(target=lambda: monitor.send(*(oru(number) for number in range(count))))
        flood.start()
        time.sleep(1)  # meanwhile nobody reads the acknowledgements
        assert [monitor.receive()[:2] for _ in range(count)] == [("AA", str(number)) for number in range(count)]
        flood.join()
        assert agent.resident_bytes() < RESIDENT_BYTES
        agent.stop()
    assert len(hashes(box)) == count
    assert set(hashes(box).values()) == {1}


# --- life ------------------------------------------------------------------------------------------------------------


def test_it_ends_cleanly_in_the_middle_of_a_batch(world: World) -> None:
    """SIGTERM with messages waiting for their window: they are logged and acknowledged, and the process ends."""
    box = world.box("bed", "bedside", batch={"window_seconds": 60})
    with box.start() as agent:
        monitor, silent = agent.monitor(), agent.monitor()
        silent.socket.sendall(b"\x0bMSH|^~\\&|half")
        monitor.send(oru(1), oru(2), NOT_TAKEN)
        agent.wait_for("message refused")  # so those before it wait for their window
        agent.stop()
        assert [monitor.receive()[0] for _ in range(3)] == ["AA", "AA", "AR"]
        assert agent.log[-1]["event"] == "stopped"
    assert hashes(box) == once(box, oru(1), oru(2))
    with box.ledger() as ledger:
        ledger.fsck()


def test_it_works_without_its_broker(world: World) -> None:
    """A broker that is not there keeps nothing from being logged, nor the agent from ending in time."""
    box = world.box("bed", "bedside", gossip={"broker": "mqtt://127.0.0.1:1"})
    with box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        agent.stop()
    assert hashes(box) == once(box, oru(1))


def test_what_it_logs_is_gossiped(world: World, broker: Broker) -> None:
    """Own blocks reach another replica over a real broker while the agent runs, and its enrolment reaches it so."""
    from medledger.transport import Gossip

    box = world.box("bed", "bedside", enrolled=False, gossip={"broker": broker.url})
    with Gossip(world.hospital, broker.url), box.start() as agent:
        agent.wait_for("ready")
        assert agent.monitor().ask(oru(1))[0] == "AA"
        deadline = time.monotonic() + 20
        while not (found := list(world.hospital.entries("reading"))) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [entry.content["raw"] for entry in found] == [box.named(oru(1))]
        assert agent.resident_bytes() < RESIDENT_BYTES
        agent.stop()


def test_its_gossip_is_there_to_see_while_it_runs(world: World, broker: Broker) -> None:
    """Its status file answers `net status` although it holds the ledger; without a broker it says that it has none."""
    from medledger.transport import Gossip

    def status(box: Box, code: int) -> dict[str, Any]:
        command = [sys.executable, "-m", "medledger", "net", "status", str(box.home / "ledger.db"), "--no-gossip"]
        deadline = time.monotonic() + 20
        while True:
            done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=30)
            if done.returncode == code or time.monotonic() > deadline:
                assert done.returncode == code, done.stdout + done.stderr
                return dict(json.loads(done.stdout))
            time.sleep(0.1)

    box = world.box("bed", "bedside", gossip={"broker": broker.url})
    with Gossip(world.hospital, broker.url), box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        told = status(box, 0)
        assert told["process"] == {"pid": agent.process.pid, "state": "running"}
        assert [peer["label"] for peer in told["status"]["peer_list"]] == ["Hospital"]
        agent.kill()
    assert "has ended without closing" in status(box, 7)["why"]
    alone = world.box("lonely", "bedside", gossip={"broker": "mqtt://127.0.0.1:1"})
    with alone.start():
        assert "no broker" in status(alone, 5)["why"]


def test_a_second_agent_on_a_box_is_refused(world: World) -> None:
    """Two processes must not sign for one key: the second says why it does not start."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        done = subprocess.run(
            [sys.executable, "-m", "medledger", "agent", "bedside", "--config", str(box.config)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert agent.monitor().ask(oru(1))[0] == "AA"
        agent.stop()


def test_a_port_that_is_taken_is_named(world: World) -> None:
    """The message says which port, and what to do."""
    with world.box("one", "bedside").start() as agent:
        box = world.box("two", "bedside", mllp={"port": agent.port})
        done = subprocess.run(
            [sys.executable, "-m", "medledger", "agent", "bedside", "--config", str(box.config)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 4
        assert f"cannot listen on 127.0.0.1:{agent.port}" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_a_small_box_cannot_spare_is_not_loaded() -> None:
    """Running the agent, gossip and bridge included, brings in nothing of the demo, the command line or the tools."""
    script = (
        "import sys, medledger_agents.runtime, medledger.transport, hl7\n"
        "heavy = {'rich', 'sqlite_utils', 'amqtt', 'biip', 'click'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
