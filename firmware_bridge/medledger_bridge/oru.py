"""A reading as the HL7 v2 message that a monitor would send: ORU^R01 as IHE PCD-01 asks for it.

Rules:

- The device stands in the first row of the containment (OBX-18), the metrics below it, each with its MDC code and unit
  where there is one, else with LOINC and UCUM, else under a name of its own in the local system 99MEDLEDGER.
- Figures are written with the digits they have. A flagged figure is sent as the device gave it: who receives it judges.
  A missing one is an empty OBX-5, with the reason in OBX-8 as PCD writes it.
- MSH-11 is T, training: what is played was measured, but not now and not on anybody here.
- Reading the message back (hl7.py) gives the samples again, apart from the hash and from what MDC calls them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from medledger.records import Reading, Sample, as_decimal

from .mdc import UNITS
from .observations import NO_VALUE

PROFILE: Final = "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
MONITOR: Final = "69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS^MDC"
CHARSET: Final = "UNICODE UTF-8"
APPLICATION: Final = "MEDLEDGER_PLAYER"

CODES: Final = {  # by LOINC
    "8867-4": "147842^MDC_ECG_HEART_RATE^MDC",
    "8889-8": "149530^MDC_PULS_OXIM_PULS_RATE^MDC",
    "9279-1": "151562^MDC_RESP_RATE^MDC",
    "59408-5": "150456^MDC_PULS_OXIM_SAT_O2^MDC",
    "8310-5": "150344^MDC_TEMP^MDC",
    "8480-6": "150021^MDC_PRESS_BLD_NONINV_SYS^MDC",
    "8462-4": "150022^MDC_PRESS_BLD_NONINV_DIA^MDC",
    "8478-0": "150023^MDC_PRESS_BLD_NONINV_MEAN^MDC",
}
LINES: Final = {  # channels of a recording that have an MDC code and no LOINC here
    "ABPSys": "150033^MDC_PRESS_BLD_ART_SYS^MDC",
    "ABPDias": "150034^MDC_PRESS_BLD_ART_DIA^MDC",
    "ABPMean": "150035^MDC_PRESS_BLD_ART_MEAN^MDC",
}
DIMENSIONS: Final = {
    262688: "MDC_DIM_PERCENT",
    264864: "MDC_DIM_BEAT_PER_MIN",
    264928: "MDC_DIM_RESP_PER_MIN",
    266016: "MDC_DIM_MMHG",
    268192: "MDC_DIM_DEGC",
}
REASONS: Final = {reason: code for code, reason in NO_VALUE.items()}
BREATHS: Final = "9279-1"
_ESCAPES: Final = str.maketrans({"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"})


def oru(reading: Reading, *, message_id: str, at: int, patient: str | None = None, issuer: str | None = None) -> bytes:
    """The message of a reading, sent at UTC ms `at`. `patient` is a record number for PID-3, `issuer` who gave it out
    (PID-3.4); left out, this software says that it did.
    """
    device, now = _escaped(reading.device), _time(at)
    measured = "" if reading.device_time is None else _time(reading.device_time)
    segments = [
        f"MSH|^~\\&|{APPLICATION}|{device}|||{now}||ORU^R01^ORU_R01|{_escaped(message_id)}|T|2.6|||NE|AL||{CHARSET}|||{PROFILE}",
        f"PID|||{_escaped(patient)}^^^{_escaped(issuer or APPLICATION)}^MR" if patient else "PID|||",
        f"OBR|1|||{MONITOR}|||{measured}",
        f"OBX|1||{MONITOR}|1.0.0.0|||||||X|||||||{device}",
    ]
    segments += [_row(number, sample) for number, sample in enumerate(reading.samples, 1)]
    return "".join(segment + "\r" for segment in segments).encode()


def _row(number: int, sample: Sample) -> str:
    figure = sample.value or sample.sent_value
    kind, shown = "NM", "" if figure is None else format(as_decimal(figure), "f")
    if sample.text is not None:
        kind, shown = "ST", _escaped(sample.text)
    reason = "" if shown else REASONS.get(sample.absent or "", "NI")
    return f"OBX|{number + 1}|{kind}|{_code(sample)}|1.1.1.{number}|{shown}|{_unit(sample)}||{reason}|||R"


def _code(sample: Sample) -> str:
    if sample.code is not None:
        return CODES.get(sample.code, f"{sample.code}^^LN")
    name = sample.sent or "unknown"
    return LINES.get(name, f"{_escaped(name)}^^99MEDLEDGER")


def _unit(sample: Sample) -> str:
    if sample.unit is None:
        return ""
    wanted = "MDC_DIM_RESP_PER_MIN" if sample.code == BREATHS else "MDC_DIM_BEAT_PER_MIN"
    for code, name in DIMENSIONS.items():
        if UNITS[code] == sample.unit and (sample.unit != "/min" or name == wanted):
            return f"{code}^{name}^MDC"
    return f"{_escaped(sample.unit)}^^UCUM"


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _time(at: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
    return f"{moment:%Y%m%d%H%M%S}.{at % 1000:03}+0000"
