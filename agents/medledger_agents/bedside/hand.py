"""What a person says about who is at a device: a message of our own, sent to the running agent through its own socket.

    MSH|^~\\&|medledger|by hand|||TIME||ZML^Z01|ID|P|2.6
    PID|||NUMBER^^^ISSUER^MR
    ZML|DEVICE|FROM|UNTIL

It goes the way of every message: kept in the inbox, logged with its hash, acknowledged when that is on the disk.

- With a patient, the patient is at the device from FROM on, or from now; without PID nobody is.
- With UNTIL, the patient was at the device between the two: this gives readings in quarantine to the patient.
- Times are of the form 20260131120000.000+0000. The socket is a file that only its owner can use.
"""

from __future__ import annotations

import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from medledger.errors import TransportError, UsageError
from medledger_bridge.hl7 import Hl7Error, Message, parse
from medledger_bridge.mllp import Framer, wrap

from .patients import Patient, patient_of
from .ward import ByHand

TYPE: Final = "ZML"
SOCKET_NAME: Final = "bedside.sock"
SOCKET_SECONDS: Final = 30.0


def read(message: Message, received: int, issuer: str) -> ByHand:
    """What such a message says. Raises `Hl7Error`."""
    segment = next((each for each in message.segments if message.part(each, 0) == TYPE), None)
    device = "" if segment is None else message.part(segment, 1)
    if segment is None or not device or len(device) > 64 or not device.isprintable():
        raise Hl7Error("ZML-1 does not name a device")
    times = []
    for field in (2, 3):
        text = message.part(segment, field)
        times.append(message.time(text) if text else None)
        if text and times[-1] is None:
            raise Hl7Error("ZML-2 or ZML-3 is not a time with a zone")
    at, until = times
    patient = patient_of(message, issuer)
    if until is not None and (at is None or patient is None or not at < until <= received):
        raise Hl7Error("what was needs a patient, a beginning, and an end after it that has passed")
    return ByHand(device, patient, at, until, message.raw_hash, received)


def write(device: str, patient: Patient | None, at: int | None = None, until: int | None = None) -> bytes:
    """Such a message. Raises `UsageError` for text that cannot stand in one."""
    for text in (device, *(patient or ())):
        if not text.isprintable() or set(text) & set("|^~\\&"):
            raise UsageError(f"{text!r} cannot stand in a message", hint="Leave out | ^ ~ \\ & and line breaks.")
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    lines = [f"MSH|^~\\&|medledger|by hand|||{now}||{TYPE}^Z01|{uuid.uuid4().hex}|P|2.6|||||||UNICODE UTF-8"]
    if patient is not None:
        lines.append(f"PID|||{patient.number}^^^{patient.issuer}^MR")
    lines.append(f"{TYPE}|{device}|{_time(at)}|{_time(until)}")
    return ("\r".join(lines) + "\r").encode()


def _time(at: int | None) -> str:
    if at is None:
        return ""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m%d%H%M%S.%f")[:-3] + "+0000"


def tell(path: Path, message: bytes) -> None:
    """Send it to the running agent and wait until it is durable. Raises `TransportError`, `UsageError` if refused."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SOCKET_SECONDS)
            connection.connect(str(path))
            connection.sendall(wrap(message))
            framer, replies = Framer(), list[bytes]()
            while not replies:
                data = connection.recv(65536)
                if not data:
                    raise TransportError("the agent hung up before it answered", hint="Look at its log.")
                replies = framer.feed(data)
    except OSError as error:
        raise TransportError(
            f"the agent cannot be reached through {path}: {error}", hint="Is the bedside agent of this box running?"
        ) from error
    reply = parse(replies[0])
    (msa,) = [segment for segment in reply.segments if reply.part(segment, 0) == "MSA"]
    if reply.part(msa, 1) != "AA":
        raise UsageError(f"the agent refused: {reply.part(msa, 3)}")
