"""`python -m sim.storage SEED`: measure all that is promised of the disk, and print it line by line.

With `--share 0.05` a twentieth of the points, faults and bytes is looked at, which takes minutes instead of an hour.
Exit status 1 where something was broken; it is printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sim import byte_flips, crash_matrix, failing_disk, kills
from sim.bars import Bar


def measure(seed: int, directory: Path, *, share: float = 1.0, times: int = 2000) -> Iterator[tuple[Bar, list[str]]]:
    """Each bar of the disk, with what was broken; `times` is how often a program is killed."""
    for name in ("crashes", "faults", "flips", "kills"):
        (directory / name).mkdir()
    yield crash_matrix.measure(seed, directory / "crashes", share=share)
    yield failing_disk.measure(seed, directory / "faults", share=share)
    yield byte_flips.measure(seed, directory / "flips", share=share)
    yield kills.measure(seed, directory / "kills", times=times)


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m sim.storage", description="Measure what is promised of the disk.")
    parser.add_argument("seed", type=int)
    parser.add_argument("--share", type=float, default=1.0, help="of the points, faults and bytes (default: all)")
    parser.add_argument("--kills", type=int, default=2000, help="how often a program is killed (default: 2000)")
    arguments = parser.parse_args()
    holds = True
    with tempfile.TemporaryDirectory() as directory:
        for bar, broken in measure(arguments.seed, Path(directory), share=arguments.share, times=arguments.kills):
            print(f"{'holds ' if bar.holds else 'BROKEN'}  {bar.name}\n        bar: {bar.bar}\n        {bar.measured}")
            print("\n".join(f"        {line}" for line in broken[:20]), flush=True)
            holds &= bar.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
