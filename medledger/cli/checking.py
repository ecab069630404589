"""Verification with its progress and its outcome, shared by `verify`, `fsck` and `audit`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .describe import Names
from .output import count_text, facts, number_text, progress, say, size_text, style, warn

if TYPE_CHECKING:
    from medledger.audit import VerifyReport
    from medledger.ledger import Ledger


def total_blocks(ledger: Ledger) -> int:
    """How many blocks there are to verify."""
    return sum(head.seq + 1 for head in ledger.frontier().values())


def run_verify(ledger: Ledger, *, every_signature: bool, processes: int) -> tuple[VerifyReport, float]:
    """Verify with a progress bar; the report, and how many seconds it took. Raises `CorruptError`."""
    started = time.monotonic()
    with progress("Verifying", total_blocks(ledger)) as advance:
        report = ledger.verify(every_signature=every_signature, processes=processes, progress=advance)
    return report, time.monotonic() - started


def report_json(ledger: Ledger, report: VerifyReport) -> dict[str, Any]:
    """What was verified, for programs."""
    return {
        "ledger_id": ledger.id.hex(),
        "name": ledger.name,
        "verified": True,
        "feeds": report.feeds,
        "blocks": report.blocks,
        "entries": report.entries,
        "hidden": report.hidden,
        "bytes": report.size_bytes,
        "own_signatures": report.own_signatures,
        "through_successor": [[feed.hex(), seq] for feed, seq in report.through_successor],
        "forks": [feed.hex() for feed in report.forks],
        "disputed": report.disputed,
        "digest": ledger.digest().hex(),
    }


def print_report(ledger: Ledger, report: VerifyReport, seconds: float | None = None) -> None:
    """What was verified, for people."""
    names = Names(ledger.membership)
    say(f"{style('Verified.', fg='green', bold=True)} {ledger.name}, every stored byte.")
    took = "" if seconds is None else f", in {seconds:.1f} s"
    lines = [
        ("ledger id", ledger.id.hex()),
        ("blocks", f"{number_text(report.blocks)} of {count_text(report.feeds, 'feed')}{took}"),
        ("entries", number_text(report.entries)),
        ("size", size_text(report.size_bytes)),
        ("signatures", signatures_text(report)),
        ("digest", ledger.digest().hex()),
    ]
    if report.hidden:
        lines.insert(3, ("hidden", f"{count_text(report.hidden, 'entry', 'entries')} erased or withheld, by hash only"))
    facts(lines, indent="  ")
    for feed in report.forks:
        warn(f"{names.both(feed)} signed two histories: it forked at block {ledger.forks[feed].seq}.")
    if report.disputed:
        warn(f"{count_text(report.disputed, 'block')} kept as evidence, beyond a fork or a revocation.")


def signatures_text(report: VerifyReport) -> str:
    """Which signatures were checked."""
    if report.own_signatures is None:
        return "one a segment of at most 64 blocks; each holds for all before it"
    if not report.through_successor:
        return f"each block's own ({count_text(report.own_signatures, 'signature')})"
    return (
        f"each block's own: {count_text(report.own_signatures, 'holds', 'hold')}, "
        f"{len(report.through_successor)} only through a later block's"
    )
