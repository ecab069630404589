"""What the frames say: hello, batch, status of the host, by kind.

Rules:

- Kinds 0x01 to 0x3f are the device's, 0x41 to 0x7f the host's; an end that reads a kind of its own hears an echo.
- Each body is an array of a fixed length, in the ledger's deterministic CBOR (medledger.cbor), so that what a device
  signs has the same bytes on the line. A field of another type or size makes the whole message malformed.
- Nothing here is signed: a hello is a claim, and what proves a batch is the batch's own signature.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Final, Self

from medledger import cbor
from medledger.errors import MalformedError, UsageError
from medledger.limits import MAX_COUNTER

from ..errors import LinkBodyError
from .frames import MAX_BODY_BYTES

HELLO: Final = 0x01
BATCH: Final = 0x02
ACK: Final = 0x41
ERROR: Final = 0x42
ASK: Final = 0x43

HOST_KINDS: Final = range(0x41, 0x80)

BOOT_BYTES: Final = 8
KEY_BYTES: Final = 32
MAX_TEXT_CHARS: Final = 64
MAX_SEQUENCE: Final = 0xFFFF

REASONS: Final = {
    "version": "the frame's version is not known here",
    "kind": "the frame's kind is not known here",
    "body": "the body is not what its kind demands",
    "key": "the batch names another device or key than the hello",
    "batch": "the signature of the batch does not verify, or it has no number",
    "order": "a batch before this one is missing on the line: go back to the counter given",
    "refused": "the host does not take batches of this device",
    "rolled-back": "the device's counter lies behind what is durable",
}
"""Why the host refuses a frame: the third field of ERROR."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the device says it is, and how it is. `next` is the counter of the batch that it will seal next."""

    device: str
    key: bytes
    boot: bytes
    next: int
    oldest: int  # lowest counter that is still kept; `next` when none is
    dropped: int  # batches that the full ring pushed out unacknowledged since this boot
    model: str
    firmware: str
    calibrated: int | None = None  # UTC ms

    def encode(self) -> bytes:
        """The body of HELLO."""
        return cbor.encode(list(astuple(self)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The message in a body."""
        device, key, boot, following, oldest, dropped, model, firmware, calibrated = fields_of("HELLO", data, 9)
        text("device", device)
        octets("key", key, KEY_BYTES)
        octets("boot", boot, BOOT_BYTES)
        number("next", following, 1, most=MAX_COUNTER + 1)  # one more when the device has used up the last
        number("oldest", oldest, 1, most=MAX_COUNTER + 1)
        number("dropped", dropped)
        text("model", model)
        text("firmware", firmware)
        if calibrated is not None:
            number("calibrated", calibrated)
        if oldest > following:
            raise LinkBodyError("the oldest batch kept has a higher counter than the next one")
        return cls(device, key, boot, following, oldest, dropped, model, firmware, calibrated)


@dataclass(frozen=True, slots=True)
class Ack:
    """Every batch up to `counter` is durable. For the boot that the host last heard of, and for no other."""

    boot: bytes
    counter: int

    def encode(self) -> bytes:
        """The body of ACK."""
        return cbor.encode([self.boot, self.counter])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The message in a body."""
        boot, counter = fields_of("ACK", data, 2)
        octets("boot", boot, BOOT_BYTES)
        number("counter", counter)
        return cls(boot, counter)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The host refuses a frame, or asks for an earlier batch; `counter` is the batch that it expects next."""

    sequence: int  # of the frame that is refused
    reason: str
    counter: int  # 0: none

    def encode(self) -> bytes:
        """The body of ERROR."""
        if self.reason not in REASONS:
            raise UsageError(f"there is no reason {self.reason!r} of a refusal")
        return cbor.encode([self.sequence, self.reason, self.counter])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The message in a body. A reason that is not known here is kept: a newer host may have one more."""
        sequence, reason, counter = fields_of("ERROR", data, 3)
        number("sequence", sequence, most=MAX_SEQUENCE)
        text("reason", reason)
        number("counter", counter)
        return cls(sequence, reason, counter)


EMPTY: Final = cbor.encode([])
"""The body of ASK."""


def fields_of(name: str, data: bytes, count: int) -> list[Any]:
    """The fields of a body, an array of so many; LinkBodyError otherwise."""
    try:
        value = cbor.decode(data, max_size=MAX_BODY_BYTES)
    except MalformedError as error:
        raise LinkBodyError(f"the body of {name} is refused: {error}") from error
    if type(value) is not list or len(value) != count:
        raise LinkBodyError(f"the body of {name} is not an array of {count}")
    return value


def number(name: str, value: Any, least: int = 0, most: int = MAX_COUNTER) -> None:
    """Nothing when `value` is an integer from `least` to `most`; LinkBodyError otherwise."""
    if type(value) is not int or not least <= value <= most:
        raise LinkBodyError(f"{name} is not an integer from {least} to {most}")


def octets(name: str, value: Any, size: int) -> None:
    """Nothing when `value` is a byte string of `size`; LinkBodyError otherwise."""
    if type(value) is not bytes or len(value) != size:
        raise LinkBodyError(f"{name} is not a byte string of {size}")


def text(name: str, value: Any) -> None:
    """Nothing when `value` is text of 1 to 64 characters that print; LinkBodyError otherwise.

    It is shown to people, in a log and on a terminal: a line must not write there what it likes.
    """
    if type(value) is not str or not 1 <= len(value) <= MAX_TEXT_CHARS or not value.isprintable():
        raise LinkBodyError(f"{name} is not text of 1 to {MAX_TEXT_CHARS} characters that print")
