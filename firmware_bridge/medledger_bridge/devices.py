"""The open registry of device drivers: adding a device is one file and one line (docs/adding-a-device.md).

Rules:

- A driver is a class with a NAME, what it NEEDS (`serial`, `ble` or `tcp`) and `feed(data, at, channel)`, from the
  bytes of one device to records. It is sans-IO: no port, no clock, no thread. Its constructor takes the device's name
  on the ledger and, as keyword arguments, the options of its configuration.
- The one line is an entry point of the group `medledger.devices` in the driver's own package, or a call of `register`.
  A name that is taken cannot be replaced.
- A driver raises errors of the library's family only; `feed` here turns whatever else a driver raises into a
  BridgeError, so that a defect in one driver never ends an agent.
- Ours are loaded when they are asked for.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Final, Protocol, TypeVar

from medledger.errors import MedledgerError, UsageError
from medledger.records import Record

from .errors import BridgeError

GROUP: Final = "medledger.devices"
NEEDS: Final = ("serial", "ble", "tcp")


class Driver(Protocol):
    """From one device's bytes to records. `feed` MUST NOT do I/O, and MUST NOT drop anything without a trace."""

    NAME: ClassVar[str]
    NEEDS: ClassVar[str]

    def __init__(self, device: str, **options: Any) -> None: ...

    def feed(self, data: bytes, at: int, channel: str = "") -> list[Record]:
        """The records that these bytes complete.

        `data` is a piece of any size of a stream (serial, tcp), or one whole value (ble); `at` is UTC ms when it was
        received; `channel` is the UUID of the characteristic (ble), and empty for a stream. Raises MedledgerError.
        """
        ...


D = TypeVar("D", bound=type[Driver])

BUILT_IN: Final = {
    "heart-rate": "medledger_bridge.ble.heart_rate:HeartRate",
    "blood-pressure": "medledger_bridge.ble.blood_pressure:BloodPressure",
    "thermometer": "medledger_bridge.ble.thermometer:Thermometer",
    "pulse-oximeter": "medledger_bridge.ble.pulse_oximeter:PulseOximeter",
    "glucose": "medledger_bridge.ble.glucose:Glucose",
}
"""Our own drivers: one line each."""

_registry: dict[str, type[Driver]] = {}


def register(cls: D) -> D:
    """Adds a driver class under its NAME; use as a decorator. Raises UsageError when it is no driver, or is taken."""
    name, needs = getattr(cls, "NAME", None), getattr(cls, "NEEDS", None)
    if not (isinstance(name, str) and 1 <= len(name) <= 64 and needs in NEEDS and callable(getattr(cls, "feed", None))):
        raise UsageError(
            f"{getattr(cls, '__name__', cls)} is not a driver", hint=f"It needs NAME, NEEDS ({', '.join(NEEDS)}), feed."
        )
    if name in BUILT_IN and f"{cls.__module__}:{cls.__qualname__}" != BUILT_IN[name]:
        raise UsageError(f"the driver {name!r} is one of our own and cannot be replaced")
    if _registry.setdefault(name, cls) is not cls:
        raise UsageError(f"the driver {name!r} is registered already, by {_registry[name].__qualname__}")
    return cls


def lookup(name: str) -> type[Driver]:
    """The driver class of that name: registered, ours, or an installed package's. Raises UsageError."""
    if name not in _registry:
        point = _points().get(name)
        if point is None:
            raise UsageError(f"there is no driver {name!r}", hint=f"Known: {', '.join(known())}.")
        _load(point)
    return _registry[name]


def known() -> list[str]:
    """The names of all drivers, in order."""
    return sorted({*_registry, *_points()})


def new_driver(name: str, device: str, **options: Any) -> Driver:
    """A driver for one device. Raises UsageError for an unknown name or option."""
    cls = lookup(name)
    try:
        inspect.signature(cls).bind(device, **options)
    except TypeError as error:
        raise UsageError(f"the driver {name!r} cannot be set up for {device}: {error}") from error
    return cls(device, **options)


def feed(driver: Driver, data: bytes, at: int, channel: str = "") -> list[Record]:
    """`driver.feed`, and nothing but MedledgerError leaves it."""
    try:
        return driver.feed(data, at, channel)
    except MedledgerError:
        raise
    except Exception as error:  # a driver of somebody else's may fail in any way
        raise BridgeError(
            f"the driver {driver.NAME!r} failed on {len(data)} bytes: {type(error).__name__}: {error}",
            hint="The bytes may be right: this is a defect of the driver.",
        ) from error


@lru_cache(maxsize=1)
def _points() -> dict[str, EntryPoint]:
    """What can be loaded, by name; ours go before what an installed package calls the same."""
    installed = {point.name: point for point in entry_points(group=GROUP)}
    return {**installed, **{name: EntryPoint(name, target, GROUP) for name, target in BUILT_IN.items()}}


def _load(point: EntryPoint) -> None:
    try:
        cls = point.load()
    except MedledgerError:
        raise
    except Exception as error:  # an extension's import may fail in any way, and must not leave our family
        raise UsageError(f"the driver {point.name!r} cannot be loaded: {error}") from error
    name = getattr(cls, "NAME", None)
    if name != point.name:
        raise UsageError(f"the driver that is installed as {point.name!r} calls itself {name!r}")
    register(cls)
