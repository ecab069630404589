"""Making acts: what a governor is kept from doing, and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from governance_world import World, enrolment, key, keys, person, request, revocation
from medledger.acts import GovEnrol
from medledger.errors import MembershipError
from medledger.governance import NOTHING, Point, act_id
from medledger.governing import change_epoch
from medledger.joining import make_request, read_request_text
from medledger.proposals import approval_content, enrolment_content, propose_epoch, revocation_content
from worlds import found, join, sync


def refused(call: Callable[[], object], match: str) -> MembershipError:
    """The error that `call` must raise."""
    with pytest.raises(MembershipError, match=match) as caught:
        call()
    return caught.value


def carry_out(world: World, act_type: str, content: Any, *who: str) -> bytes:
    """Propose and approve an act the way the ledger does: each approval is made from what is known then."""
    world.write(who[0], (act_type, content))
    for name in who:
        approval = approval_content(world.fold(), act_type, content, by=key(name))
        world.write(name, ("gov.approve", approval))
    return world.act(act_type, content)


class TestEpoch:
    def test_what_is_not_given_stays(self) -> None:
        """Only the policy changes, everything else is the current epoch's."""
        world = World("ada", "ben", "cyd", notaries=["ned"])
        document = propose_epoch(world.fold(), heads={}, policy={"nurse": ["b", "a"]})
        assert document == [
            1,
            world.genesis.ledger_id,
            keys(["ada", "ben", "cyd"]),
            2,
            keys(["ned"]),
            {"nurse": ["a", "b"]},
            [],
        ]
        carry_out(world, "gov.epoch", document, "ada", "ben")
        assert world.fold().epoch.policy == {"nurse": {"a", "b"}}

    def test_whoever_leaves_is_closed_at_its_head(self) -> None:
        """So that everything it approved until now goes on counting."""
        world = World("ada", "ben", "cyd", notaries=["ned"])
        world.decide("gov.enrol", enrolment("box"), "ada", "cyd")
        heads = {**world.heads, key("ned"): Point(3, b"n" * 32)}
        document = propose_epoch(world.fold(), heads=heads, governors=keys(["ada", "ben"]), notaries=[])
        assert document[3] == 2
        assert document[6] == sorted([[key("cyd"), *world.heads[key("cyd")]], [key("ned"), 3, b"n" * 32]])
        carry_out(world, "gov.epoch", document, "ada", "ben")
        assert key("box") in world.fold().members

    def test_an_unseen_feed_is_not_closed_by_accident(self) -> None:
        """A leaving governor whose feed is not here must be synced, or said never to have written."""
        world = World("ada", "ben", "cyd")
        governors = keys(["ada", "ben"])
        error = refused(lambda: propose_epoch(world.fold(), heads={}, governors=governors), "no block of")
        assert "Sync" in str(error.hint)
        assert propose_epoch(world.fold(), heads={key("cyd"): NOTHING}, governors=governors)[6] == [
            [key("cyd"), -1, None]
        ]

    def test_a_majority_is_the_default_and_the_least(self) -> None:
        """New governors bring a new majority; a threshold that lets two quorums miss each other is refused."""
        world = World("ada")
        governors = keys(["ada", "ben", "cyd", "dot"])
        assert propose_epoch(world.fold(), heads={}, governors=governors)[3] == 3
        refused(lambda: propose_epoch(world.fold(), heads={}, governors=governors, threshold=2), "threshold of 2")
        refused(lambda: propose_epoch(world.fold(), heads={key("ada"): NOTHING}, governors=[]), "items")

    def test_no_office_for_the_revoked(self) -> None:
        """A revoked key cannot come back as a governor or notary."""
        world = World("ada")
        world.decide("gov.revoke", revocation("ben"), "ada")
        refused(lambda: propose_epoch(world.fold(), heads={}, governors=keys(["ada", "ben"])), "revoked")
        refused(lambda: propose_epoch(world.fold(), heads={}, notaries=keys(["ben"])), "revoked")

    def test_one_governor_approves_one_successor(self) -> None:
        """Having approved one, or after one is effective, a second is refused: it could make governance void."""
        world = World("ada", "ben", "cyd")
        one, two = (propose_epoch(world.fold(), heads={}, policy={role: []}) for role in ("x", "y"))
        for document in (one, two):
            world.write("cyd", ("gov.epoch", document))
        world.write("ada", ("gov.approve", approval_content(world.fold(), "gov.epoch", one, by=key("ada"))))
        refused(lambda: approval_content(world.fold(), "gov.epoch", two, by=key("ada")), "another successor")
        open_acts = {act.id: act.may_approve for act in world.fold().pending}
        assert open_acts[world.act("gov.epoch", two)] == tuple(keys(["ben", "cyd"]))
        world.write("ben", ("gov.approve", approval_content(world.fold(), "gov.epoch", one, by=key("ben"))))
        refused(lambda: approval_content(world.fold(), "gov.epoch", two, by=key("cyd")), "has a successor already")
        assert world.fold().void is None

    def test_a_void_ledger_is_continued_elsewhere(self) -> None:
        """No epoch can follow a void; the hint says what to do."""
        world = World("ada")
        for role in ("x", "y"):
            world.decide("gov.epoch", world.successor("ada", policy={role: []}), "ada")
        error = refused(lambda: propose_epoch(world.fold(), heads={}), "void after epoch 0")
        assert "new ledger" in str(error.hint)
        refused(lambda: approval_content(world.fold(), "gov.epoch", world.successor("ada"), by=key("ada")), "void")


class TestEnrolment:
    def test_as_asked(self) -> None:
        """Keys, label, organisation, roles and succession are the request's unless something else is given."""
        world = World("ada")
        text = make_request(
            person("box"), secret=b"s" * 16, label="box 7", organisation="ICU", roles=["nurse"], succeeds=key("ada")
        )
        asked = read_request_text(text)[0]
        carry_out(world, "gov.enrol", enrolment_content(world.fold(), asked), "ada")
        member = world.fold().members[key("box")]
        assert (member.label, member.organisation, member.roles) == ("box 7", "ICU", ("nurse",))
        assert member.succeeds == key("ada")
        content = enrolment_content(
            world.fold(), request("bin"), roles=["robot", "nurse"], label="b", organisation="o", succeeds=key("box")
        )
        assert (content["roles"], content["label"], content["org"]) == (["nurse", "robot"], "b", "o")
        assert content["succeeds"] == key("box")

    def test_what_would_have_no_effect_is_refused(self) -> None:
        """Twice in one epoch, a dead key, a role without a policy, a predecessor that nobody knows."""
        world = World("ada")
        asked = request("box")
        refused(lambda: enrolment_content(world.fold(), asked, roles=["boss"]), "no role 'boss'")
        refused(lambda: enrolment_content(world.fold(), asked, succeeds=key("eve")), "not a member")
        refused(lambda: enrolment_content(world.fold(), asked, label="x" * 200), "characters")
        carry_out(world, "gov.enrol", enrolment_content(world.fold(), asked), "ada")
        error = refused(lambda: enrolment_content(world.fold(), asked, roles=["nurse"]), "already")
        assert "new epoch" in str(error.hint)
        carry_out(world, "gov.epoch", propose_epoch(world.fold(), heads={}), "ada")
        carry_out(world, "gov.enrol", enrolment_content(world.fold(), asked, roles=["nurse"]), "ada")
        assert world.fold().members[key("box")].roles == ("nurse",)
        carry_out(world, "gov.revoke", revocation_content(world.fold(), key("box"), last=None), "ada")
        refused(lambda: enrolment_content(world.fold(), asked), "revoked for ever")


class TestRevocation:
    def test_it_cuts_where_it_says(self) -> None:
        """After the block given, or before everything."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        last = world.write("box", ("note", "x"))
        content = revocation_content(world.fold(), key("box"), last=last, reason="stolen")
        carry_out(world, "gov.revoke", content, "ada")
        assert world.fold().cuts[key("box")][0].last == last
        carry_out(world, "gov.revoke", revocation_content(world.fold(), key("box"), last=None), "ada")
        assert world.fold().last_seq(key("box")) == -1

    def test_what_would_have_no_effect_is_refused(self) -> None:
        """A key that is no member, and a cut later than one that holds."""
        world = World("ada")
        refused(lambda: revocation_content(world.fold(), key("eve"), last=None), "not a member")
        world.decide("gov.enrol", enrolment("box"), "ada")
        world.decide("gov.revoke", revocation("box"), "ada")
        refused(lambda: revocation_content(world.fold(), key("box"), last=Point(3, b"i" * 32)), "revoked already")
        refused(lambda: revocation_content(world.fold(), key("ada"), last=Point(3, None)), "null id")


class TestApproval:
    def test_only_what_counts_is_approved(self) -> None:
        """By a governor of the epoch, once, that has not left, of an epoch that is known."""
        world = World("ada", "ben", "cyd")
        content = enrolment("box")
        membership = world.fold()
        act = world.act("gov.enrol", content)
        assert approval_content(membership, "gov.enrol", content, by=key("ada")) == [act, 0]
        refused(lambda: approval_content(membership, "gov.enrol", content, by=key("eve")), "not a governor")
        refused(
            lambda: approval_content(membership, "gov.enrol", enrolment("box", epoch=1), by=key("ada")), "not effective"
        )
        refused(lambda: approval_content(membership, "gov.fly", content, by=key("ada")), "not a governance act")
        refused(lambda: approval_content(membership, "gov.enrol", None, by=key("ada")), "must be a map")
        world.decide("gov.enrol", content, "ada")
        refused(lambda: approval_content(world.fold(), "gov.enrol", content, by=key("ada")), "your approval already")
        world.decide("gov.epoch", world.successor("ada", "ben", "dot", closing={"cyd": NOTHING}), "ada", "ben")
        refused(lambda: approval_content(world.fold(), "gov.enrol", content, by=key("cyd")), "has left")
        assert approval_content(world.fold(), "gov.enrol", content, by=key("ben")) == [act, 0]

    def test_a_forged_enrolment_is_not_approved(self) -> None:
        """A proof for other keys is refused before a governor's name stands under it."""
        world = World("ada")
        forged = {**enrolment("box"), "proof": request("eve").proof}
        refused(lambda: approval_content(world.fold(), "gov.enrol", forged, by=key("ada")), "other keys")

    def test_an_epoch_that_can_never_be_effective_is_not_approved(self) -> None:
        """Wrong closings or thresholds are told before they are approved, and so is an unknown predecessor."""
        world = World("ada", "ben", threshold=2)
        refused(
            lambda: approval_content(world.fold(), "gov.epoch", world.successor("ada"), by=key("ada")),
            "never be effective",
        )
        stranger = world.successor("ada", "ben", of=b"x" * 32)
        refused(lambda: approval_content(world.fold(), "gov.epoch", stranger, by=key("ada")), "another epoch 0")


class TestLedger:
    def test_what_a_member_proposes_waits_for_nobody(self, tmp_path: Path) -> None:
        """A governor approves what another governor proposed. What a member wrote it enrols itself, or not at all."""
        with found(tmp_path) as founder, join(founder, tmp_path, "box") as member:
            content = enrolment_content(member.membership, request("bin"), roles=["bedside"])
            member.append(GovEnrol.from_content(content))
            sync(member, founder)
            assert founder.membership.pending == ()
            act = act_id(founder.id, "gov.enrol", content)
            refused(lambda: founder.approve(act), "no pending act")
            founder.append(GovEnrol.from_content(content))
            assert [(act.id, act.proposer) for act in founder.membership.pending] == [(act, founder.me)]
            founder.approve(act)
            assert key("bin") in founder.membership.members

    def test_a_second_governor_approves_what_the_first_proposed(self, tmp_path: Path) -> None:
        """The first proposes and approves in one block; the act is then pending at the second."""
        with found(tmp_path) as ada, join(ada, tmp_path, "ben") as ben:
            change_epoch(ada, governors=[ada.me, ben.me], threshold=2)
            text = make_request(person("bin"), secret=bytes(16), label="bin", roles=["bedside"])
            ada.enrol(text)
            sync(ada, ben)
            [pending] = ben.membership.pending
            assert (pending.proposer, pending.approved, pending.may_approve) == (ada.me, (ada.me,), (ben.me,))
            ben.approve(pending.id)
            assert key("bin") in ben.membership.members
