"""Scans that arrive as characters: through a real pseudo-terminal for the serial line, and cut anywhere."""

from __future__ import annotations

import os
import sys
import termios
import threading
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import UsageError
from medledger_bridge.errors import ExtraMissingError, ScanError
from medledger_bridge.scanner.lines import MAX_SCAN_BYTES, LineDecoder, LineReader
from medledger_bridge.scanner.serialport import SerialPort
from medledger_bridge.scanner.settings import ScannerSettings

SCAN = "]d2010703206980498810A1\x1d21S1"


def outcome(data: bytes, settings: ScannerSettings | None = None) -> list[str]:
    """Each scan, or `refused: why`."""
    decoder = LineDecoder(settings or ScannerSettings())
    found: list[str | ScanError | None] = [*decoder.feed(data), decoder.finish()]
    return [each if isinstance(each, str) else f"refused: {each}" for each in found if each is not None]


@pytest.mark.parametrize("framed", [False, True])
def test_a_serial_scanner_over_a_pseudo_terminal(framed: bool) -> None:
    """The port is opened as a scanner's, and gives the scans that the other end writes."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    port = SerialPort(os.ttyname(theirs))
    sent = (b"\x02%b\x03\r\n" if framed else b"%b\r\n") % SCAN.encode()
    writer = threading.Thread(target=os.write, args=(ours, 3 * sent))
    writer.start()
    decoder = LineDecoder(ScannerSettings(suffix="etx" if framed else "enter"))
    found: list[str | ScanError] = []
    while len(found) < 3:
        found += decoder.feed(port.read())
    writer.join()
    assert found == 3 * [SCAN]
    os.close(ours)
    assert port.read().strip() == b""
    port.close()
    os.close(theirs)


def test_a_port_that_is_not_there_is_named() -> None:
    """With what to look at."""
    with pytest.raises(UsageError, match="/dev/ttyNONE") as caught:
        SerialPort("/dev/ttyNONE")
    assert "dialout" in str(caught.value.hint)


def test_a_serial_port_that_goes_while_it_is_opened_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyserial lets the error of its last step through as it is."""

    def gone(*_: object) -> None:
        raise termios.error(5, "Input/output error")

    ours, theirs = os.openpty()
    monkeypatch.setattr(termios, "tcflush", gone)
    with pytest.raises(UsageError, match="cannot be opened"):
        SerialPort(os.ttyname(theirs))
    os.close(ours)
    os.close(theirs)


def test_the_serial_port_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyserial, the hint says what to install."""
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ExtraMissingError) as caught:
        SerialPort("/dev/ttyUSB0")
    assert "medledger[serial]" in str(caught.value.hint)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\n\n"])
def test_any_end_of_line_ends_a_scan(end: bytes) -> None:
    """And nothing between two ends is no scan."""
    assert outcome(2 * (SCAN.encode() + end)) == [SCAN, SCAN]


def test_a_tab_ends_a_scan_where_it_is_configured() -> None:
    """With Enter configured it is a character that no code has."""
    assert outcome(SCAN.encode() + b"\t", ScannerSettings(suffix="tab")) == [SCAN]
    assert "U+0009" in outcome(SCAN.encode() + b"\t\r")[0]


@pytest.mark.parametrize(
    ("separator", "sent"), [("gs", "\x1d"), ("f8", "\x1b[19~"), ("~", "~"), ("^", "^"), ("|", "|"), ("`", "`")]
)
def test_each_form_of_fnc1_is_read_where_it_is_configured(separator: str, sent: str) -> None:
    """The forms that cannot be meant otherwise are refused where another is configured."""
    data = SCAN.replace("\x1d", sent).encode() + b"\r"
    assert outcome(data, ScannerSettings(separator=separator)) == [SCAN]
    if separator in ("gs", "f8"):
        assert outcome(data, ScannerSettings(separator="{"))[0].startswith("refused: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"0107032069804988\r", "symbology mark"),
        ("]d210ß\r".encode(), "U+00DF"),
        (b"]d210\xff\r", "not text"),
        (b"]d210\x1bOA\r", "U+001B"),
        (b"]d2" + b"1" * 2 * MAX_SCAN_BYTES + b"\r", "at most"),
        (b"]d210A", "in the middle"),
    ],
)
def test_what_no_scan_can_be_is_refused_by_name(data: bytes, said: str) -> None:
    """One refusal for each scan."""
    (found,) = outcome(data)
    assert said in found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x02A\x03\r\n\x02B\x03", ["A", "B"]),
        (b"x\x02A\x03", ["outside", "A"]),
        (b"\x02A\x02B\x03", ["before the one under way", "B"]),
        (b"\x02\x03\x02A\x03", ["A"]),
        (b"\x02A", ["in the middle"]),
        (b"A\x03\x02B\x03", ["outside", "B"]),
    ],
)
def test_frames_of_stx_and_etx(data: bytes, expected: list[str]) -> None:
    """Whatever is not in a frame is told, and spoils no other scan."""
    found = outcome(data, ScannerSettings(mark=False, suffix="etx"))
    assert [want in each for want, each in zip(expected, found, strict=True)] == [True] * len(expected)


@given(st.binary(max_size=200), st.integers(1, 50), st.booleans())
def test_any_bytes_give_the_same_however_they_are_cut(data: bytes, size: int, framed: bool) -> None:
    """A text or a ScanError for each scan, and nothing else."""
    whole, reader = LineReader(framed=framed), LineReader(framed=framed)
    at_once = [str(each) for each in whole.feed(data)]
    in_pieces = [str(each) for at in range(0, len(data), size) for each in reader.feed(data[at : at + size])]
    assert at_once == in_pieces
    assert str(whole.finish()) == str(reader.finish())
