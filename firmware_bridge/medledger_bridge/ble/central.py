"""The edge to a Bluetooth adapter, through bleak (extra `ble`): configured devices in, values as they come out.

Rules:

- `listen` connects to each configured address, subscribes to what the device's driver names, reads its facts once, and
  writes what the driver asks for (a meter's stored records). A connection that ends is made again, after a pause that
  doubles up to a limit; a device that is out of range costs a scan now and then and no more.
- It yields `Value`s, each with the device, the characteristic's UUID, the bytes and the time of receipt, and `Link`s,
  when a connection begins or ends, with the reason. It decodes nothing: feed a value to the device's driver.
- Values wait in a bounded queue. When it is full the connection is given up, and a Link says so: a meter keeps its
  records until they are asked for again, and of a stream it is then known that it has a gap.
- Bluetooth confirms an indication before anybody could commit it, so an acknowledgement of a device means nothing here.

What of this has run: everything but the radio. The tests drive `listen` through a client in place of bleak's, and
through bleak itself against a stand-in for BlueZ on a real D-Bus. No test has met BlueZ itself, an adapter or a device.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..errors import BleRefusedError, ExtraMissingError
from .driver import GattDriver
from .reasons import ENDED, OVERFLOW, reason_of

QUEUE: Final = 1024
"""Values that wait to be taken; a pulse oximeter sends one a second."""

PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 20.0
BASE_UUID: Final = "0000{:04x}-0000-1000-8000-00805f9b34fb"


class Client(Protocol):
    """What is used of `bleak.BleakClient`."""

    @property
    def services(self) -> Any: ...
    async def connect(self) -> None: ...
    async def disconnect(self) -> None: ...
    async def start_notify(self, char_specifier: Any, callback: Callable[[Any, bytearray], None]) -> None: ...
    async def read_gatt_char(self, char_specifier: Any) -> bytearray: ...
    async def write_gatt_char(self, char_specifier: Any, data: bytes, response: bool | None = None) -> None: ...


NewClient = Callable[[str, Callable[[Any], None]], Client]
"""A client for an address, and what it calls when the connection has ended."""


@dataclass(frozen=True, slots=True)
class Device:
    """A configured device: its Bluetooth address and its driver."""

    address: str
    driver: GattDriver


@dataclass(frozen=True, slots=True)
class Value:
    """One value as received: `channel` is the UUID of its characteristic, `at` UTC ms."""

    device: Device
    channel: str
    data: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Link:
    """A connection has begun, or has ended (or could not be made) for a reason, a sentence of reasons.py."""

    device: Device
    up: bool
    reason: str = ""


async def listen(
    devices: Sequence[Device],
    *,
    now: Callable[[], int],
    client: NewClient | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    queue: int = QUEUE,
) -> AsyncGenerator[Value | Link, None]:
    """Values and links of all devices, until it is closed. `now` gives UTC ms."""
    heard: asyncio.Queue[Value | Link] = asyncio.Queue(queue)
    make = client or bleak_client()
    tasks = [asyncio.create_task(_keep(device, make, heard, now, pause)) for device in devices]
    try:
        while True:
            yield await heard.get()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def bleak_client() -> NewClient:
    """What makes the real ones. Raises ExtraMissingError without bleak."""
    try:
        from bleak import BleakClient
    except ImportError as error:
        raise ExtraMissingError(
            "Bluetooth needs the package bleak", hint="Install it with: pip install 'medledger[ble]'"
        ) from error

    def make(address: str, disconnected: Callable[[Any], None]) -> Client:
        client: Client = BleakClient(address, disconnected_callback=disconnected, timeout=CONNECT_SECONDS)
        return client

    return make


async def _keep(
    device: Device,
    make: NewClient,
    heard: asyncio.Queue[Value | Link],
    now: Callable[[], int],
    pause: Callable[[float], Awaitable[None]],
) -> None:
    """One device's connection, again and again."""
    failures = 0
    while True:
        try:
            reason = await _session(device, make, heard, now)
            failures = 0
        except Exception as error:  # noqa: BLE001 - back ends raise errors of their own, of the system and of D-Bus
            failures += 1
            reason = reason_of(error)
        await heard.put(Link(device, up=False, reason=reason))
        await pause(min(MAX_PAUSE_SECONDS, PAUSE_SECONDS * 2 ** min(failures, 6)))


async def _session(device: Device, make: NewClient, heard: asyncio.Queue[Value | Link], now: Callable[[], int]) -> str:
    """One connection from its beginning to its end, and why it ended."""
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def end(reason: str) -> None:
        if not ended.done():
            ended.set_result(reason)

    def take(uuid: str) -> Callable[[Any, bytearray], None]:
        def receive(_: Any, data: bytearray) -> None:
            try:
                heard.put_nowait(Value(device, uuid, bytes(data), now()))
            except asyncio.QueueFull:
                end(OVERFLOW)

        return receive

    client = make(device.address, lambda _: end(ENDED))
    await client.connect()
    try:
        await heard.put(Link(device, up=True))
        await _set_up(client, device.driver, take)
        return await ended
    finally:
        with suppress(Exception):  # it may be gone already
            await client.disconnect()


async def _set_up(client: Client, driver: GattDriver, take: Callable[[str], Callable[[Any, bytearray], None]]) -> None:
    """Facts first: they say how to read what comes. Requests last: their answers come as notifications.

    bleak is given characteristics and not their UUIDs: of a UUID that a device has twice it would take neither.
    """
    services = [list(service.characteristics) for service in client.services]
    for uuid in map(BASE_UUID.format, driver.read_once):
        for found in _named(services, uuid):
            take(uuid)(None, await client.read_gatt_char(found))
    for uuid in map(BASE_UUID.format, driver.notified):
        for found in _named(services, uuid):
            await client.start_notify(found, take(uuid))
    measuring = [
        service for service in services if any(_named([service], BASE_UUID.format(n)) for n in driver.DECODERS)
    ]
    for number, data in driver.on_connect():
        control = _named(measuring, BASE_UUID.format(number))
        if not control:
            raise BleRefusedError(
                f"the device has no {number:04X} beside what it measures: it is none that {driver.NAME!r} can ask",
                hint="Is the address that of this device?",
            )
        await client.write_gatt_char(control[0], data, response=True)


def _named(services: Sequence[Sequence[Any]], uuid: str) -> list[Any]:
    """The characteristics of that UUID."""
    return [found for service in services for found in service if str(found.uuid) == uuid]
