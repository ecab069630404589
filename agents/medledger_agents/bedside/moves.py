"""From what was told about a patient to the `association` entries that say so: a pure function of what is known.

- A bed has one patient. Whoever begins in it ends whoever was there (`replaced`), and a patient who begins in one bed
  ends in every other.
- Messages come late and out of order. What is told about 9:00 after what was told about 10:00 changes nothing about
  10:00: the earlier stay ends where the later one begins, and an end whose begin is not known yet is noted as well.
- What is known already is not said again.
- Times may be inexact. A discharge that fits no stay, and lies shortly before one begins in that bed, ends that one at
  its beginning; and an admission is not believed where a discharge that fits no stay may have come after it.
- A stay that goes on under another number (a merge) ends for that number too, whichever number is discharged or moved.
- Two messages about one patient with one and the same time are taken in the order in which they came in.
- A stay that a person began, or a new table of beds, has our clock's time, and messages have the ward system's. Where
  ours may be ahead, what comes in later of a time shortly before that stay ends it: nobody knows which was first.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from medledger.associations import NEVER, RECENT, Associations, Interval
from medledger.records import Association

from .adt import CANCEL, CANCEL_ADMIT, DISCHARGE, MERGE, MINUTE, TRANSFER, UPDATE, Location, Movement
from .patients import Patient

Pseudonym = Callable[[Patient, int], bytes]
"""A patient's subject at a time (UTC ms)."""

NEAR_MS: Final = 3_600_000
"""How far before a stay a discharge may lie that means that stay."""

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
    lead: int = 0  # how far our clock may be ahead of the ward system's (ms)
    sent: int | None = None  # when the message was sent, by the ward system's clock

    def may_begin(self, stay: Interval) -> int:
        """When a stay may have begun, by the ward system's clock."""
        if not stay.ours:
            return stay.begin
        if stay.noted > self.now:
            return -NEVER  # or our clock was set back since
        said = min(stay.begin, stay.noted)  # it is put later where the ward system's clock may have shown more
        return min(said - self.lead, self._source(stay) if stay.tabled else NEVER)

    def _source(self, stay: Interval) -> int:
        """When the stay began that a stay by a new table of beds goes on from: what ends the one, ends the other."""
        stays = (each for device in self.known.devices() for each in self.known.stays(device, stay.subject))
        return max((each.begin for each in stays if each.begin <= stay.begin and not each.tabled), default=-NEVER)

    def earliest(self, stay: Interval) -> int:
        """The same, where the time that was told may be to the minute."""
        return self.may_begin(stay) - (MINUTE if stay.begin % (MINUTE + 1) == MINUTE else 0)

    def begin(self, device: str, subject: bytes, at: int) -> None:
        """The subject is at this device from then on; before what is remembered, nobody is any more."""
        if at < self.known.horizon(device):
            return
        self._note(device, "begin", subject, at, self.reason)

    def end(self, device: str, subject: bytes, at: int, reason: str | None = None, *, again: bool = False) -> None:
        """The subject is not at this device from then on; said `again` where it is known."""
        back = any(stay.begin == at for stay in self.known.stays(device, subject))  # and gone again in the same moment
        if again or back or at not in self.known.ends(device, subject):
            self._note(device, "end", subject, at, reason or self.reason)

    def vacate(self, device: str, at: int) -> None:
        """Whoever is at this device is not from then on."""
        self._note(device, "end", None, at, self.reason)

    def _note(self, device: str, action: str, subject: bytes | None, at: int, reason: str) -> None:
        place = self.beds.devices.get(device)
        entry = Association(
            device=device,
            action=action,
            at=at,
            location=None if place is None else str(place),
            reason=reason,
            raw=self.raw,
            sent=self.sent,
            subject=subject,
            time=self.now,
        )
        self.known.apply(entry)
        self.entries.append(entry)


def plan(
    movement: Movement,
    known: Associations,
    beds: Beds,
    pseudonym: Pseudonym,
    now: int,
    lead: int = 0,
    sent: int | None = None,
) -> list[Association]:
    """The entries for one movement, which are added to `known` too. Our clock is ahead by `lead` ms at most."""
    gathered = Plan(known, beds, now, REASON.get(movement.event, movement.event), movement.raw, [], lead, sent)
    stays = _stays(known, beds, movement.patient, pseudonym)
    subject = pseudonym(movement.patient, now)
    at = movement.earliest
    if movement.event == DISCHARGE:
        places = beds.at(movement.prior) if movement.prior else list(beds.devices)
        _leave(gathered, subject, stays, movement, places)
        _leave_next(gathered, stays, at, places)
    elif movement.event == CANCEL_ADMIT:
        mistaken = _holding(gathered, stays, movement)
        mistaken += [stay for stay in _cut_short(gathered, stays, movement) if stay not in mistaken]
        for stay in mistaken:
            _end(gathered, stay, stay.begin)
        if not mistaken:
            _leave(gathered, subject, stays, movement, beds.at(movement.prior))
            _leave_next(gathered, stays, at, beds.at(movement.prior))
    elif movement.event == UPDATE:
        if movement.location is not None:
            for stay in _holding(gathered, stays, movement):
                if not stay.manual and stay.location != str(movement.location):
                    _end(gathered, stay, at)
    elif movement.event == MERGE:
        assert movement.merged is not None  # of a merge
        theirs = {survivor.subject for survivor in stays}
        merged = [stay for stay in _stays(known, beds, movement.merged, pseudonym) if stay.subject not in theirs]
        _merge(gathered, movement, merged, subject, pseudonym(movement.merged, now))
    else:
        _arrive(gathered, movement, stays, subject)
    return gathered.entries


def _arrive(gathered: Plan, movement: Movement, stays: list[Interval], subject: bytes) -> None:
    """Admitted, moved, or back: from `earliest` on nobody else is here, and from `at` on the patient is."""
    earliest, at, known = movement.earliest, movement.at, gathered.known
    here, place = gathered.beds.at(movement.location), str(movement.location)
    if movement.event == CANCEL:
        _never_elsewhere(gathered, movement, stays, subject)
    elif movement.event == TRANSFER and movement.prior is not None and movement.prior != movement.location:
        for device in gathered.beds.at(movement.prior):
            gathered.end(device, subject, earliest, "transfer")
    for stay in _holding(gathered, stays, movement):
        if stay.location != place:
            _end(gathered, stay, earliest, "transfer")
    later = min((stay.begin for stay in stays if stay.begin > at and stay.location != place), default=None)
    for device in sorted(set(known.devices()) - set(here)):  # it may have stood here when it was
        _make_room(gathered, movement, device, subject, moved=True)
    for device in here:
        followers = [each.begin for each in known.of(device) if each.begin > at and each.subject != subject]
        _make_room(gathered, movement, device, subject)
        if at < known.emptied(device) or known.ended_by(device, subject, at, "cancel"):
            continue
        mine = [stay for stay in stays if stay.device == device]
        if any(stay.holds(at) for stay in mine):
            continue
        ends = known.ends(device, subject)
        if any(end == at for end in ends) and any(stay.begin == at for stay in mine):
            continue
        if _left_before(known, device, subject, earliest, at):
            continue  # it may have been the end of this one
        gathered.begin(device, subject, at)
        until = min([*followers, *([later] if later is not None else [])], default=None)
        if until is not None:
            gathered.end(device, subject, until, "replaced")


def _make_room(gathered: Plan, movement: Movement, device: str, subject: bytes, *, moved: bool = False) -> None:
    """Who came last is here: whoever else was is not, except while the device stood elsewhere."""
    for other in gathered.known.of(device):
        stood_here = other.location == str(movement.location) or (other.manual and not moved)
        if other.subject == subject or not stood_here:
            continue
        if gathered.may_begin(other) <= movement.at and movement.earliest < other.end:
            _end(gathered, other, movement.earliest, "replaced")


def _never_elsewhere(gathered: Plan, movement: Movement, stays: list[Interval], subject: bytes) -> None:
    """What is cancelled took the patient to no other bed: nor does it where it is told after that."""
    place = movement.location
    over = [stay for stay in stays if stay.end == movement.earliest]  # and told already, perhaps to the same minute
    for stay in [*_holding(gathered, stays, movement), *_cut_short(gathered, stays, movement), *over]:
        if stay.location != str(place):
            _end(gathered, stay, stay.begin)
    for device, other in gathered.beds.devices.items():
        if other != place and movement.prior in (None, place, other):
            gathered.end(device, subject, movement.earliest)


def _leave(
    gathered: Plan,
    subject: bytes,
    stays: list[Interval],
    movement: Movement,
    places: list[str],
    reason: str | None = None,
) -> None:
    """Ends every stay that holds then, and notes the end at these places for a begin that may still come."""
    for stay in _holding(gathered, stays, movement):
        _end(gathered, stay, movement.earliest, reason)
    for device in places:
        gathered.end(device, subject, movement.earliest, reason)


def _leave_next(gathered: Plan, stays: list[Interval], at: int, places: list[str]) -> None:
    """Ends the stay that begins soon after, where a discharge fits none: one of the two times is not exact."""
    if any(gathered.earliest(stay) <= at <= stay.end for stay in stays):
        return
    soon = [stay for stay in stays if at < stay.begin <= at + NEAR_MS and stay.device in places]
    first = min((stay.begin for stay in soon), default=None)
    for stay in soon:
        if stay.begin == first:
            _end(gathered, stay, stay.begin)


def _end(gathered: Plan, stay: Interval, at: int, reason: str | None = None) -> None:
    """Ends a stay, and what it goes on as after a merge."""
    for each in _with_heirs(gathered.known, [stay]):
        gathered.end(each.device, each.subject, max(at, each.begin), reason)


def _left_before(known: Associations, device: str, subject: bytes, earliest: int, at: int) -> bool:
    """Whether an end is known that ended no stay, and may have been after a begin between these two times.

    At one and the same moment the one that is told last holds.
    """
    closed = {stay.end for stay in known.stays(device, subject)}
    for end in set(known.ends(device, subject)) - closed:
        latest = end + MINUTE if end % (MINUTE + 1) == 0 else end
        if end <= at and earliest <= latest and not earliest == at == end == latest:
            return True
    return False


def _with_heirs(known: Associations, stays: Iterable[Interval]) -> list[Interval]:
    """These, and what they go on as after a merge."""
    found = list(stays)
    for stay in found:  # which grows
        found += [
            each
            for each in known.of(stay.device)
            if each.merged and stay.begin <= each.begin <= stay.end and each not in found
        ]
    return found


def _merge(gathered: Plan, movement: Movement, stays: list[Interval], survivor: bytes, given_up: bytes) -> None:
    """The stays of the number that is given up go on under the other; so will those whose begin is not known yet."""
    for stay in stays:
        since = max(movement.earliest, stay.begin)
        if since < stay.end:
            gathered.end(stay.device, stay.subject, max(since, stay.begin + 1))  # what is left shows whose stay goes on
            if _left_before(gathered.known, stay.device, survivor, gathered.earliest(stay) - 1, since):
                continue
            gathered.begin(stay.device, survivor, since)
            if stay.end != NEVER:
                gathered.end(stay.device, survivor, stay.end)
    for device in sorted(set(gathered.beds.devices) - {stay.device for stay in stays if movement.earliest < stay.end}):
        gathered.end(device, given_up, movement.earliest)


def _holding(gathered: Plan, stays: list[Interval], movement: Movement) -> list[Interval]:
    """Those that last when it happens, or may."""
    return [stay for stay in stays if gathered.earliest(stay) <= movement.at and movement.earliest < stay.end]


def _cut_short(gathered: Plan, stays: list[Interval], movement: Movement) -> list[Interval]:
    """The last before it, where the next patient or a person ended them, and no message about this one."""
    before = [stay for stay in stays if gathered.earliest(stay) <= movement.at]
    last = max((stay.begin for stay in before), default=None)
    return [
        stay
        for stay in before
        if stay.begin == last and gathered.known.ended_by(stay.device, stay.subject, last, "replaced", "manual")
    ]


def _stays(known: Associations, beds: Beds, patient: Patient, pseudonym: Pseudonym) -> list[Interval]:
    """The patient's intervals on any device, whatever period their pseudonyms are of, and under numbers since."""
    recent = [
        stay for device in dict.fromkeys([*beds.devices, *known.devices()]) for stay in known.of(device)[-RECENT:]
    ]
    names = {pseudonym(patient, noted) for noted in {stay.noted for stay in recent}}
    return _with_heirs(known, (stay for stay in recent if stay.subject in names))


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
    ward: Sequence[int] = (),
) -> list[Association]:
    """What a person says: that a subject is at a device, that nobody is, or whose it was from `at` until `until`.

    What is said of now ends and begins by two clocks, ours and the `ward` system's: an end at the earlier, a beginning
    at the later. Whatever is known of later ends, too: it is said last.
    """
    gathered = Plan(known, beds, now, "manual", raw, [])
    moment = now if at is None else at
    if until is None:
        clocks = [moment, *(ward if at is None else ())]
        first, last = min(clocks), max(clocks)
        for stay in known.of(device):
            if first < stay.end and stay.subject != subject and not stay.assigned:
                gathered.end(device, stay.subject, max(first, stay.begin))
        if subject is None or not any(stay.holds(last) for stay in known.stays(device, subject) if not stay.assigned):
            gathered.vacate(device, max(ward) if ward and at is None else moment)
            if subject is not None:
                gathered.begin(device, subject, last)
    elif subject is not None:
        gathered.begin(device, subject, moment)
        gathered.end(device, subject, until, again=True)  # both are of one message
    return gathered.entries


def reconcile(known: Associations, beds: Beds, now: int, pending: Container[str] = ()) -> list[Association]:
    """What follows from a new table of beds: a device that was moved leaves whoever it had, and takes its new bed's.

    Of devices that are `pending`, something is known of a time to come: they say nothing about now.
    """
    gathered = Plan(known, beds, now, "replaced", None, [])
    before = {device: known.place(device) for device in known.devices()}
    places = {device: str(place) for device, place in beds.devices.items()}
    lasting = {device: stay for device in before for stay in known.of(device) if stay.end == NEVER}
    moved = [
        device
        for device in before
        if {before[device], *(each.location for each in known.of(device) if each.end == NEVER and not each.manual)}
        != {places.get(device)}
    ]
    for device in moved:
        for stay in list(known.of(device)):
            if stay.end > now:
                gathered.end(device, stay.subject, max(now, stay.begin))
        gathered.vacate(device, now)
    for device in [*moved, *(each for each in places if each not in before)]:
        others = {
            stay.subject
            for name, stay in lasting.items()
            if name not in moved and name not in pending and not stay.manual and places.get(name) == places.get(device)
        }
        if len(others) == 1 and device in places:
            gathered.begin(device, others.pop(), now)
    return gathered.entries
