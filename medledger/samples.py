"""Samples: one measured value of a reading, or the reason why there is none.

Rules:

- On the ledger a sample is `[code, value, unit]`, or `[code, value, unit, qualifiers]` when it has any.
- `code` is a LOINC code with a right check digit, or null when the device's own code has no LOINC in our table; then
  `sent` says what the device called it. Nothing is mapped by likeness.
- `value` is an exact decimal, a short text result, or null. It is null exactly when the qualifier `absent` says why;
  the last value is never repeated.
- A *vital sign* is a sample with a code and a value. A sample whose value cannot be what its code means (a sentinel, an
  impossible figure, a unit of another quantity) is flagged, and a flagged sample has no value: what was sent stands
  under `sent_value` and `sent_unit`, where no reader takes it for a measurement.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from .cbor import encode_text
from .decimals import Exact, format_decimal, to_exact
from .errors import SchemaError
from .schema import ByType, Decimal, Map, Nullable, OneOf, Remembered, Text, Tuple, Validator, Where

ABSENT_REASONS: Final = (  # FHIR data-absent-reason
    "unknown",
    "asked-unknown",
    "temp-unknown",
    "not-asked",
    "asked-declined",
    "masked",
    "not-applicable",
    "unsupported",
    "as-text",
    "error",
    "not-a-number",
    "negative-infinity",
    "positive-infinity",
    "not-performed",
    "not-permitted",
)
MEASUREMENT_STATUS: Final = (  # ISO/IEEE 11073-10201 MeasurementStatus
    "invalid",
    "questionable",
    "not-available",
    "calibration-ongoing",
    "test-data",
    "demo-data",
    "validated-data",
    "early-indication",
    "msmt-ongoing",
    "in-alarm",
    "alarm-inhibited",
)
NOT_MEASURED: Final = frozenset(("invalid", "not-available", "test-data", "demo-data"))
RESULT_STATUS: Final = tuple("BCDFINOPRSUVWX")  # HL7 table 0085, OBX-11
FLAGS: Final = ("sentinel", "out-of-range", "unit-mismatch")

MAX_RESULT_TEXT: Final = 64
MAX_UNIT_TEXT: Final = 32
MAX_SENT_TEXT: Final = 64

NULL: Final = Nullable(Text(1, 0))  # accepts null and nothing else: no text has 1 to 0 characters


def _loinc_problem(code: str) -> str | None:
    """LOINC's own rule: up to seven digits, a hyphen, and their mod-10 (Luhn) check digit."""
    number, hyphen, check = code.partition("-")
    if not (hyphen and 1 <= len(number) <= 7 and len(check) == 1 and (number + check).isascii()):
        return "must be a LOINC code such as 8867-4"
    if not (number + check).isdigit():
        return "must be a LOINC code such as 8867-4"
    doubled = "".join(str(int(digit) * 2) for digit in number[::-2])
    total = sum(map(int, doubled)) + sum(map(int, number[-2::-2]))
    return None if (total + int(check)) % 10 == 0 else "must be a LOINC code with a right check digit"


def _unit_problem(unit: str) -> str | None:
    right = unit.isascii() and unit.isprintable() and " " not in unit
    return None if right else "must be a UCUM unit: ASCII without spaces"


DEVICE: Final = Remembered(Text(1, 64))
"""A device's own identifier (EUI-64, serial, MON-7): which instrument, not which patient."""

LOINC: Final = Remembered(Where(Text(3, 9), _loinc_problem))
UNIT: Final = Remembered(Where(Text(1, MAX_UNIT_TEXT), _unit_problem))


def is_loinc(text: str) -> bool:
    """Whether `text` has the form and the check digit of a LOINC code (not whether LOINC has assigned it)."""
    return len(text) <= 9 and _loinc_problem(text) is None


def _whole(sample: Any) -> str | None:
    """The rules that hold between the places of a sample."""
    code, value = sample[0], sample[1]
    if len(sample) == 3:
        if value is None:
            return "must say why it has no value (absent)"
        return "must have a LOINC code or say what the device called it (sent)" if code is None else None
    qualifiers = sample[3]
    if not qualifiers:
        return "must leave out an empty map of qualifiers"
    if code is None and "sent" not in qualifiers:
        return "must have a LOINC code or say what the device called it (sent)"
    if (value is None) is not ("absent" in qualifiers):
        return "must have either a value or a reason why there is none (absent)"
    if "flag" in qualifiers and value is not None:
        return "must not have a value when it is flagged: what was sent belongs under sent_value"
    if value is not None and qualifiers.get("status") in NOT_MEASURED:
        return "must not have a value when its status says that it is no measurement"
    return None


QUALIFIERS: Final = Map(
    {},
    {
        "absent": OneOf(ABSENT_REASONS),  # why there is no value: silence and a lost probe are different facts
        "flag": OneOf(FLAGS),  # why what the device sent is not taken for a measurement
        "sent": Text(1, MAX_SENT_TEXT),  # code as sent ("MDC:147842"): the mapping to LOINC can be checked and redone
        "sent_unit": Text(1, MAX_SENT_TEXT),  # unit as sent, where it is not the UCUM text itself
        "sent_value": Decimal(),  # the figure of a flagged sample, as evidence of what the device said
        "status": OneOf(MEASUREMENT_STATUS),  # the device's own judgement of the measurement
        "result": OneOf(RESULT_STATUS),  # OBX-11 as sent: a correction (C) is a new event, not an edit
        "sub": Text(1, 32),  # OBX-4 as sent: tells two probes with one code apart
    },
)

_ANY_SAMPLE: Final = Where(
    Tuple(
        Nullable(LOINC),  # what was measured, in the code that readers elsewhere know
        ByType({list: Decimal(), str: Text(1, MAX_RESULT_TEXT), type(None): NULL}),  # what it was
        Nullable(UNIT),  # in which unit; null for text results and bare numbers
        optional=QUALIFIERS,
    ),
    _whole,
)
_REMEMBERED_SAMPLES: Final = 4096
_seen: dict[tuple[Any, ...], bytes] = {}


def _sample(sample: Any) -> bytes:
    """`_ANY_SAMPLE`; but plain ones, `[code, [mantissa, exponent], unit]` and qualifiers that are text, come again and
    again and are looked up.

    Exact types first: True and 1.0 are equal to 1. All are forgotten at a time, as in `Remembered`.
    """
    if type(sample) is not list or not 3 <= len(sample) <= 4:
        return _ANY_SAMPLE.run(sample)
    code, value, unit = sample[:3]
    if type(value) is not list or len(value) != 2 or type(code) is not str or type(unit) is not str:
        return _ANY_SAMPLE.run(sample)
    mantissa, exponent = value
    if type(mantissa) is not int or type(exponent) is not int:
        return _ANY_SAMPLE.run(sample)
    plain: tuple[Any, ...] = (code, mantissa, exponent, unit)
    if len(sample) == 4:
        if type(sample[3]) is not dict:
            return _ANY_SAMPLE.run(sample)
        for name, text in sample[3].items():
            if type(name) is not str or type(text) is not str:
                return _ANY_SAMPLE.run(sample)
        plain = (*plain, *sample[3].items())
        if len(plain) == 4:  # an empty map is refused, and is not the same as none
            return _ANY_SAMPLE.run(sample)
    encoded = _seen.get(plain)
    if encoded is None:
        encoded = _ANY_SAMPLE.run(sample)
        if len(_seen) >= _REMEMBERED_SAMPLES:
            _seen.clear()
        _seen[plain] = encoded
    return encoded


SAMPLE: Final = Validator(_sample)

Value = str | int | decimal.Decimal | Exact
"""What people may write for a value; text that is not a number must be given through `Sample(text=...)`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value with its code and unit. `value` is written as text, an int, a Decimal or a pair, and kept exact.

    A result that is not a number (">90", "Positive") goes into `text`; a missing one into `absent`, with its reason.
    """

    code: str | None
    value: Exact | None = None
    unit: str | None = None
    text: str | None = None
    absent: str | None = None
    flag: str | None = None
    sent: str | None = None
    sent_unit: str | None = None
    sent_value: Exact | None = None
    status: str | None = None
    result: str | None = None
    sub: str | None = None

    @staticmethod
    def of(given: Sample | Sequence[Any]) -> Sample:
        """A sample from `(code, value, unit)`, or the sample itself."""
        if isinstance(given, Sample):
            return given
        if isinstance(given, str) or len(given) != 3:
            raise SchemaError("a sample is written as (code, value, unit), or as Sample(...)")
        code, value, unit = given
        return Sample(code, to_exact(value), unit)

    def to_content(self) -> list[Any]:
        """The sample as it stands on the ledger."""
        value: Any = self.text if self.value is None else list(self.value)
        content = [self.code, value, self.unit]
        qualifiers: dict[str, Any] = {}
        for name in _QUALIFIER_NAMES:
            given = getattr(self, name)
            if given is not None:
                qualifiers[name] = list(given) if name == "sent_value" else given
        if qualifiers:
            content.append(qualifiers)
        return content

    @staticmethod
    def from_content(content: Sequence[Any]) -> Sample:
        """The sample that checked content describes."""
        code, value, unit = content[:3]
        qualifiers = dict(content[3]) if len(content) > 3 else {}
        if "sent_value" in qualifiers:
            qualifiers["sent_value"] = tuple(qualifiers["sent_value"])
        if isinstance(value, str):
            return Sample(code, None, unit, text=value, **qualifiers)
        return Sample(code, None if value is None else (value[0], value[1]), unit, **qualifiers)

    def __str__(self) -> str:
        shown = self.text or f"({self.absent})" if self.value is None else format_decimal(self.value)
        return " ".join(part for part in (self.code or self.sent, shown, self.unit) if part)


_QUALIFIER_NAMES: Final = sorted(
    (field.name for field in fields(Sample) if field.name not in ("code", "value", "unit", "text")), key=encode_text
)
