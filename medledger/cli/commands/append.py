"""`medledger append`: records from JSON into blocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medledger.errors import UsageError

from .. import recordjson
from ..command import Command
from ..opening import signing
from ..options import Hex, Time, json_option, key_option, ledger_argument
from ..output import count_text, emit, say, short, time_text

if TYPE_CHECKING:
    from medledger.block import Block
    from medledger.registry import Record


@click.command(
    cls=Command,
    examples=(
        'medledger append ward.db reading \'{"device": "MON-7", "samples": [["8867-4", "72", "/min"]]}\'',
        "medledger append ward.db dispense - < dispense.json",
        "vitals | medledger append ward.db reading - --lines",
    ),
)
@ledger_argument()
@click.argument("type_name", metavar="TYPE")
@click.argument("json_text", metavar="JSON|-")
@click.option("--subject", type=Hex(16), help="Whom the records are about: a 16-byte pseudonym in hexadecimal.")
@click.option("--time", type=Time(), help="When it happened. Default: now.")
@click.option("--lines", is_flag=True, help="A record a line; each becomes a block of its own at once.")
@key_option
@json_option
def append(
    ledger: Path,
    type_name: str,
    json_text: str,
    subject: bytes | None,
    time: int | None,
    lines: bool,
    key: Path | None,
    as_json: bool,
) -> None:
    """Write records of one TYPE to LEDGER: reading, dispense, association, device.status, or a type of a package.

    JSON is an object, or a list of objects that become one block; - reads it from stdin. A value is written as it was
    measured: "13.50" stays 13.50. What is printed is durable.
    """
    cls = recordjson.find_type(type_name)
    if lines and json_text != "-":
        raise UsageError("--lines reads from stdin", hint="Give - instead of the JSON.")
    batches = _lines() if lines else iter([_value(json_text)])
    if not lines:  # a mistake in the record is said before a passphrase is asked for
        batches = iter([_records(cls, value, subject, time) for value in batches])
        with signing(ledger, key) as opened:
            for records in batches:
                _report(opened.append(*records), as_json)
        return
    with signing(ledger, key) as opened:
        for value in batches:
            _report(opened.append(*_records(cls, value, subject, time)), as_json)


def _value(text: str) -> Any:
    return recordjson.parse(sys.stdin.read() if text == "-" else text)


def _lines() -> Iterator[Any]:
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            try:
                yield recordjson.parse(line)
            except UsageError as error:
                raise UsageError(f"line {number}: {error}", hint="The lines before it are written.") from error


def _records(cls: type[Record], value: Any, subject: bytes | None, time: int | None) -> list[Record]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UsageError("the list of records is empty")
    return [recordjson.to_record(cls, each, subject=subject, time=time) for each in values]


def _report(block: Block, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "feed": block.author.hex(),
                "seq": block.seq,
                "block": block.id.hex(),
                "time": time_text(block.time),
                "entries": block.header.entries_count,
            }
        )
    else:
        entries = count_text(block.header.entries_count, "entry", "entries")
        say(f"{short(block.author)}/{block.seq}  {entries}, block {block.id.hex()[:16]}")
