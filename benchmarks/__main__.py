"""`python -m benchmarks`: measure, print a line for each result, and end with 1 where a bar does not hold."""

from __future__ import annotations

import argparse
import platform
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .appending import durable_append, group_commit
from .bedside import bedside
from .counter import counter_start
from .finding import findings
from .importing import import_16_entry, large_ledger
from .interpreting import identification, interpretation
from .live import live
from .measure import Line
from .opening import import_memory
from .peers.hypercore import hypercore
from .replicating import full_replica
from .scale import FULL, QUICK, SMALL, Benchmark, Scale
from .serial import serial
from .space import disk
from .traffic import catch_up, in_sync
from .validating import live_validation
from .verifying import every_signature

BENCHMARKS: dict[str, Benchmark] = {
    "large-ledger": large_ledger,
    "import-16-entry": import_16_entry,
    "interpretation": interpretation,
    "identification": identification,
    "live-validation": live_validation,
    "every-signature": every_signature,
    "durable-append": durable_append,
    "group-commit": group_commit,
    "import-memory": import_memory,
    "disk": disk,
    "findings": findings,
    "bedside": bedside,
    "serial": serial,
    "counter-start": counter_start,
    "sync-full-replica": full_replica,
    "live-20-replicas": live,
    "in-sync": in_sync,
    "catch-up": catch_up,
    "hypercore": hypercore,
}


def run(names: Sequence[str], scale: Scale, directory: Path | None = None) -> Iterator[Line]:
    """The lines of these benchmarks, each measured in a directory of its own that is removed after it."""
    for name in names:
        with TemporaryDirectory(prefix="medledger-benchmark-", dir=directory) as place:
            yield from BENCHMARKS[name](Path(place), scale)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 where every bar holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What the library costs, as ratios.")
    parser.add_argument("--quick", action="store_true", help="smaller ledgers: about two minutes")
    parser.add_argument("--small", action="store_true", help="too small to tell anything: shows that it runs")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--directory", type=Path, help="where the ledgers are made (default: the temporary directory)")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)} (default: all)")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    scale = SMALL if chosen.small else QUICK if chosen.quick else FULL
    if not chosen.json:
        print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.machine()}")
    holds = True
    for found in run(chosen.names or list(BENCHMARKS), scale, chosen.directory):
        print(found.as_json() if chosen.json else found.as_text(), flush=True)
        holds &= found.holds is not False
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
