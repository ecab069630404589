"""Health Thermometer Service 1.0: Temperature Measurement (0x2A1C), Intermediate Temperature (0x2A1E), Type (0x2A1D).

Rules:

- Flags: bit 0 Fahrenheit, bit 1 time stamp, bit 2 type (where on the body); bits 3-7 are reserved. Without
  bit 2 the Temperature Type characteristic says where, if the device has one; else it is a body temperature.
- The places inside the body and those that stand for it are body temperature (LOINC 8310-5), a mouth is oral (8331-1).
  A finger, a toe or a type that the specification does not know is another quantity: no LOINC, and its place in `sent`.
- An intermediate temperature is still rising: `msmt-ongoing`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from medledger.records import Reading

from ..errors import BleValueError
from ..mdc import MEASURES, TEMPERATURE, Measure
from .driver import Decoders, Facts, GattDriver
from .fields import Fields
from .measuring import FINE, ONGOING, Judgement, Source, figure, reading

FAHRENHEIT, STAMPED, TYPED = 0x01, 0x02, 0x04
KNOWN: Final = 0x07
ORAL: Final = MEASURES[188424]
TYPES: Final[dict[int, tuple[str, Measure | None]]] = {
    1: ("armpit", TEMPERATURE),
    2: ("body", TEMPERATURE),
    3: ("ear", TEMPERATURE),
    4: ("finger", None),
    5: ("gastrointestinal", TEMPERATURE),
    6: ("mouth", ORAL),
    7: ("rectum", TEMPERATURE),
    8: ("toe", None),
    9: ("tympanum", TEMPERATURE),
}
PLACES: Final = dict(TYPES.values())


def measurement(data: bytes, source: Source) -> Reading:
    """The value of Temperature Measurement, 0x2A1C. Raises BleError."""
    return _decode(data, source, "2A1C", "Temperature Measurement", FINE)


def intermediate(data: bytes, source: Source) -> Reading:
    """The value of Intermediate Temperature, 0x2A1E. Raises BleError."""
    return _decode(data, source, "2A1E", "Intermediate Temperature", ONGOING)


def temperature_type(data: bytes) -> str:
    """The value of Temperature Type, 0x2A1D: where on the body. Raises BleError."""
    fields = Fields(data, "Temperature Type")
    kind = fields.unsigned(1, "type")
    fields.end()
    if kind not in TYPES:
        raise BleValueError(f"Temperature Type: {kind} is reserved")
    return TYPES[kind][0]


def _place(kind: int) -> str:
    return TYPES[kind][0] if kind in TYPES else f"type-{kind}"


def _decode(data: bytes, source: Source, number: str, what: str, judgement: Judgement) -> Reading:
    fields = Fields(data, what)
    flags = fields.flags(KNOWN)
    temperature = fields.float32("temperature")
    stamp = fields.date_time() if flags & STAMPED else None
    place = _place(fields.unsigned(1, "type")) if flags & TYPED else source.site
    fields.end()

    measure = TEMPERATURE if place is None else PLACES.get(place)
    sent = f"GATT:{number} {place}" if place else f"GATT:{number}"
    unit = "[degF]" if flags & FAHRENHEIT else "Cel"
    sample = figure(temperature, unit, sent, measure, judgement=judgement)
    time = None if stamp is None else stamp.utc_ms(source.offset)
    return reading(data, source, [sample], time=time, quality="live" if judgement == ONGOING else None)


class Thermometer(GattDriver):
    """A clinical thermometer."""

    NAME = "thermometer"
    DECODERS: ClassVar[Decoders] = {0x2A1C: measurement, 0x2A1E: intermediate}
    AT_ONCE = frozenset((0x2A1E,))
    FACTS: ClassVar[Facts] = {**GattDriver.FACTS, 0x2A1D: ("site", temperature_type)}
