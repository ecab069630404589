"""From a number and what the device says about it to a sample, the same way for every profile.

Rules:

- A measure of mdc.py gives the LOINC code and the bounds; a figure that cannot be what the code means is flagged and
  is no value, as for HL7. A quantity that mdc.py does not know keeps its own name (`sent`, "GATT:2A37 energy"), gets no
  LOINC, and has no bounds: which figures are none, its field's form says alone (32,767 kJ are 32,767 kJ).
- What the device itself says is wrong decides next: a measurement that it calls invalid, unavailable, test or demo has
  no value, and what was sent stands under `sent_value`. Of several judgements the worst one counts.
- Every bit that a device sets to tell its state is kept as a text sample of its own, a reserved one by its number
  ("bit-12"): specifications tell receivers to ignore those, and an auditor may know them one day.
- The SHA-256 of the value as received stands in `raw`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from medledger.records import Reading, Sample

from ..mdc import Measure, objection
from .ieee11073 import Number, Special


@dataclass(frozen=True, slots=True)
class Source:
    """Which device a value came from, and what is known of it."""

    device: str
    offset: int | None = None  # minutes by which its wall clock is ahead of UTC
    site: str | None = None  # where on the body a thermometer measures when its measurements do not say


@dataclass(frozen=True, slots=True)
class Judgement:
    """The device's own word on a measurement: its status, and why it is none, if so (medledger.records.Sample)."""

    status: str | None = None
    absent: str | None = None


FINE: Final = Judgement()
QUESTIONABLE: Final = Judgement("questionable")
INVALID: Final = Judgement("invalid", "error")
NOT_AVAILABLE: Final = Judgement("not-available", "not-performed")
TEST: Final = Judgement("test-data", "not-applicable")
DEMO: Final = Judgement("demo-data", "not-applicable")
CALIBRATING: Final = Judgement("calibration-ongoing")
EARLY: Final = Judgement("early-indication")
ONGOING: Final = Judgement("msmt-ongoing")
VALIDATED: Final = Judgement("validated-data")
TOO_HIGH: Final = Judgement("invalid", "positive-infinity")
TOO_LOW: Final = Judgement("invalid", "negative-infinity")

_WORST_FIRST: Final = (
    *(NOT_AVAILABLE, INVALID, TEST, DEMO, TOO_HIGH, TOO_LOW),
    *(QUESTIONABLE, CALIBRATING, EARLY, ONGOING, VALIDATED, FINE),
)

Bits = Mapping[int, tuple[str, Judgement]]
"""What the bits of a status field are called, and what each says about the measurement."""


def worst(judgements: Iterable[Judgement]) -> Judgement:
    """The one that counts."""
    return min(judgements, key=_WORST_FIRST.index, default=FINE)


def judge(word: int, bits: Bits, sent: str, *, sub: str | None = None) -> tuple[list[Sample], Judgement]:
    """A status field: a text sample for each bit that is set, and what all of them say together."""
    places = [place for place in range(word.bit_length()) if word >> place & 1]
    known = [bits.get(place, (f"bit-{place}", FINE)) for place in places]
    return [note(name, sent, sub=sub) for name, _ in known], worst(judgement for _, judgement in known)


def note(text: str, sent: str, *, sub: str | None = None) -> Sample:
    """Something that the device says in words of its specification."""
    return Sample(None, text=text, sent=sent, sub=sub)


def figure(
    number: Number,
    unit: str,
    sent: str,
    measure: Measure | None = None,
    *,
    judgement: Judgement = FINE,
    sub: str | None = None,
) -> Sample:
    """The sample of a number in a UCUM unit; `sent` is what the profile calls it."""
    value = None if isinstance(number, Special) else number
    flag = None
    if value is None:
        flag = "sentinel" if number is Special.RESERVED else None
    elif measure is not None:
        flag = objection(measure, value, unit, None)
    missing = number.value if isinstance(number, Special) else "error" if flag else None
    absent = judgement.absent or missing
    return Sample(
        code=None if measure is None else measure.loinc,
        value=None if absent else value,
        unit=None if flag == "unit-mismatch" else unit,
        absent=absent,
        flag=flag,
        sent=sent,
        sent_unit=unit if flag == "unit-mismatch" else None,
        sent_value=value if absent else None,
        status=judgement.status,
        sub=sub,
    )


def reading(
    data: bytes, source: Source, samples: Iterable[Sample], *, time: int | None = None, quality: str | None = None
) -> Reading:
    """The reading of one value, tied to its bytes."""
    raw = sha256(data).digest()
    return Reading(device=source.device, samples=samples, device_time=time, quality=quality, raw=raw)


def standing(judgement: Judgement) -> str:
    """The quality of a live signal: lost where there is nothing to measure."""
    return "lost" if judgement == NOT_AVAILABLE else "live"
