"""Devices that sign for themselves, and what agents promise about them: the record types around a sensor's own key.

Rules:

- A device has an Ed25519 key of its own. `device.enrol` says whose it is; it is written by whoever answers for the
  instruments (the hospital), never by the agent that reads them. `device.retire` ends a key at a counter, not at a
  time: clocks decide nothing.
- `device.batch` is what a device measured and signed. Its signature is over the deterministic CBOR of
  `["medledger/device-batch/1", device, key, boot, counter, uptime, readings]`. A batch that its key did not sign is
  malformed, and so void for every reader: an agent can withhold a batch or say of whom it is, and cannot invent one.
- The counter is 1 for a key's first batch and one more for each, whatever happens to the device: a missing batch is a
  missing number.
- `cadence` promises an entry at least every so often, and so makes silence a fact: see findings/cadences.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from . import cbor, keys
from .errors import MedledgerError
from .limits import MAX_BATCH_READINGS, MAX_BATCH_SAMPLES, MAX_COUNTER, MAX_UPTIME_MS
from .registry import RecordBase, record
from .samples import DEVICE, SAMPLE, Sample
from .schema import Array, Bytes, Int, Map, Text, Tuple, Validator, Where

BATCH_DOMAIN: Final = "medledger/device-batch/1"
KEY: Final = Bytes(32)
UPTIME: Final = Int(0, MAX_UPTIME_MS)
SIGNED: Final = ("device", "key", "boot", "counter", "uptime", "readings")
"""The fields of a batch that its signature covers."""

BatchReadings = tuple[tuple[int, tuple[Sample, ...]], ...]
"""Each moment's uptime in milliseconds, and its samples."""


def batch_message(
    *, device: str, key: bytes, boot: bytes, counter: int, uptime: int, readings: Sequence[Sequence[Any]]
) -> bytes:
    """What a device signs. `readings` is content: `[[uptime, [sample, ...]], ...]`."""
    return cbor.encode([BATCH_DOMAIN, device, key, boot, counter, uptime, list(readings)])


def is_signed(content: Any) -> bool:
    """Whether a batch's key (32 bytes) signed its fields, whatever they hold. `content` has all of a `device.batch`."""
    message = cbor.encode([BATCH_DOMAIN, *(content[name] for name in SIGNED)])
    try:
        keys.verify(content["key"], message, content["signature"])
    except MedledgerError:
        return False
    return True


def _order_problem(content: Any) -> str | None:
    uptimes = [moment[0] for moment in content["readings"]]
    if uptimes != sorted(uptimes) or uptimes[-1] > content["uptime"]:
        return "must have its readings in their order, none later than the batch"
    return None if is_signed(content) else "must be signed by its key"


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEnrol(RecordBase):
    """A device signs with this key from now on. Whoever enrols it has seen the device.

    `first` is for one that was in use elsewhere: batches below it are not missed here. They count where they are.
    """

    TYPE: ClassVar[str] = "device.enrol"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "device": DEVICE,  # which instrument: the name that its batches carry
            "key": KEY,  # the Ed25519 key that signs them
        },
        {
            "model": Text(1, 64),  # maker and type: recalls of instruments are made by it
            "first": Int(1, MAX_COUNTER),  # the counter it begins with here, used elsewhere before; left out for 1
        },
    )

    device: str
    key: bytes
    model: str | None = None
    first: int | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRetire(RecordBase):
    """A device's key ends: its batches beyond `last` do not count. 0 for none at all."""

    TYPE: ClassVar[str] = "device.retire"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "key": KEY,
            "last": Int(0, MAX_COUNTER),  # the last counter that counts: a cut, whatever any clock says
        },
        {
            "reason": Text(1, 80),  # lost, opened, replaced
        },
    )

    key: bytes
    last: int
    reason: str | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()


@record
@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class DeviceBatch(RecordBase):
    """Readings that a device signed itself. The entry's subject and time are the agent's word, all else the device's.

    `readings` are pairs of uptime in milliseconds and samples, written as `(code, value, unit)` or as `Sample(...)`.
    Raises `SchemaError` where the signature is not the key's.
    """

    TYPE: ClassVar[str] = "device.batch"
    SCHEMA: ClassVar[Validator] = Where(
        Map(
            {
                "device": DEVICE,  # what the device calls itself; compared with its enrolment
                "key": KEY,  # whose signature it is
                "boot": Bytes(8),  # random at each start of the device: uptimes of one boot can be compared
                "counter": Int(1, MAX_COUNTER),  # 1, 2, 3, ...: a missing batch is seen
                "uptime": UPTIME,  # ms since the device started, when it sealed the batch: dates readings
                "readings": Array(Tuple(UPTIME, Array(SAMPLE, 0, MAX_BATCH_SAMPLES)), 1, MAX_BATCH_READINGS),
                "signature": Bytes(64),  # Ed25519 over `batch_message`
            }
        ),
        _order_problem,
    )

    device: str
    key: bytes
    boot: bytes
    counter: int
    uptime: int
    readings: BatchReadings
    signature: bytes
    subject: bytes | None
    time: int | None

    def __init__(
        self,
        *,
        device: str,
        key: bytes,
        boot: bytes,
        counter: int,
        uptime: int,
        readings: Iterable[tuple[int, Iterable[Sample | Sequence[Any]]]],
        signature: bytes,
        subject: bytes | None = None,
        time: int | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "device", device)
        put(self, "key", key)
        put(self, "boot", boot)
        put(self, "counter", counter)
        put(self, "uptime", uptime)
        put(self, "readings", tuple((at, tuple(map(Sample.of, samples))) for at, samples in readings))
        put(self, "signature", signature)
        put(self, "subject", subject)
        put(self, "time", time)
        self.check()

    def to_content(self) -> dict[str, Any]:
        """The content of this record's entry."""
        content = RecordBase.to_content(self)
        content["readings"] = [[at, [sample.to_content() for sample in samples]] for at, samples in self.readings]
        return content  # type: ignore[no-any-return]

    @classmethod
    def from_content(cls, content: Any, *, subject: bytes | None = None, time: int | None = None) -> Self:
        """The record that `content` describes; SchemaError when it does not conform."""
        cls.SCHEMA.check(content)
        readings = [(at, [Sample.from_content(sample) for sample in samples]) for at, samples in content["readings"]]
        return cls(**{**content, "readings": readings}, subject=subject, time=time)


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence(RecordBase):
    """The author promises an entry about this device, or without one any entry, at least every `interval` ms.

    The promise holds from this entry on, until the author's next one about the same device. Without an interval it
    ends here. `device.status` counts: to say that there is no signal keeps the promise.
    """

    TYPE: ClassVar[str] = "cadence"
    SCHEMA: ClassVar[Validator] = Map(
        {},
        {
            "device": DEVICE,  # about which device; left out, the author itself
            "interval": Int(1000, 2**40),  # ms; left out, there is no promise any more
        },
    )

    device: str | None = None
    interval: int | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()
