"""Importing: what stands in the end depends only on which blocks there are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge import Chain, small_entry
from medledger import Identity, Ledger, merkle, validation
from medledger.block import Hidden, encode_body, join_block, parse_block, split_block
from medledger.errors import (
    BlockError,
    BlockSignatureError,
    BodyError,
    CutError,
    DivergedError,
    ForkedError,
    GapError,
    MalformedError,
    UnknownAuthorError,
    UsageError,
)
from medledger.keys import verify
from medledger.limits import WAITING_BLOCKS
from worlds import found, join, reading, sync


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger's only governor."""
    with found(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def member(founder: Ledger, tmp_path: Path) -> Iterator[Ledger]:
    """A bedside box that joined it."""
    with join(founder, tmp_path, "box") as ledger:
        yield ledger


def replica_of(founder: Ledger, path: Path) -> Ledger:
    """An empty replica of the same ledger."""
    return Ledger.replicate(path, founder.genesis.raw)


def chain_of(ledger: Ledger) -> Chain:
    """The ledger's own feed, to be continued by hand with its key."""
    assert ledger.identity is not None
    return Chain(ledger.identity, ledger.id, list(ledger.raw_blocks(ledger.identity.public_key)))


def everything(*ledgers: Ledger) -> list[bytes]:
    """Every block of the ledgers' own feeds."""
    return [raw for ledger in ledgers for raw in ledger.raw_blocks(ledger.me or b"")]


def test_any_order_of_arrival_ends_in_the_same_replica(
    founder: Ledger, member: Ledger, tmp_path: Path, rng: random.Random
) -> None:
    """Shuffled, repeated, in batches of any size: the digests are equal once every block has come."""
    for n in range(40):
        member.append(reading(60 + n))
        if n % 10 == 0:
            founder.append(reading(50))
    sync(member, founder)
    blocks = everything(founder, member)
    for attempt in range(6):
        rng.shuffle(blocks)
        with replica_of(founder, tmp_path / f"replica{attempt}.db") as replica:
            while replica.digest() != founder.digest():
                before = replica.digest()
                at = 0
                while at < len(blocks):
                    size = rng.randrange(1, 30)
                    replica.import_blocks(blocks[at : at + size])
                    at += size
                assert replica.digest() != before, "a whole round of every block brought nothing new"
            assert replica.fsck().blocks == len(blocks)


def test_one_import_of_everything_in_any_order_takes_everything(
    founder: Ledger, member: Ledger, tmp_path: Path, rng: random.Random
) -> None:
    """Within a batch the order does not matter at all, not even an enrolment behind its member's blocks."""
    for n in range(20):
        member.append(reading(n))
    blocks = everything(founder, member)
    rng.shuffle(blocks)
    with replica_of(founder, tmp_path / "replica.db") as replica:
        report = replica.import_blocks(blocks)
        assert (report.accepted, report.waiting, report.refused) == (len(blocks), 0, [])


def test_duplicates_and_replays_change_nothing(founder: Ledger, member: Ledger) -> None:
    """A block that is here already is counted and passed over."""
    member.append(reading())
    blocks = everything(member)
    founder.import_blocks(blocks)
    digest = founder.digest()
    report = founder.import_blocks([*blocks, *blocks])
    assert report.duplicates == 2 * len(blocks)
    assert (report.accepted, report.refused, founder.digest()) == (0, [], digest)


@pytest.mark.parametrize("where", ["header", "signature", "body", "length", "cut", "empty"])
def test_damaged_blocks_are_reported_and_change_nothing(founder: Ledger, member: Ledger, where: str) -> None:
    """And the undamaged block for the same place is taken afterwards."""
    raw = member.append(reading()).raw
    at = {"header": 60, "signature": raw.index(b"\x58\x40") + 5, "body": len(raw) - 1, "length": 2}.get(where, 0)
    bad = {"cut": raw[:-1], "empty": b""}.get(where) if at == 0 else raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    assert bad is not None
    digest = founder.digest()
    report = founder.import_blocks([bad])
    assert founder.digest() == digest
    assert report.accepted == 0
    assert len(report.refused) == 1
    assert isinstance(report.refused[0], BlockError)
    assert founder.import_blocks([bad, raw]).accepted == 1


def test_a_gap_is_reported_with_the_place_to_pull(founder: Ledger, member: Ledger) -> None:
    """Nothing unauthenticated waits: the block comes again with the range."""
    first = member.append(reading())
    second = member.append(reading())
    report = founder.import_blocks([second.raw])
    assert [type(error) for error in report.refused] == [GapError]
    assert (report.refused[0].feed, report.refused[0].seq) == (member.me, second.seq)
    assert founder.import_blocks([first.raw, second.raw]).accepted == 2


def test_an_unknown_authors_blocks_wait_within_bounds(founder: Ledger) -> None:
    """They are not kept, their sender still has them; and a flood of them costs bounded memory."""
    stranger = Chain(Identity.generate(), founder.id)
    for n in range(3):
        stranger.add([small_entry(n)])
    report = founder.import_blocks(stranger.raws)
    assert report.waiting == 3
    assert [type(error) for error in report.refused] == [UnknownAuthorError]
    flood = (stranger.raws[0] for _ in range(3 * WAITING_BLOCKS))
    assert founder.import_blocks(flood).waiting == 3 * WAITING_BLOCKS
    assert stranger.author.public_key not in founder.frontier()


def test_a_hidden_entry_is_filled_when_a_peer_sends_it(founder: Ledger, member: Ledger, tmp_path: Path) -> None:
    """A hole verifies, is remembered as wanted, and is filled from the whole block."""
    block = member.append(reading(61), reading(62))
    whole = everything(founder, member)
    entries = list(block.body)
    assert isinstance(entries[1], bytes)
    entries[1] = Hidden(merkle.leaf_hash(entries[1]))
    holed = join_block(block.header_bytes, encode_body(entries))
    with replica_of(founder, tmp_path / "replica.db") as replica:
        replica.import_blocks([*everything(founder), holed])
        assert replica.store.holes() == [(member.me, block.seq)]
        assert [entry.void for entry in replica.entries("reading", void=True)] == [None]
        assert replica.digest() == founder.digest() or member.me not in founder.frontier()
        assert replica.verify().hidden == 1
        replica.import_blocks(whole)
        assert replica.store.holes() == []
        assert len(list(replica.entries("reading"))) == 2
        replica.import_blocks([holed])
        assert replica.store.holes() == [], "a withheld entry does not make us forget it"


def test_a_hole_is_never_filled_with_another_entry(founder: Ledger, member: Ledger) -> None:
    """The leaf hash decides."""
    block = member.append(reading(61))
    entry = block.body[0]
    assert isinstance(entry, bytes)
    holed = join_block(block.header_bytes, encode_body([Hidden(merkle.leaf_hash(entry))]))
    forged = join_block(block.header_bytes, encode_body([small_entry(1)]))
    founder.import_blocks([*everything(member)[:-1], holed])
    report = founder.import_blocks([forged])
    assert [type(error) for error in report.refused] == [BodyError]
    assert founder.store.holes() == [(member.me, block.seq)]


# --- forks --------------------------------------------------------------------------------------------------------


def forked(member: Ledger) -> tuple[Chain, Chain]:
    """Two histories under one key that share the feed so far, three blocks each."""
    common = chain_of(member)
    one, other = common.branch(len(common.raws)), common.branch(len(common.raws))
    for n in range(3):
        one.add([small_entry(n)])
        other.add([small_entry(100 + n)])
    return one, other


def test_a_fork_is_proved_and_every_replica_ends_alike(
    founder: Ledger, member: Ledger, tmp_path: Path, rng: random.Random
) -> None:
    """Whichever branch came first and however: what stood before the split stands, both branches are disputed."""
    member.append(reading())
    sync(member, founder)
    split = len(chain_of(member).raws)
    one, other = forked(member)
    digests = set()
    for attempt in range(6):
        with replica_of(founder, tmp_path / f"replica{attempt}.db") as replica:
            replica.import_blocks(everything(founder))
            first, second = rng.sample([one.raws, other.raws], 2)
            replica.import_blocks(first)
            report = replica.import_blocks(second)
            assert [type(error) for error in report.refused] == [ForkedError]
            assert report.forks == [member.me]
            proof = replica.forks[member.me or b""]
            assert (proof.seq, len(proof.raw) <= 2048) == (split, True)
            assert replica.frontier()[member.me or b""].seq == split - 1
            assert {block.seq for block in replica.disputed()} >= {split}
            assert len(list(replica.entries("reading", author=member.me))) == 1
            replica.fsck()
            digests.add(replica.digest())
            again = replica.import_blocks(one.raws)
            assert (again.accepted, [type(error) for error in again.refused]) == (0, [ForkedError])
            founder.import_fork_proof(proof.raw)
            assert founder.digest() == replica.digest()
    assert len(digests) == 1


def test_a_fork_inside_one_batch_is_proved(founder: Ledger, member: Ledger) -> None:
    """Both sides in one import, in any order."""
    sync(member, founder)
    one, other = forked(member)
    report = founder.import_blocks([*other.raws, *one.raws])
    assert member.me in founder.forks
    assert report.forks == [member.me]
    founder.fsck()


def test_three_branches_leave_the_same_proof_everywhere(founder: Ledger, member: Ledger, tmp_path: Path) -> None:
    """Lowest seq, then the two smallest ids, whichever two branches a replica saw first."""
    sync(member, founder)
    common = chain_of(member)
    branches = [common.branch(len(common.raws)) for _ in range(3)]
    for n, branch in enumerate(branches):
        branch.add([small_entry(1000 + n)])
    replicas = [replica_of(founder, tmp_path / f"replica{n}.db") for n in range(3)]
    try:
        for n, replica in enumerate(replicas):
            replica.import_blocks(everything(founder))
            replica.import_blocks(branches[n].raws)
            replica.import_blocks(branches[(n + 1) % 3].raws)
        for replica in replicas:
            for other in replicas:
                replica.import_fork_proof(other.fork_proofs()[member.me or b""])
        ids = sorted(parse_block(branch.raws[-1]).id for branch in branches)
        for replica in replicas:
            assert replica.forks[member.me or b""].ids == (ids[0], ids[1])
        assert len({replica.digest() for replica in replicas}) == 1
    finally:
        for replica in replicas:
            replica.close()


def test_a_block_of_another_branch_that_does_not_reach_the_split_asks_for_more(founder: Ledger, member: Ledger) -> None:
    """It accuses nobody: the blocks back to the split have to be pulled first."""
    sync(member, founder)
    one, other = forked(member)
    founder.import_blocks(one.raws)
    report = founder.import_blocks([other.raws[-1]])
    assert [type(error) for error in report.refused] == [DivergedError]
    assert founder.forks == {}
    assert founder.import_blocks(other.raws).forks == [member.me]


@pytest.mark.parametrize("held", [1, 3])
def test_a_branch_that_only_a_successor_vouches_for_asks_for_more(founder: Ledger, member: Ledger, held: int) -> None:
    """Whether it begins below our head or above it; and cut before the one that vouches, it is nobody's."""
    sync(member, founder)
    common = chain_of(member)
    split = len(common.raws)
    one, other = common.branch(split), common.branch(split)
    for n in range(held):
        one.add([small_entry(n)])
    for n in range(6):
        other.add([small_entry(100 + n)], sign=n in (0, 4))
    founder.import_blocks(one.raws)
    report = founder.import_blocks(other.raws[split + 1 : split + 5])
    assert [(type(error), error.seq) for error in report.refused] == [(DivergedError, split + 1)]
    report = founder.import_blocks(other.raws[split + 1 : split + 4])
    assert {type(error) for error in report.refused} == {BlockSignatureError}
    assert founder.forks == {}
    assert founder.import_blocks(other.raws[split : split + 5]).forks == [member.me]


def test_damage_never_accuses(founder: Ledger, member: Ledger, rng: random.Random) -> None:
    """No flipped bit of an honest block makes a fork, an author's fault, or a change."""
    member.append(reading())
    sync(member, founder)
    raws = everything(member)
    digest = founder.digest()
    for _ in range(400):
        raw = bytearray(rng.choice(raws))
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        report = founder.import_blocks([bytes(raw)])
        assert (report.accepted, report.forks) == (0, [])
        assert all(error.fault.value != "author" for error in report.refused)
    assert (founder.digest(), founder.forks) == (digest, {})


def test_a_proof_about_a_stranger_or_a_forged_one_is_refused(founder: Ledger, member: Ledger) -> None:
    """Only a member can be proved to have forked, and only by its own signatures."""
    sync(member, founder)
    one, other = forked(member)
    founder.import_blocks(one.raws)
    founder.import_blocks(other.raws)
    proof = founder.fork_proofs()[member.me or b""]
    for at in range(0, len(proof), 7):
        damaged = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
        with pytest.raises((MalformedError, BlockError, UsageError, Exception)) as caught:
            founder.import_fork_proof(damaged)
        assert caught.value.__class__.__module__ == "medledger.errors"


# --- cuts ---------------------------------------------------------------------------------------------------------


def test_a_revocation_cuts_the_feed_on_every_replica(founder: Ledger, member: Ledger, tmp_path: Path) -> None:
    """Blocks beyond the cut stand nowhere, whether they came before the revocation or after it."""
    for n in range(5):
        member.append(reading(n))
    sync(member, founder)
    stolen = chain_of(member)
    stolen.add([small_entry(66)])
    stolen.add([small_entry(67)])
    with (
        replica_of(founder, tmp_path / "early.db") as early,
        replica_of(founder, tmp_path / "late.db") as late,
    ):
        early.import_blocks([*everything(founder), *stolen.raws])
        assert early.frontier()[stolen.author.public_key].seq == 6
        founder.revoke(stolen.author.public_key, reason="stolen", after=2)
        late.import_blocks(everything(founder))
        report = late.import_blocks(stolen.raws)
        assert [type(error) for error in report.refused] == [CutError]
        early.import_blocks(everything(founder))
        for replica in (early, late, founder):
            assert replica.frontier()[stolen.author.public_key].seq == 2
            assert len(list(replica.entries("reading", author=stolen.author.public_key))) == 3
            replica.fsck()
        assert early.digest() == late.digest() == founder.digest()
        assert len(early.disputed()) == 4, "what was cut away is kept as evidence"


def test_a_block_splits_into_its_halves_again(member: Ledger) -> None:
    """What `release` hands out is what was stored."""
    block = member.append(reading())
    assert split_block(block.raw) == (block.header_bytes, block.body_bytes)


def test_a_second_block_at_a_place_that_was_set_aside_is_a_fork(founder: Ledger, member: Ledger) -> None:
    """Though the first one stood only through a successor that the cut took away."""
    sync(member, founder)
    chain = chain_of(member).grow(4)
    chain.add(sign=False)
    chain.grow(2)
    founder.import_blocks(chain.raws)
    founder.revoke(chain.author.public_key, after=4)
    assert founder.frontier()[chain.author.public_key].seq == 3
    other = chain.branch(4)
    founder.import_blocks([other.add([small_entry(99)])])
    assert founder.forks[chain.author.public_key].seq == 4
    assert founder.frontier()[chain.author.public_key].seq == 3
    founder.fsck()


def test_copies_of_one_place_do_not_multiply_the_signatures_to_check(
    founder: Ledger, member: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many blocks at a place that we hold, unsigned, and a run after one of them: two checks of each at most."""
    sync(member, founder)
    chain = chain_of(member).grow(130)
    founder.import_blocks(chain.raws)
    run = chain.branch(64)
    copies = [chain.branch(64).add([small_entry(n)], sign=False) for n in range(1000, 1100)]
    run.raws.append(copies[-1])
    for _ in range(62):
        run.add(sign=False)
    checked = 0

    def count(*args: bytes) -> None:
        nonlocal checked
        checked += 1
        verify(*args)

    monkeypatch.setattr(validation, "verify", count)
    batch = [*copies, *run.raws[65:]]
    assert founder.import_blocks(batch).accepted == 0
    assert len(batch) <= checked <= 2 * len(batch) + 64
