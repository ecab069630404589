"""Quantities as exact numbers that can be added up: the ledger's decimals as fractions, and back into text."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

NOTHING: Final = Fraction(0)
_MOST_DIGITS: Final = 128  # of a decimal's exponent


def amount(exact: Sequence[int]) -> Fraction:
    """The number that an exact decimal `[mantissa, exponent]` is."""
    mantissa, exponent = exact
    return mantissa * Fraction(10) ** exponent


def amount_text(number: Fraction) -> str:
    """Plain digits, as short as they are exact: "30", "-2.5". For sums of decimals, which all have an end."""
    scaled, digits = number, 0
    while scaled.denominator != 1 and digits < _MOST_DIGITS:
        scaled, digits = scaled * 10, digits + 1
    whole = str(abs(scaled.numerator)).rjust(digits + 1, "0")
    sign = "-" if number < 0 else ""
    return f"{sign}{whole[: len(whole) - digits]}{'.' if digits else ''}{whole[len(whole) - digits :]}"
