"""Pulse Oximeter Service 1.0: PLX Spot-check Measurement (0x2A5E), PLX Continuous Measurement (0x2A5F).

Rules:

- Spot check flags: bit 0 time stamp, bit 1 measurement status, bit 2 device and sensor status, bit 3 pulse amplitude
  index, bit 4 the device's clock was never set; bits 5-7 are reserved.
- Continuous flags: bit 0 fast pair, bit 1 slow pair, bits 2-4 as 1-3 above; bits 5-7 are reserved. The pairs of faster
  and slower averaging are told apart by `sub`.
- A pair is saturation and pulse rate. What the device and sensor say about themselves judges both: a sensor that is on
  nobody or torn off leaves no value (signal lost), a broken one an invalid value, a poor signal a questionable one.
- The pulse amplitude index is kept under its own name: LOINC's perfusion index is defined by others.
"""

from __future__ import annotations

from typing import ClassVar, Final

from medledger.records import Reading, Sample

from ..mdc import PULSE_RATE, SPO2
from .driver import Decoders, GattDriver
from .fields import Fields
from .ieee11073 import Number
from .measuring import (
    CALIBRATING,
    DEMO,
    EARLY,
    FINE,
    INVALID,
    NOT_AVAILABLE,
    ONGOING,
    QUESTIONABLE,
    TEST,
    VALIDATED,
    Bits,
    Judgement,
    Source,
    figure,
    judge,
    reading,
    standing,
    worst,
)

STAMPED, CLOCK_NOT_SET = 0x01, 0x10
FAST, SLOW = 0x01, 0x02
STATUS, SENSOR, AMPLITUDE = 0x01, 0x02, 0x04  # shifted by 1 in a spot check, by 2 in a continuous measurement
KNOWN: Final = 0x1F

MEASUREMENT_STATUS: Final[Bits] = {
    5: ("measurement-ongoing", ONGOING),
    6: ("early-estimate", EARLY),
    7: ("validated", VALIDATED),
    8: ("fully-qualified", VALIDATED),
    9: ("from-storage", FINE),
    10: ("demonstration", DEMO),
    11: ("testing", TEST),
    12: ("calibration-ongoing", CALIBRATING),
    13: ("measurement-unavailable", NOT_AVAILABLE),
    14: ("questionable-measurement", QUESTIONABLE),
    15: ("invalid-measurement", INVALID),
}
SENSOR_STATUS: Final[Bits] = {
    0: ("extended-display-update", FINE),
    1: ("equipment-malfunction", INVALID),
    2: ("signal-processing-irregularity", QUESTIONABLE),
    3: ("inadequate-signal", QUESTIONABLE),
    4: ("poor-signal", QUESTIONABLE),
    5: ("low-perfusion", QUESTIONABLE),
    6: ("erratic-signal", QUESTIONABLE),
    7: ("non-pulsatile-signal", QUESTIONABLE),
    8: ("questionable-pulse", QUESTIONABLE),
    9: ("signal-analysis-ongoing", ONGOING),
    10: ("sensor-interference", QUESTIONABLE),
    11: ("sensor-unconnected-to-user", NOT_AVAILABLE),
    12: ("unknown-sensor", QUESTIONABLE),
    13: ("sensor-displaced", QUESTIONABLE),
    14: ("sensor-malfunction", INVALID),
    15: ("sensor-disconnected", NOT_AVAILABLE),
}


def spot_check(data: bytes, source: Source) -> Reading:
    """The value of PLX Spot-check Measurement, 0x2A5E. Raises BleError."""
    fields = Fields(data, "PLX Spot-check Measurement")
    flags = fields.flags(KNOWN)
    pair = (fields.sfloat("SpO2"), fields.sfloat("pulse rate"))
    stamp = fields.date_time() if flags & STAMPED else None
    samples, _ = _judged("GATT:2A5E", [(pair, None)], fields, flags >> 1)
    known = stamp is not None and not flags & CLOCK_NOT_SET
    return reading(data, source, samples, time=stamp.utc_ms(source.offset) if stamp and known else None)


def continuous(data: bytes, source: Source) -> Reading:
    """The value of PLX Continuous Measurement, 0x2A5F. Raises BleError."""
    fields = Fields(data, "PLX Continuous Measurement")
    flags = fields.flags(KNOWN)
    pairs = [
        ((fields.sfloat("SpO2"), fields.sfloat("pulse rate")), sub)
        for sub, present in ((None, True), ("fast", flags & FAST), ("slow", flags & SLOW))
        if present
    ]
    samples, judgement = _judged("GATT:2A5F", pairs, fields, flags >> 2)
    return reading(data, source, samples, quality=standing(judgement))


def _judged(
    sent: str, pairs: list[tuple[tuple[Number, Number], str | None]], fields: Fields, present: int
) -> tuple[list[Sample], Judgement]:
    """The samples of a value from its pairs on: the rest of the fields says what the pairs are worth."""
    measuring = fields.unsigned(2, "measurement status") if present & STATUS else 0
    sensor = fields.unsigned(3, "device and sensor status") if present & SENSOR else 0
    amplitude = fields.sfloat("pulse amplitude index") if present & AMPLITUDE else None
    fields.end()
    notes, first = judge(measuring, MEASUREMENT_STATUS, f"{sent} measurement-status")
    more, second = judge(sensor, SENSOR_STATUS, f"{sent} sensor-status")
    judgement = worst((first, second))
    samples = []
    for (saturation, rate), sub in pairs:
        samples.append(figure(saturation, "%", f"{sent} SpO2", SPO2, judgement=judgement, sub=sub))
        samples.append(figure(rate, "/min", f"{sent} pulse-rate", PULSE_RATE, judgement=judgement, sub=sub))
    if amplitude is not None:
        samples.append(figure(amplitude, "%", f"{sent} pulse-amplitude", judgement=judgement))
    return [*samples, *notes, *more], judgement


class PulseOximeter(GattDriver):
    """A finger clip or a bedside oximeter."""

    NAME = "pulse-oximeter"
    DECODERS: ClassVar[Decoders] = {0x2A5E: spot_check, 0x2A5F: continuous}
    AT_ONCE = frozenset((0x2A5F,))
