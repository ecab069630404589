"""The numbers of Bluetooth health devices: IEEE 11073-20601 SFLOAT (16 bits) and FLOAT (32 bits), exactly.

Rules:

- A number is mantissa x 10^exponent, both two's complement: SFLOAT has 4 bits of exponent above 12 of mantissa, FLOAT
  8 above 24. 0x8078 is 120E-8. The pair is kept as it was sent, because its exponent says how well the value is known.
- With exponent 0, five mantissas at the ends are no numbers: not a number, not at this resolution, two infinities and
  one that is reserved. With any other exponent the same mantissas are ordinary numbers (20601, annex F).
- GATT sends the low byte first.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from medledger.records import Exact


class Special(Enum):
    """What stands for "no number", by the reason for which a sample then has no value (FHIR data-absent-reason)."""

    NAN = "not-a-number"
    NRES = "unsupported"  # there is a value, and this many digits cannot hold it
    POSITIVE_INFINITY = "positive-infinity"
    NEGATIVE_INFINITY = "negative-infinity"
    RESERVED = "error"  # nobody knows what it means


Number = Exact | Special
"""An exact decimal, or why there is none."""

SFLOAT_BYTES: Final = 2
FLOAT_BYTES: Final = 4


def sfloat(data: bytes) -> Number:
    """The number in the two bytes of an SFLOAT, low byte first."""
    return _number(int.from_bytes(data, "little"), mantissa_bits=12, exponent_bits=4)


def float32(data: bytes) -> Number:
    """The number in the four bytes of a FLOAT, low byte first. It is decimal, and not IEEE 754."""
    return _number(int.from_bytes(data, "little"), mantissa_bits=24, exponent_bits=8)


def shifted(number: Number, digits: int) -> Number:
    """The number in a unit 10^`digits` times smaller: kg/L to mg/dL is 5. Exact: only the exponent moves."""
    return number if isinstance(number, Special) else (number[0], number[1] + digits)


def _number(word: int, *, mantissa_bits: int, exponent_bits: int) -> Number:
    mantissa = _signed(word & ((1 << mantissa_bits) - 1), mantissa_bits)
    exponent = _signed(word >> mantissa_bits, exponent_bits)
    if exponent == 0:
        top = (1 << (mantissa_bits - 1)) - 1  # 0x7FF
        special = {
            top: Special.NAN,
            top - 1: Special.POSITIVE_INFINITY,
            -top - 1: Special.NRES,
            -top: Special.RESERVED,
            1 - top: Special.NEGATIVE_INFINITY,
        }.get(mantissa)
        if special is not None:
            return special
    return mantissa, exponent


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
