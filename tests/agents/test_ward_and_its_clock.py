"""Whose a reading is where clocks are wrong, times are inexact and messages come late: one case each.

test_wards_and_clocks.py draws all of it at random.
"""

from __future__ import annotations

import pytest

from medledger.associations import window
from medledger.records import Association, Reading
from medledger_agents.bedside.reckoning import Reckoning
from medledger_agents.bedside.ward import Wired
from ward_world import (
    BED,
    HOUR,
    INSTRUMENT,
    MARGINS,
    MINUTE,
    NINE,
    NTP,
    SECOND,
    START,
    SUBJECTS,
    Adt,
    Box,
    Clock,
    in_the_end,
    said_by,
    tell,
    ward,
    whose,
)


@pytest.mark.parametrize("again", [False, True], ids=["", "started again"])
def test_what_was_kept_across_an_exchange_is_not_the_next_patients(again: bool) -> None:
    """The box's clock is an hour ahead, always: by it, what was measured of the one was measured of the other."""
    box = ward((START, HOUR))
    tell(box, "A01", "1", START)
    assert whose(box, START + MINUTE) == "1"
    tell(box, "A03", "1", NINE)
    tell(box, "A01", "2", NINE + MINUTE)
    if again:
        box.start()
    assert whose(box, NINE - 20 * MINUTE, kept=30 * MINUTE) is None
    assert whose(box, NINE + 11 * MINUTE) == "2"


def test_what_was_kept_is_the_old_patients_where_the_clocks_agree() -> None:
    """Caution is not all: a right clock, known to be right, says whose it was."""
    box = ward()
    tell(box, "A01", "1", START)
    tell(box, "A03", "1", NINE)
    tell(box, "A01", "2", NINE + MINUTE)
    assert whose(box, NINE - 20 * MINUTE, kept=30 * MINUTE) == "1"
    assert whose(box, NINE + 30 * SECOND, kept=30 * MINUTE) is None
    assert whose(box, NINE + 20 * MINUTE, kept=30 * MINUTE) == "2"


def test_a_machine_that_was_started_again_knows_no_order() -> None:
    """Until something of the ward system comes in, or what was measured before it is over."""
    box = Box(Clock([(START - HOUR, 0), (NINE + 10 * MINUTE, -20 * MINUTE)], [START - HOUR, NINE + 10 * MINUTE]))
    tell(box, "A01", "1", START)
    tell(box, "A03", "1", NINE)
    tell(box, "A01", "2", NINE)
    box.true = NINE + 11 * MINUTE
    box.start()
    assert whose(box, NINE + 5 * MINUTE, kept=7 * MINUTE) is None
    assert whose(box, NINE + 15 * MINUTE) is None, "by a clock that is behind it is the old patient's"
    assert whose(box, NINE + 40 * MINUTE) == "2"


def test_a_discharge_told_late_to_a_box_that_is_behind_takes_back() -> None:
    """The message itself is the first that shows it; what was given since the discharge stands under earlier times."""
    box = ward((NINE - MINUTE, -30 * MINUTE))
    tell(box, "A01", "1", NINE - 5 * HOUR)
    box.start()
    assert [whose(box, NINE + minutes * MINUTE) for minutes in (-40, 5, 10)] == ["1"] * 3
    tell(box, "A03", "1", NINE, received=NINE + 12 * MINUTE)
    assert in_the_end(box) == [True, False, False]
    assert "30 s" not in box.health.faults()["ward system"]
    assert "1800 s or more behind" in box.health.faults()["ward system"]


def test_a_clock_that_is_set_between_receipt_and_decision_dates_nothing() -> None:
    """What was dated by the clock as it was is not read by the clock as it is."""
    box = ward((NINE + HOUR, -2 * HOUR), (NINE + 2 * HOUR, 0))
    tell(box, "A01", "1", START)
    tell(box, "A01", "2", NINE)
    assert whose(box, NINE + MINUTE) == "2"
    box.true = NINE + 2 * HOUR + 1
    before = box.clock.read(NINE + 2 * HOUR - 1)[0]
    (record,) = box.take(Wired(INSTRUMENT.batch(72, time=before), (before - 1, before)))
    assert record.subject is None
    assert whose(box, NINE + 3 * HOUR) == "2"


def test_ward_messages_that_are_old_are_a_fault() -> None:
    """Of a clock, or of the way that they come: it is said, and mended by one that is not."""
    box = ward()
    tell(box, "A01", "1", START)
    assert box.health.faults() == {}
    box.start()
    box.true = NINE
    box.hear(Adt("A03", "1", NINE - HOUR, NINE - HOUR).raw())
    assert "60 min old" in box.health.faults()["ward system"]
    tell(box, "A08", "9", NINE + MINUTE)
    assert box.health.faults() == {}


def test_a_box_that_was_never_set_believes_synchronised_devices_alone() -> None:
    """Its own times are none; a discharge that is told late takes back there, too."""
    box = ward((START, -NINE))
    tell(box, "A01", "1", START)
    assert whose(box, NINE) is None
    assert whose(box, NINE, device="MON", claim=NINE) is None
    assert whose(box, NINE, device="MON", claim=NINE, sync=NTP) == "1"
    tell(box, "A03", "1", NINE - MINUTE, received=NINE + MINUTE)
    assert not any(in_the_end(box))


def test_two_messages_of_one_moment_are_taken_as_they_come() -> None:
    """Discharged and back is here; back and discharged is not: which of them is meant, the times do not say."""
    box = ward()
    tell(box, "A01", "1", START)
    tell(box, "A03", "1", NINE)
    tell(box, "A01", "1", NINE)
    assert whose(box, NINE + MINUTE) == "1"
    tell(box, "A03", "1", NINE, received=NINE + 2 * MINUTE)
    assert whose(box, NINE + 3 * MINUTE) is None
    other = ward()
    tell(other, "A01", "1", START)
    tell(other, "A01", "1", NINE)
    tell(other, "A03", "1", NINE)
    assert whose(other, NINE + MINUTE) is None


@pytest.mark.parametrize("trigger", ["A03", "A11", "A02", "A08"])
@pytest.mark.parametrize("order", [1, -1], ids=["", "reversed"])
def test_who_came_and_went_within_a_minute_is_gone(trigger: str, order: int) -> None:
    """Told to the minute, the end lies before the beginning as it is taken; it is its end all the same."""
    box = ward()
    messages = [("A01", BED, ""), (trigger, BED if trigger in ("A03", "A11") else "SURG^9", "")]
    for each, bed, prior in messages[::order]:
        tell(box, each, "1", NINE, bed=bed, prior=prior, minute=True)
    assert whose(box, NINE + 5 * MINUTE) is None


def test_the_next_patient_ends_the_one_before_at_the_earliest_time() -> None:
    """An admission to the minute: the old patient's until it began, the new one's when it is over."""
    box = ward()
    tell(box, "A01", "1", START)
    tell(box, "A01", "2", NINE, minute=True)
    assert [whose(box, NINE + at, device="MON", claim=NINE + at, sync=NTP) for at in (-MINUTE, 0, 2 * MINUTE)] == [
        "1",
        None,
        "2",
    ]


@pytest.mark.parametrize("number", ["1", "9"])
def test_a_discharge_of_either_number_ends_a_merged_stay(number: str) -> None:
    """Told late, of a time before the merge, or after it under the number that was given up."""
    for at in (NINE - MINUTE, NINE + 5 * MINUTE):
        box = ward()
        tell(box, "A01", "1", START)
        tell(box, "A40", "9", NINE, merged="1")
        assert whose(box, NINE + MINUTE) == "9"
        tell(box, "A03", number, at, received=NINE + 10 * MINUTE)
        assert whose(box, NINE + 12 * MINUTE) is None


def test_who_was_told_to_be_elsewhere_is_not_here_by_an_older_message() -> None:
    """The admission comes after the message that the patient has left again."""
    box = ward()
    tell(box, "A08", "1", NINE, bed="SURG^9")
    tell(box, "A01", "1", START, received=NINE + MINUTE)
    assert whose(box, NINE + 3 * MINUTE) is None


def test_a_person_is_obeyed_whatever_the_clock() -> None:
    """Nobody is there from now on, although the box takes now for a time before the patient came, or long after."""
    for offset in (-2 * HOUR, 2 * HOUR):
        box = ward((START - MINUTE, offset), (NINE + 5 * MINUTE, 0))
        tell(box, "A01", "1", START)
        box.true = NINE
        said_by(box, None)
        at = NINE + 10 * MINUTE
        assert whose(box, at, device="MON", claim=at, sync=NTP) is None
        assert whose(box, at, device="MON", claim=NINE - MINUTE, sync=NTP) in (None, "1")


def test_a_person_says_who_is_there_from_now_on() -> None:
    """Not before by either clock: what the device kept is not the new patient's."""
    box = ward((START - MINUTE, -2 * HOUR), (NINE + 5 * MINUTE, 0))
    tell(box, "A01", "1", START)
    box.true = NINE
    said_by(box, "2")
    for at in (NINE - HOUR + MINUTE, NINE - MINUTE):
        assert whose(box, NINE + 10 * MINUTE, device="MON", claim=at, sync=NTP) in (None, "1")
    assert whose(box, NINE + 20 * MINUTE, device="MON", claim=NINE + 20 * MINUTE, sync=NTP) == "2"


@pytest.mark.parametrize("heard", [False, True], ids=["", "known to be ahead"])
@pytest.mark.parametrize("ahead", [3 * MINUTE, 10 * MINUTE, 2 * HOUR, 24 * HOUR])
def test_what_a_box_that_is_ahead_was_told_by_hand_is_ended_by_what_it_is_told_later(ahead: int, heard: bool) -> None:
    """By the two clocks it begins after that; which was first, nobody knows, and so nobody is there."""
    for trigger, number, bed in (("A03", "1", BED), ("A01", "2", BED), ("A02", "1", "SURG^9")):
        box = ward((START - HOUR, ahead))
        if heard:
            tell(box, "A08", "9", START, bed="SURG^9")
        box.true = NINE
        said_by(box, "1", device="PO")
        assert whose(box, NINE + 30 * SECOND) == "1"
        tell(box, trigger, number, NINE + MINUTE, bed=bed)
        assert {whose(box, NINE + after * MINUTE) for after in (2, 5, 30, 180, 3000)} == {None}


def test_what_was_told_by_hand_before_the_clock_was_set_back_is_ended_too() -> None:
    """The clock is right by now, and by it the stay is still to come."""
    box = ward((START, 2 * HOUR), (NINE + MINUTE, 0))
    box.true = NINE
    said_by(box, "1", device="PO")
    tell(box, "A01", "2", NINE + 2 * MINUTE)
    assert whose(box, NINE + 3 * HOUR) in (None, "2")


def test_a_device_that_a_table_of_beds_gave_to_a_patient_is_left_with_him() -> None:
    """The table was read while the box's clock was ahead; the discharge lies before that by the ward's."""
    box = ward((START - HOUR, 3 * HOUR))
    one = SUBJECTS.subject("1", "HOSP", NINE)
    began = Association(device="MON", action="begin", at=START, location=BED, reason="admit", subject=one, time=START)
    box.blocks.append((*box.clock.read(START), [began]))
    box.true = NINE
    box.start()
    assert whose(box, NINE + MINUTE) == "1"
    tell(box, "A03", "1", NINE + 2 * MINUTE)
    assert whose(box, NINE + 5 * MINUTE) is None


def test_what_is_told_late_of_a_time_before_what_a_person_said_leaves_it() -> None:
    """Caution is not all: where the clocks agree, it is known which was first."""
    box = ward()
    tell(box, "A08", "9", START, bed="SURG^9")
    box.true = NINE
    said_by(box, "1", device="PO")
    tell(box, "A01", "2", NINE - MINUTE, received=NINE + MINUTE)
    assert whose(box, NINE + 10 * MINUTE) == "1"


def test_a_stay_that_began_after_the_end_by_our_clock_is_no_stay() -> None:
    """The box is behind by more than the stay lasted: all that it gave is taken back."""
    box = ward((NINE - MINUTE, -HOUR))
    tell(box, "A01", "1", NINE - 10 * MINUTE)
    box.start()
    assert whose(box, NINE + 70 * MINUTE) == "1"
    tell(box, "A03", "1", NINE + 40 * MINUTE, received=NINE + 80 * MINUTE)
    assert in_the_end(box) == [False]


def test_a_clock_that_is_set_back_before_the_decision_dates_nothing() -> None:
    """What came in then is still to come now."""
    box = ward((NINE, -HOUR))
    tell(box, "A01", "1", START)
    box.start()
    before = box.clock.read(NINE - 1)[0]
    box.true = NINE + 1
    (record,) = box.take(Wired(INSTRUMENT.batch(72, time=before), (before - 1, before)))
    assert record.subject is None


def test_what_is_told_of_a_time_to_come_counts_from_then_on() -> None:
    """Until then only clocks that are known to agree say on which side a reading is."""
    now = [NINE, 0]
    reckoning = Reckoning(5_000, lambda: (now[0], now[1]))
    reckoning.told("PO", ahead=HOUR)
    now[:] = [NINE + MINUTE, MINUTE]
    reckoning.look()
    assert not reckoning.after_all("PO", NINE + MINUTE)
    now[:] = [NINE + 2 * HOUR, 2 * HOUR]
    reckoning.look()
    assert reckoning.after_all("PO", NINE + HOUR)
    assert not reckoning.after_all("PO", NINE + HOUR - 1)


@pytest.mark.parametrize("again", [None, 1, 11, 29])
def test_what_was_told_of_a_time_to_come_still_lies_ahead_after_a_start(again: int | None) -> None:
    """The box's clock is an hour ahead, and by it the exchange is past as soon as it is told."""
    box = ward((START, HOUR))
    tell(box, "A01", "1", START)
    tell(box, "A03", "1", NINE + 30 * MINUTE, received=NINE)
    tell(box, "A01", "2", NINE + 30 * MINUTE, received=NINE)
    found = []
    for minute in range(0, 50, 2):
        if minute - 1 == again:
            box.true = NINE + minute * MINUTE - SECOND
            box.start()
        found.append(whose(box, NINE + minute * MINUTE))
    assert set(found[:15]) == {None}
    assert found[-1] == "2", "caution is not all: the time has come"


@pytest.mark.parametrize("later", [False, True], ids=["", "and more since"])
def test_a_time_to_come_has_come_where_a_later_message_shows_it(later: bool) -> None:
    """After a start of the machine nothing else does: it lies as far ahead as it did when it was told."""
    box = Box(Clock([(START - HOUR, 0)], [START - HOUR, NINE + 2 * HOUR]))
    tell(box, "A01", "1", NINE + HOUR, received=NINE)
    if later:
        tell(box, "A03", "1", NINE + HOUR + MINUTE)
        tell(box, "A01", "1", NINE + HOUR + 2 * MINUTE)
    box.true = NINE + 2 * HOUR + 1
    box.start()
    assert whose(box, NINE + 2 * HOUR + 5 * MINUTE) == ("1" if later else None)
    assert whose(box, NINE + 3 * HOUR + 5 * MINUTE) == "1"


def test_a_discharge_told_to_a_box_that_was_never_set_holds_when_it_is() -> None:
    """The pseudonym was of another period; the admission comes after both."""
    box = ward((START, -NINE), (NINE, 0))
    tell(box, "A03", "1", START + 20 * MINUTE)
    tell(box, "A01", "1", START, received=NINE + MINUTE)
    assert whose(box, NINE + 5 * MINUTE) is None


def test_a_merge_that_is_told_after_the_discharge_opens_nothing() -> None:
    """The admission is to the minute, and the discharge of the other number may have come after it."""
    box = ward()
    tell(box, "A01", "1", NINE, minute=True)
    tell(box, "A03", "9", NINE + 10 * SECOND)
    tell(box, "A40", "9", NINE + 5 * SECOND, received=NINE + 5 * MINUTE, merged="1")
    assert whose(box, NINE + 10 * MINUTE) is None


@pytest.mark.parametrize("trigger", ["A02", "A03", "A08"])
def test_an_exact_end_within_the_minute_of_the_beginning_is_its_end(trigger: str) -> None:
    """The beginning is taken as late as it can have been, and the end lies before that."""
    box = ward()
    tell(box, "A01", "1", NINE, minute=True)
    tell(box, trigger, "1", NINE + 20 * SECOND, bed=BED if trigger == "A03" else "SURG^9")
    assert whose(box, NINE + 5 * MINUTE) is None


def test_an_older_admission_leaves_the_present_patient_alone() -> None:
    """It ends where the next one began."""
    box = ward()
    tell(box, "A01", "2", NINE)
    tell(box, "A01", "1", START, received=NINE + MINUTE)
    assert whose(box, NINE + 10 * MINUTE) == "2"


def test_a_device_that_claims_a_time_to_come_is_not_believed() -> None:
    """It says that it is synchronised, and cannot be."""
    box = ward()
    tell(box, "A01", "1", START)
    assert whose(box, NINE, device="MON", claim=NINE + 2 * HOUR, sync=NTP) is None
    reading = Reading(device="MON", device_time=NINE + 30 * SECOND, time=NINE)
    assert window(reading, None, MARGINS) == (NINE - MINUTE, NINE + 30 * SECOND), "or it is right, and we are not"


def test_a_discharge_to_the_minute_ends_a_stay_that_is_told_late_and_began_within_it() -> None:
    """Where an earlier stay of the same patient ended at the full minute: that end is not this stay's."""
    box = ward()
    tell(box, "A01", "1", START)
    tell(box, "A03", "1", NINE, bed=BED)
    tell(box, "A03", "1", NINE, bed=BED, minute=True, received=NINE + MINUTE)
    tell(box, "A01", "1", NINE, received=NINE + 2 * MINUTE)
    assert whose(box, NINE + 5 * MINUTE) is None
