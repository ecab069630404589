"""What a person says about who is at a device: a message of our own, sent to the running agent through its own socket.

    MSH|^~\\&|medledger|by hand|||TIME||ZML^Z01|ID|P|2.6
    PID|||NUMBER^^^ISSUER^MR
    ZML|DEVICE|FROM|UNTIL

It goes the way of every message: kept in the inbox, logged with its hash, acknowledged when that is on the disk.

- With a patient, the patient is at the device from FROM on, or from now; without PID nobody is.
- With UNTIL, the patient was at the device between the two: this gives readings in quarantine to the patient.
- ZML^Z02, with HOURS in ZML-1, asks for what is in quarantine: the reply has a ZQR segment for each run of readings
  (DEVICE, REASON, FIRST, LAST, COUNT, TAKEN BACK). Nothing is kept of it.
- Times are of the form 20260131120000.000+0000. The socket is a file that only its owner can use.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from medledger.errors import TransportError, UsageError
from medledger_bridge.hl7 import Hl7Error, Message, parse
from medledger_bridge.mllp import Framer, wrap

from .patients import Patient, patient_of
from .quarantine import Run
from .ward import ByHand

TYPE: Final = "ZML"
ASK: Final = "Z02"
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
    lines = [f"MSH|^~\\&|medledger|by hand|||{_now()}||{TYPE}^Z01|{uuid.uuid4().hex}|P|2.6|||||||UNICODE UTF-8"]
    if patient is not None:
        lines.append(f"PID|||{patient.number}^^^{patient.issuer}^MR")
    lines.append(f"{TYPE}|{device}|{_time(at)}|{_time(until)}")
    return ("\r".join(lines) + "\r").encode()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")


def _time(at: int | None) -> str:
    if at is None:
        return ""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y%m%d%H%M%S.%f")[:-3] + "+0000"


def question(hours: int) -> bytes:
    """Asks for what is in quarantine."""
    return f"MSH|^~\\&|medledger|by hand|||{_now()}||{TYPE}^{ASK}|{uuid.uuid4().hex}|P|2.6\r{TYPE}|{hours}\r".encode()


def asked(message: Message) -> int | None:
    """How many hours back a question asks; None where the message is none."""
    if message.type != TYPE or message.trigger != ASK:
        return None
    text = next((message.part(each, 1) for each in message.segments if message.part(each, 0) == TYPE), "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 24


def answer(found: Iterable[Run]) -> bytes:
    """The segments of a reply."""
    return "".join(
        f"ZQR|{run.device}|{run.reason}|{_time(run.first)}|{_time(run.last)}|{run.count}|{run.taken_back}\r"
        for run in found
    ).encode()


def answered(reply: Message) -> list[Run]:
    """What a reply says."""
    found = []
    for segment in reply.segments:
        if reply.part(segment, 0) == "ZQR":
            device, reason, first, last, count, back = (reply.part(segment, field) for field in range(1, 7))
            found.append(Run(device, reason, reply.time(first) or 0, reply.time(last) or 0, int(count), int(back)))
    return found


def tell(path: Path, message: bytes) -> Message:
    """Send it to the running agent and wait until it is durable; the agent's reply.

    Raises `TransportError`, and `UsageError` where the agent refuses.
    """
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
    if reply.part(msa, 2) != parse(message).message_id:
        raise TransportError("the agent acknowledged another message", hint="Say it again: twice does no harm.")
    if reply.part(msa, 1) != "AA":
        raise UsageError(f"the agent refused: {reply.part(msa, 3)}")
    return reply
