"""Readings that were given to somebody, and that by all that is known now are nobody's.

An agent gives a reading to whoever is associated with its device, as far as it knows then. A discharge that is told
late ends that before readings that were already logged. They stand on the ledger as they were logged; whose they are,
attribution.py says, and this names those where the two differ.

- *taken back*: readings under a subject at a time at which that subject was no longer, or not yet, at the device.
- *uncertain batch*: batches that a device signed, which came in after their subject's stay, as was told later, had
  ended. How long a batch waited in its device is not known, so neither is on which side of the end it was measured.

It is nobody's fault: the agent could not know. Whoever reads the readings of a subject leaves these out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from medledger.attribution import TYPES, Attribution, Position
from medledger.devices import DeviceBatch
from medledger.records import Association

from .finding import Context, Finding, Fold, Observed, by_position, only

MAX_PLACES: Final = 16


def find(entries: Sequence[Observed], _: Context) -> Iterator[Finding]:
    """The readings of each device and subject that are taken back, by author."""
    told: dict[bytes, list[tuple[Position, Observed]]] = defaultdict(list)
    given: dict[bytes, list[Observed]] = defaultdict(list)
    for entry in by_position(entries):
        if entry.type == Association.TYPE:
            told[entry.place.feed].append((_position(entry), entry))
        elif entry.subject is not None:
            given[entry.place.feed].append(entry)
    for feed, found in given.items():
        if feed in told:
            yield from _taken_back(found, Attribution(told[feed]))


def _taken_back(given: Sequence[Observed], known: Attribution) -> Iterator[Finding]:
    lost: dict[tuple[str, bytes, bool], list[Observed]] = defaultdict(list)
    for entry in given:
        subject, reason = known.whose(_position(entry), entry)
        if subject != entry.subject:
            assert entry.subject is not None  # of those that were given to somebody
            unsure = entry.type == DeviceBatch.TYPE and reason == "uncertain"
            lost[entry.content["device"], entry.subject, unsure].append(entry)
    for (device, subject, unsure), found in lost.items():
        of = f"of subject {subject.hex()[:8]}"
        places = tuple(each.place for each in found[:MAX_PLACES])
        facts = {"device": device, "subject": subject, "count": len(found)}
        if unsure:
            said = f"{device}: {len(found)} signed batches {of} came in after the stay, as was told later, had ended"
            yield Finding("uncertain batch", said, places, facts)
        else:
            said = f"{device}: {len(found)} readings {of} are nobody's by what was told later"
            yield Finding("taken back", said, places, facts)


def _position(entry: Observed) -> Position:
    return entry.place.seq, entry.place.index


def _keep(type_name: str, content: Any) -> Any:
    if type_name == Association.TYPE:
        return content
    kept = only(content, "device", "device_time", "device_sync", "quarantine", "uptime")
    if type_name == DeviceBatch.TYPE:
        kept["readings"] = [moment[:1] for moment in content["readings"]]
    return kept


ASSOCIATIONS: Final = Fold("associations", (Association.TYPE,), frozenset((Association.TYPE, *TYPES)), find, _keep)
