"""HL7 messages: every recorded one is read and answered, and no bytes crash the parser."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl7_messages import MSH, OBR, PID, message, recorded
from medledger.errors import MedledgerError
from medledger.records import Reading
from medledger_bridge import hl7
from medledger_bridge.errors import Hl7Error
from medledger_bridge.message import MAX_DELIMITERS
from medledger_bridge.observations import Codes, _codes

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


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-1439, 1439))
def test_a_time_is_written_and_read_as_the_standard_library_does(moment: datetime, offset: int) -> None:
    """The slow way beside it: `strftime`, and arithmetic on whole moments. The year has four digits, always."""
    written = f"{moment.year:04}{moment.strftime('%m%d%H%M%S')}"
    head = hl7.acknowledge(message(), "AA", now=moment).decode()
    assert head.split("|")[6] == f"{written}+0000"
    hours, minutes = divmod(abs(offset), 60)
    told = f"{written}.25{'-' if offset < 0 else '+'}{hours:02}{minutes:02}"
    since = moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC) - timedelta(minutes=offset)
    assert message().time(told) == since // timedelta(milliseconds=1) + 250


@pytest.mark.parametrize("more", [0, 1])
def test_a_message_may_have_so_many_delimiters_and_no_more(more: int) -> None:
    """The limit is on what it is cut at: each of its lines, and each mark."""
    head = MSH.encode() + b"\r"
    room = MAX_DELIMITERS - 2 - sum(map(head.count, (b"|", b"^", b"~", b"\\", b"&")))
    raw = head + b"OBX" + b"|" * (room + more)
    if more:
        with pytest.raises(Hl7Error, match="delimiters"):
            hl7.parse(raw)
    else:
        assert len(hl7.parse(raw).segments[1]) == room + 1


PARTS = ["147842", "8867-4", "MDC", "LN", "UCUM", "/min", "^", "^", "^", "&", " ", '""', "0", "x"]


@given(st.lists(st.sampled_from(PARTS), max_size=9).map("".join))
def test_a_code_that_is_remembered_is_the_one_that_cutting_it_gives(text: str) -> None:
    """The slow way beside it: each component as `Message.components` cuts it."""
    found = message(f"OBX|1|NM|{text}||7")
    segment = found.segments[-1]
    slow = Codes(found.components(segment, 3, 6))
    for _ in range(2):
        known = _codes(found, segment, 3)
        assert all(getattr(known, name) == getattr(slow, name) for name in Codes.__slots__)


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
