"""Whose it is what a wired instrument measured: what it stored is not the present patient's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from devices import Instrument
from medledger import Association, DeviceBatch, Reading
from medledger.associations import DEFAULT_MARGINS, Window
from medledger_agents.bedside.moves import Beds
from medledger_agents.bedside.ward import Ward, Wired
from medledger_agents.subjects import Subjects
from worlds import found

NOON: Final = 1_790_000_000_000
MINUTE: Final = 60_000
ANNA: Final = bytes(range(16))
JUST_NOW: Final = (NOON - 2000, NOON)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    """Anna has been at both instruments for an hour."""
    with closing(found(tmp_path)) as ledger:
        for device in ("GLU-1", "PO-1"):
            ledger.append(Association(device=device, action="begin", subject=ANNA, time=NOON - 60 * MINUTE))
        shown = [(NOON - 60 * MINUTE, 0)]
        subjects = Subjects.open(tmp_path / "subjects.key", "month")
        ward = Ward(ledger, subjects, Beds({}), DEFAULT_MARGINS, read=lambda: shown[-1])
        shown.append((NOON, 60 * MINUTE))  # the agent has run since
        yield ward


def owner(ward: Ward, record: Reading | DeviceBatch, span: Window | None) -> bytes | None:
    """Whom the ward gives it to."""
    (decided,) = ward.decide(Wired(record, span))
    return decided.subject


def glucose(measured: int | None, received: int = NOON) -> Reading:
    """A record of a meter, with the time that its own clock says."""
    return Reading(device="GLU-1", samples=[("2339-0", "104", "mg/dL")], device_time=measured, time=received)


def test_what_is_measured_now_is_the_patients(ward: Ward) -> None:
    """By the interval alone: an instrument names nobody."""
    assert owner(ward, glucose(NOON - 1000), JUST_NOW) == ANNA
    assert owner(ward, Instrument("PO-1").batch(72, time=NOON), JUST_NOW) == ANNA


def test_a_stored_record_is_nobodys(ward: Ward) -> None:
    """The meter was with somebody else three days ago, or ten minutes; or does not say when."""
    for measured in (NOON - 3 * 1440 * MINUTE, NOON - 10 * MINUTE):
        assert owner(ward, glucose(measured), JUST_NOW) is None
    assert owner(ward, glucose(None), None) is None


def test_a_batch_of_unknown_age_is_nobodys(ward: Ward) -> None:
    """It may have been sealed at another patient's bed; and a clock that was never set dates nothing."""
    assert owner(ward, Instrument("PO-1").batch(72, time=NOON), None) is None
    assert owner(ward, Instrument("PO-1").batch(72, time=5000), (3000, 5000)) is None
