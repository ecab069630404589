"""Epochs of governance: who decides, closings, voids, and the attacks on them."""

from __future__ import annotations

from typing import Any

import pytest

from governance_world import World, enrolment, key, keys, revocation, trio
from medledger.decisions import CLOSED, EPOCH_UNKNOWN, OPEN, RIVAL
from medledger.governance import NOTHING
from medledger.membership import NOT_A_MEMBER


class TestEpochs:
    def test_a_quorum_makes_an_epoch_effective(self) -> None:
        """One approval of two is not enough; two are, wherever and in whatever order they stand."""
        world = trio()
        document = world.successor("ada", "ben", "dot", closing={"cyd": NOTHING})
        act = world.decide("gov.epoch", document, "ada")
        assert len(world.fold().epochs) == 1
        world.approve(act, "cyd")  # the leaving governor may approve its own leaving
        membership = world.fold()
        assert [epoch.id for epoch in membership.epochs] == [world.genesis.ledger_id, act]
        assert membership.governors == tuple(keys(["ada", "ben", "dot"]))
        assert membership.void is None

    def test_who_approves_twice_has_approved_once(self) -> None:
        """Two blocks, two branches or two entries of one governor are one approval."""
        world = trio()
        act = world.decide("gov.epoch", world.successor("ada", "ben", "cyd", policy={}), "ada", "ada")
        world.write("ada", ("gov.approve", [act, 0]), ("gov.approve", [act, 0]), after=NOTHING)
        assert len(world.fold().epochs) == 1

    def test_only_governors_of_the_epoch_before_count(self) -> None:
        """Neither strangers nor the epoch's own new governors can make it effective, and proposing is not approving."""
        world = trio()
        document = world.successor("dot", "eve", "fay", closing=dict.fromkeys(("ada", "ben", "cyd"), NOTHING))
        world.write("ben", ("gov.epoch", document))
        world.decide("gov.epoch", document, "dot", "eve", "fay", "ada")
        assert len(world.fold().epochs) == 1

    def test_a_governor_of_the_epoch_before_proposes(self) -> None:
        """Whoever else wrote it down, without a proposal of such a governor it is awaited; any of them will do."""
        world = trio()
        document = world.successor("ada", "ben", "dot", policy={}, closing={"cyd": NOTHING})
        act = world.act("gov.epoch", document)
        for stranger in ("eve", "dot"):
            world.write(stranger, ("gov.epoch", document))
        world.approve(act, "ben", "cyd")
        assert len(world.fold().epochs) == 1
        assert not world.fold().pending
        assert dict(world.fold().awaited) == {act: tuple(keys(["ben", "cyd"]))}
        world.write("ada", ("gov.epoch", document), after=NOTHING)  # on whatever branch
        assert len(world.fold().epochs) == 2
        assert not world.fold().awaited

    def test_the_governors_of_the_named_epoch_propose_its_acts(self) -> None:
        """Neither a later nor an earlier governor can propose an enrolment for those that decide it."""
        world = World("ada")
        world.decide("gov.epoch", world.successor("ben", closing={"ada": NOTHING}), "ada")
        content = enrolment("box", epoch=1)
        act = world.decide("gov.enrol", content, "ada")
        world.approve(act, "ben")
        assert key("box") not in world.fold().known
        assert not world.fold().pending
        assert dict(world.fold().awaited) == {act: tuple(keys(["ada", "ben"]))}
        world.write("ben", ("gov.enrol", content))
        assert key("box") in world.fold().members

    def test_an_approval_waits_for_its_act(self) -> None:
        """Approvals may arrive first; what they are for is listed until it arrives."""
        world = trio()
        document = world.successor("ada", "ben", "cyd", policy={})
        act = world.act("gov.epoch", document)
        world.approve(act, "ben", "cyd", "eve")
        assert dict(world.fold().awaited) == {act: tuple(keys(["ben", "cyd"]))}
        world.write("ada", ("gov.epoch", document))
        assert len(world.fold().epochs) == 2
        assert not world.fold().awaited

    def test_round_zero_is_the_only_one(self) -> None:
        """An approval in another round is reserved: reported, not counted."""
        world = World("ada")
        document = world.successor("ada", policy={})
        act = world.act("gov.epoch", document)
        world.write("ada", ("gov.epoch", document), ("gov.approve", [act, 1]))
        membership = world.fold()
        assert len(membership.epochs) == 1
        assert "reserved" in membership.ignored[0].reason

    @pytest.mark.parametrize(
        "change",
        [
            {0: 2},
            {0: 0, 1: None},
            {3: 1},
            {3: 3},
            {2: [bytes(32), b"\x01" + bytes(31)]},
            {6: [[key("ada"), -1, None]]},
            {6: []},
            {5: {"nurse": ["b", "a"]}},
            {7: None},
        ],
    )
    def test_what_is_not_an_epoch_is_ignored_however_approved(self, change: dict[int, Any]) -> None:
        """Wrong number, threshold, key, closing or form: not an act, reported, and nothing else is disturbed."""
        world = World("ada", "ben", threshold=2)
        document = dict(enumerate(world.successor("ada", closing={"ben": NOTHING}, threshold=1)))
        if 3 in change and change[3] == 1:
            document[2] = keys(["ada", "cyd"])  # one of two is no majority
        document.update(change)
        world.decide("gov.epoch", list(document.values()), "ada", "ben")
        good = world.decide("gov.enrol", enrolment("box"), "ada", "ben")
        membership = world.fold()
        assert len(membership.epochs) == 1
        assert membership.members[key("box")].act_id == good
        assert len(membership.ignored) == 1 or membership.pending[0].state == EPOCH_UNKNOWN

    def test_no_cut_or_fork_removes_an_approval_of_an_epoch(self) -> None:
        """A governor whose feed is cut before its approval, and one that approves on a branch, both count."""
        world = trio()
        world.decide("gov.revoke", revocation("ben"), "ada", "cyd")
        document = world.successor("ada", "cyd", "dot", closing={"ben": NOTHING})
        act = world.decide("gov.epoch", document, "ben")
        world.write("cyd", ("gov.approve", [act, 0]), after=NOTHING)
        assert [epoch.id for epoch in world.fold().epochs][1:] == [act]

    def test_epochs_follow_each_other(self) -> None:
        """Each epoch is decided by the governors of the one before."""
        world = World("ada")
        first = world.decide("gov.epoch", world.successor("ben", closing={"ada": NOTHING}), "ada")
        document = world.successor("cyd", of=first, number=2, closing={"ben": NOTHING})
        second = world.decide("gov.epoch", document, "ada")
        assert len(world.fold().epochs) == 2
        world.approve(second, "ben")
        assert len(world.fold().epochs) == 2  # only ada, who governs no more, proposes it
        world.write("ben", ("gov.epoch", document))
        assert world.fold().governors == (key("cyd"),)

    def test_an_epoch_before_its_predecessor_waits(self) -> None:
        """Epoch 2 with all its approvals is undecided while epoch 1 is missing."""
        world = World("ada")
        first = world.successor("ada", policy={})
        world.decide("gov.epoch", world.successor("ada", of=world.act("gov.epoch", first), number=2), "ada")
        assert [act.state for act in world.fold().pending] == [EPOCH_UNKNOWN]
        world.decide("gov.epoch", first, "ada")
        assert len(world.fold().epochs) == 3


class TestVoid:
    def rivals(self) -> tuple[World, bytes, bytes]:
        world = trio()
        one = world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": NOTHING}), "ada", "ben")
        two = world.decide("gov.epoch", world.successor("ada", "cyd", "eve", closing={"ben": NOTHING}), "ada", "cyd")
        return world, one, two

    def test_two_successors_are_void_and_named(self) -> None:
        """Neither is chosen: the chain stops, and the governor that approved both is named."""
        world, one, two = self.rivals()
        membership = world.fold()
        assert membership.void is not None
        assert membership.void.epoch == 0
        assert membership.void.rivals == tuple(sorted((one, two)))
        assert membership.void.double_approvers == (key("ada"),)
        assert len(membership.epochs) == 1

    def test_what_came_after_is_undecided(self) -> None:
        """Members of a rival epoch lose their rights and stay known, so that their feeds remain as evidence."""
        world = trio()
        one = world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": NOTHING}), "ada", "ben")
        world.decide("gov.enrol", enrolment("box", epoch=1), "ada", "dot")
        world.decide("gov.enrol", enrolment("old"), "ada", "ben")
        assert world.fold().refusal(key("box"), 1, "note") is None
        closing = {"ben": world.heads[key("ben")]}
        world.decide("gov.epoch", world.successor("ada", "cyd", "eve", closing=closing), "ada", "cyd")
        membership = world.fold()
        assert one not in {epoch.id for epoch in membership.epochs}
        assert membership.refusal(key("box"), 1, "note") == EPOCH_UNKNOWN
        assert membership.refusal(key("box"), 0, "note") == NOT_A_MEMBER
        assert membership.refusal(key("old"), 0, "note") is None
        assert key("box") not in membership.members
        assert all(membership.knows(key(name)) for name in ("box", "old", "dot", "eve"))

    def test_a_third_successor_changes_nothing(self) -> None:
        """It is listed as a rival that nobody should approve, and named once it is approved."""
        world, *_ = self.rivals()
        third = world.decide("gov.epoch", world.successor("ada", "ben", "cyd", policy={}), "ben")
        assert [(act.state, act.may_approve) for act in world.fold().pending] == [(RIVAL, ())]
        world.approve(third, "cyd")
        void = world.fold().void
        assert void is not None
        assert len(void.rivals) == 3
        assert set(void.double_approvers) == {key("ada"), key("ben"), key("cyd")}

    def test_a_stale_proposal_is_a_rival(self) -> None:
        """Once an epoch has a successor, its other proposals are marked before anybody approves one."""
        world = trio()
        world.decide("gov.epoch", world.successor("ada", "ben", "cyd", policy={}), "ada", "ben")
        world.decide("gov.epoch", world.successor("ada", "ben", "cyd", policy={"x": []}), "cyd")
        assert [act.state for act in world.fold().pending] == [RIVAL]

    def test_a_void_opens_no_door(self) -> None:
        """The thief of a closed governor's key who makes governance void can still enrol nobody."""
        world = World("ada")
        end = world.write(
            "ada", ("gov.enrol", enrolment("box")), ("gov.approve", [world.act("gov.enrol", enrolment("box")), 0])
        )
        world.decide("gov.epoch", world.successor("ben", closing={"ada": end}), "ada")
        world.decide("gov.enrol", enrolment("mole"), "ada")  # the thief, after the closing
        assert key("mole") not in world.fold().members
        world.decide("gov.epoch", world.successor("ada", "eve", threshold=2), "ada")  # closes nobody
        membership = world.fold()
        assert membership.void is not None
        assert membership.void.double_approvers == (key("ada"),)
        assert key("mole") not in membership.members
        assert membership.refusal(key("mole"), 0, "note") == NOT_A_MEMBER
        assert membership.knows(key("mole"))  # evidence: the rival, at least, admits it
        assert key("box") in membership.members

    def test_a_rival_that_closes_early_takes_rights_and_no_evidence(self) -> None:
        """Enrolments beyond a rival's closing have no rights any more; their feeds are still kept."""
        world = trio()
        world.decide("gov.epoch", world.successor("ada", "ben", "cyd", policy={}), "ada", "ben")
        world.decide("gov.enrol", enrolment("box"), "ada", "ben")
        world.decide("gov.epoch", world.successor("ada", "cyd", "eve", closing={"ben": NOTHING}), "ada", "cyd")
        membership = world.fold()
        assert membership.void is not None
        assert membership.refusal(key("box"), 0, "note") == NOT_A_MEMBER
        assert membership.knows(key("box"))
        assert [(act.state, act.may_approve) for act in membership.pending] == [(OPEN, (key("cyd"),))]

    def test_a_void_revives_no_key(self) -> None:
        """A rival that closes governors early cannot undo their revocations, nor can it those of a later epoch."""
        world = World("ada", "ben", "cyd")
        world.decide("gov.enrol", enrolment("box"), "ada", "ben")
        world.decide("gov.enrol", enrolment("bin"), "ada", "ben")
        world.decide("gov.revoke", revocation("box"), "ada", "cyd")
        world.decide("gov.epoch", world.successor("ada", "ben", "cyd", policy={}), "ada", "ben")
        world.decide("gov.revoke", revocation("bin", epoch=1), "ada", "cyd")
        assert set(world.fold().cuts) == {key("box"), key("bin")}
        world.decide("gov.epoch", world.successor("ada", "ben", "eve", closing={"cyd": NOTHING}), "ada", "ben")
        membership = world.fold()
        assert membership.void is not None
        assert set(membership.cuts) == {key("box"), key("bin")}


class TestClosings:
    """A governor that left approves nothing any more, and what it approved before stands."""

    def test_at_or_before_the_closing_counts(self) -> None:
        """The closing block itself and its ancestors count; the block after it does not."""
        world = trio()
        acts = {name: world.decide("gov.enrol", enrolment(name), "ada") for name in ("early", "last", "late")}
        world.approve(acts["early"], "cyd")
        [end] = world.approve(acts["last"], "cyd")
        world.approve(acts["late"], "cyd")
        assert set(world.fold().enrolments) == {key("early"), key("last"), key("late")}
        world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": end}), "ada", "ben")
        membership = world.fold()
        assert set(membership.enrolments) == {key("early"), key("last")}
        assert membership.knows(key("late"))  # it was a member until the closing came
        [pending] = membership.pending
        assert (pending.id, pending.state, pending.missing) == (acts["late"], OPEN, 1)
        assert pending.may_approve == (key("ben"),)  # still a governor, and so still asked about epoch 0
        world.approve(acts["late"], "ben")
        assert key("late") in world.fold().members

    def test_a_thief_that_back_dates_on_a_branch_gains_nothing(self) -> None:
        """With the key of a governor that left, a branch from any earlier block is not an ancestor of the closing."""
        world = trio()
        start = world.write("cyd", ("note", "hello"))
        middle = world.write("cyd", ("note", "again"))
        end = world.write("cyd", ("note", "goodbye"))
        world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": end}), "ada", "ben")
        act = world.decide("gov.enrol", enrolment("mole"), "ada")  # ada is deceived or a thief as well
        for parent in (NOTHING, start, middle, end):
            world.write("cyd", ("gov.approve", [act, 0]), after=parent)
        assert key("mole") not in world.fold().members
        assert world.fold().knows(key("mole"))  # its feed is kept, so that no later block can change whose feeds are
        assert world.fold().refusal(key("mole"), 0, "note") == NOT_A_MEMBER

    def test_a_thief_cannot_revoke_either(self) -> None:
        """Nor does a revocation on a branch count, by which a thief would take revenge."""
        world = World("ada")
        end = world.write("ada", ("note", "x"))
        world.decide("gov.epoch", world.successor("ben", closing={"ada": end}), "ada")
        content = revocation("ben")
        world.write(
            "ada", ("gov.revoke", content), ("gov.approve", [world.act("gov.revoke", content), 0]), after=NOTHING
        )
        assert not world.fold().cuts

    def test_hidden_acts_count_from_before_the_closing_only(self) -> None:
        """Acts and approvals held back and revealed late count if they stand before the closing, and only then."""
        world = trio()
        act = world.act("gov.enrol", enrolment("box"))
        world.approve(act, "ada")
        [hidden] = world.approve(act, "cyd")
        end = world.write("cyd", ("note", "x"))
        world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": end}), "ada", "ben")
        assert key("box") not in world.fold().members
        world.write("eve", ("gov.enrol", enrolment("box")))
        assert key("box") not in world.fold().members
        world.write("ben", ("gov.enrol", enrolment("box")))  # the act itself is revealed at last, by a governor
        assert key("box") in world.fold().members
        assert hidden.seq < end.seq

    def test_a_closing_that_is_not_here_yet_closes(self) -> None:
        """While the closing block is missing nothing of the feed is known to come before it."""
        world = trio()
        act = world.decide("gov.enrol", enrolment("box"), "ada")
        world.approve(act, "cyd")
        end = world.write("cyd", ("note", "x"))
        world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": end}), "ada", "ben")
        held = world.blocks.keys() - {end.id}
        assert key("box") not in world.fold(held=held).members
        assert key("box") in world.fold().members

    def test_nothing_counts_before_the_first_block(self) -> None:
        """A closing at -1 says that no approval of that governor counts."""
        world = trio()
        world.decide("gov.enrol", enrolment("box"), "ada", "cyd")
        world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": NOTHING}), "ada", "ben")
        assert key("box") not in world.fold().members

    def test_the_first_closing_after_the_epoch_binds(self) -> None:
        """A governor that comes back approves acts of its new term, and none of its old one."""
        world = World("ada", "ben", "cyd")
        end = world.write("cyd", ("note", "x"))
        first = world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": end}), "ada", "ben")
        second = world.successor("ada", "ben", "cyd", of=first, number=2, closing={"dot": NOTHING})
        world.decide("gov.epoch", second, "ada", "ben")
        world.decide("gov.enrol", enrolment("old", epoch=0), "ada", "cyd")
        world.decide("gov.enrol", enrolment("new", epoch=2), "ada", "cyd")
        assert set(world.fold().enrolments) == {key("new")}

    def test_a_governor_that_only_leaves_the_notaries_is_not_closed(self) -> None:
        """The closing of the lesser office does not bind approvals."""
        world = World("ada", "ben", "cyd", notaries=["cyd"])
        world.decide("gov.epoch", world.successor("ada", "ben", "cyd", closing={"cyd": NOTHING}), "ada", "ben")
        world.decide("gov.enrol", enrolment("box"), "ada", "cyd")
        assert key("box") in world.fold().members

    def test_an_act_whose_governors_left_is_closed(self) -> None:
        """It is listed as such: no approval that could still be made would help."""
        world = World("ada", "ben", "cyd")
        world.decide("gov.enrol", enrolment("box"), "ada")
        closing = dict.fromkeys(("ben", "cyd"), NOTHING)
        world.decide("gov.epoch", world.successor("ada", "dot", "eve", closing=closing), "ada", "ben")
        assert [(act.state, act.may_approve) for act in world.fold().pending] == [(CLOSED, ())]
