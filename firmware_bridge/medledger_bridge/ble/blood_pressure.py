"""Blood Pressure Service 1.0/1.1: Blood Pressure Measurement (0x2A35), Intermediate Cuff Pressure (0x2A36).

Rules:

- Flags: bit 0 kPa instead of mmHg, bit 1 time stamp, bit 2 pulse rate, bit 3 user, bit 4 status; bits 5-7 are reserved.
- Systolic, diastolic and mean pressure are always there; what a cuff did not measure is NaN, and so a sample without
  a value. An intermediate cuff pressure has one pressure, which is no measure of the patient yet, and NaN twice.
- Status: movement, a loose cuff and a wrong position make the measurement questionable. An irregular pulse and a pulse
  rate beyond the device's limits are findings: kept, and no fault of the measurement.
- The user is the device's own number for whoever pressed its button (255 unknown): kept as `sub`, so that a family's
  shared cuff does not give one person's pressure to another unseen.
"""

from __future__ import annotations

from typing import ClassVar, Final

from medledger.records import Reading, Sample

from ..mdc import DIASTOLIC, HEART_RATE, MEAN_PRESSURE, SYSTOLIC
from .driver import Decoders, GattDriver
from .fields import Fields
from .ieee11073 import Number, Special
from .measuring import FINE, ONGOING, QUESTIONABLE, Bits, Judgement, Source, figure, judge, note, reading

KILOPASCAL, STAMPED, PULSE, USER, STATUS = 0x01, 0x02, 0x04, 0x08, 0x10
KNOWN: Final = 0x1F
USER_UNKNOWN: Final = 255
STATUS_BITS: Final[Bits] = {
    0: ("body-movement", QUESTIONABLE),
    1: ("cuff-too-loose", QUESTIONABLE),
    2: ("irregular-pulse", FINE),
    5: ("improper-position", QUESTIONABLE),
}
RANGE_SHIFT: Final = 3
PULSE_RANGE: Final = {1: "pulse-rate-above-limit", 2: "pulse-rate-below-limit", 3: "pulse-rate-range-3"}


def measurement(data: bytes, source: Source) -> Reading:
    """The value of Blood Pressure Measurement, 0x2A35. Raises BleError."""
    return _decode(data, source, "Blood Pressure Measurement", final=True)


def cuff_pressure(data: bytes, source: Source) -> Reading:
    """The value of Intermediate Cuff Pressure, 0x2A36. Raises BleError."""
    return _decode(data, source, "Intermediate Cuff Pressure", final=False)


def _decode(data: bytes, source: Source, what: str, *, final: bool) -> Reading:
    fields = Fields(data, what)
    flags = fields.flags(KNOWN)
    unit = "kPa" if flags & KILOPASCAL else "mm[Hg]"
    pressures = [fields.sfloat(name) for name in ("systolic", "diastolic", "mean arterial pressure")]
    stamp = fields.date_time() if flags & STAMPED else None
    pulse = fields.sfloat("pulse rate") if flags & PULSE else None
    user = fields.unsigned(1, "user") if flags & USER else USER_UNKNOWN
    status = fields.unsigned(2, "status") if flags & STATUS else 0
    fields.end()

    sub = None if user == USER_UNKNOWN else f"user {user}"
    notes, judgement = _status(status, what, sub)
    if not final:
        samples = _inflating(pressures, unit, sub)
    else:
        samples = [
            figure(number, unit, f"GATT:2A35 {name}", measure, judgement=judgement, sub=sub)
            for number, name, measure in zip(
                pressures,
                ("systolic", "diastolic", "mean"),
                (SYSTOLIC, DIASTOLIC, MEAN_PRESSURE),
                strict=True,
            )
        ]
    if pulse is not None:
        sent = f"{_sent(what)} pulse-rate"
        samples.append(figure(pulse, "/min", sent, HEART_RATE, judgement=judgement, sub=sub))
    time = None if stamp is None else stamp.utc_ms(source.offset)
    return reading(data, source, [*samples, *notes], time=time, quality=None if final else "live")


def _inflating(pressures: list[Number], unit: str, sub: str | None) -> list[Sample]:
    """What the cuff shows on its way. The other two are NaN by the specification; anything else is kept."""
    names = ("cuff", "diastolic", "mean")
    return [
        figure(number, unit, f"GATT:2A36 {name}", judgement=ONGOING, sub=sub)
        for name, number in zip(names, pressures, strict=True)
        if name == "cuff" or number is not Special.NAN
    ]


def _status(word: int, what: str, sub: str | None) -> tuple[list[Sample], Judgement]:
    sent = f"{_sent(what)} status"
    notes, judgement = judge(word & ~(3 << RANGE_SHIFT), STATUS_BITS, sent, sub=sub)
    pulse_range = PULSE_RANGE.get(word >> RANGE_SHIFT & 3)
    if pulse_range is not None:
        notes.append(note(pulse_range, sent, sub=sub))
    return notes, judgement


def _sent(what: str) -> str:
    return "GATT:2A35" if what.startswith("Blood") else "GATT:2A36"


class BloodPressure(GattDriver):
    """A cuff on an upper arm or a wrist."""

    NAME = "blood-pressure"
    DECODERS: ClassVar[Decoders] = {0x2A35: measurement, 0x2A36: cuff_pressure}
    AT_ONCE = frozenset((0x2A36,))
