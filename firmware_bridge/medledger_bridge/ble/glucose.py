"""Glucose Service 1.0: Glucose Measurement (0x2A18), its Context (0x2A34), and the records that a meter has stored.

Rules:

- Measurement flags: bit 0 time offset, bit 1 concentration with type and location, bit 2 mol/L instead of kg/L, bit 3
  sensor status, bit 4 a context follows; bits 5-7 are reserved.
- kg/L and mol/L become mg/dL and mmol/L by moving the exponent, so every digit stays. Capillary whole blood in mg/dL
  has its LOINC; the other fluids and mmol/L keep their names. Control solution is a test of the meter, and no glucose.
- The time is base time plus offset in minutes; an offset at either end of its range is an overflow, and a time fault
  takes the word of the clock back: then it is unknown.
- A strip error, too little blood, a temperature or a fault of the meter leave no value; a result beyond the meter's
  range is no number but known to be high or low.
- `sub` is the record's sequence number. A record that is missing when the meter says that it has sent all is a sample
  without a value under its number, so that the gap is on the ledger.
- Of the context, answers about a person's life (health) leave the fact that they were there, as in a played series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import ClassVar, Final

from medledger.records import Reading, Sample

from ..mdc import MEASURES
from ..observations import SAMPLES_PER_READING
from .driver import Decoders, GattDriver
from .fields import Fields
from .ieee11073 import shifted
from .measuring import (
    FINE,
    INVALID,
    TEST,
    TOO_HIGH,
    TOO_LOW,
    Bits,
    Source,
    figure,
    judge,
    note,
    reading,
    worst,
)
from .stored_records import RecordLog, check_response

MEASUREMENT, CONTEXT, CONTROL_POINT = 0x2A18, 0x2A34, 0x2A52
TIME_OFFSET, CONCENTRATION, MOLES, STATUS = 0x01, 0x02, 0x04, 0x08
KNOWN: Final = 0x1F
OVERFLOWS: Final = (0x7FFF, -0x8000)
TIME_FAULT: Final = 1 << 11
CARBOHYDRATE, MEAL, TESTER, EXERCISE, MEDICATION, LITRES, HBA1C, EXTENDED = (1 << bit for bit in range(8))
NOT_AVAILABLE: Final = 15
DURATION_FULL: Final = 0xFFFF

CAPILLARY: Final = MEASURES[160184]
CONTROL_SOLUTION: Final = "control-solution"
FLUIDS: Final = {
    1: "capillary-whole-blood",
    2: "capillary-plasma",
    3: "venous-whole-blood",
    4: "venous-plasma",
    5: "arterial-whole-blood",
    6: "arterial-plasma",
    7: "undetermined-whole-blood",
    8: "undetermined-plasma",
    9: "interstitial-fluid",
    10: CONTROL_SOLUTION,
}
LOCATIONS: Final = {1: "finger", 2: "alternate-site", 3: "earlobe", 4: CONTROL_SOLUTION, NOT_AVAILABLE: ""}
SENSOR_STATUS: Final[Bits] = {
    0: ("battery-low", FINE),
    1: ("sensor-malfunction", INVALID),
    2: ("sample-too-small", INVALID),
    3: ("strip-insertion-error", INVALID),
    4: ("strip-type-incorrect", INVALID),
    5: ("result-too-high", TOO_HIGH),
    6: ("result-too-low", TOO_LOW),
    7: ("temperature-too-high", INVALID),
    8: ("temperature-too-low", INVALID),
    9: ("read-interrupted", INVALID),
    10: ("device-fault", INVALID),
    11: ("time-fault", FINE),
}
CARBOHYDRATES: Final = {1: "breakfast", 2: "lunch", 3: "dinner", 4: "snack", 5: "drink", 6: "supper", 7: "brunch"}
MEALS: Final = {1: "before-meal", 2: "after-meal", 3: "fasting", 4: "casual", 5: "bedtime"}
TESTERS: Final = {1: "self", 2: "health-care-professional", 3: "laboratory"}
MEDICATIONS: Final = {
    1: "rapid-acting-insulin",
    2: "short-acting-insulin",
    3: "intermediate-acting-insulin",
    4: "long-acting-insulin",
    5: "premixed-insulin",
}


def measurement(data: bytes, source: Source) -> Reading:
    """The value of Glucose Measurement, 0x2A18. Raises BleError."""
    fields = Fields(data, "Glucose Measurement")
    flags = fields.flags(KNOWN)
    sub = f"record {fields.unsigned(2, 'sequence number')}"
    base = fields.date_time("base time")
    later = fields.signed(2, "time offset") if flags & TIME_OFFSET else 0
    concentration = fields.sfloat("concentration") if flags & CONCENTRATION else None
    kind = fields.unsigned(1, "type and location") if flags & CONCENTRATION else 0
    status = fields.unsigned(2, "sensor status") if flags & STATUS else 0
    fields.end()

    notes, judgement = judge(status, SENSOR_STATUS, "GATT:2A18 status", sub=sub)
    if concentration is None:
        sample = Sample(None, absent=judgement.absent or "unknown", sent="GATT:2A18", status=judgement.status, sub=sub)
    else:
        fluid, location = _name(FLUIDS, kind & 15, "type"), _name(LOCATIONS, kind >> 4, "location")
        if CONTROL_SOLUTION in (fluid, location):
            judgement = worst((judgement, TEST))
        unit, digits = ("mmol/L", 3) if flags & MOLES else ("mg/dL", 5)
        measure = CAPILLARY if (kind & 15, unit) == (1, "mg/dL") and judgement != TEST else None
        sent = " ".join(piece for piece in ("GATT:2A18", fluid, location) if piece)
        sample = figure(shifted(concentration, digits), unit, sent, measure, judgement=judgement, sub=sub)
    clear = later not in OVERFLOWS and not status & TIME_FAULT
    return reading(data, source, [sample, *notes], time=base.utc_ms(source.offset, later=later) if clear else None)


def context(data: bytes, source: Source) -> Reading:
    """The value of Glucose Measurement Context, 0x2A34. Raises BleError."""
    fields = Fields(data, "Glucose Measurement Context")
    flags = fields.flags(0xFF)
    sub = f"record {fields.unsigned(2, 'sequence number')}"
    if flags & EXTENDED:
        fields.flags(0, "extended flags")
    samples = []
    if flags & CARBOHYDRATE:
        name = _name(CARBOHYDRATES, fields.unsigned(1, "carbohydrate"), "type")
        grams = shifted(fields.sfloat("carbohydrate"), 3)
        samples.append(figure(grams, "g", f"GATT:2A34 carbohydrate {name}", sub=sub))
    if flags & MEAL:
        meal = _name(MEALS, fields.unsigned(1, "meal"), "meal")
        samples.append(note(meal, "GATT:2A34 meal", sub=sub))
    if flags & TESTER:
        samples += _tester(fields.unsigned(1, "tester and health"), sub)
    if flags & EXERCISE:
        samples += _exercise(fields, sub)
    if flags & MEDICATION:
        name = _name(MEDICATIONS, fields.unsigned(1, "medication"), "type")
        digits, unit = (3, "mL") if flags & LITRES else (6, "mg")
        amount = shifted(fields.sfloat("medication"), digits)
        samples.append(figure(amount, unit, f"GATT:2A34 medication {name}", sub=sub))
    if flags & HBA1C:
        samples.append(figure(fields.sfloat("HbA1c"), "%", "GATT:2A34 HbA1c", sub=sub))
    fields.end()
    return reading(data, source, samples or [Sample(None, absent="unknown", sent="GATT:2A34", sub=sub)])


def _tester(value: int, sub: str) -> list[Sample]:
    tester, health = value & 15, value >> 4
    samples = [] if tester == NOT_AVAILABLE else [note(_name(TESTERS, tester, "tester"), "GATT:2A34 tester", sub=sub)]
    if health != NOT_AVAILABLE:
        samples.append(Sample(None, absent="masked", sent="GATT:2A34 health", sub=sub))
    return samples


def _exercise(fields: Fields, sub: str) -> list[Sample]:
    seconds, percent = fields.unsigned(2, "exercise duration"), fields.unsigned(1, "exercise intensity")
    sent = "GATT:2A34 exercise-duration"
    duration = (
        Sample(None, text=f">={seconds}", unit="s", sent=sent, sub=sub)
        if seconds == DURATION_FULL
        else figure((seconds, 0), "s", sent, sub=sub)
    )
    return [duration, figure((percent, 0), "%", "GATT:2A34 exercise-intensity", sub=sub)]


def _name(names: Mapping[int, str], number: int, what: str) -> str:
    """The name of a number, or what it is a number of."""
    return names.get(number, f"{what}-{number}")


class Glucose(GattDriver):
    """A blood glucose meter, with the records it has stored. `after` is the last sequence number that is durable."""

    NAME = "glucose"
    DECODERS: ClassVar[Decoders] = {MEASUREMENT: measurement, CONTEXT: context}
    NUMBERED = frozenset((MEASUREMENT, CONTEXT))

    def __init__(self, device: str, *, utc_offset: int | None = None, after: int | None = None) -> None:
        super().__init__(device, utc_offset=utc_offset)
        self._log = RecordLog(after)
        self._last: tuple[str | None, int | None] = (None, None)  # the record that a context may belong to: its time

    @property
    def notified(self) -> tuple[int, ...]:
        """The control point too: it indicates when all stored records have come."""
        return (*super().notified, CONTROL_POINT)

    def on_connect(self) -> list[tuple[int, bytes]]:
        """Ask for the stored records that have not come."""
        return [(CONTROL_POINT, self._log.request())]

    def decode(self, number: int | None, channel: str, data: bytes) -> list[Reading]:
        """As for every device; and a record that came before is no new one, and a missing one is named."""
        if number == CONTROL_POINT:
            check_response(data)
            return self._missing(data)
        found = super().decode(number, channel, data)
        if number == MEASUREMENT:
            sub = found[0].samples[0].sub
            self._last = (sub, found[0].device_time)
            return found if self._log.take(_sequence(data), sha256(data).digest()) else []
        if number == CONTEXT and found[0].samples[0].sub == self._last[0]:
            return [replace(found[0], device_time=self._last[1])]
        return found

    def _missing(self, data: bytes) -> list[Reading]:
        gaps = [
            Sample(None, absent="unknown", sent="GATT:2A18 missing", sub=_records(first, last))
            for first, last in self._log.missing()
        ]
        return [
            reading(data, self._source, gaps[start : start + SAMPLES_PER_READING])
            for start in range(0, len(gaps), SAMPLES_PER_READING)
        ]


def _sequence(data: bytes) -> int:
    return int.from_bytes(data[1:3], "little")


def _records(first: int, last: int) -> str:
    return f"record {first}" if first == last else f"records {first}-{last}"
