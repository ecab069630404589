"""`medledger show`: one block with all that it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medledger.errors import UsageError

from ..command import Command
from ..naming import find_feed
from ..opening import reading
from ..options import json_option, ledger_argument
from ..output import emit

if TYPE_CHECKING:
    from medledger.block import Block
    from medledger.ledger import Ledger

MIN_ID_DIGITS = 16


@click.command(
    cls=Command,
    examples=(
        "medledger show ward.db 5f3a91c2/12            as `medledger log` prints it",
        "medledger show ward.db 'box 7' 12             a member and a number",
        "medledger show ward.db 9b1fe0c4d2a87733       the start of a block's id",
    ),
)
@ledger_argument()
@click.argument("what", metavar="BLOCK|MEMBER")
@click.argument("seq", required=False, type=click.IntRange(min=0))
@json_option
def show(ledger: Path, what: str, seq: int | None, as_json: bool) -> None:
    """Show one block of LEDGER: its header, and each entry in full.

    Name it as MEMBER SEQ, as MEMBER/SEQ, or by at least 16 digits of its id.
    """
    from ..blockview import block_json, print_block

    with reading(ledger) as opened:
        block = _find(opened, what, seq)
        if as_json:
            emit(block_json(opened, block))
        else:
            print_block(opened, block)


def _find(ledger: Ledger, what: str, seq: int | None) -> Block:
    member, slash, number = what.rpartition("/")
    if seq is None and slash and number.isdecimal():
        what, seq = member, int(number)
    if seq is not None:
        feed = find_feed(ledger, what)
        return _there(ledger.block(feed, seq), f"block {seq} of {what}")
    digits: Any = what.lower()
    try:
        found = bytes.fromhex(digits[: len(digits) // 2 * 2])
    except ValueError:
        found = b""
    if len(digits) < MIN_ID_DIGITS or not found:
        raise UsageError(
            f"{what!r} names no block", hint="Give a member and a number (5f3a91c2/12), or 16 digits or more of an id."
        )
    return _there(ledger.find_block(found), f"a block whose id starts with {digits}")


def _there(block: Block | None, name: str) -> Block:
    if block is None:
        raise UsageError(
            f"this replica does not hold {name}",
            hint="Look with `medledger log`; what is not here may come with a sync.",
        )
    return block
