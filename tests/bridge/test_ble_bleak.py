"""The Bluetooth edge through bleak itself, against a BlueZ that answers on a real D-Bus. No radio: see bluez.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bleak", reason="needs the extra ble")
pytest.importorskip("dbus_fast", reason="bleak speaks D-Bus on Linux alone")

from bluez import ADDRESS, bluez
from medledger.records import Reading
from medledger_bridge.ble import central, reasons
from medledger_bridge.ble.central import BASE_UUID, Device, Link, Value
from medledger_bridge.ble.glucose import Glucose
from medledger_bridge.ble.heart_rate import HeartRate
from medledger_bridge.devices import feed

SECONDS = 30
NOW = 1_800_000_000_000


def listening(device: Device) -> Any:
    """What `listen` yields through bleak; its pauses take no time."""
    return aclosing(central.listen([device], now=lambda: NOW, pause=lambda _: asyncio.sleep(0)))  # type: ignore[type-var]


async def heard(source: AsyncIterator[Value | Link]) -> Value | Link:
    """The next one."""
    return await asyncio.wait_for(anext(source), SECONDS)


async def until(what: Any) -> None:
    """Wait for it."""
    async with asyncio.timeout(SECONDS):
        while not what():
            await asyncio.sleep(0.01)


def played(story: Coroutine[Any, Any, None]) -> None:
    """Run it."""
    asyncio.run(story)


def test_values_come_through_bleak_and_a_lost_connection_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a scan, connected, subscribed; values as they are sent; out of reach, with the reason; and back."""

    async def story() -> None:
        async with bluez(tmp_path, monkeypatch, 0x2A37, 0x2A19) as radio:
            strap = Device(ADDRESS, HeartRate("HR-1"))
            async with listening(strap) as source:
                assert await heard(source) == Link(strap, up=True)
                await until(lambda: len(radio.notifying) == 2)
                for rate in (70, 71, 71):  # the same value twice is two values
                    radio.notify(0x2A37, bytes((0, rate)))
                radio.notify(0x2A19, b"\x5a")
                for channel, data in ((0x2A37, b"\0F"), (0x2A37, b"\0G"), (0x2A37, b"\0G"), (0x2A19, b"\x5a")):
                    assert await heard(source) == Value(strap, BASE_UUID.format(channel), data, NOW)
                monkeypatch.setattr(central, "CONNECT_SECONDS", 1.0)
                radio.go()
                assert await heard(source) == Link(strap, up=False, reason=reasons.ENDED)
                missing = await heard(source)
                assert isinstance(missing, Link)
                assert missing.reason == reasons.AWAY
                radio.in_reach = True
                while await heard(source) != Link(strap, up=True):
                    pass
                await until(lambda: len(radio.notifying) == 2)
                radio.notify(0x2A37, b"\0H")
                assert await heard(source) == Value(strap, BASE_UUID.format(0x2A37), b"\0H", NOW)
                assert radio.connections >= 2

    played(story())


def test_a_characteristic_that_a_device_has_twice_is_heard_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batteries, as a device of two parts has: by its UUID alone bleak would take neither."""

    async def story() -> None:
        async with bluez(tmp_path, monkeypatch, 0x2A37, 0x2A19, 0x2A19) as radio:
            strap = Device(ADDRESS, HeartRate("HR-1"))
            async with listening(strap) as source:
                assert await heard(source) == Link(strap, up=True)
                await until(lambda: len(radio.notifying) == 3)
                for which in (0, 1):
                    radio.notify(0x2A19, bytes((90 + which,)), which)
                    assert await heard(source) == Value(strap, BASE_UUID.format(0x2A19), bytes((90 + which,)), NOW)

    played(story())


def test_a_device_without_what_is_asked_of_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kind of device under this address: the reason names what it has not."""

    async def story() -> None:
        async with bluez(tmp_path, monkeypatch, 0x2A18):
            meter = Device(ADDRESS, Glucose("GL-1"))
            async with listening(meter) as source:
                assert await heard(source) == Link(meter, up=True)
                lost = await heard(source)
                assert isinstance(lost, Link)
                assert "has no 2A52" in lost.reason

    played(story())


def test_stored_records_are_asked_for_and_come_through_bleak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts first, then the subscriptions, then the request at the control point, and its answer."""
    record = bytes.fromhex("02 0700 ea070b160a0000 78b0 11")
    done = bytes.fromhex("06000101")

    async def story() -> None:
        async with bluez(tmp_path, monkeypatch, 0x2A18, 0x2A34, 0x2A52, facts={0x2A0F: b"\x04\x00"}) as radio:
            meter = Device(ADDRESS, Glucose("GL-1"))

            def answer() -> None:
                assert len(radio.notifying) == 3
                radio.notify(0x2A18, record)
                radio.notify(0x2A52, done)

            radio.on_write = answer
            async with listening(meter) as source:
                assert await heard(source) == Link(meter, up=True)
                values = [await heard(source) for _ in range(3)]
            assert [(value.channel[4:8], value.data) for value in values if isinstance(value, Value)] == [
                ("2a0f", b"\x04\x00"),
                ("2a18", record),
                ("2a52", done),
            ]
            assert radio.written == [(radio.paths[0x2A52][0], b"\x01\x01")]
            none, [reading], nothing = (feed(meter.driver, value.data, value.at, value.channel) for value in values)
            assert (none, nothing) == ([], [])
            assert isinstance(reading, Reading)
            assert str(reading.samples[0]) == "32016-8 120 mg/dL"
            assert reading.device_time == 1_795_338_000_000  # 2026-11-22, 10:00 an hour ahead of UTC

    played(story())
