"""The self-test: what it finds out, what it says to do, and the command on real terminals, pipes and ports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import tty
from datetime import date, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.errors import ConfigurationError
from medledger_agents import scannerrecord
from medledger_agents.scannerrecord import TestRecord, demand_test
from medledger_bridge.errors import ScanError
from medledger_bridge.gs1 import parse_elements, parse_scan
from medledger_bridge.scanner import symbol
from medledger_bridge.scanner.keyboard import AltCode, KeyedScan, Stroke
from medledger_bridge.scanner.layouts import LAYOUTS, PLAIN, SPACE_KEY, Key, Layout
from medledger_bridge.scanner.selftest import Findings, judge_keys, judge_text
from scanner_keys import CONFIGURED, TAB, WAYS, events, pressed, recorded, typed

SCAN = symbol.MARK + symbol.TEXT
PROGRAM = [sys.executable, "-m", "medledger", "agent", "scanner-test"]
TODAY = date(2026, 11, 22)
ESCAPE = "\x1b\\[[0-9;]*m"
OUTSIDE_PYTHON = Path(__file__).parents[2] / ".venv-outside" / "bin" / "python"


def keyed(text: str = SCAN, layout: str = "us", way: str = "ctrl-]") -> Findings:
    """The findings of a wedge in a layout."""
    return judge_keys(KeyedScan(pressed(text, LAYOUTS[layout], way), "enter"))


# --- the symbol ------------------------------------------------------------------------------------------------------


def test_the_symbol_holds_what_gs1_codes_hold_and_names_no_product() -> None:
    """All 82 characters, as valid elements; at the counter it is refused."""
    found = parse_elements(SCAN)
    assert found == {"91": symbol.CHARACTERS, "92": "GS"}
    assert len(set(symbol.CHARACTERS)) == 82
    with pytest.raises(ScanError, match="names no product"):
        parse_scan(SCAN)


def test_an_independent_decoder_reads_the_symbol(tmp_path: Path) -> None:
    """zxing-cpp, in the environment of the outside verifiers: a GS1 DataMatrix, with FNC1, byte for byte."""
    assert OUTSIDE_PYTHON.exists(), "the outside verifiers have no environment: run `make test`, which makes it"
    script = Path(__file__).parents[1] / "outside" / "read_symbol.py"
    rows = ["".join("#" if dark else "." for dark in row) for row in symbol.modules()]
    done = subprocess.run([OUTSIDE_PYTHON, script], input="\n".join(rows), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"mark": symbol.MARK, "text": symbol.TEXT}


def test_the_terminal_and_the_image_show_the_same_modules() -> None:
    """Half blocks two rows a line; a square a dark module, with a white border, in millimetres."""
    rows = symbol.modules()
    halves = {" ": (True, True), "▄": (True, False), "▀": (False, True), "█": (False, False)}
    lines = re.sub(ESCAPE, "", symbol.terminal()).splitlines()
    assert [[halves[each][half] for each in line] for line in lines for half in (0, 1)] == rows
    image = ET.fromstring(symbol.svg())
    assert (image.get("width"), image.get("viewBox")) == ("30mm", "0 0 40 40")
    (path,) = image.findall("{http://www.w3.org/2000/svg}path")
    squares = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path.get("d") or "")}
    assert squares == {(x, y) for y, row in enumerate(rows) for x, dark in enumerate(row) if dark}


# --- what is found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", WAYS)
def test_each_layout_and_form_of_fnc1_is_found(layout: str, way: str) -> None:
    """The one layout, and the form as it is configured; without FNC1 the test is not passed, and says what to set."""
    found = keyed(layout=layout, way=way)
    assert (found.layout, found.mark) == (layout, "]d2")
    if way == "dropped":
        assert found.separator is None
        assert "GS" in " ".join(found.actions)
    else:
        assert (found.passed, found.separator) == (True, CONFIGURED.get(way, way))


def test_characters_by_number_pass_in_any_layout() -> None:
    """ALT mode: no layout matters, and it is said."""
    found = judge_keys(KeyedScan(tuple(AltCode(ord(character)) for character in SCAN), "enter"))
    assert found.passed
    assert "no layout matters" in found.sentences[0]


@pytest.mark.parametrize("scanner", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("host", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("way", WAYS)
def test_each_pair_of_layouts_is_named_where_characters_arrive(scanner: Layout, host: Layout, way: str) -> None:
    """The same layout passes; another is never passed, and both are named."""
    found = judge_text(typed(pressed(SCAN, scanner, way), host))
    if scanner is host:
        assert found.passed == (way != "dropped")
    else:
        assert not found.passed
        assert f"a scanner set to {scanner.title} and a computer set to {host.title}" in found.sentences[0]


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (keyed(symbol.TEXT), "AIM"),
        (keyed("]d1" + symbol.TEXT), "GS1 DataMatrix on"),
        (keyed(way=","), "FNC1 as GS"),
        (keyed(way="@"), "FNC1 as GS"),
        (keyed(SCAN.swapcase()), "Caps Lock"),
        (keyed("]d20107032069804988"), "layout"),
        (keyed(SCAN[:-1]), "layout"),
        (keyed("a prefix that is much too long" + SCAN), "prefix"),
        (judge_text(SCAN.swapcase()), "Caps Lock"),
        (judge_text("hello"), "once, whole"),
        (judge_text(SCAN + SCAN), "FNC1 as GS"),
        (judge_text(symbol.TEXT), "AIM"),
        (judge_text("hello", way="serial"), "Scan again"),
        (judge_text(SCAN.replace("\x1d", ""), way="serial"), "FNC1 as GS"),
        (judge_text("]d1" + symbol.TEXT, way="serial"), "GS1 DataMatrix on"),
    ],
)
def test_what_is_wrong_is_not_passed_and_says_what_to_set(findings: Findings, said: str) -> None:
    """Each with an action that can be followed; no configuration comes of it."""
    assert not findings.passed
    assert said in " ".join(findings.actions)
    with pytest.raises(ScanError, match="did not pass"):
        findings.settings()


def test_more_than_one_layout_that_fits_is_refused() -> None:
    """Keys and numbers mixed, so that US and UK English make the same of them: neither is chosen."""
    presses = pressed(SCAN, LAYOUTS["us"], "ctrl-]")
    quote = LAYOUTS["us"].keys_for('"')[0]
    mixed = tuple(AltCode(ord('"')) if press == Stroke(quote) else press for press in presses)
    found = judge_keys(KeyedScan(mixed, "enter"))
    assert not found.passed
    assert "More than one" in found.sentences[0]


def test_a_serial_scanner_needs_no_mark_and_a_prefix_is_found() -> None:
    """Serial lines know no layouts."""
    found = judge_text("S:" + symbol.TEXT, way="serial")
    assert found.passed
    assert (found.settings().prefix, found.settings().mark, found.settings().layout) == ("S:", False, None)


@given(st.lists(st.sampled_from([Stroke(Key(code, level)) for code in (12, 21, 44, 16) for level in (0, 1, 2)])))
def test_whatever_is_pressed_besides_the_symbol_is_judged(extra: list[Stroke]) -> None:
    """Keys in the middle of the symbol's characters: never passed."""
    presses = pressed(SCAN, LAYOUTS["de"], "f8")
    found = judge_keys(KeyedScan((*presses[:50], *extra, *presses[50:]), "enter"))
    assert found.passed == (not extra)


def test_a_blank_in_the_symbol_is_not_passed() -> None:
    """No GS1 code has one."""
    presses = pressed(SCAN, LAYOUTS["us"], "f8")
    assert not judge_keys(KeyedScan((*presses, Stroke(Key(SPACE_KEY, PLAIN))), "enter")).passed


# --- the command -----------------------------------------------------------------------------------------------------


def tomorrow() -> date:
    """A day on which a test that is made now counts, whenever midnight is."""
    return datetime.now().astimezone().date() + timedelta(days=1)


def command(directory: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `medledger agent scanner-test` in a directory."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_the_command_on_an_input_device(tmp_path: Path) -> None:
    """A recording of a German wedge that ends with Tab: passed, with a record that demand_test takes."""
    (tmp_path / "event5").write_bytes(recorded(events(pressed(SCAN, LAYOUTS["de"], "alt-029"), TAB)))
    done = command(tmp_path, "--device", "event5")
    assert done.returncode == 0, done.stderr
    assert "It plays a German keyboard (de)." in done.stdout
    assert re.sub(ESCAPE, "", symbol.terminal()) in done.stderr
    lines = done.stdout[done.stdout.index("[scanner]") :]
    assert tomllib.loads(lines) == {"scanner": {"sends_separators": True, "test_record": "scanner-test.json"}}
    record = demand_test(tmp_path / "scanner-test.json", today=tomorrow(), scanner="event5")
    settings = record.reading()
    assert (settings.layout, settings.separator, settings.suffix) == ("de", "gs", "tab")
    assert (record.arriving().layout, record.arriving().separator, record.arriving().mark) == (None, "gs", True)


def test_the_command_on_a_serial_port(tmp_path: Path) -> None:
    """A pseudo-terminal whose other end is the scanner, with STX and ETX."""
    ours, theirs = os.openpty()
    tty.setraw(ours)
    arguments = ["--serial", os.ttyname(theirs), "--json", "--scanner", "till 2"]
    with subprocess.Popen([*PROGRAM, *arguments], cwd=tmp_path, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("Waiting for" in line for line in process.stderr)
        os.write(ours, b"\x02%b\x03" % SCAN.encode())
        printed, complaints = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, complaints
    found = json.loads(printed)
    assert (found["passed"], found["way"], found["suffix"], found["scanner"]) == (True, "serial", "etx", "till 2")


def test_the_command_on_a_terminal(tmp_path: Path) -> None:
    """Characters typed into a terminal: a wrong layout, exit code 1, and a record that is not accepted."""
    ours, theirs = os.openpty()
    with subprocess.Popen(PROGRAM, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"Waiting for" not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, typed(pressed(SCAN, LAYOUTS["de"], "~"), LAYOUTS["us"]).encode() + b"\r")
        try:
            while more := os.read(ours, 4096):
                shown += more
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 1
    assert b"9d2" not in shown, "what is scanned is not shown"
    assert b"a scanner set to German and a computer set to US English" in shown
    with pytest.raises(ConfigurationError, match="not passed"):
        demand_test(tmp_path / "scanner-test.json", today=tomorrow())


def test_the_command_says_when_nothing_or_no_end_arrives(tmp_path: Path) -> None:
    """And leaves the record alone."""
    for given_, said in [("", "nothing arrived"), (SCAN, "no end of a scan")]:
        done = command(tmp_path, input=given_)
        assert done.returncode not in (0, 1)
        assert said in done.stderr
    assert not (tmp_path / "scanner-test.json").exists()


def test_the_command_writes_the_symbol(tmp_path: Path) -> None:
    """To be printed."""
    assert command(tmp_path, "--symbol-out", "symbol.svg").returncode == 0
    assert (tmp_path / "symbol.svg").read_text() == symbol.svg()
    done = command(tmp_path, "--symbol-out", "nowhere/symbol.svg")
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True)


# --- the demand ------------------------------------------------------------------------------------------------------


def record_of(path: Path, findings: Findings, day: date = TODAY) -> Path:
    """A record in a file."""
    scannerrecord.write(path, TestRecord("till-1", day, findings))
    return path


@pytest.mark.parametrize(
    ("day", "scanner", "findings", "said"),
    [
        (TODAY - timedelta(days=91), None, keyed(), "more than 90 days"),
        (TODAY + timedelta(days=1), None, keyed(), "is dated"),
        (TODAY, "till-2", keyed(), "another scanner"),
        (TODAY, None, keyed(way="dropped"), "not passed"),
        (TODAY, None, keyed(symbol.TEXT), "not passed"),
    ],
)
def test_a_test_that_does_not_count_is_refused(
    tmp_path: Path, day: date, scanner: str | None, findings: Findings, said: str
) -> None:
    """By name, and with what to do."""
    path = record_of(tmp_path / "scanner-test.json", findings, day)
    with pytest.raises(ConfigurationError, match=said) as caught:
        demand_test(path, today=TODAY, scanner=scanner)
    assert caught.value.hint


def test_a_record_is_read_as_it_was_written_and_replaced_by_the_next(tmp_path: Path) -> None:
    """A passed test counts on its last day; a failed one takes its place."""
    path = record_of(tmp_path / "scanner-test.json", keyed(layout="fr", way="^"), TODAY - timedelta(days=90))
    record = demand_test(path, today=TODAY, scanner="till-1")
    assert record == TestRecord("till-1", TODAY - timedelta(days=90), keyed(layout="fr", way="^"))
    record_of(path, keyed(way="dropped"))
    with pytest.raises(ConfigurationError, match="not passed"):
        demand_test(path, today=TODAY)


def changed(name: str, value: Any) -> str:
    """A passed record with one field changed."""
    found = {"format": scannerrecord.FORMAT, "scanner": "till-1", "date": "2026-11-22"}
    return json.dumps({**found, **scannerrecord.result(keyed()), name: value})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 5000,
        "{}",
        "x" * 20_000,
        changed("format", "medledger/scanner-test/2"),
        changed("passed", False),
        changed("actions", ["x"]),
        changed("separator", "@"),
        changed("separator", ["gs"]),
        changed("layout", None),
        changed("layout", "dvorak"),
        changed("mark", None),
        changed("suffix", "x"),
        changed("suffix", {}),
        changed("prefix", 5),
        changed("way", "radio"),
        changed("date", "2026-13-01"),
        changed("extra", 1),
        changed("scanner", None),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    """A file that was made by hand, cut off, or by other software."""
    path = tmp_path / "scanner-test.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        demand_test(path, today=TODAY)


def test_a_record_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    """With the command that makes it."""
    with pytest.raises(ConfigurationError, match="no record") as caught:
        demand_test(tmp_path / "scanner-test.json", today=TODAY)
    assert "scanner-test" in str(caught.value.hint)


# --- reading a tested scanner ----------------------------------------------------------------------------------------

PACK = "]d2010703206980498817280331" + "10L1\x1d21S1-y"


def scan(directory: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `medledger agent scan` in a directory."""
    program = [*PROGRAM[:-1], "scan"]
    return subprocess.run([*program, *arguments], cwd=directory, capture_output=True, text=True, timeout=60, **options)


def test_a_tested_scanner_is_read_and_one_line_is_a_scan(tmp_path: Path) -> None:
    """Keys of a German wedge: two scans, a spoilt one between them; then the device is gone."""
    record_of(tmp_path / "scanner-test.json", keyed(layout="de", way="f8"), tomorrow() - timedelta(days=1))
    good = events(pressed(PACK, LAYOUTS["de"], "f8"))
    (tmp_path / "event5").write_bytes(recorded([*good, *events(pressed(PACK, LAYOUTS["us"], "f8")), *good]))
    done = scan(tmp_path, "--device", "event5")
    assert done.stdout == f"{PACK}\n{PACK}\n"
    assert done.stderr.count("Refused:") == 1
    assert "the scanner is gone" in done.stderr
    assert done.returncode == 4


def test_characters_are_read_to_their_end_and_named_as_json(tmp_path: Path) -> None:
    """What a pack names, and a scan that is cut off."""
    findings = judge_text(typed(pressed(SCAN, LAYOUTS["fr"], "|"), LAYOUTS["fr"]))
    record_of(tmp_path / "scanner-test.json", findings, tomorrow() - timedelta(days=1))
    done = scan(tmp_path, "--json", input=PACK.replace("\x1d", "|") + "\n]d201")
    assert json.loads(done.stdout) == {
        "scan": PACK,
        "product": "07032069804988",
        "lot": "L1",
        "expiry": "2028-03-31",
        "serial": "S1-y",
    }
    assert "in the middle" in done.stderr
    assert done.returncode == 0


def test_a_scanner_that_was_not_tested_so_is_not_read(tmp_path: Path) -> None:
    """Without a record, after a failed test, and where the test was made of another way to the scanner."""
    assert "no record" in scan(tmp_path, input="").stderr
    record_of(tmp_path / "scanner-test.json", keyed(way="dropped"), tomorrow() - timedelta(days=1))
    assert "not passed" in scan(tmp_path, input="").stderr
    record_of(tmp_path / "scanner-test.json", keyed(), tomorrow() - timedelta(days=1))
    done = scan(tmp_path, input=PACK + "\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "made of an input device" in done.stderr
