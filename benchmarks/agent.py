"""A real bedside agent as a process of its own: how much memory is resident while it logs.

It is configured as shipped, with a broker that does not answer, so that what gossips is loaded and kept waiting; a
monitor sends messages over MLLP and every one is acknowledged. The figure is the peak that the kernel counted (VmHWM).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from medledger.joining import make_request
from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger_bridge.mllp import Framer, wrap

from .appending import founded
from .measure import Line, line
from .scale import ROOT, Scale

RESIDENT_BAR_MB = 60.0
AT_ONCE = 100
CONFIGURATION = """
[ledger]
path = "ledger.db"
key = "box.key"
[gossip]
broker = "mqtt://127.0.0.1:{closed_port}"
[mllp]
port = 0
[batch]
window_seconds = {window}
[log]
format = "json"
"""


def message(number: int) -> bytes:
    """A monitor's message with two vital signs."""
    return (
        f"MSH|^~\\&|MON-7|WARD3|||20261122093000+0000||ORU^R01^ORU_R01|{number}|P|2.6\r"
        "PID|||P-1^^^WARD^MR\r"
        "OBR|1|||182777000^monitoring of patient^SCT|||20261122093000+0000\r"
        f"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.0.0.1|{60 + number % 40}|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||F\r"
        f"OBX|2|NM|150456^MDC_PULS_OXIM_SAT_O2^MDC|1.0.0.1|{90 + number % 9}|262688^MDC_DIM_PERCENT^MDC|||||F\r"
    ).encode()


def resident(place: Path, scale: Scale) -> Iterator[Line]:
    """Log so many messages, a hundred at a time."""
    _join(place)
    command = [sys.executable, "-m", "medledger", "agent", "bedside", "--config", str(place / "agent.toml")]
    path = os.pathsep.join(str(ROOT / area) for area in ("", "agents", "firmware_bridge"))
    with subprocess.Popen(
        command, cwd=place, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as agent:
        try:
            assert agent.stderr is not None
            events = map(json.loads, agent.stderr)
            port = next(event["port"] for event in events if event["event"] == "listening")
            acknowledged = _send(port, scale.messages)
            status = Path(f"/proc/{agent.pid}/status").read_text()
        finally:
            agent.terminate()
            agent.communicate()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    yield line(
        "agent-resident",
        peak,
        "MB peak resident",
        reference=f"{RESIDENT_BAR_MB:g} MB",
        ratio=peak / RESIDENT_BAR_MB,
        bar=1.0,
        method=f"a bedside agent acknowledged {acknowledged} HL7 messages over MLLP",
        result=[acknowledged],
    )


def _join(place: Path) -> None:
    """A box's directory: key, replica, configuration."""
    identity = Identity.load_or_create(place / "box.key")
    secret = os.urandom(16)
    with founded(place / "hospital.db") as hospital:
        reply = hospital.enrol(make_request(identity, secret=secret, label="Bed 8", roles=["bedside"]))
        founder = hospital.me
        assert founder is not None
        with Ledger.join(place / "ledger.db", identity, reply, secret) as ledger:
            ledger.import_blocks(hospital.release(founder, 0, 10))
            ledger.peer_has_no_more(0)
    with socket.create_server(("127.0.0.1", 0)) as closed:  # nobody listens there afterwards
        closed_port = closed.getsockname()[1]
    (place / "agent.toml").write_text(CONFIGURATION.format(closed_port=closed_port, window=0.05))


def _send(port: int, count: int) -> int:
    """Send messages as a monitor does that waits for the acknowledgements of each hundred; how many were accepted."""
    framer = Framer()
    accepted = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as monitor:
        for start in range(0, count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, count))
            monitor.sendall(b"".join(wrap(message(number)) for number in numbers))
            answers: list[bytes] = []
            while len(answers) < len(numbers):
                answers += framer.feed(monitor.recv(65536))
            accepted += sum(b"MSA|AA|" in answer for answer in answers)
    return accepted
