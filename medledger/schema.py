"""Small declarative validators: what an entry's content may be.

Rules:

- A schema is built once, from the functions below, into nested closures that check a value and give its encoding. It
  runs once for every entry of a replica; doing both in one walk is what makes interpretation quick.
- `Validator.check(value, path)` gives the encoding or raises SchemaError naming the field, as in
  `content.samples[0][1] must be a decimal`. It never shows the value: a refused value may be somebody's name.
- Only what the ledger's CBOR knows: int, bytes, str, list, dict, bool and None, by exact type (True is not 1).
  A tuple passes for a list, because the encoder writes them alike.
- A map has the fields its schema names and no others. A later version of a record is a new type, so an unknown field
  is somebody's mistake, and might be a name or a birth date.
- Text holds no control, line-separating or direction-changing characters, so that nothing on the ledger can forge a
  line of a log or a terminal. The set is fixed here and does not follow the Unicode version of the Python that runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from .cbor import ARRAY, MAP, encode_bytes, encode_int, encode_text, head
from .decimals import MAX_EXPONENT, MIN_EXPONENT
from .errors import SchemaError
from .limits import MAX_INT, MIN_INT

_NULL: Final = b"\xf6"
_SHORT: Final = 255  # items of a list whose head is looked up; a manifest may have a million
_EXPONENTS: Final = {exponent: encode_int(exponent) for exponent in range(MIN_EXPONENT, MAX_EXPONENT + 1)}
_LISTS: Final = frozenset((list, tuple))
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


class _Problem(Exception):
    """Travels from the failing field outwards; each container adds its step. Becomes a SchemaError at the edge."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.steps: list[str] = []

    def at(self, step: str) -> _Problem:
        self.steps.append(step)
        return self


@dataclass(frozen=True, slots=True)
class Validator:
    """A compiled schema. `run` gives the encoding or raises the internal problem; callers use the methods."""

    run: Callable[[Any], bytes]

    def check(self, value: object, path: str = "content") -> bytes:
        """The encoding of a `value` that conforms; otherwise SchemaError, with the field's path below `path`."""
        try:
            return self.run(value)
        except _Problem as problem:
            raise SchemaError(f"{path}{''.join(reversed(problem.steps))} {problem}") from None

    def encoding(self, value: object) -> bytes | None:
        """What `cbor.encode` gives for `value`, or None when it does not conform."""
        try:
            return self.run(value)
        except _Problem:
            return None


def Text(least: int, most: int) -> Validator:
    """Text of `least` to `most` characters, all of them visible or a space."""

    def run(value: Any) -> bytes:
        if type(value) is not str:
            raise _Problem("must be text")
        if not least <= len(value) <= most:
            raise _Problem(f"must have {_range(least, most)} characters")
        if not (value.isascii() and value.isprintable()) and _CONTROL.search(value):
            raise _Problem("must not hold control or direction characters")
        return encode_text(value)

    return Validator(run)


def Int(least: int = MIN_INT, most: int = MAX_INT) -> Validator:
    """An integer in a range, both ends included."""

    def run(value: Any) -> bytes:
        if type(value) is not int or not least <= value <= most:
            raise _Problem(f"must be an integer, {_range(least, most)}")
        return encode_int(value)

    return Validator(run)


def Bytes(least: int, most: int | None = None) -> Validator:
    """A byte string of exactly `least`, or of `least` to `most`, bytes."""
    top = least if most is None else most

    def run(value: Any) -> bytes:
        if type(value) is not bytes or not least <= len(value) <= top:
            raise _Problem(f"must be {_range(least, top)} bytes")
        return encode_bytes(value)

    return Validator(run)


def Decimal() -> Validator:
    """An exact decimal `[mantissa, exponent]` (see decimals.py)."""

    def run(value: Any) -> bytes:
        if type(value) not in _LISTS or len(value) != 2:
            raise _Problem("must be a decimal [mantissa, exponent]")
        mantissa, exponent = value
        if (
            type(mantissa) is not int
            or type(exponent) is not int
            or not MIN_INT <= mantissa <= MAX_INT
            or not MIN_EXPONENT <= exponent <= MAX_EXPONENT
        ):
            raise _Problem("must be a decimal of a 64-bit mantissa and an exponent -128..127")
        return b"\x82" + encode_int(mantissa) + _EXPONENTS[exponent]

    return Validator(run)


def OneOf(values: Collection[str]) -> Validator:
    """One of a few words."""
    allowed = {value: encode_text(value) for value in values}
    listed = ", ".join(sorted(allowed)) if len(allowed) <= 16 else f"{len(allowed)} known words"

    def run(value: Any) -> bytes:
        if type(value) is not str or value not in allowed:
            raise _Problem(f"must be one of {listed}")
        return allowed[value]

    return Validator(run)


def Nullable(inner: Validator) -> Validator:
    """What `inner` accepts, or null."""
    inner_run = inner.run

    def run(value: Any) -> bytes:
        return _NULL if value is None else inner_run(value)

    return Validator(run)


def ByType(choices: Mapping[type, Validator]) -> Validator:
    """One of several kinds, told apart by the value's type; a list's validator also takes a tuple."""
    table = {kind: inner.run for kind, inner in choices.items()}
    if list in table:
        table[tuple] = table[list]
    listed = " or ".join(sorted(kind.__name__ for kind in choices))

    def run(value: Any) -> bytes:
        chosen = table.get(type(value))
        if chosen is None:
            raise _Problem(f"must be {listed}")
        return chosen(value)

    return Validator(run)


def Where(inner: Validator, rule: Callable[[Any], str | None]) -> Validator:
    """What `inner` accepts and `rule` has nothing against; the rule returns what must hold ("must ..."), or None."""
    inner_run = inner.run

    def run(value: Any) -> bytes:
        encoded = inner_run(value)
        objection = rule(value)
        if objection is not None:
            raise _Problem(objection)
        return encoded

    return Validator(run)


def Remembered(inner: Validator, most: int = 4096) -> Validator:
    """What `inner` accepts, for texts that come again and again (codes, units): accepted ones are looked up.

    At most `most` are remembered; then all are forgotten, so that no flood of new ones can shut the common ones out.
    """
    inner_run = inner.run
    seen: dict[str, bytes] = {}

    def run(value: Any) -> bytes:
        known = seen.get(value) if type(value) is str else None
        if known is not None:
            return known
        encoded = inner_run(value)
        if len(seen) >= most:
            seen.clear()
        seen[value] = encoded
        return encoded

    return Validator(run)


def Array(of: Validator, least: int, most: int, *, order: Callable[[Any], Any] | None = None) -> Validator:
    """A list of `least` to `most` items; with `order` (item -> sort key), strictly ascending: one set has one form."""
    item_run = of.run
    heads = _heads(ARRAY, least, min(most, _SHORT))

    def run(value: Any) -> bytes:
        if type(value) not in _LISTS or not least <= len(value) <= most:
            raise _Problem(f"must be a list of {_range(least, most)} items")
        encoded = heads.get(len(value))
        try:
            if encoded is None:  # adding item after item would cost the square of a long list's length
                encoded = b"".join((head(ARRAY, len(value)), *map(item_run, value)))
            else:
                for item in value:
                    encoded += item_run(item)
        except _Problem as problem:
            raise problem.at(f"[{_first_bad([item_run] * len(value), value)}]") from None
        if order is not None:
            keys = [order(item) for item in value]
            if any(not a < b for a, b in pairwise(keys)):
                raise _Problem("must be in strictly ascending order")
        return encoded

    return Validator(run)


def Tuple(*items: Validator, optional: Validator | None = None) -> Validator:
    """A list with a validator for each place, and perhaps one more item of its own kind at the end."""
    runs = [item.run for item in items]
    least, every = len(runs), [*runs, optional.run] if optional else runs
    most = len(every)
    heads = _heads(ARRAY, least, most)

    def run(value: Any) -> bytes:
        if type(value) not in _LISTS or (encoded := heads.get(len(value))) is None:
            raise _Problem(f"must be a list of {_range(least, most)} items")
        try:
            for item_run, item in zip(every, value, strict=False):  # the optional one may be missing
                encoded += item_run(item)
        except _Problem as problem:
            raise problem.at(f"[{_first_bad(every, value)}]") from None
        return encoded

    return Validator(run)


def Map(required: Mapping[str, Validator], optional: Mapping[str, Validator] | None = None) -> Validator:
    """A map with exactly these text keys: all of `required`, any of `optional`."""
    every = {**required, **(optional or {})}
    # The encoding's order is that of the encoded keys; a map that was decoded has it already.
    ordered = sorted(every, key=encode_text)
    fields = {key: (rank, encode_text(key), every[key].run) for rank, key in enumerate(ordered)}
    heads = _heads(MAP, len(required), len(every))
    needed = tuple(required)

    def run(value: Any) -> bytes:
        if type(value) is not dict:
            raise _Problem("must be a map")
        for key in needed:
            if key not in value:
                raise _Problem(f"lacks the field {key!r}")
        encoded = heads.get(len(value), b"")
        before, in_order = -1, True
        for key, item in value.items():
            field = fields.get(key)
            if field is None:
                raise _Problem(f"has a field that this type does not know: {key!r:.40}")
            rank, name, item_run = field
            if rank < before:
                in_order = False
            before = rank
            try:
                encoded += name + item_run(item)
            except _Problem as problem:
                raise problem.at(f".{key}") from None
        return encoded if in_order else run({key: value[key] for key in ordered if key in value})

    return Validator(run)


def MapOf(key: Validator, of: Validator, least: int, most: int) -> Validator:
    """A map of `least` to `most` fields with text keys, whose keys and values each have one kind."""
    key_run, item_run = key.run, of.run

    def run(value: Any) -> bytes:
        if type(value) is not dict or not least <= len(value) <= most:
            raise _Problem(f"must be a map of {_range(least, most)} fields")
        encoded = []
        for name, item in value.items():
            if type(name) is not str:
                raise _Problem("must have keys of text")
            name_encoded = key_run(name)
            try:
                encoded.append((name_encoded, item_run(item)))
            except _Problem as problem:
                raise problem.at(f".{name}") from None
        return head(MAP, len(encoded)) + b"".join(name + item for name, item in sorted(encoded))

    return Validator(run)


def _heads(major: int, least: int, most: int) -> dict[int, bytes]:
    return {size: head(major, size) for size in range(least, most + 1)}


def _first_bad(runs: list[Callable[[Any], bytes]], value: Any) -> int:
    """The index of the first item refused: found again only after a failure, so that success counts nothing."""
    for index, (item_run, item) in enumerate(zip(runs, value, strict=False)):
        try:
            item_run(item)
        except _Problem:
            return index
    raise AssertionError("a validator refused an item once and then accepted it")  # they are pure functions


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"
