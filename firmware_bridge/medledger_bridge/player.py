"""Paces a recorded series, so that anybody can try the system without a device.

Rules:

- A row is due as many seconds after the start as its first column says, divided by the speed: at 60, a minute of the
  recording passes in a second.
- What is played claims to be measured at the moment it is due: start plus that time. So a played monitor looks like one
  that stands beside the bed, at any speed.
- A row without a single figure has nothing to send, and is said to be such.
- Rows that go back in time make the file one that cannot be played.

This is the pure schedule. Who plays it reads a clock, waits, and sends (`medledger agent play`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from medledger.errors import UsageError
from medledger.records import Reading

from .errors import SeriesError
from .oru import oru
from .series import play

SLOWEST: Final = 0.001
"""A second of the recording in a quarter of an hour: whoever asks for less has mistyped."""


@dataclass(frozen=True, slots=True)
class Due:
    """One row: how many milliseconds after the start it is due, and what it measured."""

    after: int
    reading: Reading

    def at(self, start: int) -> Reading:
        """The reading as it is when the playing began at UTC ms `start`."""
        return replace(self.reading, device_time=start + self.after)

    def message(
        self, start: int, number: int, *, patient: str | None = None, issuer: str | None = None
    ) -> bytes | None:
        """The row as an HL7 message, which has the same bytes each time it is asked for; None for an empty row."""
        if not self.reading.samples:
            return None
        reading = self.at(start)
        return oru(reading, message_id=f"{start}-{number}", at=start + self.after, patient=patient, issuer=issuer)


def schedule(lines: Iterable[str], *, device: str, speed: float = 1.0) -> Iterator[Due]:
    """The rows of monitor numerics (series.py) in order. Raises SeriesError, and UsageError for a speed of no sense."""
    if not SLOWEST <= speed < float("inf"):
        raise UsageError(f"a speed of {speed} is none: 1 is as it was recorded, 60 a minute in a second")
    last = 0
    for number, reading in enumerate(play(lines, device=device, start=0), 1):
        offset = reading.device_time or 0
        if offset < last:
            raise SeriesError(f"row {number} is earlier than the row before it")
        last = offset
        yield Due(int(offset / speed), reading)
