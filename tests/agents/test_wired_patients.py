"""Whose the batches of a signing device are, in a ward where patients come and go and the box's clock may be set.

A device on a wire knows no time of day: when it measured is known by the box's clock, and by how long the device says
that it has been on. The device is the reference firmware in C, on a pseudo-terminal.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from boxes import Agent, World
from devices_on_lines import firmware
from faked_clocks import WallClock
from medledger_agents.subjects import Subjects
from ward_messages import WARD, adt

DEVICE = "PO-1"


class Wired:
    """A bedside box with the device at a bed."""

    def __init__(self, world: World, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._port = directory / "line"
        self.box = world.box(
            "bed",
            "bedside",
            beds={**WARD, "devices": {DEVICE: "ICU^1^A"}},
            instruments={"devices": {DEVICE: {"driver": "signed", "port": str(self._port)}}},
            gossip={"offline": True},
        )

    def plug_in(self, interval: int = 100) -> None:
        """The device begins: a reading every so many ms, two in a batch."""
        arguments = ["--state", str(self._directory / "state"), "--device", DEVICE, "--pty", str(self._port)]
        arguments += ["--interval", f"{interval}", "--readings", "2"]
        process = self._stack.enter_context(subprocess.Popen([str(firmware()), *arguments]))
        self._stack.callback(process.kill)

    def unplug(self) -> None:
        """Nobody reads it any more; it keeps what it seals."""
        self._port.rename(self._port.with_suffix(".away"))

    def plug_in_again(self) -> None:
        """What it kept is read now."""
        self._port.with_suffix(".away").rename(self._port)

    def owners(self) -> list[str | None]:
        """Whose each batch is, in the order of the feed; once the agent has ended."""
        subjects = Subjects.open(self.box.home / "subjects.key", "month")
        at = round(datetime.now(UTC).timestamp() * 1000)
        names: dict[Any, str | None] = {subjects.subject(name, "WARD", at): name for name in ("P-4711", "P-4712")}
        found = sorted(self.box.entries("device.batch"), key=lambda each: (each.seq, each.index))
        return [None if each.subject is None else names[each.subject] for each in found]


@pytest.fixture
def wired(world: World, tmp_path: Path, stack: ExitStack) -> Wired:
    """The box and its device, both off."""
    return Wired(world, tmp_path, stack)


def batches(agent: Agent, more: int) -> None:
    """Wait until so many more are logged."""
    for _ in range(more):
        agent.wait_for("batch logged")


def told(agent: Agent, *messages: bytes) -> None:
    """The ward says who is where."""
    monitor = agent.monitor()
    assert [monitor.ask(message)[0] for message in messages] == ["AA"] * len(messages)


def test_a_device_that_stays_plugged_in_follows_its_patients(wired: Wired) -> None:
    """It is not taken for older the longer it is connected: the next patient's batches are the next patient's."""
    wired.plug_in()
    with wired.box.start() as agent:
        told(agent, adt("a", "A01", at=-60))
        batches(agent, 15)
        told(agent, adt("b", "A03"), adt("c", "A01", patient="P-4712"))
        time.sleep(4)  # what was measured around the exchange is nobody's
        told(agent, adt("d", "A08", patient="P-4712"))
        batches(agent, 30)
        agent.stop()
    owners = wired.owners()
    assert owners[-1] == "P-4712"
    order = [owner for owner in dict.fromkeys(owners) if owner is not None]
    assert order == ["P-4711", "P-4712"]
    assert "P-4711" not in owners[owners.index("P-4712") :]


@pytest.mark.parametrize("step", ["-1h", "-35m"])
def test_a_clock_that_is_set_back_gives_nothing_to_the_last_patient(wired: Wired, tmp_path: Path, step: str) -> None:
    """The box knows of beginnings and ends that by its clock are still to come: then it knows no times, and says so."""
    clock = WallClock(tmp_path)
    with wired.box.start(**clock.environment) as agent:
        told(
            agent,
            adt("a", "A01", patient="P-4711", at=-120),
            adt("b", "A03", patient="P-4711", at=-30),
            adt("c", "A01", patient="P-4712", at=-20),
        )
        wired.plug_in()
        batches(agent, 20)
        clock.set(step)
        batches(agent, 20)
        clock.set("+0")
        agent.wait_for("readings have a patient again")
        agent.stop()
    owners = wired.owners()
    assert "P-4711" not in owners
    assert None in owners, "while the clock was wrong"
    assert owners[-1] == "P-4712", "and when it was right again"


def test_what_the_device_kept_is_not_the_next_patients(wired: Wired, tmp_path: Path) -> None:
    """Sealed while the box was off, and read when another patient lies there and the box's clock has not been set: of
    whom it was cannot be known, and the last message about patients does not decide over it.
    """
    clock = WallClock(tmp_path)
    wired.plug_in()
    with wired.box.start() as agent:
        told(agent, adt("a", "A01", patient="P-4711", at=-60))
        batches(agent, 2)
        agent.stop()
    wired.unplug()
    time.sleep(2)
    clock.set("@1970-01-01 00:10:00")
    with wired.box.start(**clock.environment) as agent:
        told(agent, adt("b", "A03", patient="P-4711", at=-1), adt("c", "A01", patient="P-4712"))
        wired.plug_in_again()
        batches(agent, 25)
        agent.stop()
    with wired.box.ledger() as ledger:
        received = sorted(ledger.entries("device.batch"), key=lambda each: each.content["counter"])
        kept = [each.subject for each in received if each.time < 10**12][:5]
    assert kept == [None] * 5


def test_a_clock_that_is_always_ahead_gives_nothing_kept_to_the_next_patient(wired: Wired, tmp_path: Path) -> None:
    """By it, what the device kept while the patients changed was measured when the next one lay there already."""
    clock = WallClock(tmp_path)
    clock.set("+1h")
    wired.plug_in(interval=250)  # slow enough for a busy machine to read what was kept and come up with the device
    with wired.box.start(**clock.environment) as agent:
        told(agent, adt("a", "A01", patient="P-4711", at=-60))
        batches(agent, 2)
        agent.stop()
    wired.unplug()
    before = len(wired.owners())
    time.sleep(3)
    with wired.box.start(**clock.environment) as agent:
        told(agent, adt("b", "A03", patient="P-4711"), adt("c", "A01", patient="P-4712"))
        wired.plug_in_again()
        agent.wait_for("readings have a patient again")
        agent.stop()
    owners = wired.owners()
    assert owners[before : before + 5] == [None] * 5
    assert owners[-1] == "P-4712"
