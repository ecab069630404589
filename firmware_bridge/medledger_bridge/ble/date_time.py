"""Clocks of Bluetooth devices: Date Time (0x2A08), Time Zone (0x2A0E), DST Offset (0x2A0D), Local Time (0x2A0F).

Rules (GATT Specification Supplement):

- A Date Time is year, month, day, hours, minutes, seconds on the device's wall clock. Year, month or day 0 means
  unknown. It names no zone: it becomes UTC only where the device's offset from UTC is known, and otherwise the device's
  time stays unknown.
- A wall clock that shows the 30th of February or hour 25 tells no time. Within a measurement this costs the time and
  not the measurement, as for HL7; alone (`date_time`) it is a BleValueError.
- A zone is in quarters of an hour from -48 to 56, -128 unknown; DST adds 0, 30, 60 or 120 minutes, 255 unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from ..errors import BleTrailingError, BleTruncatedError, BleValueError

DATE_TIME_BYTES: Final = 7
MIN_YEAR: Final = 1582
MAX_YEAR: Final = 9999
ZONE_UNKNOWN: Final = -128
DST_MINUTES: Final = {0: 0, 2: 30, 4: 60, 8: 120, 255: None}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DateTime:
    """What a device's wall clock shows. Year, month and day may be 0: unknown."""

    year: int
    month: int
    day: int
    hours: int
    minutes: int
    seconds: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The fields of the seven bytes, whatever they say."""
        return cls(int.from_bytes(data[:2], "little"), *data[2:DATE_TIME_BYTES])

    @property
    def dated(self) -> bool:
        """Whether year, month and day are known."""
        return 0 not in (self.year, self.month, self.day)

    @property
    def exists(self) -> bool:
        """Whether a calendar and a clock can show this, unknown parts left aside."""
        if self.year and not MIN_YEAR <= self.year <= MAX_YEAR:
            return False
        try:  # 2000 has a 29th of February, January 31 days
            datetime(
                self.year or 2000, self.month or 1, self.day or 1, self.hours, self.minutes, self.seconds, tzinfo=UTC
            )
        except ValueError:
            return False
        return True

    def utc_ms(self, offset: int | None, *, later: int = 0) -> int | None:
        """UTC milliseconds where the clock is `offset` minutes ahead of UTC, `later` minutes on; None when unknown."""
        if offset is None or not self.dated or not self.exists:
            return None
        wall = datetime(self.year, self.month, self.day, self.hours, self.minutes, self.seconds, tzinfo=UTC)
        return ((wall - _EPOCH) // timedelta(seconds=1) + (later - offset) * 60) * 1000


def date_time(data: bytes) -> DateTime:
    """The value of Date Time, 0x2A08. Raises BleError."""
    _exactly(data, DATE_TIME_BYTES, "Date Time")
    found = DateTime.of(data)
    if not found.exists:
        raise BleValueError(f"Date Time: no calendar has {found}")
    return found


def dst_offset(data: bytes) -> int | None:
    """The value of DST Offset, 0x2A0D, in minutes; None when the device does not know. Raises BleError."""
    _exactly(data, 1, "DST Offset")
    if data[0] not in DST_MINUTES:
        raise BleValueError(f"DST Offset: {data[0]} is reserved")
    return DST_MINUTES[data[0]]


def time_zone(data: bytes) -> int | None:
    """The value of Time Zone, 0x2A0E, in minutes ahead of UTC; None when unknown. Raises BleError."""
    _exactly(data, 1, "Time Zone")
    quarters = int.from_bytes(data, "little", signed=True)
    if quarters == ZONE_UNKNOWN:
        return None
    if not -48 <= quarters <= 56:
        raise BleValueError(f"Time Zone: {quarters} quarters of an hour are no zone")
    return quarters * 15


def utc_offset(data: bytes) -> int | None:
    """The value of Local Time Information, 0x2A0F: minutes ahead of UTC now, DST included; None when unknown."""
    _exactly(data, 2, "Local Time Information")
    zone, dst = time_zone(data[:1]), dst_offset(data[1:])
    return None if zone is None or dst is None else zone + dst


def _exactly(data: bytes, count: int, what: str) -> None:
    if len(data) < count:
        raise BleTruncatedError(f"{what}: {len(data)} bytes, and {count} are needed")
    if len(data) > count:
        raise BleTrailingError(f"{what}: {len(data)} bytes, and {count} are all it has")
