"""Cuts the value of a characteristic into its fields, strictly.

Rules:

- A field that the value is too short for is a BleTruncatedError, bytes after the last field a BleTrailingError.
- A reserved bit in a flags field that decides which fields follow is a BleReservedError: the rest could mean anything.
  Reserved bits of a *status* field move nothing; they are kept and named (measuring.py).
- A value is at most as long as GATT lets one be (Bluetooth Core, vol. 3, part F, 3.2.9).
"""

from __future__ import annotations

from typing import Final

from ..errors import BleReservedError, BleTrailingError, BleTruncatedError
from .date_time import DATE_TIME_BYTES, DateTime
from .ieee11073 import FLOAT_BYTES, SFLOAT_BYTES, Number, float32, sfloat

MAX_VALUE_BYTES: Final = 512


class Fields:
    """A cursor over one value. `what` names the characteristic in errors."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = bytes(data)
        self._what = what
        self._at = 0
        if len(self._data) > MAX_VALUE_BYTES:
            raise BleTrailingError(f"{what}: {len(self._data)} bytes, and a value has at most {MAX_VALUE_BYTES}")

    @property
    def left(self) -> int:
        """How many bytes have not been taken."""
        return len(self._data) - self._at

    def take(self, count: int, name: str) -> bytes:
        """The next `count` bytes."""
        if self.left < count:
            raise BleTruncatedError(f"{self._what}: the value ends before its {name}")
        self._at += count
        return self._data[self._at - count : self._at]

    def unsigned(self, count: int, name: str) -> int:
        """An unsigned integer of `count` bytes."""
        return int.from_bytes(self.take(count, name), "little")

    def signed(self, count: int, name: str) -> int:
        """A two's complement integer of `count` bytes."""
        return int.from_bytes(self.take(count, name), "little", signed=True)

    def flags(self, known: int, name: str = "flags") -> int:
        """A byte of flags that decide which fields follow; none but those of `known` may be set."""
        value = self.unsigned(1, name)
        if value & ~known:
            raise BleReservedError(f"{self._what}: the reserved bits 0x{value & ~known:02X} of its {name} are set")
        return value

    def sfloat(self, name: str) -> Number:
        """An IEEE 11073 number of 16 bits."""
        return sfloat(self.take(SFLOAT_BYTES, name))

    def float32(self, name: str) -> Number:
        """An IEEE 11073 number of 32 bits."""
        return float32(self.take(FLOAT_BYTES, name))

    def date_time(self, name: str = "time stamp") -> DateTime:
        """A Date Time; it may name a moment that does not exist."""
        return DateTime.of(self.take(DATE_TIME_BYTES, name))

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise BleTrailingError(f"{self._what}: {self.left} bytes more than its flags announce")
