"""Observations: values as they are meant; what cannot be is flagged; times, devices and alarms are never guessed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hl7_messages import MSH, message, sample
from medledger_bridge import hl7

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
