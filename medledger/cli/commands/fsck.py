"""`medledger fsck`: verify, and check what lies around the blocks."""

from __future__ import annotations

from pathlib import Path

import click

from .. import checking
from ..command import Command
from ..opening import reading
from ..options import json_option, ledger_argument
from ..output import emit, say


@click.command(cls=Command, examples=("medledger fsck ward.db", "medledger fsck ward.db --reindex"))
@ledger_argument()
@click.option("--reindex", is_flag=True, help="First make the indexes again from the blocks.")
@json_option
def fsck(ledger: Path, reindex: bool, as_json: bool) -> None:
    """Check LEDGER's file: SQLite's own check, every byte of every block, heads, fork proofs, and the indexes.

    For a machine that lost power or a disk that is doubted. Ends with 1 and names the first bad block.
    """
    with reading(ledger) as opened:
        if reindex:
            opened.reindex()
        report = opened.fsck()
        if as_json:
            emit({**checking.report_json(opened, report), "indexes": True})
        else:
            checking.print_report(opened, report)
            say("  The database and its indexes say what the blocks say.")
