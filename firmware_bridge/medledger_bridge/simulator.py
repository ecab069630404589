"""A device without a device: the machine of the reference firmware, with its options, in Python.

    python -m medledger_bridge.simulator --state device.state --pty device

It makes a pseudo-terminal, gives it the name that was asked for, and behaves on it as the firmware does: same protocol,
same state file, same vital signs for the same seed, so that the two can take turns. For machines with no compiler, for
tests and for demonstrations. The key lies in the state file in the clear: a simulator's key, and nobody else's.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import sys
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from medledger.errors import MedledgerError
from medledger.records import parse_decimal

from .errors import SeriesError
from .link.device import MAX_READINGS, Device
from .link.messages import BOOT_BYTES, MAX_TEXT_CHARS
from .simulated_state import SEED_BYTES, State

Samples = list[list[Any]]

HEART_RATE: Final = ("8867-4", "/min")
SATURATION: Final = ("59408-5", "%")
COLUMNS: Final = {
    "HR [bpm]": HEART_RATE,
    "RESP [pm]": ("9279-1", "/min"),
    "RESP [bpm]": ("9279-1", "/min"),
    "SpO2 [%]": SATURATION,
    "NBPSys [mmHg]": ("8480-6", "mm[Hg]"),
    "NBPDias [mmHg]": ("8462-4", "mm[Hg]"),
    "NBPMean [mmHg]": ("8478-0", "mm[Hg]"),
}
MAX_DIGITS: Final = 9
_FIGURE: Final = re.compile(r"-?[0-9]*\.?[0-9]*")
_NO_DIGIT: Final = re.compile(r"[^0-9]")
MAX_LINE: Final = 1023
"""Bytes of a line of a recording, without its end."""

ABSENT: Final = {"absent": "not-performed"}


def vitals(seed: int) -> Iterator[Samples]:
    """Heart rate and oxygen saturation that wander, without end, and now and then a probe that is off."""
    state = seed & 0xFFFFFFFF or 1

    def draw(below: int) -> int:  # xorshift32
        nonlocal state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        return state % below

    heart, saturation = 72, 970
    while True:
        heart = min(max(heart + draw(3) - 1, 50), 140)
        saturation = min(max(saturation + draw(3) - 1, 920), 995)
        off = draw(61) == 0
        yield [_sample(HEART_RATE, (heart, 0)), _sample(SATURATION, None if off else (saturation, -1))]


def recorded(path: Path) -> Iterator[Samples]:
    """The rows of monitor numerics (`t_seconds`, then columns such as `HR [bpm]`), one reading each.

    Columns that this device does not measure are passed over; 0 means that nothing was connected. A line that is too
    long or damaged ends it with a SeriesError that names it.
    """
    with path.open("rb") as file:
        lines = _lines(path, file)
        _, names = next(lines, (0, []))
        measured = [COLUMNS.get(name) for name in names[1:]]
        if not any(measured):
            raise SeriesError(f"{path} has no column that this device measures")
        for number, row in lines:
            cells = zip(measured, row[1:], strict=False)
            try:
                samples = [_cell(measure, cell) for measure, cell in cells if measure is not None and cell]
            except MedledgerError as error:
                raise SeriesError(f"line {number} of {path} cannot be read: {error}") from error
            yield samples


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Each line's number and cells. Nothing is quoted: the firmware's reader knows no quotes either."""
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + len(b"\r\n")), b""), 1):
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(text) > MAX_LINE:
            raise SeriesError(f"line {number} of {path} is longer than {MAX_LINE} bytes")
        if b"\r" in text or b"\0" in text:
            raise SeriesError(f"line {number} of {path} is no line of text")
        yield number, text.decode(errors="replace").split(",")


def _cell(measure: tuple[str, str], cell: str) -> list[Any]:
    if _FIGURE.fullmatch(cell) is None or not 1 <= len(_NO_DIGIT.sub("", cell)) <= MAX_DIGITS:
        raise SeriesError(f"{cell!r} is not a figure that this device measures")
    value = parse_decimal(cell)
    return _sample(measure, value if value[0] else None)


def _sample(measure: tuple[str, str], value: tuple[int, int] | None) -> list[Any]:
    code, unit = measure
    return [code, None, unit, ABSENT] if value is None else [code, list(value), unit]


def dump(device: Device, source: Iterator[Samples], batches: int, interval: int) -> bytes:
    """A hello and so many batches, on a clock that goes by itself, to a host that acknowledges each at once."""
    sent, now, last = device.send(0), 0, device.counter + batches
    for samples in source:
        now += interval
        device.measure(now, samples)
        sent += device.send(now)
        device.acknowledged(device.counter, now)
        if device.counter == last:
            break
    return sent


class Line:
    """The serial line: a port that is there, or a pseudo-terminal with a name of its own."""

    def __init__(self, port: str | None, link: str | None, stack: ExitStack) -> None:
        if port is not None:
            self.fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            stack.callback(os.close, self.fd)
        else:
            self.fd, side = os.openpty()
            stack.callback(os.close, self.fd)
            stack.callback(os.close, side)  # kept open: a host that closes its end must not close the line
            os.set_blocking(self.fd, False)
            tty.setraw(side)
            name = os.ttyname(side)
            if link is not None:
                with suppress(FileNotFoundError):
                    os.unlink(link)
                os.symlink(name, link)
                stack.callback(os.unlink, link)
            print(name, flush=True)  # noqa: T201 - what a host opens
        if port is not None:
            tty.setraw(self.fd)
        self._left = b""

    def write(self, device: Device, now: int) -> None:
        """Send what there is to send, as far as the line takes it now."""
        while self._left or (left := device.send(now)):
            self._left = self._left or left
            try:
                written = os.write(self.fd, self._left)
            except BlockingIOError:
                return
            self._left = self._left[written:]

    @property
    def full(self) -> bool:
        """Whether the line has not taken all of the last frame yet."""
        return bool(self._left)

    def wait(self, seconds: float) -> bytes:
        """What came within so many seconds. Raises OSError when the other side is gone for good."""
        writing = [self.fd] if self._left else []
        ready, _, _ = select.select([self.fd], writing, [], seconds)
        data = os.read(self.fd, 4096) if ready else b""
        if ready and not data:
            raise OSError("the line is lost")
        return data


def run(device: Device, source: Iterator[Samples], line: Line, *, interval: int, count: int | None, once: bool) -> None:
    """Measure, send and listen, until everything is acknowledged if `once`, else for ever."""
    started = time.monotonic()
    due, taken = interval, 0

    def now() -> int:
        return int((time.monotonic() - started) * 1000)

    ended = False
    while not (once and ended and device.idle):
        if not ended and now() >= due:  # one at a time: a slow store must not keep the device from speaking
            samples = next(source, None) if count is None or taken < count else None
            if samples is None:
                device.seal(now())
                ended = True
            else:
                device.measure(now(), samples)
                due, taken = max(due + interval, now()), taken + 1  # a moment that was missed is not measured later
        line.write(device, now())
        times = [now() + 1000] if ended else [due]
        if device.deadline is not None and not line.full:  # while the line takes nothing, nothing is said again
            times.append(device.deadline)
        data = line.wait(max(0, min(times) - now()) / 1000)
        device.receive(data, now())


def parser() -> argparse.ArgumentParser:
    """The options, those of the firmware."""
    options = argparse.ArgumentParser(prog="medledger-device", description="A medical device on a serial line.")
    options.add_argument("--state", type=Path, required=True, help="the file of the key and the counter")
    options.add_argument("--device", type=_name, default="SIM-1", help="what the device calls itself")
    options.add_argument("--port", help="the serial port or pseudo-terminal to speak on")
    options.add_argument("--pty", metavar="LINK", help="make a pseudo-terminal and this symbolic link to it")
    dump_help = "write a hello and N batches to standard output, end"
    options.add_argument("--dump", type=_number(0, 1_000_000), metavar="N", help=dump_help)
    options.add_argument("--identify", action="store_true", help="print the device's name and public key, end")
    options.add_argument("--csv", type=Path, help="play this recorded series")
    seed, interval, readings = _number(0, 2**32 - 1), _number(1, 86_400_000), _number(1, MAX_READINGS)
    options.add_argument("--vitals", type=seed, default=1, metavar="SEED", help="seed of the made-up vital signs")
    options.add_argument("--interval", type=interval, default=1000, metavar="MS", help="time between two readings")
    options.add_argument("--readings", type=readings, default=10, metavar="N", help="readings of a batch, at most 16")
    options.add_argument("--count", type=_number(0, 2**32 - 1), metavar="N", help="stop measuring after N readings")
    options.add_argument("--once", action="store_true", help="end when all is measured and acknowledged")
    options.add_argument("--seed", type=_octets(SEED_BYTES), metavar="HEX", help="the seed of a new key, for tests")
    options.add_argument("--boot", type=_octets(BOOT_BYTES), metavar="HEX", help="the boot id, for tests")
    return options


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"it is a number from {least} to {most}")
        return int(text)

    return read


def _octets(size: int) -> Callable[[str], bytes]:
    def read(text: str) -> bytes:
        octets = bytes.fromhex(text)  # a ValueError is argparse's to name
        if len(octets) != size:
            raise argparse.ArgumentTypeError(f"it is {size} bytes in hex")
        return octets

    return read


def _name(text: str) -> str:
    if not (text.isascii() and text.isprintable() and 1 <= len(text) <= MAX_TEXT_CHARS):
        raise argparse.ArgumentTypeError(f"it is 1 to {MAX_TEXT_CHARS} characters of ASCII")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    chosen = parser().parse_args(arguments)
    try:
        with ExitStack() as stack:
            return _start(chosen, stack)
    except (MedledgerError, OSError, ValueError) as error:
        print(f"medledger-device: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 0


def _start(chosen: argparse.Namespace, stack: ExitStack) -> int:
    state = stack.enter_context(State(chosen.state, chosen.seed))
    boot = chosen.boot or os.urandom(BOOT_BYTES)
    device = Device(
        state.seed, device=chosen.device, boot=boot, counter=state.counter, save=state.save, readings=chosen.readings
    )
    source = recorded(chosen.csv) if chosen.csv else vitals(chosen.vitals)
    if chosen.identify:
        print(chosen.device, device.key.hex())  # noqa: T201
    elif chosen.dump is not None:
        sys.stdout.buffer.write(dump(device, source, chosen.dump, chosen.interval))
    else:
        line = Line(chosen.port, chosen.pty, stack)
        run(device, source, line, interval=chosen.interval, count=chosen.count, once=chosen.once)
    return 0


if __name__ == "__main__":
    sys.exit(main())
