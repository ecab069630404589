"""`medledger backup`: a copy of the file for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from ..command import Command
from ..opening import reading
from ..options import json_option, ledger_argument
from ..output import emit, say, size_text


@click.command(cls=Command, examples=("medledger backup ward.db copy.db",))
@ledger_argument()
@click.argument("target", metavar="COPY", type=click.Path(path_type=Path))
@json_option
def backup(ledger: Path, target: Path, as_json: bool) -> None:
    """Copy LEDGER to the new file COPY, for Datasette, sqlite-utils and other readers.

    The key is not in it. Do not go on writing from a copy: the witness beside the key would notice, and refuse to sign.
    """
    with reading(ledger) as opened:
        opened.backup(target)
        digest = opened.digest().hex()
    size = target.stat().st_size
    if as_json:
        emit({"copy": str(target), "bytes": size, "digest": digest})
    else:
        say(f"Copied to {target}, {size_text(size)}.")
