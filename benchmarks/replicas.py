"""Processes that hold a replica and gossip, as they are deployed, each steered over a pipe.

`python -m benchmarks.replicas LEDGER NUMBER PORT TOPIC` opens the ledger with the key of that box, gossips with the
broker on that port and prints a line when it is in sync with somebody. It is also a bare client of the same broker that
hears what is published on TOPIC. Each line on its standard input is then answered by one: `clear` forgets the times,
`report` prints them as JSON, `[[[seq, time] ...], [time ...]]`: when each block was held, durably, that is when its
import told the watchers of the ledger; and when each bare message was received. Times are of the machine's one
monotonic clock. It ends when its input does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from medledger.ledger import Ledger
from medledger.transport import Gossip

from .broker import HOST, Broker
from .scale import ROOT
from .world import box

BARE_TOPIC = "bare/" + 67 * "0"  # as long as the topic of a live block
SECONDS = 60.0


class Process:
    """One of these processes, seen from the one that measures."""

    def __init__(self, ledger: Path, number: int, broker: Broker) -> None:
        command = [sys.executable, "-m", "benchmarks.replicas", str(ledger), str(number), str(broker.port), BARE_TOPIC]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def read(self) -> Any:
        """Its next line."""
        assert self._process.stdout is not None  # opened with PIPE
        return json.loads(self._process.stdout.readline())

    def tell(self, line: str) -> None:
        """A command; its answer is to be read."""
        assert self._process.stdin is not None  # opened with PIPE
        self._process.stdin.write(line + "\n")

    def ask(self, line: str) -> Any:
        """A command, and its answer."""
        self.tell(line)
        return self.read()

    def close(self) -> None:
        """End it, and wait until it has."""
        self._process.communicate()


@contextmanager
def processes(ledgers: Sequence[tuple[Path, int]], broker: Broker) -> Iterator[list[Process]]:
    """One process for each of these ledgers and the number of its box; connected, when the block begins."""
    running: list[Process] = []
    try:
        running += [Process(path, number, broker) for path, number in ledgers]
        for process in running:
            process.read()
        yield running
    finally:
        for process in running:
            process.close()


@contextmanager
def bare_client(port: int, hear: Callable[[], None] | None = None, topic: str = BARE_TOPIC) -> Iterator[Client]:
    """A paho client as anybody would write it, with its own thread; small messages leave at once, as ours do."""
    client = Client(CallbackAPIVersion.VERSION2)
    subscribed = threading.Event()
    client.on_socket_open = _without_delay
    client.on_subscribe = lambda *_: subscribed.set()
    if hear is not None:
        client.on_message = lambda *_: hear()
    client.connect(HOST, port)
    client.loop_start()
    try:
        if hear is not None:
            client.subscribe(topic, 1)
            if not subscribed.wait(SECONDS):
                raise RuntimeError("the broker does not answer")
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def _without_delay(_client: Client, _data: Any, sock: Any) -> None:
    sock.setsockopt(6, 1, 1)  # TCP_NODELAY


def main(path: str, number: int, port: int, topic: str) -> None:
    """Gossip, and answer until there is nobody to answer."""
    held: list[tuple[int, float]] = []
    heard: list[float] = []
    with (
        Ledger.open(Path(path), box(number)) as ledger,
        bare_client(port, lambda: heard.append(time.monotonic()), topic),
    ):
        ledger.watch(lambda advance: held.append((advance.last, time.monotonic())))
        with Gossip(ledger, f"mqtt://{HOST}:{port}"):
            print(json.dumps("ready"), flush=True)
            for line in sys.stdin:
                if line == "clear\n":
                    held.clear()
                    heard.clear()
                print(json.dumps([held, heard] if line == "report\n" else ledger.digest().hex()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
