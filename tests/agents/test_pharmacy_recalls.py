"""Recalls as authorities publish them: drug codes become GTINs or are refused as ambiguous, never guessed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.records import Recall, check_gtin
from medledger_agents.pharmacy.recalls import MAX_NOTICE_BYTES, RecallError, ndc_to_gtin, ndc_to_gtins, read_notice

DIGITS = st.text("0123456789", min_size=10, max_size=10)
SHAPES = st.sampled_from([(4, 4, 2), (5, 3, 2), (5, 4, 1)])


def divided(digits: str, shape: tuple[int, int, int]) -> list[str]:
    """The three segments."""
    labeler, product, _ = shape
    return [digits[:labeler], digits[labeler : labeler + product], digits[labeler + product :]]


@given(DIGITS, SHAPES)
def test_ten_digits_have_one_gtin(digits: str, shape: tuple[int, int, int]) -> None:
    """However they are divided: the same ten digits, with a right check digit."""
    gtin = ndc_to_gtin("-".join(divided(digits, shape)))
    check_gtin(gtin)
    assert gtin[:13] == f"003{digits}"


@given(DIGITS, SHAPES)
def test_eleven_digits_never_lose_the_right_gtin(digits: str, shape: tuple[int, int, int]) -> None:
    """Filled up for billing, a code is its own GTIN or ambiguous with it among those named; a catalogue settles it."""
    parts = divided(digits, shape)
    right = ndc_to_gtin("-".join(parts))
    billed = "-".join(part.zfill(size) for part, size in zip(parts, (5, 4, 2), strict=True))
    may_be = ndc_to_gtins(billed)
    assert right in may_be
    assert ndc_to_gtin(billed, {right}) == right
    if len(may_be) > 1:
        with pytest.raises(RecallError, match="may be"):
            ndc_to_gtin(billed)
    else:
        assert ndc_to_gtin(billed) == right


@pytest.mark.parametrize(
    "bad", ["", "0024059010", "00591036901", "12345-1234-12", "123-4567-89", "0024-0590-1", "a-b-c"]
)
def test_what_cannot_be_told_is_refused(bad: str) -> None:
    """Digits without hyphens, other divisions, and eleven digits with no zero to spare."""
    with pytest.raises(RecallError):
        ndc_to_gtins(bad)


def test_real_notices_are_read_or_refused_with_the_reason(shared_data: Callable[[str], Path]) -> None:
    """The FDA's own: one drug with seven lots; one whose code may be three products; a nail, and granola."""
    folder = shared_data("13-registers/recalls")
    notice = read_notice((folder / "ndc-4-4-2.xml").read_bytes())
    assert (notice.reference, notice.level, notice.products) == ("D-1407-2012", "II", ("00300240590102",))
    assert notice.lots == ("AE27", "AE41", "BL18B", "CA02B", "CB13B", "CD65B", "CE39B")
    (request,) = notice.requests()
    assert request["reason"].startswith("CGMP Deviations")
    five = (folder / "ndc-5-4-2.xml").read_bytes()
    with pytest.raises(RecallError, match="00300591036915 or 00300591369013 or 00305910369019"):
        read_notice(five)
    settled = read_notice(five, catalogue={"00305910369019"})
    assert (settled.products, settled.lots, settled.level) == (("00305910369019",), ("108094A",), "III")
    for name, said in (
        ("one-recall.json", "no NDC"),
        ("one-recall.txt", "not XML"),
        ("upc-with-dashes.xml", "not a drug"),
    ):
        with pytest.raises(RecallError, match=said):
            read_notice((folder / name).read_bytes())


def test_every_code_of_the_directory_becomes_one_gtin(shared_data: Callable[[str], Path]) -> None:
    """The packages of the FDA's directory, which writes them undivided by billing: one GTIN each, all different."""
    folder = shared_data("13-registers/ndc")
    codes = [
        row["NDCPACKAGECODE"]
        for name in ("package_trimmed.txt", "unfinished_package_trimmed.txt")
        for row in csv.DictReader((folder / name).read_text(encoding="latin-1").splitlines(), delimiter="\t")
    ]
    assert len(codes) == 6
    assert len({ndc_to_gtin(code) for code in codes}) == len(codes)


def notice(codes: str) -> bytes:
    """A notice with this code information."""
    fields = {"product-type": "Drugs", "product-description": "Tablets, NDC 0024-0590-10", "code-info": codes}
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("codes", "lots"),
    [
        ("Lot 108094A", ("108094A",)),
        ("Lots: A1, B2 and C3", ("A1", "B2", "C3")),
        ("Lot # 20118000.", ("20118000",)),
        ("Lot Numbers: 12A, 13B", ("12A", "13B")),
        ("Lot A1 Exp 05/2027", ("A1",)),
        ("All lots", ()),
        ("", ()),
    ],
)
def test_lots_that_are_named_are_read(codes: str, lots: tuple[str, ...]) -> None:
    """None named means all of the product."""
    assert read_notice(notice(codes)).lots == lots


@pytest.mark.parametrize(
    "codes", ["A1 B2 C3 D4", "Exp 05/2012 to 07/2013", "see the attached list", f"Lot {'1' * 21}", "Lot A1; B2"]
)
def test_lots_that_cannot_be_told_are_refused(codes: str) -> None:
    """A recall of fewer lots than were meant would be worse than none: a person has to read it."""
    with pytest.raises(RecallError):
        read_notice(notice(codes))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.text(max_size=80).map(notice)))
def test_any_bytes_are_a_notice_or_refused(data: bytes) -> None:
    """Nothing else comes out, and what is read can be written."""
    try:
        found = read_notice(data)
    except RecallError:
        return
    assert found.requests()
    for request in found.requests():
        Recall(**{name: value for name, value in request.items() if name != "do"})


@pytest.mark.parametrize(
    "hostile", [b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"x" * (MAX_NOTICE_BYTES + 1), b"[" * 100_000, b"\xff"]
)
def test_hostile_notices_are_refused(hostile: bytes) -> None:
    """Entities, size, depth, and what is no text."""
    with pytest.raises(RecallError):
        read_notice(hostile)
