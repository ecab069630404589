"""Membership: each rule of the fold, and each attack that it has to survive."""

from __future__ import annotations

import re
from typing import Any

import pytest

from governance_world import POLICY, World, enrolment, key, keys, person, revocation
from medledger.decisions import CLOSED, OPEN, RIVAL
from medledger.governance import NOTHING, Point
from medledger.joining import make_request, read_request_text
from medledger.membership import CUT_UNRESOLVED, EPOCH_UNKNOWN, NOT_A_MEMBER, NOT_ALLOWED, REVOKED


def trio() -> World:
    """Three governors, of whom two must agree."""
    return World("ada", "ben", "cyd")


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

    def test_anybody_may_propose(self) -> None:
        """An act counts by its approvals, whoever wrote it down."""
        world = trio()
        document = world.successor("ada", "ben", "cyd", policy={})
        world.write("eve", ("gov.epoch", document))
        world.approve(world.act("gov.epoch", document), "ben", "cyd")
        assert len(world.fold().epochs) == 2

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


class TestEnrolment:
    def test_a_sole_governor_enrols_in_one_block(self) -> None:
        """Proposal and approval stand in one block, in either order: the everyday case."""
        for turn in (1, -1):
            world, content = World("ada"), enrolment("box", ["nurse"])
            act = world.act("gov.enrol", content)
            world.write("ada", *[("gov.enrol", content), ("gov.approve", [act, 0])][::turn])
            member = world.fold().members[key("box")]
            assert (member.roles, member.label, member.organisation) == (("nurse",), "box", "St. Elsewhere")
            assert member.kem == (1, person("box").kem_public_key)
            assert (member.epoch, member.act_id, member.governor, member.revoked) == (0, act, False, False)

    def test_a_quorum_is_needed(self) -> None:
        """Until then the act is pending, with who approved it and who still may."""
        world = trio()
        act = world.decide("gov.enrol", enrolment("box"), "ben")
        [pending] = world.fold().pending
        assert (pending.id, pending.type, pending.state, pending.missing) == (act, "gov.enrol", OPEN, 1)
        assert (pending.approved, pending.proposer) == ((key("ben"),), key("ben"))
        assert pending.may_approve == tuple(keys(["ada", "cyd"]))
        assert key("box") not in world.fold().members
        assert not world.fold().knows(key("box"))
        world.approve(act, "cyd")
        assert key("box") in world.fold().members
        assert not world.fold().pending

    def test_roles_and_policy_decide_what_may_be_written(self) -> None:
        """By role, by type, and `*` for every type that is not governance."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box", ["nurse"]), "ada")
        world.decide("gov.enrol", enrolment("bot", ["robot"]), "ada")
        world.decide("gov.enrol", enrolment("ear", []), "ada")
        world.decide("gov.enrol", enrolment("odd", ["no such role"]), "ada")
        membership = world.fold()
        assert membership.refusal(key("box"), 0, "reading") is None
        assert membership.refusal(key("box"), 0, "dispense") == NOT_ALLOWED
        assert membership.refusal(key("bot"), 0, "dispense") is None
        assert membership.refusal(key("ear"), 0, "reading") == NOT_ALLOWED
        assert membership.refusal(key("odd"), 0, "reading") == NOT_ALLOWED
        assert membership.refusal(key("eve"), 0, "reading") == NOT_A_MEMBER
        assert membership.refusal(key("box"), 1, "reading") == EPOCH_UNKNOWN
        assert membership.refusal(key("box"), -1, "reading") == EPOCH_UNKNOWN
        assert membership.knows(key("ear"))

    def test_anybody_may_write_governance(self) -> None:
        """Proposals and approvals are kept, whoever writes them and in whatever epoch: the fold counts."""
        membership = World("ada").fold()
        assert membership.refusal(key("eve"), 99, "gov.approve") is None

    def test_rights_begin_with_the_epoch(self) -> None:
        """A member enrolled in epoch 1 has no rights in blocks of epoch 0."""
        world = World("ada")
        world.decide("gov.epoch", world.successor("ada"), "ada")
        world.decide("gov.enrol", enrolment("box", epoch=1), "ada")
        membership = world.fold()
        assert membership.refusal(key("box"), 0, "note") == NOT_A_MEMBER
        assert membership.refusal(key("box"), 1, "note") is None

    def test_a_block_is_judged_by_its_own_epoch(self) -> None:
        """A new policy and new roles leave earlier blocks as they were."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box", ["nurse"]), "ada")
        world.decide("gov.epoch", world.successor("ada", policy={"nurse": ["note"], "chef": ["soup"]}), "ada")
        membership = world.fold()
        assert membership.refusal(key("box"), 0, "reading") is None
        assert membership.refusal(key("box"), 1, "reading") == NOT_ALLOWED
        world.decide("gov.enrol", enrolment("box", ["chef"], epoch=1), "ada")
        membership = world.fold()
        assert membership.refusal(key("box"), 0, "note") is None
        assert membership.refusal(key("box"), 1, "note") == NOT_ALLOWED
        assert membership.refusal(key("box"), 1, "soup") is None
        assert [member.epoch for member in membership.enrolments[key("box")]] == [0, 1]
        assert membership.members[key("box")].roles == ("chef",)

    def test_of_two_enrolments_in_one_epoch_the_smaller_id_counts(self) -> None:
        """Whichever came first: replicas that disagree on the order agree on the member."""
        contents = [enrolment("box", [role]) for role in ("nurse", "pharmacist")]
        for order in (contents, contents[::-1]):
            world = World("ada")
            acts = {world.decide("gov.enrol", content, "ada"): content for content in order}
            assert world.fold().members[key("box")].roles == tuple(acts[min(acts)]["roles"])

    def test_offices_are_roles_while_they_are_held(self) -> None:
        """Governors and notaries are members without an enrolment, and only in epochs in which they hold the office."""
        policy = {"governor": ["note"], "notary": ["ack"]}
        world = World("ada", notaries=["ned"], policy=policy)
        world.decide(
            "gov.epoch", world.successor("ben", policy=policy, closing={"ada": NOTHING, "ned": NOTHING}), "ada"
        )
        membership = world.fold()
        assert membership.refusal(key("ada"), 0, "note") is None
        assert membership.refusal(key("ada"), 1, "note") == NOT_A_MEMBER
        assert membership.refusal(key("ned"), 0, "ack") is None
        assert membership.refusal(key("ned"), 0, "note") == NOT_ALLOWED
        assert membership.refusal(key("ben"), 0, "note") == NOT_A_MEMBER
        assert membership.refusal(key("ben"), 1, "note") is None
        ada, ben = membership.members[key("ada")], membership.members[key("ben")]
        assert (ada.roles, ada.governor, ada.epoch, ada.act_id) == (("governor",), False, 0, None)
        assert (ben.roles, ben.governor, ben.epoch) == (("governor",), True, 1)
        assert membership.members[key("ned")].roles == ("notary",)
        assert all(membership.knows(key(name)) for name in ("ada", "ben", "ned"))
        assert membership.electors == {key("ada"), key("ben")}

    def test_an_enrolled_governor_has_both(self) -> None:
        """An enrolment adds its roles to the office's."""
        world = World("ada", policy={"governor": ["note"], "nurse": ["reading"]})
        world.decide("gov.enrol", enrolment("ada"), "ada")
        membership = world.fold()
        assert membership.roles(key("ada"), 0) == {"governor", "nurse"}
        assert membership.members[key("ada")].governor
        assert membership.members[key("ada")].roles == ("nurse",)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"proof": enrolment("eve")["proof"]}, "other keys"),
            ({"kem": [1, person("eve").kem_public_key]}, "other keys"),
            ({"kem": [2, person("box").kem_public_key]}, "other keys"),
            ({"proof": enrolment("box")["proof"][1:]}, "encoding|COSE"),
            ({"proof": bytes(100)}, "CBOR|COSE"),
            ({"succeeds": key("box")}, "succeed itself"),
            ({"roles": ["b", "a"]}, "ascending"),
            ({"org": "x" * 129}, "characters"),
            ({"sig": [-8, key("box")]}, "integer"),
            ({"extra": 1}, "field"),
        ],
    )
    def test_a_wrong_enrolment_enrols_nobody(self, change: dict[str, Any], reason: str) -> None:
        """Nobody is enrolled with a key they did not show to hold, whatever the governors approve."""
        world = World("ada")
        world.decide("gov.enrol", {**enrolment("box"), **change}, "ada")
        membership = world.fold()
        assert key("box") not in membership.members
        assert not membership.knows(key("box"))
        [ignored] = membership.ignored
        assert ignored.place.feed == key("ada")
        assert re.search(reason, ignored.reason)

    def test_governors_may_grant_other_than_asked(self) -> None:
        """The proof binds the keys; roles, label, organisation and succession are the governors' decision."""
        asked, _ = read_request_text(make_request(person("box"), secret=b"s" * 16, roles=["boss"], label="me"))
        world = World("ada")
        world.decide("gov.enrol", {**enrolment("box", ["nurse"], label="box 7"), "proof": asked.proof}, "ada")
        assert world.fold().members[key("box")].label == "box 7"

    def test_an_act_of_an_epoch_to_come_waits(self) -> None:
        """It is undecided, and decided as soon as the epoch is known."""
        world = World("ada")
        act = world.decide("gov.enrol", enrolment("box", epoch=1), "ada")
        [pending] = world.fold().pending
        assert (pending.id, pending.state, pending.epoch, pending.missing) == (act, EPOCH_UNKNOWN, 1, None)
        world.decide("gov.epoch", world.successor("ada"), "ada")
        assert key("box") in world.fold().members


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
        world.write("eve", ("gov.enrol", enrolment("box")))  # the act itself is revealed at last, by anybody
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


class TestCuts:
    def feed(self, world: World, name: str = "box", length: int = 4) -> list[Point]:
        return [world.write(name, ("note", number)) for number in range(length)]

    def test_a_block_stands_up_to_the_cut(self) -> None:
        """The cut's last block and its ancestors stand; later blocks and other branches do not."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        blocks = self.feed(world)
        branch = world.write("box", ("note", "branch"), after=blocks[0])
        assert all(world.fallen("box", block) is None for block in [*blocks, branch])
        world.decide("gov.revoke", revocation("box", blocks[2], reason="stolen"), "ada")
        assert [world.fallen("box", block) for block in blocks] == [None, None, None, REVOKED]
        assert world.fallen("box", branch) == REVOKED
        membership = world.fold()
        assert membership.last_seq(key("box")) == 2
        assert membership.last_seq(key("ada")) is None
        assert membership.members[key("box")].revoked
        assert membership.knows(key("box"))
        [cut] = membership.cuts[key("box")]
        assert (cut.last, cut.reason, cut.epoch) == (blocks[2], "stolen", 0)

    def test_a_cut_whose_block_is_missing_is_unresolved(self) -> None:
        """Beyond its seq nothing stands; up to it a block neither stands nor falls until the cut's block comes."""
        world = World("ada")
        blocks = self.feed(world)
        world.decide("gov.revoke", revocation("box", blocks[2]), "ada")
        held = world.blocks.keys() - {blocks[2].id, blocks[3].id}
        assert [world.fallen("box", block, held=held) for block in blocks[:2]] == [CUT_UNRESOLVED] * 2
        assert world.fallen("box", blocks[3], held=held) == REVOKED
        assert world.fallen("box", blocks[1]) is None

    def test_nothing_stands_before_the_first_block(self) -> None:
        """A cut at -1 leaves nothing: for a key that was never its holder's."""
        world = World("ada")
        blocks = self.feed(world)
        world.decide("gov.revoke", revocation("box"), "ada")
        assert {world.fallen("box", block) for block in blocks} == {REVOKED}
        assert world.fold().last_seq(key("box")) == -1

    def test_all_cuts_apply(self) -> None:
        """Of cuts on one branch the earliest decides; of cuts on two branches, what both have in common stands."""
        world = World("ada")
        blocks = self.feed(world)
        branch = world.write("box", ("note", "branch"), after=blocks[0])
        world.decide("gov.revoke", revocation("box", blocks[3]), "ada")
        world.decide("gov.revoke", revocation("box", blocks[1]), "ada")
        assert [world.fallen("box", block) for block in blocks] == [None, None, REVOKED, REVOKED]
        world.decide("gov.revoke", revocation("box", branch), "ada")
        assert [world.fallen("box", block) for block in [*blocks[:2], branch]] == [None, REVOKED, REVOKED]
        assert len(world.fold().cuts[key("box")]) == 3

    def test_a_revoked_key_is_dead_for_ever(self) -> None:
        """A later enrolment of it is effective and changes nothing beyond the cut."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        blocks = self.feed(world)
        world.decide("gov.revoke", revocation("box", blocks[0]), "ada")
        world.decide("gov.epoch", world.successor("ada"), "ada")
        world.decide("gov.enrol", enrolment("box", epoch=1), "ada")
        assert world.fallen("box", blocks[1]) == REVOKED
        assert world.fold().members[key("box")].revoked

    def test_mutual_revocation_cuts_both(self) -> None:
        """Two governors that revoke each other, each with the third's approval, are both cut, in every order."""
        world = trio()
        world.decide("gov.revoke", revocation("ben"), "ada", "cyd")
        world.decide("gov.revoke", revocation("ada"), "ben", "cyd")
        world.decide("gov.enrol", enrolment("box"), "ada", "ben")  # and their approvals go on counting
        membership = world.fold()
        assert set(membership.cuts) == {key("ada"), key("ben")}
        assert key("box") in membership.members
        assert membership == world.fold(order=reversed(list(world.blocks.values())))

    def test_a_governor_cannot_escape_by_revoking_the_others(self) -> None:
        """A governor alone, even first, revokes nobody; its revocation by the two others stands."""
        world = trio()
        for victim in ("ada", "ben"):
            world.decide("gov.revoke", revocation(victim), "cyd")
        world.decide("gov.revoke", revocation("cyd"), "ada", "ben")
        assert set(world.fold().cuts) == {key("cyd")}

    def test_a_key_can_be_cut_before_it_is_enrolled(self) -> None:
        """The order of the acts does not matter: the enrolment arrives dead."""
        world = World("ada")
        world.decide("gov.revoke", revocation("box"), "ada")
        blocks = self.feed(world)
        world.decide("gov.enrol", enrolment("box"), "ada")
        assert world.fallen("box", blocks[0]) == REVOKED

    def test_an_ill_formed_cut_is_no_cut(self) -> None:
        """A null id beyond -1, an id at -1, or a seq beyond the limit cuts nothing."""
        world = World("ada")
        for seq, block_id in ((0, None), (-1, b"i" * 32), (-2, None), (2**40, b"i" * 32)):
            world.decide("gov.revoke", {**revocation("box"), "seq": seq, "id": block_id}, "ada")
        assert not world.fold().cuts
        assert len(world.fold().ignored) == 4


class TestSuccession:
    def test_the_old_key_signs_for_the_new(self) -> None:
        """The old feed's last block proposes the enrolment of the new key, the cut names that block: planned."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        heir = enrolment("box2", succeeds=key("box"))
        last = world.write("box", ("gov.enrol", heir))
        world.approve(world.act("gov.enrol", heir), "ada")
        assert not world.fold().members[key("box2")].planned  # no cut says yet that it was the last block
        world.decide("gov.revoke", revocation("box", last), "ada")
        old, new = (world.fold().members[key(name)] for name in ("box", "box2"))
        assert (new.succeeds, new.planned) == (key("box"), True)
        assert (old.succeeded_by, old.revoked) == (key("box2"), True)

    def test_without_the_old_key_it_is_the_governors_word(self) -> None:
        """A lost key is succeeded all the same, and the ledger shows the difference."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        [last] = [world.write("box", ("note", "x"))]
        world.decide("gov.revoke", revocation("box", last), "ada")
        world.decide("gov.enrol", enrolment("box2", succeeds=key("box")), "ada")
        assert not world.fold().members[key("box2")].planned
        assert world.fold().members[key("box")].succeeded_by == key("box2")

    def test_a_thief_cannot_plan_beyond_the_cut(self) -> None:
        """A proposal that the old key signs after its cut, or where another cut takes it away, is no evidence."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        first = world.write("box", ("note", "x"))
        heir = enrolment("thief", succeeds=key("box"))
        after = world.write("box", ("gov.enrol", heir))
        world.approve(world.act("gov.enrol", heir), "ada")
        world.decide("gov.revoke", revocation("box", first), "ada")
        assert not world.fold().members[key("thief")].planned
        world.decide("gov.revoke", revocation("box", after), "ada")
        assert not world.fold().members[key("thief")].planned

    def test_of_two_heirs_the_newest_enrolment_is_named(self) -> None:
        """By epoch, then by smallest act id, so that everybody names the same one."""
        world = World("ada")
        acts = {}
        for name in ("heir", "hare"):
            acts[world.decide("gov.enrol", enrolment(name, succeeds=key("box")), "ada")] = key(name)
        world.decide("gov.enrol", enrolment("box"), "ada")
        assert world.fold().members[key("box")].succeeded_by == acts[min(acts)]
        world.decide("gov.epoch", world.successor("ada"), "ada")
        world.decide("gov.enrol", enrolment("hair", epoch=1, succeeds=key("box")), "ada")
        assert world.fold().members[key("box")].succeeded_by == key("hair")


def test_a_new_ledger_has_its_governors() -> None:
    """With no control block at all there are epoch 0 and its officers."""
    world = World("ada", "ben", notaries=["ned"])
    membership = world.fold()
    assert membership.epochs == (world.genesis.epoch,)
    assert set(membership.members) == {key("ada"), key("ben"), key("ned")}
    assert (membership.threshold, membership.epoch.notaries) == (2, (key("ned"),))
    assert membership.epoch.policy == {role: frozenset(types) for role, types in POLICY.items()}
