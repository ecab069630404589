"""Minutes of everything at once: one box, four monitors, a signing device; the broker and the box killed at random.

In is out: what the monitors and the device got an acknowledgement for is at the hospital once, and the box's memory
does not grow. Minutes: MEDLEDGER_SOAK_MINUTES, three unless it says otherwise.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from boxes import Agent, Box, Monitor, World, oru
from brokers import Broker
from devices_on_lines import firmware
from medledger import DeviceEnrol
from medledger.findings import find
from medledger.transport import Gossip
from waiting import until

MINUTES = float(os.environ.get("MEDLEDGER_SOAK_MINUTES", "3"))
MONITORS = 4
DEVICE = "PO-1"
WARM_SECONDS = 10.0
GROWTH_BYTES = 8_000_000
"""Between a run's first ten seconds and its end: caches fill, and SQLite's of one replica are bounded by 4 MB."""


class Bed(threading.Thread):
    """A monitor for all of the soak: it sends, waits, and says again what got no acknowledgement."""

    def __init__(self, name: str, port: int, pace: float) -> None:
        super().__init__(daemon=True)
        self._monitor = name
        self._port = port
        self._pace = pace
        self._over = threading.Event()
        self.number = 0
        self.acknowledged: set[bytes] = set()
        self.refused: list[tuple[str, str, str]] = []

    def run(self) -> None:
        while not self._over.is_set():
            try:
                connection = Monitor(self._port)
                try:
                    self._send(connection)
                finally:
                    connection.close()
            except OSError:
                self._over.wait(0.2)  # the box is off

    def _send(self, connection: Monitor) -> None:
        while not self._over.wait(self._pace):
            message = oru(self.number, sender=self._monitor, value=str(40 + self.number % 100))
            answer = connection.ask(message)
            if answer[0] != "AA":
                self.refused.append(answer)
                continue
            self.acknowledged.add(message)
            self.number += 1

    def stop(self) -> None:
        """Nothing more is sent."""
        self._over.set()
        self.join(30)


class Watch(threading.Thread):
    """The box's resident memory, once a second."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(daemon=True)
        self._agent = agent
        self._over = threading.Event()
        self.seen: list[int] = []

    def run(self) -> None:
        while not self._over.wait(1):
            try:
                self.seen.append(self._agent.resident_bytes())
            except (OSError, IndexError):
                return  # it was killed

    def growth(self) -> int:
        """From when it was warm to the most that it had."""
        self._over.set()
        self.join(5)
        warm = self.seen[int(WARM_SECONDS) :]
        return max(warm) - warm[0] if warm else 0


def device(directory: Path, stack: ExitStack) -> bytes:
    """Start the device, with a batch a second; its public key."""
    state = ["--state", str(directory / "state"), "--device", DEVICE]
    said = subprocess.run([str(firmware()), *state, "--identify"], capture_output=True, check=True, timeout=30)
    running = ["--pty", str(directory / "line"), "--interval", "500", "--readings", "2"]
    process = stack.enter_context(subprocess.Popen([str(firmware()), *state, *running], stdout=subprocess.DEVNULL))
    stack.callback(process.kill)
    return bytes.fromhex(said.stdout.split()[-1].decode())


def fixed_port(box: Box, agent: Agent) -> None:
    """Let the box have the same port when it is on again."""
    text = box.config.read_text()
    at = text.index("[mllp]")
    box.config.write_text(text[:at] + text[at:].replace("port = 0", f"port = {agent.port}", 1))


class Hazard:
    """What befalls a box: its broker dies every few seconds, and itself at the end of each run."""

    def __init__(self, box: Box, broker: Broker, rng: random.Random) -> None:
        self._box = box
        self._broker = broker
        self._rng = rng
        self.agent = box.start()
        self.growths: list[int] = []

    def run(self, over: float) -> None:
        """One run of the box, at most until then (monotonic seconds); it is on again after it."""
        watch = Watch(self.agent)
        watch.start()
        ends = min(over, time.monotonic() + self._rng.uniform(5, 60))
        while time.monotonic() < ends:
            time.sleep(self._rng.uniform(1, 10))
            self._broker.kill()
            time.sleep(self._rng.uniform(0, 5))
            self._broker.start()
        self.growths.append(watch.growth())
        self.agent.kill()
        time.sleep(self._rng.uniform(0, 2))
        self.agent = self._box.start()


def soaked(world: World, box: Box, hazard: Hazard, beds: list[Bed]) -> set[bytes]:
    """Let it befall the box for as long as the soak lasts; the messages that were acknowledged, once they arrived."""
    for bed in beds:
        bed.start()
    over = time.monotonic() + MINUTES * 60
    while time.monotonic() < over:
        hazard.run(over)
    for bed in beds:
        bed.stop()
    sent = {box.named(message) for bed in beds for message in bed.acknowledged}
    assert until(lambda: Counter(logged(world)) >= Counter(sent), 120)
    return sent


def logged(world: World) -> list[bytes]:
    """The messages that the readings at the hospital name, each as often as they do."""
    return [entry.content["raw"] for entry in world.hospital.entries("reading")]


@pytest.mark.slow
@pytest.mark.timeout(MINUTES * 60 + 600)
def test_in_is_out_whatever_dies(
    world: World, own_broker: Broker, rng: random.Random, tmp_path: Path, stack: ExitStack
) -> None:
    """Each acknowledged message and batch is at the hospital once; nothing was refused; no run of the box grew."""
    world.hospital.append(DeviceEnrol(device=DEVICE, key=device(tmp_path, stack)))
    box = world.box(
        "bed-7",
        "bedside",
        gossip={"broker": own_broker.url},
        batch={"window_seconds": 0.1},
        instruments={"devices": {DEVICE: {"driver": "signed", "port": str(tmp_path / "line")}}},
        signals={"stale_seconds": 5, "lost_seconds": 30},
    )
    hazard = Hazard(box, own_broker, rng)
    fixed_port(box, hazard.agent)
    beds = [Bed(f"MON-{number}", hazard.agent.port, rng.uniform(0.01, 0.05)) for number in range(MONITORS)]
    with Gossip(world.hospital, own_broker.url):
        sent = soaked(world, box, hazard, beds)
        hazard.agent.stop()
        with box.ledger() as ledger:
            ledger.fsck()
    assert [bed.refused for bed in beds] == [[]] * MONITORS
    found = Counter(logged(world))
    assert set(found.values()) == {1}
    assert len(found.keys() - sent) <= MONITORS, "what was under way at the end may be logged without an answer"
    counters = sorted(entry.content["counter"] for entry in world.hospital.entries("device.batch"))
    assert counters == list(range(1, len(counters) + 1))
    assert len(counters) > MINUTES * 30
    named = Counter(each.kind for each in find(world.hospital))
    print(f"{len(sent)} messages, {len(counters)} batches, growth of each run {hazard.growths}, findings {dict(named)}")
    assert named.keys() <= {"silent"}  # a box that was killed said nothing meanwhile
    assert world.hospital.forks == {}
    assert max(hazard.growths) < GROWTH_BYTES
