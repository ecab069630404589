"""Telling systemd how the agent is: the datagrams of sd_notify(3), and the watchdog.

Rules:

- Without `NOTIFY_SOCKET` in the environment nobody listens, and everything here does nothing. A name that begins with
  `@` is an abstract socket. A datagram that cannot be sent is dropped: the supervisor's own supervision must not harm
  the agent. While the manager's queue is full (it reads its units again), what it waits for is held for `PATIENCE`; a
  status line, which the next one replaces, is not.
- `RELOADING=1` comes with `MONOTONIC_USEC`, and is ended by `READY=1` (Type=notify-reload asks for both).
- The watchdog is fed every half of `WATCHDOG_USEC`, by a part that runs in the event loop, and only after `alive` has
  returned: it goes through the recorder's thread and through the disk. Should either hang, it is not fed, and systemd
  starts the agent anew. That a write *fails* is no reason: a full disk is no better after a restart.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self

from . import logs
from .health import HEALTH
from .meters import METERS

MAX_STATUS: Final = 200
"""Characters of a status line."""

PATIENCE: Final = 1.0
"""Seconds; it holds up the event loop for so long at most."""

UNWATCHED_SECONDS: Final = 120.0
"""How often progress is looked for where no service manager asks for it: what hangs is a fault all the same."""


class Notifier:
    """Sends to the service manager, where there is one."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._status: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """The one that this environment names."""
        return cls(environment.get("NOTIFY_SOCKET"))

    def ready(self) -> None:
        """It listens, or does so again with its new configuration."""
        self._send("READY=1")

    def reloading(self) -> None:
        """It reads its configuration again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """It ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people; nothing is sent where it is the same as before."""
        line = " ".join(text.split())[:MAX_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}", 0)

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, text: str, patience: float = PATIENCE) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(patience)
                out.sendto(text.encode(), address)
        except OSError as error:
            logs.warning("systemd cannot be told", reason=error.strerror or str(error))


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """How often the service manager wants a sign of life from this process, None where it wants none."""
    pid = environment.get("WATCHDOG_PID")
    if pid is not None and pid != str(os.getpid()):
        return None
    try:
        seconds = int(environment.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return seconds if seconds > 0 else None


class Watchdog:
    """The part that feeds the watchdog every half of `seconds` while `alive` returns in time."""

    name = "watchdog"
    essential = True

    def __init__(self, notifier: Notifier, seconds: float, alive: Callable[[], Awaitable[None]]) -> None:
        self._notifier = notifier
        self._pause = seconds / 2
        self._alive = alive

    async def start(self) -> None:
        """Nothing is to be prepared."""

    async def run(self) -> None:
        """Feed it for ever."""
        while True:
            started = asyncio.get_running_loop().time()
            looking = asyncio.ensure_future(self._alive())
            try:
                while not (await asyncio.wait({looking}, timeout=self._pause))[0]:
                    METERS.count("watchdog", "kept back")
                    HEALTH.fault("progress", "the recorder or the disk hangs: systemd's watchdog is not fed")
                looking.result()
                HEALTH.mended("progress")
            finally:
                looking.cancel()
            METERS.count("watchdog", "fed")
            self._notifier.alive()
            await asyncio.sleep(max(0.0, started + self._pause - asyncio.get_running_loop().time()))

    async def stop(self) -> None:
        """Nothing is left behind."""
