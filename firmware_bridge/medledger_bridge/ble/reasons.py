"""Why a Bluetooth connection failed, in words for whoever stands beside the box.

- bleak raises errors of its own and passes on BlueZ's, which it names by their D-Bus name. They are known by their
  names: nothing of bleak is imported, so that its extra need not be there.
- An error of our own says itself what is wrong. One that nobody foresaw keeps its name and the start of its text, on
  one line: it comes from outside, and goes to a log and a screen.
"""

from __future__ import annotations

from typing import Final

from medledger.errors import MedledgerError

ENDED: Final = "the connection ended: it is out of reach, or off"
OVERFLOW: Final = "values were lost: they came faster than they were taken"
AWAY: Final = "it is not to be found: out of reach, off, connected to something else, or of another address"
SILENT: Final = "it does not answer: it is at the edge of reach, or busy"
UNPAIRED: Final = "it refuses this box: it has to be paired with it"
NO_ADAPTER: Final = "this box has no Bluetooth adapter that can be used"
SWITCHED_OFF: Final = "Bluetooth is switched off on this box"
FORBIDDEN: Final = "this box does not let its agent use Bluetooth"
NO_SERVICE: Final = "the Bluetooth service of this box does not run"

MAX_CHARS: Final = 120

_BY_CLASS: Final = {
    "BleakDeviceNotFoundError": AWAY,
    "TimeoutError": SILENT,
    "FileNotFoundError": NO_SERVICE,  # of the D-Bus' socket
    "ConnectionRefusedError": NO_SERVICE,
}
_BY_RADIO: Final = {  # bleak's BleakBluetoothNotAvailableReason
    "NO_BLUETOOTH": NO_ADAPTER,
    "NO_BLE_CENTRAL_ROLE": NO_ADAPTER,
    "POWERED_OFF": SWITCHED_OFF,
    "DENIED_BY_USER": FORBIDDEN,
    "DENIED_BY_SYSTEM": FORBIDDEN,
    "DENIED_BY_UNKNOWN": FORBIDDEN,
}
_BY_DBUS: Final = {  # BlueZ's doc/org.bluez.Device.rst and GattCharacteristic.rst, and the D-Bus specification
    "org.bluez.Error.NotReady": SWITCHED_OFF,
    "org.bluez.Error.AuthenticationCanceled": UNPAIRED,
    "org.bluez.Error.AuthenticationFailed": UNPAIRED,
    "org.bluez.Error.AuthenticationRejected": UNPAIRED,
    "org.bluez.Error.AuthenticationTimeout": UNPAIRED,
    "org.bluez.Error.NotAuthorized": UNPAIRED,
    "org.bluez.Error.NotPermitted": UNPAIRED,
    "org.bluez.Error.DoesNotExist": AWAY,
    "org.freedesktop.DBus.Error.UnknownObject": AWAY,
    "org.freedesktop.DBus.Error.AccessDenied": FORBIDDEN,
    "org.freedesktop.DBus.Error.ServiceUnknown": NO_SERVICE,
    "org.freedesktop.DBus.Error.NameHasNoOwner": NO_SERVICE,
    "org.freedesktop.DBus.Error.NoReply": SILENT,
}
# The Core Specification, volume 3, part F, table 3.4: authentication, authorization, size of the key, encryption
_BY_ATT: Final = dict.fromkeys((0x05, 0x08, 0x0C, 0x0F), UNPAIRED)


def reason_of(error: BaseException) -> str:
    """One sentence about why a connection could not be made, or did not last."""
    if isinstance(error, MedledgerError):
        return str(error)
    name = type(error).__name__
    told = (
        _BY_RADIO.get(getattr(getattr(error, "reason", None), "name", ""))
        or _BY_DBUS.get(str(getattr(error, "dbus_error", "")))
        or _BY_ATT.get(_number(getattr(error, "code", None)))
        or _BY_CLASS.get(name)
    )
    return told or f"Bluetooth failed: {_line(f'{name}: {error}')}"


def _number(code: object) -> int:
    return code if isinstance(code, int) else 0


def _line(text: str) -> str:
    shown = "".join(each if each.isprintable() else " " for each in text).strip(" :")
    return shown if len(shown) <= MAX_CHARS else f"{shown[: MAX_CHARS - 1]}…"
