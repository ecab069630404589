"""One new block on its way to many replicas, against a bare message to as many bare paho clients.

- Each replica is a process of its own with a disk file of its own; the author is this process, with its key in a file
  and so with a witness. Each process also has a bare paho client on the same broker, and this one a bare publisher:
  the same processes and threads, the same size of message, the same quality of service.
- A block counts as having reached a replica when its import there has told the watchers: decrypted, its signature
  checked, committed with a flush to the disk. A bare message has arrived when paho calls its callback. Of both, the
  time is taken until the last of all has it.
- The clock of a block starts when `append` has returned, the block being durable at its author; from there on the
  witness has yet to be flushed before anything leaves. `called` in the method starts when `append` was called.
- Bare messages and blocks take turns, with a pause between them in which everything comes to rest. Compared are the
  medians. Before, enough blocks go their way for every write-ahead log to have come round once, as on a node that runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger.transport import Gossip

from .appending import small_reading
from .broker import broker
from .measure import Line, line
from .replicas import BARE_TOPIC, bare_client, processes
from .scale import Scale
from .world import World

PAUSE_SECONDS = 0.1
SYNC_SECONDS = 60.0
FRAME_BYTES = 83  # of a live frame beside its block


@dataclass(frozen=True, slots=True)
class Rounds:
    """When each bare message was published, and each block asked for, and durable at its author."""

    published: list[float] = field(default_factory=list)
    called: list[float] = field(default_factory=list)
    returned: list[float] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)

    def take(self, author: Ledger, publish: Callable[[], object], count: int) -> None:
        """So many of both, in turns."""
        for _ in range(count):
            self.published.append(time.monotonic())
            publish()
            time.sleep(PAUSE_SECONDS)
            self.called.append(time.monotonic())
            self.seqs.append(author.append(small_reading()).seq)
            self.returned.append(time.monotonic())
            time.sleep(PAUSE_SECONDS)


def live(place: Path, scale: Scale) -> Iterator[Line]:
    """Many replicas, each in its process, on this machine; and one, which shares the processor with nobody else."""
    for replicas, bar in ((scale.replicas, 3.0), (1, None)):
        directory = place / str(replicas)
        directory.mkdir()
        yield _measured(directory, replicas, bar, scale)


def _measured(place: Path, replicas: int, bar: float | None, scale: Scale) -> Line:
    world = World(replicas + 1)
    world.box.save(place / "author.key")
    ledgers = [(place / f"{number}.db", number) for number in range(1, replicas + 1)]
    rounds = Rounds()
    with world.member(place / "author.db", Identity.load(place / "author.key")) as author:
        before = [author.append(small_reading()).raw for _ in range(scale.live_before)]
        for path, number in ledgers:
            with world.member(path, world.boxes[number]) as replica:
                for raw in before:
                    replica.import_blocks([raw])
        with (
            broker(place) as chosen,
            processes(ledgers, chosen) as receivers,
            bare_client(chosen.port) as publisher,
            Gossip(author, chosen.url) as gossip,
        ):
            if not gossip.wait_in_sync(SYNC_SECONDS):
                raise RuntimeError("the replicas do not find each other")
            size = len(author.append(small_reading()).raw) + FRAME_BYTES
            time.sleep(scale.settle_seconds)
            for receiver in receivers:
                receiver.ask("clear")
            rounds.take(author, lambda: publisher.publish(BARE_TOPIC, os.urandom(size), 1), scale.live_blocks)
            time.sleep(scale.settle_seconds)
            reports = [receiver.ask("report") for receiver in receivers]
            if {receiver.ask("digest") for receiver in receivers} != {author.digest().hex()}:
                raise RuntimeError("the replicas do not hold the same")
    return _line(rounds, reports, chosen.name, bar)


def _line(rounds: Rounds, reports: Sequence[Any], name: str, bar: float | None) -> Line:
    """The blocks that all held one by one, against the bare messages of the same rounds."""
    held = [dict(report[0]) for report in reports]
    last_heard = [max(report[1][at] for report in reports) for at in range(len(rounds.published))]
    bare = [heard - since for heard, since in zip(last_heard, rounds.published, strict=True)]
    whole = [at for at, seq in enumerate(rounds.seqs) if all(seq in each for each in held)]
    last_held = {at: max(each[rounds.seqs[at]] for each in held) for at in whole}
    ours = median(last_held[at] - rounds.returned[at] for at in whole)
    called = median(last_held[at] - rounds.called[at] for at in whole)
    first = median(min(each[rounds.seqs[at]] for each in held) - rounds.returned[at] for at in whole)
    reference = median(bare)
    return line(
        f"live-{len(reports)}-replica{'s' if len(reports) > 1 else ''}",
        ours * 1e3,
        "ms to the last",
        reference=f"a bare message to as many paho clients ({reference * 1e3:.2f} ms to the last)",
        ratio=ours / reference,
        bar=bar,
        method=f"medians of {len(whole)} of {len(rounds.seqs)} blocks and as many messages in turns, over {name}; the "
        f"first has it after {first * 1e3:.2f} ms; from the call of append {called * 1e3:.2f} ms to the last, ratio "
        f"{called / reference:.2f}",
        result=[len(reports), len(rounds.seqs)],
    )
