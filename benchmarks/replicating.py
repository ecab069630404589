"""A full replica over MQTT, against the import of the same blocks from memory.

- One process holds all blocks and gossips; this one has an empty replica that knows the members, connects to the same
  broker, and is timed from `Gossip.start` until its last block is durable. Nobody else is there to be pulled from.
- The reference is `Ledger.import_blocks` of the same blocks, feed after feed, into another empty replica. The two take
  turns; the line is the median of the rounds' ratios.
- How long it takes to find each other does not depend on the number of blocks; the method says how long it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from medledger.importing import Advance
from medledger.ledger import Ledger
from medledger.transport import Gossip

from .broker import Broker, broker
from .measure import Line, line, seconds
from .replicas import processes
from .scale import Scale
from .world import World

TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Synced:
    """How one sync went: seconds from the start to the end, and of them until the first blocks were durable."""

    whole: float
    before: float


class Source:
    """The ledger that is synced, held by another process, and the same blocks in memory."""

    def __init__(self, place: Path, feeds: int, blocks: int) -> None:
        self._place = place
        self._world = World(feeds + 1)  # the last one only reads
        self._number = 0
        self.feeds = feeds
        self.raws = [raw for feed in range(feeds) for raw in self._world.author(feed).readings(blocks // feeds)]
        with self._world.member(place / "source.db", self._world.box) as source:
            source.import_blocks(self.raws)
            self.digest = source.digest()

    @contextmanager
    def shared(self) -> Iterator[Broker]:
        """Somebody gossips it."""
        with broker(self._place) as chosen, processes([(self._place / "source.db", 0)], chosen):
            yield chosen

    def import_seconds(self) -> float:
        """One import of all blocks."""
        with self._world.replica(self._fresh()) as replica:
            took = seconds(lambda: replica.import_blocks(self.raws))
            self._check(replica)
        return took

    def sync(self, from_broker: Broker) -> Synced:
        """One sync of all blocks."""
        with self._world.member(self._fresh(), self._world.boxes[-1]) as replica:
            done = threading.Event()
            left = len(self.raws)
            times: list[float] = []

            def advanced(advance: Advance) -> None:
                nonlocal left
                left -= advance.last - advance.first + 1
                times.append(time.perf_counter())
                if not left:
                    done.set()

            replica.watch(advanced)
            started = time.perf_counter()
            with Gossip(replica, from_broker.url):
                if not done.wait(TIMEOUT_SECONDS):
                    raise RuntimeError(f"{left} of {len(self.raws)} blocks did not come")
            self._check(replica)
        return Synced(times[-1] - started, times[0] - started)

    def _fresh(self) -> Path:
        self._number += 1
        return self._place / f"{self._number}.db"

    def _check(self, replica: Ledger) -> None:
        if replica.digest() != self.digest:
            raise RuntimeError("the replica does not hold what the source does")


def full_replica(place: Path, scale: Scale) -> Iterator[Line]:
    """One-entry blocks of many feeds."""
    source = Source(place, scale.synced_feeds, scale.synced)
    count = len(source.raws)
    imports: list[float] = []
    syncs: list[Synced] = []
    with source.shared() as shared:
        for _ in range(scale.sync_rounds):
            imports.append(source.import_seconds())
            syncs.append(source.sync(shared))
    rates = [took / sync.whole for took, sync in zip(imports, syncs, strict=True)]
    whole = median(sync.whole for sync in syncs)
    before = median(sync.before for sync in syncs)
    shown = " ".join(f"{rate:.2f}" for rate in rates)
    yield line(
        "sync-full-replica",
        count / whole,
        "blocks/s",
        reference=f"import_blocks of the same blocks ({count / median(imports):.0f} blocks/s)",
        ratio=median(rates),
        bar=0.6,
        at_least=True,
        method=f"median of {scale.sync_rounds} rounds ({shown}): {count} one-entry blocks of {source.feeds} feeds from "
        f"one process over {shared.name}, from connecting to the last block durable; the first after {before:.2f} s",
        result=[source.digest],
    )
