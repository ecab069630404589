"""The registry of record types: what a record is, and how others add their own.

Rules:

- A record class knows its type name, whether it is governance (CONTROL, block class 0) and the schema of its content.
  `to_content()` gives the content for an entry, `from_content()` the record back.
- `subject` (a 16-byte pseudonym) and `time` (UTC milliseconds; None means "when appended") are parts of the entry
  around the content, not of the content.
- `register` opens the registry to an embedder; `lookup` of an unknown type also asks the entry points of the group
  `medledger.records`, each of them a record class. A type that is taken cannot be replaced.
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

from .cbor import encode, encode_text
from .entry import CONTENT_DEPTH
from .errors import MedledgerError, UsageError
from .limits import MAX_TYPE_CHARS
from .schema import Bytes, Int, Nullable, Validator

SUBJECT: Final = Nullable(Bytes(16))
TIME: Final = Nullable(Int())
_AROUND: Final = frozenset(("subject", "time", "encoded"))
"""Fields of a record that are not fields of its content."""


class Record(Protocol):
    """What the ledger needs of a record; any class of this shape can be registered."""

    TYPE: ClassVar[str]
    CONTROL: ClassVar[bool]
    SCHEMA: ClassVar[Validator]

    @property
    def subject(self) -> bytes | None: ...
    @property
    def time(self) -> int | None: ...
    def to_content(self) -> Any: ...
    @classmethod
    def from_content(cls, content: Any, *, subject: bytes | None = None, time: int | None = None) -> Self: ...


R = TypeVar("R", bound=type[Record])
_registry: dict[str, type[Record]] = {}


def register(cls: R) -> R:
    """Adds a record class under its TYPE; use as a decorator. Raises UsageError when the type is taken."""
    if not 1 <= len(cls.TYPE) <= MAX_TYPE_CHARS or not isinstance(cls.SCHEMA, Validator):
        raise UsageError(f"{cls.__name__} is not a record class: TYPE must be a short name and SCHEMA a Validator")
    if _registry.setdefault(cls.TYPE, cls) is not cls:
        raise UsageError(f"the record type {cls.TYPE!r} is registered already, by {_registry[cls.TYPE].__qualname__}")
    return cls


def lookup(type_name: str) -> type[Record] | None:
    """The class of a record type, or None: then an entry of it is kept and relayed, and marked void."""
    found = _registry.get(type_name)
    if found is None and _load_entry_points():
        found = _registry.get(type_name)
    return found


def registered() -> dict[str, type[Record]]:
    """Every known record type, installed extensions included."""
    _load_entry_points()
    return dict(sorted(_registry.items()))


@lru_cache(maxsize=1)
def _load_entry_points() -> bool:
    """Registers what installed packages offer, once; an offer that cannot be loaded is the caller's to know about."""
    from importlib.metadata import entry_points  # late: few replicas meet a type that is not known, and it is slow

    for point in entry_points(group="medledger.records"):
        try:
            register(point.load())
        except MedledgerError:
            raise
        except Exception as error:  # an extension's import may fail in any way, and must not leave our family
            message = f"the record type {point.name!r} of an installed package cannot be loaded: {error}"
            raise UsageError(message) from error
    return True


class RecordBase:
    """Checks on construction, and content as a map of the fields that are not None."""

    __slots__ = ()

    TYPE: ClassVar[str]
    CONTROL: ClassVar[bool] = False
    SCHEMA: ClassVar[Validator]
    NAMES: ClassVar[tuple[str, ...]]  # content fields, in order of declaration; set by @record
    ENCODED: ClassVar[tuple[str, ...]]  # the same, in the order in which a map's keys are encoded
    subject: bytes | None
    time: int | None

    def to_content(self) -> Any:
        """The content of this record's entry, its fields in the order of their encoding."""
        content = {}
        for name in self.ENCODED:
            value = getattr(self, name)
            if value is not None:
                content[name] = value
        return content

    @classmethod
    def from_content(cls, content: Any, *, subject: bytes | None = None, time: int | None = None) -> Self:
        """The record that `content` describes; SchemaError when it does not conform."""
        cls.SCHEMA.check(content)
        return cls(**content, subject=subject, time=time)  # type: ignore[call-arg]  # the dataclass below has these

    def check(self) -> bytes:
        """What the content is encoded as. Raises `SchemaError`."""
        encoded = self.SCHEMA.check(self.to_content(), self.TYPE)
        SUBJECT.check(self.subject, "subject")
        TIME.check(self.time, "time")
        return encoded


def encoding_of(record: Record) -> bytes:
    """What a record's content is encoded as; a record may know it as `encoded`, since it was checked by encoding it."""
    encoded = getattr(record, "encoded", None)
    return encode(record.to_content(), room=CONTENT_DEPTH) if encoded is None else encoded


def record(cls: R) -> R:
    """Registers a record class built on RecordBase and notes the names of its content fields."""
    names = tuple(field.name for field in fields(cls) if field.name not in _AROUND)  # type: ignore[arg-type]
    cls.NAMES = names  # type: ignore[attr-defined]
    cls.ENCODED = tuple(sorted(names, key=encode_text))  # type: ignore[attr-defined]
    return register(cls)
