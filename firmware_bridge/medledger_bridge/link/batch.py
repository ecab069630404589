"""The batch that a device signs, in the body of a frame.

The checks, in order: (1) the body is deterministic CBOR, (2) it is `[oldest, age, batch]` with as many fields as a
batch has, (3) the fields conform to the ledger's record type `device.batch`, signature included, (4) `oldest` and `age`
can be those of this batch. That the key is the enrolled one is not known here: the ledger's verifier checks it.

A batch that fails in (3) alone, and not by its signature, is an `UnfitBatch`: its key, its name and its counter are the
device's own word, so that it can be kept as it came, told from a missing one, and acknowledged.

The age is what the device, or whoever holds the line, says: the signature does not cover it, and it is in no entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from medledger import cbor
from medledger.errors import SchemaError
from medledger.limits import MAX_UPTIME_MS
from medledger.records import DeviceBatch, is_signed

from ..errors import LinkBatchError, LinkBodyError
from .messages import KEY_BYTES, fields_of, number, octets, text

SIGNATURE_BYTES: Final = 64
FIELDS: Final = ("device", "key", "boot", "counter", "uptime", "readings", "signature")
"""The places of a batch on the line, by their names on the ledger."""


@dataclass(frozen=True, slots=True)
class SignedBatch:
    """What a device signed, whole, as the ledger keeps it. It conforms, and its signature verifies.

    `age` is beside it, and changes with every transmission: two are the same batch whatever their ages.
    """

    device: str
    key: bytes
    boot: bytes
    counter: int
    uptime: int
    readings: list[Any]  # [uptime ms, samples], samples as on the ledger
    signature: bytes
    age: int | None = field(default=0, compare=False)  # ms from the sealing to the transmission; None: not known

    def content(self) -> dict[str, Any]:
        """The content of its entry."""
        return {name: getattr(self, name) for name in FIELDS}

    def to_record(self, *, subject: bytes | None = None, time: int | None = None) -> DeviceBatch:
        """The record to append. `subject` and `time`, the time of receipt in UTC ms, are the agent's word."""
        return DeviceBatch.from_content(self.content(), subject=subject, time=time)


@dataclass(frozen=True, slots=True)
class UnfitBatch:
    """What a device signed and no entry can hold: its signature verifies, and another field does not conform."""

    device: str
    key: bytes
    counter: int
    signature: bytes
    body: bytes  # the batch as it came: an array of FIELDS in deterministic CBOR
    problem: str  # which field, and what it must be; without its value


def encode(oldest: int, batch: SignedBatch) -> bytes:
    """The body of BATCH. `oldest` is the lowest counter that the device still keeps."""
    return cbor.encode([oldest, batch.age, [getattr(batch, name) for name in FIELDS]])


def decode(data: bytes) -> tuple[int, SignedBatch | UnfitBatch]:
    """The lowest counter kept, and the batch, in the body of BATCH. Raises LinkBodyError and LinkBatchError."""
    oldest, age, fields = fields_of("BATCH", data, 3)
    number("oldest", oldest, 1)
    if age is not None:
        number("age", age)
    if type(fields) is not list or len(fields) != len(FIELDS):
        raise LinkBodyError(f"a batch is not an array of {len(FIELDS)}")
    content = dict(zip(FIELDS, fields, strict=True))
    batch = _batch(content, age)
    if isinstance(batch, SignedBatch) and age is not None and age > MAX_UPTIME_MS - batch.uptime:
        raise LinkBodyError("a batch is older than any device runs")
    if oldest > batch.counter:
        raise LinkBodyError("the oldest batch kept has a higher counter than this one")
    return oldest, batch


def _batch(content: dict[str, Any], age: int | None) -> SignedBatch | UnfitBatch:
    try:
        DeviceBatch.SCHEMA.check(content)
    except SchemaError as error:
        return _unfit(content, error)
    return SignedBatch(**content, age=age)


def _unfit(content: dict[str, Any], error: SchemaError) -> UnfitBatch:
    """The batch, where it is known whose it is and which. Raises LinkBatchError."""
    try:
        text("device", content["device"])
        octets("key", content["key"], KEY_BYTES)
        number("counter", content["counter"], 1)
        octets("signature", content["signature"], SIGNATURE_BYTES)
    except LinkBodyError as unknown:
        raise LinkBatchError(f"a batch is refused: {unknown}") from error
    if not is_signed(content):
        raise LinkBatchError("a batch is refused: its key did not sign it") from error
    body = cbor.encode(list(content.values()))
    problem = str(error).partition(": ")[0]  # what may follow is a name that the device gave a field
    return UnfitBatch(content["device"], content["key"], content["counter"], content["signature"], body, problem)
