"""Instruments on a bedside box: a device that signs, from its serial line to the auditor's replica.

The device is the reference firmware in C, on a pseudo-terminal.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest

from boxes import Box, World, oru
from brokers import Broker
from devices import Instrument
from devices_on_lines import device, firmware, measure, plugged
from medledger import DeviceEnrol, DeviceRetire, Ledger
from medledger.errors import ConfigurationError
from medledger.findings import find
from medledger.transport import Gossip
from medledger_agents.bedside.config import BedsideConfig
from medledger_agents.bedside.intake import wired
from medledger_agents.inbox import Inbox, Received
from medledger_agents.instruments import envelope
from medledger_agents.instruments.dating import SLACK_MS
from medledger_agents.recorder import Delivery, Recorder
from medledger_agents.subjects import Subjects
from medledger_bridge.devices import new_driver
from waiting import until
from ward_messages import WARD, adt
from worlds import sync

SECONDS = 30
DEVICE = "PO-1"
MINUTE = 60_000


class Line:
    """A device, and the pseudo-terminal on which it speaks."""

    def __init__(
        self, directory: Path, stack: ExitStack, *, name: str = DEVICE, command: list[str] | None = None
    ) -> None:
        self.port = directory / f"{name}.tty"
        self._directory = directory
        self._name = name
        self._stack = stack
        self._command = [str(firmware())]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Switch the device on; with `--pty` it makes the line itself."""
        arguments = ["--state", str(self._directory / f"{self._name}.state"), "--device", self._name]
        arguments += ["--pty", str(self.port), "--interval", "20", "--readings", "2", *options]
        self._process = self._stack.enter_context(subprocess.Popen([*self._command, *arguments]))
        self._stack.callback(self._process.kill)
        assert until(self.port.exists, SECONDS)

    def key(self) -> bytes:
        """Its public key, of its first start on."""
        done = subprocess.run(
            [*self._command, "--state", str(self._directory / f"{self._name}.state"), "--identify"],
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
        return bytes.fromhex(done.stdout.split()[-1].decode())

    def stop(self) -> None:
        """Switch it off, as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.port.unlink(missing_ok=True)

    def wait(self) -> None:
        """Until it has said all and all was acknowledged."""
        assert self._process is not None
        assert self._process.wait(SECONDS) == 0


@pytest.fixture
def line(tmp_path: Path, stack: ExitStack) -> Line:
    """The reference firmware."""
    return Line(tmp_path, stack)


def wiring(line: Line, **more: object) -> dict[str, object]:
    """The section of a box's configuration."""
    return {"devices": {DEVICE: {"driver": "signed", "port": str(line.port)}, **more}}


def box_with(world: World, line: Line, name: str = "bed-7", **sections: dict[str, object]) -> Box:
    """A bedside box that the device is wired to."""
    return world.box(name, "bedside", instruments=wiring(line), gossip={"offline": True}, **sections)


def counters(ledger: Ledger) -> list[int]:
    """The numbers of the batches on a ledger, in the order of their logging."""
    found = sorted(ledger.entries("device.batch"), key=lambda each: (each.author, each.seq, each.index))
    return [entry.content["counter"] for entry in found]


def test_what_a_device_signs_is_on_the_ledger_as_it_signed_it(world: World, line: Line) -> None:
    """Each batch once, in order, its signature with it; the device ends when all are acknowledged. Nothing to find."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=line.key(), model="reference"))
    box = box_with(world, line)
    line.start("--count", "40", "--once")
    with box.start():
        line.wait()
    with box.ledger() as ledger:
        sync(ledger, world.hospital)
    assert counters(world.hospital) == list(range(1, 21))
    assert list(find(world.hospital)) == []


@pytest.mark.parametrize("killed", ["box", "device"])
def test_nothing_is_lost_or_doubled_by_a_power_cut(world: World, line: Line, killed: str) -> None:
    """Of the box or of the device, while batches are on their way: what the device kept arrives, each once."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=line.key()))
    box = box_with(world, line)
    slowly = ("--interval", "100", "--count", "60", "--once")
    line.start(*slowly)
    for _ in range(3):
        with box.start() as agent:
            agent.wait_for("batch logged")
            if killed == "box":
                agent.kill()
            else:
                line.stop()
                line.start(*slowly)
    with box.start():
        line.wait()
    with box.ledger() as ledger:
        sync(ledger, world.hospital)
    found = counters(world.hospital)
    assert found == sorted(set(found))
    missing = sum(each.facts["count"] for each in find(world.hospital) if each.kind == "missing batches")
    assert len(found) + missing == found[-1]
    if killed == "box":  # the device kept its ring
        assert found == list(range(1, 31))


def test_a_batch_that_was_logged_and_not_marked_is_not_logged_again(world: World, tmp_path: Path, line: Line) -> None:
    """A crash between the ledger's commit and the inbox's mark: it is found by what it says, it names no message."""
    box = box_with(world, line)
    batch = Instrument(DEVICE).batch(72)
    taken = envelope.of_batch(batch, 1, None)
    received = Received("signed:x", "1", sha256(taken.raw).digest(), taken.raw, 1)
    with box.ledger() as ledger:
        with Inbox.open(box.home / "inbox.db") as inbox:
            inbox.store([received], after=-1)
            ledger.append(batch)
        with Inbox.open(box.home / "inbox.db") as inbox:
            recorder = Recorder(
                ledger,
                inbox,
                lambda raw, at, _name: wired(envelope.opened(raw, at)),
                max_entries=16,
                decide=lambda draft: (draft.record,),
            )
            assert recorder.settle() == 1
            (answer,) = recorder.record([Delivery(received, wired(taken))])
            assert answer.repeated
            assert inbox.highest_logged("signed:x") == 1
        assert counters(ledger) == [1]


def test_a_device_under_another_name_is_not_read(world: World, tmp_path: Path, stack: ExitStack) -> None:
    """Plugged in where another belongs, its readings would be another patient's. It keeps what it has."""
    line = Line(tmp_path, stack, name="PO-9")
    box = world.box(
        "bed-7",
        "bedside",
        instruments={"devices": {DEVICE: {"driver": "signed", "port": str(line.port)}}},
        gossip={"offline": True},
    )
    line.start("--count", "4")
    with box.start() as agent:
        fault = agent.wait_for("unhealthy")
        assert "another device is plugged in there: PO-9" in fault["reason"]
    assert box.entries("device.batch") == []


def test_a_retired_key_is_refused(world: World, line: Line) -> None:
    """Here the retirement has reached the box before the device said hello."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=line.key()))
    world.hospital.append(DeviceRetire(key=line.key(), last=0, reason="opened"))
    box = box_with(world, line)
    line.start("--count", "4")
    with box.start() as agent:
        assert "retired after batch 0" in agent.wait_for("unhealthy")["reason"]
    assert box.entries("device.batch") == []


def test_a_device_that_nobody_enrolled_is_logged_and_named(world: World, line: Line) -> None:
    """The enrolment may be on its way; until it is there its batches prove nothing, and a finding says so."""
    box = box_with(world, line)
    key = line.key()
    line.start("--count", "4", "--once")
    with box.start() as agent:
        assert agent.wait_for("instrument is not enrolled")["key"] == key.hex()
        line.wait()
    with box.ledger() as ledger:
        sync(ledger, world.hospital)
    assert [each.kind for each in find(world.hospital)] == ["unenrolled key"]
    world.hospital.append(DeviceEnrol(device=DEVICE, key=key))
    assert list(find(world.hospital)) == []


def test_a_card_copied_into_a_second_device_is_seen(world: World, line: Line, tmp_path: Path) -> None:
    """Both seal a batch under one number: both are on the ledger, and a finding names them."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=line.key()))
    box = box_with(world, line)
    state = tmp_path / f"{DEVICE}.state"
    shutil.copy(state, tmp_path / "copy")
    line.start("--count", "4", "--once")
    with box.start() as agent:
        line.wait()
        agent.stop()
    other = world.box("bed-8", "bedside", instruments=wiring(line), gossip={"offline": True})
    line.port.unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy", state)
    line.start("--count", "4", "--once", "--vitals", "99")
    with other.start() as agent:
        line.wait()
    for each in (box, other):
        with each.ledger() as ledger:
            sync(ledger, world.hospital)
    kinds = [(each.kind, each.facts.get("counter")) for each in find(world.hospital)]
    assert kinds == [("counter used twice", 1), ("counter used twice", 2)]


def test_a_copied_card_is_seen_by_a_box_that_knows_the_others_batches(world: World, line: Line, tmp_path: Path) -> None:
    """What another box logged under those numbers is not what this device holds: both are logged, none is dropped."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=line.key()))
    box, other = box_with(world, line), box_with(world, line, "bed-8")
    state = tmp_path / f"{DEVICE}.state"
    shutil.copy(state, tmp_path / "copy")
    line.start("--count", "4", "--once")
    with box.start():
        line.wait()
    with box.ledger() as ledger:
        sync(ledger, world.hospital)
    with other.ledger() as ledger:
        sync(world.hospital, ledger)
    line.port.unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy", state)
    line.start("--count", "4", "--once", "--vitals", "99")
    with other.start():
        line.wait()
    with other.ledger() as ledger:
        sync(ledger, world.hospital)
    assert [each.kind for each in find(world.hospital)] == ["counter used twice"] * 2


def test_an_unplugged_instrument_harms_nobody_else(world: World, line: Line) -> None:
    """Its absence is a fault that is named; monitors are served, and it is read when it comes."""
    box = box_with(world, line)
    with box.start() as agent:
        assert "not plugged in" in agent.wait_for("unhealthy")["reason"]
        assert agent.monitor().ask(oru(1))[0] == "AA"
        line.start("--count", "4", "--once")
        agent.wait_for("healthy again")
        line.wait()
    assert len(box.entries("device.batch")) == 2


def test_from_the_sensor_to_the_auditor_over_the_broker(world: World, line: Line, own_broker: Broker) -> None:
    """The whole way, with the agent's own gossip: what the device signed verifies at somebody who never met either."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=line.key()))
    box = world.box("bed-7", "bedside", instruments=wiring(line), gossip={"broker": own_broker.url})
    line.start("--count", "20", "--once")
    with box.start(), Gossip(world.hospital, own_broker.url):
        line.wait()
        assert until(lambda: len(counters(world.hospital)) == 10, SECONDS)
    assert list(find(world.hospital)) == []
    rows = world.hospital.store.query("SELECT count(*), count(DISTINCT counter) FROM signed_readings")
    assert rows[0][1] == 10


def test_a_patient_by_the_bed_gets_what_the_device_signs(world: World, line: Line) -> None:
    """With ADT: associated by hand on the box; before that the batches are nobody's."""
    box = world.box("bed-7", "bedside", instruments=wiring(line), gossip={"offline": True}, beds={"association": "adt"})
    line.start("--count", "4")
    with box.start() as agent:
        agent.wait_for("batch logged")
        agent.wait_for("batch logged")
        options = ["--patient", "4711", "--from", "2026-11-01T00:00:00Z", "--config", str(box.config)]
        said = subprocess.run(
            [sys.executable, "-m", "medledger", "agent", "associate", DEVICE, *options],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert said.returncode == 0, said.stderr
        line.stop()
        # The last is measured well after the box has heard who it is: bytes may be two seconds on their way.
        line.start("--interval", "1000", "--readings", "1", "--count", "5", "--once")
        line.wait()
    subjects = [entry.subject for entry in sorted(box.entries("device.batch"), key=lambda each: each.seq)]
    assert subjects[0] is None
    assert subjects[-1] is not None


def test_a_patient_who_comes_while_the_device_runs_gets_what_it_signs(world: World, line: Line) -> None:
    """It said hello once, when it was plugged in; nobody plugs it in again for each patient."""
    box = world.box("bed-7", "bedside", instruments=wiring(line), gossip={"offline": True}, beds={"association": "adt"})
    line.start("--interval", "200")
    with box.start() as agent:
        agent.wait_for("batch logged")
        time.sleep(1)  # what was measured before is not the patient's
        options = ["--patient", "4711", "--config", str(box.config)]
        said = subprocess.run(
            [sys.executable, "-m", "medledger", "agent", "associate", DEVICE, *options],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert said.returncode == 0, said.stderr
        time.sleep(2 * SLACK_MS / 1000 + 2)
        agent.stop()
    entries = sorted(box.entries("device.batch"), key=lambda each: each.seq)
    assert entries[0].subject is None
    assert entries[-1].subject is not None


def test_what_a_device_kept_is_of_the_patient_who_was_there_then(world: World, tmp_path: Path) -> None:
    """A batch comes when it comes: an hour old it is the last patient's, of the change it is nobody's."""
    port = tmp_path / "port"
    box = world.box(
        "bed-7",
        "bedside",
        instruments={"devices": {DEVICE: {"driver": "signed", "port": str(port)}}},
        gossip={"offline": True},
        beds={**WARD, "devices": {DEVICE: "ICU^1^A"}},
    )
    instrument = device(device=DEVICE)
    for minutes in (60, 30, 25, 20, 10, 0):
        measure(instrument, 1, (60 - minutes) * MINUTE)
    with box.start() as agent:
        monitor = agent.monitor()
        assert monitor.ask(adt("a", "A01", patient="P-4711", at=-120))[0] == "AA"
        assert monitor.ask(adt("b", "A03", patient="P-4711", at=-30))[0] == "AA"
        assert monitor.ask(adt("c", "A01", patient="P-4712", at=-20))[0] == "AA"
        with plugged(instrument, port, uptime=60 * MINUTE):
            assert until(lambda: instrument.idle, SECONDS)
        agent.stop()
    names = Subjects.open(box.home / "subjects.key", "month")
    owners = {names.subject(name, "WARD", time.time_ns() // 1_000_000): name for name in ("P-4711", "P-4712")}
    entries = sorted(box.entries("device.batch"), key=lambda each: (each.seq, each.index))
    assert [entry.content["counter"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    found = [None if entry.subject is None else owners[entry.subject] for entry in entries]
    assert found == ["P-4711", None, None, None, "P-4712", "P-4712"]


def test_other_bytes_on_the_line_are_no_readings(world: World, tmp_path: Path, stack: ExitStack) -> None:
    """A modem, a console, noise: nothing is logged, nothing grows, and the agent lives."""
    main, side = os.openpty()
    stack.callback(os.close, main)
    tty.setraw(side)
    box = world.box(
        "bed-7",
        "bedside",
        instruments={"devices": {DEVICE: {"driver": "signed", "port": os.ttyname(side)}}},
        gossip={"offline": True},
    )
    os.set_blocking(main, False)
    with box.start() as agent:
        agent.wait_for("instrument plugged in")
        before = agent.resident_bytes()
        for _ in _noise(main, 2_000_000):
            pass
        assert agent.resident_bytes() - before < 16 * 2**20
        agent.stop()
    assert box.entries("device.batch") == []


def _noise(descriptor: int, size: int) -> Iterator[int]:
    """Write so many bytes of noise, as fast as they are read."""
    rng = random.Random(7)
    left = size
    while left > 0:
        select.select([], [descriptor], [], SECONDS)
        left -= os.write(descriptor, rng.randbytes(4096))
        with ExitStack():
            if select.select([descriptor], [], [], 0)[0]:
                os.read(descriptor, 65536)
        yield left


def test_the_drivers_that_a_configuration_may_name_are_listed() -> None:
    """Each with what it needs; every one of them can be made."""
    listed = subprocess.run(
        [sys.executable, "-m", "medledger", "agent", "drivers", "--json"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    found = {each["driver"]: each["needs"] for each in map(json.loads, listed.stdout.splitlines())}
    assert found.pop("signed") == "serial"
    assert {name: new_driver(name, "X").NEEDS for name in found} == found
    assert len(found) >= 5


@pytest.mark.parametrize(
    "given",
    [
        {"driver": "signed"},
        {"driver": "signed", "address": "AA:BB:CC:DD:EE:FF"},
        {"driver": "signed", "port": "/dev/ttyUSB0", "address": "AA:BB:CC:DD:EE:FF"},
        {"driver": "signed", "port": "/dev/ttyUSB0", "speed": 9600},
        {"driver": "signed", "port": 7},
        {"port": "/dev/ttyUSB0"},
    ],
)
def test_a_wiring_that_cannot_be_meant_is_refused(world: World, given: dict[str, object]) -> None:
    """By the name of its key, before anything runs."""
    box = world.box("bed-7", "bedside", instruments={"devices": {DEVICE: given}})
    with pytest.raises(ConfigurationError, match=r"devices in \[instruments\] must be"):
        BedsideConfig.load(box.config)
