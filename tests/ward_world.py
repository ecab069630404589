"""A ward for tests without processes: a box with clocks that are set, what it is told, and what it decides.

All goes through the agent's own decisions. Nothing here sleeps or listens.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

from devices import Instrument
from medledger.associations import Margins
from medledger.attribution import Attribution
from medledger.records import Reading, Record
from medledger_agents.bedside.adt import Location
from medledger_agents.bedside.intake import Intake
from medledger_agents.bedside.moves import Beds
from medledger_agents.bedside.patients import Patient
from medledger_agents.bedside.ward import ByHand, Unplaced, Ward, Wired
from medledger_agents.health import Health
from medledger_agents.subjects import Subjects

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
NINE = 1_790_000_000_000
MARGINS = Margins(bound=5 * SECOND, delay=MINUTE)
BED, NEXT = "ICU^1^A", "ICU^1^B"
BEDS = Beds({"MON": Location("ICU", "1", "A"), "PO": Location("ICU", "1", "A"), "MON-B": Location("ICU", "1", "B")})
SUBJECTS = Subjects(bytes(32), "year")
INTAKE = Intake(SUBJECTS, by_adt=True, zone=ZoneInfo("UTC"), issuer="HOSP")
NTP = 532226


@dataclass(frozen=True)
class Clock:
    """The box's clocks: its wall clock is off by so much from these moments on, and the machine started at those."""

    offsets: list[tuple[int, int]]
    starts: list[int]

    def offset(self, true: int) -> int:
        return self.offsets[bisect_right(self.offsets, (true, 2**62)) - 1][1]

    def read(self, true: int) -> tuple[int, int]:
        started = self.starts[bisect_right(self.starts, true) - 1]
        return max(0, true + self.offset(true)), true - started + 20 * SECOND


@dataclass
class Box:
    """An agent, its clocks, and its ledger: blocks of what it decided."""

    clock: Clock
    true: int = NINE - 10 * HOUR
    blocks: list[tuple[int, int, list[Record]]] = field(default_factory=list)
    ward: Ward = field(init=False)
    health: Health = field(init=False)
    beds: Beds = field(default_factory=lambda: BEDS)
    me: bytes = bytes(32)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """The agent is started, again."""
        self.health = Health()
        self.ward = Ward(
            cast(Any, self), SUBJECTS, self.beds, MARGINS, read=lambda: self.clock.read(self.true), health=self.health
        )
        self._log(self.ward.reconcile(self.wall))

    @property
    def wall(self) -> int:
        return self.clock.read(self.true)[0]

    def take(self, draft: Any) -> list[Record]:
        """Decide and log."""
        return self._log(self.ward.decide(draft))

    def _log(self, found: Iterable[Record]) -> list[Record]:
        block = (*self.clock.read(self.true), list(found))
        if block[2]:
            self.blocks.append(block)
        return block[2]

    def hear(self, raw: bytes) -> list[Record]:
        """A message comes in."""
        taken = INTAKE.take(raw, self.wall)
        assert taken.delivery is not None
        assert taken.delivery.refused is None, taken.delivery.refused
        return [record for draft in taken.delivery.records for record in self.take(draft)]

    # --- as a ledger -------------------------------------------------------------------------------------------------

    def entries(self, entry_type: str, author: bytes | None = None) -> Iterator[Any]:
        for seq, (_, _, records) in enumerate(self.blocks):
            for index, record in enumerate(records):
                if entry_type == record.TYPE:
                    assert record.time is not None
                    yield SimpleNamespace(
                        type=record.TYPE,
                        content=record.to_content(),
                        subject=record.subject,
                        time=record.time,
                        seq=seq,
                        index=index,
                    )

    def block(self, feed: bytes, seq: int) -> Any:
        wall, steady, _ = self.blocks[seq]
        return SimpleNamespace(time=wall, header=SimpleNamespace(clock=SimpleNamespace(monotonic_ms=steady)))

    def attribution(self) -> Attribution:
        return Attribution(((each.seq, each.index), each) for each in self.entries("association"))


def stamp(at: int, *, minute: bool = False) -> str:
    """As HL7 writes it."""
    text = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m%d%H%M%S.%f")[:-3]
    return text[:12] if minute else text


@dataclass(frozen=True)
class Adt:
    """A message of the ward system: what happened when, and when it was sent."""

    trigger: str
    number: str
    at: int
    sent: int
    bed: str = BED
    prior: str = ""
    minute: bool = False
    merged: str = ""
    second: tuple[str, str, str] | None = None  # of an A17: the other patient's number, bed, and bed before

    def raw(self) -> bytes:
        text = (
            f"MSH|^~\\&|ADT|HOSP|||{stamp(self.sent)}||ADT^{self.trigger}|{id(self)}|P|2.5\r"
            f"EVN|{self.trigger}|{stamp(self.sent)}||||{stamp(self.at, minute=self.minute)}\r"
            f"PID|||{self.number}^^^HOSP^MR\rPV1||I|{self.bed}|||{self.prior}\r"
        )
        if self.second:
            text += "PID|||{}^^^HOSP^MR\rPV1||I|{}|||{}\r".format(*self.second)
        return (text + (f"MRG|{self.merged}^^^HOSP^MR\r" if self.merged else "")).encode()


@dataclass(frozen=True)
class Measured:
    """What a device measured at `true`, and gives away so much later. `claim` is what it says of the time."""

    device: str
    true: int
    late: int
    claim: int | None = None
    sync: int | None = None
    waits: int = 0  # for the agent to decide


def draft(what: Measured, wall: int, instrument: Instrument) -> Any:
    """As the agent makes it: dated by how long ago it was, where the device is wired."""
    ago = wall - what.late
    if what.device == "PO batch":
        return Wired(instrument.batch(72, time=wall), (ago - 2 * SECOND, ago))
    if what.device == "PO wired":
        return Wired(Reading(device="PO", time=wall), (wall - 2 * SECOND, wall))
    reading = Reading(device=what.device, device_time=what.claim, device_sync=what.sync, time=wall)
    return Unplaced(reading, (), what.claim)


# --- what a case is told in ------------------------------------------------------------------------------------------

INSTRUMENT = Instrument("PO")
START = NINE - HOUR


def ward(*offsets: tuple[int, int]) -> Box:
    """A box whose clock is off by so much from then on."""
    return Box(Clock([(NINE - 10 * HOUR, 0), *offsets], [NINE - 10 * HOUR]))


def tell(box: Box, trigger: str, number: str, at: int, *, received: int | None = None, **more: Any) -> None:
    """A message that is sent as it happens, or as it is received."""
    box.true = at if received is None else received
    box.hear(Adt(trigger, number, at, box.true, **more).raw())


def said_by(box: Box, number: str | None, *, at: int | None = None, device: str = "MON") -> None:
    """What a person says."""
    patient = None if number is None else Patient(number, "HOSP")
    box.take(ByHand(device, patient, at, None, bytes(32), box.wall))


def whose(box: Box, true: int, *, kept: int = 0, device: str = "PO batch", **more: Any) -> str | None:
    """Whose a measurement is, when it comes in and in the end: by its number, or nobody's."""
    box.true = max(box.true, true + kept)
    (record,) = box.take(draft(Measured(device, true, box.true - true, **more), box.wall, INSTRUMENT))[:1]
    found = {SUBJECTS.subject(number, "HOSP", at): number for number in ("1", "2", "9") for at in (0, NINE)}
    return None if record.subject is None else found[record.subject]


def in_the_end(box: Box) -> list[bool]:
    """Whether each measurement is somebody's by all that stands."""
    known = box.attribution()
    entries = [each for name in ("device.batch", "reading") for each in box.entries(name)]
    return [known.whose((each.seq, each.index), each)[0] is not None for each in entries]
