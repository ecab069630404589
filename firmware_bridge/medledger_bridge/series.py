"""Plays a recorded series of vital signs as readings, one for each row: for tests, demonstrations and training.

Rules:

- A file is CSV with a header. `play` takes monitor numerics (`t_seconds`, then columns such as `HR [bpm]`);
  `play_coded` takes coded observations (`DATE,...,CATEGORY,...,CODE,...,VALUE,UNITS,TYPE`). Cells are separated by
  commas and figures have a point. Each row has as many cells as the header, and no two columns have one heading.
- In monitor numerics, 0 means that nothing was connected: the sample is absent, and never a value. An empty cell means
  that nothing was measured at that moment: there is no sample.
- A column is mapped when its name and unit say which measure it is. A column of a known kind without a LOINC of its
  own (arterial lines) keeps its name; a column of any other kind makes the file one that this player cannot play.
- Coded observations give samples for numbers of the categories vital-signs and laboratory only: answers to
  questionnaires are about people's lives. Patient and encounter columns are never read.
- Figures are exact, and checked like those of a live device.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import chain
from typing import Final

from medledger.errors import SchemaError
from medledger.records import Reading, Sample, is_loinc, parse_decimal

from .errors import SeriesError
from .mdc import (
    BY_LOINC,
    DIASTOLIC,
    HEART_RATE,
    MEAN_PRESSURE,
    RESPIRATORY_RATE,
    SPO2,
    SYSTOLIC,
    Measure,
    objection,
)
from .observations import SAMPLES_PER_READING

BYTE_ORDER_MARK: Final = "\ufeff"
"""What spreadsheets write before a CSV of UTF-8."""

TIME_COLUMN: Final = "t_seconds"
COLUMNS: Final[dict[str, Measure | None]] = {
    "HR": HEART_RATE,
    "RESP": RESPIRATORY_RATE,
    "SpO2": SPO2,
    "NBPSys": SYSTOLIC,
    "NBPDias": DIASTOLIC,
    "NBPMean": MEAN_PRESSURE,
    "PULSE": None,  # of the line or of the oximeter: the file does not say
    "ABPSys": None,  # invasive: another measure than the cuff's
    "ABPDias": None,
    "ABPMean": None,
}
UNITS: Final = {"bpm": "/min", "pm": "/min", "%": "%", "mmHg": "mm[Hg]"}
CATEGORIES: Final = frozenset(("vital-signs", "laboratory"))
CODED_COLUMNS: Final = frozenset(("DATE", "CATEGORY", "CODE", "VALUE", "UNITS", "TYPE"))

_HEADING: Final = re.compile(r"(\w+) \[([^\]]+)\]")
_SECONDS: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))?")
_UCUM: Final = re.compile(r"[!-~]{1,32}")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of monitor numerics."""

    name: str
    measure: Measure | None
    unit: str
    sent_unit: str


def play(lines: Iterable[str], *, device: str, start: int | None = None) -> Iterator[Reading]:
    """Readings of monitor numerics. `start` is the UTC ms of second 0; without it the device's time stays unknown."""
    rows = _table(lines)
    columns = _columns(next(rows, (0, []))[1])
    for line, row in rows:
        offset = _milliseconds(row[0], line)
        cells = zip(columns, row[1:], strict=True)
        samples = [_sample(column, cell, line) for column, cell in cells if cell.strip()]
        yield Reading(
            device=device,
            samples=samples,
            device_time=None if start is None else start + offset,
            quality="live" if any(sample.absent is None for sample in samples) else "lost",
            raw=_line_hash(row),
        )


def play_coded(lines: Iterable[str], *, device: str) -> Iterator[Reading]:
    """Readings of coded observations, one for each run of rows with one time."""
    rows = _table(lines)
    _, header = next(rows, (0, []))
    if not CODED_COLUMNS.issubset(header):
        raise SeriesError(f"coded observations need the columns {', '.join(sorted(CODED_COLUMNS))}")
    moment: str | None = None
    samples: list[Sample] = []
    for line, cells in rows:
        row = dict(zip(header, cells, strict=True))
        if row["DATE"] != moment or len(samples) == SAMPLES_PER_READING:
            yield from _coded_reading(device, moment, samples)
            moment, samples = row["DATE"], []
        if row["CATEGORY"] in CATEGORIES and row["TYPE"] == "numeric":
            samples.append(_coded_sample(row, line))
    yield from _coded_reading(device, moment, samples)


def _table(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the number of its line; the header is the first. Raises SeriesError."""
    rest = iter(lines)
    rows = csv.reader(chain((next(rest, "").removeprefix(BYTE_ORDER_MARK),), rest))
    width = 0
    try:
        for row in filter(None, rows):
            if width == 0 and len(set(row)) != len(row):
                raise SeriesError("two columns have one heading: which of them counts would be a guess")
            width = width or len(row)
            if len(row) != width:
                raise SeriesError(f"line {rows.line_num} has {len(row)} cells, and the header {width}")
            yield rows.line_num, row
    except csv.Error as error:
        raise SeriesError(f"the file is no CSV: {error}") from error


def _columns(header: list[str]) -> list[Column]:
    if not header or header[0] != TIME_COLUMN or len(header) < 2:
        raise SeriesError(
            f"a series begins with a header whose first column is {TIME_COLUMN}",
            hint="Cells are separated by commas, and figures have a point.",
        )
    found = []
    for heading in header[1:]:
        match = _HEADING.fullmatch(heading)
        if match is None or match[1] not in COLUMNS or match[2] not in UNITS:
            raise SeriesError(
                f"the column {heading[:40]!r} is no vital sign that this player knows",
                hint="Waveforms (mV, NU) are not readings; leave their columns out.",
            )
        found.append(Column(match[1], COLUMNS[match[1]], UNITS[match[2]], match[2]))
    return found


def _sample(column: Column, cell: str, line: int) -> Sample:
    try:
        value = parse_decimal(cell.strip())
    except SchemaError as error:
        raise SeriesError(f"line {line}, column {column.name}: {error}") from error
    code = column.measure.loinc if column.measure else None
    sent_unit = column.sent_unit if column.sent_unit != column.unit else None
    if value[0] == 0:
        return Sample(code, unit=column.unit, absent="not-performed", sent=column.name, sent_unit=sent_unit)
    flag = objection(column.measure, value, column.unit, sent_unit) if column.measure else None
    return Sample(
        code,
        value=None if flag else value,
        unit=column.unit,
        absent="error" if flag else None,
        flag=flag,
        sent=column.name,
        sent_unit=sent_unit,
        sent_value=value if flag else None,
    )


def _coded_sample(row: dict[str, str], line: int) -> Sample:
    try:
        value = parse_decimal(row["VALUE"])
    except SchemaError as error:
        raise SeriesError(f"line {line}: {error}") from error
    code, sent = row["CODE"], row["UNITS"]
    if not is_loinc(code):
        raise SeriesError(f"line {line}: the code is not LOINC")
    unit = sent if _UCUM.fullmatch(sent) and sent != "null" else None
    flag = objection(BY_LOINC.get(code), value, unit, sent or None)
    if flag is None:
        return Sample(code, value, unit)
    return Sample(
        code,
        unit=None if flag == "unit-mismatch" else unit,
        absent="error",
        flag=flag,
        sent_unit=unit if flag == "unit-mismatch" else None,
        sent_value=value,
    )


def _coded_reading(device: str, moment: str | None, samples: list[Sample]) -> Iterator[Reading]:
    if samples and moment is not None:
        try:
            time = datetime.fromisoformat(moment)
        except ValueError as error:
            raise SeriesError("a DATE is not a time") from error
        known = None if time.tzinfo is None else round(time.timestamp() * 1000)
        yield Reading(device=device, samples=samples, device_time=known)


def _milliseconds(cell: str, line: int) -> int:
    match = _SECONDS.fullmatch(cell)
    if match is None:
        raise SeriesError(f"line {line}: the first cell is not a time in seconds")
    return int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0"))


def _line_hash(row: list[str]) -> bytes:
    return sha256(",".join(row).encode()).digest()
