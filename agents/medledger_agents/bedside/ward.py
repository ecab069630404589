"""The ward as this agent knows it: who is at which device, and so whose a reading is.

- All of it stands on the ledger. It is read from there at the start, and again whenever a block could not be logged; in
  between, each entry is taken into account the moment it is decided on.
- Decisions are made one after the other in the recorder's thread, in the order in which messages came in.
- A device that is synchronised says itself when it measured. Any other reading is dated by the box's clock, which may
  be wrong: it is given to who lies there only where all that was told about the device had been told before it was
  measured, or where the box's clock is known to agree with the ward system's (reckoning.py). Else it is uncertain, as
  is all of it while the box's clock is known to be behind, or has never been set.
- An end that is told to a box whose clock is behind stands twice: at its time, and so much earlier, for what the box
  has dated by its own clock.
- A device whose time is far from the time of receipt is flagged when that begins and ends; no time is corrected.
- A message that names somebody else than the interval does (PID-3) is in conflict with it, and its readings are in
  quarantine: the monitor was given a new patient, or the ward system was not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from medledger.associations import (
    NEVER,
    RECENT,
    Associations,
    Interval,
    Margins,
    Window,
    claimed,
    owner,
    window,
)
from medledger.clock import FORMAT_BEGAN
from medledger.ledger import Ledger
from medledger.records import Association, DeviceBatch, DeviceStatus, Reading, Record

from .. import logs
from ..health import HEALTH, Health
from ..subjects import Subjects
from .adt import CANCEL_ADMIT, DISCHARGE, MERGE, UPDATE, Movement
from .moves import Beds, by_hand, plan, reconcile
from .patients import Patient
from .reckoning import Clocks, Reckoning, clocks

REMEMBERED: Final = 4 * RECENT
"""Stays of a device that the agent keeps in memory."""

MAX_DEVICES: Final = 1024
"""Devices of which it is remembered what was last said about them: names come from outside."""


MAX_PATIENTS: Final = 1024
MAX_PLACES: Final = 8
"""Patients and places of each that are remembered for messages that come out of order."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A reading, and what its message says about whose it is: all numbers of each patient that it names."""

    reading: Reading
    patients: tuple[tuple[Patient, ...], ...]
    stamp: int | None  # the message's own time, UTC ms


@dataclass(frozen=True, slots=True)
class Told:
    """What an ADT message said, and when it came in (UTC ms); its sender, and when by its own clock it was sent."""

    movements: tuple[Movement, ...]
    received: int
    sender: str
    sent: int


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
    """Decides for one agent."""

    def __init__(
        self,
        ledger: Ledger,
        subjects: Subjects,
        beds: Beds,
        margins: Margins,
        *,
        read: Clocks = clocks,
        health: Health = HEALTH,
    ) -> None:
        self._ledger = ledger
        self._subjects = subjects
        self._beds = beds
        self._margins = margins
        self._reckoning = Reckoning(margins.bound, read)
        self._health = health
        self._known: Associations | None = None
        self._reasons: dict[str, str | None] = {}  # by device: what was last said of it
        self._astray: set[str] = set()
        self._left: deque[str] = deque()
        self._elsewhere: dict[Patient, tuple[Movement, ...]] = {}  # of this run: where patients were told to be

    @property
    def known(self) -> Associations:
        """All associations that stand on our feed, and those that were decided on since."""
        if self._known is None:
            self._known = logged_associations(self._ledger, most=REMEMBERED)
            self._remember()
        return self._known

    def _remember(self) -> None:
        """When the last runs were told last about each device, and what of it was still to come.

        A time to come that lies before a later message about the device was sent has come.
        """
        feed = self._ledger.me
        reached: dict[str, int] = {}  # by device: what the ward system's clock showed at least, as was told later
        entries = self._ledger.entries("association", author=feed)
        for entry in sorted(entries, key=lambda each: (each.seq, each.index), reverse=True):
            device, at = entry.content["device"], entry.content.get("at", entry.time)
            sent = entry.content.get("sent")  # none where it was told by our own clock
            ahead = at - (entry.time if sent is None else sent)
            if device not in reached or (ahead > 0 and at > reached[device]):
                assert feed is not None  # whose entries these are
                block = self._ledger.block(feed, entry.seq)
                if block is not None:
                    self._reckoning.told_before(device, block.time, block.header.clock.monotonic_ms, ahead)
            reached[device] = max(reached.get(device, -NEVER), -NEVER if sent is None else sent)

    def undo(self) -> None:
        """Something that was decided on could not be logged: what stands on the ledger holds."""
        self._known = None

    def look(self) -> None:
        """It is now: each decision begins so, and where there is none the agent does it now and then."""
        self._reckoning.look()

    def decide(self, draft: object) -> Sequence[Record]:
        """The records that a draft comes to now."""
        self.look()
        if isinstance(draft, Unplaced):
            return (self._place(draft), *self._clock(draft.reading))
        if isinstance(draft, Wired):
            return (self._wire(draft),)
        if isinstance(draft, DeviceStatus):
            return (draft,)
        if isinstance(draft, Told):
            found = self._move(draft)
            logs.event("association", entries=len(found), events=",".join(each.event for each in draft.movements))
            return found
        if isinstance(draft, ByHand):
            said = self._by_hand(draft)
            logs.event("association", entries=len(said), events="by hand")
            return said
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
        pending = {device for device in self.known.devices() if self._reckoning.pending(device)}
        return self._noticed(reconcile(self.known, self._beds, now, pending), now)

    # --- who is where -----------------------------------------------------------------------------------------------

    def _move(self, told: Told) -> list[Association]:
        """What an ADT message comes to."""
        self._reckoning.heard(told.sender, told.sent, told.received)
        self._compare_clocks()
        lead = max(0, *(self._reckoning.leads() or [told.received - told.sent]))
        found = [
            entry
            for movement in told.movements
            for each in (movement, *self._later(movement, told.received))
            for entry in plan(each, self.known, self._beds, self._pseudonym, told.received, lead, told.sent)
        ]
        found += self._sooner(found)
        return self._noticed(found, told.sent)

    def _later(self, movement: Movement, now: int) -> list[Movement]:
        """What was told before about a patient who comes late: where he was after that, and who he is by now."""
        told = self._elsewhere.get(movement.patient, ())
        if movement.event == MERGE:
            assert movement.merged is not None  # of a merge
            self._remember_of(movement.merged, movement)
        elif movement.event in (DISCHARGE, CANCEL_ADMIT):
            self._remember_of(movement.patient, movement)
        elif movement.location is not None:
            self._remember_of(movement.patient, replace(movement, event=UPDATE))
        after = [each for each in told if self._comes_after(each, movement, now)]
        return sorted(after, key=lambda each: each.earliest)

    def _comes_after(self, told: Movement, late: Movement, now: int) -> bool:
        """Whether what was told already holds after one that comes late. At one moment, what is told last holds.

        A discharge stands on the ledger, unless under a pseudonym of another period. One that is known to the minute
        may have come after all that happened within it, and an end that stands there may be of an earlier stay.
        """
        if told.event == DISCHARGE:
            if told.earliest < told.at:
                return told.at > late.earliest
            name = self._pseudonym(told.patient, now)
            known = any(told.earliest in self.known.ends(device, name) for device in self._beds.devices)
            return not known and told.at >= late.earliest
        exact = late.event != MERGE and late.earliest == late.at
        return told.event == MERGE or told.at >= late.earliest + exact

    def _remember_of(self, patient: Patient, movement: Movement) -> None:
        told = self._elsewhere.pop(patient, ())
        self._elsewhere[patient] = (*told, movement)[-MAX_PLACES:]
        if len(self._elsewhere) > MAX_PATIENTS:
            del self._elsewhere[next(iter(self._elsewhere))]

    def _sooner(self, entries: Iterable[Association]) -> list[Association]:
        """The same ends by our own clock, where that is known to be behind."""
        behind, found = self._reckoning.behind(), []
        for entry in entries:
            if not behind or entry.action != "end" or entry.reason == "merge":  # after a merge it is the same person
                continue
            assert entry.subject is not None  # each entry about a message has both
            assert entry.at is not None
            stays = self.known.stays(entry.device, entry.subject)
            begin = max((stay.begin for stay in stays if stay.begin < entry.at), default=None)
            if begin is not None:
                found.append(replace(entry, at=max(entry.at - behind, begin)))
                self.known.apply(found[-1])
        return found

    def _by_hand(self, draft: ByHand) -> list[Association]:
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
            ward=self._reckoning.shows(),
        )
        return self._noticed(said, draft.received)

    def _noticed(self, entries: list[Association], now: int) -> list[Association]:
        """That these were told, by a clock that shows `now`; and whose devices are left alone by them."""
        for entry in entries:
            self._reckoning.told(entry.device, 0 if entry.at is None else entry.at - now)
        for device in {entry.device for entry in entries if entry.action == "end"}:
            if not any(each.end == NEVER for each in self._recent(device)):
                self._left.append(device)
        return entries

    def _compare_clocks(self) -> None:
        """A clock that differs from the ward system's is a fault: somebody has to set one."""
        leads = self._reckoning.leads()
        behind, ahead = self._reckoning.behind(), max(leads, default=0)
        if behind:
            reason = f"this box's clock is {behind // 1000} s or more behind the ward system's (MSH-7): set one of them"
        elif ahead > self._margins.delay:
            minutes = ahead // 60_000
            reason = f"the ward system's messages are {minutes} min old (MSH-7): a clock is wrong, or they come late"
        else:
            self._health.mended("ward system")
            return
        self._health.fault("ward system", reason)

    def _recent(self, device: str) -> Sequence[Interval]:
        return self.known.of(device)[-RECENT:]

    def _pseudonym(self, patient: Patient, at: int) -> bytes:
        return self._subjects.subject(patient.number, patient.issuer, at)

    # --- whose a reading is -----------------------------------------------------------------------------------------

    def _place(self, draft: Unplaced) -> Reading:
        reading = draft.reading
        found = self._owner(draft)
        if isinstance(found, Interval) and not self._agrees(draft, found):
            found = "conflict"
        self._say(reading.device, found)
        return replace(reading, quarantine=found) if isinstance(found, str) else replace(reading, subject=found.subject)

    def _wire(self, draft: Wired) -> Reading | DeviceBatch:
        """Nobody is named by an instrument: whose it is, the interval alone says. A batch that is nobody's says so by
        having no subject: what the device signed has no place for more.
        """
        record = draft.record
        assert record.time is not None  # it was received
        if isinstance(record, Reading) and record.device_time is not None:
            found = self._timed(record, None)
        else:
            found = self._by_our_clock(record.device, draft.span, record.time)
        self._say(record.device, found)
        if isinstance(found, Interval):
            return replace(record, subject=found.subject)
        return replace(record, quarantine=found) if isinstance(record, Reading) else record

    def _say(self, device: str, found: Interval | str) -> None:
        """Log it where it is another reason than for the device's last reading."""
        reason = found if isinstance(found, str) else None
        if self._reasons.get(device) != reason:
            if len(self._reasons) >= MAX_DEVICES:
                self._reasons.clear()
            self._reasons[device] = reason
            logs.warning("readings in quarantine" if reason else "readings have a patient again", reason=reason)

    def _timed(self, reading: Reading, stamp: int | None) -> Interval | str:
        """Whose a reading is that says when it was measured, or whose message does."""
        assert reading.time is not None  # it was received
        known = claimed(reading, self._margins)
        if known is not None:
            return owner(self._recent(reading.device), known)
        return self._by_our_clock(reading.device, window(reading, stamp, self._margins), reading.time)

    def _by_our_clock(self, device: str, span: Window | None, received: int) -> Interval | str:
        """Whose it is that was measured between two moments by our clock, and came in at `received`."""
        intervals, reckoning = self._recent(device), self._reckoning
        if span is None or received < FORMAT_BEGAN or reckoning.behind() or not reckoning.dates(received):
            return owner(intervals, None)
        found = owner(intervals, span)
        if isinstance(found, str):
            return found
        if reckoning.after_all(device, span[0]):
            return found if found.end == NEVER else "uncertain"  # by what was told, the others have left
        if reckoning.agrees() and not self.known.said_here(device):  # by our clock as that stood then
            return owner(intervals, (span[0] - self._margins.bound, span[1] + self._margins.bound))
        return "uncertain"

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
        found = self._timed(reading, draft.stamp)
        if found == "unassociated" and self.known.knows(reading.device) and not self._recent(reading.device):
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
