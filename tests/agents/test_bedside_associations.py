"""Who a reading belongs to: ADT in any order, readings late and early, clocks wrong. Pure; nothing here listens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medledger.associations import Associations, Margins, owner, standing, window
from medledger.records import Association, Reading
from medledger_agents.bedside.adt import (
    ADMIT,
    CANCEL,
    CANCEL_ADMIT,
    DISCHARGE,
    MERGE,
    TRANSFER,
    UPDATE,
    Location,
    Movement,
)
from medledger_agents.bedside.moves import Beds, by_hand, plan, reconcile
from medledger_agents.bedside.patients import Patient

MINUTE = 60_000
HOUR = 60 * MINUTE
NINE = 1_790_000_000_000
A, B, ELSEWHERE = Location("ICU", "1", "A"), Location("ICU", "1", "B"), Location("SURG", "9")
BEDS = Beds({"MON-A": A, "PUMP-A": A, "MON-B": B})
ANNA, BERT, CLEO = Patient("4711", "HOSP"), Patient("4712", "HOSP"), Patient("4713", "HOSP")
MARGINS = Margins(bound=5_000, delay=MINUTE)
NTP = 532226


def pseudonym(patient: Patient, at: int) -> bytes:
    """As subjects.py does, with a period of 30 days."""
    return blake2b(f"{patient}{at // (30 * 24 * HOUR)}".encode(), digest_size=16).digest()


def subject(patient: Patient) -> bytes:
    """The patient's pseudonym in the tests' period."""
    return pseudonym(patient, NINE)


@dataclass
class Ledger:
    """What has been logged, and what is known by it."""

    known: Associations = field(default_factory=Associations)
    entries: list[Association] = field(default_factory=list)
    now: int = NINE

    def tell(self, event: str, patient: Patient, at: int, **more: Any) -> list[Association]:
        """An ADT message comes in."""
        raw = bytes(32)
        found = plan(Movement(event, patient, at, raw, **more), self.known, BEDS, pseudonym, max(self.now, at))
        self.entries += found
        return found

    def read(self, device: str, at: int, *, received: int | None = None, ntp: bool = True) -> bytes | str:
        """A reading of a device whose clock is right: whose it is, or why it is nobody's."""
        reading = Reading(
            device=device, device_time=at, device_sync=NTP if ntp else 532224, time=at if received is None else received
        )
        found = owner(self.known.of(device), window(reading, None, MARGINS))
        return found if isinstance(found, str) else found.subject


def test_an_admission_begins_at_every_device_of_the_bed() -> None:
    """Each of the bed's devices measures the patient from the event's time on; other beds' do not."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    assert ledger.read("MON-A", NINE + MINUTE) == ledger.read("PUMP-A", NINE + MINUTE) == subject(ANNA)
    assert ledger.read("MON-A", NINE - MINUTE) == "unassociated"
    assert ledger.read("MON-B", NINE + MINUTE) == "unassociated"
    assert {entry.location for entry in ledger.entries} == {"ICU^1^A"}


def test_a_discharge_ends_it() -> None:
    """What was measured before is the patient's, even when it comes late; what was after is nobody's."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(DISCHARGE, ANNA, NINE + HOUR, prior=A)
    assert ledger.read("MON-A", NINE + HOUR - MINUTE, received=NINE + 2 * HOUR) == subject(ANNA)
    assert ledger.read("MON-A", NINE + HOUR + MINUTE) == "after-discharge"
    assert ledger.read("MON-A", NINE + HOUR + 1000) == "uncertain", "a clock may be off by the bound"


def test_a_late_reading_of_an_unsynchronised_device_is_nobodys() -> None:
    """Its own time proves nothing, and at the time of receipt the patient has gone."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(DISCHARGE, ANNA, NINE + HOUR, prior=A)
    assert ledger.read("MON-A", NINE + HOUR - MINUTE, received=NINE + HOUR + 2 * MINUTE, ntp=False) == "uncertain"
    assert ledger.read("MON-A", NINE + HOUR + MINUTE, received=NINE + HOUR + 2 * MINUTE, ntp=False) == "after-discharge"


def test_a_transfer_moves_the_patient() -> None:
    """From one bed to another here; and out of the ward, by where the patient is then."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(TRANSFER, ANNA, NINE + HOUR, location=B, prior=A)
    assert ledger.read("MON-A", NINE + 2 * HOUR) == "after-discharge"
    assert ledger.read("MON-B", NINE + 2 * HOUR) == subject(ANNA)
    ledger.tell(TRANSFER, ANNA, NINE + 3 * HOUR, location=ELSEWHERE)
    assert ledger.read("MON-B", NINE + 4 * HOUR) == "after-discharge"


def test_two_patients_that_swap_beds_are_swapped() -> None:
    """As an A17 tells it: each leaves and arrives, and nobody is ended by the other's arrival."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(ADMIT, BERT, NINE, location=B)
    ledger.tell(TRANSFER, ANNA, NINE + HOUR, location=B, prior=A)
    ledger.tell(TRANSFER, BERT, NINE + HOUR, location=A, prior=B)
    assert ledger.read("MON-A", NINE + 2 * HOUR) == subject(BERT)
    assert ledger.read("MON-B", NINE + 2 * HOUR) == subject(ANNA)


def test_the_next_patient_ends_the_one_before() -> None:
    """A discharge that is missing, or comes late and says an earlier time, leaves nothing to the old patient."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(ADMIT, BERT, NINE + 2 * HOUR, location=A)
    assert ledger.read("MON-A", NINE + HOUR + MINUTE) == subject(ANNA)
    assert ledger.read("MON-A", NINE + 3 * HOUR) == subject(BERT)
    ledger.tell(DISCHARGE, ANNA, NINE + HOUR, prior=A)
    assert ledger.read("MON-A", NINE + HOUR + MINUTE) == "after-discharge"
    assert ledger.read("MON-A", NINE + 3 * HOUR) == subject(BERT)


def test_an_update_takes_out_and_never_puts_in() -> None:
    """An A08 that names another bed ends the stay; one that names this bed changes nothing; an old one is too late."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    assert ledger.tell(UPDATE, ANNA, NINE + HOUR, location=A) == []
    assert ledger.tell(UPDATE, ANNA, NINE - HOUR, location=B) == []
    assert ledger.tell(UPDATE, BERT, NINE + HOUR, location=B) == []
    ledger.tell(UPDATE, ANNA, NINE + HOUR, location=B)
    assert ledger.read("MON-A", NINE + 2 * HOUR) == "after-discharge"
    assert ledger.read("MON-B", NINE + 2 * HOUR) == "unassociated"


def test_what_was_cancelled_did_not_hold() -> None:
    """A cancelled admission never was; a cancelled discharge begins again, and what lies between stays nobody's."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(CANCEL_ADMIT, ANNA, NINE + HOUR, prior=A)
    assert ledger.read("MON-A", NINE + 30 * MINUTE) == "after-discharge" or ledger.known.of("MON-A") == []
    ledger.tell(ADMIT, BERT, NINE + 2 * HOUR, location=A)
    ledger.tell(DISCHARGE, BERT, NINE + 3 * HOUR, prior=A)
    ledger.tell(CANCEL, BERT, NINE + 4 * HOUR, location=A)
    assert ledger.read("MON-A", NINE + 3 * HOUR + MINUTE) == "after-discharge"
    assert ledger.read("MON-A", NINE + 5 * HOUR) == subject(BERT)


def test_a_merge_goes_on_under_the_other_number() -> None:
    """From the merge on, readings are the surviving number's; a late admission of the other holds until the merge."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(MERGE, CLEO, NINE + HOUR, merged=ANNA)
    assert ledger.read("MON-A", NINE + 30 * MINUTE) == subject(ANNA)
    assert ledger.read("MON-A", NINE + 2 * HOUR) == subject(CLEO)
    ledger.tell(DISCHARGE, CLEO, NINE + 3 * HOUR, prior=A)
    assert ledger.read("MON-A", NINE + 4 * HOUR) == "after-discharge"
    late = Ledger()
    late.tell(MERGE, CLEO, NINE + HOUR, merged=ANNA)
    late.tell(ADMIT, ANNA, NINE, location=A)
    assert late.read("MON-A", NINE + 2 * HOUR) == "after-discharge"


def test_a_stay_across_the_turn_of_a_period_is_one_stay() -> None:
    """A patient whose pseudonym has changed since the admission is found all the same."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    later = NINE + 40 * 24 * HOUR
    assert pseudonym(ANNA, later) != subject(ANNA)
    assert ledger.read("MON-A", later) == subject(ANNA)
    ledger.tell(DISCHARGE, ANNA, later, prior=A)
    assert ledger.read("MON-A", later + HOUR) == "after-discharge"


def test_what_is_known_is_not_said_again() -> None:
    """The same message under another id adds nothing."""
    ledger = Ledger()
    for event, more in ((ADMIT, {"location": A}), (DISCHARGE, {"prior": A})):
        at = NINE if event == ADMIT else NINE + HOUR
        assert ledger.tell(event, ANNA, at, **more)
        assert ledger.tell(event, ANNA, at, **more) == []
    assert ledger.tell(ADMIT, ANNA, NINE, location=A) == []


def test_a_person_says_who_is_there_and_who_was() -> None:
    """By hand a device gets a patient and loses the one it had; what was is assigned without touching what is."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    hand = {"known": ledger.known, "beds": BEDS, "raw": None}
    by_hand(now=NINE + HOUR, device="MON-A", subject=subject(BERT), at=None, until=None, **hand)
    assert ledger.read("MON-A", NINE + 2 * HOUR) == subject(BERT)
    by_hand(now=NINE + 3 * HOUR, device="MON-A", subject=None, at=None, until=None, **hand)
    assert ledger.read("MON-A", NINE + 4 * HOUR) == "after-discharge"
    nobodys = Reading(device="MON-A", quarantine="unassociated", device_time=NINE - HOUR, device_sync=NTP, time=NINE)
    assert standing(nobodys, ledger.known) == (None, "unassociated")
    by_hand(now=NINE + 5 * HOUR, device="MON-A", subject=subject(CLEO), at=NINE - 2 * HOUR, until=NINE - MINUTE, **hand)
    assert standing(nobodys, ledger.known) == (subject(CLEO), None)
    assert ledger.read("MON-A", NINE + 30 * MINUTE) == subject(ANNA)


def test_a_patient_by_hand_is_no_answer_for_what_was_in_conflict() -> None:
    """Only what a person says afterwards about that time gives a reading in quarantine to somebody."""
    ledger = Ledger()
    by_hand(ledger.known, BEDS, NINE, None, device="MON-A", subject=subject(ANNA), at=None, until=None)
    conflict = Reading(device="MON-A", quarantine="conflict", time=NINE + HOUR)
    assert standing(conflict, ledger.known) == (None, "conflict")


def test_a_device_that_was_moved_leaves_its_patient() -> None:
    """A new table of beds ends the old association, and begins with whoever lies in the new bed."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(ADMIT, BERT, NINE, location=B)
    moved = Beds({"MON-A": A, "PUMP-A": B, "MON-B": B})
    reconcile(ledger.known, moved, NINE + HOUR)
    assert ledger.read("PUMP-A", NINE + 2 * HOUR) == subject(BERT)
    assert ledger.read("MON-A", NINE + 2 * HOUR) == subject(ANNA)
    assert reconcile(ledger.known, moved, NINE + 2 * HOUR) == []


# --- laws ------------------------------------------------------------------------------------------------------------

PATIENTS = (ANNA, BERT, CLEO)


@st.composite
def stays(draw: st.DrawFn) -> list[tuple[Patient, int, int]]:
    """Patients one after the other in bed A, with pauses: who, from when, until when."""
    found, at = [], NINE
    for _ in range(draw(st.integers(1, 4))):
        begin = at + draw(st.integers(0, 3)) * 20 * MINUTE
        at = begin + draw(st.integers(1, 6)) * 20 * MINUTE
        found.append((draw(st.sampled_from(PATIENTS)), begin, at))
    return found


@dataclass(frozen=True)
class Measured:
    """A reading that is on its way."""

    true: int
    device_time: int | None
    ntp: bool
    arrives: int


NEAR = st.sampled_from((0, 1, 3_000, 30_000, 5 * MINUTE, 15 * MINUTE, HOUR))
LATE = st.sampled_from((0, 0, 1_000, 50_000, 10 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR))


@st.composite
def measured(draw: st.DrawFn, turns: list[int]) -> Measured:
    """A reading about when somebody came or went. A synchronised device's clock is off by the bound at most, and its
    reading as late as can be. Any other clock is anything, and what it says is late by the delay at most, or its clock
    gives away that it is later."""
    true = draw(st.sampled_from(turns)) + draw(st.sampled_from((-1, 1))) * draw(NEAR)
    late = draw(LATE)
    if draw(st.booleans()):
        return Measured(true, true + draw(st.sampled_from((-MARGINS.bound, 0, MARGINS.bound))), True, true + late)
    wrong = draw(st.sampled_from((0, 0, -50_000, HOUR, -HOUR, 10 * 365 * 24 * HOUR)))
    assume(late <= MARGINS.delay or abs(wrong - late) > MARGINS.delay)
    return Measured(true, true + wrong, False, true + late)


def run(events: list[tuple[int, Any]]) -> tuple[Associations, list[tuple[Measured, Reading]]]:
    """Let everything come in, in this order. What is logged of the readings."""
    ledger = Ledger()
    logged = []
    for arrives, what in sorted(events, key=lambda each: each[0]):
        if isinstance(what, Movement):
            plan(what, ledger.known, BEDS, lambda patient, _: subject(patient), arrives)
            continue
        reading = Reading(
            device="MON-A", device_time=what.device_time, device_sync=NTP if what.ntp else None, time=arrives
        )
        found = owner(ledger.known.of("MON-A"), window(reading, None, MARGINS))
        if isinstance(found, str):
            logged.append((what, replace(reading, quarantine=found)))
        else:
            logged.append((what, replace(reading, subject=found.subject)))
    return ledger.known, logged


@given(st.data())
def test_no_reading_reaches_the_patient_before_or_after(data: st.DataObject) -> None:
    """Whatever the order, the delay and the clocks: by all that is on the ledger in the end, nobody has a reading that
    was measured outside his stays; and every reading is there, somebody's or in quarantine."""
    truth = data.draw(stays())
    events: list[tuple[int, Any]] = []
    for patient, begin, end in truth:
        for movement in (
            Movement(ADMIT, patient, begin, bytes(32), location=A),
            Movement(DISCHARGE, patient, end, bytes(32), prior=A),
        ):
            times = range(data.draw(st.sampled_from((1, 1, 2))))  # said again, under another id
            events += [(movement.at + data.draw(LATE), movement) for _ in times]
    turns = [at for _, begin, end in truth for at in (begin, end)]
    readings = data.draw(st.lists(measured(turns), min_size=4, max_size=20))
    events += [(each.arrives, each) for each in readings]
    known, logged = run(data.draw(st.permutations(events)))
    assert len(logged) == len(readings)
    for what, reading in logged:
        whose, reason = standing(reading, known, MARGINS)
        assert (whose is None) == (reason is not None)
        if whose is not None:
            there = [subject(patient) for patient, begin, end in truth if begin <= what.true < end]
            assert whose in there, (what, reading, known.of("MON-A"))


@given(st.data())
def test_what_came_before_the_discharge_is_not_lost_to_caution(data: st.DataObject) -> None:
    """In order, at once, and with right clocks, a reading well within a stay is the patient's."""
    truth = data.draw(stays())
    events: list[tuple[int, Any]] = []
    for patient, begin, end in truth:
        events.append((begin, Movement(ADMIT, patient, begin, bytes(32), location=A)))
        events.append((end, Movement(DISCHARGE, patient, end, bytes(32), prior=A)))
    patient, begin, end = data.draw(st.sampled_from(truth))
    true = data.draw(st.integers(begin + 2 * MARGINS.delay, end - 2 * MARGINS.delay))
    events.append((true, Measured(true, true, data.draw(st.booleans()), true)))
    known, [(_, reading)] = run(events)
    assert standing(reading, known, MARGINS) == (subject(patient), None)


@given(st.permutations(range(6)))
def test_the_fold_does_not_ask_for_the_order(order: list[int]) -> None:
    """The same entries in another order give the same intervals."""
    facts = [(ANNA, "begin", 0), (ANNA, "end", 60), (BERT, "begin", 70), (BERT, "end", 90), (ANNA, "begin", 95)]
    facts.append((ANNA, "end", 99))
    entries = [
        Association(device="MON-A", action=action, at=NINE + at, subject=subject(patient), time=NINE)
        for patient, action, at in facts
    ]
    assert Associations(entries[place] for place in order).of("MON-A") == Associations(entries).of("MON-A")


@given(st.integers(1, 60), st.integers(0, 59))
def test_what_is_long_past_is_forgotten_and_stays_past(count: int, again: int) -> None:
    """With few stays remembered the present is as with all; an old admission that is told again opens nothing."""
    few, every = Ledger(Associations(most=4)), Ledger()
    for ledger in (few, every):
        for number in range(count):
            begin = NINE + number * HOUR
            ledger.tell(ADMIT, PATIENTS[number % 3], begin, location=A)
            if number < count - 1:
                ledger.tell(DISCHARGE, PATIENTS[number % 3], begin + 30 * MINUTE, prior=A)
        old = again % count
        ledger.tell(ADMIT, PATIENTS[old % 3], NINE + old * HOUR, location=A)
    for hour in range(max(0, count - 4), count + 1):
        for minutes in (10, 50):
            at = NINE + hour * HOUR + minutes * MINUTE
            assert few.read("MON-A", at) == every.read("MON-A", at)
    assert len(few.known.of("MON-A")) <= 9


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_step_of_the_boxs_clock_gives_nothing_to_the_wrong_patient(step: int) -> None:
    """The clock jumps an hour between two patients: synchronised devices' readings stay right, the others' are put in
    quarantine rather than given by a time that cannot be."""
    ledger = Ledger()
    ledger.tell(ADMIT, ANNA, NINE, location=A)
    ledger.tell(DISCHARGE, ANNA, NINE + 2 * HOUR, prior=A)
    ledger.tell(ADMIT, BERT, NINE + 2 * HOUR, location=A)
    for true in (NINE + HOUR, NINE + 150 * MINUTE):
        right = subject(ANNA) if true < NINE + 2 * HOUR else subject(BERT)
        assert ledger.read("MON-A", true, received=true + step) in (right, "uncertain")
        assert ledger.read("MON-A", true, received=true + step, ntp=False) == "uncertain"
