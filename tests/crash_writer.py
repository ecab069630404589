"""A process that appends as fast as it can and says what is durable: killed by its test at any moment.

Each line on stdout is a seq that `append` has returned, or `released N` when N blocks were released to the network.
"""

from __future__ import annotations

import sys
from pathlib import Path

from medledger import Identity, Ledger, Reading


def main(directory: Path) -> None:
    """Append for ever."""
    identity = Identity.load(directory / "founder.key")
    with Ledger.open(directory / "founder.db", identity) as ledger:
        assert ledger.state == "ready", ledger.state
        while True:
            for rate in range(5):
                block = ledger.append(Reading(device="MON-7", samples=[("8867-4", str(60 + rate), "/min")]))
                print(block.seq, flush=True)
            released = ledger.release(identity.public_key, max(0, block.seq - 4), block.seq + 1)
            print("released", len(released), block.seq, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
