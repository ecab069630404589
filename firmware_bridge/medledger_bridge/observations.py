"""Readings out of an ORU message: what its OBX segments measured, in LOINC and UCUM where that is sure.

Rules:

- Readings are grouped by device and by the device's time. The time is OBX-14, or that of the row above in the
  containment of OBX-4 (1.0.1 stands above 1.0.1.4), or OBR-7. The device is OBX-18 in the same way, then the EUI-64 of
  OBR-3, then MSH-3: which box sent it, if not which sensor.
- A code is mapped by the table of mdc.py or passed through when it is LOINC already. Everything else keeps its own
  name and has no LOINC.
- A figure that cannot be what its code means is flagged and is not a value (see medledger.records.Sample): sentinels,
  figures out of bounds, missing or foreign units. So is a row that the sender itself calls invalid, test or wrong.
- A number is exact, whatever OBX-2 calls it. Coded results and short strings are text. Narrative (TX, FT), documents,
  waveforms and every other type leave the fact that they were there, and not their content.
- Rows that describe a device or an attribute, and rows that name nothing, are not measurements and are left out. A row
  that names a measurement and has no value is kept as absent: it was looked for.
- Text that repeats anything the message says about a person does not pass (privacy.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from medledger.errors import SchemaError
from medledger.records import RESULT_STATUS, Exact, Reading, Sample, is_loinc, parse_decimal

from .mdc import (
    ALARM_EVENT,
    BY_LOINC,
    EVENT_PHASE,
    MEASURES,
    PLAIN_UNITS,
    SENTINELS,
    TIME_SYNC,
    UNITS,
    Measure,
    objection,
    partition,
)
from .message import Message, Segment
from .privacy import Screen

SAMPLES_PER_READING: Final = 32
"""More go into further readings of the same message, so that an entry stays far below its largest size."""

ALARM_TRIGGER: Final = "R40"  # ORU^R40, IHE PCD-04
DEVICE_UNKNOWN: Final = "unknown"
WITHHELD: Final = "withheld"  # stands for a code as sent that repeats something about a person

MEASUREMENT: Final = {  # OBX-8 as IHE PCD writes MeasurementStatus: our word, and why there is no value, if so
    "INV": ("invalid", "error"),
    "NAV": ("not-available", "not-performed"),
    "TEST": ("test-data", "not-applicable"),
    "DEMO": ("demo-data", "not-applicable"),
    "QUES": ("questionable", None),
    "CAL": ("calibration-ongoing", None),
    "EARLY": ("early-indication", None),
    "BUSY": ("msmt-ongoing", None),
    "ALACT": ("in-alarm", None),
    "ALINH": ("alarm-inhibited", None),
}
NO_VALUE: Final = {  # OBX-8, why a value is missing
    "NI": "unknown",
    "NA": "not-applicable",
    "OFF": "not-performed",
    "MSK": "masked",
    "OTH": "unsupported",
    "NAN": "not-a-number",
    "PINF": "positive-infinity",
    "NINF": "negative-infinity",
}
NOT_A_RESULT: Final = {  # OBX-11 that take a value back, or say that there is none yet
    "D": "error",
    "W": "error",
    "X": "error",
    "N": "not-asked",
    "I": "temp-unknown",
    "O": "not-performed",
}

_CONCEPT: Final = {"OBR": 4, "OBX": 3}
"""The field that says what a segment is about."""

_ALARM_DIGITS: Final = str(ALARM_EVENT)
_COMPARED: Final = re.compile(r"[<>]=?[+-]?[0-9]{1,19}(\.[0-9]{1,19})?")  # beyond what the instrument can measure
_SUB_ID: Final = re.compile(r"[0-9]+(\.[0-9]+){0,9}")
_BRACES: Final = re.compile(r"\{[^{}]*\}")
_UCUM: Final = re.compile(r"[!-~]{1,32}")


Triple = tuple[str, str, str]
"""A code, its text and its system."""

Value = tuple[Exact | None, str | None, str | None]
"""A number, or a text, or the reason why there is neither."""


@dataclass(slots=True)
class _Group:
    """The samples of one device at one time, each with its OBX-4."""

    samples: list[tuple[Sample, str]] = field(default_factory=list)
    alarm: str | None = None


@dataclass(slots=True)
class _Context:
    """What an OBR and the rows above say about the rows below."""

    device: str
    time: int | None
    sync: int | None = None
    phase: str = ""
    devices: dict[str, str] = field(default_factory=dict)  # by OBX-4
    times: dict[str, int | None] = field(default_factory=dict)
    groups: dict[tuple[str, int | None], _Group] = field(default_factory=dict)


def is_alarm(message: Message) -> bool:
    """Whether the message reports an alarm, which is logged at once."""
    if message.type != "ORU":
        return False
    return message.trigger == ALARM_TRIGGER or any(
        _codes(message, segment, field).mdc == ALARM_EVENT
        for segment in message.segments
        if (field := _CONCEPT.get(segment[0])) is not None and field < len(segment)
        if _ALARM_DIGITS in segment[field] or message.escape in segment[field]  # otherwise it cannot be
    )


def readings(
    message: Message, *, alarm: bool | None = None, subject: bytes | None = None, time: int | None = None
) -> list[Reading]:
    """The readings of an ORU message; of any other message, none.

    `alarm` is what `is_alarm` says, where the caller has asked it; `subject` and `time` go into every reading.
    """
    if message.type != "ORU":
        return []
    mapper = _Mapper(message, is_alarm(message) if alarm is None else alarm, subject, time)
    found: list[Reading] = []
    context: _Context | None = None
    for segment in message.segments:
        name = segment[0]
        if name == "OBR":
            found += mapper.build(context)
            context = mapper.context(segment)
        elif name == "OBX":
            context = mapper.context(None) if context is None else context
            mapper.row(segment, context)
    return found + mapper.build(context)


class _Mapper:
    """Maps one message's rows."""

    def __init__(self, message: Message, alarm: bool, subject: bytes | None, time: int | None) -> None:
        self.message = message
        self.screen = Screen.of(message)
        self.alarm = alarm
        self.subject = subject
        self.time = time

    # --- who and when

    def context(self, obr: Segment | None) -> _Context:
        """What holds below an OBR, or before the first one."""
        part, header = self.message.part, self.message.header
        candidates = []
        if obr is not None and part(obr, 3, 4).startswith("EUI"):
            candidates.append(part(obr, 3, 3))
        name, universal, kind = [*header(3).split(self.message.fields[2][0]), "", ""][:3]
        candidates += [universal if kind.startswith("EUI") else name, header(4)]
        devices = (self.shown(candidate, 64) for candidate in candidates)
        device = next((device for device in devices if device), DEVICE_UNKNOWN)
        return _Context(device, None if obr is None else self.message.time(part(obr, 7)))

    def shown(self, text: str, most: int) -> str | None:
        """Text fit for the ledger: one line, not too long, and about nobody. Else None."""
        if not text.isprintable():
            text = "".join(letter if letter.isprintable() else " " for letter in text)
        tidy = " ".join(text.split())
        return tidy if 0 < len(tidy) <= most and self.screen.passes(tidy) else None

    def row(self, obx: Segment, context: _Context) -> None:
        """Takes one OBX."""
        part = self.message.part
        codes = _codes(self.message, obx, 3)
        mdc = codes.mdc
        place = part(obx, 4)
        device, time = self._place(obx, place, context)
        if mdc == TIME_SYNC:
            protocol = part(obx, 5)
            context.sync = int(protocol) if protocol.isascii() and protocol.isdigit() and len(protocol) < 10 else None
        elif mdc == EVENT_PHASE:
            context.phase = self.shown(part(obx, 5), 12) or ""
        elif mdc is not None and partition(mdc) == 3:
            if self.alarm:
                group = context.groups.setdefault((device, time), _Group())
                group.alarm = group.alarm or self._event(obx, codes.first)
        elif (
            any(codes.first) and (mdc is None or partition(mdc) == 2) and (part(obx, 2) or self.message.leaves(obx, 5))
        ):
            group = context.groups.setdefault((device, time), _Group())
            group.samples.append((self._sample(obx, codes), place))

    def _place(self, obx: Segment, place: str, context: _Context) -> tuple[str, int | None]:
        """The device and time of a row: its own, or those of the nearest row above it."""
        part = self.message.part
        if len(obx) <= 14 and not context.devices and not context.times:
            return context.device, context.time
        above = _ancestry(place)
        identity, authority = part(obx, 18, 1), part(obx, 18, 3)
        own = self.shown("@".join(piece for piece in (identity, authority) if piece), 64)
        if own:
            context.devices[above[0]] = own
        if part(obx, 14):
            context.times[above[0]] = self.message.time(part(obx, 14))
        device = next((context.devices[key] for key in above if key in context.devices), context.device)
        time = next((context.times[key] for key in above if key in context.times), context.time)
        return device, time

    def _event(self, obx: Segment, code: Triple) -> str:
        """What an alarm is called."""
        part = self.message.part
        coded = part(obx, 2) in ("CE", "CWE", "CNE")
        for text in (part(obx, 5, 2 if coded else 1), code[1], code[0]):
            shown = self.shown(text, 60)
            if shown:
                return shown
        return "alarm"

    # --- what

    def _sample(self, obx: Segment, codes: Codes) -> Sample:
        """The sample of a row that names a measurement."""
        measure, loinc, sent = self._concept(codes)
        unit, sent_unit = self._unit(obx)
        value, text, absent = self._value(obx)
        status, missing = self._status(obx)
        result = self.message.part(obx, 11)
        missing = NOT_A_RESULT.get(result) or missing
        flag = None
        if value is not None and loinc is not None:
            flag = objection(measure, value, unit, sent_unit)
        elif value is not None and value[0] in SENTINELS and value[1] == 0:
            flag = "sentinel"
        elif text is not None and measure is not None and not _COMPARED.fullmatch(text):
            text, absent = None, "not-a-number"
        refused = missing or ("error" if flag else None)
        return Sample(
            code=loinc,
            value=None if refused else value,
            unit=None if flag == "unit-mismatch" else unit,
            text=None if refused else text,
            absent=refused or absent,
            flag=flag,
            sent=sent,
            sent_unit=sent_unit,
            sent_value=value if refused else None,
            status=status,
            result=result if result in RESULT_STATUS else None,
        )

    def _concept(self, codes: Codes) -> tuple[Measure | None, str | None, str | None]:
        """The measure whose bounds we know, the LOINC code, and the code as sent where that is another one."""
        measure = MEASURES.get(codes.mdc) if codes.mdc is not None else None
        if measure is not None and codes.loinc in (None, measure.loinc):
            return measure, measure.loinc, f"MDC:{codes.mdc}"
        if measure is None and codes.loinc is not None:
            return BY_LOINC.get(codes.loinc), codes.loinc, None
        code, name, system = codes.first  # unknown, or its two codes name different things
        known = code if code and code != "0" else name  # vendors number their own extensions 0
        return None, None, self.shown(":".join(piece for piece in (system, known) if piece), 64) or WITHHELD

    def _unit(self, obx: Segment) -> tuple[str | None, str | None]:
        """The UCUM unit, where OBX-6 is one or maps to one, and the unit as sent where that says something else."""
        unit, sent = _codes(self.message, obx, 6).unit
        if sent is None or sent == unit:
            return unit, None
        if unit is not None and not self.screen.passes(unit):
            unit = None
        return unit, self.shown(sent, 64) or WITHHELD

    def _value(self, obx: Segment) -> Value:
        """OBX-5 as a number, a short text, or a reason for its absence."""
        part = self.message.part
        kind = part(obx, 2)
        if not self.message.leaves(obx, 5):
            return None, None, "unknown"
        if kind in ("TX", "FT"):
            return None, None, "as-text"
        if self.message.repeats(obx, 5) > 1 or kind not in ("", "NM", "SN", "ST", "SI", "IS", "ID", "CE", "CWE", "CNE"):
            return None, None, "unsupported"
        if kind in ("CE", "CWE", "CNE"):
            choices = [part(obx, 5, 2), ":".join(piece for piece in (part(obx, 5, 3), part(obx, 5, 1)) if piece)]
            text = next((shown for shown in (self.shown(choice, 64) for choice in choices) if shown), None)
            return None, text, None if text else "masked"
        written = (
            "".join(part(obx, 5, place) for place in (1, 2, 3, 4)).removeprefix("=") if kind == "SN" else part(obx, 5)
        )
        try:
            return parse_decimal(written), None, None
        except SchemaError:
            if kind in ("NM", "SI") and not _COMPARED.fullmatch(written):
                return None, None, "not-a-number"
        text = self.shown(written, 64)
        return None, text, None if text else "masked"

    def _status(self, obx: Segment) -> tuple[str | None, str | None]:
        """OBX-8: the device's judgement, and why there is no value."""
        if len(obx) <= 8 or not obx[8]:
            return None, None
        given = [self.message.part(obx, 8, repeat=repeat) for repeat in range(1, self.message.repeats(obx, 8) + 1)]
        for mark, (status, missing) in MEASUREMENT.items():
            if mark in given:
                return status, missing
        return None, next((NO_VALUE[mark] for mark in given if mark in NO_VALUE), None)

    # --- readings

    def build(self, context: _Context | None) -> list[Reading]:
        """The readings of an OBR's rows."""
        found: list[Reading] = []
        if context is None:  # before the first OBR, and nothing stood there
            return found
        for (device, time), group in context.groups.items():
            samples = self._told_apart(group.samples)
            alarm = f"{group.alarm} ({context.phase})" if group.alarm and context.phase else group.alarm
            found += [
                Reading(
                    device=device,
                    samples=samples[start : start + SAMPLES_PER_READING],
                    device_time=time,
                    device_sync=context.sync,
                    alarm=alarm if start == 0 else None,
                    raw=self.message.raw_hash,
                    subject=self.subject,
                    time=self.time,
                )
                for start in range(0, max(len(samples), 1), SAMPLES_PER_READING)
            ]
        return found

    def _told_apart(self, samples: list[tuple[Sample, str]]) -> list[Sample]:
        """The samples; those that share a code with another keep their OBX-4."""
        seen: dict[tuple[str | None, str | None], int] = {}
        for sample, _ in samples:
            seen[sample.code, sample.sent] = seen.get((sample.code, sample.sent), 0) + 1
        return [
            replace(sample, sub=place)
            if seen[sample.code, sample.sent] > 1 and _SUB_ID.fullmatch(place) and self.shown(place, 32)
            else sample
            for sample, place in samples
        ]


def _codes(message: Message, segment: Segment, number: int) -> Codes:
    """A coded field's code and alternative code. The same come with every message: plain ones are remembered."""
    text = segment[number] if number < len(segment) else ""
    if len(text) > 200 or message.escape in text:
        return Codes(message.components(segment, number, 6))
    return _known_codes(text, message.marks)


@lru_cache(maxsize=1024)
def _known_codes(text: str, marks: tuple[str, str, str]) -> Codes:
    again, caret, ampersand = marks
    pieces = [each.split(ampersand)[0].strip() for each in text.split(again, 1)[0].split(caret)[:6]]
    return Codes(["" if each == '""' else each for each in pieces] + [""] * (6 - len(pieces)))


class Codes:
    """What a coded field says, by itself: nothing here depends on the rest of the message."""

    __slots__ = ("first", "loinc", "mdc", "unit")

    def __init__(self, parts: list[str]) -> None:
        self.first: Triple = (parts[0], parts[1], parts[2])
        both = [self.first, (parts[3], parts[4], parts[5])] if parts[5] else [self.first]
        numbers = (_number(code) for code, _, system in both if system == "MDC")
        self.mdc = next(filter(None, numbers), None)  # 0 is what vendors write for extensions of their own
        self.loinc = next((code for code, _, system in both if system in ("LN", "LOINC") and is_loinc(code)), None)
        self.unit = _unit([triple for triple in both if triple[0] or triple[1]])


def _number(code: str) -> int | None:
    return int(code) if code.isascii() and code.isdigit() and len(code) < 10 else None


def _unit(codes: list[Triple]) -> tuple[str | None, str | None]:
    """The UCUM unit that these codes agree on, and the first as it was sent."""
    found = set()
    for code, _, system in codes:
        if system == "MDC":
            found.add(UNITS.get(_number(code) or 0))
        elif system == "UCUM":
            found.add((_BRACES.sub("", code) or "1") if _UCUM.fullmatch(code) else None)
        elif not system:
            found.add(PLAIN_UNITS.get(_BRACES.sub("", code)))
    found.discard(None)
    unit = found.pop() if len(found) == 1 else None
    if not codes:
        return unit, None
    code, name, system = codes[0]
    return unit, f"MDC:{code}" if system == "MDC" and code else code or name


def _ancestry(place: str) -> list[str]:
    """An OBX-4 and the places above it, nearest first: 1.2.0.4 stands below 1.2 (or 1.2.0.0) and 1 (or 1.0.0.0)."""
    steps = place.split(".")
    found = []
    while steps:
        while len(steps) > 1 and steps[-1] == "0":
            steps.pop()
        found.append(".".join(steps))
        steps.pop()
    return found
