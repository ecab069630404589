"""Numbers and clocks of Bluetooth devices, against a slow reference in the standard's words, and published vectors."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medledger_bridge.ble import date_time, ieee11073
from medledger_bridge.ble.ieee11073 import Special
from medledger_bridge.errors import BleTrailingError, BleTruncatedError, BleValueError

SPECIAL = {  # annex F of the standard
    16: dict(zip((0x07FF, 0x0800, 0x07FE, 0x0802, 0x0801), Special, strict=True)),
    32: dict(zip((0x007FFFFF, 0x00800000, 0x007FFFFE, 0x00800002, 0x00800001), Special, strict=True)),
}


def twos_complement(bits: str) -> int:
    """The weight of the first bit is negative, of the others positive."""
    weights = [2**place for place in range(len(bits))][::-1]
    return sum(
        weight * int(bit) * (-1 if at == 0 else 1) for at, (weight, bit) in enumerate(zip(weights, bits, strict=True))
    )


def reference(word: int, *, bits: int, exponent_bits: int) -> ieee11073.Number:
    """What IEEE 11073-20601 annex F says, bit by bit."""
    if word in SPECIAL[bits]:
        return SPECIAL[bits][word]
    digits = format(word, f"0{bits}b")
    exponent, mantissa = digits[:exponent_bits], digits[exponent_bits:]
    return twos_complement(mantissa), twos_complement(exponent)


def test_every_sfloat_is_what_the_standard_says() -> None:
    """All 65,536 of them."""
    for word in range(1 << 16):
        assert ieee11073.sfloat(word.to_bytes(2, "little")) == reference(word, bits=16, exponent_bits=4), hex(word)


@given(st.integers(0, 2**32 - 1))
@example(0x007FFFFF)
@example(0x007FFFFE)
@example(0x00800000)
@example(0x00800001)
@example(0x00800002)
@example(0x017FFFFF)
@example(0x80000000)
def test_a_float_is_what_the_standard_says(word: int) -> None:
    """The ends of the mantissa and of the exponent among them."""
    assert ieee11073.float32(word.to_bytes(4, "little")) == reference(word, bits=32, exponent_bits=8)


@given(st.integers(-2045, 2045), st.integers(-8, 7))
def test_a_written_sfloat_comes_back(mantissa: int, exponent: int) -> None:
    """Sign, digits and precision: 2, 2.0 and 2.00 stay three values."""
    word = (exponent & 0xF) << 12 | (mantissa & 0xFFF)
    assert ieee11073.sfloat(struct.pack("<H", word)) == (mantissa, exponent)


@given(st.integers(-(2**23) + 3, 2**23 - 3), st.integers(-128, 127))
def test_a_written_float_comes_back(mantissa: int, exponent: int) -> None:
    """The same for 32 bits."""
    assert ieee11073.float32(struct.pack("<i", mantissa)[:3] + struct.pack("<b", exponent)) == (mantissa, exponent)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (0x8078, (120, -8)),
        (0xF014, (20, -1)),
        (0x07FF, Special.NAN),
        (0x0800, Special.NRES),
        (0x07FE, Special.POSITIVE_INFINITY),
        (0x0802, Special.NEGATIVE_INFINITY),
        (0x0801, Special.RESERVED),
        (0x17FF, (2047, 1)),
        (0xF7FF, (2047, -1)),
        (0x0803, (-2045, 0)),
    ],
)
def test_the_corners_of_sfloat(word: int, number: ieee11073.Number) -> None:
    """Exponents are signed, and the special mantissas are special with exponent 0 only."""
    assert ieee11073.sfloat(word.to_bytes(2, "little")) == number


def test_a_smaller_unit_moves_the_exponent() -> None:
    """0.00120 kg/L is 120 mg/dL with the digits that were sent; what is no number stays none."""
    assert ieee11073.shifted((120, -5), 5) == (120, 0)
    assert ieee11073.shifted(Special.NAN, 5) is Special.NAN


def test_the_published_numbers(shared_data: Callable[[str], Path]) -> None:
    """Every number of the vectors, exactly.

    They expect binary floats of 32 bits: 1971209980.0 stands for 1971210000 and -1958409984.0 for -1958410000, which no
    such float can hold. So theirs is compared after our exact value is rounded to 32 bits too. GATT sends the low byte
    first; the vectors that they read with the high byte first are turned around.
    """
    vectors = json.loads(shared_data("12-ble/blessed-sfloat-float.json").read_text())
    numbers = [vector for vector in vectors if vector["type"] in ("FLOAT", "SFLOAT")]
    assert len(numbers) == 12
    decoders = {"FLOAT": ieee11073.float32, "SFLOAT": ieee11073.sfloat}
    for vector in numbers:
        data = bytes.fromhex(vector["hex"])[:: 1 if vector["endian"] == "LITTLE" else -1]
        found = decoders[vector["type"]](data)
        assert not isinstance(found, Special)
        exact = Fraction(found[0]) * Fraction(10) ** found[1]
        assert rounded(float(exact)) == pytest.approx(rounded(vector["expected"]), rel=2**-23), vector
    assert ieee11073.float32(bytes.fromhex("01020304")) == (197121, 4)


def rounded(value: float) -> float:
    """To a binary float of 32 bits."""
    result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return result


def test_the_published_date(shared_data: Callable[[str], Path]) -> None:
    """Six assertions about one Date Time."""
    vectors = json.loads(shared_data("12-ble/blessed-sfloat-float.json").read_text())
    dates = [vector for vector in vectors if vector["type"] == "DATE_TIME_ASSERT"]
    (data,) = {vector["hex"] for vector in dates}
    found = date_time.date_time(bytes.fromhex(data))
    fields = (found.year, found.month, found.day, found.hours, found.minutes, found.seconds)
    said = [int(vector["java"].removeprefix("assertEquals(").split(",")[0]) for vector in dates]
    assert list(fields) == said == [2020, 1, 2, 10, 21, 48]


def stamp(*fields: Any) -> bytes:
    """A Date Time."""
    return struct.pack("<HBBBBB", *fields)


def test_a_wall_clock_needs_an_offset() -> None:
    """Without one the time stays unknown; with one it is UTC."""
    found = date_time.date_time(stamp(2026, 7, 1, 12, 0, 30))
    assert found.utc_ms(None) is None
    noon = round(datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC).timestamp()) * 1000
    assert found.utc_ms(0) == noon
    assert found.utc_ms(120) == noon - 7_200_000
    assert found.utc_ms(-210, later=-5) == noon + 12_600_000 - 300_000


@pytest.mark.parametrize("fields", [(0, 1, 1, 0, 0, 0), (2026, 0, 1, 0, 0, 0), (2026, 1, 0, 0, 0, 0)])
def test_an_unknown_date_is_no_time(fields: tuple[int, ...]) -> None:
    """0 means unknown, in each place; it is no fault."""
    assert date_time.date_time(stamp(*fields)).utc_ms(0) is None


@pytest.mark.parametrize(
    "fields",
    [
        (2026, 2, 30, 0, 0, 0),
        (2025, 2, 29, 0, 0, 0),
        (2026, 13, 1, 0, 0, 0),
        (2026, 1, 32, 0, 0, 0),
        (2026, 1, 1, 24, 0, 0),
        (2026, 1, 1, 0, 60, 0),
        (2026, 1, 1, 0, 0, 60),
        (1581, 1, 1, 0, 0, 0),
        (10000, 1, 1, 0, 0, 0),
        (0, 2, 30, 0, 0, 0),
    ],
)
def test_a_moment_that_does_not_exist_is_named(fields: tuple[int, ...]) -> None:
    """No calendar and no clock shows it."""
    with pytest.raises(BleValueError):
        date_time.date_time(stamp(*fields))
    assert date_time.DateTime.of(stamp(*fields)).utc_ms(0) is None


def test_the_clock_of_a_device_tells_its_offset() -> None:
    """Zone and daylight saving add up; either unknown, the sum is."""
    assert date_time.utc_offset(bytes((4, 4))) == 120
    assert date_time.utc_offset(bytes((256 - 14, 0))) == -210
    assert date_time.utc_offset(bytes((0x80, 4))) is None
    assert date_time.utc_offset(bytes((4, 255))) is None


@pytest.mark.parametrize(
    "decode", [date_time.date_time, date_time.dst_offset, date_time.time_zone, date_time.utc_offset]
)
@given(data=st.binary(max_size=9))
def test_clocks_take_any_bytes(decode: Callable[[bytes], object], data: bytes) -> None:
    """A value, or a BleError: one for too few bytes, one for too many."""
    size = {"date_time": 7, "utc_offset": 2}.get(decode.__name__, 1)
    try:
        decode(data)
    except BleTruncatedError:
        assert len(data) < size
    except BleTrailingError:
        assert len(data) > size
    except BleValueError:
        assert len(data) == size
