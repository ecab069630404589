"""`medledger log`: entries by time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..command import Command
from ..entrylines import EntryPrinter
from ..naming import find_feed
from ..opening import reading
from ..options import Hex, Time, json_option, ledger_argument

if TYPE_CHECKING:
    from medledger.indexing import LoggedEntry


@click.command(
    cls=Command,
    examples=(
        "medledger log ward.db --limit 20",
        "medledger log ward.db --type reading --since 2026-11-22 --until 2026-11-23",
        "medledger log ward.db --author 'box 7' --json",
        "medledger log ward.db --void",
    ),
)
@ledger_argument()
@click.option("--type", "type_name", help="Only entries of this type.")
@click.option("--subject", type=Hex(16), help="Only what is about this subject.")
@click.option(
    "--author", metavar="MEMBER", help="Only what this member wrote: a label, a fingerprint, or a key's start."
)
@click.option("--since", type=Time(), help="Only from this time on.")
@click.option("--until", type=Time(), help="Only before this time.")
@click.option("--limit", type=click.IntRange(min=1), help="The newest so many.")
@click.option("--void", is_flag=True, help="Void entries too, with the reason why they do not count.")
@json_option
def log(
    ledger: Path,
    type_name: str | None,
    subject: bytes | None,
    author: str | None,
    since: int | None,
    until: int | None,
    limit: int | None,
    void: bool,
    as_json: bool,
) -> None:
    """List the entries of LEDGER by their time, oldest first.

    Times are ISO 8601 (UTC where no zone is named) or milliseconds, and are their authors' claims. BLOCK is what
    `medledger show` takes.
    """
    with reading(ledger) as opened:
        feed = None if author is None else find_feed(opened, author)
        newest_first = limit is not None
        found = opened.entries(
            type_name, subject=subject, since=since, until=until, author=feed, void=void, newest_first=newest_first
        )
        printer = EntryPrinter(opened.membership, as_json=as_json)
        for page in _pages(found if limit is None else reversed(list(islice(found, limit)))):
            printer.print(page)


def _pages(found: Iterable[LoggedEntry]) -> Iterator[list[LoggedEntry]]:
    entries = iter(found)
    while page := list(islice(entries, 200)):
        yield page
