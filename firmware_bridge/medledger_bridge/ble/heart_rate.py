"""Heart Rate Service 1.0: Heart Rate Measurement (0x2A37).

Rules:

- Flags: bit 0 makes the rate 16 bits wide, bits 1-2 tell of skin contact (2: can be told, and is not there), bit 3 adds
  the energy in kJ, bit 4 adds RR intervals up to the end, bits 5-7 are reserved. RR intervals that are announced and
  are not there are an error.
- Without contact a sensor sends what it likes, often its last value: nothing is a value then, and the signal is lost.
- An RR interval counts 1/1024 s, which is exactly 9765625E-10 s.
- Energy 0xFFFF is where the counter stops: at least that much.
"""

from __future__ import annotations

from typing import ClassVar, Final

from medledger.records import Reading, Sample

from ..mdc import HEART_RATE
from .driver import Decoders, GattDriver
from .fields import Fields
from .measuring import FINE, NOT_AVAILABLE, Source, figure, reading, standing

WIDE, ENERGY, RR = 0x01, 0x08, 0x10
CONTACT_SHIFT: Final = 1
NO_CONTACT: Final = 2
KNOWN: Final = 0x1F
TICK: Final = (9765625, -10)  # 1/1024 s
ENERGY_FULL: Final = 0xFFFF


def measurement(data: bytes, source: Source) -> Reading:
    """The value of Heart Rate Measurement, 0x2A37. Raises BleError."""
    fields = Fields(data, "Heart Rate Measurement")
    flags = fields.flags(KNOWN)
    judgement = NOT_AVAILABLE if flags >> CONTACT_SHIFT & 3 == NO_CONTACT else FINE
    rate = fields.unsigned(2 if flags & WIDE else 1, "heart rate")
    samples = [figure((rate, 0), "/min", "GATT:2A37", HEART_RATE, judgement=judgement)]
    if flags & ENERGY:
        samples.append(_energy(fields.unsigned(2, "energy expended")))
    if flags & RR:
        samples.append(figure(_interval(fields), "s", "GATT:2A37 RR-interval", judgement=judgement))
        while fields.left >= 2:
            samples.append(figure(_interval(fields), "s", "GATT:2A37 RR-interval", judgement=judgement))
    fields.end()
    return reading(data, source, samples, quality=standing(judgement))


def _energy(kilojoules: int) -> Sample:
    if kilojoules == ENERGY_FULL:
        return Sample(None, text=f">={kilojoules}", unit="kJ", sent="GATT:2A37 energy")
    return figure((kilojoules, 0), "kJ", "GATT:2A37 energy")


def _interval(fields: Fields) -> tuple[int, int]:
    return fields.unsigned(2, "RR interval") * TICK[0], TICK[1]


class HeartRate(GattDriver):
    """A chest strap, a watch, an armband."""

    NAME = "heart-rate"
    DECODERS: ClassVar[Decoders] = {0x2A37: measurement}
    AT_ONCE = frozenset((0x2A37,))
