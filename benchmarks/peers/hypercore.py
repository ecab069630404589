"""A full replica over MQTT against Hypercore, an append-only signed log in JavaScript that replicates block by block.

- Hypercore is given the easier task: source and target in one process, joined by a stream in memory; no broker, no
  second process, nothing flushed to disk. Ours is that of `sync-full-replica`: two processes, a broker, and every
  batch flushed.
- As many blocks, as many bytes in each. It takes a hundred cores faster than one of the same number of blocks, or the
  other way round, depending on where it stores them: both are measured, and the faster counts.
- Ours lie on the disk, so the line with the bar is Hypercore's default, files in a directory. What it does in memory
  stands in a line of its own.
- It is installed by name with npm into the benchmark's temporary directory. Where npm or node is missing, that is said
  and nothing is measured.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from ..measure import Line, line
from ..replicating import Source
from ..scale import Scale

HERE = Path(__file__).resolve().parent
INSTALL_SECONDS = 300.0
RUN_SECONDS = 900.0


def hypercore(place: Path, scale: Scale) -> Iterator[Line]:
    """Rounds of our sync and of Hypercore's, in turns."""
    missing = [program for program in ("npm", "node") if shutil.which(program) is None]
    if missing:
        print(f"hypercore: skipped, {' and '.join(missing)} not found: install Node.js to measure it", file=sys.stderr)
        return
    version = _install(place)
    source = Source(place, scale.synced_feeds, scale.synced)
    count, feeds = len(source.raws), source.feeds
    size = round(sum(map(len, source.raws)) / count)
    ours: list[float] = []
    theirs: dict[tuple[str, int], list[float]] = {(kind, cores): [] for kind in ("disk", "ram") for cores in (1, feeds)}
    with source.shared() as shared:
        for _ in range(scale.hypercore_rounds):
            ours.append(source.sync(shared).whole)
            for (kind, cores), times in theirs.items():
                times.append(_replicate(place, count, size, cores, kind))
    rate = count / median(ours)
    for kind, bar in (("disk", 10.0), ("ram", None)):
        rates = {cores: count / median(theirs[kind, cores]) for cores in (1, feeds)}
        best = max(rates.values())
        yield line(
            "hypercore" if bar else "hypercore-in-memory",
            rate,
            "blocks/s",
            reference=f"hypercore {version}, {kind}: {rates[1]:.0f} blocks/s of one core, {rates[feeds]:.0f} of many",
            ratio=rate / best,
            bar=bar,
            at_least=True,
            method=f"medians of {scale.hypercore_rounds} rounds of {count} blocks of {size} bytes in turns, many "
            f"cores being {feeds}; ours over {shared.name} as in sync-full-replica, theirs in one process",
            result=[count, size, source.digest],
        )


def _install(place: Path) -> str:
    """Install by name; the version that came."""
    for name in ("package.json", "hypercore.mjs"):
        shutil.copy(HERE / name, place / name)
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]
    subprocess.run(command, cwd=place, check=True, timeout=INSTALL_SECONDS)
    found = json.loads((place / "node_modules" / "hypercore" / "package.json").read_text())
    return str(found["version"])


def _replicate(place: Path, count: int, size: int, cores: int, kind: str) -> float:
    """The seconds of one replication."""
    with TemporaryDirectory(dir=place) as directory:
        storage = directory if kind == "disk" else "ram"
        command = ["node", "hypercore.mjs", str(count), str(size), str(cores), storage]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True, timeout=RUN_SECONDS)
    report = json.loads(done.stdout)
    if report["blocks"] != count:
        raise RuntimeError(f"hypercore holds {report['blocks']} blocks, not {count}")
    return float(report["seconds"])
