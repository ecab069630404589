"""JSON that means one thing: a name is given once in an object, NaN and Infinity are no numbers, and a number with a
fraction never becomes a binary float.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any


def refuse_fraction(text: str) -> Any:
    """For `parse`: where such a number shall come as text."""
    raise ValueError(f"{text[:16]} is not exact: write it as text")


def parse(text: str, *, fraction: Callable[[str], Any] = Decimal) -> Any:
    """What a JSON text says. `fraction` makes what stands for a number with a fraction. Raises `ValueError`."""
    try:
        return json.loads(text, parse_float=fraction, parse_constant=_no_number, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is given twice")
    return found
