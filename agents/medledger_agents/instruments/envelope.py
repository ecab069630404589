"""What the inbox keeps of an instrument's value: the bytes as they came, and the records that the driver made of them.

Drivers have a memory (half a frame, a meter's facts), so that bytes alone may not give the same records after a crash:
both are kept, and the records of a value that was stored and not logged are read from here.

The form is `MAGIC` and the deterministic CBOR of `[device, channel, at, bytes, [[type, content], ...], measured]`: `at`
is the UTC ms of receipt, `measured` the [first, last] UTC ms between which it was measured, or null. No HL7 message
begins with that magic. A reading names by `raw` the hash of the whole, which holds the bytes of the device.

A batch that a device signed is the same wherever and whenever it comes in, and so is a meter's record. They are kept
with an `at` of 0 and without `measured`: the hash is the same each time, and a batch's can be made from its entry.

Of a batch that no entry can hold, the bytes are the batch as it came, and what is logged is a `device.status` that
names the hash of the whole. Nobody can guess what it is of, for the bytes hold the device's signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from medledger import cbor
from medledger.errors import MalformedError, MedledgerError
from medledger.limits import MAX_ENTRY_BYTES
from medledger.records import DeviceBatch, DeviceStatus, Reading, Record
from medledger_bridge.link.batch import UnfitBatch

MAGIC: Final = b"MLI1"
MAX_BYTES: Final = 64 * MAX_ENTRY_BYTES
MAX_DETAIL: Final = 80

Measured = Reading | DeviceBatch | DeviceStatus
Span = tuple[int, int]
"""Between which UTC ms something was measured."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A value of an instrument, and what it says."""

    records: tuple[Measured, ...]
    span: Span | None
    raw: bytes


def of_values(device: str, channel: str, at: int, data: bytes, records: Sequence[Record], span: Span | None) -> Taken:
    """What is kept and logged of bytes that a driver has read. Raises a `MedledgerError`.

    Without a span it may be stored, and is kept as what comes in at any time.
    """
    for record in records:
        if not isinstance(record, Reading):
            raise MalformedError(f"a driver made a {record.TYPE}: only readings are logged of its device")
    content = [["reading", record.to_content()] for record in records]
    received, measured = (0, None) if span is None else (at, list(span))
    raw = MAGIC + cbor.encode([device, channel, received, data, content, measured])
    return opened(raw, at)


def of_batch(batch: DeviceBatch, at: int, span: Span | None) -> Taken:
    """What is kept and logged of a batch that a device signed."""
    return Taken((replace(batch, time=at),), span, _batch_bytes(batch.to_content()))


def of_unfit(batch: UnfitBatch, at: int) -> Taken:
    """What is kept of a batch that no entry can hold, and what is logged of that."""
    detail = f"batch {batch.counter}: {batch.problem}"[:MAX_DETAIL]
    status = DeviceStatus(device=batch.device, state="fault", detail=detail, key=batch.key, counter=batch.counter)
    content = [[DeviceStatus.TYPE, status.to_content()]]
    return opened(MAGIC + cbor.encode([batch.device, "", 0, batch.body, content, None]), at)


def is_unfit(raw: bytes) -> bool:
    """Whether this was kept of a batch that no entry can hold: of one that stands in its entry, no bytes are needed."""
    if not raw.startswith(MAGIC):
        return False
    try:
        _, _, _, data, _, _ = cbor.decode(raw.removeprefix(MAGIC), max_size=MAX_BYTES)
    except (MedledgerError, TypeError, ValueError):
        return True  # by newer software, or damaged: nobody knows what would be lost
    return bool(data)


def batch_hash(content: Any) -> bytes:
    """The hash under which a batch with that content was kept."""
    return sha256(_batch_bytes(content)).digest()


def _batch_bytes(content: Any) -> bytes:
    return MAGIC + cbor.encode([content["device"], "", 0, b"", [[DeviceBatch.TYPE, content]], None])


def opened(raw: bytes, at: int) -> Taken:
    """What was kept, received at that time (UTC ms). Raises a `MedledgerError`."""
    document = cbor.decode(raw.removeprefix(MAGIC), max_size=MAX_BYTES)
    digest = sha256(raw).digest()
    try:
        _, _, _, _, contents, span = document
        records = tuple(_record(name, content, at, digest) for name, content in contents)
        return Taken(records, None if span is None else (span[0], span[1]), raw)
    except (TypeError, ValueError, LookupError) as error:
        raise MalformedError("what was kept of an instrument's value is not in its form") from error


def _record(name: str, content: Any, at: int, digest: bytes) -> Measured:
    try:
        if name == DeviceBatch.TYPE:
            return replace(DeviceBatch.from_content(content), time=at)
        found = (DeviceStatus if name == DeviceStatus.TYPE else Reading).from_content(content)
        return replace(found, time=at, raw=digest)
    except MedledgerError as error:
        raise MalformedError(f"a {name} that was kept cannot be read: {error}") from error
