"""A process that appends as fast as it can and says what is durable: killed by its test at any moment.

Three threads append at once and share commits; one of them also lets blocks out. Each line on stdout is `kept SEQ ID`
of a block that `append` has returned, or `left SEQ ID` of a block that was released to the network.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from medledger import Block, Identity, Ledger, Reading
from medledger.block import parse_block


def say(word: str, block: Block) -> None:
    """One line, in one write: a kill leaves it whole or not there."""
    os.write(1, f"{word} {block.seq} {block.id.hex()}\n".encode())


def append(ledger: Ledger, device: str) -> None:
    """Append for ever."""
    rate = 0
    while True:
        rate = (rate + 1) % 200
        say("kept", ledger.append(Reading(device=device, samples=[("8867-4", str(rate), "/min")])))


def main(directory: Path) -> None:
    """Append and release for ever."""
    identity = Identity.load(directory / "founder.key")
    with Ledger.open(directory / "founder.db", identity) as ledger:
        assert ledger.state == "ready", ledger.state
        for device in ("MON-1", "MON-2"):
            threading.Thread(target=append, args=(ledger, device), daemon=True).start()
        released = 0
        while True:
            for rate in range(5):
                block = ledger.append(Reading(device="MON-3", samples=[("8867-4", str(rate), "/min")]))
                say("kept", block)
            for raw in ledger.release(identity.public_key, released, block.seq + 1):
                say("left", parse_block(raw))
                released += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
