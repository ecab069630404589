"""What the demo's monitors and its till do: the inputs in data/, sent over real sockets to the agents.

- A monitor sends a message, waits for its acknowledgement, and goes on. One of them never hears one acknowledgement and
  sends that message again.
- A till sends a scan, waits for the reply, and goes on.

`@NOW@` in a message is the time at which it is sent; `@EXP+30@` in a scan is the date in 30 days.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, Final

from medledger.decimals import format_decimal, to_exact
from medledger_bridge.hl7 import parse, readings
from medledger_bridge.mllp import Framer, wrap
from medledger_bridge.privacy import PEOPLE

from ..subjects import Subjects

MONITORS: Final = ("bed-7", "bed-8", "bed-9")
REPEATED: Final = ("bed-7", 3)  # whose message, and which one, is sent twice
PAUSE_SECONDS: Final = 0.25
SOCKET_SECONDS: Final = 10.0
SHOWN: Final = {"8867-4": "HR", "59408-5": "SpO2", "9279-1": "RR", "8310-5": "T", "8480-6": "BP"}  # by LOINC
_EXPIRY: Final = re.compile(r"@EXP([+-][0-9]+)@")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was acknowledged."""

    monitor: str
    shown: str  # for people
    name: str  # as the agent's log names it: the start of the hash that the ledger holds
    code: str  # MSA-1
    again: bool


@dataclass(frozen=True, slots=True)
class Scanned:
    """A scan that was answered."""

    what: str
    reply: dict[str, Any]


def messages(monitor: str) -> list[str]:
    """A monitor's messages, segments on lines."""
    return _data(f"{monitor}.hl7").strip().split("\n\n")


def scans() -> list[dict[str, Any]]:
    """What the till scans: `what` it is for people, and the `request`."""
    return [json.loads(line) for line in _data("scans.jsonl").splitlines()]


def identifiers() -> set[bytes]:
    """Every name, number, date and address of a patient in the inputs: none of it may be found in a replica."""
    found = set()
    for monitor in MONITORS:
        for text in messages(monitor):
            message = parse(_hl7(text))
            for segment in message.segments:
                if message.part(segment, 0) == "PID":
                    for number, component in PEOPLE["PID"].items():
                        found.update(message.leaves(segment, number, component))
    return {text.encode() for text in found if len(text) > 3}


def play_monitor(monitor: str, port: int, subjects: Subjects, done: Callable[[Sent], None]) -> None:
    """Send a monitor's messages, one after the other's acknowledgement; `subjects` is of the box that takes them."""
    with socket.create_connection(("127.0.0.1", port), SOCKET_SECONDS) as connection:
        replies = _replies(connection)
        for number, text in enumerate(messages(monitor), 1):
            raw = _hl7(text)
            for again in (False, True) if (monitor, number) == REPEATED else (False,):
                connection.sendall(wrap(raw))
                code = next(replies)
                done(Sent(monitor, _shown(raw), subjects.name(raw).hash.hex()[:16], code, again))
            time.sleep(PAUSE_SECONDS)


def play_till(port: int, pause: float, done: Callable[[Scanned], None]) -> None:
    """Send the till's scans, one after the other's reply."""
    with (
        socket.create_connection(("127.0.0.1", port), SOCKET_SECONDS) as connection,
        connection.makefile("rb") as replies,
    ):
        for scan in scans():
            time.sleep(pause)
            request = dict(scan["request"])
            request["scan"] = _EXPIRY.sub(_date, request["scan"])
            connection.sendall(json.dumps(request).encode() + b"\n")
            done(Scanned(scan["what"], json.loads(replies.readline())))


def _data(name: str) -> str:
    return (files("medledger_agents.demo") / "data" / name).read_text(encoding="utf-8")


def _hl7(text: str) -> bytes:
    """As a monitor sends it: the time filled in, segments ended by carriage returns."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")
    return (text.replace("@NOW@", now).replace("\n", "\r") + "\r").encode()


def _date(match: re.Match[str]) -> str:
    return (datetime.now().astimezone() + timedelta(days=int(match[1]))).strftime("%y%m%d")


def _replies(connection: socket.socket) -> Iterator[str]:
    """MSA-1 of each acknowledgement."""
    framer = Framer()
    while data := connection.recv(65536):
        for reply in framer.feed(data):
            message = parse(reply)
            yield from (message.part(segment, 1) for segment in message.segments if message.part(segment, 0) == "MSA")
    raise ConnectionError("the bedside agent closed the connection")


def _shown(raw: bytes) -> str:
    """A message in a few words."""
    message = parse(raw)
    words = []
    for reading in readings(message):
        words += ["ALARM"] if reading.alarm else []
        for sample in reading.samples:
            name = SHOWN.get(sample.code or "")
            if name and sample.value is not None:
                words.append(f"{name} {format_decimal(to_exact(sample.value))}")
            elif name:
                words.append(f"{name} impossible")
    patient = any(message.part(segment, 0) == "PID" for segment in message.segments)
    return "  ".join(words if patient else [*words, "(no patient)"])
