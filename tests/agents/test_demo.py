"""The demo as a person meets it: what it prints, what it leaves behind, and what it does not."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from brokers import Broker
from medledger import Ledger
from medledger_agents.demo_feed import identifiers, messages, scans

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0
PROGRAM = [sys.executable, "-m", "medledger", "demo"]


def processes_of(directory: Path) -> list[str]:
    """The command lines of running processes that name this directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(directory) in line:
                found.append(line)
    return found


def wait_until_gone(directory: Path) -> list[str]:
    """The processes that are still there after a while."""
    deadline = time.monotonic() + 10
    while (left := processes_of(directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def start(directory: Path, *options: str) -> subprocess.Popen[str]:
    """A demo whose parties live below this directory."""
    return subprocess.Popen(
        [*PROGRAM, "--plain", "--directory", str(directory), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_it_runs_and_its_commands_work(tmp_path: Path) -> None:
    """In under 30 s it says what was logged, by whom, and what was verified; the commands it prints work as printed."""
    home = tmp_path / "demo"
    started = time.monotonic()
    out, errors = start(home).communicate(timeout=SECONDS * 2)
    took = time.monotonic() - started
    assert took < SECONDS, out
    assert errors == ""
    assert wait_until_gone(home) == []
    assert "REFUSED: the pack expired on" in out
    assert "ALARM" in out
    assert "AA, logged once" in out
    summary = out[out.index("What was logged, and by whom") :]
    for part in ("24 readings", "3 packs dispensed", "one content", "25 messages acknowledged, 24 logged"):
        assert part in " ".join(summary.split())
    commands = re.findall(r"^  (?!#)(\S*medledger.* \S+ledger\.db.*)$", summary[summary.index("Try next") :], re.M)
    assert len(commands) == 3, summary
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout.strip()
    assert str(home / "auditor" / "ledger.db") in summary


def test_the_replica_it_leaves_is_whole(tmp_path: Path, broker: Broker) -> None:
    """With a broker of one's own: the auditor's replica verifies and holds what was sent, but nobody's name."""
    home = tmp_path / "demo"
    demo = start(home, "--broker", broker.url)
    out, errors = demo.communicate(timeout=SECONDS * 2)
    assert demo.returncode == 0, (out, errors)
    with Ledger.open(home / "auditor" / "ledger.db") as ledger:
        report = ledger.fsck()
        assert report.forks == []
        readings = list(ledger.entries("reading"))
        assert len(readings) == sum(len(messages(monitor)) for monitor in ("bed-7", "bed-8", "bed-9"))
        assert len(list(ledger.entries("dispense"))) == len(scans()) - 2
        assert {len(entry.subject) for entry in readings if entry.subject} == {16}
        samples = [sample for entry in readings for sample in entry.content["samples"]]
        assert [sample[1] for sample in samples if len(sample) > 3 and sample[3].get("flag") == "sentinel"] == [None]
    replicas = b"".join(path.read_bytes() for path in home.glob("*/ledger.db*"))
    assert [word for word in identifiers() if word in replicas] == []


def test_on_a_terminal_it_draws_a_screen(tmp_path: Path) -> None:
    """It is drawn again in place, fits the width, and leaves the cursor on when it is done."""
    shown, code = _on_a_terminal([*PROGRAM, "--directory", str(tmp_path / "demo")], columns=100, rows=40)
    assert code == 0, shown
    assert "\x1b[?25l" in shown, "the cursor is hidden while it draws"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "four parties, one ledger" in text
    assert "messages acknowledged" in text
    assert "25/25" in text
    assert "Try next" in text


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("seconds", [0.7, 3.0])
def test_it_leaves_no_process_behind(tmp_path: Path, sign: signal.Signals, seconds: float) -> None:
    """Stopped early or in the middle, in whatever way, it takes its parties with it."""
    home = tmp_path / "demo"
    demo = start(home)
    time.sleep(seconds)
    demo.send_signal(sign)
    out, errors = demo.communicate(timeout=20)
    assert demo.returncode == (-sign if sign == signal.SIGKILL else 130), (out, errors)
    assert "Traceback" not in errors
    assert wait_until_gone(home) == []


def test_a_broker_that_is_not_there_is_said(tmp_path: Path) -> None:
    """One sentence, no traceback, nobody left."""
    home = tmp_path / "demo"
    demo = start(home, "--broker", "mqtt://127.0.0.1:1")
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode not in (0, 70)
    assert "cannot be reached" in errors
    assert "Traceback" not in errors
    assert wait_until_gone(home) == []


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    """It never writes into a directory that holds something already."""
    (tmp_path / "mine").write_text("precious")
    demo = start(tmp_path)
    _, errors = demo.communicate(timeout=20)
    assert demo.returncode == 3
    assert "is not empty" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_make_demo_runs_it() -> None:
    """The Makefile's target is this very command."""
    recipe = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert shlex.split(recipe.stdout.strip().splitlines()[-1]) == [".venv/bin/medledger", "demo"]


def _on_a_terminal(command: list[str], *, columns: int, rows: int) -> tuple[str, int]:
    """What a program writes to a terminal of that size, and its exit code."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, cwd=ROOT, env=environment)
    os.close(child)
    shown = b""
    deadline = time.monotonic() + SECONDS * 2
    while time.monotonic() < deadline:
        ready, _, _ = select.select([parent], [], [], 1)
        try:
            data = os.read(parent, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
        if ready and not data:
            break
        shown += data
    os.close(parent)
    return shown.decode(errors="replace"), process.wait(10)
