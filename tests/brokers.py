"""MQTT brokers that the tests start themselves: each its own process, on its own port of localhost.

`new_broker(directory)` gives a real Mosquitto where one is installed (PATH or /usr/sbin), else the embedded broker;
both are `Broker`s. A broker keeps its port for life, so that clients find it again after `kill()` and `start()`.
Neither keeps anything across a restart: the ledger's database is the outbox, never the broker.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from medledger_agents.broker import EmbeddedBroker

REQUIRE_MOSQUITTO = "MEDLEDGER_REQUIRE_MOSQUITTO"
CHOOSE_BROKER = "MEDLEDGER_BROKER"
START_SECONDS = 10.0


class Broker(Protocol):
    """A broker process on one port. `kill` is SIGKILL; `start` after `kill` or `stop` takes the same port."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address for clients, as in mqtt://127.0.0.1:1883."""
        ...

    def start(self) -> object:
        """Start, and return once connections are accepted."""
        ...

    def stop(self) -> None:
        """Stop in an orderly way; nothing happens when not running."""
        ...

    def kill(self) -> None:
        """Kill the process at once, as a power cut would."""
        ...

    def restart(self) -> None:
        """Kill and start again on the same port."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


EVERYBODY = ("allow_anonymous true", "persistence false")


class Mosquitto:
    """A real Mosquitto with a configuration of its own: localhost only, and, unless told otherwise, anonymous.

    `settings` are the lines of its configuration that follow its listener.
    """

    def __init__(
        self, program: str, directory: Path, host: str = "127.0.0.1", settings: Sequence[str] = EVERYBODY
    ) -> None:
        self.host = host
        self.port = free_port(host)
        self._program = program
        self._configuration = directory / f"mosquitto-{self.port}.conf"
        self._log = directory / f"mosquitto-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.tls = any(line.startswith("certfile") for line in settings)
        lines = ["log_dest stderr", "log_type error", "log_type warning"]
        lines.append(f"user {getpass.getuser()}")  # as root it would become a user who cannot read the tests' files
        lines.append(f"listener {self.port} {host}")
        self._configuration.write_text("\n".join([*lines, *settings]) + "\n")

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """What Mosquitto said on standard error."""
        return self._log.read_text()

    def start(self) -> Self:
        """Start Mosquitto and wait until it accepts connections."""
        assert self._process is None, "Mosquitto is running already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not accepts(self.host, self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._program} did not start on port {self.port}: {self._log.read_text()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Ask Mosquitto to end and wait for it."""
        if self._process is not None:
            self._process.terminate()
            self.resume()  # should it be paused, it would never hear of it
            self._process.wait(START_SECONDS)
            self._process = None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: the kernel goes on taking connections and bytes, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def reload(self) -> None:
        """SIGHUP: read accounts and access rules again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def restart(self) -> None:
        """Kill and start again on the same port."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def find_mosquitto() -> str | None:
    """Path of the installed Mosquitto; /usr/sbin, where Debian puts it, is not on everybody's PATH.

    None where MEDLEDGER_BROKER=embedded asks to do without it.
    """
    if os.environ.get(CHOOSE_BROKER) == "embedded":
        return None
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def new_broker(directory: Path) -> Broker:
    """A broker that is not started yet: Mosquitto where there is one, else the embedded broker."""
    program = find_mosquitto()
    if program is not None:
        return Mosquitto(program, directory)
    if os.environ.get(REQUIRE_MOSQUITTO) == "1":
        raise RuntimeError(f"{REQUIRE_MOSQUITTO}=1, but no mosquitto is on PATH or in /usr/sbin")
    return EmbeddedBroker(port=free_port("127.0.0.1"))


def free_port(host: str) -> int:
    """A port nobody listens on just now. Mosquitto cannot be asked to choose one and tell."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(host: str, port: int) -> bool:
    """Whether something accepts connections on that port."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


class Electing:
    """What a server of a cluster without a leader is to its clients: it takes connections, and hangs up."""

    def __init__(self, host: str, port: int) -> None:
        self.visits = 0
        self._server = socket.create_server((host, port))
        self._server.settimeout(0.02)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            self.visits += 1
            connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()
