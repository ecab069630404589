"""Vectors of the membership fold: control blocks, and the members, epochs, cuts and voids that they make.

Each scenario is written down with real blocks. What must come of it is said by hand, in terms of people and blocks; the
fold must say the same whatever the order of the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .making import Head, Vector, block, entry, head_of, key, keys, sha256
from .of_governance import act_id, enrolment, epoch, genesis, revocation


class World:
    """Feeds that grow, and the ledger that they belong to."""

    def __init__(self, *governors: str, **changes: Any) -> None:
        self.genesis = genesis(governors[0], epoch(*governors, **changes))
        self.ledger = sha256(self.genesis)
        self.raws: list[bytes] = []
        self.heads: dict[str, Head] = {}
        self.written = 0

    def write(self, who: str, *entries: tuple[str, Any], after: Head | str | None = "head", **changes: Any) -> Head:
        """A control block with these entries (type, content); `after` an earlier head, or None, it starts a branch."""
        head = self.heads.get(who) if after == "head" else after
        assert not isinstance(head, str)
        body = []
        for kind, content in entries:
            self.written += 1
            body.append(entry(content, kind, n=self.written))
        raw = block(who, head, body, ledger=self.ledger, **{"class": 0, **changes})
        self.raws.append(raw)
        if after == "head":
            self.heads[who] = head_of(raw)
        return head_of(raw)

    def note(self, who: str, **changes: Any) -> Head:
        """A block that proposes nothing."""
        return self.write(who, ("note", self.written), **{"class": 1, **changes})

    def decide(self, kind: str, content: Any, *who: str, **changes: Any) -> bytes:
        """Propose in the first person's feed, and have all of them approve. The act's id."""
        act = act_id(self.ledger, kind, content)
        self.write(who[0], (kind, content), ("gov.approve", [act, 0]), **changes)
        for name in who[1:]:
            self.write(name, ("gov.approve", [act, 0]), **changes)
        return act

    def successor(self, *governors: str, **changes: Any) -> list[Any]:
        """The epoch after epoch 0; `closing` as {name: head}."""
        closing = {key(name): head for name, head in changes.pop("closing", {}).items()}
        rows = [
            [feed, -1, None] if head is None else [feed, head.seq, head.id] for feed, head in sorted(closing.items())
        ]
        return epoch(*governors, **{"number": 1, "previous": self.ledger, "closing": rows, **changes})


def member(name: str, *roles: str, since: int = 0, **flags: Any) -> dict[str, Any]:
    """A member, as vectors write it."""
    plain = {"governor": False, "revoked": False, "succeeds": None, "planned": False}
    return {"feed": key(name), "roles": list(roles), "epoch": since, **plain, **flags}


def governor(name: str, since: int = 0, **flags: Any) -> dict[str, Any]:
    """A governor that nobody enrolled."""
    return member(name, "governor", since=since, governor=True, **flags)


def vector(
    name: str,
    why: str,
    world: World,
    members: Iterable[dict[str, Any]],
    *,
    epochs: Iterable[bytes] = (),
    known: Iterable[str] | None = None,
    refusals: Iterable[tuple[str, int, str, str | None]] = (),
    fallen: Iterable[tuple[str, Head, str | None]] = (),
    without: Iterable[bytes] = (),
    **results: Any,
) -> Vector:
    """A scenario. `refusals` and `fallen` are questions with their answers; `without`, ids of blocks not held."""
    members = sorted(members, key=lambda each: each["feed"])
    refused = [{"feed": key(who), "epoch": at, "type": kind, "reason": why_not} for who, at, kind, why_not in refusals]
    fell = [{"feed": key(who), "seq": at.seq, "id": at.id, "reason": why_not} for who, at, why_not in fallen]
    ask = {
        "refusals": [{field: each[field] for field in ("feed", "epoch", "type")} for each in refused],
        "fallen": [{field: each[field] for field in ("feed", "seq", "id")} for each in fell],
    }
    held = [raw for raw in world.raws if head_of(raw).id not in set(without)]
    expected = {
        "verdict": "accepted",
        "epochs": [world.ledger, *epochs],
        "void": None,
        "members": members,
        "known": sorted(each["feed"] for each in members) if known is None else keys(*known),
        "cuts": [],
        "pending": [],
        "awaited": [],
        "refusals": refused,
        "fallen": fell,
        **results,
    }
    return Vector("membership", name, why, {"genesis": world.genesis, "blocks": held, "ask": ask}, expected)


def trio() -> World:
    """Three governors, of whom two must agree."""
    return World("ada", "ben", "cyd")


def pending(act: bytes, state: str = "open", missing: int | None = 1) -> dict[str, Any]:
    """A pending act, as vectors write it."""
    return {"act_id": act, "state": state, "missing": missing}


def enrolments() -> list[Vector]:
    """Who becomes a member, and what it may write."""
    fresh = World("ada", "ben", "cyd", notaries=keys("ned"))
    sole = World("ada")
    sole.decide("gov.enrol", enrolment("box"), "ada")
    one_of_two = trio()
    waiting = one_of_two.decide("gov.enrol", enrolment("box"), "ada")
    two_of_two = trio()
    two_of_two.decide("gov.enrol", enrolment("box"), "cyd", "ben")
    twice = trio()
    repeated = twice.decide("gov.enrol", enrolment("box"), "ada", "ada")
    stranger = trio()
    unheard = stranger.decide("gov.enrol", enrolment("mole"), "ada", "mole", "eve")
    early = World("ada")
    act = act_id(early.ledger, "gov.enrol", enrolment("box"))
    early.write("ada", ("gov.approve", [act, 0]))
    reserved = World("ada")
    act_reserved = act_id(reserved.ledger, "gov.enrol", enrolment("box"))
    reserved.write("ada", ("gov.enrol", enrolment("box")), ("gov.approve", [act_reserved, 1]))
    crooked = World("ada")
    crooked.decide("gov.enrol", enrolment("mole", proof=enrolment("box")["proof"]), "ada")
    nothing = [
        crooked.decide("gov.enrol", {**enrolment("box"), "roles": ["b", "a"]}, "ada"),
        crooked.decide("gov.pardon", {"all": True}, "ada"),
    ]
    later = World("ada")
    unknown = later.decide("gov.enrol", enrolment("box", epoch=1), "ada")
    roles = World("ada")
    for name, given in (("nurse", ["nurse"]), ("bot", ["robot"]), ("ear", []), ("odd", ["no such role"])):
        roles.decide("gov.enrol", enrolment(name, roles=given), "ada")
    trio_members = [governor("ada"), governor("ben"), governor("cyd")]
    return [
        vector(
            "fresh",
            "Before any block there are epoch 0 and its officers.",
            fresh,
            [*trio_members, member("ned", "notary")],
        ),
        vector(
            "sole-governor",
            "A sole governor proposes and approves in one block.",
            sole,
            [governor("ada"), member("box", "nurse")],
        ),
        vector("one-of-two", "One approval of two: pending.", one_of_two, trio_members, pending=[pending(waiting)]),
        vector(
            "two-of-two", "Two approvals, wherever they stand.", two_of_two, [*trio_members, member("box", "nurse")]
        ),
        vector(
            "approved-twice", "Who approves twice has approved once.", twice, trio_members, pending=[pending(repeated)]
        ),
        vector(
            "strangers-approve",
            "Only governors of the epoch count.",
            stranger,
            trio_members,
            pending=[pending(unheard)],
        ),
        vector(
            "approval-first",
            "An approval waits for the act it names.",
            early,
            [governor("ada")],
            awaited=[[act, keys("ada")]],
        ),
        vector(
            "round-1",
            "An approval in another round is reserved, and counts for nothing.",
            reserved,
            [governor("ada")],
            pending=[pending(act_reserved)],
        ),
        vector(
            "crooked-acts",
            "What is no act, or an enrolment without the key's own request, is ignored however approved.",
            crooked,
            [governor("ada")],
            awaited=[[act, keys("ada")] for act in sorted(nothing)],
        ),
        vector(
            "epoch-to-come",
            "An enrolment of an epoch that is not effective here is undecided.",
            later,
            [governor("ada")],
            pending=[pending(unknown, "epoch-unknown", None)],
        ),
        vector(
            "roles-and-policy",
            "What each role may write, by the policy of the block's epoch.",
            roles,
            [
                governor("ada"),
                member("nurse", "nurse"),
                member("bot", "robot"),
                member("ear"),
                member("odd", "no such role"),
            ],
            refusals=[
                ("nurse", 0, "reading", None),
                ("nurse", 0, "dispense", "not-allowed"),
                ("bot", 0, "dispense", None),
                ("ear", 0, "reading", "not-allowed"),
                ("odd", 0, "reading", "not-allowed"),
                ("eve", 0, "reading", "not-a-member"),
                ("nurse", 1, "reading", "epoch-unknown"),
                ("eve", 0, "gov.approve", None),
                ("ada", 0, "reading", "not-allowed"),
            ],
        ),
    ]


def epochs() -> list[Vector]:
    """How governance changes hands."""
    change = trio()
    act = change.decide("gov.epoch", change.successor("ada", "ben", "dot", closing={"cyd": None}), "ada", "cyd")
    closed = trio()
    first = closed.decide("gov.enrol", enrolment("box"), "ada")
    start = closed.note("cyd")
    end = closed.write("cyd", ("gov.approve", [first, 0]))
    second = closed.decide("gov.enrol", enrolment("mole"), "ada")
    closing = closed.decide("gov.epoch", closed.successor("ada", "ben", closing={"cyd": end}), "ada", "ben")
    for after in (None, start, end):  # the thief of cyd's key, on the feed and on two branches
        closed.write("cyd", ("gov.approve", [second, 0]), after=after)
    again = World("ada")
    again.decide("gov.enrol", enrolment("box", roles=["nurse"]), "ada")
    renewed = again.decide("gov.epoch", again.successor("ada"), "ada")
    again.decide("gov.enrol", enrolment("box", epoch=1, roles=["pharmacist"]), "ada")
    rivals = trio()
    one = rivals.decide("gov.epoch", rivals.successor("ada", "ben", "dot", closing={"cyd": None}), "ada", "ben")
    rivals.decide("gov.enrol", enrolment("box", epoch=1), "ada", "dot")
    two = rivals.decide(
        "gov.epoch", rivals.successor("ada", "cyd", "eve", closing={"ben": rivals.heads["ben"]}), "ada", "cyd"
    )
    door = World("ada")
    last = door.decide("gov.enrol", enrolment("box"), "ada") and door.heads["ada"]
    true = door.decide("gov.epoch", door.successor("ben", closing={"ada": last}), "ada")
    door.decide("gov.enrol", enrolment("mole"), "ada")  # the thief of ada's key, after the closing
    false = door.decide("gov.epoch", door.successor("ada", "eve"), "ada")
    revive = trio()
    revive.decide("gov.enrol", enrolment("box"), "ada", "ben")
    revive.decide("gov.revoke", revocation("box", -1, None), "ada", "cyd")
    kept = revive.decide("gov.epoch", revive.successor("ada", "ben", "cyd", policy={}), "ada", "ben")
    rival = revive.decide("gov.epoch", revive.successor("ada", "ben", "eve", closing={"cyd": None}), "ada", "ben")
    box = member("box", "nurse")
    left = member("cyd", "governor")
    return [
        vector(
            "governor-leaves",
            "A quorum of epoch 0 makes epoch 1 effective; the leaving governor may approve it.",
            change,
            [governor("ada"), governor("ben"), governor("dot", 1), left],
            epochs=[act],
        ),
        vector(
            "closed-governor",
            "What cyd approved in the closing block counts; what a thief of its key adds, anywhere, does not.",
            closed,
            [governor("ada"), governor("ben"), left, box],
            known=["ada", "ben", "cyd", "box", "mole"],
            epochs=[closing],
            pending=[pending(second)],
        ),
        vector(
            "roles-by-epoch",
            "A block is judged by the newest enrolment that is not newer than its own epoch.",
            again,
            [governor("ada"), member("box", "pharmacist", since=1)],
            epochs=[renewed],
            refusals=[
                ("box", 0, "reading", None),
                ("box", 0, "dispense", "not-allowed"),
                ("box", 1, "reading", "not-allowed"),
                ("box", 1, "dispense", None),
            ],
        ),
        vector(
            "void",
            "Two approved successors: neither is chosen, and ada, who approved both, is named.",
            rivals,
            [governor("ada"), governor("ben"), governor("cyd")],
            known=["ada", "ben", "cyd", "dot", "eve", "box"],
            void={"epoch": 0, "rivals": sorted([one, two]), "double_approvers": keys("ada")},
            pending=[pending(act_id(rivals.ledger, "gov.enrol", enrolment("box", epoch=1)), "epoch-unknown", None)],
            refusals=[("box", 1, "reading", "epoch-unknown"), ("box", 0, "reading", "not-a-member")],
        ),
        vector(
            "void-opens-no-door",
            "The thief of a closed governor's key makes governance void, and still enrols nobody.",
            door,
            [governor("ada"), box],
            known=["ada", "ben", "eve", "box", "mole"],
            void={"epoch": 0, "rivals": sorted([true, false]), "double_approvers": keys("ada")},
            pending=[pending(act_id(door.ledger, "gov.enrol", enrolment("mole")), "closed", 1)],
            refusals=[("mole", 0, "reading", "not-a-member"), ("box", 0, "reading", None)],
        ),
        vector(
            "void-revives-no-key",
            "A rival that closes cyd early cannot undo the revocation that cyd approved.",
            revive,
            [governor("ada"), governor("ben"), governor("cyd"), member("box", "nurse", revoked=True)],
            known=["ada", "ben", "cyd", "eve", "box"],
            void={"epoch": 0, "rivals": sorted([kept, rival]), "double_approvers": keys("ada", "ben")},
            cuts=[[key("box"), -1, None]],
        ),
    ]


def cuts() -> list[Vector]:
    """What stands of a revoked feed, and who carries it on."""
    cut = World("ada")
    cut.decide("gov.enrol", enrolment("box"), "ada")
    blocks = [cut.note("box") for _ in range(4)]
    branch = cut.note("box", after=blocks[0])
    cut.decide("gov.revoke", revocation("box", 2, blocks[2].id), "ada")
    ada, dead = governor("ada"), member("box", "nurse", revoked=True)
    at_2 = [[key("box"), 2, blocks[2].id]]
    two = World("ada")
    two.decide("gov.enrol", enrolment("box"), "ada")
    trunk = [two.note("box") for _ in range(3)]
    side = two.note("box", after=trunk[0])
    two.decide("gov.revoke", revocation("box", 2, trunk[2].id), "ada")
    two.decide("gov.revoke", revocation("box", 1, side.id), "ada")
    acts = {act_id(two.ledger, "gov.revoke", revocation("box", at.seq, at.id)): at for at in (trunk[2], side)}
    mutual = trio()
    mutual.decide("gov.revoke", revocation("ben", -1, None), "ada", "cyd")
    mutual.decide("gov.revoke", revocation("ada", -1, None), "ben", "cyd")
    mutual.decide("gov.enrol", enrolment("box"), "ada", "ben")
    forked = trio()
    forked.note("cyd")
    act = forked.decide("gov.enrol", enrolment("box"), "ada")
    forked.write("cyd", ("gov.approve", [act, 0]), after=None)
    forever = World("ada")
    forever.decide("gov.enrol", enrolment("box"), "ada")
    forever.decide("gov.revoke", revocation("box", -1, None), "ada")
    renewed = forever.decide("gov.epoch", forever.successor("ada"), "ada")
    forever.decide("gov.enrol", enrolment("box", epoch=1), "ada")
    planned = World("ada")
    planned.decide("gov.enrol", enrolment("box"), "ada")
    heir = enrolment("new box", succeeds=key("box"))
    last = planned.write("box", ("gov.enrol", heir))
    planned.decide("gov.enrol", heir, "ada")
    planned.decide("gov.revoke", revocation("box", last.seq, last.id), "ada")
    unplanned = World("ada")
    unplanned.decide("gov.enrol", enrolment("box"), "ada")
    stop = unplanned.note("box")
    unplanned.decide("gov.revoke", revocation("box", stop.seq, stop.id), "ada")
    unplanned.decide("gov.enrol", heir, "ada")
    new = {"succeeds": key("box")}
    return [
        vector(
            "cut",
            "The cut's block and its ancestors stand; later blocks and other branches do not.",
            cut,
            [ada, dead],
            cuts=at_2,
            fallen=[*[("box", blocks[n], None if n < 3 else "revoked") for n in range(4)], ("box", branch, "revoked")],
        ),
        vector(
            "cut-unresolved",
            "While the cut's block is missing, nothing beyond its seq stands and nothing before is decided.",
            cut,
            [ada, dead],
            cuts=at_2,
            without=[blocks[2].id, blocks[3].id],
            fallen=[
                ("box", blocks[0], "cut-unresolved"),
                ("box", blocks[1], "cut-unresolved"),
                ("box", blocks[3], "revoked"),
            ],
        ),
        vector(
            "two-cuts",
            "Of cuts on two branches what both have in common stands.",
            two,
            [ada, dead],
            cuts=[[key("box"), acts[found].seq, acts[found].id] for found in sorted(acts)],
            fallen=[("box", trunk[0], None), ("box", trunk[1], "revoked"), ("box", side, "revoked")],
        ),
        vector(
            "mutual-revocation",
            "Two governors that revoke each other, each with the third, are both cut; their approvals go on counting.",
            mutual,
            [governor("ada", revoked=True), governor("ben", revoked=True), governor("cyd"), member("box", "nurse")],
            cuts=sorted([[key("ada"), -1, None], [key("ben"), -1, None]]),
        ),
        vector(
            "approval-on-a-branch",
            "An approval on a branch of a forked feed counts.",
            forked,
            [governor("ada"), governor("ben"), governor("cyd"), member("box", "nurse")],
        ),
        vector(
            "dead-for-ever",
            "A revoked key that is enrolled again stays dead.",
            forever,
            [ada, member("box", "nurse", since=1, revoked=True)],
            epochs=[renewed],
            cuts=[[key("box"), -1, None]],
        ),
        vector(
            "planned-succession",
            "The old feed's last block, which the cut names, proposes the new key.",
            planned,
            [ada, dead, member("new box", "nurse", planned=True, **new)],
            cuts=[[key("box"), last.seq, last.id]],
        ),
        vector(
            "unplanned-succession",
            "The old key did not sign for the new one: it is the governors' word.",
            unplanned,
            [ada, dead, member("new box", "nurse", **new)],
            cuts=[[key("box"), stop.seq, stop.id]],
        ),
    ]


def make() -> list[Vector]:
    """All of them."""
    return [*enrolments(), *epochs(), *cuts()]
