"""Bluetooth instruments of a bedside box, values in the place of the radio: what came stored, and what came twice."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from medledger_agents.bedside.intake import wired
from medledger_agents.health import Health
from medledger_agents.instruments import driving
from medledger_agents.instruments.config import Wiring
from medledger_agents.recorder import Answer, Delivery
from medledger_bridge.ble import central, reasons

NOON: Final = 1_767_268_800_000
STAMP: Final = bytes.fromhex("ea070101090000")  # 2026-01-01 09:00 of the meter's wall clock
RECORD: Final = struct.pack("<BH", 0x02, 7) + STAMP + struct.pack("<HB", (-5 & 15) << 12 | 120, 0x11)
ADDRESS: Final = "AA:BB:CC:DD:EE:FF"


class Faults(Health):
    """All that was ever wrong, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def fault(self, what: str, reason: str) -> None:
        """Something is wrong."""
        self.said.append(reason)


class Radio:
    """The values that come with each connection, one after the other, and what was logged of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *values: tuple[str, bytes], refuse: int = 0) -> None:
        self.values = values
        self.refuse = refuse
        self.logged: list[Delivery] = []
        self.connections = 0
        self.health = Faults()
        monkeypatch.setattr(central, "listen", self.listen)
        monkeypatch.setattr(driving, "PAUSE_SECONDS", 0)

    async def listen(self, devices: Any, *, now: Any) -> AsyncIterator[Any]:
        """As `central.listen`."""
        self.connections += 1
        for channel, data in self.values:
            if not channel:
                yield central.Link(devices[0], up=False, reason=data.decode())
                continue
            yield central.Value(devices[0], channel, data, NOON + self.connections)

    async def submit(self, delivery: Delivery) -> Answer:
        """As the recorder."""
        self.logged.append(delivery)
        if len(self.logged) <= self.refuse:
            return Answer(None, "the disk is full")
        return Answer(1)

    def drive(self, driver: str, until: int) -> list[Delivery]:
        """What is submitted, until there were so many."""

        async def run() -> None:
            wiring = Wiring(driver, None, ADDRESS, 9600, {})
            nothing: Any = None
            drive = driving.Instruments(
                {"DEV-1": wiring}, nothing, nothing, submit=self.submit, draft=wired, health=self.health
            )
            drive.start()
            while len(self.logged) < until:
                await asyncio.sleep(0)
            await drive.stop()

        asyncio.run(asyncio.wait_for(run(), 30))
        return self.logged[:until]


def test_only_what_is_measured_now_is_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chest strap has no memory; a meter sends what it measured of whomever, whenever."""
    (beat,) = Radio(monkeypatch, ("2A37", bytes((0, 72)))).drive("heart-rate", 1)
    assert beat.records[0].span == (NOON + 1 - driving.FRESH_MS, NOON + 1)
    (sugar,) = Radio(monkeypatch, ("2A18", RECORD)).drive("glucose", 1)
    assert sugar.records[0].span is None


def test_a_record_that_is_sent_again_is_the_same_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meter says all its records to a box that was started again: the inbox knows them."""
    first, second = Radio(monkeypatch, ("2A18", RECORD)).drive("glucose", 2)
    assert (first.message.message_id, first.message.sha256) == (second.message.message_id, second.message.sha256)
    one, two = Radio(monkeypatch, ("2A1C", bytes.fromhex("006e0100ff"))).drive("thermometer", 2)
    assert one.message.message_id != two.message.message_id  # it may well measure the same again


def test_a_record_that_could_not_be_logged_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a new connection: the driver holds it for taken."""
    radio = Radio(monkeypatch, ("2A18", RECORD), ("2A18", RECORD), refuse=1)
    radio.drive("glucose", 2)
    assert radio.connections == 2


def test_why_a_connection_was_lost_is_said_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On /health, in `agent status` and in the log: a strap that came too fast was neither off nor away."""
    beat = ("2A37", bytes((0, 72)))
    why = [reasons.OVERFLOW, reasons.UNPAIRED, reasons.SWITCHED_OFF]
    radio = Radio(monkeypatch, *(("", reason.encode()) for reason in why), beat)
    with caplog.at_level("INFO", "medledger_agents"):
        radio.drive("heart-rate", 1)
    assert radio.health.said[: len(why)] == why
    logged = [each.fields["reason"] for each in caplog.records if each.getMessage() == "instrument out of reach"]
    assert logged[: len(why)] == why
