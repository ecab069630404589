"""`medledger agent play`: a recorded series as a monitor that speaks MLLP, for those who have no device at hand.

Rules:

- One message at a time: the next is sent when the last was accepted (MSA-1 AA, MSA-2 the message's own id), and not
  before it is due. A receiver that is slow makes the monitor late, and never makes it skip.
- A connection that ends is made again and the same bytes are sent again, for as long as PATIENCE_SECONDS: a receiver
  that has them already accepts them and logs nothing twice.
- A message that is refused (AE, AR) ends the playing with the receiver's reason.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from medledger.errors import Fault, MedledgerError

PATIENCE_SECONDS: Final = 30.0
"""How long a receiver may be away before the playing ends."""

PAUSE_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 10.0
PORT: Final = 2575  # registered for HL7

Address = tuple[str, int]


class PlayError(MedledgerError):
    """The receiver cannot be reached, or refuses what is played."""

    fault = Fault.NOBODY


@dataclass(slots=True)
class Played:
    """What became of the rows."""

    accepted: int = 0
    empty: int = 0
    resent: int = 0

    def __str__(self) -> str:
        parts = [f"{self.accepted} messages accepted"]
        parts += [f"{self.empty} rows without a figure"] * bool(self.empty)
        parts += [f"{self.resent} sent again after a lost connection"] * bool(self.resent)
        return ", ".join(parts)


class Sender:
    """A monitor's side of MLLP. Use as a context manager."""

    def __init__(self, address: Address, *, patience: float = PATIENCE_SECONDS) -> None:
        self._address = address
        self._patience = patience
        self._socket: socket.socket | None = None
        self.resent = 0

    def deliver(self, message: bytes, message_id: str) -> None:
        """Returns when the message was accepted. Raises PlayError."""
        give_up = time.monotonic() + self._patience
        in_doubt = False
        while True:
            try:
                connection = self._connected()
                self.resent += in_doubt
                in_doubt = True
                return _ask(connection, message, message_id)
            except OSError as error:
                self.close()
                if time.monotonic() + PAUSE_SECONDS > give_up:
                    host, port = self._address
                    raise PlayError(
                        f"nobody at {host}:{port} accepts messages: {error.strerror or error}",
                        hint="Start the bedside agent first, and give the port of its [mllp] section.",
                    ) from error
                time.sleep(PAUSE_SECONDS)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=ANSWER_SECONDS)
        return self._socket

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ask(connection: socket.socket, message: bytes, message_id: str) -> None:
    from medledger_bridge.hl7 import parse
    from medledger_bridge.mllp import Framer, wrap

    connection.sendall(wrap(message))
    framer, replies = Framer(), list[bytes]()
    while not replies:
        data = connection.recv(65536)
        if not data:
            raise ConnectionResetError("the connection was closed before an acknowledgement")
        replies = framer.feed(data)
    reply = parse(replies[0])
    answers = [segment for segment in reply.segments if reply.part(segment, 0) == "MSA"]
    code, about, reason = (reply.part(answers[0], place) for place in (1, 2, 3)) if answers else ("", "", "")
    if len(replies) > 1 or about != message_id:
        raise PlayError(f"the receiver acknowledged {about!r} where {message_id!r} was sent")
    if code != "AA":
        raise PlayError(
            f"the receiver refused a message ({code}): {reason or 'it gave no reason'}",
            hint="Look at the receiver (medledger agent status) and its log, mend what is wrong, and play it again.",
        )


def play_to(
    lines: Iterable[str],
    *,
    device: str,
    speed: float,
    sender: Sender,
    patient: str | None = None,
    issuer: str | None = None,
    start: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Played:
    """Play a series to a receiver. `start` is the UTC ms at which it is said to begin (default: now)."""
    from medledger_bridge.player import schedule

    began, monotonic, played = _now() if start is None else start, time.monotonic(), Played()
    for number, due in enumerate(schedule(lines, device=device, speed=speed), 1):
        message = due.message(began, number, patient=patient, issuer=issuer)
        if message is None:
            played.empty += 1
            continue
        _wait(monotonic, due.after, sleep)
        sender.deliver(message, f"{began}-{number}")
        played.accepted += 1
    played.resent = sender.resent
    return played


def show(lines: Iterable[str], *, device: str, speed: float, echo: Callable[[str], None]) -> None:
    """Play a series to a screen: a line for each reading, when it is due."""
    from medledger_bridge.player import schedule

    began, monotonic = _now(), time.monotonic()
    for due in schedule(lines, device=device, speed=speed):
        _wait(monotonic, due.after, time.sleep)
        moment = datetime.fromtimestamp((began + due.after) / 1000, UTC)
        echo(f"{moment:%H:%M:%S}  {device}: {', '.join(map(str, due.reading.samples)) or '(nothing)'}")


def _wait(monotonic: float, after: int, sleep: Callable[[float], None]) -> None:
    left = monotonic + after / 1000 - time.monotonic()
    if left > 0:
        sleep(left)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _address(context: click.Context, parameter: click.Parameter, text: str | None) -> Address | None:
    if text is None:
        return None
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:  # a port that is no number
        host, port, url = None, None, urlsplit("")
    if url.scheme != "mllp" or not host or url.path.strip("/"):
        raise click.BadParameter("must be like mllp://127.0.0.1:2575", context, parameter)
    return host, port or PORT


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--device", required=True, metavar="NAME", help="The name of the monitor that is played, such as MON-7.")
@click.option(
    "--to", "to", metavar="URL", callback=_address, help="Where the bedside agent listens (mllp://HOST:PORT)."
)
@click.option("--speed", type=float, default=1.0, show_default=True, help="60 plays a minute in a second.")
@click.option("--patient", metavar="NUMBER", help="A made-up record number that the messages name.")
@click.option("--issuer", metavar="NAME", help="Who gave that number out (PID-3.4), as the ward system names it.")
def play(file: Path, device: str, to: Address | None, speed: float, patient: str | None, issuer: str | None) -> None:
    """Play a recorded series of vital signs as if its monitor stood here.

    FILE is CSV: a column t_seconds, then columns such as 'HR [bpm]' and 'SpO2 [%]'. With --to each row is an HL7
    message that waits for its acknowledgement; without it the readings are shown. What is played is logged like what is
    measured: play into a ledger for trying things out.

    \b
    Example: medledger agent play vitals.csv --device MON-7 --to mllp://127.0.0.1:2575 --speed 60
    """
    if issuer is not None and patient is None:
        raise click.UsageError("--issuer says who gave out --patient, which is missing.")
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        if to is None:
            show(lines, device=device, speed=speed, echo=click.echo)
            return
        with Sender(to) as sender:
            played = play_to(lines, device=device, speed=speed, sender=sender, patient=patient, issuer=issuer)
            click.echo(str(played))
