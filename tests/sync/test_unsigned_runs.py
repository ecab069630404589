"""Segments that only their last block signs, larger than what one pull brings: they travel all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from forge import Chain, small_entry
from gossip_network import Links
from ledger_world import World, fresh_member
from medledger import Ledger
from medledger.entry import encode_entry
from medledger.limits import MAX_DATA_BYTES, PULL_FRAMES_MAX, PULL_FRAMES_MIN
from worlds import reading


@pytest.fixture
def world(tmp_path: Path, rng: Random) -> Iterator[World]:
    """A founder alone."""
    with ExitStack() as stack:
        yield World(tmp_path, rng.randrange(2**32), stack)


def body(n: int, size: int) -> list[bytes]:
    """One large entry."""
    return [encode_entry("reading", {"raw": bytes(size)}, time=n, subject=None, salt=n.to_bytes(16, "big"))]


def absent(world: World, name: str) -> Chain:
    """A member whose node is not there: its feed is written by hand."""
    ledger = world.add(name)
    world.net.run(5)
    world.net.stop(world.stations.pop(name))
    assert ledger.identity is not None
    return Chain(ledger.identity, ledger.id)


def run_on(chain: Chain, size: int, *, first: int = 0) -> Chain:
    """To the end of the segment nothing signed but the last; then some that are."""
    while len(chain.raws) % 64 != 63:
        chain.add(body(first + len(chain.raws), size), sign=False)
    chain.add(body(first + 63, size))
    return chain.grow(10)


def lengths(chain: Chain, *ledgers: Ledger) -> set[int]:
    """What the ledgers hold of a feed."""
    heads = [ledger.head(chain.author.public_key) for ledger in ledgers]
    return {head.seq + 1 if head else 0 for head in heads}


@pytest.mark.parametrize("size", [4_000, 31_000])
@pytest.mark.parametrize("lose", [0.0, 0.05])
def test_a_run_larger_than_a_pull_arrives_and_nobody_is_blamed(world: World, size: int, lose: float) -> None:
    """Two such feeds at one honest member: the others hold them, and soon take it for as good as any."""
    chains = [run_on(absent(world, name), size) for name in ("ward", "theatre")]
    assert 64 * size > MAX_DATA_BYTES * (PULL_FRAMES_MIN if size < 10_000 else PULL_FRAMES_MAX)
    clinic, other = world.add("clinic"), world.add("other")
    world.settle()
    world.net.links = Links(lose=lose, lose_sure=lose)
    clinic.import_blocks([raw for chain in chains for raw in chain.raws])
    world.settle()
    for chain in chains:
        assert lengths(chain, world.founder, clinic, other) == {74}
    assert lose or all(peer.vain == 0 for peer in world.stations["other"].node.peers)


def test_a_newcomer_gets_it_among_everything_else(world: World) -> None:
    """It lacks many feeds, so that a want asks for several at once."""
    writers = [world.add(name) for name in ("a", "b", "c")]
    for writer in writers:
        for _ in range(5):
            writer.append(reading())
    chain = run_on(absent(world, "ward"), 8_000)
    world.founder.import_blocks(chain.raws)
    world.settle()
    newcomer = fresh_member(world, "newcomer", "auditor")
    world.settle(30)
    assert lengths(chain, newcomer) == {74}


@pytest.mark.parametrize("shared", [3, 40])
def test_a_fork_whose_other_side_is_such_a_run_is_proved(world: World, shared: int) -> None:
    """One replica holds signed blocks after the split, another the run: both end with the proof."""
    trunk = absent(world, "ward").grow(shared)
    signed = trunk.branch(shared).grow(80)
    run = run_on(trunk.branch(shared), 20_000, first=1000)
    clinic, other = world.add("clinic"), world.add("other")
    world.settle()
    clinic.import_blocks(run.raws)
    other.import_blocks(signed.raws)
    world.settle()
    for ledger in (world.founder, clinic, other):
        assert ledger.forks[trunk.author.public_key].seq == shared
    assert lengths(trunk, world.founder, clinic, other) == {shared}


def test_blocks_that_nobody_vouches_for_are_given_up(world: World) -> None:
    """A member that has taken to giving unsigned blocks without end is asked ever less, and keeps no room."""
    chain = absent(world, "ward")
    for n in range(200):
        chain.add([small_entry(n)], sign=n % 64 == 63)
    clinic, other = world.add("clinic"), world.add("other")
    world.settle()
    clinic.import_blocks(run_on(Chain(chain.author, chain.ledger_id), 100).raws)
    served = clinic.release

    def release(feed: bytes, start: int, stop: int, max_bytes: int = MAX_DATA_BYTES) -> list[bytes]:
        if feed != chain.author.public_key:
            return list(served(feed, start, stop, max_bytes))
        return chain.raws[start : min(stop, start + 1)] * 20

    clinic.release = release  # type: ignore[method-assign,assignment]
    world.net.run(100)
    before = world.net.kinds()["i"]
    world.net.run(300)
    assert world.net.kinds()["i"] - before < 300
    assert lengths(chain, other) == {0}
    del clinic.release
    world.settle()
    assert lengths(chain, other) == {74}
