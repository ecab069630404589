"""HL7 messages for tests: a usual header, patient and order to put rows under, and the recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medledger.records import Sample
from medledger_bridge import hl7

MSH = "MSH|^~\\&|MON^0011223344556677^EUI-64|ICU|AGENT|HOSP|20260101120000+0100||ORU^R01^ORU_R01|C1|P|2.6"
PID = (
    "PID|||MRN4711^^^HOSP^MR||Hiccock^WildBill^Q||19770114|M|||49 rue des Saints^^Walldorf^^69226^DEU||"
    "^PRN^PH^^^617^5551212"
)
OBR = "OBR|1|||182777000^monitoring of patient^SCT|||20260101115900+0100"


def message(*rows: str, msh: str = MSH, obr: str = OBR) -> hl7.Message:
    """A message of the usual header, patient and order, and these rows."""
    return hl7.parse("\r".join([msh, PID, obr, *rows]).encode())


def sample(row: str) -> Sample:
    """The only sample of a message with this row."""
    (reading,) = hl7.readings(message(row))
    (found,) = reading.samples
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text in a record's content, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def recorded(shared_data: Callable[[str], Path]) -> dict[str, bytes]:
    """Every recorded message by its path."""
    root = shared_data("05-hl7v2")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.hl7*"))}
