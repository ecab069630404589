"""What devices signed, against their enrolment: a compromised agent can withhold, and cannot invent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import Instrument
from medledger import DeviceRetire, DeviceStatus, Ledger, Reading
from medledger.errors import MembershipError, SchemaError
from medledger.findings import find, observe
from medledger.findings.batches import BATCHES
from medledger.findings.finding import Context, Finding, Observed
from worlds import found, join, sync

MINUTE = 60_000
NOON = 1_767_268_800_000
ANNA, BERTA = bytes(range(16)), bytes(range(1, 17))


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Ledger]:
    """A founder, which may enrol instruments."""
    with closing(found(tmp_path)) as ledger:
        yield ledger


@pytest.fixture
def box(hospital: Ledger, tmp_path: Path) -> Iterator[Ledger]:
    """A bedside box, which may not."""
    with closing(join(hospital, tmp_path, "box")) as ledger:
        yield ledger


def findings(hospital: Ledger, box: Ledger) -> list[Finding]:
    """What the hospital finds, once it holds what the box has written."""
    sync(box, hospital)
    return list(find(hospital))


def kinds(hospital: Ledger, box: Ledger) -> list[str]:
    """Their kinds alone."""
    return [each.kind for each in findings(hospital, box)]


def test_what_is_enrolled_signed_and_whole_gives_no_finding(hospital: Ledger, box: Ledger) -> None:
    """An honest device, an honest agent."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment(model="Acme"))
    for _ in range(5):
        box.append(oximeter.batch(71, 72))
    assert findings(hospital, box) == []


def test_an_agent_may_not_enrol_a_device(box: Ledger) -> None:
    """Or it could make a key of its own for every reading that it would like to invent."""
    with pytest.raises(MembershipError):
        box.append(Instrument("PO-1").enrolment())


def test_a_batch_that_its_key_did_not_sign_cannot_be_written(box: Ledger) -> None:
    """Neither a changed value nor another device's key."""
    batch = Instrument("PO-1").batch(72)
    for change in ({"counter": 2}, {"device": "PO-2"}, {"uptime": 9_999_999}, {"key": Instrument("PO-1", 2).key}):
        with pytest.raises(SchemaError, match="signed by its key"):
            replace(batch, **change)
    with pytest.raises(SchemaError, match="signed by its key"):
        box.append(replace(batch, readings=((batch.readings[0][0], (("8867-4", "99", "/min"),)),)))


def test_a_reading_that_the_device_did_not_sign_is_named(hospital: Ledger, box: Ledger) -> None:
    """A compromised agent writes an ordinary reading about an instrument that signs for itself."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    box.append(oximeter.batch(72))
    invented = box.append(Reading(device="PO-1", samples=[("8867-4", "60", "/min")]))
    box.append(Reading(device="MON-7", samples=[("8867-4", "60", "/min")]))
    (finding,) = findings(hospital, box)
    assert finding.kind == "unsigned reading"
    assert [(each.feed, each.seq, each.block_id) for each in finding.places] == [(box.me, invented.seq, invented.id)]


def test_a_reading_from_before_the_device_signed_is_no_finding(hospital: Ledger, box: Ledger) -> None:
    """An instrument got a key when it was replaced; what was logged before stays what it was."""
    oximeter = Instrument("PO-1")
    box.append(Reading(device="PO-1", samples=[("8867-4", "60", "/min")], time=NOON - MINUTE))
    hospital.append(oximeter.enrolment(time=NOON))
    box.append(oximeter.batch(72))
    assert findings(hospital, box) == []


def test_missing_batches_are_named_by_their_numbers(hospital: Ledger, box: Ledger) -> None:
    """Those below the highest: what was lost, or withheld."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    for counter in (2, 3, 7, 9):
        box.append(oximeter.batch(72, counter=counter))
    (finding,) = findings(hospital, box)
    assert finding.kind == "missing batches"
    assert finding.facts["ranges"] == [[1, 1], [4, 6], [8, 8]]
    assert finding.facts["count"] == 5


def test_a_batch_that_a_box_keeps_is_not_missing(hospital: Ledger, box: Ledger) -> None:
    """It is named all the same, with the box that says so; what neither has is missing."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    for counter in (1, 4):
        box.append(oximeter.batch(72, counter=counter))
    for counter in (2, 6):
        raw = bytes([counter]) * 32
        box.append(DeviceStatus(device="PO-1", state="fault", key=oximeter.key, counter=counter, raw=raw))
    box.append(DeviceStatus(device="PO-1", state="on"))
    kept, missing = findings(hospital, box)
    assert (kept.kind, kept.facts["counters"], len(kept.places)) == ("kept batches", [2, 6], 2)
    assert (missing.kind, missing.facts["ranges"]) == ("missing batches", [[3, 3], [5, 5]])


def test_a_key_of_which_nothing_can_be_read_is_named(hospital: Ledger, box: Ledger) -> None:
    """All that it signed is kept, and nothing of it is on the ledger."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    box.append(DeviceStatus(device="PO-1", state="fault", key=oximeter.key, counter=2, raw=bytes(32)))
    assert kinds(hospital, box) == ["kept batches", "missing batches"]


def test_what_an_agent_keeps_is_its_word(hospital: Ledger, box: Ledger) -> None:
    """Without a hash it says nothing, and what is missing by its numbers alone is said to be so."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    for counter in (1, 3):
        box.append(oximeter.batch(72, counter=counter))
    box.append(DeviceStatus(device="PO-1", state="fault", key=oximeter.key, counter=2))
    [missing] = findings(hospital, box)
    assert missing.facts["ranges"] == [[2, 2]]
    assert "says" not in missing.sentence
    box.append(DeviceStatus(device="PO-1", state="fault", key=oximeter.key, counter=9, raw=bytes(32)))
    kept, missing = findings(hospital, box)
    assert missing.facts["ranges"] == [[2, 2], [4, 8]]
    assert "as who keeps what came after says" in missing.sentence
    assert "as who keeps their bytes says" in kept.sentence


def test_what_a_device_signed_before_it_came_here_is_not_missed(hospital: Ledger, box: Ledger) -> None:
    """Its enrolment says with which number it begins here; what is below and is here counts all the same."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment(first=101))
    for counter in (40, 103, 105):
        box.append(oximeter.batch(72, counter=counter))
    (finding,) = findings(hospital, box)
    assert finding.facts["ranges"] == [[101, 102], [104, 104]]
    box.append(oximeter.batch(72, counter=101))
    box.append(oximeter.batch(72, counter=102))
    box.append(oximeter.batch(72, counter=104))
    assert findings(hospital, box) == []


def test_of_several_enrolments_of_a_key_the_lowest_beginning_counts(hospital: Ledger, box: Ledger) -> None:
    """So that no later one hides what is missing."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment(first=3))
    hospital.append(oximeter.enrolment(first=9))
    box.append(oximeter.batch(72, counter=9))
    assert [each.facts["ranges"] for each in findings(hospital, box)] == [[[3, 8]]]
    hospital.append(oximeter.enrolment())
    assert [each.facts["ranges"] for each in findings(hospital, box)] == [[[1, 8]]]


def test_a_key_nobody_enrolled_proves_nothing(hospital: Ledger, box: Ledger) -> None:
    """Its batches are well signed, by nobody known."""
    box.append(Instrument("PO-1").batch(72))
    assert kinds(hospital, box) == ["unenrolled key"]


def test_a_key_of_another_device_is_named(hospital: Ledger, box: Ledger) -> None:
    """Enrolled for one instrument, used by another."""
    hospital.append(Instrument("PO-9").enrolment())
    box.append(Instrument("PO-1").batch(72))
    assert kinds(hospital, box) == ["other device"]


def test_two_batches_under_one_number_are_two_devices(hospital: Ledger, box: Ledger) -> None:
    """A cloned key; the same batch logged twice is none."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    batch = oximeter.batch(72)
    box.append(batch)
    box.append(batch)
    assert kinds(hospital, box) == []
    box.append(oximeter.batch(99, counter=1))
    (finding,) = findings(hospital, box)
    assert (finding.kind, finding.facts["counter"], len(finding.places)) == ("counter used twice", 1, 2)


def test_a_retired_key_ends_at_its_counter(hospital: Ledger, box: Ledger) -> None:
    """Whatever the times say; of several retirements the lowest counts."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    for _ in range(3):
        box.append(oximeter.batch(72, time=NOON))
    hospital.append(DeviceRetire(key=oximeter.key, last=3, reason="replaced"))
    assert kinds(hospital, box) == []
    hospital.append(DeviceRetire(key=oximeter.key, last=2, reason="opened", time=NOON + MINUTE))
    (finding,) = findings(hospital, box)
    assert finding.kind == "retired key"
    assert len(finding.places) == 3  # both retirements, and the batch


def test_one_key_for_two_devices_is_named(hospital: Ledger, box: Ledger) -> None:
    """Then nobody can say which of them signed."""
    hospital.append(Instrument("PO-1").enrolment(), Instrument("PO-2").enrolment())
    assert kinds(hospital, box) == ["key of two devices"]


def test_one_batch_of_two_patients_is_named(hospital: Ledger, box: Ledger) -> None:
    """The agent says whose a batch is, once: logged again for somebody else, it would invent a reading after all."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    batch = oximeter.batch(72)
    box.append(replace(batch, subject=ANNA))
    box.append(batch)  # a second box that does not know whose it is
    box.append(replace(batch, subject=ANNA))
    assert kinds(hospital, box) == []
    box.append(replace(batch, subject=BERTA))
    (finding,) = findings(hospital, box)
    assert (finding.kind, finding.facts["counter"], len(finding.places)) == ("batch of two patients", 1, 2)


def test_a_batch_that_is_signed_again_is_the_same_batch(hospital: Ledger, box: Ledger) -> None:
    """A secure element that adds randomness gives another signature over the same words each time it is asked."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    batch = oximeter.batch(72)
    again = replace(batch, signature=oximeter.signed_at_random(batch))
    assert again.signature != batch.signature
    box.append(batch, again)
    assert findings(hospital, box) == []


def test_what_is_missing_beyond_a_retirement_is_not_missed(hospital: Ledger, box: Ledger) -> None:
    """Batches that would not count are no loss; the one that came is found."""
    oximeter = Instrument("PO-1")
    hospital.append(oximeter.enrolment())
    for counter in (1, 2, 9):
        box.append(oximeter.batch(72, counter=counter))
    hospital.append(DeviceRetire(key=oximeter.key, last=2))
    assert kinds(hospital, box) == ["retired key"]


def test_a_device_whose_last_key_was_retired_signs_no_more(hospital: Ledger, box: Ledger) -> None:
    """An oximeter without a key took its place under its name: its readings are not signed, and need not be."""
    first, second = Instrument("PO-1"), Instrument("PO-1", 2)
    hospital.append(first.enrolment(time=NOON), second.enrolment(time=NOON))
    box.append(first.batch(72, time=NOON))
    plain = Reading(device="PO-1", samples=[("8867-4", "60", "/min")], time=NOON + 2 * MINUTE)
    hospital.append(DeviceRetire(key=first.key, last=1, time=NOON + MINUTE))
    box.append(plain)
    assert kinds(hospital, box) == ["unsigned reading"]  # it has a key yet
    hospital.append(DeviceRetire(key=second.key, last=0, time=NOON + MINUTE))
    assert kinds(hospital, box) == []
    box.append(replace(plain, time=NOON + MINUTE - 1))
    assert kinds(hospital, box) == ["unsigned reading"]


def test_what_only_times_say_is_said_to_be_claimed(hospital: Ledger, box: Ledger) -> None:
    """A box that never heard the device sign, or whose clock is ahead, may not have known."""
    hospital.append(Instrument("PO-1").enrolment(time=NOON))
    box.append(Reading(device="PO-1", samples=[("8867-4", "60", "/min")], time=NOON + MINUTE))
    (finding,) = findings(hospital, box)
    assert "by the clocks' claims" in finding.sentence
    box.append(Instrument("PO-1").batch(72), Reading(device="PO-1", samples=[("8867-4", "60", "/min")], time=0))
    (finding,) = findings(hospital, box)
    assert "by the clocks' claims" not in finding.sentence


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Observed], Context]:
    """Entries with every kind of finding among them."""
    with closing(found(tmp_path_factory.mktemp("observed"))) as hospital:
        one, two = Instrument("PO-1"), Instrument("PO-2", 2)
        hospital.append(one.enrolment(time=NOON), Instrument("PO-3").enrolment())
        hospital.append(one.batch(72), one.batch(60, counter=1), one.batch(61, counter=4), two.batch(50))
        hospital.append(Reading(device="PO-1", samples=[("8867-4", "60", "/min")], time=NOON + MINUTE))
        hospital.append(DeviceRetire(key=one.key, last=3, time=NOON + 2 * MINUTE))
        return list(observe(hospital, BATCHES)), Context(hospital.id, hospital.membership)


@given(st.data())
def test_the_order_of_arrival_changes_nothing(observed: tuple[list[Observed], Context], data: st.DataObject) -> None:
    """A fold over the same entries in any order finds the same, in the same order."""
    entries, context = observed
    expected = list(BATCHES.find(entries, context))
    assert len(expected) == 6
    assert list(BATCHES.find(data.draw(st.permutations(entries)), context)) == expected
