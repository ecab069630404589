"""`medledger verify`: check every stored byte again."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .. import checking
from ..command import Command
from ..opening import reading
from ..options import json_option, ledger_argument
from ..output import emit

every_signature_option = click.option(
    "--every-signature",
    is_flag=True,
    help="Check each block's own signature, and name those that hold only by a later one.",
)
processes_option = click.option(
    "--processes",
    type=click.IntRange(min=1, max=256),
    default=lambda: os.cpu_count() or 1,
    show_default="all cores",
    help="Processes that check signatures, with --every-signature.",
)


@click.command(
    cls=Command,
    examples=("medledger verify ward.db", "medledger verify ward.db --every-signature --processes 2 --json"),
)
@ledger_argument()
@every_signature_option
@processes_option
@json_option
def verify(ledger: Path, every_signature: bool, processes: int, as_json: bool) -> None:
    """Verify LEDGER from its bytes: every chain, Merkle root and payload, and the signatures that vouch for them.

    Ends with 1 at the first block that does not verify, and names it. The digest at the end is the same on every
    replica that holds the same.
    """
    with reading(ledger) as opened:
        report, seconds = checking.run_verify(opened, every_signature=every_signature, processes=processes)
        if as_json:
            emit(checking.report_json(opened, report))
        else:
            checking.print_report(opened, report, seconds)
