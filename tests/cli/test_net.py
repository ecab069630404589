"""`medledger net`: the gossip of a ledger as people and monitoring see it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brokers import Broker
from medledger import statusfile
from medledger.cli import root
from medledger.cli.exits import Exit
from medledger.statusfile import Life
from waiting import until

from .conftest import Run

SECONDS = 20.0


@pytest.fixture
def pair(run: Run, here: Path, broker: Broker) -> tuple[Path, Path]:
    """A hospital's ledger, and a box's that has joined it; both know the broker."""
    for name in ("hospital", "box"):
        Path(name).mkdir()
    ledger = Path("hospital/h.db")
    run("init", ledger, "--name", "St. Anna", "--label", "Hospital", "--role", "hospital", "--broker", broker.url)
    text = run("member", "request", "--key", "box/b.key", "--label", "box 7", "--role", "bedside").out
    run("join", "box/b.db", "-", stdin=run("member", "approve", ledger, "-", "--no-deliver", stdin=text).out)
    return ledger, Path("box/b.db")


@contextmanager
def staying(ledger: Path) -> Iterator[subprocess.Popen[str]]:
    """`sync --stay` in the background, once its status file is there."""
    command = [sys.executable, "-m", "medledger", "sync", str(ledger), "--stay"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert until(lambda: statusfile.place(ledger).exists())
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=SECONDS)


def shown(ledger: Path) -> dict[str, Any]:
    """What a ledger's status file has for a status."""
    seen = statusfile.read(statusfile.place(ledger))
    return {} if seen is None else seen.document["status"]


# --- status ----------------------------------------------------------------------------------------------------------


def test_the_status_of_a_ledger_that_is_in_use(run: Run, pair: tuple[Path, Path]) -> None:
    """Read while another process has it open: peers by their labels, traffic, and how old all that is."""
    hospital, box = pair
    with staying(hospital) as running, staying(box):
        assert until(lambda: shown(hospital).get("in_sync", False) and shown(hospital)["own_blocks_unconfirmed"] == 0)
        assert "in use" in run("log", hospital, code=3).err
        text = run("net", "status", hospital).out
        assert text.startswith("In sync: all that its one peer has shown is here.\n")
        assert f"process {running.pid}, " in text
        assert "all confirmed by a peer" in text
        assert "box 7" in text
        assert "Alarms: none" in text
        told = run("net", "status", hospital, "--no-gossip", "--json").json
        assert (told["health"], told["exit_code"], told["running"]) == ("in sync", 0, True)
        assert told["process"] == {"pid": running.pid, "state": "running"}
        assert told["ledger"]["name"] == "St. Anna"
        assert [peer["label"] for peer in told["status"]["peer_list"]] == ["box 7"]
        assert told["status"]["traffic"]["out"]["bytes"] > 0
        assert 0 <= told["age_seconds"] < 20
    told = run("net", "status", hospital, "--no-gossip", "--json", code=7).json
    assert (told["health"], told["running"], told["process"]["state"]) == ("not running", False, "closed")


def test_who_is_alone_is_behind(
    run: Run, pair: tuple[Path, Path], own_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 where no other replica is heard, and where the broker is gone."""
    hospital, _ = pair
    monkeypatch.setenv("MEDLEDGER_BROKER_URL", own_broker.url)
    with staying(hospital):
        assert until(lambda: shown(hospital)["connected"])
        assert "no other replica was heard" in run("net", "status", hospital, code=5).out
        own_broker.kill()
        assert until(lambda: not shown(hospital)["connected"])
        assert f"no broker: trying {own_broker.url}" in run("net", "status", hospital, code=5).out


def test_an_alarm_is_told_with_what_to_do(run: Run, pair: tuple[Path, Path]) -> None:
    """6, with the sentence and its hint; after a quarter of an hour it counts no more."""
    hospital, box = pair
    with staying(hospital), staying(box):
        assert until(lambda: bool(shown(hospital).get("in_sync")))
        seen = statusfile.read(statusfile.place(hospital))
        assert seen is not None
    content = seen.document
    content["process"]["pid"] = os.getpid()
    content["status"]["alarms"] = [{"text": "something is wrong", "hint": "Mend it.", "seconds": 30.0}]
    content["process"]["monotonic_ms"] = time.monotonic_ns() // 1_000_000
    statusfile.write(statusfile.place(hospital), content)
    text = run("net", "status", hospital, code=6).out
    assert "Alarm: 1 alarm in the last 15 min." in text
    assert "something is wrong\n    Mend it.\n" in text
    content["status"]["alarms"][0]["seconds"] = 901.0
    statusfile.write(statusfile.place(hospital), content)
    assert "Alarms: none" in run("net", "status", hospital).out


def test_a_picture_of_another_version_is_no_bug(run: Run, pair: tuple[Path, Path]) -> None:
    """An agent that was not updated with the command may lack a field of the status, or have it in another form."""
    place = statusfile.place(pair[0])
    with staying(pair[0]):
        assert until(lambda: bool(shown(pair[0])))
    good = json.loads(place.read_text())
    for odd in ({"traffic": None}, {"alarms": [1]}, {"stragglers": "\x1b[31m"}, {"taken_seconds": 1e400}):
        place.write_text(json.dumps({**good, "status": {**good["status"], **odd}}))
        looked = run("net", "status", pair[0], "--no-gossip", code=Exit.STORE)
        assert "\x1b[31m" not in looked.out + looked.err
    place.write_text(json.dumps({**good, "status": {}}))
    assert "same version" in run("net", "status", pair[0], code=Exit.STORE).err
    assert "same version" in run("net", "watch", pair[0], code=Exit.STORE).err


def test_where_nobody_gossips_the_command_does(run: Run, pair: tuple[Path, Path]) -> None:
    """It takes part for a moment, keeps what arrives, leaves no status file; and does not where it is told so."""
    hospital, box = pair
    done = run("net", "status", box, "--no-gossip", code=7)
    assert "Not running: nobody gossips for box/b.db" in done.out
    told = run("net", "status", box, "--no-gossip", "--json", code=7).json
    assert (told["health"], told["status"]) == ("not running", None)
    with staying(hospital):
        told = run("net", "status", box, "--json").json
        assert told["process"] is None
        assert [peer["label"] for peer in told["status"]["peer_list"]] == ["Hospital"]
        assert told["status"]["blocks"] > 0
    assert not statusfile.place(box).exists()
    assert len(run("member", "list", box, "--json").lines) == 2


def test_a_killed_process_is_named_as_such(run: Run, pair: tuple[Path, Path]) -> None:
    """Its last picture is shown for what it is, with 7; without --no-gossip the command says so and looks itself."""
    hospital, box = pair
    with staying(hospital) as running:
        running.kill()
        running.wait()
    text = run("net", "status", hospital, "--no-gossip", code=7).out
    assert text.startswith(f"Not running: process {running.pid} has ended without closing; its last word is ")
    assert "What it showed last:" in text
    with staying(box):
        done = run("net", "status", hospital)
        assert f"Nobody gossips for {hospital}: process {running.pid} has ended without closing" in done.err
        assert done.out.startswith("In sync: ")


def test_a_look_that_cannot_be_says_what_to_do(run: Run, pair: tuple[Path, Path], broker: Broker) -> None:
    """No ledger, no broker, no key, a file that is damaged, a ledger in use by who shows nothing."""
    hospital, box = pair
    assert "there is no ledger" in run("net", "status", "missing.db", code=3).err
    run("init", "lonely.db", "--name", "Lonely", "--label", "L", "--role", "hospital", "--key", "hospital/h.key")
    done = run("net", "status", "lonely.db", "--key", "hospital/h.key", code=2)
    assert "nobody gossips for lonely.db, and no broker is known" in done.err
    assert "--broker" in done.err
    Path("hospital/h.key").rename("elsewhere.key")
    assert "--key" in run("net", "status", hospital, code=2).err
    Path("elsewhere.key").rename("hospital/h.key")
    with staying(box):
        status = statusfile.place(box)
        kept = status.read_bytes()
        status.write_text("{")
        done = run("net", "status", box, code=3)
        assert "is not a status file" in done.err
        status.unlink()
        done = run("net", "status", box, code=3)
        assert "in use by another process, which shows no status" in done.err
        status.write_bytes(kept)


def test_the_exit_codes_are_in_the_help(run: Run) -> None:
    """For whoever sets up monitoring."""
    text = run("net", "status", "--help").out
    for code in (Exit.OK, Exit.BEHIND, Exit.ALARM, Exit.NOT_RUNNING):
        assert f"  {int(code)}  " in text
    assert "net" in root.COMMANDS


# --- watch -----------------------------------------------------------------------------------------------------------


def test_without_a_terminal_watch_prints_lines(program: Run, pair: tuple[Path, Path]) -> None:
    """One for each change, as text or as JSON, until it is over; also where it gossips itself."""
    hospital, box = pair
    with staying(hospital):
        lines = program("net", "watch", box, "--for", "4s").out.splitlines()
        assert any("in sync" in line and "1 peer" in line for line in lines)
        assert all("\x1b" not in line for line in lines)
        values = program("net", "watch", hospital, "--for", "2s", "--json").lines
        assert values[0]["ledger"]["name"] == "St. Anna"
    seen = statusfile.read(statusfile.place(box))
    assert seen is not None
    assert seen.life is Life.CLOSED


def test_watch_draws_on_a_terminal_and_leaves_it_as_it_was(run: Run, pair: tuple[Path, Path]) -> None:
    """In a terminal of 80 x 24: what is there, drawn again and again; q, Ctrl-C and SIGTERM end it with 0."""
    hospital, box = pair
    with staying(hospital), staying(box):
        assert until(lambda: bool(shown(hospital).get("in_sync")))
        for end in (b"q", b"\x03", None):
            output, code = watched(hospital, end)
            assert code == 0
            assert output.startswith("\x1b[?1049h")
            screen, _, after = output.rpartition("\x1b[?1049l")
            assert "IN SYNC" in screen
            assert "box 7" in screen
            assert "St. Anna" in screen
            assert after.strip().startswith("In sync: ")
            frames = screen.split("\x1b[H")[1:]
            assert len(frames) >= 2
            for frame in frames:
                assert frame.count("\n") < 24


def watched(ledger: Path, end: bytes | None) -> tuple[str, int]:
    """What a terminal gets from `net watch`, ended after two frames by a key or SIGTERM, and the exit code."""
    process, terminal = pty.fork()
    if not process:  # the child, in a terminal of its own
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", "NO_COLOR": "1"}
        command = [sys.executable, "-m", "medledger", "net", "watch", str(ledger)]
        os.execve(sys.executable, command, environment)
    output = b""
    ended = False
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                output += os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
        if not ended and output.count(b"\x1b[H") >= 2:
            ended = True
            if end is None:
                os.kill(process, signal.SIGTERM)
            else:
                os.write(terminal, end)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    return output.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(status)


def test_watch_sees_gossip_come_and_go(run: Run, pair: tuple[Path, Path]) -> None:
    """A process that closes, and another that follows, without the command being started anew."""
    hospital, _ = pair
    with staying(hospital) as first:
        command = [sys.executable, "-m", "medledger", "net", "watch", str(hospital), "--json", "--for", "60s"]
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["running"]
        first.terminate()
        told = next(value for value in map(json.loads, watching.stdout) if not value["running"])
        assert told["health"] == "not running"
    with staying(hospital) as second:
        told = next(value for value in map(json.loads, watching.stdout) if value["running"])
        assert told["process"]["pid"] == second.pid
    watching.terminate()
    watching.communicate(timeout=SECONDS)
    assert watching.returncode == 0
