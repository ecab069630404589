"""`medledger agent scanner-test`: what a scanner's scan of the test symbol tells about it; and the way to its bytes.

Rules:

- The symbol goes to standard error, the result to standard output. Exit code 0: passed; 1: not passed.
- One scan decides. Until its end arrives it is waited for; what never ends is told as such, and leaves the record as it
  is. Any other result replaces the record (scannerrecord.py).
- Without --device or --serial, characters are read from standard input, a terminal or not. A terminal shows none of
  them meanwhile, and is put back afterwards.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

import click

if TYPE_CHECKING:
    from medledger_bridge.scanner.selftest import Findings

_TEXT_ENDS: Final = b"\r\n\t"
_SERIAL_ENDS: Final = b"\r\n\t\x03"
_STX: Final = "\x02"
_ETX: Final = 0x03
_TAB: Final = 0x09
_STDIN: Final = "standard input"


class Source(Protocol):
    """Where a scanner's bytes come from."""

    name: str

    def fileno(self) -> int:
        """The descriptor, for `select`."""

    def read(self) -> bytes:
        """Some bytes, waiting for the first; none at the end."""

    def close(self) -> None:
        """Let go of it."""


class _StandardInput:
    """Characters typed into this terminal, or piped in."""

    name = _STDIN

    def fileno(self) -> int:
        return sys.stdin.fileno()

    def read(self) -> bytes:
        return os.read(self.fileno(), 4096)

    def close(self) -> None:
        """It stays open."""


@contextmanager
def source(device: Path | None, serial: str | None, baud: int) -> Iterator[Source]:
    """The device, the serial port or standard input, for as long as the context lasts. Raises `UsageError`."""
    if device is not None and serial is not None:
        raise click.UsageError("--device and --serial exclude one another.")
    found: Source
    restore: Callable[[], None] = _nothing
    if device is not None:
        from medledger_bridge.scanner.evdev import InputDevice

        found = InputDevice(device)
    elif serial is not None:
        from medledger_bridge.scanner.serialport import SerialPort

        found = SerialPort(serial, baud=baud)
    else:
        found = _StandardInput()
        restore = _unechoed(found.fileno())
    try:
        yield found
    finally:
        restore()
        found.close()


def _nothing() -> None:
    """Put nothing back."""


def _unechoed(descriptor: int) -> Callable[[], None]:
    """Let a terminal give each character at once and show none; returns what puts it back."""
    if not os.isatty(descriptor):
        return _nothing
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    return lambda: termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@click.command("scanner-test")
@click.option("--device", type=click.Path(path_type=Path), help="Read keys from this input device (/dev/input/eventN).")
@click.option("--serial", metavar="PORT", help="Read a serial port (/dev/ttyUSB0).")
@click.option("--baud", type=int, default=9600, show_default=True, help="The speed of the serial port.")
@click.option(
    "--symbol-out", type=click.Path(dir_okay=False, path_type=Path), help="Write the symbol to this SVG file, and exit."
)
@click.option("--scanner", metavar="NAME", help="What to call the scanner in the record. [default: the device's name]")
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("scanner-test.json"),
    show_default=True,
    help="Where the result is kept.",
)
@click.option("--seconds", type=click.FloatRange(1), default=120, show_default=True, help="How long to wait.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def scanner_test(
    device: Path | None,
    serial: str | None,
    baud: int,
    symbol_out: Path | None,
    scanner: str | None,
    record: Path,
    seconds: float,
    as_json: bool,
) -> None:
    """Find out how a barcode scanner is set, and what must be changed.

    Shows a GS1 DataMatrix with every character that layouts confuse. Scan it, and read what to do.

    \b
    Examples:
      medledger agent scanner-test
      medledger agent scanner-test --device /dev/input/event5
      medledger agent scanner-test --serial /dev/ttyUSB0
    """
    from medledger_bridge.scanner import symbol

    from .scannerrecord import TestRecord, write

    if symbol_out is not None:
        symbol_out.write_text(symbol.svg())
        click.echo(f"Wrote {symbol_out}. Print it at its size (30 mm), or show it on a screen.")
        return
    with source(device, serial, baud) as opened:
        click.echo(symbol.terminal(), err=True)
        click.echo(f"Scan the symbol now. Waiting for {opened.name}.", err=True)
        findings = await_symbol(opened, "keys" if device else "serial" if serial else "text", seconds)
        name = scanner or opened.name
    write(record, TestRecord(name, datetime.now().astimezone().date(), findings))
    _report(findings, name, record, as_json=as_json)
    if not findings.passed:
        raise SystemExit(1)


def await_symbol(opened: Source, way: str, seconds: float) -> Findings:
    """The findings of the first scan that ends. Raises `TransportError` where none does in time."""
    from medledger.errors import TransportError

    judge = _key_judge() if way == "keys" else _text_judge(serial=way == "serial")
    until, arrived = monotonic() + seconds, 0
    while (left := until - monotonic()) > 0 and select.select([opened], [], [], left)[0]:
        data = opened.read()
        if not data:
            break
        arrived += len(data)
        if (findings := judge(data)) is not None:
            return findings
    if arrived:
        raise TransportError(
            "something arrived, and no end of a scan: the scanner sends none",
            hint="Set the scanner to end each scan with Enter (CR), and scan again.",
        )
    raise TransportError(
        "nothing arrived from the scanner",
        hint="Does it beep? Is it plugged in? Is it this device? (ls -l /dev/input/by-id, /dev/serial/by-id)",
    )


Judge = Callable[[bytes], "Findings | None"]


def _key_judge() -> Judge:
    from medledger_bridge.errors import ScanError
    from medledger_bridge.scanner.evdev import LOST, EventReader
    from medledger_bridge.scanner.keyboard import KeyReader
    from medledger_bridge.scanner.selftest import failed, judge_keys

    events, keys = EventReader(), KeyReader()

    def judge(data: bytes) -> Findings | None:
        for event in events.feed(data):
            if event == LOST:
                keys.lost()
            elif isinstance(found := keys.feed(*event), ScanError):
                return failed("keys", f"The scan is spoilt: {found}.", found.hint or "Scan again.")
            elif found is not None:
                return judge_keys(found)
        return None

    return judge


def _text_judge(*, serial: bool) -> Judge:
    from medledger_bridge.errors import ScanError
    from medledger_bridge.scanner.lines import LineReader
    from medledger_bridge.scanner.selftest import failed, judge_text
    from medledger_bridge.scanner.settings import ENTER, FRAMED, TAB

    lines, way = LineReader(ends=_SERIAL_ENDS if serial else _TEXT_ENDS), "serial" if serial else "text"

    def judge(data: bytes) -> Findings | None:
        for byte in data:  # one by one, for the one that ends a scan is of interest
            for found in lines.feed(bytes((byte,))):
                if isinstance(found, ScanError):
                    return failed(way, f"The scan is spoilt: {found}.", found.hint or "Scan again.")
                suffix = {_TAB: TAB, _ETX: FRAMED}.get(byte, ENTER)
                text = found.removeprefix(_STX) if suffix == FRAMED else found
                return judge_text(text, suffix=suffix, way=way)
        return None

    return judge


def _report(findings: Findings, name: str, record: Path, *, as_json: bool) -> None:
    from .scannerrecord import result

    if as_json:
        click.echo(json.dumps({"scanner": name, **result(findings), "toml": toml(findings, record)}))
        return
    for sentence in findings.sentences:
        click.echo(sentence)
    if findings.passed:
        click.echo(f"\nPassed. The result is kept in {record}. In the pharmacy's configuration:\n")
        click.echo("\n".join(toml(findings, record)))
        return
    click.echo("\nNot passed: scans of this scanner must not be taken as it is set now. What to do:\n")
    for action in (*findings.actions, "Then run this test again."):
        click.echo(f"- {action}")


def toml(findings: Findings, record: Path) -> list[str]:
    """The lines for the pharmacy's configuration, none after a test that was not passed."""
    if not findings.passed:
        return []
    path = json.dumps(str(record), ensure_ascii=False)
    return ["[scanner]", "sends_separators = true", f"test_record = {path}"]
