"""Signals at bad moments: a storm of reloads, a reload before the agent listens, an end before it does, one twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from boxes import Box, World, oru
from medledger_agents.process import HUNG
from waiting import until

STORM = 400


@pytest.fixture
def box(world: World) -> Box:
    """An enrolled bed."""
    return world.box("bed", "bedside")


def run(box: Box) -> subprocess.Popen[bytes]:
    """The agent, from its first moment."""
    command = [sys.executable, "-m", "medledger", "agent", box.role, "--config", str(box.config)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)


def opened(fifo: Path) -> int:
    """The other end of a pipe, as soon as somebody opens it for reading; nothing is ever written to it."""
    ends: list[int] = []

    def there() -> bool:
        with suppress(OSError):  # nobody reads yet
            ends.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
        return bool(ends)

    assert until(there)
    return ends[0]


def test_a_storm_of_reloads_costs_next_to_nothing(box: Box) -> None:
    """Hundreds of SIGHUP are a handful of reloads, messages are taken meanwhile, and the last file is in force."""
    with box.start() as agent:
        started = time.monotonic()
        for number in range(STORM):
            saved = box.config.with_suffix(".new")  # whole at every moment, as an editor saves it
            saved.write_text(box.config.read_text() + ("[spool]\nhours = 7\n" if number == STORM - 1 else ""))
            saved.replace(box.config)
            agent.process.send_signal(signal.SIGHUP)
            if number % 100 == 0:
                assert agent.monitor().ask(oru(number))[0] == "AA"
        agent.wait_for("configuration reloaded")
        assert until(lambda: any(each.get("changed") == 1 for each in agent.log))
        reloads = sum(each["event"] == "configuration reloaded" for each in agent.log)
        assert reloads <= 2 + (time.monotonic() - started)
        agent.stop()


def test_a_reload_before_it_listens_ends_nothing(box: Box) -> None:
    """SIGHUP ends a process that does not expect it, and systemd would take that for an orderly end."""
    life = run(box)
    seen = []
    try:
        assert life.stderr is not None
        for line in life.stderr:
            seen.append(json.loads(line)["event"])
            life.send_signal(signal.SIGHUP)
            if "listening" in seen and "configuration reloaded" in seen:
                break
        assert life.poll() is None, seen
        life.send_signal(signal.SIGTERM)
        life.send_signal(signal.SIGTERM)
        life.stderr.read()
        assert life.wait(60) == 0
    finally:
        life.kill()
        life.wait()
        assert life.stderr is not None
        life.stderr.close()
    assert seen[0] == "ledger open"


def test_an_agent_that_hangs_before_it_listens_can_be_ended(world: World) -> None:
    """A file that never answers: SIGTERM ends the agent in its time, and the log shows where it hung, and no value."""
    box = world.box("bed", "bedside", gossip={"broker": "mqtt://127.0.0.1:1", "username": "bed"})
    os.mkfifo(box.home / "password")
    text = box.config.read_text()
    box.config.write_text(text.replace("[gossip]\n", '[gossip]\npassword_file = "password"\n'))
    life = run(box)
    try:
        assert life.stderr is not None
        assert b"ledger open" in life.stderr.readline()
        silent = opened(box.home / "password")
        life.send_signal(signal.SIGTERM)
        told = life.stderr.read().decode()
        assert life.wait(60) == HUNG, told
        os.close(silent)
    finally:
        life.kill()
        life.wait()
        assert life.stderr is not None
        life.stderr.close()
    assert "stopping was cut short" in told
    assert "in first_line" in told


@pytest.mark.parametrize("answers", [b"", b"\x20\x02\x00\x00"], ids=["never", "then never again"])
def test_a_broker_that_falls_silent_holds_up_no_end(world: World, stack: ExitStack, answers: bytes) -> None:
    """It takes the connection, says nothing (more), and takes nothing: the agent ends in order and in its time."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    taken: list[socket.socket] = []

    def take() -> None:
        with suppress(OSError):  # the test has ended
            while True:
                connection, _ = server.accept()
                taken.append(stack.enter_context(connection))
                connection.sendall(answers)

    threading.Thread(target=take, daemon=True).start()
    box = world.box("bed", "bedside", gossip={"broker": f"mqtt://127.0.0.1:{server.getsockname()[1]}"})
    with box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        assert until(lambda: bool(taken))
        agent.stop()  # with 0: had it taken longer than its time, it would have ended as one that hung
    server.shutdown(socket.SHUT_RDWR)
