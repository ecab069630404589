"""An agent as systemd sees it: a process that says how it is, whose watchdog falls silent when it hangs, and that ends.

The agent is a pharmacy's, for it starts with the least; what is tested here is the same for all.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxes import Agent, Box, World
from medledger_agents.bedside.config import BedsideConfig
from medledger_agents.pharmacy.config import PharmacyConfig
from medledger_agents.report import config_hash, firmware
from waiting import until

SCAN = "]d201095060001343521728033121S1"
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.got: list[str] = []

    def look(self) -> list[str]:
        """Everything that came since the last look."""
        fresh = []
        try:
            while True:
                fresh.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            self.got += fresh
            return fresh

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager."""
    found = Manager(tmp_path)
    yield found
    found.close()


@pytest.fixture
def box(world: World) -> Box:
    """An enrolled pharmacy."""
    return world.box("counter", "pharmacy")


def test_systemd_is_told_the_whole_life(box: Box, manager: Manager) -> None:
    """READY when it listens, a status line, a watchdog that is fed, STOPPING when it ends."""
    with box.start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000") as agent:
        assert until(lambda: bool(manager.look()) and manager.got.count("WATCHDOG=1") >= 3)
        assert manager.got.count("READY=1") == 1
        assert any(message.startswith("STATUS=well, offline") for message in manager.got), manager.got
        agent.stop()
    manager.look()
    assert manager.got[-1] == "STOPPING=1" or manager.got[-2] == "STOPPING=1"


def test_a_box_that_may_not_write_is_up_and_says_why(world: World, manager: Manager) -> None:
    """It is READY, for it listens, and its status line names what it waits for."""
    box = world.box("counter", "pharmacy", enrolled=False)
    with box.start(NOTIFY_SOCKET=str(manager.path)) as agent:
        assert until(lambda: bool(manager.look()) and "READY=1" in manager.got)
        assert until(lambda: any("its enrolment has not arrived" in text for text in [*manager.got, *manager.look()]))
        agent.stop()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="stops single threads, which needs Linux")
def test_the_watchdog_is_silent_while_the_recorders_thread_is_stopped(box: Box, manager: Manager) -> None:
    """The event loop runs on, and all the same nothing is fed; once the thread goes on, so does the feeding."""
    with box.start(NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000") as agent:
        assert agent.till().ask(SCAN)["result"] == "dispensed"  # the recorder's thread is there
        assert until(lambda: "WATCHDOG=1" in manager.look())
        threads = [int(name) for name in os.listdir(f"/proc/{agent.process.pid}/task")]
        with stopped([thread for thread in threads if thread != agent.process.pid]):
            assert until(lambda: any(text.startswith("STATUS=unhealthy: progress") for text in manager.look()))
            time.sleep(1.0)  # more than two of the times by which it is fed else
            assert "WATCHDOG=1" not in manager.look()
        assert until(lambda: "WATCHDOG=1" in manager.look())
        agent.stop()


class stopped:  # noqa: N801 - reads as a word
    """These threads do not run inside. What SIGSTOP cannot do to a single thread, a debugger can (ptrace(2))."""

    def __init__(self, threads: list[int]) -> None:
        self._threads = threads
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def _trace(self, request: int, thread: int) -> None:
        if self._libc.ptrace(request, thread, None, None) != 0:
            pytest.skip(f"threads cannot be traced here: {os.strerror(ctypes.get_errno())}")

    def __enter__(self) -> None:
        for thread in self._threads:
            self._trace(PTRACE_SEIZE, thread)
            self._trace(PTRACE_INTERRUPT, thread)
            os.waitpid(thread, 0x40000000)  # __WALL: a thread, not a child

    def __exit__(self, *exception: object) -> None:
        for thread in self._threads:
            self._trace(PTRACE_DETACH, thread)


def test_two_agents_on_one_ledger_are_refused_plainly(box: Box) -> None:
    """The second one says that the first has it open, and ends with an error; the first goes on."""
    with box.start() as agent:
        second = subprocess.run(
            [sys.executable, "-m", "medledger", "agent", "pharmacy", "--config", str(box.config)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert second.returncode != 0
        assert "in use" in second.stderr or "another process" in second.stderr
        assert "Traceback" not in second.stderr
        assert agent.till().ask(SCAN)["result"] == "dispensed"
        agent.stop()


def test_a_taken_port_ends_the_agent_with_the_reason(box: Box) -> None:
    """What an essential part raises at the start is one sentence on the command line, and nothing is left open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        box.config.write_text(box.config.read_text().replace("[scanner]\nport = 0", f"[scanner]\nport = {port}"))
        done = subprocess.run(
            [sys.executable, "-m", "medledger", "agent", "pharmacy", "--config", str(box.config)],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert done.returncode not in (0, 70)
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_agent_says_on_the_ledger_that_it_is_on_and_that_it_goes(box: Box) -> None:
    """Once each start: its label, the software, the configuration's hash. An orderly end says off, a kill nothing."""
    expected = config_hash(PharmacyConfig.load(box.config), box.home)
    with box.start() as agent:
        until_said(agent)
        agent.stop()
    with box.start() as agent:
        until_said(agent)
        agent.kill()
    found = [entry.content for entry in box.entries("device.status")]
    assert [content["state"] for content in found] == ["on", "off", "on"]
    assert {content["device"] for content in found} == {"counter"}
    assert {content["firmware"] for content in found} == {firmware()}
    assert {content["config"] for content in found} == {expected}


def until_said(agent: Agent) -> None:
    """Wait until it has said that it is on."""
    assert until(lambda: any(event["event"] == "blocks" and event["feed"] == "own" for event in agent.log))


def test_a_box_may_keep_its_own_state_to_itself(box: Box) -> None:
    """With `status = false` nothing of the box itself is on the ledger; what it is for is."""
    box.config.write_text(box.config.read_text() + "[cadence]\nstatus = false\n")
    with box.start() as agent:
        assert agent.till().ask(SCAN)["result"] == "dispensed"
        agent.stop()
    assert box.entries("device.status") == []


def test_a_promise_is_logged_once_and_taken_back(box: Box) -> None:
    """`minutes` in [cadence] is a promise on the ledger, which stands over restarts; 0 says that there is none."""
    plain = box.config.read_text()
    for minutes in (5, 5, 0):
        box.config.write_text(plain + f"[cadence]\nminutes = {minutes}\n")
        with box.start() as agent:
            until_said(agent)
            agent.stop()
    assert [entry.content for entry in box.entries("cadence")] == [{"interval": 300_000}, {}]


def test_calibrations_are_logged(box: Box) -> None:
    """Each configured day becomes an entry about its device, once a start; it is part of the configuration's hash."""
    box.config.write_text(box.config.read_text() + '[calibration]\ndevices = { "MON-7" = 2026-05-01 }\n')
    with box.start() as agent:
        assert until(lambda: sum(event["event"] == "blocks" for event in agent.log) >= 2)
        agent.stop()
    found = [entry.content for entry in box.entries("device.status") if "calibrated" in entry.content]
    assert found == [{"device": "MON-7", "state": "on", "calibrated": 1_777_593_600_000}]


def test_the_configurations_hash_says_what_differs_and_no_secret(tmp_path: Path) -> None:
    """Another value is another hash; another directory, or another account at the broker, is the same."""

    def hashed(directory: str, text: str) -> bytes:
        path = tmp_path / directory / "agent.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return config_hash(PharmacyConfig.load(path), path.parent)

    bedside = tmp_path / "bedside.toml"
    bedside.write_text('[instruments]\ndevices = { "PO-1" = { driver = "signed", port = "/dev/ttyUSB0" } }\n')
    assert len(config_hash(BedsideConfig.load(bedside), tmp_path)) == 32
    plain = hashed("a", '[gossip]\nbroker = "mqtts://counter:secret@broker.example"\n')
    assert len(plain) == 32
    assert plain == hashed("b", '[gossip]\nbroker = "mqtts://till:other@broker.example"\n')
    assert plain == hashed("a", '[gossip]\nbroker = "mqtts://broker.example"\n')
    assert plain != hashed("a", '[gossip]\nbroker = "mqtts://other.example"\n')
    assert plain != hashed("a", '[gossip]\nbroker = "mqtts://broker.example"\n[dispensing]\nquantity = "2"\n')
