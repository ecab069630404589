"""From the bytes of an HL7 message to what is logged of it, or the reason why it cannot be taken. No I/O.

- AR (rejected) says that this kind of message is not taken here, AE (error) that this one cannot be used. Either
  leaves the message with its sender, who is told why.
- The subject is the pseudonym of PID-3. Without a patient, or with more than one, it is null: a reading is kept as
  nobody's rather than given to the wrong person.
- Entries carry the time at which this box received the message, beside the device's own time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from medledger.errors import MedledgerError
from medledger.records import Reading
from medledger_bridge.hl7 import Hl7Error, Message, acknowledge, is_alarm, parse, readings

from ..inbox import Received
from ..recorder import Delivery
from ..subjects import Subjects

ACCEPTED: Final = "AA"
ERROR: Final = "AE"
REJECTED: Final = "AR"
_MRN_TYPES: Final = ("MR", "PI", "")  # HL7 table 0203, in the order in which a patient's numbers are preferred


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that can be logged. `envelope` is its header alone, for the acknowledgement."""

    delivery: Delivery
    envelope: Message

    def acknowledgement(self, code: str, reason: str = "") -> bytes:
        """The reply to the sender."""
        return acknowledge(self.envelope, code, reason)


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that cannot be logged, and the reply that says why."""

    code: str
    reason: str
    acknowledgement: bytes


def take(raw: bytes, at: int, subjects: Subjects) -> Taken | Refused:
    """What to do with a message received at that time (UTC milliseconds)."""
    try:
        message = parse(raw)
    except Hl7Error as error:
        return Refused(REJECTED, str(error), _unaddressed(str(error)))
    if message.type != "ORU":
        return _refuse(message, REJECTED, "only observations (ORU) are taken here")
    try:
        found = _readings(message, at, subjects)
    except MedledgerError as error:
        return _refuse(message, ERROR, str(error))
    if not found:
        return _refuse(message, ERROR, "no segment of it names a measurement")
    urgent = is_alarm(message) or any(reading.alarm is not None for reading in found)
    sender, message_id = message.duplicate_key
    received = Received(sender, message_id, message.raw_hash, raw, at)
    return Taken(Delivery(received, found, urgent), _envelope(message))


def read(raw: bytes, at: int, subjects: Subjects) -> tuple[Reading, ...]:
    """The readings of a message that was taken before. Raises `Hl7Error` and `SchemaError`."""
    return _readings(parse(raw), at, subjects)


def _readings(message: Message, at: int, subjects: Subjects) -> tuple[Reading, ...]:
    patient = patient_of(message)
    subject = None if patient is None else subjects.subject(*patient, at)
    return tuple(replace(reading, subject=subject, time=at) for reading in readings(message))


def patient_of(message: Message) -> tuple[str, str] | None:
    """The patient's number and who issued it, None where the message names no patient or several."""
    found = {_number(message, segment) for segment in message.segments if message.part(segment, 0) == "PID"}
    return found.pop() if len(found) == 1 else None


def _number(message: Message, pid: object) -> tuple[str, str] | None:
    """The number of PID-3 that hospitals go by: the medical record number before others."""
    numbers = []
    for repeat in range(1, message.repeats(pid, 3) + 1):
        number, issuer, kind = (message.part(pid, 3, place, repeat=repeat) for place in (1, 4, 5))
        if number:
            rank = _MRN_TYPES.index(kind) if kind in _MRN_TYPES else len(_MRN_TYPES)
            numbers.append((rank, repeat, number, issuer))
    return min(numbers)[2:] if numbers else None


def _refuse(message: Message, code: str, reason: str) -> Refused:
    return Refused(code, reason, acknowledge(message, code, reason))


def _envelope(message: Message) -> Message:
    """The message without its content, which would otherwise stay in memory until it is acknowledged."""
    return replace(message, raw=b"", segments=())


def _unaddressed(reason: str) -> bytes:
    """The reply to bytes without a header: it can name neither a receiver nor the message."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    text = "".join(character if character.isalnum() or character in " .,:-" else " " for character in reason[:80])
    return f"MSH|^~\\&|medledger||||{now}||ACK|0|P|2.6\rMSA|{REJECTED}||{text}\r".encode("ascii", errors="replace")
