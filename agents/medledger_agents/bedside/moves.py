"""From what was told about a patient to the `association` entries that say so: a pure function of what is known.

- A bed has one patient. Whoever begins in it ends whoever was there (`replaced`), and a patient who begins in one bed
  ends in every other.
- Messages come late and out of order. What is told about 9:00 after what was told about 10:00 changes nothing about
  10:00: the earlier stay ends where the later one begins, and an end whose begin is not known yet is noted as well.
- What is known already is not said again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from medledger.associations import NEVER, RECENT, Associations, Interval
from medledger.records import Association

from .adt import CANCEL, CANCEL_ADMIT, DISCHARGE, MERGE, TRANSFER, UPDATE, Location, Movement
from .patients import Patient

Pseudonym = Callable[[Patient, int], bytes]
"""A patient's subject at a time (UTC ms)."""

REASON: Final = {UPDATE: "transfer", CANCEL_ADMIT: "cancel"}
"""How an event is written on the ledger, where that is not its own name."""


@dataclass(frozen=True, slots=True)
class Beds:
    """Which device stands where."""

    devices: Mapping[str, Location]

    def at(self, location: Location | None) -> list[str]:
        """The devices of a bed."""
        return sorted(device for device, place in self.devices.items() if place == location)


@dataclass(slots=True)
class Plan:
    """Gathers the entries for one movement; `known` already holds those that are gathered."""

    known: Associations
    beds: Beds
    now: int  # when the message came in, UTC ms: the entries' time
    reason: str
    raw: bytes | None
    entries: list[Association]

    def begin(self, device: str, subject: bytes, at: int) -> None:
        """The subject is at this device from then on; before what is remembered, nobody is any more."""
        if at < self.known.horizon(device):
            return
        self._note(device, "begin", subject, at, self.reason)

    def end(self, device: str, subject: bytes, at: int, reason: str | None = None) -> None:
        """The subject is not at this device from then on."""
        if at not in self.known.ends(device, subject):
            self._note(device, "end", subject, at, reason or self.reason)

    def _note(self, device: str, action: str, subject: bytes, at: int, reason: str) -> None:
        place = self.beds.devices.get(device)
        entry = Association(
            device=device,
            action=action,
            at=at,
            location=None if place is None else str(place),
            reason=reason,
            raw=self.raw,
            subject=subject,
            time=self.now,
        )
        self.known.apply(entry)
        self.entries.append(entry)


def plan(movement: Movement, known: Associations, beds: Beds, pseudonym: Pseudonym, now: int) -> list[Association]:
    """The entries for one movement, which are added to `known` too."""
    gathered = Plan(known, beds, now, REASON.get(movement.event, movement.event), movement.raw, [])
    stays = _stays(known, beds, movement.patient, pseudonym)
    subject = pseudonym(movement.patient, now)
    if movement.event == DISCHARGE:
        _leave(gathered, subject, stays, movement.at, beds.at(movement.prior) if movement.prior else list(beds.devices))
    elif movement.event == CANCEL_ADMIT:
        for stay in _holding(stays, movement.at):
            gathered.end(stay.device, stay.subject, stay.begin)
        if not _holding(stays, movement.at):
            _leave(gathered, subject, stays, movement.at, beds.at(movement.prior))
    elif movement.event == UPDATE:
        if movement.location is not None:
            for stay in _holding(stays, movement.at):
                if not stay.manual and beds.devices.get(stay.device) != movement.location:
                    gathered.end(stay.device, stay.subject, movement.at)
    elif movement.event == MERGE:
        assert movement.merged is not None  # of a merge
        _merge(
            gathered,
            movement,
            _stays(known, beds, movement.merged, pseudonym),
            subject,
            pseudonym(movement.merged, now),
        )
    else:
        _arrive(gathered, movement, stays, subject)
    return gathered.entries


def _arrive(gathered: Plan, movement: Movement, stays: list[Interval], subject: bytes) -> None:
    """Admitted, moved, or back."""
    at, known = movement.at, gathered.known
    here = gathered.beds.at(movement.location)
    if movement.event in (TRANSFER, CANCEL) and movement.prior is not None and movement.prior != movement.location:
        _leave(gathered, subject, stays, at, gathered.beds.at(movement.prior), reason="transfer")
    for stay in _holding(stays, at):
        if stay.device not in here:
            gathered.end(stay.device, stay.subject, at, "transfer")
    later = min((stay.begin for stay in stays if stay.begin > at and stay.device not in here), default=None)
    for device in here:
        followers = [each.begin for each in known.of(device) if each.begin > at and each.subject != subject]
        for other in known.of(device):
            if other.subject != subject and other.holds(at):
                gathered.end(device, other.subject, at, "replaced")
        if any(stay.device == device and stay.holds(at) for stay in stays):
            continue
        if any(end == at for end in known.ends(device, subject)) and any(
            each.begin == at for each in stays if each.device == device
        ):
            continue
        gathered.begin(device, subject, at)
        until = min([*followers, *([later] if later is not None else [])], default=None)
        if until is not None:
            gathered.end(device, subject, until, "replaced")


def _leave(
    gathered: Plan, subject: bytes, stays: list[Interval], at: int, places: list[str], reason: str | None = None
) -> None:
    """Ends every stay that holds then, and notes the end at these places for a begin that may still come."""
    for stay in _holding(stays, at):
        gathered.end(stay.device, stay.subject, at, reason)
    for device in places:
        gathered.end(device, subject, at, reason)


def _merge(gathered: Plan, movement: Movement, stays: list[Interval], survivor: bytes, given_up: bytes) -> None:
    """The stays of the number that is given up go on under the other; so will those whose begin is not known yet."""
    for stay in _holding(stays, movement.at):
        gathered.end(stay.device, stay.subject, movement.at)
        gathered.begin(stay.device, survivor, movement.at)
        if stay.end != NEVER:
            gathered.end(stay.device, survivor, stay.end)
    for device in sorted(gathered.beds.devices):
        gathered.end(device, given_up, movement.at)


def _holding(stays: list[Interval], at: int) -> list[Interval]:
    return [stay for stay in stays if stay.holds(at)]


def _stays(known: Associations, beds: Beds, patient: Patient, pseudonym: Pseudonym) -> list[Interval]:
    """The patient's intervals on any device, whatever period their pseudonyms are of."""
    recent = [
        stay for device in dict.fromkeys([*beds.devices, *known.devices()]) for stay in known.of(device)[-RECENT:]
    ]
    names = {pseudonym(patient, noted) for noted in {stay.noted for stay in recent}}
    return [stay for stay in recent if stay.subject in names]


# --- by hand -----------------------------------------------------------------------------------------------------


def by_hand(
    known: Associations,
    beds: Beds,
    now: int,
    raw: bytes | None,
    *,
    device: str,
    subject: bytes | None,
    at: int | None,
    until: int | None,
) -> list[Association]:
    """What a person says: that a subject is at a device, that nobody is, or whose it was from `at` until `until`."""
    gathered = Plan(known, beds, now, "manual", raw, [])
    moment = now if at is None else at
    if until is None:
        for stay in known.of(device):
            if stay.holds(moment) and stay.subject != subject:
                gathered.end(device, stay.subject, moment)
        if subject is not None and not any(stay.holds(moment) for stay in known.of(device)):
            gathered.begin(device, subject, moment)
    elif subject is not None:
        gathered.begin(device, subject, moment)
        gathered.end(device, subject, until)
    return gathered.entries


def reconcile(known: Associations, beds: Beds, now: int) -> list[Association]:
    """What follows from a new table of beds: a device that was moved leaves its patient, and takes its new bed's."""
    gathered = Plan(known, beds, now, "replaced", None, [])
    lasting = {device: stay for device in known.devices() for stay in known.of(device) if stay.end == NEVER}
    for device, stay in lasting.items():
        place = beds.devices.get(device)
        if not stay.manual and (place is None or str(place) != stay.location):
            gathered.end(device, stay.subject, max(now, stay.begin))
    for device, place in beds.devices.items():
        others = {
            stay.subject
            for name, stay in lasting.items()
            if name != device and stay.location == str(place) and beds.devices.get(name) == place and not stay.manual
        }
        if len(others) == 1 and not any(stay.end == NEVER for stay in known.of(device)):
            gathered.begin(device, others.pop(), now)
    return gathered.entries
