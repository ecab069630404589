"""Laws of the fold over random histories: several governors, forks, closings, hidden and rival acts.

A history is made by a seeded generator, so that Hypothesis only draws the seed. Its people propose and approve epochs,
enrolments and revocations that refer to blocks and acts there already or, now and then, not there; they write after
their heads or fork their feeds. Governance is driven to quorum often enough that chains, voids and closings occur: a
test counts them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance_world import World, enrolment, key, keys, revocation
from medledger.ballot import ControlBlock, collect
from medledger.decisions import decide
from medledger.governance import NOTHING, Epoch, Point, read_epoch
from medledger.lineage import Lineage, trace
from medledger.membership import REVOKED, Membership, fold

OFFICERS = ("ada", "ben", "cyd", "dot")
OTHERS = ("box", "bin", "eve")
EVERYBODY = OFFICERS + OTHERS

seeds = st.integers(0, 2**64 - 1)


class History:
    """A world that a seeded generator wrote: `steps` are sets of held blocks, each including the one before."""

    def __init__(self, seed: int, length: int = 24) -> None:
        self.random = random.Random(seed)
        self.world = World(*OFFICERS[: self.random.choice((1, 2, 3, 3))], notaries=self.some(OFFICERS, 0, 1))
        self.epochs: list[tuple[Epoch, bytes]] = [(self.world.genesis.epoch, self.world.genesis.ledger_id)]
        self.acts: list[tuple[str, Any]] = []
        self.points: dict[str, list[Point]] = {name: [] for name in EVERYBODY}
        for _ in range(length):
            self.random.choice((self.epoch, self.enrol, self.enrol, self.revoke, self.chatter))()

    def some(self, names: tuple[str, ...], least: int, most: int) -> list[str]:
        return self.random.sample(names, self.random.randint(least, most))

    def point(self, name: str) -> Point:
        """A position of a feed: usually one that exists, with its head preferred."""
        points = self.points[name]
        if not points or self.random.random() < 0.1:
            return self.random.choice((NOTHING, Point(self.random.randrange(5), self.random.randbytes(32))))
        return points[-1] if self.random.random() < 0.5 else self.random.choice(points)

    def write(self, name: str, *entries: tuple[str, Any]) -> None:
        """A block after the head, or, one time in six, a branch."""
        fork = self.points[name] and self.random.random() < 1 / 6
        after = self.random.choice([NOTHING, *self.points[name]]) if fork else None
        self.points[name].append(self.world.write(name, *entries, after=after))

    def campaign(self, act_type: str, content: Any, governors: tuple[bytes, ...]) -> None:
        """Propose an act, sometimes late or never, and have some governors and strangers approve it."""
        act = self.world.act(act_type, content)
        proposal = (act_type, content)
        self.acts.append(proposal)
        names = [name for name in OFFICERS if key(name) in governors]
        voters = self.some(tuple(names), 0, len(names)) + self.some(OTHERS, 0, 1)
        if self.random.random() < 0.6:
            voters = list(dict.fromkeys([*voters, *names]))
        approval = ("gov.approve", [act, 0 if self.random.random() < 0.95 else 1])
        if voters and self.random.random() < 0.3:
            self.write(voters.pop(), *self.random.sample([proposal, approval], 2))
        blocks = [(name, approval) for name in voters]
        if self.random.random() < 0.95:
            blocks.insert(self.random.randint(0, len(blocks)), (self.random.choice(EVERYBODY), proposal))
        for name, entry in blocks:
            self.write(name, entry)

    def epoch(self) -> None:
        """A successor of the newest epoch known here, or, one time in seven, of an older one."""
        parent, parent_id = self.random.choice(self.epochs) if self.random.random() < 1 / 7 else self.epochs[-1]
        governors = self.some(OFFICERS, 1, 3)
        notaries = self.some(OFFICERS, 0, 1)
        leaving = {*parent.governors, *parent.notaries} - {*keys(governors)} | {*parent.notaries} - {*keys(notaries)}
        if self.random.random() < 0.05:
            leaving = set()
        document = self.world.successor(
            *governors,
            of=parent_id,
            number=parent.number + 1,
            notaries=notaries,
            closing={name: self.point(name) for name in OFFICERS if key(name) in leaving},
        )
        act = self.world.act("gov.epoch", document)
        if self.random.random() < 0.95:
            self.campaign("gov.epoch", document, parent.governors)
        try:
            self.epochs.append((read_epoch(document, id=act, parent=parent), act))
        except Exception:  # noqa: BLE001 - a document that is no epoch has no successors in this history
            return

    def enrol(self) -> None:
        epoch, _ = self.random.choice(self.epochs)
        content = enrolment(
            self.random.choice(EVERYBODY),
            self.some(("nurse", "pharmacist"), 1, 2),
            epoch=epoch.number,
            succeeds=self.random.choice((None, None, key("bin"))),
        )
        if content["succeeds"] == content["sig"][1] or self.random.random() < 0.05:
            content = {**content, "proof": enrolment("eve")["proof"]}
        if self.random.random() < 0.2:
            self.write("bin", ("gov.enrol", content))
        self.campaign("gov.enrol", content, epoch.governors)

    def revoke(self) -> None:
        epoch, _ = self.random.choice(self.epochs)
        name = self.random.choice(EVERYBODY)
        self.campaign("gov.revoke", revocation(name, self.point(name), epoch=epoch.number), epoch.governors)

    def chatter(self) -> None:
        """Something that is no act: nonsense, or an approval of what is not there."""
        nonsense: list[tuple[str, Any]] = [
            ("gov.enrol", None),
            ("gov.approve", [self.random.randbytes(32), 0]),
            ("gov.approve", self.random.randbytes(32)),
            ("gov.unknown", {}),
            ("note", "x"),
        ]
        self.write(self.random.choice(EVERYBODY), self.random.choice(nonsense))

    def steps(self, count: int) -> Iterator[frozenset[bytes]]:
        """Growing sets of held blocks, each with all ancestors: feeds arrive in their own order, mixed at random."""
        arrival, held = self.arrival(), set()
        size = len(arrival) // count + 1
        for at in range(0, len(arrival), size):
            held.update(arrival[at : at + size])
            yield frozenset(held)

    def arrival(self) -> list[bytes]:
        """An order in which every block comes after the one before it in its feed."""
        waiting = sorted(self.world.blocks)
        self.random.shuffle(waiting)
        order: dict[bytes, None] = {}
        while waiting:
            for block_id in waiting:
                parent = self.world.previous[block_id].id
                if parent is None or parent in order:
                    order[block_id] = None
            waiting = [block_id for block_id in waiting if block_id not in order]
        return list(order)

    def judge(self, held: frozenset[bytes]) -> tuple[Lineage, set[bytes], set[bytes]]:
        """The lineage, the effective enrolments of effective epochs, and the effective revocations."""
        ballot = collect(self.world.genesis.ledger_id, [self.world.blocks[block_id] for block_id in held])
        lineage = trace(self.world.genesis.epoch, ballot)
        decisions = decide(ballot, lineage, lambda *points: self.world.is_ancestor(held, *points))
        enrolments = {verdict.act.id for verdict in decisions.enrolments if verdict.effective}
        return lineage, enrolments, {verdict.act.id for verdict in decisions.revocations}


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
                assert old.known <= membership.known
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
    """While no epoch is new, a block that fell stays fallen, and one that stands falls only by another cut."""
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
                elif reason is None and membership.cuts == cuts:
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
            if act_type == "gov.epoch" and content[1] == epoch.id and len(approving) >= epoch.threshold:
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
            if epoch.number == content["epoch"] and len(counted) >= epoch.threshold:
                return True
        return False


@settings(max_examples=40)
@given(seeds)
def test_the_fold_agrees_with_the_reference(seed: int) -> None:
    """Chain, enrolments and revocations are those that the rules, asked one by one, give."""
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
    """Arbitrary contents under governance types, approved by everybody, neither raise nor move anything."""
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
    world.write("eve", (entry_type, content), ("gov.approve", content))
    after = world.fold()
    assert (after.epochs, after.members, after.cuts) == (before.epochs, before.members, before.cuts)
    assert after.void is None


@pytest.mark.parametrize("blocks", [[], [ControlBlock(key("eve"), 0, b"i" * 32, 0, ())]])
def test_empty_histories_fold(blocks: list[ControlBlock]) -> None:
    """No blocks, and blocks without entries, are a new ledger."""
    world = World("ada")
    assert fold(world.genesis, blocks, lambda *_: False) == world.fold()
