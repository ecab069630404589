"""Recorded series play as readings: zero and empty are never values, and every figure is the recorder's own."""

from __future__ import annotations

import csv
import struct
from collections import Counter
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from medledger.decimals import as_decimal
from medledger.records import Reading
from medledger_bridge.errors import SeriesError
from medledger_bridge.series import play, play_coded

HEADER = "t_seconds,HR [bpm],SpO2 [%],NBPSys [mmHg]"


def test_a_minute_of_a_monitor() -> None:
    """A figure is a value, 0 is a probe that is not connected, and an empty cell is nothing at all."""
    (reading,) = play([HEADER, "60,62.80,0,"], device="BED-1", start=1_000_000)
    assert [str(sample) for sample in reading.samples] == ["8867-4 62.80 /min", "59408-5 (not-performed) %"]
    assert (reading.device_time, reading.quality) == (1_060_000, "live")
    (silent,) = play([HEADER, "60,0,0,"], device="BED-1")
    assert (silent.device_time, silent.quality) == (None, "lost")


def test_impossible_figures_are_flagged() -> None:
    """A recording is checked like a live device."""
    (reading,) = play([HEADER, "0,62,-100,999"], device="BED-1")
    assert [sample.flag for sample in reading.samples] == [None, "sentinel", "out-of-range"]
    assert [sample.value for sample in reading.samples] == [(62, 0), None, None]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["time,HR [bpm]"],
        ["t_seconds"],
        ["t_seconds,HR"],
        ["t_seconds,HR [mmol]"],
        ["t_seconds,Mood [%]"],
        [HEADER, "60,1"],
        [HEADER, "x,1,1,1"],
        [HEADER, "60,1e,1,1"],
        [HEADER, '60,"70,5",97,120'],  # a decimal comma
        [HEADER, "60,NaN,97,120"],
        [HEADER, HEADER, "60,70,97,120"],
        [HEADER.replace(",", ";"), "60;70,5;97;120"],
        ["t_seconds,HR [bpm],HR [bpm]", "60,70,90"],
        [HEADER, f"60,{'7' * 200_000},97,120"],  # longer than a CSV reader takes
    ],
)
def test_a_file_that_is_not_a_series_is_named(lines: list[str]) -> None:
    """No reading is made of what is not understood."""
    with pytest.raises(SeriesError):
        list(play(lines, device="BED-1"))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_as_a_spreadsheet_saves_it_plays(end: str) -> None:
    """With a byte order mark, quotes, either end of a line, and empty lines."""
    text = "\ufeff" + end.join(['"t_seconds",HR [bpm]', '0,"62.80"', "", '60,"63\n"', ""])
    found = list(play(StringIO(text, newline=""), device="BED-1"))
    assert [str(sample) for reading in found for sample in reading.samples] == ["8867-4 62.80 /min", "8867-4 63 /min"]


def test_the_icu_recording_plays_whole(shared_data: Callable[[str], Path]) -> None:
    """1,936 minutes of ten channels: a figure is a value, a zero is an absence, an empty cell is nothing."""
    path = shared_data("08-vitals/csv/mimic2-s00001-numerics-1min.csv")
    with path.open() as lines:
        readings = list(play(lines, device="ICU-1", start=0))
    with path.open() as lines:
        cells = Counter(
            "empty" if not cell else "zero" if float(cell) == 0 else "value"
            for row in list(csv.reader(lines))[1:]
            for cell in row[1:]
        )
    assert len(readings) == 1936
    assert readings[-1].device_time == 1935 * 60_000
    states = Counter(
        "zero" if sample.absent == "not-performed" else "flagged" if sample.flag else "value"
        for reading in readings
        for sample in reading.samples
    )
    assert states["zero"] == cells["zero"]
    assert states["value"] + states["flagged"] == cells["value"]
    assert states["flagged"] == 0
    assert sum("NBP" in (sample.sent or "") for reading in readings for sample in reading.samples) == 152 * 3
    assert all(as_decimal(sample.value) != 0 for reading in readings for sample in reading.samples if sample.value)
    for reading in readings:
        Reading.SCHEMA.check(reading.to_content())


def test_the_figures_are_the_recorders_own(shared_data: Callable[[str], Path]) -> None:
    """The native record (16-bit tenths; -32768 where a cuff did not measure) says the same as what is played."""
    native = shared_data("08-vitals/wfdb/3975656n.dat").read_bytes()
    frames = list(struct.iter_unpack("<10h", native))
    gains = (10, 10, 10, 10, 10, 10, 10, 1, 1, 1)
    with shared_data("08-vitals/csv/mimic2-s00001-numerics-1min.csv").open() as lines:
        readings = list(play(lines, device="ICU-1"))
    assert len(frames) == len(readings)
    for frame, reading in zip(frames, readings, strict=True):
        expected = [(units, gain) for units, gain in zip(frame, gains, strict=True) if units != -32768]
        assert len(expected) == len(reading.samples)
        for (units, gain), sample in zip(expected, reading.samples, strict=True):
            assert (sample.value is None) == (units == 0)
            if sample.value is not None:
                assert as_decimal(sample.value) * gain == units


def test_waveforms_are_refused_by_name(shared_data: Callable[[str], Path]) -> None:
    """The 250 Hz excerpt is no series of vital signs: its channels are millivolts and arbitrary units.

    The other native records of the folder (041s, v102s) are waveforms too, and are outside what this player reads.
    """
    with shared_data("08-vitals/csv/challenge2015-v102s-first60s.csv").open() as lines, pytest.raises(SeriesError) as e:
        list(play(lines, device="ICU-1"))
    assert e.value.hint is not None
    assert "Waveforms" in e.value.hint


def test_coded_observations_play_without_people(shared_data: Callable[[str], Path]) -> None:
    """Every number of the categories vital-signs and laboratory, under its LOINC code; nothing of patient or survey."""
    path = shared_data("08-vitals/synthea/observations.csv")
    with path.open() as lines:
        readings = list(play_coded(lines, device="EHR-1"))
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    wanted = [row for row in rows if row["CATEGORY"] in ("vital-signs", "laboratory") and row["TYPE"] == "numeric"]
    samples = [sample for reading in readings for sample in reading.samples]
    assert len(samples) == len(wanted) == 461
    for row, sample in zip(wanted, samples, strict=True):
        assert sample.code == row["CODE"]
        figure = sample.value or sample.sent_value
        assert figure is not None
        assert str(as_decimal(figure)) == row["VALUE"]
    assert Counter(sample.flag for sample in samples) == {None: 461}
    people = {row[column] for row in rows for column in ("PATIENT", "ENCOUNTER") if row[column]}
    assert people
    for reading in readings:
        assert not [piece for piece in people if piece in str(reading)]
        assert reading.device_time is not None


@pytest.mark.parametrize(
    "lines",
    [
        ["DATE,CODE"],
        ["DATE,CATEGORY,CODE,VALUE,UNITS,TYPE", "2026-01-01T00:00:00Z,vital-signs,HR,1,/min,numeric"],
        ["DATE,CATEGORY,CODE,VALUE,UNITS,TYPE", "2026-01-01T00:00:00Z,vital-signs,8867-4,x,/min,numeric"],
        ["DATE,CATEGORY,CODE,VALUE,UNITS,TYPE", "yesterday,vital-signs,8867-4,1,/min,numeric"],
        ["DATE,CATEGORY,CODE,VALUE,UNITS,TYPE", "2026-01-01T00:00:00Z,vital-signs,8867-4,1,/min"],
        ["DATE,CATEGORY,CODE,VALUE,UNITS,TYPE", "2026-01-01T00:00:00Z,vital-signs,8867-4,1,/min,numeric,1"],
        ["DATE,CATEGORY,CODE,VALUE,UNITS,TYPE,VALUE", "2026-01-01T00:00:00Z,vital-signs,8867-4,1,/min,numeric,2"],
        ["DATE,CATEGORY,CODE,VALUE,UNITS,TYPE", f"2026-01-01T00:00:00Z,{'x' * 200_000},8867-4,1,/min,numeric"],
    ],
)
def test_coded_files_with_other_content_are_named(lines: list[str]) -> None:
    """Not LOINC, not a number, not a time, not the columns; a row that is cut short is not left out unsaid."""
    with pytest.raises(SeriesError):
        list(play_coded(lines, device="EHR-1"))
