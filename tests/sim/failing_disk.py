"""Disk full, I/O errors and failing syncs: each operation of everything a box does fails once, or from then on.

- A box lives for a while. From where it stands each thing it does is done again and again on copies of its disk, and
  each time the next one of its writes, syncs, name changes ... fails, until none is left to fail.
- Checked: what fails says so with a `StoreError` (`KeyFileError` for the key) and what to do; nothing else is raised.
  While the disk goes on failing, nothing is signed or acknowledged. Where it failed once, the box may go on in the same
  process, and what it acknowledges then counts.
- Then the disk is mended, and the box ends in one of the ways that it can: closed, killed, or by a power cut. It starts
  clean, with all that it had acknowledged, and goes on (`live_on`); after another power cut on the way, too, for
  what a failed flush has lost is still shown until then.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from medledger import Ledger
from medledger.errors import KeyFileError, MedledgerError, StoreError
from sim.bars import Bar
from sim.crash_life import Joined, Life, ledger_to_join
from sim.crash_matrix import Broken, live_on
from sim.disk import Disk, Mode, PowerCut
from sim.mounting import mounted

LIFE_STEPS = 25


class Fails(NamedTuple):
    """How an operation fails."""

    kind: str
    error: int
    lasting: bool
    lose: bool = False

    def __str__(self) -> str:
        return f"{errno.errorcode[self.error]} at {self.kind}{' for good' * self.lasting}{', data lost' * self.lose}"


FAULTS = (
    Fails("write", errno.ENOSPC, lasting=False),
    Fails("write", errno.ENOSPC, lasting=True),
    Fails("write", errno.EIO, lasting=False),
    Fails("write", errno.EIO, lasting=True),
    Fails("sync", errno.EIO, lasting=False),
    Fails("sync", errno.EIO, lasting=False, lose=True),
    Fails("sync", errno.EIO, lasting=True, lose=True),
    Fails("dirsync", errno.EIO, lasting=False),
    Fails("truncate", errno.EIO, lasting=False),
    Fails("create", errno.ENOSPC, lasting=True),
    Fails("open", errno.EIO, lasting=True),
    Fails("rename", errno.EIO, lasting=False),
    Fails("link", errno.ENOSPC, lasting=False),
    Fails("unlink", errno.EIO, lasting=False),
)
ACTIONS: tuple[str, ...] = (
    "start",
    "append",
    "append_large",
    "append_together",
    "release",
    "import_some",
    "import_fork",
    "import_proof",
    "import_bundle",
    "enrol",
    "revoke",
    "read",
    "reindex",
    "backup",
)


@dataclass
class FailingDisk:
    """Counts the faults that were met, and what was broken. `share` of the faults are tried."""

    seed: int
    joined: Joined | None
    share: float = 1.0
    met: Counter[str] = field(default_factory=Counter)
    said: int = 0
    overlooked: int = 0
    broken: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Everything that a founder does, and what a member does to join."""
        self._live(None, ("start",), FAULTS, begun=False)
        self._live(None, ACTIONS, FAULTS, begun=True)
        self._live(self.joined, ("start",), FAULTS, begun=False)
        self._live(self.joined, ("start", "import_bundle", "release"), FAULTS, begun=True)

    def run_some(self, actions: Sequence[str], faults: Sequence[Fails]) -> None:
        """Some of what a founder does."""
        self._live(None, actions, faults, begun=True)

    def _live(self, joined: Joined | None, actions: Sequence[str], faults: Sequence[Fails], *, begun: bool) -> None:
        base = Life(Disk("base"), random.Random(f"{self.seed}:{begun}"), joined)
        base.disk.checkpoint_pages = 12
        if begun:
            base.run(LIFE_STEPS)
        for action in actions:
            for fails in faults:
                self._each(base, action, fails)

    def _each(self, base: Life, action: str, fails: Fails) -> None:
        """Let the first such operation of this action fail, then the second ..."""
        nth = 1
        while True:
            chance = random.Random(f"{self.seed}:{action}:{fails}:{nth}")
            if chance.random() < self.share:
                disk = base.disk.copy("failing")
                disk.checkpoint_pages = chance.choice((12, 1000))
                place = f"{action}, {fails}, number {nth}"
                try:
                    if not self._try(disk, base, action, fails, nth, chance):
                        return
                except (Broken, MedledgerError, OSError) as error:
                    self.broken.append(f"{place}: {type(error).__name__}: {error}")
                self.met[str(fails)] += 1
            nth += 1
            if nth > 300:  # no action has so many
                return

    def _try(self, disk: Disk, base: Life, action: str, fails: Fails, nth: int, rng: random.Random) -> bool:
        """One fault: whether it was met, so that there may be a next."""
        life = Life(disk, rng, base.joins, base.promises.copy(), base.ticks)
        with mounted(disk):
            ledger = None if action == "start" else life.start()
            disk.fail(fails.kind, nth=nth, error=fails.error, lasting=fails.lasting, lose=fails.lose)
            try:
                if ledger is None:
                    ledger = life.start()
                else:
                    getattr(life, action)(ledger)
                self.overlooked += disk.faults_hit > 0
            except (StoreError, KeyFileError) as error:
                self.said += 1
                if not error.hint:
                    raise Broken("silent", f"no next step: {error}") from error
            if not disk.faults_hit:
                return False
            if ledger is not None:
                self._go_on(ledger, life, fails)
            disk.mend()
            self._end(ledger, disk, rng)
        disk.crash_at = disk.points + rng.randrange(60)
        with suppress(PowerCut):
            live_on(disk, life, life.promises, rng, close=False)
        disk.crash(rng.choice([Mode.DROPPED, Mode.TORN, Mode.REORDERED]), rng)
        live_on(disk, life, life.promises, rng)
        return True

    def _go_on(self, ledger: Ledger, life: Life, fails: Fails) -> None:
        """The process does not end at once: it appends and releases, as far as the disk lets it."""
        for action in (life.append, life.release, life.append):
            try:
                action(ledger)
            except StoreError as error:
                if not error.hint:
                    raise Broken("silent", f"no next step: {error}") from error
            else:
                if fails.lasting and fails.kind in ("write", "sync") and action == life.append:
                    raise Broken("lost", "an append was acknowledged on a disk that keeps failing")

    def _end(self, ledger: Ledger | None, disk: Disk, rng: random.Random) -> None:
        """Closed in good order, killed, or cut off."""
        how = rng.choice([None, *Mode])
        if how is None and ledger is not None:
            ledger.close()
        disk.crash(how or Mode.KILLED, rng)

    def bar(self) -> Bar:
        """For the table."""
        met = sum(self.met.values())
        lost = sum("lost" in line or "fork" in line for line in self.broken)
        return Bar(
            "disk full / I/O error at every write; fsync failure",
            "stops signing, says so, restarts clean, 0 acknowledged lost",
            f"{met} faults of {len(self.met)} kinds: {self.said} said with a next step, "
            f"{self.overlooked} without effect, {lost} lost, {len(self.broken) - lost} otherwise wrong",
            not self.broken and bool(self.met),
            self.seed,
        )


def measure(seed: int, directory: Path, *, share: float = 1.0) -> tuple[Bar, list[str]]:
    """Every fault, or a share of them; and what was broken, line by line."""
    failing = FailingDisk(seed, ledger_to_join(directory / "stick.bundle"), share)
    failing.run()
    return failing.bar(), failing.broken
