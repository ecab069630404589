"""A bedside agent as it is deployed: a process with gossip to a broker, fed over MLLP. Its memory, and its pace.

The pace is held against the least that anybody could do with the same messages in the same run: python-hl7 parses each,
and a plain SQLite file takes the bytes, one FULL commit for as many as the agent put into a block.
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

import hl7

from medledger import Identity, Ledger, make_request
from medledger_agents.broker import EmbeddedBroker
from medledger_bridge.mllp import Framer, wrap

from .measure import Line, line, seconds
from .scale import Scale

RESIDENT_BAR_MIB = 60.0
SENDERS = 4
CONFIG = """
[gossip]
broker = "{broker}"
[mllp]
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
    """Peak resident memory while logging, and the pace from socket to durable block."""
    count = scale.appends
    with EmbeddedBroker() as broker:
        config = _box(place, broker.url)
        agent = _Agent(config)
        took = seconds(lambda: agent.feed(count))
        peak = agent.peak_bytes() / 2**20
        blocks = agent.stop(count)
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
    plain = seconds(lambda: _plain(place / "plain.db", count, max(1, count // blocks)))
    yield line(
        "bedside-agent-pace",
        count / took,
        "messages/s",
        reference="python-hl7 and a plain SQLite commit of the same messages",
        ratio=plain / took,
        method="MLLP socket to acknowledged, that is durable; the senders wait for nothing but room",
        result=[count],
    )


def _messages(sender: int, count: int) -> list[bytes]:
    return [MESSAGE.format(sender=sender, number=number, rate=40 + number % 100).encode() for number in range(count)]


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
        self._drain = threading.Thread(target=lambda: list(events), daemon=True)
        self._drain.start()

    def feed(self, count: int) -> None:
        """Send so many messages over all connections, and read every acknowledgement."""
        shares = [count // SENDERS + (sender < count % SENDERS) for sender in range(SENDERS)]
        with ThreadPoolExecutor(SENDERS) as pool:
            for sent in [pool.submit(self._send, _messages(sender, share)) for sender, share in enumerate(shares)]:
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

    def peak_bytes(self) -> int:
        """The most that was ever resident."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def stop(self, count: int) -> int:
        """End it, and see that so many readings are on its ledger; how many blocks it took."""
        self._process.terminate()
        assert self._process.wait(10) == 0
        self._drain.join()
        assert self._process.stderr is not None  # opened with PIPE
        self._process.stderr.close()
        with Ledger.open(self._ledger) as ledger:
            found = {entry.block_id for entry in ledger.entries("reading")}
            logged = sum(1 for _ in ledger.entries("reading"))
            if logged != count:
                raise RuntimeError(f"{logged} of {count} readings are on the ledger")
            return len(found)


def _plain(path: Path, count: int, per_commit: int) -> None:
    """The least: parse, and commit the bytes."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, raw BLOB NOT NULL) STRICT")
    messages = _messages(0, count)
    for start in range(0, count, per_commit):
        db.execute("BEGIN IMMEDIATE")
        for raw in messages[start : start + per_commit]:
            hl7.parse(raw.decode())
            db.execute("INSERT INTO messages (raw) VALUES (?)", (raw,))
        db.execute("COMMIT")
    db.close()
