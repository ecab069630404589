"""Why a Bluetooth connection failed, said to whoever stands beside the box."""

from __future__ import annotations

import pytest

from medledger_bridge.ble import reasons
from medledger_bridge.ble.reasons import reason_of
from medledger_bridge.errors import BleRefusedError

exc = pytest.importorskip("bleak.exc", reason="needs the extra ble")
RADIO = exc.BleakBluetoothNotAvailableReason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (exc.BleakDeviceNotFoundError("AA:BB", "Device with address AA:BB was not found."), reasons.AWAY),
        (TimeoutError(), reasons.SILENT),
        (FileNotFoundError(2, "No such file or directory"), reasons.NO_SERVICE),
        (exc.BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", ["org.bluez"]), reasons.NO_SERVICE),
        (exc.BleakDBusError("org.bluez.Error.NotReady", ["Resource Not Ready"]), reasons.SWITCHED_OFF),
        (exc.BleakDBusError("org.bluez.Error.NotPermitted", ["Not paired"]), reasons.UNPAIRED),
        (exc.BleakDBusError("org.bluez.Error.AuthenticationFailed", []), reasons.UNPAIRED),
        (exc.BleakGATTProtocolError(0x05), reasons.UNPAIRED),
        (exc.BleakBluetoothNotAvailableError("no adapters", RADIO.NO_BLUETOOTH), reasons.NO_ADAPTER),
        (exc.BleakBluetoothNotAvailableError("off", RADIO.POWERED_OFF), reasons.SWITCHED_OFF),
        (exc.BleakBluetoothNotAvailableError("no", RADIO.DENIED_BY_SYSTEM), reasons.FORBIDDEN),
        (BleRefusedError("the device has no 2A52"), "the device has no 2A52"),
    ],
)
def test_known_failures_have_a_sentence(error: Exception, said: str) -> None:
    """By what bleak and BlueZ really raise; no word of theirs is in it."""
    assert reason_of(error) == said


@pytest.mark.parametrize("reason", RADIO)
def test_every_state_of_the_radio_has_one(reason: object) -> None:
    """But for the one that bleak itself does not know."""
    known = not reason_of(exc.BleakBluetoothNotAvailableError("why", reason)).startswith("Bluetooth failed")
    assert known == (reason is not RADIO.UNKNOWN)


def test_what_nobody_foresaw_keeps_its_words_on_one_line() -> None:
    """It is bounded, and can neither begin a line of the log nor order a terminal about."""
    found = reason_of(exc.BleakDBusError("org.bluez.Error.Failed", ["le-connection-abort\n\x1b[2J" + "x" * 1000]))
    assert found.startswith("Bluetooth failed: BleakDBusError: [org.bluez.Error.Failed] le-connection-abort  [2J")
    assert found.isprintable()
    assert len(found) <= reasons.MAX_CHARS + 20
