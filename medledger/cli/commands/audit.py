"""`medledger audit`: what an auditor does: fetch a whole replica, verify it, and report what it says."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from medledger.errors import StoreError

from .. import checking, gossiping
from ..command import Group
from ..exits import Exit
from ..opening import reading, signing
from ..options import Duration, Hex, Time, json_option, key_option, ledger_argument
from ..output import emit, json_text, remark, say, table
from .verify import every_signature_option, processes_option


@click.group(
    cls=Group,
    examples=(
        "medledger audit sync audit.db",
        "medledger audit verify audit.db --every-signature",
        "medledger audit report audit.db --output report.txt",
        "medledger audit findings audit.db",
    ),
)
def audit() -> None:
    """Sync, verify and report, for an auditor.

    An auditor joins as a member (role auditor) and syncs, or is given a bundle: medledger bundle import audit.db
    ward.bundle --new. The replica is a plain SQLite file with views that Datasette opens.
    """


@audit.command(
    examples=("medledger audit sync audit.db", "medledger audit sync audit.db --broker mqtt://10.0.0.5:1883")
)
@ledger_argument()
@key_option
@gossiping.sync_options
@json_option
def sync(ledger: Path, key: Path | None, until_in_sync: bool, as_json: bool, **given: Any) -> None:
    """Fetch all that the other replicas of LEDGER hold: `medledger sync`, for an auditor."""
    request = gossiping.read_request(until_in_sync, as_json, **given)
    with signing(ledger, key) as opened:
        gossiping.run(opened, request)


@audit.command(examples=("medledger audit verify audit.db", "medledger audit verify audit.db --every-signature --json"))
@ledger_argument()
@every_signature_option
@processes_option
@json_option
def verify(ledger: Path, every_signature: bool, processes: int, as_json: bool) -> None:
    """Verify every byte of LEDGER, and name what an auditor has to know: forks, disputed blocks, hidden entries."""
    with reading(ledger) as opened:
        report, seconds = checking.run_verify(opened, every_signature=every_signature, processes=processes)
        if as_json:
            emit(checking.report_json(opened, report))
        else:
            checking.print_report(opened, report, seconds)


@audit.command(
    examples=(
        "medledger audit report audit.db",
        "medledger audit report audit.db --gap 15min --output report.json --json",
    )
)
@ledger_argument()
@click.option("--gap", type=Duration(), default="1h", show_default=True, help="How long a silence is named as a gap.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Save it in this new file.")
@click.option("--no-verify", is_flag=True, help="Do not verify first; the report says so.")
@every_signature_option
@processes_option
@json_option
def report(
    ledger: Path, gap: int, output: Path | None, no_verify: bool, every_signature: bool, processes: int, as_json: bool
) -> None:
    """Verify LEDGER, then report what it says.

    Members with their roles and revocations; blocks and entries by member and type, the first and the last; void
    entries with the reason; gaps in time; forks; hidden entries; disputed blocks; the digest.
    """
    from ..auditdata import collect
    from ..audittext import report_lines

    if output is not None and output.exists():
        raise StoreError(f"{output} exists already", hint="Choose another name: reports are not overwritten.")
    with reading(ledger) as opened:
        verification = None
        if not no_verify:
            found, _ = checking.run_verify(opened, every_signature=every_signature, processes=processes)
            verification = checking.report_json(opened, found)
        data = collect(opened, gap_ms=gap, verification=verification)
    text = json_text(data, indent=2 if output or sys.stdout.isatty() else None)
    if not as_json:
        text = "\n".join(report_lines(data))
    if output is None:
        say(text)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise StoreError(f"{output} cannot be written: {error.strerror}") from error
    remark(f"Saved in {output}.")


@audit.command(examples=("medledger audit findings audit.db", "medledger audit findings audit.db --now --json"))
@ledger_argument()
@click.option("--now", "until_now", is_flag=True, help="Judge by this machine's clock what is silent still.")
@json_option
def findings(ledger: Path, until_now: bool, as_json: bool) -> int:
    """Name what does not fit together in LEDGER, with the blocks that show it.

    Batches that devices signed against their enrolment; entries that were promised and did not come; what was supplied
    against what was prescribed. Ends with 1 where there is a finding. Sync first: what has not arrived is missing here.
    """
    from ..auditdata import findings as found_in
    from ..audittext import finding_rows
    from ..describe import Names

    with reading(ledger) as opened:
        found = found_in(opened, now=time.time_ns() // 1_000_000 if until_now else None)
        names = {feed.hex(): Names(opened.membership).of(feed) for feed in opened.frontier()}
    if as_json:
        for each in found:
            emit(each)
    elif found:
        table(("KIND", "WHAT", "SHOWN BY"), finding_rows(found, names))
    else:
        say("Nothing that does not fit together.")
    return int(Exit.REFUSED if found else Exit.OK)


@audit.command(
    examples=(
        "medledger audit readings audit.db --subject 00112233445566778899aabbccddeeff",
        "medledger audit readings audit.db --device MON-7 --since 2026-11-22 --json",
    )
)
@ledger_argument()
@click.option("--subject", type=Hex(16), help="Only what is this subject's, or was logged under it.")
@click.option("--device", help="Only of this device.")
@click.option("--since", type=Time(), help="Only from this time on.")
@click.option("--until", type=Time(), help="Only before this time.")
@json_option
def readings(
    ledger: Path, subject: bytes | None, device: str | None, since: int | None, until: int | None, as_json: bool
) -> None:
    """List the readings in LEDGER and whose they are, by all that was told since they were logged.

    A discharge that came late takes readings back, and a person may assign those in quarantine. The views of the
    replica show the subject under which a reading was logged; whose it is, this says. Signed batches are among them.
    Sync first: what has not arrived is missing here.
    """
    from medledger.attribution import attributed

    from ..describe import Names
    from ..entrylines import attributed_json, attributed_line

    with reading(ledger) as opened:
        names = Names(opened.membership)
        for each in attributed(opened, device=device, since=since, until=until):
            if subject is None or subject in (each.subject, each.entry.subject):
                if as_json:
                    emit(attributed_json(each, names))
                else:
                    say(attributed_line(each, names))
