"""Importing a bundle with its progress, and what became of the blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from medledger.errors import BlockError, UnknownAuthorError

from .bundling import progress_line
from .describe import Names
from .output import count_text, emit, say, warn

if TYPE_CHECKING:
    from medledger.bundle import Source
    from medledger.importing import ImportReport
    from medledger.ledger import Ledger

MAX_SHOWN: Final = 10
NOT_YET: Final = (
    "it does not write until it knows that nobody holds more of its feed: `medledger sync {0}` finds out, "
    "or a newer bundle; where there is no peer at all `medledger recover {0}` asks you."
)


class RefusedError(BlockError):
    """Some of the blocks were refused; what became of them has been shown."""


def run(ledger: Ledger, source: Source) -> ImportReport:
    """Import and show how far it has come. Whole batches are kept whenever it is stopped."""
    with progress_line("Importing") as notify:
        return ledger.import_bundle(source, progress=notify)


def show(ledger: Ledger, report: ImportReport, *, as_json: bool) -> None:
    """What became of the blocks. Raises `RefusedError` where some were refused, for its exit code."""
    names = Names(ledger.membership)
    if as_json:
        emit(
            {
                "accepted": report.accepted,
                "duplicates": report.duplicates,
                "waiting": report.waiting,
                "refused": [
                    {
                        "feed": None if error.feed is None else error.feed.hex(),
                        "seq": error.seq,
                        "reason": str(error),
                        "error": type(error).__name__,
                    }
                    for error in report.refused
                ],
                "forks": [feed.hex() for feed in report.forks],
                "ledger_id": ledger.id.hex(),
                "state": ledger.state,
                "digest": ledger.digest().hex(),
            }
        )
    else:
        known = f", {count_text(report.duplicates, 'block')} known already" if report.duplicates else ""
        say(f"Took {count_text(report.accepted, 'new block')}{known}.")
        say(f"  ledger id  {ledger.id.hex()}")
        say(f"  digest     {ledger.digest().hex()}")
        if ledger.state == "recovering":
            warn(NOT_YET.format(ledger.path))
        for feed in report.forks:
            warn(f"{names.both(feed)} signed two histories.")
        for error in report.refused[:MAX_SHOWN]:
            where = "" if error.feed is None else f"{names.both(error.feed)}: "
            warn(f"refused: {where}{error}")
        if len(report.refused) > MAX_SHOWN:
            warn(f"and {len(report.refused) - MAX_SHOWN} more refused.")
    bad = [error for error in report.refused if not isinstance(error, UnknownAuthorError)]
    if bad:
        raise RefusedError(f"{count_text(len(bad), 'run')} of blocks refused", hint="All the others were taken.")
