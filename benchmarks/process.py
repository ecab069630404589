"""A process of its own whose memory is measured: `python -m benchmarks.process FILE COUNT` imports so many blocks.

Prints the peak resident bytes (Linux counts them in KiB).
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from .world import World


def main(file: str, count: int) -> None:
    """Import, in one call, then print the peak."""
    world = World()
    with world.replica(Path(file)) as replica:
        assert replica.import_blocks(world.author().readings(count)).accepted == count
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
