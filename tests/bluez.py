"""BlueZ as bleak sees it, on a D-Bus of the test's own: an adapter, and one device with its characteristics.

The bus is a real dbus-daemon and the client is bleak, all of it; what is made up is who answers as `org.bluez`. So this
shows that our edge and bleak and the D-Bus interfaces of BlueZ (doc/org.bluez.*.rst in its sources) fit one another. It
shows nothing about a radio, about pairing, or about what real BlueZ does where its documents say nothing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from medledger_bridge.ble.central import BASE_UUID

REQUIRED = "CI" in os.environ or os.environ.get("MEDLEDGER_REQUIRE_DBUS") == "1"
ADAPTER = "/org/bluez/hci0"
ADDRESS = "A4:C1:38:00:11:22"
DEVICE = f"{ADAPTER}/dev_{ADDRESS.replace(':', '_')}"
SERVICE = f"{DEVICE}/service0001"
ADAPTER_1, DEVICE_1 = "org.bluez.Adapter1", "org.bluez.Device1"
SERVICE_1, CHARACTERISTIC_1 = "org.bluez.GattService1", "org.bluez.GattCharacteristic1"
PROPERTIES, MANAGER = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy>
</busconfig>"""


class BlueZ:
    """Answers as `org.bluez`. `facts` are the characteristics that can be read; `written` is what was written."""

    def __init__(self, bus: MessageBus, numbers: list[int], facts: dict[int, bytes]) -> None:
        self.bus, self.facts = bus, facts
        self.in_reach, self.scanning = True, False
        self.connections = 0
        self.notifying: list[str] = []
        self.written: list[tuple[str, bytes]] = []
        self.on_write: Callable[[], None] = lambda: None
        self.objects: dict[str, dict[str, dict[str, Variant]]] = {
            ADAPTER: {
                ADAPTER_1: {
                    "Address": Variant("s", "00:00:00:00:00:01"),
                    "Powered": Variant("b", True),
                    "Roles": Variant("as", ["central"]),
                }
            },
            DEVICE: {
                DEVICE_1: {
                    "Address": Variant("s", ADDRESS),
                    "Name": Variant("s", "Acme"),
                    "Alias": Variant("s", "Acme"),
                    "Adapter": Variant("o", ADAPTER),
                    "UUIDs": Variant("as", []),
                    "Paired": Variant("b", False),
                    "Connected": Variant("b", False),
                    "ServicesResolved": Variant("b", False),
                }
            },
            SERVICE: {
                SERVICE_1: {
                    "UUID": Variant("s", BASE_UUID.format(0x180D)),
                    "Primary": Variant("b", True),
                    "Device": Variant("o", DEVICE),
                    "Includes": Variant("ao", []),
                }
            },
        }
        self.paths: dict[int, list[str]] = {}  # a device may have a characteristic more than once
        for place, number in enumerate([*numbers, *facts], 2):
            path = f"{SERVICE}/char{place:04x}"
            self.paths.setdefault(number, []).append(path)
            self.objects[path] = {
                CHARACTERISTIC_1: {
                    "UUID": Variant("s", BASE_UUID.format(number)),
                    "Service": Variant("o", SERVICE),
                    "Flags": Variant("as", ["read"] if number in facts else ["notify", "write"]),
                    "Value": Variant("ay", b""),
                }
            }

    def notify(self, number: int, data: bytes, which: int = 0) -> None:
        """The device sends a value."""
        assert self.paths[number][which] in self.notifying
        self.change(self.paths[number][which], CHARACTERISTIC_1, Value=Variant("ay", data))

    def go(self) -> None:
        """The device goes out of reach."""
        self.in_reach = False
        self.notifying.clear()
        self.change(DEVICE, DEVICE_1, Connected=Variant("b", False), ServicesResolved=Variant("b", False))

    def change(self, path: str, interface: str, **properties: Variant) -> None:
        """Properties are other ones now, and everybody hears it."""
        self.objects[path][interface].update(properties)
        body = [interface, properties, []]
        self.bus.send(Message.new_signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body))

    async def advertise(self) -> None:
        """While somebody scans, the device says again and again that it is there."""
        while True:
            if self.in_reach and self.scanning:
                self.change(DEVICE, DEVICE_1, RSSI=Variant("n", -60))
            await asyncio.sleep(0.01)

    def answer(self, call: Message) -> Message | None:
        """One method call."""
        if call.message_type is not MessageType.METHOD_CALL:
            return None
        match call.interface, call.member:
            case "org.freedesktop.DBus.ObjectManager", "GetManagedObjects":
                return Message.new_method_return(call, "a{oa{sa{sv}}}", [self.objects])
            case "org.bluez.Adapter1", "SetDiscoveryFilter" | "StartDiscovery" | "StopDiscovery":
                self.scanning = call.member == "StartDiscovery"
            case "org.bluez.Device1", "Connect" if not self.in_reach:
                return Message.new_error(call, "org.bluez.Error.Failed", "br-connection-page-timeout")
            case "org.bluez.Device1", "Connect":
                self.connections += 1
                self.change(DEVICE, DEVICE_1, Connected=Variant("b", True), ServicesResolved=Variant("b", True))
            case "org.bluez.Device1", "Disconnect":
                self.change(DEVICE, DEVICE_1, Connected=Variant("b", False), ServicesResolved=Variant("b", False))
            case "org.bluez.GattCharacteristic1", "StartNotify":
                self.notifying.append(str(call.path))
            case "org.bluez.GattCharacteristic1", "ReadValue":
                number = next(number for number, paths in self.paths.items() if call.path in paths)
                return Message.new_method_return(call, "ay", [self.facts[number]])
            case "org.bluez.GattCharacteristic1", "WriteValue":
                self.written.append((str(call.path), bytes(call.body[0])))
                asyncio.get_running_loop().call_soon(self.on_write)
            case _:
                return Message.new_error(call, "org.freedesktop.DBus.Error.UnknownMethod", f"{call.member}")
        return Message.new_method_return(call)


@asynccontextmanager
async def bluez(
    place: Path, monkeypatch: pytest.MonkeyPatch, *numbers: int, facts: dict[int, bytes] | None = None
) -> AsyncIterator[BlueZ]:
    """A bus with a BlueZ on it, which bleak takes for the system's. Without dbus-daemon the test is skipped.

    In continuous integration, and with MEDLEDGER_REQUIRE_DBUS=1, that is an error.
    """
    if shutil.which("dbus-daemon") is None:
        if REQUIRED:
            pytest.fail("bleak cannot be tried: no dbus-daemon")
        pytest.skip("needs dbus-daemon (Debian: dbus-daemon)")
    (place / "bus.conf").write_text(CONFIG.format(path=place / "bus"))
    address = f"unix:path={place / 'bus'}"
    daemon = await asyncio.create_subprocess_exec(
        "dbus-daemon",
        f"--config-file={place / 'bus.conf'}",
        "--nofork",
        "--print-address",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert daemon.stdout is not None
        assert (await daemon.stdout.readline()).startswith(address.encode())
        monkeypatch.setitem(os.environ, "DBUS_SYSTEM_BUS_ADDRESS", address)
        bus = await MessageBus(bus_address=address).connect()
        try:
            stand_in = BlueZ(bus, list(numbers), facts or {})
            bus.add_message_handler(stand_in.answer)
            await bus.request_name("org.bluez")
            advertising = asyncio.create_task(stand_in.advertise())
            yield stand_in
            advertising.cancel()
        finally:
            bus.disconnect()
            await bus.wait_for_disconnect()
    finally:
        daemon.terminate()
        await daemon.wait()
