"""Whose a reading is where a person, a new table of beds, or a message takes back what was told: one case each.

test_wards_and_clocks.py draws all of it at random, and found most of these.
"""

from __future__ import annotations

import pytest

from medledger_agents.bedside.adt import Location
from medledger_agents.bedside.moves import Beds
from ward_world import BED, HOUR, MINUTE, NEXT, NINE, NTP, SECOND, START, SUBJECTS, Box, said_by, tell, ward, whose


def move(box: Box, device: str, bed: str) -> None:
    """The device stands at another bed: the table is changed, and the agent started again."""
    box.beds = Beds({**box.beds.devices, device: Location(*bed.split("^"))})
    box.start()


def whose_in_the_end(box: Box) -> list[str | None]:
    """Whose each measurement is by all that stands."""
    known = box.attribution()
    names = {SUBJECTS.subject(number, "HOSP", NINE): number for number in ("1", "2", "9")}
    found = [known.whose((each.seq, each.index), each)[0] for each in box.entries("reading")]
    return [None if each is None else names[each] for each in found]


@pytest.mark.parametrize(("trigger", "number"), [("A11", "1"), ("A03", "1"), ("A01", "2")])
def test_what_ends_a_stay_ends_what_a_new_table_made_of_it(trigger: str, number: str) -> None:
    """Told after the table was changed, of a time before that; the device was not at this bed then."""
    box = ward()
    tell(box, "A01", "9", START - MINUTE)
    tell(box, "A01", "1", START, bed=NEXT)
    box.true = NINE
    move(box, "PO", NEXT)
    assert whose(box, NINE + 2 * MINUTE) == "1"
    tell(box, trigger, number, NINE - 20 * MINUTE, received=NINE + 3 * MINUTE, bed=NEXT)
    assert whose(box, NINE + 5 * MINUTE) is None
    ntp = {"claim": NINE - 10 * MINUTE, "sync": NTP}
    assert whose(box, NINE - 10 * MINUTE, kept=20 * MINUTE, device="PO", **ntp) in (None, "9")


def test_a_device_that_is_moved_leaves_who_is_still_to_come() -> None:
    """An admission to its old bed that was planned before; and it takes nobody who is still to come to the new one."""
    for bed in (BED, NEXT):
        box = ward((START, HOUR))
        tell(box, "A03", "9", START, bed=NEXT)
        tell(box, "A01", "1", NINE + 30 * MINUTE, received=NINE - MINUTE, bed=bed)
        box.true = NINE
        move(box, "PO", NEXT)
        assert {whose(box, NINE + minutes * MINUTE) for minutes in (2, 20, 50)} == {None}


def test_a_start_brings_back_nobody_whom_a_person_sent_away() -> None:
    """The table of beds is the same, and others of the bed's devices have their patient."""
    box = ward()
    tell(box, "A01", "1", START)
    box.true = NINE
    said_by(box, None, device="PO")
    box.true = NINE + MINUTE
    box.start()
    assert whose(box, NINE + 5 * MINUTE) is None
    assert whose(box, NINE + 5 * MINUTE, device="MON", claim=NINE + 5 * MINUTE, sync=NTP) == "1"


@pytest.mark.parametrize("number", [None, "9"])
@pytest.mark.parametrize("ahead", [0, HOUR])
def test_what_is_told_late_does_not_undo_what_a_person_said(number: str | None, ahead: int) -> None:
    """Nobody, or somebody else, is at the device; then comes the admission of who lay in its bed before that."""
    box = ward((START, ahead))
    tell(box, "A08", "7", START, bed="SURG^9")
    box.true = NINE
    said_by(box, number, device="PO")
    tell(box, "A01", "2", NINE - MINUTE, received=NINE + SECOND)
    for at in (NINE - 20 * SECOND, NINE + MINUTE, NINE + 2 * HOUR):
        assert whose(box, at, device="PO", claim=at, sync=NTP) in (None, number)
    assert whose(box, NINE + 3 * HOUR) in (None, number)


def test_only_what_was_assigned_afterwards_gives_what_is_in_quarantine_to_somebody() -> None:
    """Not a stay that a person began at an earlier time, and that ended before he said so."""
    box = ward((START, HOUR), (NINE, 0))
    assert whose(box, NINE - HOUR + 2 * MINUTE, device="PO wired") is None, "by our clock then it is after nine"
    box.true = NINE + 5 * MINUTE
    said_by(box, "1", at=NINE + MINUTE, device="PO")
    tell(box, "A01", "2", NINE + 4 * MINUTE, received=NINE + 5 * MINUTE)
    assert whose_in_the_end(box) == [None]


@pytest.mark.parametrize("between", ["next", "by hand", "moved", "late"])
def test_an_admission_that_was_a_mistake_never_held(between: str) -> None:
    """Whatever ended it before it was cancelled, and where the cancellation is told first."""
    box = ward()
    if between == "late":
        tell(box, "A11", "1", NINE, bed=BED)
        box.start()
    tell(box, "A01", "1", START, received=max(START, box.true))
    assert whose(box, box.true + 2 * MINUTE, device="PO wired") == (None if between == "late" else "1")
    at = START + 30 * MINUTE
    if between == "next":
        tell(box, "A01", "2", at)
    elif between == "by hand":
        box.true = at
        said_by(box, None, device="PO")
    elif between == "moved":
        box.true = at
        move(box, "PO", NEXT)
    tell(box, "A11", "1", NINE, received=max(NINE, box.true), bed=BED)
    assert whose_in_the_end(box) == [None]


@pytest.mark.parametrize("prior", ["", NEXT])
def test_a_transfer_that_was_a_mistake_never_held(prior: str) -> None:
    """The patient is where he was, and never had the other bed's devices."""
    box = ward()
    tell(box, "A01", "1", START)
    tell(box, "A02", "1", START + 10 * MINUTE, bed=NEXT, prior=BED)
    assert whose(box, START + 20 * MINUTE, device="MON-B", claim=START + 20 * MINUTE, sync=NTP) == "1"
    tell(box, "A12", "1", START + 30 * MINUTE, prior=prior)
    assert whose_in_the_end(box) == [None]
    assert whose(box, NINE, device="MON", claim=NINE, sync=NTP) == "1"


def test_a_transfer_that_the_next_patient_ended_never_held_either() -> None:
    """He was to come at the very time of the cancellation."""
    box = ward()
    tell(box, "A01", "2", NINE, received=START - MINUTE, bed=NEXT)
    tell(box, "A01", "1", START)
    tell(box, "A02", "1", START + 10 * MINUTE, bed=NEXT, prior=BED)
    assert whose(box, START + 20 * MINUTE, device="MON-B", claim=START + 20 * MINUTE, sync=NTP) == "1"
    tell(box, "A12", "1", NINE, prior=NEXT)
    assert whose_in_the_end(box) == [None]


@pytest.mark.parametrize("prior", ["", NEXT])
def test_a_transfer_that_is_told_after_it_was_cancelled_gives_nothing(prior: str) -> None:
    """Although the agent was started again in between."""
    box = ward()
    tell(box, "A01", "1", START)
    tell(box, "A12", "1", START + 30 * MINUTE, prior=prior)
    box.start()
    tell(box, "A02", "1", START + 10 * MINUTE, received=START + 31 * MINUTE, bed=NEXT, prior=BED)
    at = START + 20 * MINUTE
    assert whose(box, at, kept=HOUR, device="MON-B", claim=at, sync=NTP) is None


def test_who_is_moved_to_where_he_lies_stays() -> None:
    """A second transfer to the same bed, of a later time."""
    box = ward()
    tell(box, "A02", "1", START, prior="SURG^9")
    tell(box, "A02", "1", NINE, prior=NEXT)
    assert whose(box, NINE + 5 * MINUTE) == "1"


def test_what_a_new_table_began_while_the_clock_was_wrong_is_not_dated_by_the_right_one() -> None:
    """The box was behind by an hour then: what the device kept was measured before it was moved."""
    box = ward((START, -HOUR), (NINE + MINUTE, 0))
    tell(box, "A01", "1", START, bed=NEXT)
    tell(box, "A03", "9", START)
    box.true = NINE
    move(box, "PO", NEXT)
    tell(box, "A08", "7", NINE + 2 * MINUTE, bed="SURG^9")
    assert whose(box, NINE - 10 * MINUTE, kept=30 * MINUTE) is None
    assert whose(box, NINE + 30 * MINUTE) == "1"


def test_what_a_person_began_while_the_clock_was_wrong_is_not_dated_by_the_right_one() -> None:
    """As with a new table: no message of the ward system had come since the start."""
    box = ward((START, -HOUR), (NINE + MINUTE, 0))
    box.true = NINE
    said_by(box, "1", device="PO")
    tell(box, "A08", "7", NINE + 2 * MINUTE, bed="SURG^9")
    assert whose(box, NINE - 10 * MINUTE, kept=30 * MINUTE) is None
    assert whose(box, NINE + 30 * MINUTE) == "1"


@pytest.mark.parametrize("trigger", ["A17", "A01"])
def test_a_number_that_a_stay_went_on_under_goes_with_who_left_before(trigger: str) -> None:
    """The merge is told before the swap, or the admission of the next patient, that ended the stay."""
    box = ward()
    tell(box, "A01", "2", START, bed=NEXT)
    tell(box, "A01", "1", START)
    tell(box, "A40", "9", NINE, merged="1")
    at = NINE + MINUTE
    assert whose(box, at, device="MON", claim=at, sync=NTP) == "9"
    second = ("1", NEXT, BED) if trigger == "A17" else None
    tell(box, trigger, "2", NINE - MINUTE, received=NINE + 2 * MINUTE, prior=NEXT, second=second)
    assert whose_in_the_end(box) == [None]
    assert whose(box, NINE + 5 * MINUTE, device="MON", claim=NINE + 5 * MINUTE, sync=NTP) in (None, "2")


@pytest.mark.parametrize("moved", [False, True])
def test_who_comes_right_after_a_person_spoke_ends_that(moved: bool) -> None:
    """The ward system was not heard for hours, so that its clock may show some seconds more; it may come late, too."""
    box = ward()
    tell(box, "A08", "7", START - 9 * HOUR, bed="SURG^9")
    box.true = START
    said_by(box, "1", device="PO")
    at = START + 20 * SECOND
    assert whose(box, at, device="PO wired") == "1"
    if moved:
        box.true = START + MINUTE
        move(box, "PO", NEXT)
    tell(box, "A02", "2", START + 1, received=START + 3 * MINUTE, prior="SURG^9")
    assert whose_in_the_end(box) == [None]


def test_where_a_device_went_while_the_clock_was_wrong_is_not_dated_by_the_right_one() -> None:
    """It left its bed while the box was ahead by an hour: what it kept since is nobody's, whoever came to that bed."""
    box = ward((START, HOUR), (NINE, 0))
    tell(box, "A01", "1", NINE - 10 * MINUTE, received=START)
    box.true = NINE - 20 * MINUTE
    move(box, "PO", NEXT)
    tell(box, "A40", "9", NINE - 4 * MINUTE, merged="1")
    tell(box, "A08", "7", NINE + MINUTE, bed="SURG^9")
    assert whose(box, NINE - 5 * MINUTE, kept=30 * MINUTE) is None


def test_a_transfer_that_is_cancelled_in_the_minute_of_the_discharge_never_held() -> None:
    """The discharge is told first, and both only to the minute."""
    box = ward()
    tell(box, "A02", "1", START, bed=NEXT, prior=BED)
    at = START + 20 * MINUTE
    assert whose(box, at, device="MON-B", claim=at, sync=NTP) == "1"
    tell(box, "A03", "1", NINE + 2, received=NINE + SECOND, minute=True)
    tell(box, "A12", "1", NINE, received=NINE + 2 * SECOND, minute=True)
    assert whose_in_the_end(box) == [None]


def test_an_admission_that_was_cancelled_before_it_was_told_never_held_in_another_month_either() -> None:
    """The patient has another pseudonym by then: the clock was set to 1970 in between."""
    box = ward((NINE - MINUTE, -NINE))
    tell(box, "A11", "1", START)
    tell(box, "A01", "1", START - MINUTE, received=NINE)
    at = START + 20 * MINUTE
    assert whose(box, at, kept=HOUR, device="MON", claim=at, sync=NTP) is None
