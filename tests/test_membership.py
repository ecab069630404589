"""Membership: each rule about members, cuts and successions, and each attack that it has to survive."""

from __future__ import annotations

import re
from typing import Any

import pytest

import medledger.ballot
import medledger.membership
from governance_world import POLICY, World, enrolment, key, keys, person, revocation, trio
from medledger.decisions import OPEN
from medledger.governance import NOTHING, Point
from medledger.joining import make_request, read_request_text
from medledger.membership import CUT_UNRESOLVED, EPOCH_UNKNOWN, NOT_A_MEMBER, NOT_ALLOWED, REVOKED


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

    def test_a_later_cut_does_not_hold_up_an_earlier_one(self) -> None:
        """Blocks beyond the earlier cut are not passed on, so who comes late has the later cut's block never."""
        world = World("ada")
        blocks = self.feed(world)
        world.decide("gov.revoke", revocation("box", blocks[3]), "ada")
        world.decide("gov.revoke", revocation("box", blocks[1]), "ada")
        held = world.blocks.keys() - {blocks[2].id, blocks[3].id}
        for present in (world.blocks.keys(), held):
            assert [world.fallen("box", block, held=present) for block in blocks[:2]] == [None, None]

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
        world.decide("gov.enrol", heir, "ada")
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
        world.decide("gov.enrol", heir, "ada")
        world.decide("gov.revoke", revocation("box", first), "ada")
        assert not world.fold().members[key("thief")].planned
        world.decide("gov.revoke", revocation("box", after), "ada")
        assert not world.fold().members[key("thief")].planned

    def test_a_plan_is_in_the_block_of_the_earliest_cut(self) -> None:
        """Not in a later cut's, and in none where the earliest cuts disagree: no other block is asked."""
        world = World("ada")
        world.decide("gov.enrol", enrolment("box"), "ada")
        heir = enrolment("box2", succeeds=key("box"))
        plan = world.write("box", ("gov.enrol", heir))
        later = world.write("box", ("note", "x"))
        branch = world.write("box", ("note", "y"), after=NOTHING)
        world.decide("gov.enrol", heir, "ada")
        world.decide("gov.revoke", revocation("box", later), "ada")
        assert not world.fold().members[key("box2")].planned
        world.decide("gov.revoke", revocation("box", plan), "ada")
        assert world.fold().members[key("box2")].planned
        assert world.fold(held=world.blocks.keys() - {later.id, branch.id}).members[key("box2")].planned
        assert not world.fold(held=world.blocks.keys() - {plan.id}).members[key("box2")].planned
        world.decide("gov.revoke", revocation("box", branch), "ada")
        assert not world.fold().members[key("box2")].planned

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


def test_a_block_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold after one more block hashes and checks what this block says, and nothing of what came before."""
    hashed: list[str] = []
    checked: list[bytes] = []
    act_id, check_proof = medledger.ballot.act_id, medledger.membership.check_proof

    def hashing(ledger_id: bytes, act_type: str, content: Any) -> bytes:
        hashed.append(act_type)
        return act_id(ledger_id, act_type, content)

    def checking(content: Any) -> None:
        checked.append(content["sig"][1])
        check_proof(content)

    monkeypatch.setattr(medledger.ballot, "act_id", hashing)
    monkeypatch.setattr(medledger.membership, "check_proof", checking)
    world = World("ada")
    for name in ("box", "bin"):
        world.decide("gov.enrol", enrolment(name), "ada")
    world.decide("gov.enrol", {**enrolment("eve"), "proof": enrolment("box")["proof"]}, "ada")
    first = world.fold()
    assert (sorted(hashed), len(checked)) == (["gov.enrol"] * 3, 3)
    hashed.clear(), checked.clear()
    assert world.fold() == first
    assert (hashed, checked) == ([], [])
    world.decide("gov.enrol", enrolment("dot"), "ada")
    assert key("dot") in world.fold().members
    assert (hashed, checked) == (["gov.enrol"], [key("dot")])
    other = World("ada", "ben")
    other.blocks = world.blocks  # the same blocks in another ledger are other acts
    assert not other.fold().members.keys() & {key("box"), key("bin"), key("dot")}
