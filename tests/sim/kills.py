"""kill -9 on a real file system: a program that appends and releases is killed again and again, and nothing is lost.

After each kill: the ledger opens `ready` and passes fsck, every block that `append` had returned and every block that
had left is where it was, and the witness is not behind what has left. A new ledger is begun now and then, so that
checking all of it stays cheap.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from medledger import Identity, Ledger
from medledger.witness import Witness
from sim.bars import Bar
from worlds import found

WRITER = Path(__file__).parent.parent / "crash_writer.py"
_KILLS_A_LEDGER = 50


@dataclass
class Kills:
    """Counts kills, what the killed had acknowledged, and what was broken."""

    directory: Path
    rng: random.Random
    kills: int = 0
    kept: int = 0
    left: int = 0
    broken: list[str] = field(default_factory=list)

    def run(self, times: int) -> None:
        """So many kills, of one ledger after the other."""
        while self.kills < times:
            directory = self.directory / f"after {self.kills} kills"
            directory.mkdir()
            with found(directory) as ledger:
                ledger_id = ledger.id
            promised: dict[int, str] = {}
            for _ in range(min(_KILLS_A_LEDGER, times - self.kills)):
                released = self._kill(directory, promised)
                self.kills += 1
                self._check(directory, ledger_id, promised, released)

    def _kill(self, directory: Path, promised: dict[int, str]) -> int:
        """Run the writer for a moment; the highest seq that has left, -1 for none."""
        process = subprocess.Popen([sys.executable, str(WRITER), str(directory)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        if not lines[0]:
            self.broken.append(f"kill {self.kills}: the writer did not begin")
        time.sleep(self.rng.uniform(0, 0.08))
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        released = -1
        for line in filter(None, lines):
            word, seq, block_id = line.split()
            if promised.setdefault(int(seq), block_id) != block_id:
                self.broken.append(f"kill {self.kills}: two blocks were {word} at {seq}")
            if word == "left":
                released = max(released, int(seq))
            self.kept += word == "kept"
            self.left += word == "left"
        return released

    def _check(self, directory: Path, ledger_id: bytes, promised: dict[int, str], released: int) -> None:
        identity = Identity.load(directory / "founder.key")
        witness = Witness.for_identity(identity, ledger_id)
        if released >= 0 and (witness.seq is None or witness.seq < released):
            self.broken.append(f"kill {self.kills}: the witness is at {witness.seq}, and {released} has left")
        with Ledger.open(directory / "founder.db", identity) as ledger:
            if ledger.state != "ready":
                self.broken.append(f"kill {self.kills}: the ledger is {ledger.state}")
            here = {block.seq: block.id.hex() for block in ledger.blocks(identity.public_key)}
            ledger.fsck()
        for seq, block_id in promised.items():
            if here.get(seq) != block_id:
                self.broken.append(f"kill {self.kills}: block {seq} is not what was promised")


def measure(seed: int, directory: Path, *, times: int = 2000) -> tuple[Bar, list[str]]:
    """So many kills; and what was broken, line by line."""
    kills = Kills(directory, random.Random(seed))
    kills.run(times)
    return (
        Bar(
            "kill -9 on a real file system",
            "2,000 kills: 0 acknowledged entries lost, 0 self-forks",
            f"{kills.kills} kills: {kills.kept} blocks acknowledged by the killed and {kills.left} let out, "
            f"{len(kills.broken)} lost or changed",
            not kills.broken and kills.kept > kills.kills,
            seed,
        ),
        kills.broken,
    )
