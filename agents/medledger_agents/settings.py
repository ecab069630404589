"""The kinds of values a configuration file may hold, and the reader that holds a file to them.

Rules:

- A section is a frozen dataclass. Each field is `Annotated` with a `Key`, which says what the key may hold and what it
  is for; its default is what holds when it is left out. Files, errors and the sample are all made from that.
- A key or section that is not declared is refused by name, and the nearest declared one is named. So is a value that is
  not of its kind. Nothing is silently ignored, and nothing is guessed: "5" is not 5.
- File names are taken relative to the configuration file, so that a box's directory can be moved as a whole. One that
  begins with `$CREDENTIALS_DIRECTORY/` is a credential that systemd hands over (LoadCredential=, systemd.exec(5)).
- A key that is `live` may change while the agent runs, on SIGHUP; any other needs a restart (see reload.py).
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap
from typing import Any, Final, Protocol, TypeVar, get_type_hints

from medledger.errors import ConfigurationError, MedledgerError

MAX_FILE_BYTES: Final = 64 * 1024
MAX_SECRET_BYTES: Final = 4096
MAX_TABLE: Final = 64
SAMPLE: Final = "Compare it with one that is right: `medledger agent bedside --sample`, or `pharmacy --sample`."
BLANK: Final = b" \t\r\n\0"
"""What a save leaves that a power cut has cut short: nothing, or zeros."""

RESTORE: Final = (
    "Restore it; or remove it, and run `medledger agent setup`: it writes a new one, and keeps key and ledger."
)
CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts a unit's credentials, in the environment."""

T = TypeVar("T")


class Kind(Protocol):
    """What a key may hold. `allowed` finishes the sentence "must be ..."."""

    @property
    def allowed(self) -> str: ...

    def read(self, value: Any, base: Path) -> Any:
        """The value as the program uses it, None where it is not of this kind.

        A kind whose values are not for everybody's eyes raises a `MedledgerError` instead, which does not show them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, value: Any, base: Path) -> int | None:  # noqa: ARG002 - the protocol's
        return value if type(value) is int and self.low <= value <= self.high else None


@dataclass(frozen=True, slots=True)
class Seconds:
    """A time span within bounds; a fraction is fine."""

    low: float
    high: float

    @property
    def allowed(self) -> str:
        return f"a number of seconds from {self.low:g} to {self.high:g}"

    def read(self, value: Any, base: Path) -> float | None:  # noqa: ARG002 - the protocol's
        return float(value) if type(value) in (int, float) and self.low <= value <= self.high else None


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    allowed: str = "true or false"

    def read(self, value: Any, base: Path) -> bool | None:  # noqa: ARG002 - the protocol's
        return value if type(value) is bool else None


@dataclass(frozen=True, slots=True)
class Words:
    """A text that is not empty, or one of a few."""

    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        return " or ".join(map(json.dumps, self.choices)) if self.choices else "a text that is not empty"

    def read(self, value: Any, base: Path) -> str | None:  # noqa: ARG002 - the protocol's
        return value if type(value) is str and value.strip() and (not self.choices or value in self.choices) else None


@dataclass(frozen=True, slots=True)
class FileName:
    """The name of a file."""

    allowed: str = "the name of a file"

    def read(self, value: Any, base: Path) -> Path | None:
        if type(value) is not str or not value.strip() or "\0" in value:
            return None
        credential = value.removeprefix(f"${CREDENTIALS}/")
        if credential == value:
            return base / value
        place = os.environ.get(CREDENTIALS)
        if place is None:
            raise ConfigurationError(
                f"the credential {credential!r} is not there: ${CREDENTIALS} is not set",
                hint=f"Let systemd start the agent with LoadCredential={credential}:..., or name a file.",
            )
        return Path(place) / credential


@dataclass(frozen=True, slots=True)
class Dates:
    """A table from names of devices to days."""

    allowed: str = 'a table from devices to dates, such as { "MON-7" = 2026-05-01 }'

    def read(self, value: Any, base: Path) -> dict[str, date] | None:  # noqa: ARG002 - the protocol's
        if type(value) is not dict or len(value) > MAX_TABLE:
            return None
        found = {name: _day(given) for name, given in value.items() if 0 < len(name) <= 64 and name.isprintable()}
        days = {name: day for name, day in found.items() if day is not None}
        return days if len(days) == len(value) else None


def _day(given: Any) -> date | None:
    if type(given) is date:
        return given
    try:
        return date.fromisoformat(given) if type(given) is str else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Brokers:
    """The address of a broker, or several; people put passwords into them."""

    allowed: str = "an address, mqtt:// or mqtts://, or an array of them"

    def read(self, value: Any, base: Path) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        urls = value if type(value) is list else [value]
        if not all(type(url) is str for url in urls):
            raise ConfigurationError(f"must be {self.allowed}", hint='As in: "mqtts://broker.example:8883"')
        from medledger.transport import BrokerAddress  # brings paho, which a box without a broker does without

        BrokerAddress.parse_all(urls)
        return tuple(url for each in urls for url in each.split())


@dataclass(frozen=True, slots=True)
class Key:
    """What a key may hold and is for. `example` is what a sample shows, commented out, where there is no default.

    `live`: whether it may change while the agent runs.
    """

    kind: Kind
    doc: str
    example: str | None = None
    live: bool = False


def keys_of(section: type[Any]) -> dict[str, tuple[Key, Any]]:
    """Each key of a section, with its default."""
    hints = get_type_hints(section, include_extras=True)
    return {each.name: (hints[each.name].__metadata__[0], each.default) for each in fields(section)}


def load(path: Path, config: type[T]) -> T:
    """The configuration in the file at `path`: `config` is a dataclass of sections. Raises `ConfigurationError`."""
    return read(document(path), config, path)


def document(path: Path) -> dict[str, Any]:
    """The TOML in the file at `path`, whatever sections it has. Raises `ConfigurationError`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            f"the configuration {path} cannot be read: {error.strerror}", hint="Name the file with --config."
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigurationError(f"the configuration {path} is longer than {MAX_FILE_BYTES} bytes", hint=SAMPLE)
    if not raw.strip(BLANK):  # every key at its default would be another box
        raise ConfigurationError(f"the configuration {path} is empty, as after a save that was cut short", hint=RESTORE)
    try:
        return tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:  # also a number of 5,000 digits, and brackets without end
        raise ConfigurationError(f"the configuration {path} is not TOML: {error}", hint=SAMPLE) from error


def read(document: Mapping[str, Any], config: type[T], path: Path) -> T:
    """The same from parsed TOML; `path` is where file names start from."""
    sections = {each.name: each for each in fields(config)}  # type: ignore[arg-type]  # a dataclass, as load says
    for name, value in document.items():
        if name not in sections:
            raise _unknown(path, f"section [{name}]", name, sections)
        if not isinstance(value, dict):
            raise ConfigurationError(
                f"{path}: [{name}] is a section of keys, not a value",
                hint=f"Write [{name}] on a line of its own, and its keys under it.",
            )
    return config(**{name: _section(document.get(name, {}), each, path) for name, each in sections.items()})


def _section(document: Mapping[str, Any], declared: Field[Any], path: Path) -> Any:
    section = section_of(declared)
    known = keys_of(section)
    values = {name: path.parent / default for name, (_, default) in known.items() if isinstance(default, Path)}
    for name, value in document.items():
        if name not in known:
            raise _unknown(path, f"key {name!r} in [{declared.name}]", name, known)
        kind = known[name][0].kind
        try:
            found = kind.read(value, path.parent)
        except MedledgerError as error:
            raise ConfigurationError(f"{path}: {name} in [{declared.name}]: {error}", hint=error.hint) from error
        if found is None:
            shown = json.dumps(value, default=str)
            raise ConfigurationError(
                f"{path}: {name} in [{declared.name}] must be {kind.allowed}, not {shown}",
                hint=f"What it is for: {known[name][0].doc}",
            )
        values[name] = found
    return section(**values)


def _unknown(path: Path, what: str, name: str, known: Mapping[str, Any]) -> ConfigurationError:
    near = get_close_matches(name, known, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return ConfigurationError(f"{path}: there is no {what}", hint=f"{hint}Allowed are: {', '.join(known)}.")


def first_line(path: Path | None, key: str) -> str | None:
    """The first line of a file that holds a secret; None where none is named. Raises `ConfigurationError`.

    `key` is what would name it. Zeros, which a power cut may leave, are no secret.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            found = file.readline(MAX_SECRET_BYTES + 1).decode().rstrip("\r\n\0")
    except OSError as error:
        raise ConfigurationError(f"the file {path} cannot be read: {error}", hint=f"Check {key}.") from error
    except UnicodeDecodeError:  # whose text would quote the secret
        raise ConfigurationError(f"the file {path} is not UTF-8 text", hint=f"Check {key}.") from None
    if not found or len(found) > MAX_SECRET_BYTES:
        what = "is longer than a secret" if found else "begins with an empty line, or is empty"
        raise ConfigurationError(f"the file {path} {what}", hint=f"Its first line is what {key} is read from.")
    return found


def section_of(declared: Field[Any]) -> type[Any]:
    """The dataclass of a section: its field is declared with it as the default factory."""
    assert declared.default_factory is not MISSING  # how sections are declared
    assert isinstance(declared.default_factory, type)
    return declared.default_factory


def sample(config: type[Any]) -> str:
    """A file with every key, what it is for, what it may hold, and its default."""
    lines = [f"# {line}" for line in wrap(" ".join((config.__doc__ or "").split()), 98)]
    lines += [
        "#",
        "# Every key is shown with its default, or commented out where it has none. Keys marked live change on",
    ]
    lines += ["# reload (SIGHUP); the others need a restart.", ""]
    for declared in fields(config):
        section = section_of(declared)
        lines += [f"# --- {(section.__doc__ or '').strip()}", f"[{declared.name}]"]
        for name, (key, default) in keys_of(section).items():
            lines += [f"# {line}" for line in wrap(f"{key.doc} ({key.kind.allowed}{'; live' if key.live else ''})", 98)]
            shown = key.example if default is None else str(default) if isinstance(default, Path) else default
            lines.append(f"{'#' if default is None else ''}{name} = {_toml(shown)}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _toml(value: Any) -> str:
    """A value as TOML writes it: as JSON does, but for tables."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value)
