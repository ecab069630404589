"""What an ADT message says about who lies where: a pure function of the message.

    A01 A04          admitted or registered: the patient is at PV1-3 from then on
    A02 A06 A07 A17  moved: from PV1-6 to PV1-3; an A17 swaps the two patients that it names
    A03              discharged: nowhere from then on
    A08              brought up to date: can take a patient out of a bed (PV1-3 names another), never put one in
    A11              the admission was a mistake: it never held
    A12 A13          the transfer or the discharge was: the patient is at PV1-3 from then on
    A18 A34 A39 A40  one patient had two numbers: MRG-1 is given up for PID-3

- When: what happened at EVN-6; else, for an admission, at PV1-44, and for a discharge, at PV1-45; else at EVN-2, when
  it was recorded. Of two times that are given, a beginning takes the later and an end the earlier: what lies between
  them is nobody's. A time to the minute is taken in the same way, and so is an event that is both: whoever is moved
  leaves at the earlier and arrives at the later.
- A time without a zone is taken in the configured zone. Without one it is no time: hospitals' systems write local time,
  and an hour's mistake gives a patient's readings to the next.
- What does not say who, where or when is refused by name. Other events are rejected: nothing is known of them here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from medledger_bridge.errors import Hl7Error
from medledger_bridge.hl7 import Message, Segment

from .patients import Patient, numbers_in

ADMIT: Final = "admit"
TRANSFER: Final = "transfer"
DISCHARGE: Final = "discharge"
UPDATE: Final = "update"
CANCEL_ADMIT: Final = "cancel admit"
CANCEL: Final = "cancel"
MERGE: Final = "merge"

EVENTS: Final = {
    **dict.fromkeys(("A01", "A04"), ADMIT),
    **dict.fromkeys(("A02", "A06", "A07", "A17"), TRANSFER),
    "A03": DISCHARGE,
    "A08": UPDATE,
    "A11": CANCEL_ADMIT,
    **dict.fromkeys(("A12", "A13"), CANCEL),
    **dict.fromkeys(("A18", "A34", "A39", "A40"), MERGE),
}
MINUTE_DIGITS: Final = 12
MINUTE: Final = 59_999
"""How many ms a time to the minute may be off."""


class Location(NamedTuple):
    """PL, the parts that name a bed: point of care, room, bed."""

    ward: str
    room: str = ""
    bed: str = ""

    @classmethod
    def parse(cls, text: str) -> Location | None:
        """From `WARD^ROOM^BED` as in HL7 and in the configuration; None where it names nothing."""
        parts = [part.strip() for part in text.split("^")][:3]
        return cls(*parts) if any(parts) else None

    def __str__(self) -> str:
        return "^".join(self).rstrip("^")


class UnusedEventError(Hl7Error):
    """The message is of an event that says nothing about who is where."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One patient's change of place, as told. `raw` is what the message is named by.

    What begins, begins at `at`; what ends, ends at `earliest`.
    """

    event: str
    patient: Patient
    at: int  # UTC ms
    raw: bytes
    location: Location | None = None  # where the patient is from then on
    prior: Location | None = None  # where the patient was
    merged: Patient | None = None  # the number that is given up
    since: int | None = None  # UTC ms: the earliest of the times that are given, where that is another

    @property
    def earliest(self) -> int:
        """The earliest time at which it may have happened."""
        return self.at if self.since is None else self.since


def movements(message: Message, *, zone: ZoneInfo | None, issuer: str = "") -> tuple[Movement, ...]:
    """What an ADT message changes. Raises `UnusedEventError`, or `Hl7Error`, which says what is missing."""
    trigger = message.trigger or _field(message, "EVN", 1)
    event = EVENTS.get(trigger)
    if event is None:
        raise UnusedEventError(f"ADT^{trigger or '?'} is not an event that this box uses")
    found = [_movement(message, event, *pair, zone, issuer) for pair in _visits(message)]
    if len(found) != (2 if trigger == "A17" else 1):
        raise Hl7Error(f"ADT^{trigger} names {len(found)} patients")
    return tuple(found)


def _visits(message: Message) -> list[tuple[Segment, Segment | None, Segment | None]]:
    """Each PID with the PV1 and MRG that follow it, None where there is none."""
    found: list[list[Any]] = []
    for segment in message.segments:
        name = message.part(segment, 0)
        if name == "PID":
            found.append([segment, None, None])
        elif name in ("PV1", "MRG") and found:
            place = 1 if name == "PV1" else 2
            found[-1][place] = found[-1][place] or segment
    return [(pid, pv1, mrg) for pid, pv1, mrg in found]


def _movement(
    message: Message,
    event: str,
    pid: Segment,
    pv1: Segment | None,
    mrg: Segment | None,
    zone: ZoneInfo | None,
    issuer: str,
) -> Movement:
    numbers = numbers_in(message, pid, 3, issuer)
    if not numbers:
        raise Hl7Error("the message does not say who: PID-3 is empty")
    location, prior = _location(message, pv1, 3), _location(message, pv1, 6)
    merged = None
    if event == MERGE:
        given_up = () if mrg is None else numbers_in(message, mrg, 1, issuer)
        if not given_up:
            raise Hl7Error("the message does not say which number is given up: MRG-1 is empty")
        merged = given_up[0]
    elif event in (ADMIT, TRANSFER, CANCEL) and location is None:
        raise Hl7Error("the message does not say where the patient is: PV1-3 names no ward, room or bed")
    since, at = _when(message, event, pv1, zone)
    return Movement(
        event,
        numbers[0],
        at,
        message.raw_hash,
        location if event not in (DISCHARGE, CANCEL_ADMIT) else None,
        location if event in (DISCHARGE, CANCEL_ADMIT) else prior,
        merged,
        since,
    )


def _when(message: Message, event: str, pv1: Segment | None, zone: ZoneInfo | None) -> tuple[int, int]:
    """The earliest and the latest time that the message gives."""
    visit = {ADMIT: 44, DISCHARGE: 45}.get(event)
    texts = [_field(message, "EVN", 6), message.part(pv1, visit) if visit and pv1 is not None else ""]
    if not any(texts):
        texts = [_field(message, "EVN", 2)]
    first, last = [], []
    for text in filter(None, texts):
        time = moment(message, text, zone)
        if time is None:
            raise Hl7Error("the message does not say when: a time is not one to the minute, or has no zone")
        digits = len(text.split("+")[0].split("-")[0])
        first.append(time)
        last.append(time if digits > MINUTE_DIGITS else time + MINUTE)
    if not first:
        raise Hl7Error("the message does not say when: EVN-2 and EVN-6 are empty")
    return min(first), max(last)


def moment(message: Message, text: str, zone: ZoneInfo | None) -> int | None:
    """UTC ms of an HL7 time; one without a zone is taken in the configured zone, None where there is none either."""
    known = message.time(text)
    if known is not None or zone is None or message.zone is not None:
        return known
    shifted = message.time(text + "+0000")
    if shifted is None:
        return None
    local = datetime.fromtimestamp(shifted / 1000, UTC).replace(tzinfo=zone)
    return round(local.timestamp() * 1000)


def sent_at(message: Message, zone: ZoneInfo | None) -> int:
    """When the message was sent (UTC ms), or earlier: when it was recorded. Raises `Hl7Error` where neither is told."""
    for text in (message.header(7), _field(message, "EVN", 2)):
        if (found := moment(message, text, zone)) is not None:
            return found
    raise Hl7Error("the message does not say when it was sent: neither MSH-7 nor EVN-2 is a time, or they have no zone")


def _location(message: Message, pv1: Segment | None, field: int) -> Location | None:
    if pv1 is None:
        return None
    found = Location(*(message.part(pv1, field, part) for part in (1, 2, 3)))
    return found if any(found) else None


def _field(message: Message, name: str, number: int) -> str:
    return next((message.part(each, number) for each in message.segments if message.part(each, 0) == name), "")
