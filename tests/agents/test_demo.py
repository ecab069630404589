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
from typing import NamedTuple

import pytest

from brokers import Broker
from medledger import Ledger
from medledger.findings import find
from medledger_agents.demo.feed import MONITORS, identifiers, messages, scans

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


class Played(NamedTuple):
    """A demo that was played to its end."""

    home: Path
    out: str
    errors: str
    seconds: float

    @property
    def summary(self) -> str:
        """What it said at the end."""
        return self.out[self.out.index("What was logged, and by whom") :]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One run on the embedded broker, for the tests that only look at what came of it."""
    home = tmp_path_factory.mktemp("demo") / "parties"
    started = time.monotonic()
    demo = start(home)
    out, errors = demo.communicate(timeout=SECONDS * 2)
    assert demo.returncode == 0, (out, errors)
    return Played(home, out, errors, time.monotonic() - started)


def test_it_shows_what_happens_in_half_a_minute(played: Played) -> None:
    """It says what was logged, by whom, and what was verified and refused, and leaves no process behind."""
    assert played.seconds < SECONDS
    assert played.errors == ""
    assert wait_until_gone(played.home) == []
    for part in ("REFUSED: the pack expired on", "ALARM", "AA, logged once", "SpO2 impossible", "(no patient)"):
        assert part in played.out
    said = " ".join(played.summary.split())
    for part in ("24 readings", "3 packs dispensed", "one content", "25 messages acknowledged, 24 logged"):
        assert part in said
    for part in ("20 readings that PO-1 signed itself", "2 live, 2 nobody's", "did not supply 09520123456023"):
        assert part in said
    assert str(played.home / "auditor" / "ledger.db") in played.summary


def test_the_commands_it_prints_work_as_printed(played: Played) -> None:
    """Each of the three can be pasted into a shell, and says something."""
    printed = played.summary[played.summary.index("Try next") :]
    commands = re.findall(r"^  (?!#)(\S*medledger.* \S+ledger\.db.*)$", printed, re.MULTILINE)
    assert len(commands) == 3, printed
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout.strip()


def test_the_replica_it_leaves_is_whole(played: Played) -> None:
    """The auditor's replica verifies and holds what was sent, but nobody's name."""
    home = played.home
    with Ledger.open(home / "auditor" / "ledger.db") as ledger:
        report = ledger.fsck()
        assert report.forks == []
        readings = list(ledger.entries("reading"))
        assert len(readings) == sum(len(messages(monitor)) for monitor in MONITORS)
        assert len(list(ledger.entries("dispense"))) == len(scans()) - 2
        assert {len(entry.subject) for entry in readings if entry.subject} == {16}
        assert [len(entry.content["readings"]) for entry in ledger.entries("device.batch")] == [5] * 4
        assert [finding.kind for finding in find(ledger)] == ["pack alert"]
        samples = [sample for entry in readings for sample in entry.content["samples"]]
        assert [sample[1] for sample in samples if len(sample) > 3 and sample[3].get("flag") == "sentinel"] == [None]
    replicas = b"".join(path.read_bytes() for path in home.glob("*/ledger.db*"))
    assert [word for word in identifiers() if word in replicas] == []
    raw = b"".join(path.read_bytes() for path in home.glob("bedside/inbox.db*"))
    assert [word for word in identifiers() if word not in raw] == []


def test_on_a_terminal_it_draws_a_screen(tmp_path: Path, broker: Broker) -> None:
    """It draws in place, leaves the cursor on when it is done, and uses a broker of one's own when told to."""
    command = [*PROGRAM, "--directory", str(tmp_path / "demo"), "--broker", broker.url]
    shown, code = _on_a_terminal(command, columns=100, rows=40)
    assert code == 0, shown
    assert "\x1b[?25l" in shown, "the cursor is hidden while it draws"
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "four parties, one ledger" in text
    assert "messages acknowledged" in text
    assert "25/25" in text
    assert "a broker of your own" in text
    assert "Try next" in text


@pytest.mark.parametrize(
    ("sign", "seconds"), [(signal.SIGINT, 0.0), (signal.SIGINT, 2.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, 2.5)]
)
def test_it_leaves_no_process_behind(tmp_path: Path, sign: signal.Signals, seconds: float) -> None:
    """Stopped when it has just begun or in the middle, in whatever way, it takes its parties with it."""
    home = tmp_path / "demo"
    demo = start(home)
    assert demo.stdout is not None
    assert "broker" in demo.stdout.readline()
    time.sleep(seconds)
    assert seconds == 0 or processes_of(home / "bedside")
    demo.send_signal(sign)
    out, errors = demo.communicate(timeout=60)
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
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 3
    assert "is not empty" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_make_demo_runs_it() -> None:
    """The Makefile's target is this very command."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` runs us
    recipe = subprocess.run(["make", "-n", "demo"], cwd=ROOT, env=plain, capture_output=True, text=True, timeout=60)
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
    return shown.decode(errors="replace"), process.wait(60)
