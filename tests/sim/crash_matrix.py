"""The crash matrix: a box's life, cut short at every point of its disk, in every way that the disk knows.

- A life is lived once. Before each point a copy of the disk is taken, the power is cut on it, and the shipped code
  starts again from what is left. What it owes is what it had promised at that point.
- Checked: the ledger opens; every acknowledged block and every known fork is there; what has left is there, or the
  ledger is `recovering` until a peer has given it back; the witness is not behind what has left; `fsck` passes; the
  box goes on, and signs no place anew that others have seen.
- Some of the second lives are cut short as well, at a point of their start or of what they do next, and checked again:
  recovery has no code of its own that could be forgotten.
- After `KILLED` nothing is lost, and nothing that was not durable becomes durable: a later cut may still take it.
"""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

from medledger import Ledger
from medledger.errors import MedledgerError
from medledger.ledger import READY, RECOVERING
from medledger.witness import Witness
from sim.bars import Bar
from sim.crash_life import DATABASE, KEY, Joined, Life, Promises, ids_in, ledger_to_join, listen
from sim.disk import Disk, Mode, PowerCut
from sim.mounting import mounted

CHECKPOINTS = (8, 30, 1000)  # pages: SQLite's own size, and sizes that make a short life see many of them
SECOND_CUTS = 0.25  # share of the second lives that are cut short


class Broken(Exception):
    """A promise was not kept. `kind` is `lost`, `self-fork` or `damaged`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


@dataclass
class CrashMatrix:
    """Counts what was cut, and what was broken. `share` of the points are looked at, in each mode."""

    seed: int
    joined: Joined
    share: float = 1.0
    points: int = 0
    cuts: int = 0
    second_cuts: int = 0
    recovering: int = 0
    broken: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)

    def live(self, number: int, steps: int) -> None:
        """One life of so many steps; every second one founds a ledger, the others join one."""
        rng = random.Random(f"{self.seed}:{number}")
        disk = Disk("box")
        disk.checkpoint_pages = CHECKPOINTS[number % len(CHECKPOINTS)]
        life = Life(disk, rng, self.joined if number % 2 else None)

        def cut(point: int, kind: str, _: str) -> None:
            self.points += 1
            chance = random.Random(f"{self.seed}:{number}:{point}")
            if chance.random() < self.share:
                self.kinds[kind] += 1
                for mode in Mode:
                    self.cut(life, mode, random.Random(f"{self.seed}:{number}:{point}:{mode.name}"))

        disk.on_point = cut
        life.run(steps)

    def cut(self, life: Life, mode: Mode, rng: random.Random) -> None:
        """Cut the power here, and see what the next life finds."""
        disk = life.disk.copy("after")
        disk.crash(mode, rng)
        self.cuts += 1
        self.modes[mode.name] += 1
        twice = disk.copy("twice") if mode is Mode.KILLED or rng.random() < SECOND_CUTS else None
        place = f"point {life.disk.points} of life {life.disk.checkpoint_pages}, {mode.value}"
        self.check(disk, life, life.promises.copy(), rng, place)
        if twice is not None:
            self.second_cuts += 1
            self.cut_again(twice, life, rng, place)

    def cut_again(self, disk: Disk, life: Life, rng: random.Random, place: str) -> None:
        """The second life ends early, too."""
        promises = life.promises.copy()
        disk.crash_at = disk.points + rng.randrange(1, 40)
        try:
            self.recovering += live_on(disk, life, promises, rng)
        except PowerCut:
            place += f", and again {disk.points} {rng.random()}"
        except (Broken, MedledgerError) as error:
            self.note(error, place)
            return
        mode = rng.choice([Mode.DROPPED, Mode.TORN, Mode.REORDERED])
        disk.crash(mode, rng)
        self.check(disk, life, promises, rng, f"{place} then {mode.value}")

    def check(self, disk: Disk, life: Life, promises: Promises, rng: random.Random, place: str) -> None:
        """Start again and look at everything."""
        try:
            self.recovering += live_on(disk, life, promises, rng)
        except (Broken, MedledgerError) as error:
            self.note(error, place)

    def note(self, error: Exception, place: str) -> None:
        """Something was not kept."""
        self.found[error.kind if isinstance(error, Broken) else "damaged"] += 1
        self.broken.append(f"{place}: {type(error).__name__}: {error}")

    def add(self, other: CrashMatrix) -> None:
        """Another matrix's counts."""
        self.points += other.points
        self.cuts += other.cuts
        self.second_cuts += other.second_cuts
        self.recovering += other.recovering
        self.broken += other.broken
        for ours, theirs in ((self.kinds, other.kinds), (self.modes, other.modes), (self.found, other.found)):
            ours.update(theirs)

    def bar(self) -> Bar:
        """For the table."""
        points = sum(self.kinds.values())
        return Bar(
            "crash at every write/sync/truncate point, x {unsynced dropped, torn 512 B, reordered, killed}",
            ">= 5,000 points: 0 acknowledged entries lost, 0 self-forks",
            f"{points} points, {self.cuts} cuts and {self.second_cuts} second ones: {self.found['lost']} lost, "
            f"{self.found['self-fork']} self-forks, {self.found['damaged']} not clean",
            not self.broken and (self.share < 1.0 or points >= 5000),
            self.seed,
        )


def measure(
    seed: int, directory: Path, *, share: float = 1.0, lives: int = 8, steps: int = 60
) -> tuple[Bar, list[str]]:
    """The matrix over so many lives, or a share of it, on every processor; and what was broken, line by line."""
    joined = ledger_to_join(directory / "stick.bundle")
    matrix = CrashMatrix(seed, joined, share)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for part in pool.map(_life, repeat(seed), repeat(joined), repeat(share), range(lives), repeat(steps)):
            matrix.add(part)
    return matrix.bar(), matrix.broken


def _life(seed: int, joined: Joined, share: float, number: int, steps: int) -> CrashMatrix:
    """One life, in a process of its own."""
    matrix = CrashMatrix(seed, joined, share)
    matrix.live(number, steps)
    return matrix


def live_on(disk: Disk, life: Life, promises: Promises, rng: random.Random, *, close: bool = True) -> bool:
    """What a box does after a power cut, and what must be true then. True where it had to hear from others first."""
    with mounted(disk):
        check_files(disk, promises)
        following = Life(disk, rng, life.joins, promises, life.ticks)
        owed = promises.copy()
        ledger = following.start()
        check_blocks(ledger, owed)
        ledger.fsck()
        recovering = ledger.state == RECOVERING
        if recovering:
            listen(ledger, promises)
        check_own_feed(ledger, owed)
        following.release(ledger)
        if life.joins is not None:
            following.import_bundle(ledger)
            listen(ledger, promises)
        if ledger.state != READY:
            raise Broken("damaged", f"the box is {ledger.state}")
        sign_on(ledger, following)
        if close:
            ledger.close()
    return recovering


def check_files(disk: Disk, promises: Promises) -> None:
    """The key and the database are there, where they were said to be."""
    names = disk.names()
    if promises.keyed and KEY not in names:
        raise Broken("lost", "the key")
    if promises.created and DATABASE not in names:
        raise Broken("lost", "the ledger")


def check_blocks(ledger: Ledger, owed: Promises) -> None:
    """What was acknowledged is there; what has left is there, or missed."""
    here = ids_in(ledger)
    if not owed.held <= here:
        raise Broken("lost", f"{len(owed.held - here)} of {len(owed.held)} acknowledged blocks")
    if not owed.forks <= set(ledger.forks):
        raise Broken("lost", "a fork proof")
    if owed.released:
        assert ledger.identity is not None
        witness = Witness.for_identity(ledger.identity, ledger.id)
        if witness.seq is None or witness.seq < max(owed.released):
            raise Broken("self-fork", f"the witness is at {witness.seq}, and {max(owed.released)} has left")
        if not set(owed.released.values()) <= here and ledger.state == READY:
            raise Broken("self-fork", "a block that has left is not here, and the box would sign its place again")


def check_own_feed(ledger: Ledger, owed: Promises) -> None:
    """Our own feed says what others have seen of it."""
    assert ledger.me is not None
    own = {block.seq: block.id for block in ledger.blocks(ledger.me)}
    for seq, block_id in owed.released.items():
        if own.get(seq) != block_id:
            raise Broken("self-fork", f"place {seq} of our feed")


def sign_on(ledger: Ledger, life: Life) -> None:
    """The box goes on: one more block, which leaves, and the rest of what it holds."""
    before = dict(life.promises.released)
    block = ledger.append(life.reading())
    if before.get(block.seq, block.id) != block.id:
        raise Broken("self-fork", f"place {block.seq} was signed again")
    life.promises.held.add(block.id)
    life.release(ledger)
    life.import_some(ledger)
    if life.rng.random() < 0.2:
        life.read(ledger)
