"""Bundles on the command line: where one is read from, how far it has come, and what a verified one holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from medledger.errors import StoreError

from .output import LiveLine, count_text, facts, number_text, say, short, size_text, style, warn
from .rate import Rate, rate_text, time_left_text

if TYPE_CHECKING:
    from medledger.bundle import BundleReport, Notify, Progress, Source

WEB: Final = ("http://", "https://")
MAX_SHOWN: Final = 20
SHOW_SECONDS: Final = 0.1


@contextmanager
def opened(text: str) -> Iterator[Source]:
    """The bundle in a file, a directory, or below the address of a web server."""
    if text.lower().startswith(WEB):
        from medledger.transport.http_bundle import HttpBundle

        yield HttpBundle(text)
        return
    from medledger.bundle import open_bundle

    with open_bundle(text) as source:
        yield source


@contextmanager
def progress_line(label: str) -> Iterator[Notify]:
    """Shows how far it has come, how fast it goes and how long it will take, on a terminal."""
    line = LiveLine()
    rate = Rate()
    shown = 0.0

    def notify(progress: Progress) -> None:
        nonlocal shown
        now = time.monotonic()
        rate.add(now, progress.blocks - progress.kept_blocks, progress.bytes - progress.kept_bytes)
        if now - shown >= SHOW_SECONDS:
            shown = now
            line.show(f"{label}: {progress_text(progress, rate)}")

    try:
        yield notify
    finally:
        line.clear()


def progress_text(progress: Progress, rate: Rate) -> str:
    """One line of it. Where the bytes that are to come are known they tell the time that is left, else the blocks."""
    blocks = f"{number_text(progress.blocks)} of {count_text(progress.total_blocks, 'block')}"
    if progress.total_bytes is None:
        left = time_left_text(progress.total_blocks - progress.blocks, rate.blocks)
        return f"{blocks}, {rate_text(rate)}{left}"
    left = time_left_text(progress.total_bytes - progress.bytes, rate.bytes)
    return f"{blocks}, {size_text(progress.bytes)} of {size_text(progress.total_bytes)}, {rate_text(rate)}{left}"


def size_on_disk(path: Path) -> int:
    """The size of a file that was just written."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error


def report_json(text: str, report: BundleReport, *, ledger_checked: bool) -> dict[str, Any]:
    """What a verified bundle holds, for programs."""
    return {
        "bundle": text,
        "ledger_id": report.genesis.ledger_id.hex(),
        "ledger_checked": ledger_checked,
        "name": report.genesis.name,
        "founder": report.genesis.founder.hex(),
        "consistent": not report.problems,
        "members": report.members,
        "revoked": report.revoked,
        "feeds": report.feeds,
        "blocks": report.blocks,
        "branches": report.branches,
        "hidden": report.hidden,
        "segments": len(report.manifest.segments),
        "bytes": report.manifest.size_bytes,
        "forks": [feed.hex() for feed in report.forks],
        "own_signatures": report.through_successor is not None,
        "through_successor": [[feed.hex(), seq] for feed, seq in report.through_successor or ()],
        "digest": report.digest.hex(),
        "problems": [
            {"what": problem.what, "feed": None if problem.feed is None else problem.feed.hex(), "seq": problem.seq}
            for problem in report.problems
        ],
    }


def print_report(text: str, report: BundleReport, seconds: float, *, ledger_checked: bool) -> None:
    """What a verified bundle holds, for people."""
    consistent = not report.problems
    verdict = (
        style("Consistent.", fg="green", bold=True) if consistent else style("Not consistent.", fg="red", bold=True)
    )
    say(f"{verdict} {text}: {report.genesis.name}")
    revoked = f", {number_text(report.revoked)} of them revoked" if report.revoked else ""
    lines = [
        ("ledger id", report.genesis.ledger_id.hex()),
        ("founder", short(report.genesis.founder)),
        ("members", f"{number_text(report.members)}{revoked}"),
        ("blocks", f"{number_text(report.blocks)} of {count_text(report.feeds, 'feed')}, in {seconds:.1f} s"),
        ("segments", f"{number_text(len(report.manifest.segments))}, {size_text(report.manifest.size_bytes)}"),
        ("signatures", _signatures_text(report)),
        ("forks", number_text(len(report.forks))),
        ("digest", report.digest.hex()),
    ]
    if report.hidden:
        lines.insert(
            4, ("hidden", f"entries of {count_text(report.hidden, 'block')}, erased or withheld: by hash only")
        )
    if report.branches:
        lines.insert(4, ("branches", f"{count_text(report.branches, 'block')} of governors' forked feeds"))
    facts(lines, indent="  ")
    if not ledger_checked:
        say("  That is what the bundle says of itself. Whether it is the ledger you mean, its id tells: compare it, or")
        say("  give the id you know with --ledger.")
    for feed in report.forks:
        warn(f"{short(feed)} signed two histories.")
    for problem in report.problems[:MAX_SHOWN]:
        where = "" if problem.feed is None else f"{short(problem.feed)}/{problem.seq}: "
        warn(f"{where}{problem.what}.")
    if len(report.problems) > MAX_SHOWN:
        warn(f"and {len(report.problems) - MAX_SHOWN} more (--json names them).")


def _signatures_text(report: BundleReport) -> str:
    through = report.through_successor
    if through is None:
        return "one a segment of at most 64 blocks; each holds for all before it"
    return f"each block's own{f', {len(through)} only through a later one' if through else ''}"
