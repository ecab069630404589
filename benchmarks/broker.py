"""The broker that gossip is measured over: a real Mosquitto, a process of its own on a port of localhost.

Where none is installed it is the embedded one, which is slower and meant for demonstrations: a line says in its
`method` which it was. Neither writes anything to disk.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medledger_agents.broker import EmbeddedBroker

HOST = "127.0.0.1"
START_SECONDS = 10.0
CONFIGURATION = """
listener {port} {host}
allow_anonymous true
persistence false
log_dest none
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that runs."""

    port: int
    name: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"mqtt://{HOST}:{self.port}"


@contextmanager
def broker(place: Path) -> Iterator[Broker]:
    """A broker, as long as the block lasts."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        with EmbeddedBroker() as embedded:
            yield Broker(embedded.port, "the embedded broker")
        return
    with socket.socket() as probe:  # Mosquitto cannot be asked to choose a port and tell
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    configuration = place / "mosquitto.conf"
    configuration.write_text(CONFIGURATION.format(port=port, host=HOST))
    process = subprocess.Popen([program, "-c", str(configuration)], stdin=subprocess.DEVNULL)
    try:
        _await(port, process)
        yield Broker(port, "Mosquitto")
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when it accepts connections."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Mosquitto did not start on port {port}") from None
            time.sleep(0.02)
        else:
            return
