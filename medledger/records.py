"""The record types of the ledger: readings, device states, associations; and, from devices.py, devices that sign for
themselves; from supplies.py, prescribing, stock and dispensing; from acts.py, governance.

Rules:

- A record that breaks its schema cannot be made: the constructor raises SchemaError.
- A field that has nothing to say is left out of the content, never null, so that one fact has one encoding. (The
  membership acts write null where their format says so.)
- Nothing here can hold a name, birth date, address or record number. The free text fields are few, short, and about
  devices, stock and decisions.
- Each persisted field says at its declaration in the schema why it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from .acts import GovApprove, GovEnrol, GovEpoch, GovRevoke, GovTransport
from .decimals import Exact, as_decimal, format_decimal, parse_decimal
from .devices import KEY, Cadence, DeviceBatch, DeviceEnrol, DeviceRetire, batch_message, is_signed
from .limits import MAX_COUNTER
from .registry import Record, RecordBase, lookup, record, register, registered
from .samples import DEVICE, RESULT_STATUS, SAMPLE, Sample, is_loinc
from .schema import Array, Bytes, Int, Map, OneOf, Text, Validator
from .supplies import Dispense, DispenseReturn, Prescription, Recall, Stock, check_gtin, witness_message

__all__ = [
    "RESULT_STATUS",
    "Association",
    "Cadence",
    "DeviceBatch",
    "DeviceEnrol",
    "DeviceRetire",
    "DeviceStatus",
    "Dispense",
    "DispenseReturn",
    "Exact",
    "GovApprove",
    "GovEnrol",
    "GovEpoch",
    "GovRevoke",
    "GovTransport",
    "Prescription",
    "Reading",
    "Recall",
    "Record",
    "Sample",
    "Stock",
    "as_decimal",
    "batch_message",
    "check_gtin",
    "format_decimal",
    "is_loinc",
    "is_signed",
    "lookup",
    "parse_decimal",
    "register",
    "registered",
    "witness_message",
]

HASH: Final = Bytes(32)

# --- readings -----------------------------------------------------------------------------------------------------

QUARANTINE: Final = ("unassociated", "uncertain", "after-discharge", "conflict")


@record
@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Reading(RecordBase):
    """What a device measured at one moment. Samples are written as `(code, value, unit)` or as `Sample(...)`."""

    TYPE: ClassVar[str] = "reading"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "device": DEVICE,  # which instrument said so: recalls and calibration errors are found by it
            "samples": Array(SAMPLE, 0, 256),  # what it said; empty only for an alarm or a lost signal
        },
        {
            "device_time": Int(),  # the device's claim, UTC ms; left out when it gave none or no time zone
            "device_sync": Int(0, 2**32 - 1),  # MDC code of what sets the device's clock: how far to believe the claim
            "quality": OneOf(("live", "stale", "lost")),  # whether the signal stood: no value differs from no signal
            "alarm": Text(1, 80),  # the alarm's name or code as the device raised it: why this was logged at once
            "raw": HASH,  # SHA-256 of salt and message as received: ties the reading to what the agent keeps of it
            "quarantine": OneOf(QUARANTINE),  # why it is nobody's: kept, and given to nobody by guessing
        },
    )

    device: str
    samples: tuple[Sample, ...]
    device_time: int | None
    device_sync: int | None
    quality: str | None
    alarm: str | None
    raw: bytes | None
    quarantine: str | None
    subject: bytes | None
    time: int | None
    encoded: bytes = field(init=False, repr=False, compare=False)  # the content: checking it was encoding it

    def __init__(
        self,
        *,
        device: str,
        samples: Iterable[Sample | Sequence[Any]] = (),
        device_time: int | None = None,
        device_sync: int | None = None,
        quality: str | None = None,
        alarm: str | None = None,
        raw: bytes | None = None,
        quarantine: str | None = None,
        subject: bytes | None = None,
        time: int | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "device", device)
        put(self, "samples", tuple(map(Sample.of, samples)))
        put(self, "device_time", device_time)
        put(self, "device_sync", device_sync)
        put(self, "quality", quality)
        put(self, "alarm", alarm)
        put(self, "raw", raw)
        put(self, "quarantine", quarantine)
        put(self, "subject", subject)
        put(self, "time", time)
        put(self, "encoded", self.check())

    def to_content(self) -> dict[str, Any]:
        """The content of this record's entry."""
        content = RecordBase.to_content(self)
        content["samples"] = [sample.to_content() for sample in self.samples]
        return content  # type: ignore[no-any-return]

    @classmethod
    def from_content(cls, content: Any, *, subject: bytes | None = None, time: int | None = None) -> Self:
        """The record that `content` describes; SchemaError when it does not conform."""
        cls.SCHEMA.check(content)
        samples = [Sample.from_content(sample) for sample in content["samples"]]
        return cls(**{**content, "samples": samples}, subject=subject, time=time)


DEVICE_STATES: Final = ("live", "stale", "lost", "on", "off", "standby", "fault")


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus(RecordBase):
    """A device's state changed: signal lost, standby, new firmware, another configuration, a calibration."""

    TYPE: ClassVar[str] = "device.status"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "device": DEVICE,
            "state": OneOf(DEVICE_STATES),  # why there may be no readings from now on
        },
        {
            "firmware": Text(1, 64),  # readings before and after an update may have to be judged apart
            "config": HASH,  # SHA-256 of the configuration in force: shows a change without showing its content
            "calibrated": Int(),  # UTC ms of the last calibration
            "detail": Text(1, 80),  # the device's own error text or code
            "key": KEY,  # with the two below: of a batch that was signed and that no `device.batch` can hold
            "counter": Int(1, MAX_COUNTER),  # its number, which is therefore not missing
            "raw": HASH,  # SHA-256 of what the agent keeps of it, which holds its bytes as they came
        },
    )

    device: str
    state: str
    firmware: str | None = None
    config: bytes | None = None
    calibrated: int | None = None
    detail: str | None = None
    key: bytes | None = None
    counter: int | None = None
    raw: bytes | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()


MOVES: Final = ("admit", "transfer", "discharge", "merge", "manual", "replaced", "cancel")


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class Association(RecordBase):
    """A device begins or ends to measure the entry's subject. A reading outside such an interval belongs to nobody."""

    TYPE: ClassVar[str] = "association"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "device": DEVICE,
            "action": OneOf(("begin", "end")),
        },
        {
            "at": Int(),  # UTC ms from which it holds, when that is not the entry's time (an ADT that came late)
            "location": Text(1, 64),  # ward and bed of the device: finds the device, and shows a wrong plug
            "reason": OneOf(MOVES),  # who moved and why
            "raw": HASH,  # the message that said so (ADT), as in `reading`
            "sent": Int(),  # UTC ms by the clock that `at` is of, when it was told: whether `at` was still to come
        },
    )

    device: str
    action: str
    at: int | None = None
    location: str | None = None
    reason: str | None = None
    raw: bytes | None = None
    sent: int | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()
