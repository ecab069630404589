"""Three real NATS servers as one MQTT broker, configured as docs/brokers.md says, on ports of localhost.

`wait` returns once each server takes MQTT clients and an acknowledged message goes from each to each other: then
JetStream has its leaders. `kill` is SIGKILL; a server that is started again keeps its name, its ports and its store.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from brokers import accepts, free_port
from brokers_page import PASSWORD, changed, make_certificates, page_file

REQUIRE_NATS = "MEDLEDGER_REQUIRE_NATS"
HOST = "127.0.0.1"
READY_SECONDS = 40.0
SERVERS = 3
FIRST_USER = '{ user: "bed-7"'
NOTHING = '{ publish: ["x"], subscribe: ["x"] }'
OUTSIDER = f'{{ user: "outsider", password: "{PASSWORD}", permissions: {NOTHING} }}\n      '


def find_nats() -> str | None:
    """Path of nats-server; /usr/sbin, where Debian puts it, is not on everybody's PATH.

    An error where MEDLEDGER_REQUIRE_NATS=1 says that it must be there.
    """
    program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
    if program is None and os.environ.get(REQUIRE_NATS) == "1":
        raise RuntimeError(f"{REQUIRE_NATS}=1, but no nats-server is on PATH or in /usr/sbin")
    return program


class Cluster:
    """Three servers, numbered from 0. Accounts: bed-7 and pharmacy-1 as on the page, and outsider, without rights."""

    def __init__(self, program: str, directory: Path) -> None:
        self.directory = directory
        self._program = program
        self._ports = [free_port(HOST) for _ in range(3 * SERVERS)]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * SERVERS
        make_certificates(directory)
        for number in range(SERVERS):
            self._configuration(number).write_text(self._text(number))

    @property
    def urls(self) -> list[str]:
        """The servers' addresses for MQTT."""
        return [f"mqtts://{HOST}:{port}" for port in self._ports[:SERVERS]]

    def _configuration(self, number: int) -> Path:
        return self.directory / f"nats-{number}.conf"

    def log(self, number: int) -> str:
        """What a server has logged."""
        return (self.directory / f"nats-{number}.log").read_text()

    def _text(self, number: int) -> str:
        cluster_ports = self._ports[SERVERS : 2 * SERVERS]
        routes = {f"nats-{each + 1}.hospital.example:6222": f"{HOST}:{port}" for each, port in enumerate(cluster_ports)}
        return page_file(
            "/etc/nats-server.conf",
            {
                'server_name: "nats-1"': f'server_name: "nats-{number + 1}"',
                "127.0.0.1:4222": f"{HOST}:{self._ports[2 * SERVERS + number]}",
                "0.0.0.0:6222": f"{HOST}:{cluster_ports[number]}",
                "0.0.0.0:8883": f"{HOST}:{self._ports[number]}",
                **routes,
                "/etc/nats/": f"{self.directory}/",
                "/var/lib/nats": f"{self.directory}/store-{number}",
                '"change me"': f'"{PASSWORD}"',
                '"and me"': f'"{PASSWORD}"',
                FIRST_USER: OUTSIDER + FIRST_USER,
            },
        )

    def start(self, number: int) -> None:
        """Start one server."""
        assert self._processes[number] is None, "it runs already"
        with (self.directory / f"nats-{number}.log").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [self._program, "-c", str(self._configuration(number))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, number: int) -> None:
        """SIGKILL one server."""
        process, self._processes[number] = self._processes[number], None
        if process is not None:
            process.kill()
            process.wait()

    def let_outsiders_in(self) -> None:
        """Give the account without rights those of a member, and have the servers read that (SIGHUP)."""
        for number, process in enumerate(self._processes):
            path = self._configuration(number)
            path.write_text(changed(path.read_text(), {NOTHING: "$member"}))
            if process is not None:
                process.send_signal(signal.SIGHUP)

    def wait(self, *numbers: int) -> None:
        """Until acknowledged messages go between these servers; all three by default."""
        which = numbers or tuple(range(SERVERS))
        deadline = time.monotonic() + READY_SECONDS
        while not self._delivers(which, deadline):
            if time.monotonic() > deadline:
                logs = "\n\n".join(self.log(number)[-3000:] for number in range(SERVERS))
                raise RuntimeError(f"the cluster is not ready: {self.urls}\n{logs}")

    def _delivers(self, numbers: tuple[int, ...], deadline: float) -> bool:
        with ExitStack() as stack:
            heard: set[tuple[int, bytes]] = set()
            subscribed: set[int] = set()
            clients = []
            for number in numbers:
                while not accepts(HOST, self._ports[number]):
                    if time.monotonic() > deadline:
                        return False
                    time.sleep(0.05)
                clients.append(self._client(number, heard, subscribed, stack))
            if not _until(lambda: subscribed == set(numbers)):
                return False
            for number, client in zip(numbers, clients, strict=True):
                client.publish("ml/1/ready", str(number), 1)
            return _until(lambda: len(heard) == len(numbers) ** 2)

    def _client(self, number: int, heard: set[tuple[int, bytes]], subscribed: set[int], stack: ExitStack) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=f"ready-{number}-{os.urandom(3).hex()}")
        client.username_pw_set("bed-7", PASSWORD)
        client.tls_set(f"{self.directory}/ca.crt", f"{self.directory}/bed-7.crt", f"{self.directory}/bed-7.pem")
        client.on_connect = lambda *_: client.subscribe("ml/1/ready", 1)
        client.on_subscribe = lambda *_: subscribed.add(number)
        client.on_message = lambda _client, _data, message: heard.add((number, message.payload))
        client.connect_async(HOST, self._ports[number])
        stack.callback(client.loop_stop)
        stack.callback(client.disconnect)
        client.loop_start()
        return client

    def __enter__(self) -> Self:
        try:
            for number in range(SERVERS):
                self.start(number)
            self.wait()
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill_all()

    def _kill_all(self) -> None:
        for number in range(SERVERS):
            self.kill(number)


def _until(condition: Callable[[], bool], seconds: float = 8.0) -> bool:
    """Wait for a condition."""
    waiting = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        waiting.wait(0.02)
    return True
