"""Arguments and options that several commands share, and how their text is read.

- A time is ISO 8601, UTC where it names no zone, or a number: UTC milliseconds.
- An id, key or subject is hexadecimal. A member may also be named by its label or its fingerprint, a key or act by the
  start of its hexadecimal form.
- A request or reply is the text itself, a file that holds it, or `-` for stdin.
- Where a broker may be named, several may: the option again, or one text with blanks between them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

MAX_TEXT_BYTES: Final = 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Time(click.ParamType[int]):
    """UTC milliseconds from ISO 8601 or a number."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See the class."""
        if isinstance(value, int):
            return value
        try:
            return parse_time(value)
        except ValueError:
            self.fail(f"{value!r} is not a time: write 2026-11-22, 2026-11-22T09:30:00Z or milliseconds", param, ctx)


def parse_time(text: str) -> int:
    """The UTC milliseconds that `text` writes; `ValueError` where it writes no time."""
    if text.lstrip("-").isdecimal():
        return int(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)


class Duration(click.ParamType[int]):
    """Milliseconds from `90s`, `15min`, `4h` or `2d`."""

    name = "duration"
    UNITS: Final = {"s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See the class."""
        if isinstance(value, int):
            return value
        digits = value.rstrip("abcdefghijklmnopqrstuvwxyz ")
        unit = self.UNITS.get(value[len(digits) :].strip())
        if unit is None or not digits.isdecimal():
            self.fail(f"{value!r} is not a duration: write 90s, 15min, 4h or 2d", param, ctx)
        return int(digits) * unit


class Hex(click.ParamType[bytes]):
    """A byte string of a fixed length in hexadecimal."""

    name = "hex"

    def __init__(self, size: int) -> None:
        self._size = size

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """See the class."""
        if isinstance(value, bytes):
            return value
        try:
            found = bytes.fromhex(value)
        except ValueError:
            found = b""
        if len(found) != self._size:
            self.fail(f"{value!r} is not {2 * self._size} hexadecimal digits", param, ctx)
        return found


class Handed(click.ParamType[str]):
    """A text that people hand to each other: given as such, as a file, or on stdin."""

    name = "text"

    def __init__(self, *prefixes: str) -> None:
        self._prefixes = prefixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See the class."""
        text = str(value).strip()
        if text == "-":
            return sys.stdin.read(MAX_TEXT_BYTES).strip()
        if not text.startswith(self._prefixes) and Path(text).is_file():
            try:
                with Path(text).open(encoding="utf-8") as file:
                    return file.read(MAX_TEXT_BYTES).strip()
            except (OSError, UnicodeDecodeError) as error:
                self.fail(f"{text} cannot be read: {error}", param, ctx)
        return text


def ledger_argument(name: str = "ledger") -> Callable[[F], F]:
    """The ledger's file. Whether it is there is the store's to say."""
    return click.argument(name, metavar=name.upper(), type=click.Path(path_type=Path))


key_option = click.option(
    "--key",
    "key",
    type=click.Path(path_type=Path),
    envvar="MEDLEDGER_KEY",
    show_envvar=True,
    help="Your key file. Default: the one beside the ledger.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON, one object a line.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
roles_option = click.option("--role", "roles", multiple=True, metavar="ROLE", help="A role; give it several times.")


def brokers_option(what: str, envvar: str | None = None, *, in_reply: bool = False) -> Callable[[F], F]:
    """--broker, once or several times; the command gets one text with a blank between them, or None."""
    return click.option(
        "--broker",
        metavar="URL",
        multiple=True,
        callback=_fit_a_reply if in_reply else _read_brokers,
        envvar=envvar,
        show_envvar=envvar is not None,
        help=f"{what} Several times: brokers to try in turn.",
    )


def _read_brokers(_context: click.Context, param: click.Parameter, urls: tuple[str, ...]) -> str | None:
    if not urls:
        return None
    from medledger.errors import TransportError
    from medledger.transport import BrokerAddress

    try:
        BrokerAddress.parse_all(urls)
    except TransportError as error:
        raise click.BadParameter(f"{error}. {error.hint or ''}".strip(), param=param) from error
    return " ".join(url for each in urls for url in each.split())


def _fit_a_reply(context: click.Context, param: click.Parameter, urls: tuple[str, ...]) -> str | None:
    from medledger.limits import MAX_URL_CHARS

    text = _read_brokers(context, param, urls)
    if text is not None and len(text) > MAX_URL_CHARS:
        raise click.BadParameter(f"{len(text)} characters, where a reply holds {MAX_URL_CHARS}", param=param)
    return text
