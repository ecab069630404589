"""Replicas that got the same history in other orders, by halves and with forks, end alike once they have exchanged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger_model import History
from medledger import Ledger
from medledger.errors import UnknownAuthorError

REPLICAS = 3
ROUNDS = 8


def exchange(source: Ledger, target: Ledger) -> None:
    """All that an honest peer hands over: what stands, fork proofs, and governors' branches."""
    electors = source.membership.electors
    for feed in sorted(source.frontier(), key=lambda feed: (feed not in electors, feed)):
        target.import_blocks(list(source.raw_blocks(feed)))
    for proof in source.fork_proofs().values():
        try:
            target.import_fork_proof(proof)
        except UnknownAuthorError:
            continue  # its enrolment comes in a later round
    target.import_blocks(source.branches())


def replicas(directory: Path, history: History, rng: random.Random, *, whole: bool) -> Iterator[Ledger]:
    """Replicas that were handed the history, or a part of it, in some order and in pieces of some size."""
    for n in range(REPLICAS):
        replica = Ledger.replicate(directory / f"{n}.db", history.genesis)
        replica.store.connection.execute("PRAGMA synchronous = OFF")
        part = [raw for raw in history.blocks if whole or rng.random() < 0.7]
        if rng.random() < 0.5:
            rng.shuffle(part)
        while part:
            size = rng.choice([1, 2, 5, 1000])
            replica.import_blocks(part[:size])
            part = part[size:]
            if rng.random() < 0.2:
                list(replica.entries(void=True))
        yield replica


def entries_of(replica: Ledger) -> list[tuple[object, ...]]:
    """What a reader sees, void entries included."""
    return sorted((e.author, e.seq, e.index, e.void or "", e.entry.raw) for e in replica.entries(void=True))


@pytest.mark.parametrize("fork_rate", [0.0, 0.12], ids=["honest authors", "forking authors"])
@pytest.mark.parametrize("whole", [True, False], ids=["all blocks", "a part each"])
@pytest.mark.parametrize("worlds", [25, pytest.param(1500, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_whoever_exchanges_everything_ends_alike(
    tmp_path: Path, rng: random.Random, worlds: int, whole: bool, fork_rate: float
) -> None:
    """Equal digests, memberships and entries, whatever came first."""
    for world in range(worlds):
        directory = tmp_path / str(world)
        directory.mkdir()
        seed = rng.getrandbits(32)
        history = History(random.Random(seed), fork_rate)
        with ExitStack() as stack:
            reps = [stack.enter_context(replica) for replica in replicas(directory, history, rng, whole=whole)]
            for _ in range(ROUNDS):
                for source in reps:
                    for target in reps:
                        if source is not target:
                            exchange(source, target)
                if len({replica.digest() for replica in reps}) == 1:
                    break
            assert len({replica.digest() for replica in reps}) == 1, f"history {seed}"
            for other in reps[1:]:
                assert other.membership == reps[0].membership, f"history {seed}"
                assert entries_of(other) == entries_of(reps[0]), f"history {seed}"
            for replica in reps:
                replica.fsck()
