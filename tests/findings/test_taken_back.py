"""Readings that a late discharge takes back are named, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger import Association, Ledger, Reading
from medledger.findings import find
from medledger.findings.associations import ASSOCIATIONS
from medledger.findings.finding import Context, Observed
from medledger.findings.reading import observe
from worlds import found

NOON = 1_767_268_800_000
MINUTE = 60_000
ANNA, BERTA = bytes(range(16)), bytes(range(1, 17))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A founder's."""
    with closing(found(tmp_path)) as made:
        yield made


def measured(minute: int, subject: bytes | None = ANNA, **fields: object) -> Reading:
    """A reading received so many minutes after noon."""
    samples = [("8867-4", "72", "/min")]
    return Reading(device="MON-7", samples=samples, subject=subject, time=NOON + minute * MINUTE, **fields)  # type: ignore[arg-type]


def told(action: str, minute: int, *, at: int, subject: bytes = ANNA) -> Association:
    """What became known at one minute, of another."""
    return Association(
        device="MON-7", action=action, subject=subject, at=NOON + at * MINUTE, time=NOON + minute * MINUTE
    )


def test_what_was_in_time_is_no_finding(ledger: Ledger) -> None:
    """From the first minute of the stay to its last; what is in quarantine is nobody's already."""
    ledger.append(told("begin", 0, at=0))
    ledger.append(measured(0), measured(5), measured(9))
    ledger.append(told("end", 10, at=10), measured(11, None, quarantine="after-discharge"))
    assert list(find(ledger)) == []


def test_a_discharge_that_is_told_late_takes_readings_back(ledger: Ledger) -> None:
    """Those from its time on, and only those."""
    ledger.append(told("begin", 0, at=0))
    ledger.append(measured(4), measured(6), measured(8))
    ledger.append(told("end", 10, at=5))
    (finding,) = find(ledger)
    assert (finding.kind, finding.facts["count"], finding.facts["subject"]) == ("taken back", 2, ANNA)
    assert [(place.seq, place.index) for place in finding.places] == [(2, 1), (2, 2)]


def test_the_next_patient_keeps_what_is_its_own(ledger: Ledger) -> None:
    """Only what was given to the one before is taken back."""
    ledger.append(told("begin", 0, at=0))
    ledger.append(measured(8))
    ledger.append(told("end", 10, at=5), told("begin", 10, at=10, subject=BERTA))
    ledger.append(measured(12, BERTA))
    (finding,) = find(ledger)
    assert (finding.facts["subject"], finding.facts["count"]) == (ANNA, 1)


def test_a_device_without_associations_is_its_messages_affair(ledger: Ledger) -> None:
    """There the message itself said whose the reading is."""
    ledger.append(told("begin", 0, at=0))
    ledger.append(Reading(device="MON-8", samples=[("8867-4", "72", "/min")], subject=BERTA, time=NOON - MINUTE))
    assert list(find(ledger)) == []


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Observed], Context]:
    """A stay with readings before, within and after it."""
    with closing(found(tmp_path_factory.mktemp("observed"))) as ledger:
        ledger.append(told("begin", 0, at=0))
        ledger.append(*(measured(minute) for minute in range(-2, 12)))
        ledger.append(told("end", 12, at=5), told("begin", 13, at=7, subject=BERTA))
        return list(observe(ledger, ASSOCIATIONS)), Context(ledger.id, ledger.membership)


@given(st.data())
def test_the_order_of_arrival_changes_nothing(observed: tuple[list[Observed], Context], data: st.DataObject) -> None:
    """The same entries in any order give the same finding."""
    entries, context = observed
    (expected,) = ASSOCIATIONS.find(entries, context)
    assert expected.facts["count"] == 9  # two before, seven after
    assert list(ASSOCIATIONS.find(data.draw(st.permutations(entries)), context)) == [expected]
