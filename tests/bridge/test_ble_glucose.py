"""A glucose meter: exact units, strip errors, contexts, stored records, and those that are missing."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.records import Reading, Sample
from medledger_bridge.ble.glucose import Glucose
from medledger_bridge.ble.stored_records import RecordLog, check_response
from medledger_bridge.errors import BleError, BleRefusedError, BleReservedError, BleValueError

STAMP = struct.pack("<HBBBBB", 2026, 11, 22, 10, 0, 0)
AT = 1_800_000_000_000
SUCCESS = b"\x06\x00\x01\x01"
NO_RECORDS = b"\x06\x00\x01\x06"


def record(sequence: int, *, flags: int = 0x02, mantissa: int = 120, exponent: int = -5, kind: int = 0x11) -> bytes:
    """A measurement of 120E-5 kg/L in capillary whole blood of a finger."""
    number = (exponent & 15) << 12 | mantissa
    return struct.pack("<BH", flags, sequence) + STAMP + struct.pack("<HB", number, kind)


def feed(meter: Glucose, data: bytes, channel: str = "2A18") -> list[Reading]:
    """The readings that a value gives."""
    found = meter.feed(data, AT, channel)
    assert all(isinstance(reading, Reading) for reading in found)
    return [reading for reading in found if isinstance(reading, Reading)]


def sample(data: bytes) -> Sample:
    """The first sample of a measurement."""
    return feed(Glucose("GLU-1"), data)[0].samples[0]


def test_a_concentration_keeps_its_digits() -> None:
    """kg/L to mg/dL and mol/L to mmol/L only move the exponent; mmol/L has no LOINC here."""
    assert str(sample(record(1))) == "32016-8 120 mg/dL"
    assert str(sample(record(1, mantissa=1205, exponent=-6))) == "32016-8 120.5 mg/dL"
    mole = sample(record(1, flags=0x06, mantissa=67, exponent=-4))
    assert (mole.code, mole.value, mole.unit) == (None, (67, -1), "mmol/L")
    assert mole.sent == "GATT:2A18 capillary-whole-blood finger"


def test_other_fluids_are_not_capillary_blood() -> None:
    """They keep their names; unknown numbers too."""
    assert str(sample(record(1, kind=0xF9))) == "GATT:2A18 interstitial-fluid 120 mg/dL"
    assert str(sample(record(1, kind=0x7C))) == "GATT:2A18 type-12 location-7 120 mg/dL"


@pytest.mark.parametrize("kind", [0x1A, 0x41])
def test_control_solution_is_nobodys_blood(kind: int) -> None:
    """Whether the type or the location says so: no value, and no code of a patient's."""
    found = sample(record(1, kind=kind))
    assert (found.code, found.value, found.sent_value, found.status) == (None, None, (120, 0), "test-data")


@pytest.mark.parametrize(
    ("bit", "absent", "note"),
    [
        (0, None, "battery-low"),
        (3, "error", "strip-insertion-error"),
        (5, "positive-infinity", "result-too-high"),
        (6, "negative-infinity", "result-too-low"),
        (11, None, "time-fault"),
        (14, None, "bit-14"),
    ],
)
def test_what_a_meter_says_about_itself(bit: int, absent: str | None, note: str) -> None:
    """A strip error leaves no value, an empty battery does; a time fault costs the time."""
    (reading,) = feed(Glucose("GLU-1", utc_offset=0), record(1, flags=0x0A) + struct.pack("<H", 1 << bit))
    assert (reading.samples[0].absent, reading.samples[1].text) == (absent, note)
    assert (reading.samples[0].value is None) == (absent is not None)
    assert (reading.device_time is None) == (bit == 11)


@pytest.mark.parametrize(("minutes", "shift"), [(5, 5), (-90, -90), (0x7FFF, None), (-0x8000, None)])
def test_the_time_is_base_and_offset(minutes: int, shift: int | None) -> None:
    """An offset that has overflowed is no time."""
    data = struct.pack("<BH", 1, 1) + STAMP + struct.pack("<h", minutes)
    (reading,) = feed(Glucose("GLU-1", utc_offset=0), data)
    (base,) = feed(Glucose("GLU-1", utc_offset=0), record(1))
    assert base.device_time is not None
    assert reading.device_time == (None if shift is None else base.device_time + shift * 60_000)
    assert reading.samples[0].absent == "unknown"  # no concentration in it


def test_a_context_belongs_to_its_record() -> None:
    """By sequence number, and so at its time; health leaves only the fact that it was answered."""
    meter = Glucose("GLU-1", utc_offset=0)
    (measured,) = feed(meter, record(7, flags=0x12))
    data = struct.pack("<BHBHBB", 0x07, 7, 1, 0xD03C, 1, 0x31)
    (context,) = feed(meter, data, "2A34")
    assert context.device_time == measured.device_time is not None
    assert [(str(found), found.sub) for found in context.samples] == [
        ("GATT:2A34 carbohydrate breakfast 60 g", "record 7"),
        ("GATT:2A34 meal before-meal", "record 7"),
        ("GATT:2A34 tester self", "record 7"),
        ("GATT:2A34 health (masked)", "record 7"),
    ]
    (other,) = feed(meter, struct.pack("<BHB", 0x02, 8, 3), "2A34")
    assert other.device_time is None


def test_medication_is_in_milligrams_or_millilitres() -> None:
    """kg and L, by the exponent."""
    solid = struct.pack("<BHBH", 0x10, 7, 4, 0xA032)
    liquid = struct.pack("<BHBH", 0x30, 7, 9, 0xD002)
    meter = Glucose("GLU-1")
    assert [str(feed(meter, data, "2A34")[0].samples[0]) for data in (solid, liquid)] == [
        "GATT:2A34 medication long-acting-insulin 50 mg",
        "GATT:2A34 medication type-9 2 mL",
    ]


# --- stored records --------------------------------------------------------------------------------------------------


def test_a_new_collector_asks_for_all_and_a_known_one_for_the_rest() -> None:
    """By sequence number, little end first; after the last number there is, for all again."""
    assert Glucose("GLU-1").on_connect() == [(0x2A52, b"\x01\x01")]
    assert Glucose("GLU-1", after=0x1FF).on_connect() == [(0x2A52, b"\x01\x03\x01\x00\x02")]
    assert Glucose("GLU-1", after=0xFFFF).on_connect() == [(0x2A52, b"\x01\x01")]


def test_missing_records_are_named_once() -> None:
    """When the meter has sent all: each gap is a sample without a value under its numbers."""
    meter = Glucose("GLU-1", after=10)
    for sequence in (11, 13, 17):
        assert len(feed(meter, record(sequence))) == 1
    (gaps,) = feed(meter, SUCCESS, "2A52")
    assert [(found.sub, found.absent, found.value) for found in gaps.samples] == [
        ("record 12", "unknown", None),
        ("records 14-16", "unknown", None),
    ]
    assert feed(meter, SUCCESS, "2A52") == []
    assert meter.on_connect() == [(0x2A52, b"\x01\x03\x01\x12\x00")]


def test_a_lost_connection_loses_no_record() -> None:
    """What came before is not logged twice, what did not is asked for, and only a whole answer shows a gap."""
    meter = Glucose("GLU-1", after=0)
    assert [len(feed(meter, record(sequence))) for sequence in (1, 2, 4)] == [1, 1, 1]
    assert meter.on_connect() == [(0x2A52, b"\x01\x03\x01\x03\x00")]
    assert [len(feed(meter, record(sequence))) for sequence in (3, 4, 5)] == [1, 0, 1]
    assert feed(meter, SUCCESS, "2A52") == []
    assert len(feed(meter, record(5, mantissa=99))) == 1  # the same number, other bytes: another fact


def test_no_records_is_an_answer_and_a_refusal_an_error() -> None:
    """A device without records has answered; one that refuses is named, with its reason."""
    assert feed(Glucose("GLU-1"), NO_RECORDS, "2A52") == []
    with pytest.raises(BleRefusedError, match="does not support the operator"):
        check_response(b"\x06\x00\x01\x04")
    with pytest.raises(BleRefusedError, match="reserved"):
        check_response(b"\x06\x00\x01\x63")
    for strange in (b"\x05\x00\x05\x00", b"\x06\x00\x02\x01"):
        with pytest.raises(BleValueError):
            check_response(strange)
    with pytest.raises(BleReservedError):
        check_response(b"\x06\x01\x01\x01")


def test_many_gaps_are_many_readings() -> None:
    """No entry grows beyond its size, and no gap is left out."""
    meter = Glucose("GLU-1")
    for sequence in range(0, 200, 2):
        feed(meter, record(sequence))
    gaps = feed(meter, SUCCESS, "2A52")
    assert [len(reading.samples) for reading in gaps] == [32, 32, 32, 3]
    named = [found.sub for reading in gaps for found in reading.samples]
    assert named == [f"record {sequence}" for sequence in range(1, 199, 2)]


@given(st.lists(st.one_of(st.integers(0, 40), st.none()), max_size=60), st.integers(0, 40))
def test_every_number_comes_or_is_named_or_is_asked_for(events: list[int | None], after: int) -> None:
    """Whatever comes in whatever order, between answers (None): below the next request nothing is unaccounted for."""
    log = RecordLog(after)
    came, named = set(), set()
    for event in events:
        if event is None:
            for first, last in log.missing():
                numbers = set(range(first, last + 1))
                assert not numbers & (came | named)
                named |= numbers
        else:
            assert log.take(event, b"") == (event not in came)
            came.add(event)
    request = log.request()
    asked_from = int.from_bytes(request[3:], "little")
    assert set(range(after + 1, asked_from)) <= came | named
    assert asked_from not in came


@given(st.lists(st.tuples(st.sampled_from(["2A18", "2A34", "2A52", "2A19", "2A0F", "2AFF"]), st.binary(max_size=20))))
def test_a_meter_takes_anything(values: list[tuple[str, bytes]]) -> None:
    """Readings or a BleError, for any bytes in any order."""
    meter = Glucose("GLU-1")
    for channel, data in values:
        try:
            for reading in feed(meter, data, channel):
                Reading.SCHEMA.check(reading.to_content())
                assert reading.time == AT
        except BleError:
            pass
