"""The Bluetooth edge, driven through a client in bleak's place: no test here has met an adapter or a device.

The stand-in is held to bleak's own signatures and hands over bleak's own characteristic objects, so that what `listen`
calls is what bleak has.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from medledger.records import Reading
from medledger_bridge.ble import central, reasons
from medledger_bridge.ble.central import BASE_UUID, Client, Device, Link, Value
from medledger_bridge.ble.glucose import Glucose
from medledger_bridge.ble.heart_rate import HeartRate
from medledger_bridge.errors import ExtraMissingError

bleak = pytest.importorskip("bleak", reason="needs the extra ble")
SECONDS = 10


class Strap:
    """A device in reach: its characteristics, and the clients that have connected to it."""

    def __init__(self, *numbers: int, out_of_reach: int = 0, facts: dict[int, bytes] | None = None) -> None:
        self.numbers = numbers
        self.out_of_reach = out_of_reach  # connections that fail before one works
        self.facts = facts or {}
        self.clients: list[FakeClient] = []

    def client(self, address: str, disconnected: Callable[[Any], None]) -> Client:
        """What `listen` asks for."""
        self.clients.append(FakeClient(self, address, disconnected))
        return self.clients[-1]


class FakeClient:
    """bleak's client as far as it is used."""

    def __init__(self, strap: Strap, address: str, disconnected: Callable[[Any], None]) -> None:
        self.strap, self.address, self.disconnected = strap, address, disconnected
        self.subscribed: dict[str, Callable[[Any, bytearray], None]] = {}
        self.written: list[tuple[str, bytes]] = []
        self.closed = False
        self._services = bleak.backends.service.BleakGATTServiceCollection()
        service = bleak.backends.service.BleakGATTService(None, 1, BASE_UUID.format(0x180D))
        self._services.add_service(service)
        for handle, number in enumerate(strap.numbers, 2):
            uuid = BASE_UUID.format(number)
            found = bleak.backends.characteristic.BleakGATTCharacteristic(
                None, handle, uuid, ["notify"], lambda: 20, service
            )
            self._services.add_characteristic(found)

    @property
    def services(self) -> Any:
        return self._services

    async def connect(self) -> None:
        if self.strap.out_of_reach:
            self.strap.out_of_reach -= 1
            raise bleak.exc.BleakDeviceNotFoundError(self.address, "out of reach")

    async def disconnect(self) -> None:
        self.closed = True
        self.disconnected(self)

    async def start_notify(self, char_specifier: Any, callback: Callable[[Any, bytearray], None]) -> None:
        self.subscribed[char_specifier.uuid] = callback

    async def read_gatt_char(self, char_specifier: Any) -> bytearray:
        facts = self.strap.facts.items()
        return bytearray(next(data for number, data in facts if BASE_UUID.format(number) == char_specifier.uuid))

    async def write_gatt_char(self, char_specifier: Any, data: bytes, response: bool | None = None) -> None:
        assert response is True
        self.written.append((char_specifier.uuid, data))

    def notify(self, number: int, data: bytes) -> None:
        """The device sends a value."""
        uuid = BASE_UUID.format(number)
        self.subscribed[uuid](self._services.get_characteristic(uuid), bytearray(data))


class Ear:
    """Takes what `listen` yields. Its pauses are remembered and take no time."""

    def __init__(self, device: Device, strap: Strap, **options: Any) -> None:
        self.pauses: deque[float] = deque()
        ticks = iter(range(1_000_000, 2_000_000))
        self.source: AsyncIterator[Value | Link] = central.listen(
            [device], now=lambda: next(ticks), client=strap.client, pause=self._pause, **options
        )

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def next(self) -> Value | Link:
        """The next one."""
        return await asyncio.wait_for(anext(self.source), SECONDS)

    async def settled(self, strap: Strap) -> FakeClient:
        """The last client, subscribed."""
        for _ in range(20):
            await asyncio.sleep(0)
        return strap.clients[-1]

    async def close(self) -> None:
        """Stop listening."""
        await self.source.aclose()  # type: ignore[attr-defined]


def run(story: Callable[[], Any]) -> None:
    """A test's coroutine."""
    asyncio.run(story())


def test_values_come_with_device_characteristic_and_time() -> None:
    """Subscribed after connecting, yielded as received; the driver makes readings of them."""

    async def story() -> None:
        strap, device = Strap(0x2A37, 0x2A19), Device("AA:BB:CC:DD:EE:FF", HeartRate("HR-1"))
        ear = Ear(device, strap)
        assert await ear.next() == Link(device, up=True)
        client = await ear.settled(strap)
        assert client.address == "AA:BB:CC:DD:EE:FF"
        assert set(client.subscribed) == {BASE_UUID.format(0x2A37), BASE_UUID.format(0x2A19)}
        client.notify(0x2A37, b"\x00\x48")
        value = await ear.next()
        assert isinstance(value, Value)
        assert (value.device, value.data, value.at) == (device, b"\x00\x48", 1_000_000)
        (reading,) = device.driver.feed(value.data, value.at, value.channel)
        assert isinstance(reading, Reading)
        assert (reading.device, reading.time, str(reading.samples[0])) == ("HR-1", 1_000_000, "8867-4 72 /min")
        await ear.close()
        assert client.closed

    run(story)


def test_a_device_is_looked_for_again_and_again() -> None:
    """Out of reach, the pause doubles up to a minute; after a connection it starts anew."""

    async def story() -> None:
        strap, device = Strap(0x2A37, out_of_reach=8), Device("AA:BB:CC:DD:EE:FF", HeartRate("HR-1"))
        ear = Ear(device, strap)
        for _ in range(8):
            link = await ear.next()
            assert isinstance(link, Link)
            assert not link.up
            assert link.reason == reasons.AWAY
        assert await ear.next() == Link(device, up=True)
        assert list(ear.pauses) == [2, 4, 8, 16, 32, 60, 60, 60]
        client = await ear.settled(strap)
        client.disconnected(client)
        assert await ear.next() == Link(device, up=False, reason=reasons.ENDED)
        assert await ear.next() == Link(device, up=True)
        assert ear.pauses[-1] == 1
        assert len(strap.clients) == 10
        await ear.close()

    run(story)


def test_a_meter_is_asked_for_what_it_has_stored() -> None:
    """After each connection, from the first record that has not come; its facts are read before."""

    async def story() -> None:
        strap = Strap(0x2A18, 0x2A52, 0x2A0F, facts={0x2A0F: bytes((4, 0))})
        device = Device("AA:BB:CC:DD:EE:FF", Glucose("GLU-1", after=4))
        ear = Ear(device, strap)
        assert await ear.next() == Link(device, up=True)
        fact = await ear.next()
        assert isinstance(fact, Value)
        assert device.driver.feed(fact.data, fact.at, fact.channel) == []
        client = await ear.settled(strap)
        assert client.written == [(BASE_UUID.format(0x2A52), b"\x01\x03\x01\x05\x00")]
        client.notify(0x2A18, b"\x02\x05\x00\xea\x07\x0b\x16\x0a\x00\x00\x78\xb0\x11")
        value = await ear.next()
        assert isinstance(value, Value)
        (reading,) = device.driver.feed(value.data, value.at, value.channel)
        assert isinstance(reading, Reading)
        assert reading.device_time == 1_795_338_000_000  # 10:00 on the wall of a device that is one hour ahead
        client.disconnected(client)
        assert [await ear.next(), await ear.next()] == [
            Link(device, up=False, reason=reasons.ENDED),
            Link(device, up=True),
        ]
        assert (await ear.settled(strap)).written == [(BASE_UUID.format(0x2A52), b"\x01\x03\x01\x06\x00")]
        await ear.close()

    run(story)


def test_values_that_nobody_takes_end_the_connection() -> None:
    """Memory stays bounded, and the gap is known: a Link says why."""

    async def story() -> None:
        strap, device = Strap(0x2A37), Device("AA:BB:CC:DD:EE:FF", HeartRate("HR-1"))
        ear = Ear(device, strap, queue=3)
        assert await ear.next() == Link(device, up=True)
        client = await ear.settled(strap)
        for rate in range(5):
            client.notify(0x2A37, bytes((0, rate)))
        found = [await ear.next() for _ in range(4)]
        assert [value.data[1] for value in found[:3] if isinstance(value, Value)] == [0, 1, 2]
        assert found[3] == Link(device, up=False, reason=reasons.OVERFLOW)
        assert client.closed
        await ear.close()

    run(story)


@pytest.mark.parametrize("name", ["connect", "disconnect", "start_notify", "read_gatt_char", "write_gatt_char"])
def test_the_stand_in_is_called_as_bleak_is(name: str) -> None:
    """Each call that `listen` makes binds to bleak's own method too."""
    arguments = {
        "start_notify": (BASE_UUID.format(0x2A37), print),
        "read_gatt_char": (BASE_UUID.format(0x2A37),),
        "write_gatt_char": (BASE_UUID.format(0x2A52), b""),
    }.get(name, ())
    options = {"response": True} if name == "write_gatt_char" else {}
    inspect.signature(getattr(bleak.BleakClient, name)).bind(None, *arguments, **options)
    inspect.signature(getattr(FakeClient, name)).bind(None, *arguments, **options)
    assert inspect.iscoroutinefunction(getattr(bleak.BleakClient, name))


def test_the_real_client_is_made_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """bleak's class, with a back end that only notes what it was given."""
    made: list[Any] = []

    def backend(*given: Any, **options: Any) -> Any:
        made.append((given, options))
        return SimpleNamespace()

    monkeypatch.setattr("bleak.get_platform_client_backend_type", lambda *_: (backend, "none"), raising=True)
    client = central.bleak_client()("AA:BB:CC:DD:EE:FF", lambda _: None)
    assert isinstance(client, bleak.BleakClient)
    assert made[0][0] == ("AA:BB:CC:DD:EE:FF",)


def test_without_bleak_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, and not as a device that never comes."""
    monkeypatch.setitem(sys.modules, "bleak", None)

    async def story() -> None:
        device = Device("AA:BB:CC:DD:EE:FF", HeartRate("HR-1"))
        with pytest.raises(ExtraMissingError) as caught:
            await anext(central.listen([device], now=lambda: 0))
        assert caught.value.hint is not None
        assert "medledger[ble]" in caught.value.hint

    run(story)
