"""Records as JSON, both ways: what `append` reads is what `log --json` writes.

- A record is an object of its type's fields, and `time` and `subject` beside them.
- An exact decimal is text ("13.50"); a JSON number is taken digit by digit, never through a float.
- A sample is an object of its fields, {"code": "8867-4", "value": "72", "unit": "/min"}, or the short form
  ["8867-4", "72", "/min"]. A result that is no number stands under "text", a missing one under "absent".
- Bytes are hexadecimal. Where a field may be bytes or text, and in types of other packages, bytes are "hex:...".
- `time` is ISO 8601 or milliseconds; `subject` is 32 hexadecimal digits.

An error names the field.
"""

from __future__ import annotations

from decimal import Decimal
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final

from medledger import strictjson
from medledger.errors import SchemaError, UsageError

if TYPE_CHECKING:
    from medledger.registry import Record

HEX: Final = "hex:"
HASHES: Final = frozenset({"raw", "config", "issue", "document"})  # fields of the built-in types that are always bytes
TIMES: Final = frozenset({"device_time", "calibrated", "at"})  # and those that are times
DECIMALS: Final = frozenset({"value", "sent_value"})  # of a sample


# --- reading ---------------------------------------------------------------------------------------------------------


def parse(text: str) -> Any:
    """JSON in which numbers with a fraction stay exact. Raises `UsageError`."""
    try:
        return strictjson.parse(text)
    except ValueError as error:
        raise UsageError(f"this is not JSON: {error}", hint="Put the whole object between single quotes.") from error


def find_type(name: str) -> type[Record]:
    """The class of a record type that may be appended. Raises `UsageError`."""
    from medledger.records import lookup, registered

    found = lookup(name)
    if found is None or found.CONTROL:
        known = ", ".join(known for known, cls in registered().items() if not cls.CONTROL)
        if found is not None:
            raise UsageError(
                f"{name} is an act of governance", hint="Use `medledger member` or `medledger governance`."
            )
        raise UsageError(f"there is no record type {name!r}", hint=f"The types are: {known}.")
    return found


def to_record(cls: type[Record], value: Any, *, subject: bytes | None = None, time: int | None = None) -> Record:
    """The record that parsed JSON describes. Raises `SchemaError`, which names the field."""
    kind = cls.TYPE
    known, needed = _fields_of(cls)
    if not isinstance(value, dict):
        if known:
            raise SchemaError(f"{kind} must be a JSON object", hint=_field_hint(cls))
        return cls.from_content(_plain(value), subject=subject, time=time)
    fields = {name: _field(kind, name, item) for name, item in value.items()}
    if not known:
        subject, time = fields.pop("subject", subject), fields.pop("time", time)
        return cls.from_content(fields, subject=subject, time=time)
    for name in fields:
        if name not in known:
            raise SchemaError(f"{kind} has no field {name!r:.40}", hint=_field_hint(cls))
    for name in needed:
        if name not in fields:
            raise SchemaError(f"{kind} lacks the field {name!r}", hint=_field_hint(cls))
    return cls(**{"subject": subject, "time": time, **fields})


def _fields_of(cls: type[Record]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The fields that a record class takes, and those it needs; nothing where it does not say."""
    parameters = signature(cls).parameters.values()
    if any(each.kind is not Parameter.KEYWORD_ONLY for each in parameters):
        return (), ()
    known = tuple(each.name for each in parameters)
    return known, tuple(each.name for each in parameters if each.default is Parameter.empty)


def _field_hint(cls: type[Record]) -> str | None:
    known, needed = _fields_of(cls)
    if not known:
        return None
    return f"Its fields: {', '.join(name if name in needed else f'[{name}]' for name in known)}."


def _field(kind: str, name: str, value: Any) -> Any:
    path = f"{kind}.{name}"
    if name == "subject":
        return None if value is None else _bytes(path, value, 16)
    if name == "time" or (kind in _BUILT_IN and name in TIMES):
        return None if value is None else _time(path, value)
    if kind not in _BUILT_IN:
        return _plain(value)
    if name in HASHES and value is not None:
        return _bytes(path, value, 32)
    if name == "samples":
        if not isinstance(value, list):
            raise SchemaError(f"{path} must be a list of samples")
        return [_sample(f"{path}[{at}]", sample) for at, sample in enumerate(value)]
    if name == "quantity":
        return _decimal(path, value)
    return _plain(value)


_BUILT_IN: Final = frozenset(
    {
        *("reading", "association", "device.status", "cadence"),
        *("dispense", "dispense.return", "prescription", "recall", "stock"),
    }
)


def _sample(path: str, value: Any) -> Any:
    from medledger.samples import Sample

    if isinstance(value, list) and len(value) == 3:
        code, number, unit = value
        return Sample(code, _decimal(f"{path}[1]", number), unit)
    if not isinstance(value, dict):
        raise SchemaError(f'{path} must be a sample, as in ["8867-4", "72", "/min"] or {{"code": "8867-4", ...}}')
    unknown = [name for name in value if name not in Sample.__slots__]
    if unknown:
        raise SchemaError(f"{path} has no field {unknown[0]!r:.40}", hint=f"Its fields: {', '.join(Sample.__slots__)}.")
    given: dict[str, Any] = {
        name: _decimal(f"{path}.{name}", item) if name in DECIMALS and item is not None else item
        for name, item in value.items()
    }
    return Sample(**{"code": None, **given})


def _decimal(path: str, value: Any) -> tuple[int, int]:
    from medledger.decimals import to_exact

    try:
        return to_exact(value)
    except SchemaError as error:
        hint = (
            'A result that is no number goes under "text", a missing one under "absent".' if "sample" in path else None
        )
        raise SchemaError(f"{path}: {error}", hint=hint) from error


def _bytes(path: str, value: Any, size: int) -> bytes:
    try:
        found = bytes.fromhex(value.removeprefix(HEX))
    except (ValueError, AttributeError):
        found = b""
    if len(found) != size:
        raise SchemaError(f"{path} must be {2 * size} hexadecimal digits")
    return found


def _time(path: str, value: Any) -> int:
    from .options import parse_time

    if type(value) is int:
        return value
    try:
        return parse_time(value)
    except (ValueError, TypeError, AttributeError):
        raise SchemaError(f"{path} must be a time, ISO 8601 or milliseconds") from None


def _plain(value: Any) -> Any:
    """A value of a field with no form of its own: fractions become pairs, "hex:..." bytes."""
    if isinstance(value, Decimal):
        return list(_decimal("the number", value))
    if isinstance(value, str) and value.startswith(HEX):
        try:
            return bytes.fromhex(value.removeprefix(HEX))
        except ValueError:
            return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


# --- writing ---------------------------------------------------------------------------------------------------------


def to_json(type_name: str, content: Any) -> Any:
    """An entry's content as JSON. Content that is not what its type says is shown as the ledger holds it."""
    prefix = "" if type_name in _BUILT_IN or type_name.startswith("gov.") else HEX
    if type_name in _BUILT_IN:
        try:
            return {name: _shown_field(name, value) for name, value in content.items()}
        except (TypeError, ValueError, LookupError, AttributeError):
            pass  # a void entry may hold anything
    return _shown(content, prefix)


def _shown_field(name: str, value: Any) -> Any:
    from medledger.decimals import format_decimal

    from .output import time_json

    if name == "samples":
        return [_shown_sample(sample) for sample in value]
    if name == "quantity":
        return format_decimal(value)
    if name in TIMES:
        return time_json(value)
    return _shown(value, "" if name in HASHES else HEX)


def _shown_sample(content: Any) -> dict[str, Any]:
    from medledger.decimals import format_decimal

    code, value, unit, *qualifiers = content
    shown: dict[str, Any] = {"code": code}
    if isinstance(value, str):
        shown["text"] = value
    elif value is not None:
        shown["value"] = format_decimal(value)
    if unit is not None:
        shown["unit"] = unit
    for name, item in (qualifiers[0] if qualifiers else {}).items():
        shown[name] = format_decimal(item) if name == "sent_value" else _shown(item)
    return shown


def _shown(value: Any, prefix: str = HEX) -> Any:
    if isinstance(value, bytes):
        return prefix + value.hex()
    if isinstance(value, list | tuple):
        return [_shown(item, prefix) for item in value]
    if isinstance(value, dict):
        return {str(name): _shown(item, prefix) for name, item in value.items()}
    return value
