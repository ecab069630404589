"""What can be set about instruments: which are wired to the box, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from ..settings import Key

SIGNED: Final = "signed"
"""The driver of devices that sign for themselves (docs/serial-link.md)."""

MAX_INSTRUMENTS: Final = 32
_KEYS: Final = {"driver": str, "port": str, "baud": int, "address": str, "options": dict}


@dataclass(frozen=True, slots=True)
class Wiring:
    """One instrument: its driver, and the port or the Bluetooth address where it is."""

    driver: str
    port: Path | None
    address: str | None
    baud: int
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wirings:
    """A table from devices to how each is wired."""

    allowed: str = (
        "a table from devices to a driver with a port (serial) or an address (Bluetooth), such as "
        '{ "PO-1" = { driver = "signed", port = "/dev/ttyUSB0" } }'
    )

    def read(self, value: Any, base: Path) -> dict[str, Wiring] | None:
        if type(value) is not dict or len(value) > MAX_INSTRUMENTS:
            return None
        found = {}
        for device, given in value.items():
            wiring = _wiring(given, base)
            if wiring is None or not 0 < len(device) <= 64 or not device.isprintable():
                return None
            found[device] = wiring
        return found


def _wiring(given: Any, base: Path) -> Wiring | None:
    if type(given) is not dict or not all(type(given[name]) is _KEYS.get(name) for name in given):
        return None
    port, address = given.get("port"), given.get("address")
    if not given.get("driver") or (port is None) is (address is None) or "" in (port, address):
        return None
    if given["driver"] == SIGNED and port is None:
        return None
    baud = given.get("baud", 115_200)
    if not 300 <= baud <= 4_000_000:
        return None
    return Wiring(given["driver"], None if port is None else base / port, address, baud, given.get("options", {}))


@dataclass(frozen=True, slots=True)
class InstrumentsSection:
    """Instruments that are wired to this box itself, beside the monitors that send to it."""

    devices: Annotated[
        dict[str, Wiring] | None,
        Key(
            Wirings(),
            'Each by the name that it has on the ledger. The driver "signed" is for devices that sign for themselves '
            "(docs/serial-link.md); the others are listed by `medledger agent drivers` (docs/adding-a-device.md).",
            {"PO-1": {"driver": "signed", "port": "/dev/ttyUSB0"}},
        ),
    ] = None
