"""A ward for tests: its beds, the messages of its ward system about patients, and of its monitors about now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from boxes import oru

WARD = {"association": "adt", "zone": "UTC", "issuer": "WARD", "devices": {"MON-7": "ICU^1^A", "MON-8": "ICU^1^B"}}


def stamp(minutes: float = 0) -> str:
    """So many minutes from now, as HL7 writes it, to the millisecond: patients may take turns within a second."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y%m%d%H%M%S.%f")[:-3]


def adt(
    number: str, event: str, *, patient: str = "P-4711", bed: str = "ICU^1^A", prior: str = "", at: float = 0
) -> bytes:
    """A ward system's message, with a patient who must stay unknown."""
    return (
        f"MSH|^~\\&|ADT|HOSP|||{stamp()}||ADT^{event}|{number}|P|2.5\rEVN|{event}|{stamp()}||||{stamp(at)}\r"
        f"PID|1||{patient}^^^WARD^MR||Testperson^Zacharias||19510203|M|||17 Lindenallee^^Musterstadt\r"
        f"PV1|1|I|{bed}|||{prior}\r"
    ).encode()


def now(number: int | str, *, minutes: float = 0, sync: int | None = None, **more: Any) -> bytes:
    """A monitor's message about now, or about so many minutes from now."""
    text = oru(number, **more).replace(b"20261122093000+0000", stamp(minutes).encode() + b"+0000")
    if sync is not None:
        text += f"OBX|9|CWE|68220^MDC_TIME_SYNC_PROTOCOL^MDC|0.0.0.1|{sync}^X^MDC|||||R\r".encode()
    return text
