"""What the drivers of Bluetooth devices share: each characteristic has a decoder, by its 16-bit number.

Rules:

- `feed` takes one value and the UUID of its characteristic. An entry's time is when the value was received.
- A value that no decoder knows is kept as a reading without a value (`unsupported`) under the UUID as `sent`, with the
  hash of its bytes: that it was there is not lost, and it can be decoded later from what the agent keeps.
- A value comes as it is measured only where its characteristic is in `AT_ONCE`: a meter, a cuff or a thermometer sends
  what it has stored the same way, perhaps of somebody else, when the connection comes.
- Facts are characteristics that are read once: they say nothing about the patient and something about how to read the
  others. A configured offset from UTC goes before the one that the device tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, ClassVar, Final

from medledger.errors import UsageError
from medledger.records import Reading, Record, Sample

from .battery import level
from .date_time import utc_offset
from .measuring import Source

Decoders = Mapping[int, Callable[[bytes, Source], Reading]]
Facts = Mapping[int, tuple[str, Callable[[bytes], Any]]]
"""The attribute of Source that a characteristic gives, and its decoder."""

BATTERY_LEVEL: Final = 0x2A19
LOCAL_TIME: Final = 0x2A0F

_ASSIGNED: Final = re.compile(r"(?:0000)?([0-9a-f]{4})(?:-0000-1000-8000-00805f9b34fb)?")
_VENDOR: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def characteristic(uuid: str) -> int | None:
    """The 16-bit number of a UUID ("2A37", or in full), None for a vendor's own. Raises UsageError for other text."""
    match = _ASSIGNED.fullmatch(uuid.lower())
    if match is not None and len(uuid) in (4, 36):
        return int(match[1], 16)
    if _VENDOR.fullmatch(uuid.lower()):
        return None
    raise UsageError(f"{uuid[:40]!r} is not the UUID of a characteristic", hint='Such as "2A37", or all 36 characters.')


class GattDriver:
    """The driver of a profile: a name and its decoders."""

    NAME: ClassVar[str]
    NEEDS: ClassVar[str] = "ble"
    DECODERS: ClassVar[Decoders]
    AT_ONCE: ClassVar[frozenset[int]] = frozenset()
    NUMBERED: ClassVar[frozenset[int]] = frozenset()  # of records with a number: the same bytes are the same record
    FACTS: ClassVar[Facts] = {LOCAL_TIME: ("offset", utc_offset)}

    def __init__(self, device: str, *, utc_offset: int | None = None) -> None:
        self._source = Source(device, utc_offset)
        self._fixed = utc_offset is not None

    @property
    def notified(self) -> tuple[int, ...]:
        """The characteristics to subscribe to."""
        return (*self.DECODERS, BATTERY_LEVEL)

    @property
    def read_once(self) -> tuple[int, ...]:
        """The characteristics to read after connecting, where the device has them."""
        return tuple(self.FACTS)

    def at_once(self, channel: str) -> bool:
        """Whether the values of a characteristic come as they are measured."""
        number = characteristic(channel)
        return number == BATTERY_LEVEL or number in self.AT_ONCE

    def numbered(self, channel: str) -> bool:
        """Whether a value of a characteristic that came before is the same record."""
        return characteristic(channel) in self.NUMBERED

    def on_connect(self) -> list[tuple[int, bytes]]:
        """What to write after subscribing: (characteristic, value)."""
        return []

    def feed(self, data: bytes, at: int, channel: str = "") -> list[Record]:
        """The readings of the value of the characteristic `channel`, received at UTC ms `at`. Raises BleError."""
        number = characteristic(channel)
        if number is not None and number in self.FACTS:
            self._learn(number, data)
            return []
        return [replace(reading, time=at) for reading in self.decode(number, channel, data)]

    def decode(self, number: int | None, channel: str, data: bytes) -> list[Reading]:
        """The readings of one value, without the time of their receipt."""
        decoders = {BATTERY_LEVEL: level, **self.DECODERS}
        if number is not None and number in decoders:
            return [decoders[number](data, self._source)]
        unknown = Sample(None, absent="unsupported", sent=f"GATT:{channel.upper()}")
        return [Reading(device=self._source.device, samples=[unknown], raw=sha256(data).digest())]

    def _learn(self, number: int, data: bytes) -> None:
        name, decoder = self.FACTS[number]
        found = decoder(data)
        if not (name == "offset" and self._fixed):
            self._source = replace(self._source, **{name: found})
