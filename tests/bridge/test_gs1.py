"""Scans: what they name, and what is refused rather than guessed. GS1's published cases are run as they are."""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import MedledgerError
from medledger.records import Dispense
from medledger_bridge.errors import ScanError
from medledger_bridge.gs1 import Scan, expiry_date, parse_elements, parse_scan

TODAY = date(2026, 11, 22)
GTIN = "07032069804988"
PACK = f"01{GTIN}17270200" + "10A1B2C3\x1d21SER-1"


def vectors(shared_data: Callable[[str], Path], name: str) -> list[dict[str, Any]]:
    """One file of GS1's extracted cases."""
    cases: list[dict[str, Any]] = json.loads(shared_data(f"07-gs1-epcis/vectors/{name}").read_text())
    return cases


def accepted(text: str) -> bool:
    """Whether the elements of `text` are read."""
    try:
        parse_elements(text, sends_separators=True)
    except ScanError:
        return False
    return True


# --- what a scan names


@pytest.mark.parametrize("mark", ["]d2", "]C1", "]Q3", "", "\x1d", "]d2\x1d"])
def test_a_pack_is_read_whatever_symbol_it_came_from(mark: str) -> None:
    """The mark and a leading FNC1 say only that the content is GS1."""
    scan = parse_scan(mark + PACK, today=TODAY)
    assert scan == Scan(GTIN, "A1B2C3", "2027-02-28", "SER-1", mark + PACK)


def test_the_readable_form_names_the_same_pack() -> None:
    """What stands under the barcode can be typed in."""
    assert parse_scan(f"(01){GTIN}(17)270200(10)A1B2C3(21)SER-1", today=TODAY).serial == "SER-1"


def test_a_scan_becomes_a_dispense() -> None:
    """The fields have the form that the ledger's record wants."""
    scan = parse_scan("]d2" + PACK, today=TODAY)
    record = Dispense(
        product=scan.gtin, lot=scan.lot, expiry=scan.expiry, serial=scan.serial, quantity="1", unit="{pack}"
    )
    assert record.to_content()["expiry"] == "2027-02-28"


def test_plain_gtins_are_read_by_their_mark_only() -> None:
    """EAN-13, EAN-8 and ITF-14 become a GTIN-14; the same digits without a mark could be elements."""
    assert parse_scan("]E07032069804988").gtin == GTIN
    assert parse_scan("]E402345673").gtin == "00000002345673"
    assert parse_scan("]I1" + GTIN).gtin == GTIN
    for text in ["7032069804988", "02345673", GTIN, "]E0703206980498", "]E4" + GTIN, "]E07032069804987"]:
        with pytest.raises(ScanError):
            parse_scan(text)


def test_a_scan_must_name_a_product() -> None:
    """A lot alone is no pack."""
    with pytest.raises(ScanError, match="no product"):
        parse_scan("]d210LOT1")


# --- dates


@pytest.mark.parametrize(
    ("text", "today", "expected"),
    [
        ("260200", date(2026, 1, 1), "2026-02-28"),
        ("280200", date(2026, 1, 1), "2028-02-29"),
        ("760101", date(2026, 1, 1), "2076-01-01"),  # 50 years ahead
        ("770101", date(2026, 1, 1), "1977-01-01"),  # 51: the century before
        ("000101", date(2026, 1, 1), "2000-01-01"),
        ("010101", date(2049, 1, 1), "2001-01-01"),
        ("000101", date(2051, 1, 1), "2100-01-01"),  # 51 behind: the century after
        ("990101", date(2051, 1, 1), "2099-01-01"),
    ],
)
def test_years_lie_within_the_century_window(text: str, today: date, expected: str) -> None:
    """From 49 years ago to 50 years ahead; day 00 is the month's last."""
    assert expiry_date(text, today=today) == expected


@pytest.mark.parametrize(("kind", "identifier", "hour"), [("yymmd0", "17", ""), ("yymmdd", "7003", "1200")])
def test_gs1_date_vectors(kind: str, identifier: str, hour: str, shared_data: Callable[[str], Path]) -> None:
    """Days that exist; day 00 in (17), and not in (7003), which has an hour. All 61 cases of each kind are run."""
    cases = [case for case in vectors(shared_data, "gs1-linters.json") if case["linter"] == kind]
    assert len(cases) == 61
    assert [case["ok"] for case in cases if case["value"] == "200600"] == [kind == "yymmd0"]
    for case in cases:
        value = case["value"]
        scan = f"]d201{GTIN}{identifier}{value}{hour}"
        if case["ok"]:
            assert expiry_date(value, today=TODAY, whole_months=not hour)[2:4] == value[:2]
            assert (parse_scan(scan, today=TODAY).expiry or "")[2:4] == value[:2]
        else:
            with pytest.raises(ScanError):
                expiry_date(value, today=TODAY, whole_months=not hour)
            with pytest.raises(ScanError):
                parse_scan(scan, today=TODAY)


def test_an_expiry_with_a_time_counts_and_may_not_contradict() -> None:
    """(7003) is an expiry too."""
    assert parse_scan(f"]d201{GTIN}7003270228120000"[:-2], today=TODAY).expiry == "2027-02-28"
    with pytest.raises(ScanError, match="two expiry dates"):
        parse_scan(f"]d201{GTIN}17270301" + "7003" + "2702281200", today=TODAY)


# --- GS1's other published cases


def test_gs1_bracketed_vectors(shared_data: Callable[[str], Path]) -> None:
    """Each of the 27 cases in the bracketed form, and those that have one in the form with FNC1.

    Two valid cases escape a bracket inside a value (`\\(`): people do not type that, and a bracket in a value makes the
    form ambiguous, so it is refused here; with FNC1 the same elements are read.
    """
    cases = vectors(shared_data, "gs1-parse-bracketed-ai.json")
    assert len(cases) == 27
    for case in cases:
        escaped = "\\(" in case["bracketed"]
        assert accepted(case["bracketed"]) == (case["ok"] and not escaped), case
        if case["expected"]:
            found = parse_elements("]d2" + case["expected"].replace("^", "\x1d"), sends_separators=True)
            if not escaped:
                assert found == dict(re.findall(r"\((\d+)\)([^(]+)", case["bracketed"]))


def test_gs1_character_set_vectors(shared_data: Callable[[str], Path]) -> None:
    """The 264 cases of the character set for lots and serials, at most 20 characters long, as a lot.

    The empty value is one of them: valid as a character string, but an element cannot be empty.
    """
    cases = [case for case in vectors(shared_data, "gs1-linters.json") if case["linter"] == "cset82"]
    assert len(cases) == 264
    for case in cases:
        value = case["value"]
        assert len(value) <= 20
        assert accepted(f"]d201{GTIN}10{value}") == (case["ok"] and value != ""), case


def test_gs1_numeric_and_zero_vectors(shared_data: Callable[[str], Path]) -> None:
    """A GTIN is digits (12 cases) and not all zeros (25 cases), padded to fourteen; its check digit is put right.

    The remaining kind, csumalpha (44 cases), is the check of a model number (8013), which no pack of medicine carries.
    """
    run = 0
    for case in vectors(shared_data, "gs1-linters.json"):
        value = case["value"]
        if case["linter"] in ("csetnumeric", "nonzero") and 0 < len(value) <= 13:
            body = value.rjust(13, "0" if case["linter"] == "nonzero" else "1")
            digit = -sum(int(c) * (3, 1)[i % 2] for i, c in enumerate(reversed(body)) if c in "0123456789") % 10
            run += 1
            assert accepted(f"]d201{body}{digit}") == case["ok"], case
    assert run >= 30


def test_every_element_of_the_dictionary_is_known_and_ends_where_it_should(shared_data: Callable[[str], Path]) -> None:
    """GS1's dictionary (2026-01-27) against the table that reads scans: the same elements end without FNC1.

    What the dictionary has and the table not is named here: none of it stands on a medicine's pack.
    """
    rows = re.findall(
        r"^(\d{2,4})(?:-(\d{2,4}))?\s+([*?]*)\s+[NXYZ]",
        shared_data("07-gs1-epcis/syntax/gs1-syntax-dictionary.txt").read_text(),
        re.MULTILINE,
    )
    fixed: dict[str, bool] = {}
    for first, last, flags in rows:
        for number in range(int(first), int(last or first) + 1):
            fixed[str(number).rjust(len(first), "0")] = "*" in flags
    table = json.loads(shared_data("07-gs1-epcis/syntax/_application_identifiers.json").read_text())
    ours = {row["ai"]: not row["separator_required"] for row in table}
    assert len(fixed) > 500
    differing = {ai for ai in fixed.keys() & ours.keys() if fixed[ai] != ours[ai]}
    missing = fixed.keys() - ours.keys()
    assert (differing, missing & {"00", "01", "02", "10", "11", "15", "17", "21", "240", "7003", "710"}) == (
        set(),
        set(),
    )


def test_device_identifiers_of_real_shape(shared_data: Callable[[str], Path]) -> None:
    """The three UDI strings of the claims data: synthetic, so their check digits are what chance made them.

    All split into their elements; a wrong check digit is refused by name, and with it put right, the string is read.
    """
    with shared_data("11-claims/synthea/devices.csv").open() as lines:
        strings = [row["UDI"] for row in csv.DictReader(lines)]
    assert len(strings) == 3
    right = 0
    for text in strings:
        elements = dict(re.findall(r"\((\d+)\)([^(]+)", text))
        body = elements["01"][:13]
        digit = -sum(int(c) * (3, 1)[i % 2] for i, c in enumerate(reversed(body))) % 10
        if elements["01"] == f"{body}{digit}":
            right += 1
        else:
            with pytest.raises(ScanError, match="check digit"):
                parse_scan(text, today=TODAY)
        scan = parse_scan(text.replace(elements["01"], f"{body}{digit}"), today=TODAY)
        assert (scan.lot, scan.serial) == (elements["10"], elements["21"])
        assert scan.expiry is not None
        assert scan.expiry[2:].replace("-", "") == elements["17"]
    assert right == 0


# --- what is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("]d2", "empty"),
        ("]d2hello", "not made of GS1"),
        ("]d1" + PACK, "holds no GS1"),
        ("]d201" + "07032069804987", "check digit"),
        ("]d201" + "0" * 14, "all zeros"),
        (f"]d201{GTIN}10" + "A" * 20 + "17270101", "is not ended"),
        (f"]d201{GTIN}10A1\x1d10A2", "two different values"),
        (f"]d201{GTIN}17271301", "not made of GS1"),
        (f"]d201{GTIN}10A 1", "blanks"),
        (f" ]d201{GTIN}", "blanks"),
        (f"01{GTIN}10ABC17270228", "may hold others"),
        (f"01{GTIN}10ABC21123", "may hold others"),
        (f"01{GTIN}10ABC70032702281200", "may hold others"),
        (f"01{GTIN}10ABC716012345678", "may hold others"),
        (f"01{GTIN}240Z110ABC17270228", "may hold others"),
        (f"(01){GTIN}(10)A(21", "told apart"),
        ("]d2" + "1" * 600, "at most"),
    ],
)
def test_the_ambiguous_and_the_damaged_are_refused_by_name(text: str, said: str) -> None:
    """A wrong lot or expiry is worse than a second scan."""
    with pytest.raises(ScanError, match=said):
        parse_scan(text, today=TODAY)


def test_a_scanner_known_to_send_separators_is_believed() -> None:
    """Then a lot that looks like elements is a lot; and a separator in the scan itself is as good."""
    assert parse_scan(f"01{GTIN}10ABC21123", sends_separators=True).lot == "ABC21123"
    assert parse_scan(f"01{GTIN}21S1\x1d10ABC21123").lot == "ABC21123"


CHARACTERS = st.sampled_from("0123456789ABCXYZabc()]d2-/.\x1d \r")


@given(
    st.text(max_size=60) | st.text(CHARACTERS, max_size=60) | st.text(CHARACTERS, max_size=40).map((PACK + "{}").format)
)
def test_any_text_is_a_scan_or_a_scan_error(text: str) -> None:
    """Nothing else comes out, and what comes out has a form the ledger takes."""
    with contextlib.suppress(MedledgerError):
        scan = parse_scan(text, today=TODAY)
        Dispense(product=scan.gtin, lot=scan.lot, expiry=scan.expiry, serial=scan.serial, quantity=1, unit="{pack}")
        return
    with contextlib.suppress(ScanError):
        parse_scan(text, today=TODAY)
        pytest.fail("a scan was read that the ledger's record refuses")


LOT = st.text(st.sampled_from("ABCDEFGHJKLMNPRSTUVWXYZ0123456789-/."), min_size=1, max_size=20)


@given(st.integers(1, 10**13 - 1), LOT, LOT, st.dates(date(1978, 1, 1), date(2075, 12, 31)))
def test_what_is_encoded_is_what_is_read(item: int, lot: str, serial: str, expiry: date) -> None:
    """Any product, lot, serial and date, in a symbol with its separators."""
    body = str(item).rjust(13, "0")
    digit = -sum(int(c) * (3, 1)[i % 2] for i, c in enumerate(reversed(body))) % 10
    scan = parse_scan(f"]d201{body}{digit}17{expiry:%y%m%d}10{lot}\x1d21{serial}", today=TODAY)
    assert (scan.gtin, scan.lot, scan.serial, scan.expiry) == (f"{body}{digit}", lot, serial, expiry.isoformat())
