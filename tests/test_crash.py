"""kill -9 in the middle of logging, on a real file system."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medledger import Identity, Ledger
from medledger.witness import Witness
from worlds import found

WRITER = Path(__file__).with_name("crash_writer.py")


def kill_while_writing(directory: Path, rng: random.Random) -> tuple[list[int], int]:
    """Run the writer for a moment; the acknowledged seqs, and the highest released one (-1 for none)."""
    process = subprocess.Popen([sys.executable, str(WRITER), str(directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    time.sleep(rng.uniform(0, 0.08))
    process.kill()
    lines += process.stdout.read().split("\n")
    process.wait()
    process.stdout.close()
    complete = [line.split() for line in lines if line]
    acknowledged = [int(words[0]) for words in complete if len(words) == 1 and words[0].isdigit()]
    released = [int(words[2]) for words in complete if len(words) == 3]
    # The last line may have been cut short by the kill; a shorter number is one that was acknowledged earlier.
    return acknowledged, max(released, default=-1)


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_nothing_acknowledged_is_lost_and_the_feed_does_not_fork(
    tmp_path: Path, rng: random.Random, times: int
) -> None:
    """After each kill every acknowledged block is there, the witness has reached what was released, and it goes on."""
    with found(tmp_path) as ledger:
        ledger_id = ledger.id
    identity = Identity.load(tmp_path / "founder.key")
    seen: dict[int, bytes] = {}
    for _ in range(times):
        acknowledged, released = kill_while_writing(tmp_path, rng)
        assert acknowledged
        witness = Witness.for_identity(identity, ledger_id)
        assert released == -1 or (witness.seq is not None and witness.seq >= released)
        with Ledger.open(tmp_path / "founder.db", identity) as ledger:
            assert ledger.state == "ready"
            head = ledger.head(identity.public_key)
            assert head is not None
            assert head.seq >= max(acknowledged)
            for block in ledger.blocks(identity.public_key):
                assert seen.setdefault(block.seq, block.id) == block.id, "the past was rewritten"
            ledger.fsck()
