"""Exact decimals: what a measured value is on the ledger.

Rules:

- An exact decimal is a pair (mantissa, exponent) that means mantissa x 10^exponent; on the ledger, the array
  `[mantissa, exponent]`. The pair is kept as it was written: 13.50 is (1350, -2) and 13.5 is (135, -1), because the
  last digit says how well the value is known. Two pairs of one number are therefore two different values here.
- The mantissa is a signed 64-bit integer, the exponent -128..127 (what BLE, HL7 and FHIR carry fits).
- No binary floating point comes in or goes out: a float has lost the digits before we see it.
- `parse_decimal(format_decimal(pair)) == pair` for every pair. Text comes back in one normal form: no plus sign, no
  leading zeros, an exponent only where plain digits could not say the same.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from .errors import SchemaError
from .limits import MAX_INT, MIN_INT

Exact = tuple[int, int]
"""(mantissa, exponent)."""

MIN_EXPONENT: Final = -128
MAX_EXPONENT: Final = 127
MAX_TEXT: Final = 64  # characters; a 64-bit mantissa has 19 digits, and leading zeros are somebody's habit
_PLAIN: Final = -20  # below this exponent, text uses E notation

_DECIMAL: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?")


def parse_decimal(text: str) -> Exact:
    """The pair that `text` writes: digits with an optional sign, point and E exponent. Raises SchemaError."""
    match = _DECIMAL.fullmatch(text) if len(text) <= MAX_TEXT else None
    if match is None:
        raise SchemaError(f"{_quote(text)} is not a decimal number")
    sign, whole, fraction, exponent = match.group(1), match.group(2), match.group(3) or "", match.group(4)
    if not whole and not fraction:
        raise SchemaError(f"{_quote(text)} is not a decimal number: it has no digits")
    return bounded(int(sign + whole + fraction), int(exponent or 0) - len(fraction), text)


def format_decimal(value: Exact) -> str:
    """The normal text of a pair: (1350, -2) is "13.50", (1, 3) is "1E+3"."""
    mantissa, exponent = value
    if exponent == 0:
        return str(mantissa)
    if exponent > 0:
        return f"{mantissa}E+{exponent}"
    if exponent < _PLAIN:
        return f"{mantissa}E{exponent}"
    digits = str(abs(mantissa)).rjust(1 - exponent, "0")
    return f"{'-' if mantissa < 0 else ''}{digits[:exponent]}.{digits[exponent:]}"


def to_exact(value: object) -> Exact:
    """A pair from what people write: a pair, text, an int or a `decimal.Decimal`. Raises SchemaError; never a float."""
    if isinstance(value, str):
        return parse_decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return bounded(value, 0, value)
    if isinstance(value, Decimal):
        return _from_decimal(value)
    if isinstance(value, tuple | list) and len(value) == 2 and all(type(part) is int for part in value):
        return bounded(value[0], value[1], value)
    if isinstance(value, float):
        raise SchemaError(
            "a float is not an exact value", hint='Give the digits as text ("13.50") or as decimal.Decimal.'
        )
    raise SchemaError(f"a {type(value).__name__} is not an exact value")


def as_decimal(value: Exact) -> Decimal:
    """The pair as a `decimal.Decimal` of the same digits, for arithmetic and comparison."""
    mantissa, exponent = value
    return Decimal(f"{mantissa}E{exponent}")


def bounded(mantissa: int, exponent: int, shown: object) -> Exact:
    """The pair, if both parts are in range. `shown` is what the error quotes."""
    if not (MIN_INT <= mantissa <= MAX_INT and MIN_EXPONENT <= exponent <= MAX_EXPONENT):
        raise SchemaError(f"{_quote(shown)} does not fit an exact decimal (64-bit mantissa, exponent -128..127)")
    return mantissa, exponent


def _from_decimal(value: Decimal) -> Exact:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise SchemaError(f"{value} is not a number")
    if len(digits) > MAX_TEXT:
        raise SchemaError("a decimal of more than 64 digits does not fit the ledger")
    mantissa = int("".join(map(str, digits)))
    return bounded(-mantissa if sign else mantissa, exponent, value)


def _quote(value: object) -> str:
    shown = value if isinstance(value, str) else str(value)
    return repr(shown if len(shown) <= 32 else shown[:32] + "...")
