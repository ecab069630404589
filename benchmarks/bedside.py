"""A bedside agent as it is deployed: a process with gossip to a broker, fed over MLLP. How soon it logs, what it costs
when nothing happens, its memory, and its pace.

- An hour's load is a message a second, sent as fast as the agent takes them, in four parts. Growth is what is resident
  after the second half of it, against what was after the first.
- The time until it logs is from the start of the process to the first acknowledgement, of a durable entry. What it
  costs when idle is the processor's time of all its threads, with a broker connected and no message.

The pace is held against the least that anybody could do with the same messages in the same run: python-hl7 parses each,
and a plain SQLite file takes the bytes, one FULL commit for as many as the agent puts into a block. The two take turns,
each as often the first as the second, and of all rounds the one in the middle counts. Where other programs run, the
processor's time that each takes for a message says more than its pace.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from time import perf_counter, sleep, thread_time
from urllib.request import urlopen

import hl7

from medledger import Identity, Ledger, make_request
from medledger_agents.broker import EmbeddedBroker
from medledger_bridge.mllp import Framer, wrap

from .measure import Line, in_turns, line
from .scale import Scale

RESIDENT_BAR_MIB = 60.0
GROWTH_BAR = 1.05
START_BAR_SECONDS = 1.5
IDLE_BAR_PERCENT = 0.5
SENDERS = 4
HOUR = 4
"""Rounds that make an hour's load."""
ROUNDS = 9
PER_COMMIT = 128
"""Messages in a commit of the reference: about as many as the agent puts into a block under this load."""
CONFIG = """
[gossip]
broker = "{broker}"
[mllp]
port = 0
[metrics]
port = 0
[batch]
window_seconds = 0
[log]
format = "json"
level = "info"
"""
MESSAGE = (
    "MSH|^~\\&|MON-{sender}|WARD3|||20261122093000+0000||ORU^R01^ORU_R01|{number}|P|2.6\r"
    "PID|||P-{sender}^^^WARD^MR||Testperson^Zacharias||19510203|M\r"
    "OBR|1|||182777000^monitoring of patient^SCT|||20261122093000+0000\r"
    "OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.0.0.1|{rate}|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||F\r"
    "OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.0.0.2|97|262688^MDC_DIM_PERCENT^MDC|||||F\r"
    "OBX|3|NM|151562^MDC_RESP_RATE^MDC|1.0.0.3|14|264928^MDC_DIM_RESP_PER_MIN^MDC|||||F\r"
)


def bedside(place: Path, scale: Scale) -> Iterator[Line]:
    """How soon, how idle, how large, and the pace from socket to durable block."""
    part = max(1, scale.appends // HOUR)
    count = part * HOUR
    idle = count / 60
    with EmbeddedBroker() as broker:
        config = _box(place, broker.url)
        began = perf_counter()
        agent = _Agent(config)
        agent.feed(1)
        start = perf_counter() - began
        before = agent.processor_seconds()
        sleep(idle)
        cost = 100 * (agent.processor_seconds() - before) / idle
        agent_work: list[float] = []  # seconds of the processor in each round
        plain_work: list[float] = []

        def feed() -> None:
            before = agent.processor_seconds()
            agent.feed(part)
            agent_work.append(agent.processor_seconds() - before)

        def reference() -> None:
            before = thread_time()
            _plain(Path(mkdtemp(dir=place)) / "plain.db", part)
            plain_work.append(thread_time() - before)

        sides = [feed, reference]
        rounds = [in_turns(sides, HOUR // 2)]
        half = agent.resident_bytes()
        rounds.append(in_turns(sides, HOUR // 2))
        whole = agent.resident_bytes()
        agent.scrape()
        peak = agent.peak_bytes() / 2**20
        rounds.append(in_turns(sides, ROUNDS - HOUR))
        agent.stop()
    times = [(took, plain) for each in rounds for took, plain in zip(*each, strict=True)]
    ratio, pace = sorted((plain / took, part / took) for took, plain in times)[ROUNDS // 2]
    yield line(
        "agent-start",
        start,
        "s to a durable entry",
        reference=f"{START_BAR_SECONDS:g} s",
        ratio=start / START_BAR_SECONDS,
        bar=1.0,
        method="from the start of the process to its first acknowledgement, with a broker",
        result=[1],
    )
    yield line(
        "agent-idle-cpu",
        cost,
        "% of a core",
        reference=f"{IDLE_BAR_PERCENT:g} %",
        ratio=cost / IDLE_BAR_PERCENT,
        bar=1.0,
        method=f"processor time of all threads in {idle:.0f} s without a message, right after the start",
        result=[1],
    )
    yield line(
        "bedside-agent-resident",
        peak,
        "MiB peak resident",
        reference=f"{RESIDENT_BAR_MIB:g} MiB",
        ratio=peak / RESIDENT_BAR_MIB,
        bar=1.0,
        method=f"VmHWM of the agent's process after {count} messages over {SENDERS} connections, gossiping",
        result=[count],
    )
    yield line(
        "bedside-agent-growth",
        whole / 2**20,
        "MiB after an hour's load",
        reference="the same after half of it",
        ratio=whole / half,
        bar=GROWTH_BAR,
        method=f"VmRSS after {count} messages to VmRSS after {count // 2}",
        result=[count],
    )
    yield line(
        "bedside-agent-pace",
        pace,
        "messages/s",
        reference="python-hl7 and a plain SQLite commit of the same messages",
        ratio=ratio,
        bar=0.7,
        at_least=True,
        method=f"MLLP socket to acknowledged, that is durable, in turns with the reference: median of {ROUNDS} rounds",
        result=[part * ROUNDS],
    )
    yield line(
        "bedside-agent-work",
        median(agent_work) / part * 1e6,
        "us of the processor for a message",
        reference="python-hl7 and a plain SQLite commit of the same messages",
        ratio=median(agent_work) / median(plain_work),
        method=f"all threads of the agent, gossiping, against the reference's: medians of {ROUNDS} rounds",
        result=[part * ROUNDS],
    )


def _messages(sender: int, count: int, first: int = 0) -> list[bytes]:
    numbers = range(first, first + count)
    return [MESSAGE.format(sender=sender, number=number, rate=40 + number % 100).encode() for number in numbers]


def _box(place: Path, broker: str) -> Path:
    """An enrolled box's directory; its configuration."""
    identity = Identity.load_or_create(place / "box.key")
    secret = os.urandom(16)
    with Ledger.create(place / "hospital.db", Identity.generate(), name="Benchmarks", roles=["hospital"]) as hospital:
        reply = hospital.enrol(make_request(identity, secret=secret, label="Bed 7", roles=["bedside"]))
        assert hospital.me is not None  # it has a key
        with Ledger.join(place / "ledger.db", identity, reply, secret) as ledger:
            ledger.import_blocks(hospital.release(hospital.me, 0, 10))
            ledger.peer_has_no_more(0)
    config = place / "bedside.toml"
    config.write_text(CONFIG.format(broker=broker))
    return config


class _Agent:
    """The agent's process."""

    def __init__(self, config: Path) -> None:
        self._ledger = config.parent / "ledger.db"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "medledger", "agent", "bedside", "--config", str(config)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None  # opened with PIPE
        events = map(json.loads, self._process.stderr)
        self._port = next(event["port"] for event in events if event["event"] == "listening")
        self._metrics = next(event["port"] for event in events if event["event"] == "metrics")
        self._drain = threading.Thread(target=lambda: list(events), daemon=True)
        self._drain.start()
        self._sent = 0

    def feed(self, count: int) -> None:
        """Send so many messages over all connections, and read every acknowledgement."""
        shares = [count // SENDERS + (sender < count % SENDERS) for sender in range(SENDERS)]
        messages = [_messages(sender, share, self._sent) for sender, share in enumerate(shares)]
        self._sent += count
        with ThreadPoolExecutor(SENDERS) as pool:
            for sent in [pool.submit(self._send, each) for each in messages]:
                sent.result()

    def _send(self, messages: Sequence[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 60) as connection:
            writer = threading.Thread(target=connection.sendall, args=(b"".join(map(wrap, messages)),))
            writer.start()
            framer, replies = Framer(), 0
            while replies < len(messages):
                for reply in framer.feed(connection.recv(65536)):
                    if b"\rMSA|AA|" not in reply:
                        raise RuntimeError(f"not acknowledged: {reply!r}")
                    replies += 1
            writer.join()

    def scrape(self) -> None:
        """Read its metrics once, which brings in what writes them."""
        with urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=10) as page:
            page.read()

    def peak_bytes(self) -> int:
        """The most that was ever resident."""
        return self._status("VmHWM:")

    def resident_bytes(self) -> int:
        """What is resident now."""
        return self._status("VmRSS:")

    def _status(self, key: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split(key)[1].split()[0]) * 1024

    def processor_seconds(self) -> float:
        """What all its threads have run so far."""
        tasks = Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def stop(self) -> None:
        """End it, and see that all readings are on its ledger."""
        self._process.terminate()
        assert self._process.wait(10) == 0
        self._drain.join()
        assert self._process.stderr is not None  # opened with PIPE
        self._process.stderr.close()
        with Ledger.open(self._ledger) as ledger:
            logged = sum(1 for _ in ledger.entries("reading"))
            if logged != self._sent:
                raise RuntimeError(f"{logged} of {self._sent} readings are on the ledger")


def _plain(path: Path, count: int) -> None:
    """The least: parse, and commit the bytes."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT")
    messages = _messages(0, count)
    for start in range(0, count, PER_COMMIT):
        db.execute("BEGIN IMMEDIATE")
        for raw in messages[start : start + PER_COMMIT]:
            hl7.parse(raw.decode())
            db.execute("INSERT INTO messages (raw) VALUES (?)", (raw,))
        db.execute("COMMIT")
    db.close()
