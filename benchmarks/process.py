"""A process of its own whose memory is measured: `python -m benchmarks.process import|agent FILE COUNT`.

Prints the peak resident bytes (Linux counts them in KiB).
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from .appending import founded
from .world import World, small_reading


def main(what: str, file: str, count: int) -> None:
    """Do it, then print the peak."""
    if what == "import":
        world = World()
        with world.replica(Path(file)) as replica:
            replica.import_blocks(world.author().readings(count))
    else:
        log(Path(file), count)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def log(path: Path, count: int) -> None:
    """Log readings, one block each, and read them back: what an agent does with the library."""
    from medledger.records import Reading

    with founded(path) as ledger:
        for number in range(count):
            ledger.append(Reading.from_content(small_reading(number)))
        assert sum(1 for _ in ledger.entries(type="reading")) == count


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
