"""HL7 messages: recorded ones give the readings they mean, no person reaches one, and no bytes crash the parser."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medledger.errors import MedledgerError
from medledger.records import Reading, Sample
from medledger_bridge import hl7
from medledger_bridge.errors import Hl7Error
from medledger_bridge.message import MAX_DELIMITERS

MSH = "MSH|^~\\&|MON^0011223344556677^EUI-64|ICU|AGENT|HOSP|20260101120000+0100||ORU^R01^ORU_R01|C1|P|2.6"
PID = (
    "PID|||MRN4711^^^HOSP^MR||Hiccock^WildBill^Q||19770114|M|||49 rue des Saints^^Walldorf^^69226^DEU||"
    "^PRN^PH^^^617^5551212"
)
OBR = "OBR|1|||182777000^monitoring of patient^SCT|||20260101115900+0100"


def message(*rows: str, msh: str = MSH, obr: str = OBR) -> hl7.Message:
    """A message of the usual header, patient and order, and these rows."""
    return hl7.parse("\r".join([msh, PID, obr, *rows]).encode())


def sample(row: str) -> Sample:
    """The only sample of a message with this row."""
    (reading,) = hl7.readings(message(row))
    (found,) = reading.samples
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text in a record's content, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def recorded(shared_data: Callable[[str], Path]) -> dict[str, bytes]:
    """Every recorded message by its path."""
    root = shared_data("05-hl7v2")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.hl7*"))}


# --- recorded messages


def test_every_recorded_message_is_read_and_answered(shared_data: Callable[[str], Path]) -> None:
    """All 82 files: line ends, delimiters, character sets and vendors' habits as they come."""
    messages = recorded(shared_data)
    assert len(messages) == 82
    for name, raw in messages.items():
        parsed = hl7.parse(raw)
        assert parsed.raw == raw, name
        assert re.search(rb"[|@]" + re.escape(parsed.message_id.encode()) + rb"[|@]", raw), name
        reply = hl7.parse(hl7.acknowledge(parsed, "AA"))
        msa = next(segment for segment in reply.segments if reply.part(segment, 0) == "MSA")
        assert (reply.part(msa, 1), reply.part(msa, 2)) == ("AA", parsed.message_id), name
        assert (reply.type, reply.header(5), reply.header(6)) == ("ACK", parsed.header(3), parsed.header(4)), name
        for reading in hl7.readings(parsed):
            assert reading.raw == sha256(raw).digest(), name
            assert Reading.from_content(reading.to_content()) == reading, name


def test_only_observation_reports_give_readings(shared_data: Callable[[str], Path]) -> None:
    """Orders, admissions, documents, vaccinations and acknowledgements are read, and are not measurements.

    Three reports have nothing to measure either: two have no OBX at all, and one names nothing in any OBX-3.
    """
    without = {
        name
        for name, raw in recorded(shared_data).items()
        if hl7.parse(raw).type == "ORU" and not hl7.readings(hl7.parse(raw))
    }
    assert without == {
        "vendor/valid/athena-health/oru-example.hl7",
        "cosyte/text/inject-on-encode.hl7",
        "linuxforhealth/ORU-multiline-short.hl7",
    }
    for name, raw in recorded(shared_data).items():
        parsed = hl7.parse(raw)
        assert parsed.type == "ORU" or not hl7.readings(parsed), name
        assert not hl7.is_alarm(parsed), name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("valid-bp-continua-wan", ["8480-6 120 mm[Hg]", "8462-4 80 mm[Hg]", "8478-0 100 mm[Hg]"]),
        ("valid-pcd01-request", ["8480-6 120 mm[Hg]", "8462-4 80 mm[Hg]", "8478-0 100 mm[Hg]"]),
        ("valid-thermometer-continua-wan", ["8331-1 98.6 [degF]"]),
        ("valid-scale-continua-wan", ["29463-7 80 kg", "8302-2 180 cm", "39156-5 24.7 kg/m2"] * 2),
        (
            "valid-pcd01-request2",
            [
                "8867-4 60 /min",
                "MDC:148065 0 /min",
                *("MDC:150035 92 mm[Hg]", "MDC:150033 120 mm[Hg]", "MDC:150034 80 mm[Hg]"),
                "MDC:149522 60 /min",
                *("MDC:150047 14 mm[Hg]", "MDC:150045 25 mm[Hg]", "MDC:150046 10 mm[Hg]"),
            ],
        ),
    ],
)
def test_device_messages_are_mapped(shared_data: Callable[[str], Path], name: str, expected: list[str]) -> None:
    """IHE PCD-01 and Continua: MDC codes to LOINC, MDC units to UCUM; what has no sure LOINC keeps its MDC code."""
    readings = hl7.readings(hl7.parse(recorded(shared_data)[f"ihe-pcd/{name}.hl7v2"]))
    assert [str(sample) for reading in readings for sample in reading.samples] == expected


def test_device_and_time_come_down_the_containment(shared_data: Callable[[str], Path]) -> None:
    """OBX-18 of the device's row and OBX-14 of the measurement's parent row, or OBR-7; never the server's MSH-7."""
    messages = recorded(shared_data)
    (pressure,) = hl7.readings(hl7.parse(messages["ihe-pcd/valid-bp-continua-wan.hl7v2"]))
    assert (pressure.device, pressure.device_sync) == ("0123456789ABCDEF", 532224)
    assert pressure.device_time == int(datetime(2009, 8, 13, 9, 57, 15, tzinfo=UTC).timestamp() * 1000)
    (zoned,) = hl7.readings(hl7.parse(messages["ihe-pcd/valid-pcd01-request.hl7v2"]))
    assert zoned.device_time == int(datetime(2009, 8, 13, 4, 57, 15, tzinfo=UTC).timestamp() * 1000)
    (gateway,) = hl7.readings(hl7.parse(messages["ihe-pcd/valid-pcd01-request2.hl7v2"]))
    assert (gateway.device, gateway.device_time) == ("080019FFFF4F6AC0", None)  # no zone anywhere
    first, second = hl7.readings(hl7.parse(messages["ihe-pcd/valid-scale-continua-wan.hl7v2"]))
    assert first.device_time == second.device_time


def test_laboratory_messages_keep_what_is_sure(shared_data: Callable[[str], Path]) -> None:
    """LOINC passes through, a code that only claims to be LOINC does not, and narrative leaves no words."""
    messages = recorded(shared_data)

    def shown(name: str) -> list[str]:
        return [str(sample) for reading in hl7.readings(hl7.parse(messages[name])) for sample in reading.samples]

    assert shown("vendor/valid/nist/ORU_R01_2.5.1_SampleTestCase1.hl7") == ["10368-9 50 ug/dL"]
    assert shown("vendor/valid/cerner/cerner_en.hl7") == ["548-8 Bordetella pertussis"]
    assert shown("cosyte/canonical/oru-r01.hl7") == ["LN:WBC 7.5 K/uL", "LN:HGB 14.2 g/dL", "LN:HCT 42.1 %"]
    assert shown("cosyte/canonical/oru-r01-sn-results.hl7") == [
        *("LN:TSH >90 mIU/L", "LN:GLU 100-200 mg/dL", "LN:ABT 1:128"),
    ]
    assert shown("cosyte/text/highlight.hl7") == ["L:FLAG (as-text)"]
    (corrected,) = hl7.readings(hl7.parse(messages["vendor/valid/nist/ORU_R01_2.5.1_SampleTestCase3.hl7"]))
    assert corrected.samples[0].result == "C"


# --- people


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


# --- figures


@pytest.mark.parametrize(
    ("row", "flag"),
    [
        ("OBX|1|NM|150456^SpO2^MDC||-100|262688^%^MDC|||||F", "sentinel"),
        ("OBX|1|NM|147842^HR^MDC||8388607|264864^bpm^MDC|||||F", "sentinel"),
        ("OBX|1|NM|147842^HR^MDC||-32768|264864^bpm^MDC|||||F", "sentinel"),
        ("OBX|1|NM|150344^T^MDC||384.5|268192^C^MDC|||||F", "out-of-range"),
        ("OBX|1|NM|150456^SpO2^MDC||101|262688^%^MDC|||||F", "out-of-range"),
        ("OBX|1|NM|147842^HR^MDC||72|266016^mmHg^MDC|||||F", "unit-mismatch"),
        ("OBX|1|NM|147842^HR^MDC||72||||||F", "unit-mismatch"),
        ("OBX|1|NM|147842^HR^MDC||72|264864^bpm^MDC^%^%^UCUM|||||F", "unit-mismatch"),
        ("OBX|1|NM|8867-4^HR^LN||72|beats|||||F", "unit-mismatch"),
        ("OBX|1|NM|8310-5^T^LN||384.5|Cel^^UCUM|||||F", "out-of-range"),
    ],
)
def test_a_figure_that_cannot_be_is_flagged_and_is_no_value(row: str, flag: str) -> None:
    """Real monitors send SpO2 -100 and temperature 384.5. What was sent is kept as evidence."""
    found = sample(row)
    assert (found.flag, found.value, found.absent) == (flag, None, "error")
    assert found.sent_value is not None


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("OBX|1|NM|147842^HR^MDC||72|264864^bpm^MDC|||||F", "8867-4 72 /min"),
        ("OBX|1|NM|147842^HR^MDC||72.50|{beats}/min^^UCUM|||||F", "8867-4 72.50 /min"),
        ("OBX|1|NM|8867-4^HR^LN||072|bpm|||||F", "8867-4 72 /min"),
        ("OBX|1|NM|HR^Heart^99MNDRY^147842^HR^MDC||72|/min|||||F", "8867-4 72 /min"),
        ("OBX|1|ST|150344^T^MDC||36.60|268192^C^MDC|||||F", "8310-5 36.60 Cel"),
        ("OBX|1|SN|150456^S^MDC||=^97|262688^%^MDC|||||F", "59408-5 97 %"),
        ("OBX|1|SN|150456^S^MDC||<^70|262688^%^MDC|||||F", "59408-5 <70 %"),
        ("OBX|1|NM|150456^S^MDC||<70|262688^%^MDC|||||F", "59408-5 <70 %"),
        ("OBX|1|NM|0^MDCX_PUMP^MDC||5|mL/h^^UCUM|||||F", "MDC:MDCX_PUMP 5 mL/h"),
        ("OBX|1|NM|SpO2^SpO2^99COMEN||97|%|||||F", "99COMEN:SpO2 97 %"),
        ("OBX||NM|147842^HR^MDC|||264864^bpm^MDC|||||F", "8867-4 (unknown) /min"),
        ("OBX|1|NM|147842^HR^MDC||---|264864^bpm^MDC|||||F", "8867-4 (not-a-number) /min"),
        ("OBX|1|ST|147842^HR^MDC||pacing|264864^bpm^MDC|||||F", "8867-4 (not-a-number) /min"),
        ("OBX|1|NA|131328^ECG^MDC||1^2^3~4^5^6||||||F", "MDC:131328 (unsupported)"),
        ("OBX|1|NM|147842^HR^MDC||72|264864^bpm^MDC||INV|||X", "8867-4 (error) /min"),
        ("OBX|1|NM|147842^HR^MDC||72|264864^bpm^MDC||TEST|||R", "8867-4 (not-applicable) /min"),
        ("OBX|1|NM|147842^HR^MDC||72|264864^bpm^MDC|||||W", "8867-4 (error) /min"),
        ("OBX|1|NM|147842^HR^MDC|||264864^bpm^MDC||OFF|||X", "8867-4 (error) /min"),
        ("OBX|1|NM|147842^HR^MDC||72|264864^bpm^MDC||H~QUES|||R", "8867-4 72 /min"),
        ("OBX|1|NM|147842^HR^MDC^2708-6^S^LN||72|264864^bpm^MDC|||||R", "MDC:147842 72 /min"),
    ],
)
def test_values_are_taken_as_they_are_meant(row: str, shown: str) -> None:
    """NM, SN, ST and coded values; empty ones; what the sender takes back; codes that contradict each other."""
    assert str(sample(row)) == shown


def test_the_senders_judgement_is_kept() -> None:
    """OBX-8's measurement status and OBX-11 as sent, with the code and unit as sent."""
    found = sample("OBX|1|NM|147842^HR^MDC||72|264864^bpm^MDC||H~QUES|||C")
    assert (found.status, found.result) == ("questionable", "C")
    assert (found.sent, found.sent_unit) == ("MDC:147842", "MDC:264864")


def test_rows_that_share_a_code_are_told_apart() -> None:
    """Two temperature probes keep their OBX-4; a code that stands alone needs none."""
    rows = [f"OBX|{n}|NM|150344^T^MDC|1.2.{n}|36.{n}|268192^C^MDC|||||R" for n in (1, 2)]
    (reading,) = hl7.readings(message(*rows, "OBX|3|NM|147842^HR^MDC|1.3.1|72|264864^x^MDC|||||R"))
    assert [found.sub for found in reading.samples] == ["1.2.1", "1.2.2", None]


def test_many_rows_become_several_readings() -> None:
    """No entry comes near its largest size."""
    rows = [f"OBX|{n}|NM|{200 + n}^x^99ACME||{n}||||||R" for n in range(70)]
    assert [len(reading.samples) for reading in hl7.readings(message(*rows))] == [32, 32, 6]


# --- times, devices, alarms


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("20260101120000", "+0100", datetime(2026, 1, 1, 11, tzinfo=UTC)),  # MSH-7's zone is the message's default
        ("20260101120000", "", None),
        ("20260101120000.5-0530", "", datetime(2026, 1, 1, 17, 30, 0, 500_000, tzinfo=UTC)),
        ("20260101120000.1234+0000", "", datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC)),
        ("202601011200+0000", "", datetime(2026, 1, 1, 12, tzinfo=UTC)),
        ("2026010112+0000", "", None),
        ("20260101+0000", "", None),
        ("20260230120000+0000", "", None),
        ("20260101120000+9999", "", None),
        ("00000101120000+0000", "", None),
        ("2026-01-01T12:00:00Z", "", None),
        ("tomorrow", "+0100", None),
    ],
)
def test_a_time_without_a_zone_is_never_guessed(text: str, zone: str, expected: datetime | None) -> None:
    """Unknown stays unknown; so does a time that is not one."""
    parsed = message(msh=MSH.replace("+0100", zone))
    assert parsed.time(text) == (None if expected is None else round(expected.timestamp() * 1000))


def test_the_device_is_the_nearest_name_there_is() -> None:
    """OBX-18, then OBR-3's EUI-64, then MSH-3's EUI-64 or name, then MSH-4."""
    row = "OBX|1|NM|147842^HR^MDC||72|264864^x^MDC|||||R"
    order = "OBR|1||F1^ns^AABBCCDDEEFF0011^EUI-64|x"
    plain = MSH.replace("MON^0011223344556677^EUI-64", "MON")

    def device(*rows: str, **given: str) -> str:
        return hl7.readings(message(*rows, **given))[0].device

    assert device(row + "|||||||PUMP-1^^ACDE48^EUI-64", obr=order) == "PUMP-1@ACDE48"
    assert device("OBX|1||69965^MDS^MDC|1.0.0.0|||||||X|||||||BOX-9", row.replace("||72", "|1.2.3.4|72")) == "BOX-9"
    assert device(row, obr=order) == "AABBCCDDEEFF0011"
    assert device(row) == "0011223344556677"
    assert device(row, msh=plain) == "MON"
    assert device(row, msh=plain.replace("|MON|", "||")) == "ICU"
    assert device(row, msh=plain.replace("|MON|ICU|", "|||")) == "unknown"


def test_an_alarm_is_known_and_named() -> None:
    """ORU^R40 (PCD-04), or a report about MDC_EVT_ALARM: the alarm's name and phase stand in the reading."""
    rows = [
        "OBX|1|ST|196674^MDC_EVT_LO_VAL_LT_LIM^MDC|1.1.0.1.1|SPO2 LOW|||L~SP|||R",
        "OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.1.0.1.2|84|262688^%^MDC|90-||||R",
        "OBX|3|ST|68481^MDC_ATTR_EVENT_PHASE^MDC|1.1.0.1.3|start||||||R",
        "OBX|4|ST|68482^MDC_ATTR_ALARM_STATE^MDC|1.1.0.1.4|active||||||R",
    ]
    parsed = message(*rows, msh=MSH.replace("R01^ORU_R01", "R40^ORU_R40"))
    assert hl7.is_alarm(parsed)
    (reading,) = hl7.readings(parsed)
    assert (reading.alarm, [str(found) for found in reading.samples]) == ("SPO2 LOW (start)", ["59408-5 84 %"])
    assert not hl7.is_alarm(message(*rows))
    coded = message("OBX|1|CWE|196616^MDC_EVT_ALARM^MDC|1.7.0.1|196680^MDC_EVT_LEAD_OFF^MDC|||A~PL~ST|||R")
    assert hl7.is_alarm(coded)
    (lead,) = hl7.readings(coded)
    assert (lead.alarm, lead.samples) == ("MDC_EVT_LEAD_OFF", ())


# --- bytes


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\n\r", "\r\r"])
def test_line_ends_do_not_matter(end: str) -> None:
    """Whatever ends the segments, the readings are the same."""
    text = end.join([MSH, PID, OBR, "OBX|1|NM|147842^HR^MDC||72|264864^x^MDC|||||R", ""])
    (reading,) = hl7.readings(hl7.parse(text.encode()))
    assert str(reading.samples[0]) == "8867-4 72 /min"


def test_a_line_feed_inside_a_field_does_not_end_it() -> None:
    """The rest of the line belongs to the field before."""
    parsed = hl7.parse(b"MSH|^~\\&|A|B|||20260101||ADT^A01|1|P|2.3\rPV1|1|O\nDD|X\rPV2|1")
    assert [parsed.part(segment, 0) for segment in parsed.segments] == ["MSH", "PV1", "PV2"]


def test_delimiters_are_the_senders() -> None:
    """A message with none of the usual delimiters is read, and answered in its own."""
    text = f"{MSH}\r{OBR}\rOBX|1|NM|147842^HR^MDC||72|264864^x^MDC|||||R"
    parsed = hl7.parse(text.translate(str.maketrans("|^~\\&", "@~&#\\")).encode())
    assert str(hl7.readings(parsed)[0].samples[0]) == "8867-4 72 /min"
    assert hl7.acknowledge(parsed, "AE", "no|t@now").startswith(b"MSH@~&#\\@AGENT@HOSP@")


def test_escapes_are_resolved_and_formatting_is_dropped() -> None:
    """An enormous repeat count (`\\.sp999999999\\`) is a space like any other."""
    parsed = message()
    assert parsed.unescape(r"a\F\b\S\c\T\d\R\e\E\f") == "a|b^c&d~e\\f"
    assert parsed.unescape(r"\X41C3A9\ \.br\ \H\x\N\ \Z9\ \.sp999999999\ \open") == "Aé    x  \\Z9\\   \\open"


@pytest.mark.parametrize(
    ("label", "codec", "certain"),
    [
        ("UNICODE UTF-8", "utf-8", True),
        ("", "utf-8", True),
        ("8859/1", "iso8859-1", True),
        ("8859/5~ISO IR87", "iso8859-5", True),
        ("GB 18030-2000", "gb18030", True),
        ("ASCII", "latin-1", False),
        ("KLINGON", "latin-1", False),
        ("UNICODE UTF-8", "latin-1", False),
    ],
)
def test_the_character_set_is_the_one_named(label: str, codec: str, certain: bool) -> None:
    """Where the name is missing or wrong, text that is not ASCII is nobody's result; figures are read all the same."""
    letters = {"gb18030": "体温", "iso8859-5": "ж"}.get(codec, "ü")
    text = "\r".join(
        [MSH + "|" * 6 + label, OBR, f"OBX|1|ST|99^x^99ACME||{letters}||||||R", "OBX|2|NM|147842^HR^MDC||72|/min|||||R"]
    )
    parsed = hl7.parse(text.encode("latin-1" if codec == "latin-1" else codec))
    assert (parsed.charset, parsed.certain) == (codec, certain)
    word, figure = hl7.readings(parsed)[0].samples
    assert word.text == (letters if certain else None)
    assert str(figure) == "8867-4 72 /min"
    assert b"MSA|AA|C1" in hl7.acknowledge(parsed, "AA")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "MSH"),
        (b"PID|1", "MSH"),
        (b"MSH", "MSH"),
        (b"MSH|||||||||", "delimiters"),
        (b"MSHAAAAAAAAA|", "delimiters"),
        (b"MSH|^^\\&|A|B", "twice"),
        (b"FHS|^~\\&|A|B\rBHS|^~\\&|A", "batch"),
        ("MSH|^~\\&|A".encode("utf-16"), "MSH"),
        (b"MSH|^~\\&|" + b"|" * MAX_DELIMITERS, "delimiters"),
        (b"MSH|^~\\&|" + b"x" * 2**20, "longer"),
    ],
)
def test_unusable_bytes_are_named(raw: bytes, said: str) -> None:
    """One error, which says what is wrong."""
    with pytest.raises(Hl7Error, match=said):
        hl7.parse(raw)


def test_a_duplicate_is_known_by_sender_and_control_id() -> None:
    """The same id of another sender is another message; without an id, the bytes decide."""
    assert message().duplicate_key == message().duplicate_key
    assert message().duplicate_key != message(msh=MSH.replace("|ICU|", "|ER|")).duplicate_key
    anonymous = message(msh=MSH.replace("|C1|", "||"))
    assert anonymous.message_id == ""
    assert anonymous.duplicate_key != message("OBX|1", msh=MSH.replace("|C1|", "||")).duplicate_key


def test_an_acknowledgement_is_a_message_of_its_own() -> None:
    """MSA-2 is MSH-10; sender and receiver change places; the text cannot break out of its field."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    reply = hl7.acknowledge(message(), "AR", "stop|\rMSH", now=now)
    assert reply == (
        b"MSH|^~\\&|AGENT|HOSP|MON^0011223344556677^EUI-64|ICU|20260101120000+0000||ACK^R01^ACK|AC1|P|2.6\r"
        b"MSA|AR|C1|stop  MSH\r"
    )
    with pytest.raises(MedledgerError):
        hl7.acknowledge(message(), "OK")


PIECES = st.lists(
    st.sampled_from(
        ["MSH|^~\\&|", "|", "^", "~", "\\", "&", "\r", "\n", "OBX|", "OBR|", "PID|", "NM", "147842^x^MDC", "\\X0"]
    )
    | st.text(max_size=6),
    max_size=40,
).map("".join)


@given(st.binary(max_size=200) | PIECES.map(str.encode) | PIECES.map(lambda text: (MSH + "\r" + text).encode()))
def test_no_bytes_raise_anything_but_ours(raw: bytes) -> None:
    """Parsing, reading and answering: a result or an error of the family, whatever the bytes."""
    with contextlib.suppress(MedledgerError):
        parsed = hl7.parse(raw)
        hl7.is_alarm(parsed)
        hl7.readings(parsed)
        hl7.parse(hl7.acknowledge(parsed, "AA"))


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3), st.booleans())
def test_damage_anywhere_in_a_message_is_survived(place: int, bytes_: bytes, replace: bool) -> None:
    """A real message with bytes put in or over it gives readings that the ledger takes, or a named error."""
    raw = f"{MSH}\r{PID}\r{OBR}\rOBX|1|NM|147842^HR^MDC|1.1|72|264864^x^MDC||QUES|||R|||20260101||||X^^Y^Z".encode()
    damaged = raw[:place] + bytes_ + raw[place + (len(bytes_) if replace else 0) :]
    with contextlib.suppress(Hl7Error):
        for reading in hl7.readings(hl7.parse(damaged)):
            Reading.SCHEMA.check(reading.to_content())
