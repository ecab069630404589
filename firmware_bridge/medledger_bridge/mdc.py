"""A minimal map from device codes to LOINC and UCUM.

Rules:

- Only what is sure: the vital signs that nearly every monitor sends. The full ISO/IEEE 11073-10101 and LOINC tables are
  not ours to ship. A code that is not here keeps its own name and gets no LOINC.
- A measure names the units it can have. A value in another unit is not that measure.
- The bounds are what the quantity can be at all, dead or alive, and not what is healthy. A figure outside them is a
  fault of the device or the line, and never a vital sign.
- 149522 is missing on purpose: it is MDC_BLD_PULS_RATE_INV in one national core and MDC_PULS_RATE at one vendor. So are
  capillary glucose in mmol/L (another LOINC than in mg/dL, which we have not confirmed) and the arterial lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medledger.records import Exact, as_decimal


@dataclass(frozen=True, slots=True)
class Range:
    """What a value in one unit can be."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Measure:
    """One LOINC code with the UCUM units it is expressed in."""

    loinc: str
    units: Mapping[str, Range]


_PER_MINUTE: Final = {"/min": Range(0, 500)}
_BREATHS: Final = {"/min": Range(0, 200)}
_SATURATION: Final = {"%": Range(0, 100)}
_TEMPERATURE: Final = {"Cel": Range(10, 50), "[degF]": Range(50, 122)}
_PRESSURE: Final = {"mm[Hg]": Range(0, 400), "kPa": Range(0, 53)}

HEART_RATE: Final = Measure("8867-4", _PER_MINUTE)
PULSE_RATE: Final = Measure("8889-8", _PER_MINUTE)  # by pulse oximetry
RESPIRATORY_RATE: Final = Measure("9279-1", _BREATHS)
SPO2: Final = Measure("59408-5", _SATURATION)  # by pulse oximetry
TEMPERATURE: Final = Measure("8310-5", _TEMPERATURE)
SYSTOLIC: Final = Measure("8480-6", _PRESSURE)
DIASTOLIC: Final = Measure("8462-4", _PRESSURE)
MEAN_PRESSURE: Final = Measure("8478-0", _PRESSURE)

MEASURES: Final[Mapping[int, Measure]] = {
    147842: HEART_RATE,  # MDC_ECG_HEART_RATE
    149530: PULSE_RATE,  # MDC_PULS_OXIM_PULS_RATE
    150021: SYSTOLIC,  # MDC_PRESS_BLD_NONINV_SYS
    150022: DIASTOLIC,  # MDC_PRESS_BLD_NONINV_DIA
    150023: MEAN_PRESSURE,  # MDC_PRESS_BLD_NONINV_MEAN
    150344: TEMPERATURE,  # MDC_TEMP
    150456: SPO2,  # MDC_PULS_OXIM_SAT_O2
    151562: RESPIRATORY_RATE,  # MDC_RESP_RATE
    160184: Measure("32016-8", {"mg/dL": Range(0, 2000)}),  # MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD
    188424: Measure("8331-1", _TEMPERATURE),  # MDC_TEMP_ORAL
    188736: Measure("29463-7", {"kg": Range(0, 700)}),  # MDC_MASS_BODY_ACTUAL
    188740: Measure("8302-2", {"cm": Range(10, 300)}),  # MDC_LEN_BODY_ACTUAL
    188752: Measure("39156-5", {"kg/m2": Range(1, 300)}),  # MDC_RATIO_MASS_BODY_LEN_SQ
}
"""MDC codes with a LOINC equivalent."""

BY_LOINC: Final[Mapping[str, Measure]] = {
    **{measure.loinc: measure for measure in MEASURES.values()},
    "2708-6": Measure("2708-6", _SATURATION),  # arterial blood
}
"""The measures whose bounds we know, by their LOINC code."""

UNITS: Final[Mapping[int, str]] = {
    262688: "%",  # MDC_DIM_PERCENT
    263441: "cm",  # MDC_DIM_CENTI_M
    263875: "kg",  # MDC_DIM_KILO_G
    264096: "kg/m2",  # MDC_DIM_KG_PER_M_SQ
    264274: "mg/dL",  # MDC_DIM_MILLI_G_PER_DL
    264864: "/min",  # MDC_DIM_BEAT_PER_MIN
    264928: "/min",  # MDC_DIM_RESP_PER_MIN
    266016: "mm[Hg]",  # MDC_DIM_MMHG
    266560: "[degF]",  # MDC_DIM_FAHR
    268192: "Cel",  # MDC_DIM_DEGC
}
"""MDC unit codes with their UCUM equivalent."""

PLAIN_UNITS: Final[Mapping[str, str]] = {
    "%": "%",
    "/min": "/min",
    "bpm": "/min",
    "mmHg": "mm[Hg]",
    "mm[Hg]": "mm[Hg]",
    "Cel": "Cel",
    "[degF]": "[degF]",
    "kg": "kg",
    "cm": "cm",
    "kg/m2": "kg/m2",
    "mg/dL": "mg/dL",
    "mmol/L": "mmol/L",
    "g/dL": "g/dL",
}
"""Units written without naming a system that can mean one thing only."""

ALARM_EVENT: Final = 196616  # MDC_EVT_ALARM
TIME_SYNC: Final = 68220  # MDC_TIME_SYNC_PROTOCOL: its value says what sets the device's clock
EVENT_PHASE: Final = 68481  # MDC_ATTR_EVENT_PHASE: start, update, end of an alarm

SENTINELS: Final = frozenset(
    (
        8388607,  # IEEE 11073 FLOAT: not a number
        8388606,  # +infinity
        -8388606,  # -infinity
        8388608,  # not at this resolution
        -8388608,
        32767,  # the ends of 16 and 32 bits
        -32768,
        2147483647,
        -2147483648,
    )
)
"""Figures that stand for "no value" whatever is measured."""

PROBE_OFF: Final = -100
"""What monitors send for a vital sign when the probe is off."""


def partition(code: int) -> int:
    """The part of the MDC nomenclature a code is in: 1 objects and attributes, 2 measurements, 3 events, 8 profiles."""
    return code >> 16


def objection(measure: Measure | None, value: Exact, unit: str | None, sent_unit: str | None) -> str | None:
    """Why a figure cannot be what its LOINC code means (a flag of medledger.records.Sample), or None.

    `measure` is None for a LOINC code whose bounds we do not know; `unit` is UCUM, `sent_unit` what was sent for it.
    """
    mantissa, exponent = value
    if exponent == 0 and mantissa in SENTINELS:
        return "sentinel"
    if measure is None:
        return "unit-mismatch" if unit is None and sent_unit is not None else None
    bounds = measure.units.get(unit) if unit is not None else None
    if bounds is None:
        return "unit-mismatch"
    figure = as_decimal(value)
    if bounds.low <= figure <= bounds.high:
        return None
    return "sentinel" if figure == PROBE_OFF else "out-of-range"
