"""What is said of a run of the demo when it is over: from the replicas that it left, compared and searched."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from medledger.ledger import Ledger

from ..ward.beds import TYPES, Row, Ward
from .feed import Scanned, Sent, identifiers
from .party import OXIMETER
from .processes import DemoError
from .screen import Summary

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Played:
    """A run that is over: the parties' directories below `home`, the auditor's report, what was sent and scanned."""

    home: Path
    roles: Sequence[str]
    report: dict[str, Any]
    sent: Sequence[Sent]
    scanned: Sequence[Scanned]

    def read(self, role: str, what: Callable[[Ledger], Value]) -> Value:
        """What a party's replica says."""
        with Ledger.open(self.home / role / "ledger.db") as ledger:
            return what(ledger)


def summed_up(run: Played, seconds: float) -> Summary:
    """All of it in words. Raises `DemoError` where the replicas differ, or hold what nobody may find there."""
    report = run.report
    digest = _digest(run)
    _search(run)
    acknowledged = sum(sent.code == "AA" for sent in run.sent)
    refused = sum(scanned.reply["result"] == "refused" for scanned in run.scanned)
    readings = sum(author["entries"].get("reading", 0) for author in report["authors"])
    replica = run.home / "auditor" / "ledger.db"
    return Summary(
        logged=[_logged(author, refused) for author in report["authors"]],
        beds=run.read("auditor", _beds),
        findings=report["findings"],
        verified=[
            f"{report['blocks']} blocks, {report['entries']} entries, {report['signatures']} signatures: all right",
            f"four replicas that never met, one content: digest {digest[:16]}",
            f"{acknowledged} messages acknowledged, {readings} logged: the one that came twice is there once",
            f"none of {len(identifiers())} names, numbers, dates and addresses of patients is in a replica",
        ],
        replica=f"{replica}  [dim](the auditor's; an SQLite file of {replica.stat().st_size // 1024} KiB)[/]",
        directory=str(run.home),
        others=[f"{run.home / 'bedside' / 'inbox.db'}  (the raw messages: these never leave the box)"],
        commands=_commands(replica),
        seconds=seconds,
    )


def _digest(run: Played) -> str:
    """Of what all replicas hold."""
    found = {run.read(role, lambda ledger: ledger.digest().hex()) for role in run.roles}
    if len(found) != 1:
        raise DemoError("the replicas differ", hint=f"See {run.home}.")
    return found.pop()


def _search(run: Played) -> None:
    """That nothing by which a patient is known is in a replica."""
    files = [path for role in run.roles for path in (run.home / role).glob("ledger.db*")]
    leaked = [word for word in identifiers() if any(word in path.read_bytes() for path in files)]
    if leaked:
        raise DemoError(f"patients' data are in a replica: {b', '.join(leaked).decode()}", hint=f"See {run.home}.")


def _logged(author: dict[str, Any], refusals: int) -> tuple[str, str, str]:
    """What one member has logged, in words."""
    parts = []
    entries = author["entries"]
    if "reading" in entries:
        parts.append(
            f"{entries['reading']} readings with {author['samples']} values of {author['patients']} patients under "
            f"pseudonyms; {author['alarms']} alarm, {author['flagged']} impossible value flagged, "
            f"{author['unassigned']} reading without a patient"
        )
    if author["signed"]:
        parts.append(f"{author['signed']} readings that {OXIMETER} signed itself, in {entries['device.batch']} batches")
    if "dispense" in entries:
        parts.append(f"{entries['dispense']} packs dispensed; {refusals} refused at the counter")
    if author["governance"]:
        parts.append(f"{entries.get('gov.enrol', 0)} members let in")
    return author["label"], ", ".join(parts) or "nothing: it reads", _count(author["blocks"], "block")


def _beds(ledger: Ledger) -> list[Row]:
    """The beds as `medledger ward` shows them."""
    ward = Ward()
    found = [entry for name in TYPES for entry in ledger.entries(name)]
    ward.take(sorted(found, key=lambda each: (each.author, each.seq, each.index)))
    return ward.rows(time.time_ns() // 1_000_000)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _commands(replica: Path) -> list[tuple[str, str]]:
    """Three commands that work as printed, from where we are."""
    program = _program()
    path = shlex.quote(str(replica))
    return [
        ("what the pharmacy dispensed", f"{program} log {path} --type dispense"),
        ("check every signature yourself", f"{program} verify {path} --every-signature"),
        ("an auditor's report", f"{program} audit report {path}"),
    ]


def _program() -> str:
    """How a person here calls `medledger`."""
    installed = Path(sys.executable).parent / "medledger"
    on_path = shutil.which("medledger")
    if on_path is not None and Path(on_path).resolve() == installed.resolve():
        return "medledger"
    if not installed.exists():
        return f"{shlex.quote(sys.executable)} -m medledger"
    relative = os.path.relpath(installed)
    return shlex.quote(str(installed) if relative.startswith("..") else relative)
