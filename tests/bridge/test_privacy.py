"""No person reaches a reading, wherever a message repeats them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hl7_messages import MSH, OBR, recorded, sample, texts
from medledger.records import Reading, Sample
from medledger_bridge import hl7


def people(raw: bytes) -> set[str]:
    """Names, record numbers, birth dates and addresses of the patients, read without the code under test."""
    text = raw.decode("utf-8", "replace")
    field = text.lstrip()[3]
    component, repeat, _, sub = (text.lstrip()[4:8] + "&")[:4]
    found: set[str] = set()
    for line in re.split(r"[\r\n]+", text):
        if line.startswith("PID" + field):
            cells = line.split(field)
            for number in (3, 5, 7, 11):
                for one in cells[number].split(repeat) if number < len(cells) else []:
                    pieces = re.split(f"[{re.escape(component + sub)}]", one)
                    found.update(pieces[:1] if number == 3 else pieces)
    return {piece.strip().casefold() for piece in found if len(piece.strip()) > 2}


def test_no_recorded_person_reaches_a_reading(shared_data: Callable[[str], Path]) -> None:
    """Nothing of PID-3, 5, 7 and 11 of any recorded message stands in any text of any record made from it."""
    checked = 0
    for name, raw in recorded(shared_data).items():
        known = people(raw)
        for reading in hl7.readings(hl7.parse(raw)):
            for text in texts(reading.to_content()):
                checked += 1
                assert not [piece for piece in known if piece in text.casefold()], (name, text)
    assert checked > 300


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=2, max_size=12)
PLACES = st.sampled_from(
    [
        "OBX|1|ST|99^X^99ACME||{}||||||F",
        "OBX|1|ST|99^X^99ACME||seen by {} today||||||F",
        "OBX|1|CWE|99^X^99ACME||1^{}^L||||||F",
        "OBX|1|CWE|99^X^99ACME||{}^^L||||||F",
        "OBX|1|NM|{}^X^99ACME||72|/min^^UCUM|||||F",
        "OBX|1|NM|99^X^{}||72|/min^^UCUM|||||F",
        "OBX|1|NM|147842^HR^MDC|{}|72|{}^{}^99ACME|||||F",
        "OBX|1|NM|147842^HR^MDC||72|264864^x^MDC|||||F|||||||{}^^{}^EUI-64",
        "OBX|1|CWE|196616^MDC_EVT_ALARM^MDC||1^{}^MDC||||||F",
        "OBX|1|ST|196670^{}^MDC||{} LOW||||||F\rOBX|2|ST|68481^P^MDC||{}||||||F",
        "OBX|1|SN|99^X^99ACME||>^{}||||||F",
        "OBX|1|TX|99^X^99ACME||{}||||||F",
        "OBX|1|ZZ|99^X^99ACME||{}||{}|{}|||{}|||{}",
    ]
)


@given(NAMES, NAMES, NAMES, PLACES, st.sampled_from(["name", "given", "record", "city"]))
@example("MON", "Li", "0011223344556677", "OBX|1|ST|99^X^99ACME||{}||||||F", "record")
@example("PRN", "Li", "X1", "OBX|1|ST|99^X^99ACME||{}||||||F", "name")
def test_no_person_reaches_a_reading_wherever_the_sender_repeats_them(
    name: str, given_name: str, record: str, row: str, repeated: str
) -> None:
    """A device or a nurse may type the patient into any field; the reading is made without it."""
    city = "Walldorf"
    told = {"name": name, "given": given_name, "record": record, "city": city}[repeated]
    pid = f"PID|||{record}^^^HOSP^MR||{name}^{given_name}||19770114|M|||1 Elm^^{city}"
    msh = MSH.replace("ORU^R01", "ORU^R40").replace("MON^", f"{told}^" if len(told) % 2 else "MON^")
    parsed = hl7.parse("\r".join([msh, pid, OBR, row.replace("{}", told)]).encode())
    vocabulary = {"unknown", "withheld", "error", "as-text", "masked", "unsupported", "not-a-number", "sentinel"}
    for reading in hl7.readings(parsed):
        for text in texts(reading.to_content()):
            if text in vocabulary or text in Reading.NAMES or text in Sample.__slots__:
                continue
            words = set(re.findall(r"\w+", text.casefold()))
            known = {"8867-4", "/min", "MDC:147842", "MDC:264864", "unit-mismatch"}
            assert text in known or not words & {name.casefold(), given_name.casefold(), record.casefold(), "walldorf"}


@pytest.mark.parametrize(
    "told",
    [
        "HICCOCK",
        "hiccock, wildbill",
        "Wild-Bill",
        "MRN 4711",
        "1977-01-14",
        "14.01.1977",
        "01/14/1977",
        "49 Rue des saints",
        "WildBillHiccock",
        "Hi\u0301ccock",
    ],
)
def test_other_ways_to_write_a_person_are_found(told: str) -> None:
    """Case, punctuation and the order of a date hide nobody."""
    found = sample(f"OBX|1|ST|99^X^99ACME||{told}||||||F")
    assert (found.text, found.absent) == (None, "masked")


def test_names_of_one_character_are_found() -> None:
    """In other scripts a name may be as short as that."""
    rows = ["OBX|1|ST|99^X^99ACME||李明 稳定||||||F", "OBX|2|ST|98^X^99ACME||稳定||||||F"]
    parsed = hl7.parse("\r".join([MSH, "PID|||1^^^H||李^明", OBR, *rows]).encode())
    (reading,) = hl7.readings(parsed)
    assert [found.text for found in reading.samples] == [None, "稳定"]


def test_text_about_nobody_passes() -> None:
    """The screen costs only what repeats a person."""
    assert sample("OBX|1|ST|99^X^99ACME||sinus rhythm||||||F").text == "sinus rhythm"
    assert sample("OBX|1|ST|99^X^99ACME||7.35 pH||||||F").text == "7.35 pH"
