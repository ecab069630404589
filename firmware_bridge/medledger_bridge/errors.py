"""What can be wrong with what a device or a scanner sent. All of it is in the library's one error family."""

from __future__ import annotations

from medledger.errors import Fault, MedledgerError, UsageError


class BridgeError(MedledgerError):
    """Bytes from outside cannot be used. They are the sender's fault, and nothing was logged."""

    fault = Fault.RELAY


class MllpError(BridgeError):
    """The byte stream is not MLLP. Close the connection: what was not acknowledged is sent again.

    `messages` are the complete messages that stood before the fault in the same call.
    """

    def __init__(self, message: str, *, messages: list[bytes] | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.messages = messages or []


class MllpSizeError(MllpError):
    """A message is longer than the limit."""


class MllpGarbageError(MllpError):
    """Too many bytes outside any frame: the peer does not speak MLLP."""


class MllpStartError(MllpError):
    """A message begins before the one under way has ended."""


class MllpEndError(MllpError):
    """An end-of-block byte is not followed by a carriage return."""


class MllpTruncatedError(MllpError):
    """The stream ended inside a message."""


class Hl7Error(BridgeError):
    """Bytes that cannot be read as one HL7 v2 message."""


class ScanError(BridgeError):
    """A scan is not GS1, is damaged, or could be read in more than one way."""


class SeriesError(BridgeError):
    """A file of vital signs is not in a form that can be played."""


class LinkError(BridgeError):
    """A device on a serial line said what it may not say. It keeps what was not acknowledged, and says it again."""


class LinkBodyError(LinkError):
    """The body of a frame, whose CRC is right, is not what the frame's kind demands: the device's firmware is wrong."""


class LinkBatchError(LinkError):
    """A batch is not one that its device signed: a field does not conform, or the signature does not verify."""


class LinkRollbackError(LinkError):
    """A device's counter has gone back behind what is durable: a memory restored, or one key in two devices."""


class ExtraMissingError(UsageError):
    """An optional library is not installed; the hint says how to get it."""


class BleError(BridgeError):
    """A Bluetooth characteristic's value cannot be used; the message names the characteristic and the field."""


class BleTruncatedError(BleError):
    """A value ends before the fields that its flags announce."""


class BleTrailingError(BleError):
    """Bytes follow the last field that the flags announce."""


class BleReservedError(BleError):
    """A flag is set that its specification reserves, so that nobody can know what the bytes after it mean."""


class BleValueError(BleError):
    """A field holds a number that its specification gives no meaning."""


class BleRefusedError(BleError):
    """The device refused what it was asked for: its stored records."""
