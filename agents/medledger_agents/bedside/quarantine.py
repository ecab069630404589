"""What is in quarantine on this box: readings that are nobody's, in runs of one device and reason.

Runs are made of the readings as they stand now (associations.standing): those that a person has assigned are in none,
and those that an end took back, which came to be known after they were logged, are. `taken_back` counts these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from medledger.associations import Associations, Margins, instant, standing
from medledger.ledger import Ledger
from medledger.records import Reading

from .ward import logged_associations

GAP: Final = 15 * 60 * 1000
"""Silence (ms) that parts a run in two."""

MAX_RUNS: Final = 500


@dataclass(frozen=True, slots=True)
class Run:
    """Readings of one device, one after the other, that are nobody's for one reason. Times are UTC ms."""

    device: str
    reason: str
    first: int
    last: int
    count: int = 1
    taken_back: int = 0


def runs(readings: Iterable[Reading], known: Associations, margins: Margins) -> list[Run]:
    """The runs of these readings, by device and time."""
    found: list[Run] = []
    for reading in sorted(readings, key=lambda each: (each.device, instant(each))):
        _, reason = standing(reading, known, margins)
        if reason is None:
            continue
        at, back = instant(reading), int(reading.quarantine is None)
        last = found[-1] if found else None
        if last and (last.device, last.reason) == (reading.device, reason) and at - last.last <= GAP:
            found[-1] = replace(last, last=at, count=last.count + 1, taken_back=last.taken_back + back)
        else:
            found.append(Run(reading.device, reason, at, at, taken_back=back))
    return found


def runs_in(ledger: Ledger, since: int, margins: Margins) -> list[Run]:
    """What this box has logged since then (UTC ms) and is nobody's; the last `MAX_RUNS` of it."""
    readings = (
        Reading.from_content(each.content, subject=each.subject, time=each.time)
        for each in ledger.entries("reading", author=ledger.me, since=since)
    )
    return runs(readings, logged_associations(ledger), margins)[-MAX_RUNS:]
