"""Every published vector of another project's decoders goes through ours, with each value that it asserts.

Where the two disagree, the test that does not follow them says why.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from medledger.records import Reading, format_decimal
from medledger_bridge.ble import battery, blood_pressure, date_time, heart_rate, thermometer
from medledger_bridge.ble.measuring import Source
from medledger_bridge.errors import BleError

SOURCE = Source("CUFF-1", offset=0)
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "DSTOffsetDataCallback": date_time.dst_offset,
    "DateTimeDataCallback": date_time.date_time,
    "TimeZoneDataCallback": date_time.time_zone,
    "BatteryLevelDataCallback": lambda data: battery.level(data, SOURCE),
    "BloodPressureMeasurementDataCallback": lambda data: blood_pressure.measurement(data, SOURCE),
    "HeartRateMeasurementDataCallback": lambda data: heart_rate.measurement(data, SOURCE),
    "TemperatureMeasurementDataCallback": lambda data: thermometer.measurement(data, SOURCE),
    "TemperatureTypeDataCallback": thermometer.temperature_type,
}


@pytest.fixture(scope="module")
def vectors(shared_data: Callable[[str], Path]) -> dict[tuple[str, str], dict[str, Any]]:
    """By characteristic and name of the test they were taken from."""
    found = json.loads(shared_data("12-ble/nordic-ble-vectors-a.json").read_text())
    return {(vector["characteristic"].removesuffix("DataCallback"), vector["test"]): vector for vector in found}


def decode(vector: dict[str, Any]) -> Any:
    """What our decoder makes of a vector."""
    return DECODERS[vector["characteristic"]](bytes.fromhex(vector["hex"]))


def shown(reading: Reading) -> list[str]:
    """The samples, each with what the profile calls it."""
    return [f"{sample.sent}: {sample}" for sample in reading.samples]


def test_each_vector_is_taken_or_refused_as_its_authors_say(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """No disagreement: 20 are valid here too, 10 are a named error."""
    found = Counter()
    for vector in vectors.values():
        try:
            decode(vector)
        except BleError:
            found["invalid"] += 1
            assert vector["expected_outcome"] == "invalid", vector
        else:
            found["valid"] += 1
            assert vector["expected_outcome"] == "valid", vector
    assert found == {"valid": 20, "invalid": 10}


def test_clocks(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Offsets are in minutes; what a device does not know is None, and not 0."""
    found = {
        name: decode(vector) for (what, name), vector in vectors.items() if what == "DSTOffset" and "inv" not in name
    }
    assert list(found.values()) == [0, 30, 60, 120, None]
    assert decode(vectors["TimeZone", "onTimeZoneReceived_basic"]) == 15
    assert decode(vectors["TimeZone", "onTimeZoneReceived_unknown"]) is None
    today = decode(vectors["DateTime", "onDateTimeReceived_today"])
    assert today == date_time.DateTime(2018, 4, 17, 15, 51, 0)
    undated = decode(vectors["DateTime", "onDateTimeReceived_dateNotKnown"])
    assert undated == date_time.DateTime(0, 0, 0, 18, 26, 32)
    assert undated.utc_ms(0) is None


def test_battery(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Percent."""
    full = decode(vectors["BatteryLevel", "onBatteryLevelChanged_fullBattery"])
    low = decode(vectors["BatteryLevel", "onBatteryLevelChanged_lowBattery"])
    assert shown(full) + shown(low) == ["GATT:2A19: GATT:2A19 100 %", "GATT:2A19: GATT:2A19 15 %"]


def test_blood_pressure_in_full(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Every field; the year is unknown, so that the time is, although the vector asserts the rest of the date.

    Of a date without a year nothing can be kept as a time: the bytes stay with the agent under their hash. A loose
    cuff, movement and a wrong position make each figure questionable; the pulse's range 0 ("in range") says nothing.
    """
    reading = decode(vectors["BloodPressureMeasurement", "onBloodPressureMeasurementReceived_full"])
    assert shown(reading) == [
        "GATT:2A35 systolic: 8480-6 138 mm[Hg]",
        "GATT:2A35 diastolic: 8462-4 88 mm[Hg]",
        "GATT:2A35 mean: 8478-0 120 mm[Hg]",
        "GATT:2A35 pulse-rate: 8867-4 60 /min",
        "GATT:2A35 status: GATT:2A35 status body-movement",
        "GATT:2A35 status: GATT:2A35 status cuff-too-loose",
        "GATT:2A35 status: GATT:2A35 status irregular-pulse",
        "GATT:2A35 status: GATT:2A35 status improper-position",
    ]
    assert {sample.sub for sample in reading.samples} == {"user 1"}
    assert [sample.status for sample in reading.samples[:4]] == ["questionable"] * 4
    assert reading.device_time is None


def test_blood_pressure_in_kilopascals(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The unit stays the device's: 18.9 kPa has no exact figure in mmHg."""
    reading = decode(vectors["BloodPressureMeasurement", "onBloodPressureMeasurementReceived_some"])
    assert shown(reading) == [
        "GATT:2A35 systolic: 8480-6 18.9 kPa",
        "GATT:2A35 diastolic: 8462-4 11 kPa",
        "GATT:2A35 mean: 8478-0 15.9 kPa",
        "GATT:2A35 pulse-rate: 8867-4 60 /min",
        "GATT:2A35 status: GATT:2A35 status cuff-too-loose",
        "GATT:2A35 status: GATT:2A35 status pulse-rate-below-limit",
    ]
    assert {sample.sub for sample in reading.samples} == {None}


def test_blood_pressure_alone(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Three figures and nothing about them."""
    reading = decode(vectors["BloodPressureMeasurement", "onBloodPressureMeasurementReceived_minimal"])
    assert [str(sample) for sample in reading.samples] == [
        "8480-6 18.9 mm[Hg]",
        "8462-4 11 mm[Hg]",
        "8478-0 15.9 mm[Hg]",
    ]
    assert {sample.status for sample in reading.samples} == {None}


def test_heart_rate(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Rates in 8 and 16 bits, energy and intervals; an interval of 33 is 33/1024 s, exactly."""
    plain = decode(vectors["HeartRateMeasurement", "onHeartRateMeasurementReceived_simple"])
    assert [str(sample) for sample in plain.samples] == ["8867-4 85 /min"]
    short = decode(vectors["HeartRateMeasurement", "onHeartRateMeasurementReceived_uint8"])
    assert shown(short) == [
        "GATT:2A37: 8867-4 85 /min",
        "GATT:2A37 energy: GATT:2A37 energy 50 kJ",
        "GATT:2A37 RR-interval: GATT:2A37 RR-interval 0.0322265625 s",
    ]
    wide = decode(vectors["HeartRateMeasurement", "onHeartRateMeasurementReceived_uint16"])
    assert str(wide.samples[0]) == "8867-4 257 /min"
    assert str(wide.samples[1]) == "GATT:2A37 energy 306 kJ"
    intervals = [sample.value for sample in wide.samples[2:]]
    assert intervals == [(ticks * 9765625, -10) for ticks in (1, 258, 65535)]
    assert {plain.quality, short.quality, wide.quality} == {"live"}


def test_a_heart_rate_without_contact_is_no_value(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """A disagreement: the vector asserts the heart rate 255, and that there is no skin contact.

    A sensor that is on nobody measures nobody's heart. The figure is kept as what was sent, and is not a value.
    """
    (sample,) = (reading := decode(vectors["HeartRateMeasurement", "onHeartRateMeasurementReceived_noContact"])).samples
    assert (sample.code, sample.value, sample.sent_value) == ("8867-4", None, (255, 0))
    assert (sample.absent, sample.status, reading.quality) == ("not-performed", "not-available", "lost")


def test_temperature(vectors: dict[tuple[str, str], dict[str, Any]]) -> None:
    """37.60 with both its decimals; a finger's temperature is not the body's, so it has no LOINC."""
    reading = decode(vectors["TemperatureMeasurement", "onTemperatureMeasurementReceived"])
    (sample,) = reading.samples
    assert sample.value is not None
    assert format_decimal(sample.value) == "37.60"
    assert (sample.code, sample.unit, sample.sent) == (None, "Cel", "GATT:2A1C finger")
    assert reading.device_time == datetime(2012, 12, 5, 11, 50, 27, tzinfo=UTC).timestamp() * 1000
    assert decode(vectors["TemperatureType", "onMeasurementIntervalReceived"]) == "ear"
