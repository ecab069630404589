"""Whose each logged reading is, by all that is known now: what the views of the replica leave to this."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devices import Instrument
from medledger import Association, Ledger, Reading
from medledger.associations import Associations
from medledger.attribution import attributed
from medledger.findings import find
from medledger.registry import Record
from worlds import found, join, sync

NOON = 1_795_348_800_000
MINUTE = 60_000
ANNA, BERTA = bytes(range(16)), bytes(range(1, 17))
MONITOR = "PO-1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A founder's."""
    with closing(found(tmp_path)) as made:
        yield made


def told(action: str, minute: int, at: int, subject: bytes = ANNA, reason: str | None = None) -> Association:
    """What became known at one minute, of another."""
    times = {"at": NOON + at * MINUTE, "time": NOON + minute * MINUTE}
    return Association(device=MONITOR, action=action, subject=subject, reason=reason, **times)


def measured(minute: int, subject: bytes | None = ANNA, **fields: object) -> Reading:
    """A reading received then."""
    samples = [("8867-4", "72", "/min")]
    return Reading(device=MONITOR, samples=samples, subject=subject, time=NOON + minute * MINUTE, **fields)  # type: ignore[arg-type]


def whose(ledger: Ledger, *records: Record) -> list[tuple[bytes | None, str | None]]:
    """The answers for these, logged one a block, in the order of their times."""
    for record in records:
        ledger.append(record)
    return [(each.subject, each.reason) for each in attributed(ledger)]


def test_a_reading_is_whose_it_was_logged_under(ledger: Ledger) -> None:
    """As long as nothing that was told since says otherwise."""
    assert whose(ledger, told("begin", 0, 0), measured(1), told("end", 3, 3)) == [(ANNA, None)]


def test_a_late_discharge_takes_a_reading_back(ledger: Ledger) -> None:
    """It is nobody's then, with the reason."""
    assert whose(ledger, told("begin", 0, 0), measured(1), measured(4), told("end", 5, 3)) == [
        (ANNA, None),
        (None, "after-discharge"),
    ]


def test_what_a_person_assigned_is_theirs(ledger: Ledger) -> None:
    """A reading in quarantine, which the view shows under nobody."""
    begin, end = (told(action, 9, at, BERTA, "manual") for action, at in (("begin", 0), ("end", 5)))
    assert whose(ledger, measured(2, None, quarantine="unassociated"), begin, end) == [(BERTA, None)]


def test_each_author_is_judged_by_what_it_told_itself(ledger: Ledger, tmp_path: Path) -> None:
    """What another box says about a device of the same name takes nothing back here."""
    with closing(join(ledger, tmp_path, "box")) as box:
        box.append(told("begin", 0, 0), measured(1))
        sync(box, ledger)
        assert whose(ledger, told("begin", 0, 0), told("end", 2, 0)) == [(ANNA, None)]


def test_a_batch_that_came_while_its_subject_was_there_is_theirs(ledger: Ledger) -> None:
    """Also one that was measured within the stay and came later, which its agent knew."""
    oximeter = Instrument(MONITOR)
    during, waited = (oximeter.batch(subject=ANNA, time=NOON + minute * MINUTE) for minute in (1, 9))
    assert whose(ledger, told("begin", 0, 0), during, told("end", 3, 3), waited) == [(ANNA, None)] * 2
    assert [each.kind for each in find(ledger)] == ["unenrolled key"]


def test_a_batch_across_a_discharge_that_was_told_late_is_uncertain(ledger: Ledger) -> None:
    """It may have been measured before, and waited. It is named as that, with no reading taken back for sure."""
    oximeter = Instrument(MONITOR)
    ledger.append(oximeter.enrolment(time=NOON))
    before, across = (oximeter.batch(subject=ANNA, time=NOON + minute * MINUTE) for minute in (1, 4))
    answers = whose(ledger, told("begin", 0, 0), before, across, told("end", 5, 3))
    assert answers == [(ANNA, None), (None, "uncertain")]
    (finding,) = find(ledger)
    assert (finding.kind, finding.facts["count"], finding.facts["subject"]) == ("uncertain batch", 1, ANNA)
    assert [place.seq for place in finding.places] == [4]


def test_a_batch_across_a_time_away_that_was_told_late_is_uncertain(ledger: Ledger) -> None:
    """The subject is back at the device when it comes; it may have been measured while nobody was."""
    oximeter = Instrument(MONITOR)
    across = oximeter.batch(subject=ANNA, time=NOON + 6 * MINUTE)
    told_late = told("end", 7, 3), told("begin", 8, 5)
    assert whose(ledger, told("begin", 0, 0), across, *told_late) == [(None, "uncertain")]


def test_a_batch_that_is_older_than_its_subjects_stay_is_not_theirs(ledger: Ledger) -> None:
    """Its uptimes say that it was measured a minute before it came: the stay began after that."""
    oximeter = Instrument(MONITOR)
    ledger.append(oximeter.enrolment(time=NOON))
    batch = oximeter.batch(*[72] * 60, subject=ANNA, time=NOON + MINUTE + 30_000)
    assert whose(ledger, told("begin", 0, 1), batch) == [(None, "unassociated")]
    assert [each.kind for each in find(ledger)] == ["taken back"]


def test_what_is_asked_for(ledger: Ledger) -> None:
    """By device and by time; the end is not in it."""
    ledger.append(measured(1), measured(2), Reading(device="MON-8", time=NOON + MINUTE))
    assert [each.entry.time for each in attributed(ledger, device=MONITOR)] == [NOON + MINUTE, NOON + 2 * MINUTE]
    assert len(list(attributed(ledger, since=NOON + MINUTE, until=NOON + 2 * MINUTE))) == 2


def test_an_end_that_names_nobody_ends_whoever_is_there(ledger: Ledger) -> None:
    """Also whose begin is told after it; who comes later stays."""
    vacated = Association(device=MONITOR, action="end", at=NOON + 3 * MINUTE, time=NOON + 3 * MINUTE)
    late, later = told("begin", 4, 1), told("begin", 5, 5, BERTA)
    assert whose(ledger, vacated, late, later, measured(2), measured(4), measured(6, BERTA)) == [
        (ANNA, None),
        (None, "after-discharge"),
        (BERTA, None),
    ]


def test_many_ends_that_name_nobody_cost_what_they_are() -> None:
    """An enrolled box may write as many as it likes: each is kept once, not once for each patient there ever was."""
    known = Associations()
    for at in range(20_000):
        subject = at.to_bytes(16, "big")
        known.apply(Association(device=MONITOR, action="begin", subject=subject, time=NOON + 2 * at))
        known.apply(Association(device=MONITOR, action="end", time=NOON + 2 * at + 1))
    assert [each.end - each.begin for each in known.of(MONITOR)] == [1] * 20_000


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ({"reason": "admit", "raw": bytes(32), "sent": NOON}, False),
        ({"reason": "admit", "raw": bytes(32)}, False),  # as it was logged before there was `sent`
        ({"reason": "replaced", "raw": bytes(32)}, False),
        ({"reason": "replaced"}, True),
        ({"reason": "manual", "raw": bytes(32)}, True),
        ({}, True),
    ],
)
def test_what_a_message_said_was_not_said_here(said: dict[str, Any], here: bool) -> None:
    """A person and a table of beds speak by the clock of who logs it; a ledger of an earlier version has no `sent`."""
    known = Associations([Association(device=MONITOR, action="begin", subject=ANNA, at=NOON, time=NOON, **said)])
    assert known.said_here(MONITOR) is here
