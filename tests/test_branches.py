"""What a replica hands over of a governor's forked feed, and what it says is hidden from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from forge import Chain, small_entry
from medledger import Identity, Ledger
from worlds import found, join, reading, sync


@pytest.fixture
def clones(tmp_path: Path) -> Iterator[list[Ledger]]:
    """Two copies of a founder's card, each with a block of its own, that have heard of each other."""
    founder = found(tmp_path)
    founder.close()
    with ExitStack() as stack:
        ledgers = []
        for name in ("one", "two"):
            directory = tmp_path / name
            directory.mkdir()
            for path in tmp_path.glob("founder.*"):
                shutil.copy(path, directory / path.name)
            key = Identity.load(directory / "founder.key")
            ledgers.append(stack.enter_context(Ledger.open(directory / "founder.db", key)))
            ledgers[-1].append(reading(len(ledgers)))
            ledgers[-1].append(reading(len(ledgers)))
        one, two = ledgers
        assert one.me is not None
        two.import_blocks(list(one.raw_blocks(one.me)))
        one.import_fork_proof(next(iter(two.fork_proofs().values())))
        yield ledgers


def test_branches_leave_through_release_only_and_the_witness_knows_of_them(clones: list[Ledger]) -> None:
    """They come in order, as many as fit and at least one; the witness is at the highest before they are out."""
    one, two = clones
    assert one.me is not None
    places = one.branch_places(one.me)
    ids = [block_id for _, block_id in places]
    assert [seq for seq, _ in places] == [1, 2]
    (first,) = one.release_branches(one.me, ids, 1)
    assert one._guard is not None
    assert one._guard.witness.seq == 1
    raws = one.release_branches(one.me, [bytes(32), *ids])
    assert raws[0] == first
    assert sorted(raws) == sorted(one.branches())
    assert one._guard.witness.seq == 2
    assert two.import_blocks(raws).duplicates == 2
    one.import_blocks(two.release_branches(one.me, [block_id for _, block_id in two.branch_places(one.me)]))
    assert one.digest() == two.digest()
    assert one.branch_places(one.me) == two.branch_places(one.me)


def test_a_member_s_branches_are_its_own_affair(tmp_path: Path) -> None:
    """Of a feed that is no governor's no branch is shared, nor of one that is not here."""
    with found(tmp_path) as founder, join(founder, tmp_path, "ward") as ward:
        ward.append(reading())
        sync(ward, founder)
        assert ward.me is not None
        assert founder.branch_places(ward.me) == []
        assert founder.branch_places(bytes(32)) == []
        assert founder.release_branches(ward.me, [bytes(32)]) == []


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_branches_that_share_an_unsigned_block_come_all_at_once(tmp_path: Path, *, before: bool, reverse: bool) -> None:
    """Two signed blocks follow an unsigned one, before the fork or on a branch: whoever gets all takes all."""
    with ExitStack() as stack:
        founder = stack.enter_context(found(tmp_path))
        assert founder.identity is not None
        assert founder.me is not None
        trunk = Chain(founder.identity, founder.id, list(founder.raw_blocks(founder.me))).grow(1)
        shared = trunk.branch(len(trunk.raws))
        shared.add([small_entry(100)], sign=False)
        chains = [shared.branch(len(shared.raws)) for _ in range(2)]
        for n, chain in enumerate(chains):
            chain.add([small_entry(200 + n)])
        if not before:
            trunk.add([small_entry(300)])
            chains.insert(0, trunk)
        one, two = (
            stack.enter_context(Ledger.replicate(tmp_path / f"{name}.db", founder.genesis.raw)) for name in "12"
        )
        for chain in (*chains, *chains):
            one.import_blocks(chain.raws)
        assert len(one.branches()) == (3 if before else 4)
        (proof,) = one.fork_proofs().values()
        two.import_blocks(one.raw_blocks(founder.me))
        two.import_fork_proof(proof)
        report = two.import_blocks(reversed(one.branches()) if reverse else one.branches())
        assert report.refused == []
        assert two.digest() == one.digest()
        two.fsck()
