"""`medledger agent scanner-test`, which finds out how a scanner is set, and `medledger agent scan`, which reads it.

Rules of the test:

- The symbol goes to standard error, the result to standard output. Exit code 0: passed; 1: not passed.
- One scan decides. Until its end arrives it is waited for; what never ends is told as such, and leaves the record as it
  is. Any other result replaces the record (scannerrecord.py).
- Without --device or --serial, characters are read from standard input, a terminal or not.

Rules of reading: the record says how; without a test that was passed, and counts today, no scan is given out. Each scan
is a line on standard output, as GS1 has it; each refusal is one on standard error.
"""

from __future__ import annotations

import json
import select
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import click

from .scansource import Source, source

if TYPE_CHECKING:
    from medledger_bridge.errors import ScanError
    from medledger_bridge.scanner.selftest import Findings, Way
    from medledger_bridge.scanner.settings import ScannerSettings

_TEXT_ENDS: Final = b"\r\n\t"
_SERIAL_ENDS: Final = b"\r\n\t\x03"
_STX: Final = "\x02"
_ETX: Final = 0x03
_TAB: Final = 0x09


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take."""
    for option in (
        click.option("--baud", type=int, default=9600, show_default=True, help="The speed of the serial port."),
        click.option("--serial", metavar="PORT", help="Read a serial port (/dev/ttyUSB0)."),
        click.option(
            "--device", type=click.Path(path_type=Path), help="Read keys from this input device (/dev/input/eventN)."
        ),
    ):
        command = option(command)
    return command


@click.command("scanner-test")
@_options
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
    from medledger.errors import UsageError
    from medledger_bridge.scanner import symbol

    from .scannerrecord import TestRecord, write

    if symbol_out is not None:
        try:
            symbol_out.write_text(symbol.svg())
        except OSError as error:
            raise UsageError(
                f"{symbol_out} cannot be written: {error.strerror}", hint="Choose another file."
            ) from error
        click.echo(f"Wrote {symbol_out}. Print it at its size (30 mm), or show it on a screen.")
        return
    with source(device, serial, baud) as opened:
        click.echo(symbol.terminal(), err=True)
        click.echo(f"Scan the symbol now. Waiting for {opened.name}.", err=True)
        findings = await_symbol(opened, _way(device, serial), seconds)
        name = scanner or opened.name
    write(record, TestRecord(name, _today(), findings))
    _report(findings, name, record, as_json=as_json)
    if not findings.passed:
        raise SystemExit(1)


def _way(device: Path | None, serial: str | None) -> Way:
    return "keys" if device else "serial" if serial else "text"


def await_symbol(opened: Source, way: Way, seconds: float) -> Findings:
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

    lines, way = LineReader(ends=_SERIAL_ENDS if serial else _TEXT_ENDS), _way(None, "serial" if serial else None)

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


@click.command()
@_options
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("scanner-test.json"),
    show_default=True,
    help="The record of the scanner's self-test.",
)
@click.option("--days", type=click.IntRange(1), default=90, show_default=True, help="How many days a self-test counts.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object for each scan, with what it names.")
def scan(device: Path | None, serial: str | None, baud: int, record: Path, days: int, as_json: bool) -> None:
    """Read a barcode scanner that passed its self-test, and print each scan.

    One line a scan, as the pharmacy agent takes it. A device is read alone: its keys reach no other program.

    \b
    Example:
      medledger agent scan --device /dev/input/event5 --record scanner-test.json
    """
    from medledger.errors import ConfigurationError, TransportError

    from .scannerrecord import demand_test

    way = _way(device, serial)
    tested = demand_test(record, today=_today(), max_days=days)
    if tested.findings.way != way:
        raise ConfigurationError(
            f"the self-test was made of {_WAYS[tested.findings.way]}, and this is {_WAYS[way]}",
            hint="Run medledger agent scanner-test with the same options.",
        )
    settings = tested.reading()
    with source(device, serial, baud) as opened:
        decode, finish = _decoder(way, settings)
        while data := opened.read():
            for found in decode(data):
                tested.check(today=_today(), max_days=days)
                _give(found, settings, as_json=as_json)
        if (cut := finish()) is not None:
            _give(cut, settings, as_json=as_json)
    if way != "text":
        raise TransportError("the scanner is gone", hint="Plug it in, and start again.")


_WAYS: Final = {"keys": "an input device", "serial": "a serial port", "text": "characters on standard input"}

Decode = Callable[[bytes], "list[str | ScanError]"]


def _today() -> date:
    return datetime.now().astimezone().date()


def _decoder(way: Way, settings: ScannerSettings) -> tuple[Decode, Callable[[], ScanError | None]]:
    from medledger_bridge.scanner.evdev import LOST, EventReader
    from medledger_bridge.scanner.keyboard import KeyDecoder
    from medledger_bridge.scanner.lines import LineDecoder

    if way != "keys":
        lines = LineDecoder(settings)
        return lines.feed, lines.finish
    events, keys = EventReader(), KeyDecoder(settings)

    def decode(data: bytes) -> list[str | ScanError]:
        found = []
        for event in events.feed(data):
            if event == LOST:
                keys.lost()
            elif (each := keys.feed(*event)) is not None:
                found.append(each)
        return found

    return decode, keys.finish


def _give(found: str | ScanError, settings: ScannerSettings, *, as_json: bool) -> None:
    """Print a scan that names a pack, or why there is none."""
    from medledger_bridge.errors import ScanError
    from medledger_bridge.gs1 import parse_scan

    try:
        if isinstance(found, ScanError):
            raise found
        pack = parse_scan(found, today=_today(), sends_separators=settings.sends_separators)
    except ScanError as error:
        click.echo(f"Refused: {error}. {error.hint or ''}".rstrip(), err=True)
        return
    fields = {"scan": found, "product": pack.gtin, "lot": pack.lot, "expiry": pack.expiry, "serial": pack.serial}
    named = {name: value for name, value in fields.items() if value is not None}
    click.echo(json.dumps(named) if as_json else found)
