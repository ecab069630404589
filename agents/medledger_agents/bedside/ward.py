"""The ward as this agent knows it: who is at which device, and so whose a reading is.

- All of it stands on the ledger. It is read from there at the start, and again whenever a block could not be logged; in
  between, each entry is taken into account the moment it is decided on.
- Decisions are made one after the other in the recorder's thread, in the order in which messages came in.
- A device whose time is far from the time of receipt is flagged when that begins and ends; no time is corrected.
- A message that names somebody else than the interval does (PID-3) is in conflict with it, and its readings are in
  quarantine: the monitor was given a new patient, or the ward system was not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from medledger.associations import NEVER, RECENT, Associations, Interval, Margins, Window, owner, window
from medledger.clock import FORMAT_BEGAN
from medledger.ledger import Ledger
from medledger.records import Association, DeviceBatch, DeviceStatus, Reading, Record

from .. import logs
from ..subjects import Subjects
from .adt import Movement
from .moves import Beds, by_hand, plan, reconcile
from .patients import Patient

REMEMBERED: Final = 4 * RECENT
"""Stays of a device that the agent keeps in memory."""

MAX_DEVICES: Final = 1024
"""Devices of which it is remembered what was last said about them: names come from outside."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A reading, and what its message says about whose it is: all numbers of each patient that it names."""

    reading: Reading
    patients: tuple[tuple[Patient, ...], ...]
    stamp: int | None  # the message's own time, UTC ms


@dataclass(frozen=True, slots=True)
class Told:
    """What an ADT message said, and when it came in (UTC ms)."""

    movements: tuple[Movement, ...]
    received: int


@dataclass(frozen=True, slots=True)
class ByHand:
    """What a person said. Without a patient, that nobody is at the device; with `until`, whose it was."""

    device: str
    patient: Patient | None
    at: int | None
    until: int | None
    raw: bytes
    received: int


@dataclass(frozen=True, slots=True)
class Wired:
    """What an instrument of this box measured, and between which times (UTC ms), where that is known."""

    record: Reading | DeviceBatch
    span: Window | None


class Ward:
    """Decides for one agent, which began at `since` (UTC ms, by the box's clock)."""

    def __init__(self, ledger: Ledger, subjects: Subjects, beds: Beds, margins: Margins, *, since: int = 0) -> None:
        self._ledger = ledger
        self._subjects = subjects
        self._beds = beds
        self._margins = margins
        self._since = since
        self._known: Associations | None = None
        self._reasons: dict[str, str | None] = {}  # by device: what was last said of it
        self._astray: set[str] = set()
        self._left: deque[str] = deque()

    @property
    def known(self) -> Associations:
        """All associations that stand on our feed, and those that were decided on since."""
        if self._known is None:
            self._known = logged_associations(self._ledger, most=REMEMBERED)
        return self._known

    def undo(self) -> None:
        """Something that was decided on could not be logged: what stands on the ledger holds."""
        self._known = None

    def decide(self, draft: object) -> Sequence[Record]:
        """The records that a draft comes to now."""
        if isinstance(draft, Unplaced):
            return (self._place(draft), *self._clock(draft.reading))
        if isinstance(draft, Wired):
            return (self._wire(draft),)
        if isinstance(draft, Told):
            found = [entry for each in draft.movements for entry in self._plan(each, draft.received)]
            logs.event("association", entries=len(found), events=",".join(each.event for each in draft.movements))
            return self._noticed(found)
        if isinstance(draft, ByHand):
            subject = None if draft.patient is None else self._pseudonym(draft.patient, draft.received)
            said = by_hand(
                self.known,
                self._beds,
                draft.received,
                draft.raw,
                device=draft.device,
                subject=subject,
                at=draft.at,
                until=draft.until,
            )
            logs.event("association", entries=len(said), events="by hand")
            return self._noticed(said)
        assert isinstance(draft, Reading)  # nothing else is made of messages
        return (draft, *self._clock(draft))

    def departed(self) -> list[str]:
        """The devices whose patient has left since this was asked last. Any thread may ask."""
        found = []
        while self._left:
            found.append(self._left.popleft())
        return found

    def reconcile(self, now: int) -> list[Association]:
        """What follows from a table of beds that changed since the last run."""
        return reconcile(self.known, self._beds, now)

    def subject_at(self, device: str, at: int) -> bytes | None:
        """Who is at the device then."""
        holding = {each.subject for each in self.known.of(device)[-RECENT:] if each.holds(at)}
        return holding.pop() if len(holding) == 1 else None

    def _noticed(self, entries: list[Association]) -> list[Association]:
        """Whose devices are left alone by these entries."""
        for device in {entry.device for entry in entries if entry.action == "end"}:
            if not any(each.end == NEVER for each in self.known.of(device)[-RECENT:]):
                self._left.append(device)
        return entries

    def _plan(self, movement: Movement, received: int) -> list[Association]:
        return plan(movement, self.known, self._beds, self._pseudonym, received)

    def _pseudonym(self, patient: Patient, at: int) -> bytes:
        return self._subjects.subject(patient.number, patient.issuer, at)

    def _place(self, draft: Unplaced) -> Reading:
        reading = draft.reading
        found = self._owner(draft)
        if isinstance(found, Interval) and not self._agrees(draft, found):
            found = "conflict"
        reason = found if isinstance(found, str) else None
        if self._reasons.get(reading.device) != reason:
            if len(self._reasons) >= MAX_DEVICES:
                self._reasons.clear()
            self._reasons[reading.device] = reason
            logs.warning("readings in quarantine" if reason else "readings have a patient again", reason=reason)
        return replace(reading, quarantine=found) if isinstance(found, str) else replace(reading, subject=found.subject)

    def _wire(self, draft: Wired) -> Reading | DeviceBatch:
        """Nobody is named by an instrument: whose it is, the interval alone says. A batch that is nobody's says so by
        having no subject: what the device signed has no place for more.
        """
        record = draft.record
        assert record.time is not None  # it was received
        stamped = record if isinstance(record, Reading) and record.device_time is not None else None
        span = draft.span if stamped is None else window(stamped, None, self._margins)
        intervals = self.known.of(record.device)[-RECENT:]
        found: Interval | str
        if record.time < FORMAT_BEGAN:
            found = self._by_order(record.device, span)
        elif stamped is None and any(record.time < at < NEVER for each in intervals for at in (each.begin, each.end)):
            found = "uncertain"  # what is known is still to come: our clock was set back, and it alone says when
        else:
            found = owner(intervals, span)
        if isinstance(found, Interval):
            return replace(record, subject=found.subject)
        return replace(record, quarantine=found) if isinstance(record, Reading) else record

    def _by_order(self, device: str, span: Window | None) -> Interval | str:
        """Whose it is by what came in last: only of what was measured in this run, and after that came in."""
        last = self.known.last(device)
        if last is None:
            return "unassociated"
        since = max(self._since, last.noted if last.noted < FORMAT_BEGAN else 0)
        return last if span is not None and span[0] >= since else "uncertain"

    def _clock(self, reading: Reading) -> Sequence[Record]:
        """A word about a device's clock, where there is something new to say."""
        if reading.device_time is None or reading.time is None or reading.time < FORMAT_BEGAN:
            return ()
        ahead = reading.device_time - reading.time
        astray = abs(ahead) > self._margins.delay
        if astray is (reading.device in self._astray):
            return ()
        if len(self._astray) >= MAX_DEVICES:
            self._astray.clear()
        (self._astray.add if astray else self._astray.discard)(reading.device)
        detail = f"its time is {abs(ahead) // 1000} s {'ahead of' if ahead > 0 else 'behind'} ours" if astray else None
        logs.warning("a device's clock is far from ours" if astray else "a device's clock is near ours again")
        status = DeviceStatus(
            device=reading.device, state="live", detail=detail or "its time is near ours", time=reading.time
        )
        return (status,)

    def _owner(self, draft: Unplaced) -> Interval | str:
        reading = draft.reading
        assert reading.time is not None  # it was received
        if reading.time < FORMAT_BEGAN:
            return self.known.last(reading.device) or "unassociated"
        intervals = self.known.of(reading.device)[-RECENT:]
        found = owner(intervals, window(reading, draft.stamp, self._margins))
        if found == "unassociated" and self.known.knows(reading.device) and not intervals:
            return "after-discharge"
        return found

    def _agrees(self, draft: Unplaced, interval: Interval) -> bool:
        if not draft.patients:
            return True
        if len(draft.patients) > 1:
            return False
        (numbers,) = draft.patients
        return not numbers or any(self._pseudonym(each, interval.noted) == interval.subject for each in numbers)


def logged_associations(ledger: Ledger, author: bytes | None = None, *, most: int | None = None) -> Associations:
    """What an author, by default this box, has logged about who is where, in the order of its feed."""
    found = ledger.entries("association", author=author or ledger.me)
    entries = (
        Association.from_content(each.content, subject=each.subject, time=each.time)
        for each in sorted(found, key=lambda each: (each.seq, each.index))
    )
    return Associations(entries, most=most)
