"""What an auditor's findings cost: every fold over a ledger of a hospital, against one plain pass over its entries.

- The ledger is of a ward and a pharmacy: readings of monitors whose patients change, batches that devices signed,
  device states, supplies on prescriptions. Nothing in it is amiss, and nothing is found.
- The plain pass decodes each entry once (`Ledger.entries`). The folds ask for some entries more than once, so that
  memory holds those of one fold at a time: a ratio of 1 is not to be had.
- Both run in a process of their own, in turns, and are told in seconds of the processor. Memory is how much the peak
  resident size grows from the first plain pass to the end of the first findings, over the entries.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import process_time

from nacl.signing import SigningKey

from medledger.devices import batch_message
from medledger.findings import find
from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger.records import Association, Cadence, DeviceBatch, DeviceEnrol, DeviceStatus, Dispense, Reading
from medledger.registry import Record

from .measure import Line, line
from .scale import ROOT, Scale
from .world import START_MS

GTIN = "09520123456016"
MONITORS = 10
STAY_BLOCKS = 40  # until the next monitor changes its patient
PER_BLOCK = 20
SECOND_MS = 1000
PASSES_BAR = 4.0
MEMORY_BAR = 1.0
MEMORY_BYTES = 1024


def findings(place: Path, scale: Scale) -> Iterator[Line]:
    """The time in plain passes, and the memory of an entry."""
    path = place / "ledger.db"
    entries = _hospital(path, scale.interpreted)
    rounds = str(max(1, scale.opens // 16))
    asked = [sys.executable, "-m", "benchmarks.finding", str(path), rounds]
    measured = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
    plain, found = measured["plain"], measured["find"]
    method = f"medians of {rounds} rounds, {entries} entries, taken in turns in a process of its own"
    yield line(
        "findings",
        found / entries * 1e6,
        "us/entry",
        reference=f"a plain pass over the same entries ({plain / entries * 1e6:.1f} us/entry)",
        ratio=found / plain,
        bar=PASSES_BAR,
        method=method,
        result=[entries, measured["found"]],
    )
    each = measured["grown"] / entries
    yield line(
        "findings-memory",
        each,
        "bytes/entry",
        reference=f"{MEMORY_BYTES} bytes (peak {measured['peak'] / 2**20:.0f} MiB)",
        ratio=each / MEMORY_BYTES,
        bar=MEMORY_BAR,
        method="growth of the peak resident size from the first plain pass to the end of the first findings",
        result=[entries],
    )


def _hospital(path: Path, entries: int) -> int:
    """A ledger of about so many entries; of how many data entries."""
    founder = Identity.load_or_create(path.with_suffix(".key"))
    count = 0
    with Ledger.create(path, founder, name="Benchmarks", roles=["hospital"]) as ledger:
        device = _Device()
        for block in range(max(1, entries // PER_BLOCK)):
            records = list(_block(block, device))
            ledger.append(*records)
            count += len(records)
        ledger.index()
    return count


def _block(block: int, device: _Device) -> Iterator[Record]:
    """Twenty entries and a few more: a minute of the ward and the pharmacy."""
    at = START_MS + block * 60 * SECOND_MS
    if block == 0:
        yield Cadence(interval=3_600_000, time=at)
        yield DeviceEnrol(device="PO-1", key=device.key, time=at)
        for monitor in range(MONITORS):
            yield _move("begin", monitor, 0, at)
    elif block % STAY_BLOCKS == 0:
        monitor, patients = block // STAY_BLOCKS % MONITORS, _patient(block - 1, block // STAY_BLOCKS % MONITORS)
        yield _move("end", monitor, patients, at)
        yield _move("begin", monitor, patients + 1, at)
    for number in range(14):
        monitor, then = number % MONITORS, at + (number + 1) * SECOND_MS
        samples = [("8867-4", str(60 + number), "/min"), ("59408-5", "97", "%")]
        subject = _subject(monitor, _patient(block, monitor))
        yield Reading(device=f"MON-{monitor}", samples=samples, subject=subject, raw=bytes(32), time=then)
    for _ in range(2):
        yield device.batch(at + 30 * SECOND_MS)
    yield DeviceStatus(device="MON-1", state="live", time=at)
    for number in range(3):
        prescription = (block * 3 + number).to_bytes(16, "big")
        yield Dispense(
            product=GTIN, quantity=1, unit="{pack}", serial=f"S{block}-{number}", prescription=prescription, time=at
        )


def _patient(block: int, monitor: int) -> int:
    """Which patient is at a monitor: they change in turns, the first monitor's after ten others."""
    changes = block // STAY_BLOCKS
    return changes // MONITORS + (0 < monitor <= changes % MONITORS)


def _subject(monitor: int, patient: int) -> bytes:
    return monitor.to_bytes(8, "big") + patient.to_bytes(8, "big")


def _move(action: str, monitor: int, patient: int, at: int) -> Association:
    return Association(device=f"MON-{monitor}", action=action, subject=_subject(monitor, patient), time=at)


class _Device:
    """A device that signs."""

    def __init__(self) -> None:
        self._signer = SigningKey(b"d" * 32)
        self.key = bytes(self._signer.verify_key)
        self._counter = 0

    def batch(self, at: int) -> DeviceBatch:
        """Its next batch, of two moments."""
        self._counter += 1
        uptime = self._counter * 10_000
        readings = [[uptime - age, [["8867-4", [72, 0], "/min"], ["59408-5", [97, 0], "%"]]] for age in (5000, 0)]
        said = {"device": "PO-1", "key": self.key, "boot": bytes(8), "counter": self._counter, "uptime": uptime}
        message = batch_message(**said, readings=readings)  # type: ignore[arg-type]
        signature = self._signer.sign(message).signature
        return DeviceBatch.from_content({**said, "readings": readings, "signature": signature}, time=at)


def main(file: str, rounds: int) -> None:
    """Measure on a ledger that stands, and print the figures."""
    with Ledger.open(Path(file)) as ledger:
        deque(ledger.entries(), 0)
        before = _peak()
        found = len(list(find(ledger)))
        peak = _peak()

        times = [
            (_seconds(lambda: deque(ledger.entries(), 0)), _seconds(lambda: list(find(ledger)))) for _ in range(rounds)
        ]
    plain, each = (median(turn[at] for turn in times) for at in (0, 1))
    print(json.dumps({"plain": plain, "find": each, "found": found, "peak": peak, "grown": peak - before}))


def _seconds(work: Callable[[], object]) -> float:
    """Of the processor: both subjects wait for nothing."""
    started = process_time()
    work()
    return process_time() - started


def _peak() -> int:
    """The peak resident bytes (Linux counts them in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
