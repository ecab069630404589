"""Branches over gossip, with real ledgers: replicas that saw different parts of a forked history end alike."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from forge import Chain
from gossip_network import Links, Network, Station
from ledger_model import History
from medledger import Identity, Ledger
from medledger.entry import encode_entry
from medledger.keys import seal_to
from medledger.ledger import Released
from medledger.limits import BEACON_MAX_SECONDS
from medledger.sync import Publish, branches
from medledger.sync.frames import Codec
from medledger.sync.messages import Data, Message, WantBranches
from medledger.sync.topics import Topics
from memory_replica import KEY


class Replicas:
    """Replicas of one history, each with a node under a key of its own."""

    def __init__(self, directory: Path, history: History, rng: Random, links: Links | None = None) -> None:
        self.directory = directory
        self.history = history
        self.rng = rng
        self.net = Network(rng.randrange(2**32), links)
        self.ledgers: list[Ledger] = []
        self.said: list[tuple[float, Station, Message]] = []
        self.topics = Topics(history.ledger_id, KEY.key)
        self.codec = Codec(history.ledger_id, KEY, Random(0))
        self.net.on_publish = self._listen

    def add(self, blocks: list[bytes], *, kind: type[Ledger] = Ledger, who: Identity | None = None) -> Station:
        """A replica that was handed these blocks, in pieces, with a node."""
        at = len(self.ledgers)
        kind.replicate(self.directory / f"{at}.db", self.history.genesis).close()
        identity = who or Identity.from_seed(self.rng.randbytes(32))
        ledger = kind.open(self.directory / f"{at}.db", identity)
        ledger.store.set_meta("transport_key", seal_to(identity.kem_public_key, KEY.key))
        ledger.store.connection.execute("PRAGMA synchronous = OFF")
        self.ledgers.append(ledger)
        while blocks:
            size = self.rng.choice([1, 5, 1000])
            ledger.import_blocks(blocks[:size])
            blocks = blocks[size:]
        station = self.net.add(f"replica {at}", ledger)
        ledger.watch(lambda advance: self.net.advanced(station, advance))
        return station

    def settle(self, seconds: float = 3 * BEACON_MAX_SECONDS) -> None:
        """Let the network converge."""
        assert self.net.run(seconds, until=self.net.converged), f"seed {self.net.seed}: not converged"

    def requests(self, since: float = 0.0) -> list[tuple[Station, WantBranches]]:
        """Branches that were asked for."""
        return [(who, said) for at, who, said in self.said if isinstance(said, WantBranches) and at >= since]

    def close(self) -> None:
        for ledger in self.ledgers:
            ledger.close()

    def _listen(self, station: Station, effect: Publish) -> None:
        address = self.topics.read(effect.topic)
        assert address is not None
        message = self.codec.open(effect.topic, address.channel, effect.payload).message
        self.said.append((self.net.now, station, message))


def entries_of(replica: Ledger) -> list[tuple[object, ...]]:
    """What a reader sees, void entries included."""
    return sorted((e.author, e.seq, e.index, e.void or "", e.entry.raw) for e in replica.entries(void=True))


@pytest.mark.parametrize("worlds", [6, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_replicas_that_saw_parts_of_forked_histories_end_alike(tmp_path: Path, rng: Random, worlds: int) -> None:
    """Three replicas with 70 % each of a history with forking governors: equal digests, memberships and entries."""
    for world in range(worlds):
        directory = tmp_path / str(world)
        directory.mkdir()
        seed = rng.getrandbits(32)
        history = History(random.Random(seed), 0.15)
        replicas = Replicas(directory, history, rng, Links(delay=(0.001, 0.3), lose=0.15, lose_sure=0.1, repeat=0.1))
        print(f"history {seed}, network {replicas.net.seed}")
        for _ in range(3):
            replicas.add([raw for raw in history.blocks if rng.random() < 0.7])
        replicas.settle()
        first, *others = replicas.ledgers
        for other in others:
            assert other.membership == first.membership
            assert entries_of(other) == entries_of(first)
        replicas.net.run(300)
        before = replicas.net.now
        replicas.net.run(10 * BEACON_MAX_SECONDS)
        assert set(replicas.net.kinds(before)) == {"s"}
        replicas.close()


@pytest.fixture
def replicas(tmp_path: Path, rng: Random) -> Iterator[Replicas]:
    """A ledger of some governors, and no replica yet."""
    replicas = Replicas(tmp_path, History(random.Random(1)), rng)
    print(f"network {replicas.net.seed}")
    yield replicas
    replicas.close()


def forked(history: History, lengths: tuple[int, int], size: int = 200) -> tuple[list[bytes], list[list[bytes]]]:
    """A governor's feed of ten blocks, and two branches of data after it."""
    governor = history.epochs[0].governors[0]

    def body(n: int) -> list[bytes]:
        salt = n.to_bytes(16, "big")
        return [encode_entry("reading", {"raw": bytes(size)}, time=n, subject=None, salt=salt)]

    trunk = Chain(governor, history.ledger_id)
    for n in range(10):
        trunk.add(body(n))
    found = []
    for number, length in enumerate(lengths, 1):
        chain = trunk.branch(10)
        for n in range(length):
            chain.add(body(1_000_000 * number + n))
        found.append(chain.raws[10:])
    return trunk.raws, found


@pytest.mark.parametrize("window", [60, 4096])
def test_long_branches_travel_in_windows(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, rng: Random, window: int
) -> None:
    """Three replicas with parts of two branches of 400 blocks: few ids in a request or many, and frames are lost."""
    monkeypatch.setattr(branches, "BRANCH_IDS_PER_REQUEST", window)
    replicas.net.links = Links(delay=(0.001, 0.1), lose=0.1, repeat=0.1)
    trunk, (one, other) = forked(replicas.history, (400, 400), size=1500)
    for mine, theirs in ((400, 1), (1, 400), (150, 250)):
        replicas.add(trunk + one[:mine] + other[:theirs])
    replicas.settle()
    assert [len(ledger.branches()) for ledger in replicas.ledgers] == [800] * 3
    for ledger in replicas.ledgers:
        ledger.fsck()


def test_of_branches_only_what_is_lacking_travels(replicas: Replicas) -> None:
    """Of two branches of 300 blocks one replica lacks the last three blocks: these travel, once, and no others."""
    trunk, (one, other) = forked(replicas.history, (300, 300))
    replicas.add(trunk + one + other)
    replicas.add(trunk + one[:-1] + other[:-2])
    replicas.settle()
    blocks = [block for _, _, said in replicas.said if isinstance(said, Data) for block in said.blocks]
    assert sorted(blocks) == sorted([one[-1], *other[-2:]])
    assert len(replicas.requests()) <= 2


def test_blocks_of_a_branch_that_a_program_imports_reach_the_others(replicas: Replicas) -> None:
    """No feed grows by them, so that nobody tells the node; it finds them when it speaks next."""
    trunk, (one, other) = forked(replicas.history, (20, 20))
    first = replicas.add(trunk + one[:5] + other[:5])
    replicas.add(trunk + one[:5] + other[:5])
    replicas.settle()
    first.replica.import_blocks(one + other)
    replicas.settle(2 * BEACON_MAX_SECONDS)
    assert [len(ledger.branches()) for ledger in replicas.ledgers] == [40, 40]


class Liar(Ledger):
    """A replica that shows other branches every time it is looked at, and gives what it likes for them."""

    lies = Random(1)
    gives: Sequence[bytes] = ()

    def branch_places(self, feed: bytes) -> list[tuple[int, bytes]]:
        return [(10 + n, self.lies.randbytes(32)) for n in range(5)] if self.forks else []

    def release_branches(self, feed: bytes, ids: Sequence[bytes], max_bytes: int = 0) -> list[Released]:
        return [Released(raw) for raw in self.gives]


@pytest.mark.parametrize("gives", ["nothing", "what everybody has", "noise"])
def test_who_lies_about_branches_is_asked_ever_less(replicas: Replicas, gives: str) -> None:
    """In ten minutes it costs each honest replica a few dozen requests, and these stay in sync with each other."""
    trunk, (one, other) = forked(replicas.history, (20, 20))
    honest = [replicas.add(trunk + one + other[:3]), replicas.add(trunk + one[:3] + other)]
    liar = replicas.add(trunk + one[:3] + other[:3], kind=Liar)
    liar.replica.gives = {"nothing": [], "what everybody has": one[:3], "noise": [bytes(300)]}[gives]
    one_replica, other_replica = (station.replica for station in honest)
    assert replicas.net.run(30, until=lambda: one_replica.digest() == other_replica.digest())
    replicas.net.run(60)
    before = replicas.net.now
    replicas.net.run(600)
    for station in honest:
        assert len([1 for who, _ in replicas.requests(before) if who is station]) <= 40
        assert len([1 for at, name, _, _ in replicas.net.traffic if at >= before and name == station.name]) <= 250
    assert one_replica.digest() == other_replica.digest()
