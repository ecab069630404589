"""From the bytes of an HL7 message to what is logged of it, or the reason why it cannot be taken. No I/O.

- AR (rejected) says that this kind of message is not taken here, AE (error) that this one cannot be used. Either leaves
  the message with its sender, who is told why. It is kept all the same, with the reason, in the inbox; but for bytes
  that begin as what is kept there of an instrument does, which after a crash would be read as that.
- Whose a reading is: with association "message", the pseudonym of PID-3; without a patient, or with more than one, it
  is null. With "adt" it is decided in ward.py, and the message's PID-3 is a check. Either way a reading is kept as
  nobody's rather than given to the wrong person.
- Entries carry the time at which this box received the message, beside the device's own time.
- What a person says by hand (hand.py) comes through the box's own socket only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final
from zoneinfo import ZoneInfo

from medledger.errors import MedledgerError
from medledger.records import DeviceStatus, Reading
from medledger_bridge.hl7 import Hl7Error, Message, acknowledge, is_alarm, parse, readings

from ..inbox import Received
from ..instruments import envelope
from ..recorder import Delivery
from ..subjects import Name, Subjects
from . import hand
from .adt import UnusedEventError, moment, movements, sent_at
from .patients import patient_of, patients_of
from .ward import ByHand, Told, Unplaced, Wired

ACCEPTED: Final = "AA"
ERROR: Final = "AE"
REJECTED: Final = "AR"

Draft = Reading | DeviceStatus | Unplaced | Told | ByHand | Wired


class _Rejected(Exception):
    """This kind of message is not taken here."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A message: what is logged of it, or what is kept of it with the reason. `code` is then the reply's.

    `envelope` is its header alone, for the acknowledgement; None where it has none. A delivery of None is not kept.
    """

    delivery: Delivery | None
    envelope: Message | None
    code: str = ACCEPTED
    reason: str = ""
    asked: int | None = None  # a question about what is in quarantine: hours

    def envelope_only(self) -> Taken:
        """What replying takes: the message itself would stay in memory for as long as the sender does not listen."""
        return Taken(None, self.envelope, self.code, self.reason, self.asked)

    def acknowledgement(self, code: str, reason: str = "") -> bytes:
        """The reply to the sender."""
        return _unaddressed(reason) if self.envelope is None else acknowledge(self.envelope, code, reason)


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads messages by this box's settings."""

    subjects: Subjects
    by_adt: bool = False
    zone: ZoneInfo | None = None
    issuer: str = ""

    def take(self, raw: bytes, at: int, *, local: bool = False) -> Taken:
        """What to do with a message received at that time (UTC ms); `local` where it came through our own socket."""
        if raw.startswith(envelope.MAGIC):
            return Taken(None, None, REJECTED, "this is no HL7 message")
        name = self.subjects.name(raw)
        try:
            message = parse(raw, raw_hash=name.hash)
        except Hl7Error as error:
            return _kept(raw, at, name, None, REJECTED, str(error))
        if message.type == hand.TYPE and not local:
            return Taken(None, message.envelope(), REJECTED, "what is said by hand is said on the box itself")
        if (hours := hand.asked(message)) is not None:
            return Taken(None, message.envelope(), asked=hours)
        try:
            alarm = is_alarm(message)
            drafts = self._drafts(message, at, alarm)
        except (_Rejected, UnusedEventError) as error:
            return _kept(raw, at, name, message, REJECTED, str(error))
        except MedledgerError as error:
            return _kept(raw, at, name, message, ERROR, str(error))
        urgent = message.type != "ORU" or alarm or any(_alarm(draft) for draft in drafts)
        received = Received(*message.duplicate_key, name.hash, raw, at, name.salt)
        return Taken(Delivery(received, drafts, urgent), message.envelope())

    def read(self, raw: bytes, at: int, name: bytes) -> tuple[Draft, ...]:
        """The drafts of a message that was taken before, under the name that it was given then. Raises a
        `MedledgerError`.
        """
        if raw.startswith(envelope.MAGIC):
            return wired(envelope.opened(raw, at))
        try:
            message = parse(raw, raw_hash=name)
            return self._drafts(message, at, is_alarm(message))
        except _Rejected as error:
            raise Hl7Error(str(error)) from error

    def _drafts(self, message: Message, at: int, alarm: bool) -> tuple[Draft, ...]:
        if message.type == hand.TYPE and self.by_adt:
            return (hand.read(message, at, self.issuer),)
        if message.type == "ADT" and self.by_adt:
            told = movements(message, zone=self.zone, issuer=self.issuer)
            return (Told(told, at, message.sender, sent_at(message, self.zone)),)
        if message.type != "ORU":
            raise _Rejected("only observations (ORU) and movements of patients (ADT) are taken here")
        patient = None if self.by_adt else patient_of(message, self.issuer)
        subject = None if patient is None else self.subjects.subject(*patient, at)
        found = readings(message, alarm=alarm, subject=subject, time=at)
        if not found:
            raise Hl7Error("no segment of it names a measurement")
        if not self.by_adt:
            return tuple(found)
        patients, stamp = patients_of(message, self.issuer), moment(message, message.header(7), self.zone)
        return tuple(Unplaced(each, patients, stamp) for each in found)


def wired(taken: envelope.Taken) -> tuple[Wired | DeviceStatus, ...]:
    """The drafts of what an instrument of this box measured, or of what it said that nobody can read."""
    return tuple(each if isinstance(each, DeviceStatus) else Wired(each, taken.span) for each in taken.records)


def devices_of(drafts: Sequence[Draft]) -> set[str]:
    """The devices that measured something in a message."""
    found = {reading.device for reading in map(_reading, drafts) if reading is not None}
    return found | {draft.record.device for draft in drafts if isinstance(draft, Wired)}


def _reading(draft: Draft) -> Reading | None:
    found = draft.reading if isinstance(draft, Unplaced) else draft
    return found if isinstance(found, Reading) else None


def _alarm(draft: Draft) -> bool:
    reading = _reading(draft)
    return reading is not None and reading.alarm is not None


def _kept(raw: bytes, at: int, name: Name, message: Message | None, code: str, reason: str) -> Taken:
    """Kept under its own hash: the id stays free for the message that its sender meant."""
    sender = "" if message is None else message.sender
    received = Received(sender, sha256(raw).hexdigest(), name.hash, raw, at, name.salt)
    header = None if message is None else message.envelope()
    return Taken(Delivery(received, (), refused=reason), header, code, reason)


def _unaddressed(reason: str) -> bytes:
    """The reply to bytes without a header: it can name neither a receiver nor the message."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    text = "".join(character if character.isalnum() or character in " .,:-" else " " for character in reason[:80])
    return f"MSH|^~\\&|medledger||||{now}||ACK|0|P|2.6\rMSA|{REJECTED}||{text}\r".encode("ascii", errors="replace")
