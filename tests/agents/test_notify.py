"""Signs of life for systemd, through real datagram sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from medledger_agents.notify import Notifier, Watchdog, watchdog_seconds


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The service manager's end, and its address as NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@medledger-test-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(name if request.param == "path" else "\0" + name[1:])
        end.settimeout(60)
        yield end, name


def test_each_message_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    """READY, STATUS in one line, RELOADING with the monotonic time of now, STOPPING, WATCHDOG."""
    end, address = manager
    notifier = Notifier.of({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("well,\n3 peers")
    notifier.status("well, 3 peers")  # nothing new: nothing is sent
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.stopping()
    notifier.alive()
    got = [end.recv(4096).decode() for _ in range(5)]
    assert got[:2] == ["READY=1", "STATUS=well, 3 peers"]
    reloading, at = got[2].split("\n")
    assert reloading == "RELOADING=1"
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert got[3:] == ["STOPPING=1", "WATCHDOG=1"]


def test_a_manager_that_is_not_there_harms_nothing(tmp_path: Path) -> None:
    """No variable, a socket nobody holds, one that is full: the agent goes on."""
    Notifier.of({}).ready()
    Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        notifier = Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "full")})
        for number in range(5000):
            notifier.status(f"{number} peers")
        notifier.alive()


def test_ready_waits_for_a_manager_that_is_busy(tmp_path: Path) -> None:
    """While its queue is full a status line is dropped; READY, without which a start never ends, is not."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        notifier = Notifier(address)
        for number in range(5000):
            notifier.status(f"{number} peers")
        reading = threading.Timer(0.1, lambda: [end.recv(4096) for _ in range(5)])
        reading.start()
        notifier.ready()
        reading.join()
        end.setblocking(False)
        got = []
        with suppress(BlockingIOError):
            while True:
                got.append(end.recv(4096))
    assert got[-1] == b"READY=1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_asked_for_by_the_environment(environment: dict[str, str], seconds: float | None) -> None:
    """sd_watchdog_enabled(3): WATCHDOG_USEC counts for the process that WATCHDOG_PID names, or for any."""
    assert watchdog_seconds(environment) == seconds


def test_no_sign_of_life_without_progress(tmp_path: Path) -> None:
    """While `alive` hangs, as a thread does whose disk hangs, nothing is sent; when it goes on, so does the feeding."""
    address = str(tmp_path / "notify")
    hang = threading.Event()
    hang.set()

    async def alive() -> None:
        await asyncio.to_thread(hang.wait)

    async def live(end: socket.socket) -> None:
        feeding = asyncio.create_task(Watchdog(Notifier(address), 0.1, alive).run())
        fed = 0
        while fed < 3:
            fed += await received(end)
            await asyncio.sleep(0.05)
        hang.clear()
        await asyncio.sleep(0.3)
        await received(end)
        await asyncio.sleep(0.5)
        assert await received(end) == 0
        hang.set()
        while await received(end) == 0:
            await asyncio.sleep(0.05)
        feeding.cancel()

    async def received(end: socket.socket) -> int:
        count = 0
        try:
            while end.recv(100) == b"WATCHDOG=1":
                count += 1
        except BlockingIOError:
            return count
        raise AssertionError("something else was sent")

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        end.setblocking(False)
        asyncio.run(live(end))
