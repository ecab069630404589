"""Records as JSON: what `log --json` writes `append` reads, digit by digit, and mistakes name their field."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger import Association, DeviceStatus, Dispense, Reading, Sample
from medledger.cli import recordjson
from medledger.errors import MedledgerError, SchemaError, UsageError
from medledger.records import DispenseReturn, Prescription, Recall, Stock
from medledger.registry import Record

DECIMALS = st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-128, 127))
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
UNITS = st.sampled_from(["/min", "mm[Hg]", "Cel", None])
MEASURED = st.builds(Sample, st.just("8867-4"), DECIMALS, UNITS)
NOT_NUMBERS = st.builds(Sample, st.just("8867-4"), text=TEXTS)
MISSING = st.builds(Sample, st.just("8867-4"), absent=st.just("error"), flag=st.just("sentinel"), sent_value=DECIMALS)
TIMES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
HASHES = st.one_of(st.none(), st.binary(min_size=32, max_size=32))
READINGS = st.builds(
    Reading,
    device=TEXTS,
    samples=st.lists(st.one_of(MEASURED, NOT_NUMBERS, MISSING), max_size=4),
    device_time=TIMES,
    raw=HASHES,
    quality=st.sampled_from([None, "live", "lost"]),
)
DISPENSES = st.builds(
    Dispense,
    product=st.just("09506000134352"),
    quantity=st.tuples(st.integers(0, 2**63 - 1), st.integers(-128, 127)),
    unit=st.just("mL"),
    prescription=st.one_of(st.none(), st.binary(min_size=16, max_size=32), TEXTS.filter(lambda t: t[:4] != "hex:")),
)
STATUSES = st.builds(DeviceStatus, device=TEXTS, state=st.just("on"), config=HASHES, calibrated=TIMES)
SUPPLIES = st.sampled_from(
    [
        DispenseReturn(issue=bytes(32), quantity="1.50", action="undo"),
        Prescription(prescription=bytes(range(16)), quantity=30, unit="{tablet}", atc="N02A", raw=bytes(32)),
        Recall(product="09506000134352", lots=["A", "B"], level="I"),
        Stock(
            step="destroying",
            product="09506000134352",
            quantity="0.5",
            unit="mL",
            document=bytes(32),
            operator=bytes(16),
            witness=[bytes(32), bytes(64)],
        ),
    ]
)
ASSOCIATIONS = st.builds(Association, device=TEXTS, action=st.just("begin"), at=TIMES, raw=HASHES)


@given(st.one_of(READINGS, DISPENSES, STATUSES, ASSOCIATIONS, SUPPLIES))
def test_what_is_written_is_read_back(record: Record) -> None:
    """A record goes through JSON text unchanged: exact decimals, hashes, times, results that are no numbers."""
    text = json.dumps(recordjson.to_json(record.TYPE, record.to_content()))
    again = recordjson.to_record(type(record), recordjson.parse(text))
    assert again.to_content() == record.to_content()


@pytest.mark.parametrize("number", ["13.50", "0.0", "-0.001", "1E+3", "72", "1e-7"])
def test_json_numbers_are_read_digit_by_digit(number: str) -> None:
    """A bare JSON number means what the same text means: no float is ever made of it."""
    bare = recordjson.parse(f'{{"device": "A", "samples": [["8867-4", {number}, "/min"]]}}')
    quoted = recordjson.parse(f'{{"device": "A", "samples": [["8867-4", "{number}", "/min"]]}}')
    assert recordjson.to_record(Reading, bare) == recordjson.to_record(Reading, quoted)


def test_a_value_is_shown_as_it_was_written() -> None:
    """13.50 stays 13.50."""
    record = recordjson.to_record(Reading, recordjson.parse('{"device": "A", "samples": [["8310-5", 37.50, "Cel"]]}'))
    assert recordjson.to_json("reading", record.to_content())["samples"][0]["value"] == "37.50"


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a": Infinity}', "[" * 100_000, '{"a": 1, "a": 2}', "{'a': 1}"])
def test_what_is_no_json_is_a_usage_error(text: str) -> None:
    """Malformed text, numbers that are none, endless nesting and doubled fields."""
    with pytest.raises(UsageError, match="this is not JSON"):
        recordjson.parse(text)


FIELDS = ["device", "samples", "raw", "code", "value", "unit", "quantity", "product", "action", "state", "time"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=12,
)


@given(st.sampled_from([Reading, Dispense, Association, DeviceStatus]), JSON)
def test_any_json_makes_a_record_or_an_error_of_ours(cls: type[Record], value: Any) -> None:
    """No shape of JSON leads to a traceback."""
    with contextlib.suppress(MedledgerError):
        recordjson.to_record(cls, value)


@given(st.sampled_from(["reading", "dispense", "device.status", "gov.enrol", "gov.epoch", "other"]), JSON)
def test_any_content_can_be_shown(kind: str, value: Any) -> None:
    """A void entry may hold anything: it is shown, never an error."""
    json.dumps(recordjson.to_json(kind, value), default=str)


def test_types_of_other_packages_have_a_form_too() -> None:
    """Bytes are hex:..., fractions exact pairs; a class that does not list its fields gets them as they are."""
    seen: list[Any] = []

    class Other:
        TYPE = "other"

        def __init__(self, *content: Any) -> None:
            seen.append(content)

        @classmethod
        def from_content(cls, content: Any, *, subject: bytes | None = None, time: int | None = None) -> Any:
            return cls(content, subject, time)

    value = recordjson.parse(
        '{"key": "hex:00ff", "level": 1.50, "list": ["hex:zz", 3], "time": "1970-01-01T00:00:01Z"}'
    )
    recordjson.to_record(Other, value)  # type: ignore[arg-type]
    assert seen == [({"key": b"\x00\xff", "level": [150, -2], "list": ["hex:zz", 3]}, None, 1000)]
    assert recordjson.to_json("other", {"key": b"\x00\xff"}) == {"key": "hex:00ff"}


def test_a_field_of_the_wrong_kind_is_named() -> None:
    """The schema's own message comes through, with the path."""
    with pytest.raises(SchemaError, match=r"reading\.device must be text"):
        recordjson.to_record(Reading, {"device": 7})
