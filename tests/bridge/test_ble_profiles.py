"""Bluetooth health profiles: strict lengths, special numbers, and what a device says about its own measurement."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.records import Reading, Sample
from medledger_bridge.ble import battery, blood_pressure, glucose, heart_rate, pulse_oximeter, thermometer
from medledger_bridge.ble.measuring import Source
from medledger_bridge.errors import BleError, BleReservedError, BleTrailingError, BleTruncatedError

SOURCE = Source("DEV-1", offset=60)
STAMP = struct.pack("<HBBBBB", 2026, 11, 22, 10, 0, 0)
STAMP_MS = round(datetime(2026, 11, 22, 9, 0, tzinfo=UTC).timestamp()) * 1000
NAN, POSITIVE, NEGATIVE, NRES, RESERVED = b"\xff\x07", b"\xfe\x07", b"\x02\x08", b"\x00\x08", b"\x01\x08"

Decoder = Callable[[bytes, Source], Reading]
DECODERS: dict[str, Decoder] = {
    "heart rate": heart_rate.measurement,
    "blood pressure": blood_pressure.measurement,
    "cuff pressure": blood_pressure.cuff_pressure,
    "temperature": thermometer.measurement,
    "intermediate temperature": thermometer.intermediate,
    "spot check": pulse_oximeter.spot_check,
    "continuous": pulse_oximeter.continuous,
    "glucose": glucose.measurement,
    "glucose context": glucose.context,
    "battery": battery.level,
}


def u16(*values: int) -> bytes:
    """16-bit integers, or SFLOATs with exponent 0."""
    return struct.pack(f"<{len(values)}H", *values)


FULL = {  # a value of each characteristic with every field that its flags can announce
    "heart rate": b"\x1f" + u16(70, 12, 800, 801),
    "blood pressure": b"\x1f" + u16(120, 80, 95) + STAMP + u16(60) + b"\x02" + u16(0),
    "cuff pressure": b"\x1f" + u16(120) + NAN + NAN + STAMP + u16(60) + b"\x02" + u16(0),
    "temperature": b"\x06" + b"\x6f\x01\x00\xff" + STAMP + b"\x02",
    "intermediate temperature": b"\x06" + b"\x6f\x01\x00\xff" + STAMP + b"\x06",
    "spot check": b"\x0f" + u16(97, 60) + STAMP + u16(1 << 7) + b"\0\0\0" + u16(5),
    "continuous": b"\x1f" + u16(97, 60, 96, 61, 98, 62) + u16(1 << 7) + b"\0\0\0" + u16(5),
    "glucose": b"\x0b" + u16(7) + STAMP + u16(5) + b"\x78\xb0\x11" + u16(0),
    "glucose context": b"\x5f" + u16(7) + b"\x01\x3c\xd0\x03\x25" + u16(600) + b"\x32\x01\x05\xa0" + b"\x41\xf0",
    "battery": b"\x5a",
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_full_value_is_read_to_its_last_byte(name: str) -> None:
    """One byte less or more is a named error, and the reading carries the hash of exactly these bytes."""
    decode, data = DECODERS[name], FULL[name]
    reading = decode(data, SOURCE)
    assert (reading.device, reading.raw) == ("DEV-1", sha256(data).digest())
    Reading.SCHEMA.check(reading.to_content())
    for short in range(len(data)):
        if (name, short) != ("heart rate", len(data) - 2):  # RR intervals go on up to the end: one less is right too
            with pytest.raises((BleTruncatedError, BleTrailingError)):
                decode(data[:short], SOURCE)
    with pytest.raises(BleTrailingError):
        decode(data + b"\0", SOURCE)


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=40))
def test_any_bytes_give_a_reading_or_a_ble_error(name: str, data: bytes) -> None:
    """Nothing else, and what is given is a reading that the ledger takes."""
    with contextlib.suppress(BleError):
        reading = DECODERS[name](data, SOURCE)
        Reading.SCHEMA.check(reading.to_content())
        assert reading.samples
        assert reading.raw == sha256(data).digest()


@pytest.mark.parametrize("name", sorted(set(DECODERS) - {"battery"}))
@given(data=st.data())
def test_any_change_of_a_full_value_gives_a_reading_or_a_ble_error(name: str, data: st.DataObject) -> None:
    """The same, nearer to what a device sends: every field in place, some bytes other ones."""
    value = bytearray(FULL[name])
    for at in data.draw(st.lists(st.integers(0, len(value) - 1), max_size=6)):
        value[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BleError):
        reading = DECODERS[name](bytes(value), SOURCE)
        Reading.SCHEMA.check(reading.to_content())
        for sample in reading.samples:
            assert sample.flag is None or sample.value is None


@pytest.mark.parametrize("name", sorted(set(DECODERS) - {"battery", "glucose context"}))
@pytest.mark.parametrize("bit", range(8))
def test_reserved_flags_are_named(name: str, bit: int) -> None:
    """What follows them cannot be known."""
    known = 0x07 if "temperature" in name else 0x1F
    if known >> bit & 1:
        return
    with pytest.raises(BleReservedError, match="reserved bits"):
        DECODERS[name](bytes((FULL[name][0] | 1 << bit,)) + FULL[name][1:], SOURCE)


def test_the_reserved_extended_flags_of_a_context_are_named() -> None:
    """The byte is announced by bit 7; empty it means nothing."""
    glucose.context(b"\x80" + u16(7) + b"\0", SOURCE)
    with pytest.raises(BleReservedError):
        glucose.context(b"\x80" + u16(7) + b"\1", SOURCE)


@pytest.mark.parametrize("count", [0, 255, 32_767, 32_768, 65_534])
def test_a_count_is_a_figure_whatever_it_is(count: int) -> None:
    """Of a plain 16-bit count only 0xFFFF means anything else: what ends other numbers is a number here."""
    _, energy = heart_rate.measurement(b"\x08\x46" + u16(count), SOURCE).samples
    assert (energy.value, energy.flag) == ((count, 0), None)
    exercise, _ = glucose.context(b"\x08" + u16(7, count) + b"\x32", SOURCE).samples
    assert (exercise.value, exercise.flag) == ((count, 0), None)
    _, interval = heart_rate.measurement(b"\x10\x46" + u16(count), SOURCE).samples
    assert interval.value == (count * 9765625, -10)
    for reading in (heart_rate.measurement(b"\x08\x46\xff\xff", SOURCE), glucose.context(b"\x08\7\0\xff\xff2", SOURCE)):
        assert [sample.text for sample in reading.samples if sample.text] == [">=65535"]


def test_a_value_longer_than_gatt_allows_is_refused() -> None:
    """512 bytes are the most."""
    longest = b"\x10\x46" + u16(800) * 255
    assert len(heart_rate.measurement(longest, SOURCE).samples) == 256
    with pytest.raises(BleTrailingError, match="at most 512"):
        heart_rate.measurement(longest + u16(800), SOURCE)


def first(reading: Reading) -> Sample:
    """Its first sample."""
    return reading.samples[0]


@pytest.mark.parametrize(
    ("number", "absent", "flag"),
    [
        (NAN, "not-a-number", None),
        (NRES, "unsupported", None),
        (POSITIVE, "positive-infinity", None),
        (NEGATIVE, "negative-infinity", None),
        (RESERVED, "error", "sentinel"),
    ],
)
def test_a_special_number_is_a_reason_and_no_value(number: bytes, absent: str, flag: str | None) -> None:
    """In each profile that carries them."""
    for sample in (
        first(blood_pressure.measurement(b"\0" + number + u16(80, 95), SOURCE)),
        first(pulse_oximeter.continuous(b"\0" + number + u16(60), SOURCE)),
        first(glucose.measurement(b"\x02" + u16(1) + STAMP + number + b"\x11", SOURCE)),
    ):
        assert (sample.value, sample.absent, sample.flag) == (None, absent, flag)


def test_figures_that_cannot_be_are_flagged() -> None:
    """As for HL7: what was sent is kept, where no reader takes it for a measurement."""
    sample = first(pulse_oximeter.spot_check(b"\0" + u16(101, 60), SOURCE))
    assert (sample.code, sample.flag, sample.sent_value, sample.value) == ("59408-5", "out-of-range", (101, 0), None)
    hot = first(thermometer.measurement(b"\x00\x6f\x01\x00\x00", SOURCE))  # 367 degrees
    assert (hot.flag, hot.sent_value) == ("out-of-range", (367, 0))
    silly = first(thermometer.measurement(b"\x04\xff\xff\x7f\x00\x04", SOURCE))
    assert (silly.absent, silly.value) == ("not-a-number", None)


# --- times -----------------------------------------------------------------------------------------------------------


def test_a_time_stamp_is_utc_where_the_offset_is_known() -> None:
    """And unknown where it is not, or where the wall clock shows what does not exist."""
    data = b"\x02" + u16(120, 80, 95) + STAMP
    assert blood_pressure.measurement(data, SOURCE).device_time == STAMP_MS
    assert blood_pressure.measurement(data, Source("DEV-1")).device_time is None
    broken = data[:-7] + struct.pack("<HBBBBB", 2026, 2, 30, 0, 0, 0)
    assert blood_pressure.measurement(broken, SOURCE).device_time is None
    assert first(blood_pressure.measurement(broken, SOURCE)).value == (120, 0)


def test_a_clock_that_was_never_set_is_not_believed() -> None:
    """Bit 4 of an oximeter's spot check."""
    value = u16(97, 60) + STAMP
    assert pulse_oximeter.spot_check(b"\x01" + value, SOURCE).device_time == STAMP_MS
    assert pulse_oximeter.spot_check(b"\x11" + value, SOURCE).device_time is None


# --- heart rate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("contact", "quality"), [(0, "live"), (1, "live"), (2, "lost"), (3, "live")])
def test_skin_contact(contact: int, quality: str) -> None:
    """2 is the one code that says there is none; without it neither the rate nor the intervals are values."""
    reading = heart_rate.measurement(bytes((contact << 1 | 0x10, 70)) + u16(800), SOURCE)
    assert reading.quality == quality
    assert [sample.value is None for sample in reading.samples] == [quality == "lost"] * 2


def test_energy_at_the_end_of_its_counter() -> None:
    """0xFFFF is at least that much, and no figure."""
    energy = heart_rate.measurement(b"\x08\x46\xff\xff", SOURCE).samples[1]
    assert (energy.text, energy.value, energy.unit) == (">=65535", None, "kJ")


# --- blood pressure --------------------------------------------------------------------------------------------------


def test_a_cuff_on_its_way_is_no_blood_pressure() -> None:
    """One figure without a LOINC, ongoing; the two that the specification leaves NaN say nothing."""
    reading = blood_pressure.cuff_pressure(b"\0" + u16(140) + NAN + NAN, SOURCE)
    (sample,) = reading.samples
    assert (str(sample), sample.status, reading.quality) == ("GATT:2A36 cuff 140 mm[Hg]", "msmt-ongoing", "live")
    odd = blood_pressure.cuff_pressure(b"\0" + u16(140, 3) + NAN, SOURCE)
    assert [sample.sent for sample in odd.samples] == ["GATT:2A36 cuff", "GATT:2A36 diastolic"]


@pytest.mark.parametrize(
    ("bits", "notes", "status"),
    [
        (0, [], None),
        (1 << 2, ["irregular-pulse"], None),
        (1 << 1, ["cuff-too-loose"], "questionable"),
        (1 << 3, ["pulse-rate-above-limit"], None),
        (2 << 3, ["pulse-rate-below-limit"], None),
        (3 << 3, ["pulse-rate-range-3"], None),
        (1 << 15 | 1, ["body-movement", "bit-15"], "questionable"),
    ],
)
def test_what_a_cuff_says_about_itself(bits: int, notes: list[str], status: str | None) -> None:
    """Each bit is kept by its name, a reserved one by its number."""
    reading = blood_pressure.measurement(b"\x10" + u16(120, 80, 95, bits), SOURCE)
    assert [sample.text for sample in reading.samples[3:]] == notes
    assert {sample.status for sample in reading.samples[:3]} == {status}


def test_the_user_of_a_shared_cuff_is_kept() -> None:
    """255 is nobody known."""
    data = b"\x08" + u16(120, 80, 95)
    assert first(blood_pressure.measurement(data + b"\x02", SOURCE)).sub == "user 2"
    assert first(blood_pressure.measurement(data + b"\xff", SOURCE)).sub is None


# --- thermometer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "sent"),
    [
        (1, "8310-5", "GATT:2A1C armpit"),
        (6, "8331-1", "GATT:2A1C mouth"),
        (8, None, "GATT:2A1C toe"),
        (200, None, "GATT:2A1C type-200"),
    ],
)
def test_where_a_temperature_was_taken(kind: int, code: str | None, sent: str) -> None:
    """Nothing is mapped by likeness."""
    sample = first(thermometer.measurement(b"\x04\x6f\x01\x00\xff" + bytes((kind,)), SOURCE))
    assert (sample.code, sample.sent, sample.value) == (code, sent, (367, -1))


def test_the_unit_is_the_devices() -> None:
    """Fahrenheit stays Fahrenheit; a rising temperature is ongoing."""
    sample = first(thermometer.intermediate(b"\x01\xda\x03\x00\xff", SOURCE))
    assert (str(sample), sample.status) == ("8310-5 98.6 [degF]", "msmt-ongoing")


# --- pulse oximeter --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measuring", "sensor", "status", "absent", "quality"),
    [
        (0, 0, None, None, "live"),
        (1 << 7, 0, "validated-data", None, "live"),
        (1 << 5, 0, "msmt-ongoing", None, "live"),
        (1 << 6, 1 << 5, "questionable", None, "live"),
        (1 << 10, 0, "demo-data", "not-applicable", "live"),
        (1 << 11, 0, "test-data", "not-applicable", "live"),
        (1 << 13, 0, "not-available", "not-performed", "lost"),
        (1 << 7 | 1 << 15, 0, "invalid", "error", "live"),
        (0, 1 << 14, "invalid", "error", "live"),
        (0, 1 << 11, "not-available", "not-performed", "lost"),
        (0, 1 << 15 | 1 << 14, "not-available", "not-performed", "lost"),
        (0, 1 << 20, None, None, "live"),
    ],
)
def test_what_an_oximeter_says_about_itself(
    measuring: int, sensor: int, status: str | None, absent: str | None, quality: str
) -> None:
    """The worst of its judgements counts, for both figures; each bit leaves its name."""
    data = b"\x0c" + u16(97, 60, measuring) + sensor.to_bytes(3, "little")
    reading = pulse_oximeter.continuous(data, SOURCE)
    for sample in reading.samples[:2]:
        assert (sample.status, sample.absent, sample.value is None) == (status, absent, absent is not None)
    assert reading.quality == quality
    assert len(reading.samples) == 2 + measuring.bit_count() + sensor.bit_count()


def test_the_averagings_of_an_oximeter_are_told_apart() -> None:
    """Normal, fast and slow pairs under one code each."""
    reading = pulse_oximeter.continuous(b"\x03" + u16(97, 60, 96, 61, 98, 62), SOURCE)
    assert [(str(sample), sample.sub) for sample in reading.samples] == [
        ("59408-5 97 %", None),
        ("8889-8 60 /min", None),
        ("59408-5 96 %", "fast"),
        ("8889-8 61 /min", "fast"),
        ("59408-5 98 %", "slow"),
        ("8889-8 62 /min", "slow"),
    ]
