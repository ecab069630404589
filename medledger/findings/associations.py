"""Readings that were given to somebody, and that by all that is known now are nobody's.

An agent gives a reading to whoever is associated with its device, as far as it knows then. A discharge that is told
late ends that before readings that were already logged. They stand on the ledger as they were logged; whose they are,
the fold of associations says (medledger/associations.py), and this names those where the two differ.

- *taken back*: readings under a subject at a time at which that subject was no longer, or not yet, at the device.

It is nobody's fault: the agent could not know. Whoever reads the readings of a subject leaves these out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from medledger.associations import Associations, Margins, standing
from medledger.records import Association, Reading

from .finding import Context, Finding, Fold, Observed, by_position

MAX_PLACES: Final = 16
EXACT: Final = Margins(bound=0, delay=0)
"""How careful an agent was with times is its own affair: only what cannot be is named."""


def find(entries: Sequence[Observed], _: Context) -> Iterator[Finding]:
    """The readings of each device and subject that are taken back, by author."""
    told: dict[bytes, list[Association]] = defaultdict(list)
    readings: dict[bytes, list[Observed]] = defaultdict(list)
    for entry in by_position(entries):
        if entry.type == Reading.TYPE:
            readings[entry.place.feed].append(entry)
        else:
            told[entry.place.feed].append(
                Association.from_content(entry.content, subject=entry.subject, time=entry.time)
            )
    for feed, found in readings.items():
        if feed in told:
            yield from _taken_back(found, Associations(told[feed]))


def _taken_back(readings: Sequence[Observed], known: Associations) -> Iterator[Finding]:
    lost: dict[tuple[str, bytes], list[Observed]] = defaultdict(list)
    for entry in readings:
        if entry.subject is not None:
            reading = Reading.from_content(entry.content, subject=entry.subject, time=entry.time)
            if standing(reading, known, EXACT)[0] != entry.subject:
                lost[reading.device, entry.subject].append(entry)
    for (device, subject), found in lost.items():
        yield Finding(
            "taken back",
            f"{device}: {len(found)} readings of subject {subject.hex()[:8]} are nobody's by what was told later",
            tuple(each.place for each in found[:MAX_PLACES]),
            {"device": device, "subject": subject, "count": len(found)},
        )


ASSOCIATIONS: Final = Fold("associations", (Association.TYPE,), frozenset((Association.TYPE, Reading.TYPE)), find)
