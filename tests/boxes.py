"""Boxes for the tests of the agents: a founded ledger, enrolled members, real agent processes and clients of theirs."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medledger import Identity, Ledger, make_request
from medledger_agents.subjects import Subjects
from medledger_bridge.mllp import Framer, wrap

START_SECONDS = 60.0
ANSWER_SECONDS = 30.0  # what a busy machine may take; less than the minute that tests let things wait which must not


class World:
    """A hospital that founded a ledger, and boxes that joined it, all offline."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hospital = Ledger.create(
            directory / "hospital.db",
            Identity.load_or_create(directory / "hospital.key"),
            name="Test ward",
            label="Hospital",
            organisation="Hospital",
            roles=["hospital"],
        )

    def box(self, name: str, role: str, *, enrolled: bool = True, **sections: dict[str, Any]) -> Box:
        """A box in a directory of its own, with its replica, its key and a configuration."""
        home = self.directory / name
        home.mkdir()
        identity = Identity.load_or_create(home / "box.key")
        secret = os.urandom(16)
        reply = self.hospital.enrol(make_request(identity, secret=secret, label=name, roles=[role]))
        with Ledger.join(home / "ledger.db", identity, reply, secret) as ledger:
            if enrolled:
                self.bring_up_to_date(ledger)
            ledger.peer_has_no_more(0)  # what a new replica waits for, and gossip tells it
        return Box(home, role, identity, sections)

    def bring_up_to_date(self, ledger: Ledger) -> None:
        """What the hospital holds of its own feed, by hand."""
        me = self.hospital.me
        assert me is not None
        ledger.import_blocks(self.hospital.release(me, 0, 1000))

    def close(self) -> None:
        """Close the hospital's replica."""
        self.hospital.close()


class Box:
    """One box's directory; `start` runs its agent as a process of its own."""

    def __init__(self, home: Path, role: str, identity: Identity, sections: dict[str, dict[str, Any]]) -> None:
        self.home = home
        self.role = role
        self.identity = identity
        listening = {"bedside": "mllp", "pharmacy": "scanner"}[role]
        defaults: dict[str, dict[str, Any]] = {
            "log": {"format": "json", "level": "debug"},
            listening: {"port": 0},
            "metrics": {"port": 0},
            **({"batch": {"window_seconds": 0}} if role == "bedside" else {}),
        }
        for name, keys in sections.items():
            defaults[name] = {**defaults.get(name, {}), **keys}
        self.config = home / "agent.toml"
        self.config.write_text(
            "".join(
                f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
                for name, keys in defaults.items()
            )
        )

    def start(self, **environment: str) -> Agent:
        """Start the agent; on return it listens."""
        return Agent(self, environment)

    def ledger(self) -> Ledger:
        """The replica, while no agent holds it."""
        return Ledger.open(self.home / "ledger.db", self.identity)

    def entries(self, type: str) -> list[Any]:
        """What the box has logged."""
        with self.ledger() as ledger:
            return list(ledger.entries(type, author=self.identity.public_key))

    def named(self, raw: str | bytes) -> bytes:
        """What a message, or a request at its counter, is named by on the ledger; after the box has run."""
        data = raw if isinstance(raw, bytes) else raw.encode()
        return Subjects.open(self.home / "subjects.key", "month").request(data)

    def stored_bytes(self) -> bytes:
        """Every byte of the ledger's files."""
        return b"".join(path.read_bytes() for path in sorted(self.home.glob("ledger.db*")))


def _toml(value: Any) -> str:
    """As JSON writes it, but for tables."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in value.items())} }}"
    return json.dumps(value)


class Agent:
    """A running agent. Its log is read as it comes; `log` holds all events so far."""

    def __init__(self, box: Box, environment: dict[str, str] | None = None) -> None:
        self.box = box
        self.log: list[dict[str, Any]] = []
        self.raw_log = b""
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._connections = ExitStack()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "medledger", "agent", box.role, "--config", str(box.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.port: int = self.wait_for("listening")["port"]
        except BaseException:
            self.kill()
            raise

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.raw_log += line
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "unreadable", "line": line.decode()}
            self.log.append(event)
            self._events.put(event)
        self._events.put({"event": "end"})

    def wait_for(self, name: str) -> dict[str, Any]:
        """The next event of that name."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                event = self._events.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the agent did not say {name!r}: {self.raw_log.decode()}") from None
            if event["event"] == name:
                return event
            assert event["event"] != "end", f"the agent ended before {name!r}: {self.raw_log.decode()}"

    def monitor(self) -> Monitor:
        """A new connection of a monitor, closed with the agent at the latest."""
        return self._connections.enter_context(closing(Monitor(self.port)))

    def till(self) -> Till:
        """A new connection of a pharmacy's counter, closed with the agent at the latest."""
        return self._connections.enter_context(closing(Till(self.port)))

    def resident_bytes(self) -> int:
        """The process's resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self._ended()

    def stop(self) -> None:
        """SIGTERM; it must end in order, which an agent that takes longer than its time for it does not."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(ANSWER_SECONDS)
        self._ended()
        assert code == 0, (code, self.raw_log.decode())

    def _ended(self) -> None:
        self.process.wait(ANSWER_SECONDS)
        self._reader.join(ANSWER_SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.close()
        if self.process.poll() is None:
            self.kill()


class Monitor:
    """A monitor's connection: sends messages and reads acknowledgements."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self._framer = Framer()
        self._replies: list[bytes] = []

    def send(self, *messages: bytes) -> None:
        """All in one packet."""
        self.socket.sendall(b"".join(map(wrap, messages)))

    def receive(self) -> tuple[str, str, str]:
        """The next acknowledgement: MSA-1, MSA-2 and MSA-3. Raises `ConnectionError` at the end."""
        while not self._replies:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the agent closed the connection")
            self._replies += self._framer.feed(data)
        lines = self._replies.pop(0).decode(errors="replace").split("\r")
        (msa,) = [line.split(lines[0][3]) for line in lines if line.startswith("MSA")]
        return msa[1], msa[2], msa[3] if len(msa) > 3 else ""

    def ask(self, message: bytes) -> tuple[str, str, str]:
        """Send one message and wait for its acknowledgement."""
        self.send(message)
        return self.receive()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class Till:
    """A counter's connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self._file = self.socket.makefile("rb")

    def ask(self, request: str | dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its reply."""
        reply = self.ask_or_end(request)
        if reply is None:
            raise ConnectionError("the agent closed the connection")
        return reply

    def ask_or_end(self, request: str | dict[str, Any]) -> dict[str, Any] | None:
        """The same; None where the agent ended instead, before or after it took the request."""
        line = request if isinstance(request, str) else json.dumps(request)
        try:
            self.socket.sendall(line.encode() + b"\n")
            reply = self._file.readline()
        except ConnectionError:
            return None
        return json.loads(reply) if reply else None

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()


def oru(
    number: int | str, *, patient: str = "P-4711", value: str = "72", sender: str = "MON-7", alarm: bool = False
) -> bytes:
    """A monitor's message with one heart rate, of a patient who must stay unknown."""
    trigger = "R40" if alarm else "R01"
    pid = f"PID|||{patient}^^^WARD^MR||Testperson^Zacharias^Q||19510203|M|||17 Lindenallee^^Musterstadt||0555-123456\r"
    event = "OBX|2|CWE|196670^MDC_EVT_HI^MDC|1.0.0.2|196670^MDC_EVT_HI^MDC||||||F\r" if alarm else ""
    return (
        f"MSH|^~\\&|{sender}|WARD3|||20261122093000+0000||ORU^{trigger}^ORU_{trigger}|{number}|P|2.6\r"
        f"{pid if patient else ''}OBR|1|||182777000^monitoring of patient^SCT|||20261122093000+0000\r"
        f"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.0.0.1|{value}|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||F\r{event}"
    ).encode()


IDENTIFIERS = (b"P-4711", b"Testperson", b"Zacharias", b"19510203", b"Lindenallee", b"Musterstadt", b"0555-123456")
"""What `oru` says about its patient."""

NOT_TAKEN = b"MSH|^~\\&|X|Y|||20261122093000+0000||ZML^Z01|7|P|2.6\r"
"""A bedside agent says in its log that it has refused it: what came before it has been read."""
