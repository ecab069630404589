"""A bedside box as it is deployed: enrolled, its agent a process of its own, and monitors that send to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

from medledger import Identity, Ledger, make_request
from medledger_bridge.mllp import Framer, wrap

SENDERS = 4
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


def messages(sender: int, count: int, first: int = 0) -> list[bytes]:
    """So many messages of one monitor, from that number on."""
    numbers = range(first, first + count)
    return [MESSAGE.format(sender=sender, number=number, rate=40 + number % 100).encode() for number in numbers]


def enrolled(place: Path, broker: str) -> Path:
    """Make a box that gossips over this broker; its configuration."""
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


class Agent:
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
        loads = [messages(sender, share, self._sent) for sender, share in enumerate(shares)]
        self._sent += count
        with ThreadPoolExecutor(SENDERS) as pool:
            for sent in [pool.submit(self._send, each) for each in loads]:
                sent.result()

    def _send(self, messages: Sequence[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", self._port), 60) as connection:
            writer = threading.Thread(target=connection.sendall, args=(b"".join(map(wrap, messages)),))
            writer.start()
            framer, replies = Framer(), 0
            while replies < len(messages):
                data = connection.recv(65536)
                if not data:
                    raise RuntimeError("the agent closed the connection")
                for reply in framer.feed(data):
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
        assert self._process.wait(60) == 0
        self._drain.join()
        assert self._process.stderr is not None  # opened with PIPE
        self._process.stderr.close()
        with Ledger.open(self._ledger) as ledger:
            logged = sum(1 for _ in ledger.entries("reading"))
            if logged != self._sent:
                raise RuntimeError(f"{logged} of {self._sent} readings are on the ledger")
