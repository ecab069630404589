"""Laws of the fold over random histories: several governors, forks, closings, hidden and rival acts.

The histories are `governance_history`'s; a test counts that what is to be folded does occur in them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_history import EVERYBODY, OFFICERS, History
from governance_world import World, enrolment, key, keys, revocation
from medledger.ballot import ControlBlock
from medledger.governance import Epoch, Point, read_epoch
from medledger.lineage import Lineage
from medledger.membership import REVOKED, Membership, fold

seeds = st.integers(0, 2**64 - 1)


@given(seeds)
def test_order_and_repetition_change_nothing(seed: int) -> None:
    """Every permutation of the same blocks, with any of them repeated, gives the same membership."""
    history = History(seed)
    blocks = list(history.world.blocks.values())
    expected = history.world.fold()
    for _ in range(3):
        shuffled = [*blocks, *history.random.choices(blocks, k=len(blocks) // 2)]
        history.random.shuffle(shuffled)
        assert history.world.fold(order=shuffled) == expected


@given(seeds)
def test_replicas_that_were_apart_agree(seed: int) -> None:
    """Two replicas that saw different parts in different orders agree as soon as each has what the other has."""
    history = History(seed)
    one, two = (next(history.steps(2)) for _ in range(2))
    met = sorted(one | two)
    left = history.world.fold(held=frozenset(met), order=[history.world.blocks[block_id] for block_id in met])
    right = history.world.fold(
        held=frozenset(met), order=[history.world.blocks[block_id] for block_id in reversed(met)]
    )
    assert left == right


def unplanned(membership: Membership) -> Membership:
    """The same without who planned its succession."""
    return replace(
        membership,
        members={feed: replace(member, planned=False) for feed, member in membership.members.items()},
        enrolments={
            feed: tuple(replace(member, planned=False) for member in found)
            for feed, found in membership.enrolments.items()
        },
    )


@given(seeds)
def test_only_electors_are_read(seed: int) -> None:
    """Without any of the other feeds' control blocks the membership is the same, but for planned successions."""
    history = History(seed)
    blocks = history.world.blocks
    whole = history.world.fold()
    electors = {block_id for block_id, block in blocks.items() if block.feed in whole.electors}
    assert unplanned(history.world.fold(held=electors)) == unplanned(whole)
    # Nor does it help to be asked about them: any part of the others' blocks will do.
    some = {block_id for block_id in blocks if block_id in electors or history.random.random() < 0.5}
    assert unplanned(history.world.fold(held=some)) == unplanned(whole)


@given(seeds)
def test_a_plan_is_read_from_the_block_that_a_cut_names(seed: int) -> None:
    """With the electors' blocks and those that cuts name, and with no others, the membership is the same."""
    history = History(seed)
    whole = history.world.fold()
    named = {cut.last.id for cuts in whole.cuts.values() for cut in cuts}
    read = {
        block_id
        for block_id, block in history.world.blocks.items()
        if block.feed in whole.electors or block_id in named
    }
    assert history.world.fold(held=read) == whole


@given(seeds)
def test_what_others_write_changes_nothing(seed: int) -> None:
    """Whoever is no elector may propose and approve everything there is and much that is not, on any branch."""
    history = History(seed)
    before = history.world.fold()
    others = [name for name in (*EVERYBODY, "zoe") if key(name) not in before.electors]
    invented = [
        ("gov.enrol", enrolment("zoe", epoch=history.random.randrange(3))),
        ("gov.revoke", revocation("ada", history.point("ada"), epoch=history.random.randrange(3))),
        ("gov.epoch", history.world.successor("zoe", of=before.epoch.id, number=before.epoch.number + 1)),
        ("gov.enrol", None),
    ]
    for entry_type, content in (*history.acts, *invented):
        proposal, approval = (entry_type, content), ("gov.approve", [history.world.act(entry_type, content), 0])
        for name in history.some(tuple(others), 1, len(others)) if others else ():
            after = history.point(name) if name in EVERYBODY and history.random.random() < 0.3 else None
            if after is None or after.id is None or after.id in history.world.blocks:
                history.world.write(name, proposal, approval, after=after)
    assert history.world.fold() == before


@given(seeds)
def test_what_is_monotone_is_monotone(seed: int) -> None:
    """Growth changes what the module's docstring says, and nothing else."""
    history = History(seed)
    before: tuple[Membership, Lineage, set[bytes], set[bytes]] | None = None
    for held in history.steps(6):
        membership, (lineage, enrolments, revocations) = history.world.fold(held=held), history.judge(held)
        if before is not None:
            old, old_lineage, old_enrolments, old_revocations = before
            old_approved, approved = ({epoch.id for epoch in each.approved} for each in (old_lineage, lineage))
            assert old_approved <= approved
            assert old.electors <= membership.electors
            assert old.known <= membership.known
            # The chain gets longer, or shorter by a void, and a void is final.
            short, long = sorted((old.epochs, membership.epochs), key=len)
            assert long[: len(short)] == short
            assert len(membership.epochs) >= len(old.epochs) or membership.void is not None
            if old.void is not None:
                assert membership.void is not None
                assert membership.void.epoch <= old.void.epoch
                assert len(membership.epochs) <= len(old.epochs)
            # Acts are lost through new epochs only.
            if approved == old_approved:
                assert old_enrolments <= enrolments
                assert old_revocations <= revocations
                assert old.members.keys() <= membership.members.keys()
                assert {cut for cuts in old.cuts.values() for cut in cuts} <= {
                    cut for cuts in membership.cuts.values() for cut in cuts
                }
        before = membership, lineage, enrolments, revocations


@given(seeds)
def test_a_void_shuts_doors_and_opens_none(seed: int) -> None:
    """A rival to any effective successor makes no enrolment effective, loses no revocation and forgets no feed."""
    history = History(seed)
    before = history.world.fold()
    _, enrolments, revocations = history.judge(frozenset(history.world.blocks))
    if len(before.epochs) < 2:
        return
    parent = history.random.choice(before.epochs[:-1])
    names = [name for name in OFFICERS if key(name) in parent.governors]
    governors = history.some(OFFICERS, 1, 3)
    notaries = [name for name in OFFICERS if key(name) in parent.notaries]
    leaving = set(parent.governors) - set(keys(governors))
    rival = history.world.successor(
        *governors,
        of=parent.id,
        number=parent.number + 1,
        notaries=notaries,
        policy={"rival": []},
        closing={name: history.point(name) for name in OFFICERS if key(name) in leaving},
    )
    history.world.decide("gov.epoch", rival, *names)
    after = history.world.fold()
    _, later_enrolments, later_revocations = history.judge(frozenset(history.world.blocks))
    assert after.void is not None
    assert after.void.epoch <= parent.number
    assert set(after.void.double_approvers) <= set(parent.governors) or after.void.epoch < parent.number
    assert after.void.double_approvers
    assert later_enrolments <= enrolments
    assert revocations <= later_revocations
    assert before.known <= after.known
    for feed in map(key, EVERYBODY):
        assert (before.last_seq(feed) is None) or after.last_seq(feed) <= before.last_seq(feed)  # type: ignore[operator]


@given(seeds)
def test_two_quorums_always_name_somebody(seed: int) -> None:
    """Wherever governance is void there is a governor that approved two of the rivals."""
    void = History(seed, length=36).world.fold().void
    if void is not None:
        assert len(void.rivals) > 1
        assert void.double_approvers


@given(seeds)
def test_a_cut_decides_for_good(seed: int) -> None:
    """While no epoch is new, a block that fell stays fallen, and one that stands falls only by another cut.

    Where a feed has several cuts it may also fall when the later one's block turns out to lie on another branch.
    """
    history = History(seed)
    before: dict[tuple[bytes, Point], str | None] = {}
    cuts: Any = None
    approved: Any = None
    for held in history.steps(4):
        membership = history.world.fold(held=held)
        lineage, _, _ = history.judge(held)
        now = {
            (block.feed, point): membership.fallen(
                block.feed, point, lambda *points, held=held: history.world.is_ancestor(held, *points)
            )
            for block in (history.world.blocks[block_id] for block_id in held)
            for point in [Point(block.seq, block.id)]
        }
        if approved == {epoch.id for epoch in lineage.approved}:
            for place, reason in before.items():
                if reason == REVOKED:
                    assert now[place] == REVOKED
                elif reason is None and membership.cuts == cuts and len(cuts.get(place[0], ())) < 2:
                    assert now[place] is None
        before, cuts, approved = now, membership.cuts, {epoch.id for epoch in lineage.approved}


# --- an obvious and slow second opinion ----------------------------------------------------------------------------


class Reference:
    """The rules of design section 4 and docs/adr/0013, each as one question, answered again each time it is asked."""

    def __init__(self, history: History) -> None:
        self.world = history.world
        self.acts: dict[bytes, tuple[str, Any]] = {
            self.world.act(entry_type, content): (entry_type, content)
            for block in self.world.blocks.values()
            for _, entry_type, content in block.entries
            if entry_type in ("gov.epoch", "gov.enrol", "gov.revoke") and content is not None
        }

    def proposed(self, act: bytes, epoch: Epoch) -> bool:
        return any(
            block.feed in epoch.governors and any(entry[1:] == self.acts[act] for entry in block.entries)
            for block in self.world.blocks.values()
        )

    def approvals(self, act: bytes, governor: bytes) -> list[Point]:
        return [
            Point(block.seq, block.id)
            for block in self.world.blocks.values()
            if block.feed == governor and any(entry[1:] == ("gov.approve", [act, 0]) for entry in block.entries)
        ]

    def successors(self, epoch: Epoch) -> list[Epoch]:
        found = []
        for act, (act_type, content) in self.acts.items():
            approving = [governor for governor in epoch.governors if self.approvals(act, governor)]
            if act_type != "gov.epoch" or content[1] != epoch.id or not self.proposed(act, epoch):
                continue
            if len(approving) >= epoch.threshold:
                try:
                    found.append(read_epoch(content, id=act, parent=epoch))
                except Exception:  # noqa: BLE001 - not an epoch, so not a successor
                    continue
        return found

    def chain(self) -> list[Epoch]:
        chain = [self.world.genesis.epoch]
        while len(following := self.successors(chain[-1])) == 1:
            chain += following
        return chain

    def tree(self) -> list[Epoch]:
        tree = [self.world.genesis.epoch]
        for epoch in tree:
            tree += self.successors(epoch)
        return tree

    def ways(self, epoch: Epoch) -> list[list[Epoch]]:
        """Every way from this epoch down to a leaf, without the epoch itself."""
        return [[child, *way] for child in self.successors(epoch) for way in self.ways(child)] or [[]]

    def within(self, governor: bytes, point: Point, way: list[Epoch]) -> bool:
        for epoch in way:
            if governor not in epoch.governors:
                return self.world.is_ancestor(self.world.blocks, governor, point, epoch.closing[governor])
        return True

    def effective(self, act: bytes) -> bool:
        act_type, content = self.acts[act]
        revokes = act_type == "gov.revoke"
        for epoch in self.tree() if revokes else self.chain():
            ways = self.ways(epoch)
            counted = [
                governor
                for governor in epoch.governors
                if any(
                    (any if revokes else all)(self.within(governor, point, way) for way in ways)
                    for point in self.approvals(act, governor)
                )
            ]
            if epoch.number == content["epoch"] and len(counted) >= epoch.threshold and self.proposed(act, epoch):
                return True
        return False

    def known(self, acts: set[bytes]) -> set[bytes]:
        """Who holds an office in the tree, and whom a quorum of it ever enrolled with a proof of the key's own."""
        tree = self.tree()
        known = {feed for epoch in tree for feed in (*epoch.governors, *epoch.notaries)}
        for act in acts:
            act_type, content = self.acts[act]
            if act_type == "gov.enrol" and proves(content):
                for epoch in tree:
                    approving = [governor for governor in epoch.governors if self.approvals(act, governor)]
                    quorum = epoch.number == content["epoch"] and len(approving) >= epoch.threshold
                    if quorum and self.proposed(act, epoch):
                        known.add(content["sig"][1])
        return known


def proves(content: Any) -> bool:
    """Whether the proof is the request of the person whose key it enrols."""
    return any((content["proof"], content["sig"][1]) == (enrolment(name)["proof"], key(name)) for name in EVERYBODY)


@settings(max_examples=40)
@given(seeds)
def test_the_fold_agrees_with_the_reference(seed: int) -> None:
    """Chain, enrolments, revocations and known feeds are those that the rules, asked one by one, give."""
    history = History(seed, length=16)
    reference = Reference(history)
    lineage, enrolments, revocations = history.judge(frozenset(history.world.blocks))
    assert list(lineage.chain) == reference.chain()
    assert {epoch.id for epoch in lineage.approved} == {epoch.id for epoch in reference.tree()}
    assert (lineage.void is None) == (len(reference.successors(lineage.chain[-1])) == 0)
    well_formed = {
        act
        for act, (act_type, content) in reference.acts.items()
        if act_type != "gov.epoch" and not (act_type == "gov.enrol" and content["succeeds"] == content["sig"][1])
    }
    expected = {act for act in well_formed if reference.effective(act)}
    assert enrolments | revocations == expected
    assert history.world.fold().known == reference.known(well_formed)


def test_the_histories_are_worth_folding() -> None:
    """The generator makes long chains, voids, closings that cost approvals, forks and cuts, each in plenty."""
    seen: Counter[str] = Counter()
    for seed in range(200):
        history = History(seed)
        membership = history.world.fold()
        _, enrolments, _ = history.judge(frozenset(history.world.blocks))
        points = [(block.feed, block.seq) for block in history.world.blocks.values()]
        seen["chain"] += len(membership.epochs) > 2
        seen["void"] += membership.void is not None
        seen["fork"] += len(points) > len(set(points))
        seen["cut"] += bool(membership.cuts)
        seen["enrolled"] += len(enrolments) > 2
        seen["stripped"] += bool(membership.known - membership.members.keys()) and membership.void is None
        seen["awaited"] += bool(membership.awaited)
        seen["planned"] += any(member.planned for member in membership.members.values())
        seen["pending"] += len(membership.pending) > 1
        seen["ignored"] += bool(membership.ignored)
        lost = [act for act in membership.pending if act.type == "gov.enrol" and act.missing]
        seen["closed"] += any(_approvals(history, act.id) > len(act.approved) for act in lost)
    assert {what for what, count in seen.items() if count < 8} <= {"planned"}, seen
    assert seen["planned"] > 0


def _approvals(history: History, act: bytes) -> int:
    governors = set(map(key, OFFICERS))
    return len(
        {
            block.feed
            for block in history.world.blocks.values()
            if block.feed in governors and any(entry[1:] == ("gov.approve", [act, 0]) for entry in block.entries)
        }
    )


contents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.binary(max_size=40)
    | st.text(max_size=20)
    | st.floats(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=8),
    max_leaves=20,
)


@settings(max_examples=300)
@given(st.data())
def test_nonsense_is_reported_and_changes_nothing(data: st.DataObject) -> None:
    """Arbitrary contents under governance types, written by every governor, neither raise nor move anything."""
    world = World("ada", "ben", threshold=2)
    world.decide("gov.enrol", enrolment("box"), "ada", "ben")
    before = world.fold()
    good = data.draw(st.sampled_from([enrolment("bin"), revocation("box"), world.successor("ada", "ben")]))
    spoilt = data.draw(st.sampled_from(["replaced", "field", "whole"]))
    content: Any = data.draw(contents)
    if spoilt == "field" and isinstance(good, dict):
        content = {**good, data.draw(st.sampled_from([*good, "more"])): content}
    elif spoilt == "field":
        at = data.draw(st.integers(0, len(good) - 1))
        content = [*good[:at], content, *good[at + 1 :]]
    entry_type = data.draw(st.sampled_from(["gov.epoch", "gov.enrol", "gov.revoke", "gov.approve", "gov.x"]))
    for name in ("ada", "ben"):
        world.write(name, (entry_type, content), ("gov.approve", content))
    after = world.fold()
    assert (after.epochs, after.members, after.cuts) == (before.epochs, before.members, before.cuts)
    assert after.void is None


@pytest.mark.parametrize("blocks", [[], [ControlBlock(key("eve"), 0, b"i" * 32, 0, ())]])
def test_empty_histories_fold(blocks: list[ControlBlock]) -> None:
    """No blocks, and blocks without entries, are a new ledger."""
    world = World("ada")
    assert fold(world.genesis, blocks, lambda *_: False) == world.fold()
