"""What people and programs see: tables, JSON lines, times, colours, progress.

Text from the ledger may be anybody's, and of a void entry anything at all: nothing of it reaches the terminal but
printable characters. Where a terminal's or a file's encoding lacks some of these, they are replaced by as many as keep
columns aligned; JSON has them escaped.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LENIENT: Final = "medledger"
"""The error handler of `codecs` under which no character is an error."""

_PLAIN: Final = {"\u202f": " ", "…": "~"}
_INVISIBLE: Final = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def say(text: str = "") -> None:
    """A line of what was asked for."""
    click.echo(text)


def remark(text: str) -> None:
    """A remark beside it: stderr."""
    click.echo(text, err=True)


def warn(text: str, hint: str = "") -> None:
    """A remark that wants attention, and what to do about it under it."""
    remark(f"{style('Warning:', fg='yellow', bold=True)} {text}")
    if hint:
        remark(f"         {hint}")


def style(text: str, **how: Any) -> str:
    """Colour for a terminal; `click.echo` drops it elsewhere, and NO_COLOR everywhere."""
    return text if "NO_COLOR" in os.environ else click.style(text, **how)


def emit(value: object) -> None:
    """One JSON value on one line, for programs."""
    click.echo(json_text(value))


def json_text(value: object, indent: int | None = None) -> str:
    """JSON in which characters that no terminal should see, or that stdout cannot hold, are escaped."""
    plain = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
    text = json.dumps(value, ensure_ascii=plain, indent=indent)
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable(text: str) -> str:
    """The text with every character that is not visible replaced."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def lenient() -> None:
    """From now on no character is an error on stdout or stderr, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=LENIENT)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """Something in as many cells for what an encoding lacks (an error handler of `codecs`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    wide = (1 + (unicodedata.east_asian_width(char) in "WF") for char in lacking)
    return "".join(_PLAIN.get(char) or "?" * cells for char, cells in zip(lacking, wide, strict=True)), error.end


codecs.register_error(LENIENT, _replaced)


def time_text(milliseconds: int) -> str:
    """ISO 8601 in UTC; a time that no calendar has is shown as its number."""
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{moment.microsecond // 1000:03d}Z"


def time_json(milliseconds: int) -> str | int:
    """A time for programs: ISO 8601 in UTC, or the number itself where no calendar has it."""
    text = time_text(milliseconds)
    return text if text.endswith("Z") else milliseconds


def duration_text(milliseconds: int) -> str:
    """A length of time in its two largest units."""
    seconds = milliseconds // 1000
    for unit, name, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= unit:
            rest = seconds % unit // smaller
            return f"{seconds // unit} {name} {rest} {small}" if rest else f"{seconds // unit} {name}"
    return f"{seconds} s"


def size_text(count: int) -> str:
    """A number of bytes."""
    size = float(count)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def count_text(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 1 block, 2 blocks."""
    return f"{number_text(count)} {noun if count == 1 else plural or noun + 's'}"


def number_text(count: int) -> str:
    """A number with its thousands apart: 1 000 000 (narrow spaces)."""
    return f"{count:,}".replace(",", "\u202f")


def short(identifier: bytes) -> str:
    """The start of a key or id, enough to tell few apart and to give back to a command."""
    return identifier[:4].hex()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    heading, *lines = table_lines(headings, rows)
    say(style(heading, bold=True))
    for line in lines:
        say(line)


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns with two spaces between; numbers stand to the right."""
    from .cells import width

    widths = [max([width(heading), *(width(row[at]) for row in rows)]) for at, heading in enumerate(headings)]
    right = [all(row[at].replace("\u202f", "").isdigit() for row in rows) for at in range(len(headings))]
    return [_line(row, widths, right) for row in (headings, *rows)]


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    from .cells import fit

    aligned = [fit(cell, cells, right=to_right) for cell, cells, to_right in zip(row, widths, right, strict=True)]
    return "  ".join(aligned).rstrip()


def facts(pairs: Sequence[tuple[str, str]], indent: str = "") -> None:
    """Names and values on stdout."""
    for line in fact_lines(pairs):
        say(f"{indent}{line}")


def fact_lines(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names and values, aligned; a name that comes again is written once."""
    widest = max(len(name) for name, _ in pairs)
    lines = []
    before = None
    for name, value in pairs:
        lines.append(f"{'' if name == before else name:{widest}}  {value}".rstrip())
        before = name
    return lines


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's stderr; called with how many are done. Elsewhere nothing is shown."""
    if not sys.stderr.isatty() or total == 0:
        yield lambda _: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True) as bar:
        yield lambda done: bar.update(done - bar.pos)


class LiveLine:
    """One line of stderr that is written over and over, on a terminal; elsewhere nothing."""

    def __init__(self) -> None:
        self._shown = False
        self._on = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Replace what stands there; what does not fit the terminal is cut off, since a line that wraps stays."""
        if self._on:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            click.echo(f"\r\x1b[K{text[: columns - 1] if columns else text}", err=True, nl=False)
            self._shown = True

    def clear(self) -> None:
        """Make room for other output."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._shown = False
