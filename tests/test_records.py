"""Records: what they accept, how they stand on the ledger, and that they cannot hold a person."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger import registry
from medledger.decimals import as_decimal, format_decimal, parse_decimal, to_exact
from medledger.errors import MedledgerError, SchemaError, UsageError
from medledger.records import (
    Association,
    DeviceStatus,
    Dispense,
    DispenseReturn,
    GovApprove,
    GovEnrol,
    GovEpoch,
    GovRevoke,
    GovTransport,
    Prescription,
    Reading,
    Recall,
    Record,
    Sample,
    Stock,
    check_gtin,
    is_loinc,
    lookup,
    register,
    registered,
)
from medledger.registry import RecordBase
from medledger.schema import Map, Validator

FEED = bytes(range(32))
OTHER = bytes(range(1, 33))
GTIN = "07032069804988"

EXAMPLES: list[Any] = [
    Reading(device="MON-7", samples=[("8867-4", "72", "/min")]),
    Reading(
        device="MON-7",
        samples=[
            Sample("8310-5", (1350, -2), "Cel", sent="MDC:150344", sent_unit="MDC:268192", status="questionable"),
            Sample("59408-5", unit="%", absent="error", flag="sentinel", sent_value=(-100, 0), result="F", sub="1.2.1"),
            Sample(None, text=">90", sent="99X:TSH"),
        ],
        device_time=1_790_000_000_000,
        device_sync=532224,
        quality="stale",
        alarm="MDC_EVT_LEAD_OFF (start)",
        raw=FEED,
        subject=bytes(16),
        time=1_790_000_000_001,
    ),
    Reading(device="MON-7", alarm="SPO2 LOW", quarantine="conflict"),
    Dispense(product=GTIN, quantity="30", unit="{tablet}"),
    Dispense(
        product=GTIN,
        quantity=decimal.Decimal("1.50"),
        unit="mL",
        status="declined",
        lot="A1",
        expiry="2027-02-28",
        serial="S-1",
        prescription=FEED,
        override="interaction checked",
        raw=OTHER,
        subject=bytes(16),
        time=0,
    ),
    Dispense(
        product=GTIN,
        quantity=1,
        unit="{pack}",
        refill=2,
        schedule="II",
        operator=bytes(16),
        witness=(FEED, bytes(64)),
    ),
    DispenseReturn(issue=FEED, quantity="1.50", action="undo", reason="wrong patient", operator=bytes(16), raw=OTHER),
    Prescription(prescription=bytes(16), quantity=30, unit="{tablet}", atc="N02AA01", repeats=5),
    Prescription(
        prescription=bytes(16),
        quantity="2.5",
        unit="mg",
        product=GTIN,
        schedule="BtM",
        expires="2027-02-28",
        raw=FEED,
        subject=bytes(16),
    ),
    Recall(product=GTIN, lots=["A", "B"], serials=["1"], level="I", reference="D-1", reason="glass", raw=FEED),
    Recall(product=GTIN),
    Stock(step="receiving", product=GTIN, quantity=1, unit="{pack}", lot="A", expiry="2028-01-31", serial="S"),
    Stock(
        step="destroying",
        product=GTIN,
        quantity=1,
        unit="{pack}",
        source="holding",
        disposition="expired",
        reason="out of date",
        schedule="II",
        document=FEED,
        override="seen",
        operator=bytes(16),
        witness=(FEED, bytes(64)),
        raw=OTHER,
        time=5,
    ),
    Association(
        device="MON-7", action="begin", location="ICU 101 A", reason="admit", at=5, raw=FEED, subject=bytes(16)
    ),
    DeviceStatus(device="MON-7", state="lost", firmware="1.2", config=FEED, calibrated=1, detail="probe off"),
    GovEpoch(k=0, previous=None, governors=[FEED], threshold=1, policy={"bedside": ["reading"]}),
    GovEpoch(
        k=1,
        previous=OTHER,
        governors=[FEED, OTHER],
        threshold=2,
        notaries=[FEED],
        policy={"all": ["*"], "none": []},
        closing=[(FEED, -1, None), (OTHER, 7, FEED)],
    ),
    GovEnrol(
        epoch=1,
        roles=["bedside"],
        org="H",
        label="box 7",
        sig=(-19, FEED),
        kem=(1, OTHER),
        proof=bytes(64),
        succeeds=None,
    ),
    GovRevoke(epoch=1, feed=FEED, seq=-1, id=None, reason="stolen"),
    GovRevoke(epoch=1, feed=FEED, seq=9, id=OTHER),
    GovApprove(act=FEED),
    GovTransport(epoch=0, generation=1, key=OTHER, boxes=[(FEED, bytes(80)), (OTHER, bytes(80))]),
]


def written_alike(content: Any) -> Any:
    """Content as the ledger gives it back: a tuple is a list there."""
    if isinstance(content, dict):
        return {key: written_alike(value) for key, value in content.items()}
    return [written_alike(item) for item in content] if isinstance(content, list | tuple) else content


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: record.TYPE)
def test_a_record_survives_its_content(record: Any) -> None:
    """Content that was written gives the same content again, and satisfies the schema."""
    content = written_alike(record.to_content())
    type(record).SCHEMA.check(content)
    again = type(record).from_content(content, subject=record.subject, time=record.time)
    assert written_alike(again.to_content()) == content
    assert (again.subject, again.time) == (record.subject, record.time)
    assert lookup(record.TYPE) is type(record)
    assert record.TYPE.startswith("gov.") == record.CONTROL


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: record.TYPE)
def test_content_is_made_of_what_the_ledger_can_carry(record: Any) -> None:
    """Integers, bytes, text, lists, maps with text keys, booleans and null; nothing else, and no floats."""

    def walk(value: Any) -> None:
        assert type(value) in (int, bytes, str, list, tuple, dict, bool, type(None))
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            list(map(walk, value.values()))
        elif isinstance(value, list | tuple):
            list(map(walk, value))

    walk(record.to_content())


def test_the_example_of_the_readme_is_the_shortest_reading() -> None:
    """Three plain values make a sample, and nothing that was not said is stored."""
    reading = Reading(device="MON-7", samples=[("8867-4", "72", "/min")])
    assert reading.to_content() == {"device": "MON-7", "samples": [["8867-4", [72, 0], "/min"]]}
    assert str(reading.samples[0]) == "8867-4 72 /min"


def test_a_record_without_its_rules_cannot_be_made() -> None:
    """The constructor refuses; there is no invalid record to pass on."""
    for make in [
        lambda: Reading(device="", samples=[]),
        lambda: Reading(device="M", samples=[("8867-5", "72", "/min")]),  # a wrong LOINC check digit
        lambda: Reading(device="M", samples=[("8867-4", 72.0, "/min")]),
        lambda: Reading(device="M", samples=[("8867-4", "72", "beats per min")]),
        lambda: Reading(device="M", samples=[("8867-4", "72")]),
        lambda: Reading(device="M", samples=[], raw=b"short"),
        lambda: Reading(device="M", samples=[], subject=b"a name"),
        lambda: Reading(device="M", samples=[], time=2**63),
        lambda: Dispense(product="07032069804987", quantity=1, unit="{pack}"),
        lambda: Dispense(product=GTIN, quantity=-1, unit="{pack}"),
        lambda: Dispense(product=GTIN, quantity=1, unit="{pack}", expiry="2026-02-30"),
        lambda: Dispense(product=GTIN, quantity=1, unit="{pack}", expiry="20260228"),
        lambda: Dispense(product=GTIN, quantity=1, unit="{pack}", prescription=b"short"),
        lambda: Dispense(product=GTIN, quantity=1, unit="{pack}", status="done"),
        lambda: Association(device="M", action="start"),
        lambda: DeviceStatus(device="M", state="fine"),
        lambda: GovEpoch(k=1, previous=FEED, governors=[OTHER, FEED], threshold=1, policy={}),
        lambda: GovEpoch(k=1, previous=FEED, governors=[FEED], threshold=1, policy={}, closing=[(FEED, -1, FEED)]),
        lambda: GovEpoch(
            k=1, previous=FEED, governors=[FEED], threshold=1, policy={}, closing=[(FEED, 1, FEED), (FEED, 1, None)]
        ),
        lambda: GovRevoke(epoch=0, feed=FEED, seq=3, id=None),
        lambda: GovRevoke(epoch=0, feed=FEED, seq=-1, id=FEED),
        lambda: GovApprove(act=b"x"),
        lambda: GovTransport(epoch=0, generation=0, key=OTHER, boxes=[(FEED, bytes(80))]),
        lambda: GovTransport(epoch=0, generation=1, key=OTHER, boxes=[]),
        lambda: GovTransport(epoch=0, generation=1, key=OTHER, boxes=[(FEED, bytes(80)), (FEED, bytes(80))]),
    ]:
        with pytest.raises(SchemaError):
            make()


@pytest.mark.parametrize(
    "sample",
    [
        Sample("8867-4"),  # no value, and no reason
        Sample("8867-4", (72, 0), absent="error"),  # both
        Sample("8867-4", (72, 0), flag="sentinel"),  # flagged, and yet a value
        Sample("8867-4", (72, 0), status="test-data"),  # a test is no measurement
        Sample(None, (72, 0)),  # nothing says what it is
        Sample("8867-4", absent="unclear"),
        Sample("8867-4", text="x" * 65),
    ],
)
def test_a_sample_is_a_value_or_a_reason(sample: Sample) -> None:
    """A vital sign has a code and a value; what is flagged, invalid or missing never looks like one."""
    with pytest.raises(SchemaError, match=r"samples\[0\]"):
        Reading(device="M", samples=[sample])


@pytest.mark.parametrize("field", ["name", "birth_date", "address", "record_number", "mrn", "patient"])
@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: record.TYPE)
def test_no_record_has_a_field_for_a_person(record: Any, field: str) -> None:
    """Neither as a field of the class nor smuggled into the content."""
    assert field not in type(record).NAMES
    content = record.to_content()
    if isinstance(content, dict):
        with pytest.raises(SchemaError, match="does not know"):
            record.SCHEMA.check({**content, field: "x"})


# --- decimals


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-128, 127))
def test_a_decimal_survives_its_text(mantissa: int, exponent: int) -> None:
    """Every pair has a text, and the text is read as that pair and no equal other one."""
    text = format_decimal((mantissa, exponent))
    assert parse_decimal(text) == (mantissa, exponent)
    assert as_decimal((mantissa, exponent)) == decimal.Decimal(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=3))
def test_a_decimal_of_the_standard_library_keeps_its_digits(value: decimal.Decimal) -> None:
    """Trailing zeros are information."""
    sign, digits, exponent = value.as_tuple()
    mantissa, kept = to_exact(value)
    assert (abs(mantissa), kept) == (int("".join(map(str, digits))), exponent)
    assert (mantissa < 0) == (bool(sign) and mantissa != 0)


@given(st.text(max_size=70))
def test_any_text_is_a_decimal_or_a_schema_error(text: str) -> None:
    """Nothing else comes out, and what is accepted means what Python's decimal means by it."""
    try:
        exact = parse_decimal(text)
    except SchemaError:
        return
    assert as_decimal(exact) == decimal.Decimal(text)


@pytest.mark.parametrize(
    ("text", "pair", "normal"),
    [
        ("13.50", (1350, -2), "13.50"),
        ("13.5", (135, -1), "13.5"),
        ("+072", (72, 0), "72"),
        (".5", (5, -1), "0.5"),
        ("5.", (5, 0), "5"),
        ("-0.05", (-5, -2), "-0.05"),
        ("1e3", (1, 3), "1E+3"),
        ("1.00", (100, -2), "1.00"),
    ],
)
def test_decimals_keep_how_they_were_written(text: str, pair: tuple[int, int], normal: str) -> None:
    """13.50 is not 13.5."""
    assert parse_decimal(text) == pair
    assert format_decimal(pair) == normal


@pytest.mark.parametrize(
    "bad", ["", ".", "-", "1,5", "0x1", "١", "1_0", " 1", "NaN", "inf", "1E-245", "9" * 20, "1" * 65, 1.5, True, None]
)
def test_what_is_not_an_exact_decimal_is_refused(bad: object) -> None:
    """Floats, other scripts' digits, and figures beyond 64 bits or the exponent's range."""
    with pytest.raises(SchemaError):
        to_exact(bad)


# --- codes


def test_loinc_codes_have_their_check_digit() -> None:
    """The published codes pass; a digit changed anywhere does not."""
    for code in ["8867-4", "9279-1", "2708-6", "59408-5", "8310-5", "85354-9", "8480-6", "8462-4", "8478-0", "29463-7"]:
        assert is_loinc(code)
        assert not is_loinc(code[:-1] + str((int(code[-1]) + 1) % 10))
    for text in ["", "-", "GLU", "8867", "8867-", "8867-44", "88671234-4", "٨867-4", "8867-x"]:
        assert not is_loinc(text)


def test_gs1_check_digit_vectors(shared_data: Callable[[str], Path]) -> None:
    """GS1's own check-digit cases of at most 14 digits, as GTIN-14; the longer ones are SSCCs, which are no product."""
    cases = json.loads(shared_data("07-gs1-epcis/vectors/gs1-linters.json").read_text())
    run = 0
    for case in cases:
        value = case["value"]
        if case["linter"] == "csum" and len(value) <= 14:
            run += 1
            if case["ok"]:
                check_gtin(value.rjust(14, "0"))
            else:
                with pytest.raises(SchemaError):
                    check_gtin(value.rjust(14, "0") if value else value)
    assert run == 9


# --- the registry


class Weighing(RecordBase):
    """An embedder's own record type."""

    TYPE: ClassVar[str] = "example.weighing"
    SCHEMA: ClassVar[Validator] = Map({})
    NAMES: ClassVar[tuple[str, ...]] = ()
    subject = None
    time = None


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of this test's own."""
    monkeypatch.setattr(registry, "_registry", dict(registered()))
    registry._load_entry_points.cache_clear()


@pytest.mark.usefixtures("own_registry")
def test_an_embedder_registers_a_type_once() -> None:
    """Registering twice is nothing; taking another's name is refused."""
    assert lookup("example.weighing") is None
    register(Weighing)
    register(Weighing)
    assert lookup("example.weighing") is Weighing

    class Impostor(Weighing):
        TYPE = "reading"

    with pytest.raises(UsageError, match="registered already"):
        register(Impostor)
    with pytest.raises(UsageError, match="not a record class"):
        register(type("Nameless", (Weighing,), {"TYPE": ""}))


@pytest.mark.usefixtures("own_registry")
def test_an_unknown_type_is_looked_for_among_installed_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point of the group medledger.records is loaded on the first miss."""
    point = EntryPoint("weighing", f"{__name__}:Weighing", "medledger.records")
    monkeypatch.setattr(EntryPoint, "load", lambda _: Weighing)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [point])
    found: type[Record] | None = lookup("example.weighing")
    assert found is Weighing
    assert registered()["example.weighing"] is Weighing


@pytest.mark.usefixtures("own_registry")
def test_an_extension_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its import raises, it leaves the library as one of our errors."""
    point = EntryPoint("broken", "nowhere_at_all:Thing", "medledger.records")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [point])
    with pytest.raises(MedledgerError, match="broken"):
        lookup("example.unknown")
