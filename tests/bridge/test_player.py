"""A recorded series as HL7 messages: valid ones, with MDC codes, that say what the series says, at its pace."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from medledger.errors import UsageError
from medledger.records import Reading, Sample
from medledger_bridge import hl7
from medledger_bridge.errors import SeriesError
from medledger_bridge.oru import oru
from medledger_bridge.player import schedule

HEADER = "t_seconds,HR [bpm],SpO2 [%],NBPSys [mmHg]"
START = 1_800_000_000_000


def test_rows_are_due_at_their_pace() -> None:
    """At 60, a minute of the recording passes in a second; what is played is said to be measured when it is due."""
    rows = [HEADER, "0,60,97,", "60,61,97,120", "90.5,62,,"]
    assert [due.after for due in schedule(rows, device="MON-7")] == [0, 60_000, 90_500]
    fast = list(schedule(rows, device="MON-7", speed=60))
    assert [due.after for due in fast] == [0, 1000, 1508]
    assert [due.at(START).device_time for due in fast] == [START, START + 1000, START + 1508]


@pytest.mark.parametrize("speed", [0, -1, 5e-324, float("nan"), float("inf")])
def test_a_speed_makes_sense(speed: float) -> None:
    """Nothing stands still or goes back."""
    with pytest.raises(UsageError, match="speed"):
        list(schedule([HEADER], device="MON-7", speed=speed))


@pytest.mark.parametrize("rows", [["60,60,97,", "0,61,97,"], ["0,6\0,97,"]])
def test_a_file_that_cannot_be_played_is_named(rows: list[str]) -> None:
    """Time that goes back, and bytes that are no CSV."""
    with pytest.raises(SeriesError):
        list(schedule([HEADER, *rows], device="MON-7"))


def test_a_message_is_what_pcd_asks_for() -> None:
    """The profile, the containment with its device, MDC codes and units, a time with its zone, training."""
    (due,) = schedule([HEADER, "0,62.80,0,121"], device="MON-7")
    raw = due.message(START, 1, patient="P-1")
    assert raw is not None
    head = "MSH|^~\\&|MEDLEDGER_PLAYER|MON-7|||20270115080000.000+0000||ORU^R01^ORU_R01|1800000000000-1|T|2.6|||NE|AL||"
    assert raw.decode().split("\r") == [
        f"{head}UNICODE UTF-8|||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO",
        "PID|||P-1^^^MEDLEDGER_PLAYER^MR",
        "OBR|1|||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|||20270115080000.000+0000",
        "OBX|1||69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC|1.0.0.0|||||||X|||||||MON-7",
        "OBX|2|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|62.80|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R",
        "OBX|3|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.1.1.2||262688^MDC_DIM_PERCENT^MDC||OFF|||R",
        "OBX|4|NM|150021^MDC_PRESS_BLD_NONINV_SYS^MDC|1.1.1.3|121|266016^MDC_DIM_MMHG^MDC|||||R",
        "",
    ]
    assert due.message(START, 1, patient="P-1") == raw


def test_an_empty_row_is_no_message() -> None:
    """Nothing was measured: there is nothing to send."""
    (due,) = schedule([HEADER, "0,,,"], device="MON-7")
    assert due.message(START, 1) is None


def bare(sample: Sample) -> Sample:
    """What a sample says, without what it is called on the wire."""
    return replace(sample, sent=None, sent_unit=None, result=None, status=None)


def test_the_whole_recording_says_the_same_as_messages(shared_data: Callable[[str], Path]) -> None:
    """1,936 messages: each is read as one reading of the device, at its time, with the figures of the recording."""
    path = shared_data("08-vitals/csv/mimic2-s00001-numerics-1min.csv")
    with path.open(newline="") as lines:
        rows = list(schedule(lines, device="MON-7", speed=60))
    with path.open(newline="") as lines:
        cells = list(csv.reader(lines))[1:]
    assert len(rows) == len(cells) == 1936
    ids = set()
    for number, due in enumerate(rows, 1):
        raw = due.message(START, number)
        assert raw is not None
        message = hl7.parse(raw)
        assert (message.type, message.trigger, message.certain) == ("ORU", "R01", True)
        ids.add(message.duplicate_key)
        (reading,) = hl7.readings(message)
        assert (reading.device, reading.device_time) == ("MON-7", START + due.after)
        assert [bare(sample) for sample in reading.samples] == [bare(sample) for sample in due.reading.samples]
        assert all(sample.code or sample.sent for sample in reading.samples)
    assert len(ids) == 1936


def test_what_is_flagged_arrives_as_it_was_sent() -> None:
    """The receiver judges for itself, and comes to the same."""
    (due,) = schedule([HEADER, "0,62,-100,999"], device="MON-7")
    raw = due.message(START, 1)
    assert raw is not None
    (reading,) = hl7.readings(hl7.parse(raw))
    assert [sample.flag for sample in reading.samples] == [None, "sentinel", "out-of-range"]
    assert [bare(sample) for sample in reading.samples] == [bare(sample) for sample in due.reading.samples]


PRINTABLE = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("C", "Z"))


@given(
    device=st.text(PRINTABLE, min_size=1, max_size=64),
    message_id=st.text(
        st.characters(min_codepoint=48, max_codepoint=122, categories=("N", "Lu")), min_size=1, max_size=20
    ),
    value=st.tuples(st.integers(-(10**9), 10**9), st.integers(-9, 0)),
)
@example(device="MON|7^A&B~C\\D", message_id="1", value=(628, -1))
def test_any_device_name_and_figure_survive_the_wire(device: str, message_id: str, value: tuple[int, int]) -> None:
    """Delimiters in a name are escaped; a figure keeps its digits."""
    given_reading = Reading(device=device, samples=[Sample(None, value, "N", sent="grip")], device_time=START)
    message = hl7.parse(oru(given_reading, message_id=message_id, at=START))
    assert message.message_id == message_id
    (reading,) = hl7.readings(message)
    (sample,) = reading.samples
    assert (reading.device, sample.sent) == (device, "99MEDLEDGER:grip")
    assert value in (sample.value, sample.sent_value)
