"""What commands of governors share: saying what is about to happen, and what became of it.

On a terminal an act of governance is shown and asked about first, unless --yes: it is signed for good. Elsewhere a
script has decided already.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .output import count_text, remark, say, short, warn

if TYPE_CHECKING:
    from medledger.block import Block
    from medledger.decisions import PendingAct
    from medledger.entry import Entry
    from medledger.joining import Request
    from medledger.ledger import Ledger


def confirm(question: str, *, yes: bool) -> None:
    """Ask, on a terminal. Raises click's Abort for a no."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def describe_request(request: Request) -> None:
    """Who asks for what, on stderr, for the governor to compare with what the applicant sees."""
    from medledger.keys import fingerprint

    lines = [
        ("label", request.label or "none"),
        ("organisation", request.organisation or "none"),
        ("roles", ", ".join(request.roles) or "none"),
        ("fingerprint", fingerprint(request.feed)),
    ]
    if request.succeeds is not None:
        lines.append(("succeeds", short(request.succeeds)))
    remark("A key asks to join:")
    for name, value in lines:
        remark(f"  {name.ljust(12)}  {value}")


def outcome(ledger: Ledger, act_id: bytes) -> PendingAct | None:
    """The act where it still waits for other governors, None where it is effective."""
    return next((act for act in ledger.membership.pending if act.id == act_id), None)


def waits_for(act: PendingAct) -> str:
    """What a pending act still needs."""
    missing = count_text(act.missing or 0, "more approval")
    return f"It waits for {missing}: `medledger member approve LEDGER {short(act.id)}`."


def first_entry(block: Block) -> Entry:
    """The act in a block that we have just written: it comes before its approval."""
    from medledger.entry import decode_entry

    raw = block.body[0]
    assert isinstance(raw, bytes)  # our own block hides nothing
    return decode_entry(raw)


def report(act: PendingAct | None, done: str) -> None:
    """What became of an act."""
    say(f"{done}." if act is None else f"Proposed. {waits_for(act)}")


def report_key(ledger: Ledger, revoked: bytes) -> None:
    """What a revocation meant for the transport key."""
    membership = ledger.membership
    if revoked not in membership.cuts:
        return
    if revoked in membership.transport.leaked:
        warn("It may still hold the transport key: another governor should run `medledger key rotate`.")
    else:
        remark(
            f"What travels from now on is sealed with transport key {ledger.key_status().generation}, which it lacks."
        )
