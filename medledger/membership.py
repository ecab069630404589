"""Membership: who may write what, folded from the control blocks of governors. Pure, and the same for every order.

`fold` goes through strata; none looks at a later one, so nothing is circular and no order of arrival matters:

 (1) acts and approvals                       medledger.ballot
 (2) epochs, void, closings                   medledger.lineage
 (3) effective enrolments and revocations     medledger.decisions
 (4) members: enrolments of effective epochs, whose proof is a request signed by the enrolled key for its two keys. An
     enrolment of epoch e gives rights in blocks of epochs >= e; a block is judged by the newest enrolment that is not
     newer than its own epoch. Of several in one epoch the smallest act id counts (docs/adr/0011). Governors and
     notaries are members while they hold the office, enrolled or not, with the office as a role.
 (5) cuts: revocations of every approved epoch, rivals of a void included. All cuts on a feed apply. A block stands when
     it is the last block of every cut or its ancestor. A key with a cut is dead for ever: a later enrolment of it is
     effective, and changes nothing beyond the cut.
 (6) transport keys that governors handed out      medledger.rotations
 (7) succession: an enrolment that `succeeds` a feed is *planned* when the block that this feed's earliest cut names
     proposes this very enrolment: then the old key signed for the new one. Otherwise it is the governors' word alone.

What the fold reads, and nothing else (docs/adr/0014). Replicas that hold the same of it have equal memberships:

 (a) the control blocks of electors, on every branch and beyond every cut. Electors are the governors of approved
     epochs: epoch 0's to begin with, whose blocks tell which epochs follow, whose governors' blocks tell further.
     Control blocks of other feeds may be given too; they are not looked at
 (b) for `planned` only: the block that the earliest cut on a succeeded feed names, if it is among those given. Of a
     feed that is no elector's the caller gives what stands, and a cut moves nothing before its own block
 (c) `is_ancestor(feed, a, b)`: b is held, and a is b or an ancestor of b. It is asked of electors' feeds, where b is a
     closing

A point that is not held yet has no ancestors, so an approval is not counted, and a block does not stand, before the
block that decides it is here (docs/adr/0012). More blocks only turn the answer from False to True.

What more blocks can do, for one ledger:

- approved epochs, electors, known feeds, proposals, approvals: only grow
- the chain of effective epochs: gets longer, or ends earlier with a void, which is final
- while the set of approved epochs stays the same: effective enrolments and cuts only grow
- an effective enrolment or revocation is lost only through a newly approved epoch: by a closing that its approvals lie
  beyond, or, an enrolment, by a void at an epoch before its own. The feed stays known, its entries become void
- a rival epoch that makes governance void makes no enrolment effective and loses no revocation: fail closed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

from medledger.ballot import Act, Ballot, ControlBlock, Ignored
from medledger.cose import ALG_ED25519
from medledger.decisions import EPOCH_UNKNOWN, IsAncestor, PendingAct, Verdict, decide
from medledger.errors import MedledgerError, SchemaError
from medledger.governance import (
    CONTROL_PREFIX,
    GOVERNOR,
    NOTARY,
    Epoch,
    Genesis,
    Point,
    act_id,
    make_genesis,
    read_genesis,
)
from medledger.joining import read_request
from medledger.lineage import GovernanceVoid, Lineage, trace
from medledger.rotations import Rotations, rotations

__all__ = [
    "CUT_UNRESOLVED",
    "EPOCH_UNKNOWN",
    "NOT_ALLOWED",
    "NOT_A_MEMBER",
    "REVOKED",
    "ControlBlock",
    "Cut",
    "Epoch",
    "Genesis",
    "GovernanceVoid",
    "Ignored",
    "IsAncestor",
    "Member",
    "Membership",
    "PendingAct",
    "Point",
    "act_id",
    "check_proof",
    "fold",
    "make_genesis",
    "read_genesis",
]

# Why an entry is void, beside EPOCH_UNKNOWN.
NOT_A_MEMBER: Final = "not-a-member"  # nobody enrolled its author in its epoch or before
NOT_ALLOWED: Final = "not-allowed"  # none of its author's roles may write its type in its epoch
# Why a block does not stand.
REVOKED: Final = "revoked"  # beyond a cut, or on another branch than the cut
CUT_UNRESOLVED: Final = "cut-unresolved"  # the cut's last block is not here yet


@dataclass(frozen=True, slots=True)
class Member:
    """A key that may write, by its enrolment or by an office. What an office alone gives has no `act_id`."""

    feed: bytes
    roles: tuple[str, ...]
    organisation: str
    label: str
    kem: tuple[int, bytes] | None  # (algorithm, key) that secrets are sealed to
    epoch: int  # from which epoch on
    act_id: bytes | None
    succeeds: bytes | None = None
    planned: bool = False  # the old feed's last block signed for this succession
    succeeded_by: bytes | None = None
    governor: bool = False  # in the current epoch
    notary: bool = False
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """An effective revocation: `last` is the feed's last block that stands, as far as this cut is concerned."""

    feed: bytes
    last: Point
    epoch: int
    act_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Membership:
    """The answer of `fold`: compare two by ==."""

    genesis: Genesis
    epochs: tuple[Epoch, ...]  # effective, from epoch 0
    void: GovernanceVoid | None
    members: Mapping[bytes, Member]  # in the newest form of each
    enrolments: Mapping[bytes, tuple[Member, ...]]  # one for each epoch that enrolled the key, oldest first
    cuts: Mapping[bytes, tuple[Cut, ...]]
    known: frozenset[bytes]  # keys whose feeds are to be kept and relayed
    electors: frozenset[bytes]  # governors of approved epochs: their feeds are needed beyond cuts, and on every branch
    pending: tuple[PendingAct, ...]
    awaited: Mapping[bytes, tuple[bytes, ...]]  # act ids that electors approved and no governor here has proposed
    ignored: tuple[Ignored, ...]
    transport: Rotations = field(default_factory=Rotations)

    @property
    def epoch(self) -> Epoch:
        """The newest effective epoch."""
        return self.epochs[-1]

    @property
    def governors(self) -> tuple[bytes, ...]:
        """Who governs now."""
        return self.epoch.governors

    @property
    def threshold(self) -> int:
        """How many of them it takes."""
        return self.epoch.threshold

    def knows(self, feed: bytes) -> bool:
        """Whether blocks of this feed are to be kept: a key that an approved epoch enrolled or gave an office.

        That can be more than `members`: what lost its rights by a closing or a void stays as evidence.
        """
        return feed in self.known

    def roles(self, feed: bytes, epoch: int) -> frozenset[str] | None:
        """The roles of a feed in blocks of an effective epoch; None when it is no member then."""
        offices = self.epochs[epoch].offices(feed)
        for enrolment in reversed(self.enrolments.get(feed, ())):
            if enrolment.epoch <= epoch:
                return frozenset((*enrolment.roles, *offices))
        return frozenset(offices) or None

    def refusal(self, feed: bytes, epoch: int, entry_type: str) -> str | None:
        """Why an entry of this type in a block of this author and epoch is void; None when it is allowed."""
        if entry_type.startswith(CONTROL_PREFIX):
            return None  # a proposal or approval harms nobody: what counts is counted by the fold
        if not 0 <= epoch < len(self.epochs):
            return EPOCH_UNKNOWN
        roles = self.roles(feed, epoch)
        if roles is None:
            return NOT_A_MEMBER
        return None if self.epochs[epoch].allows(roles, entry_type) else NOT_ALLOWED

    def last_seq(self, feed: bytes) -> int | None:
        """The seq after which nothing of this feed can ever stand; -1 when nothing can, None when it is not cut."""
        return min((cut.last.seq for cut in self.cuts.get(feed, ())), default=None)

    def fallen(self, feed: bytes, block: Point, is_ancestor: IsAncestor) -> str | None:
        """Why a block does not stand: `REVOKED`, or `CUT_UNRESOLVED` until the earliest cut's block is here; None if it
        does. A later cut whose block is not here does not hold it up: what lies beyond an earlier cut is not passed on.
        """
        earliest, unresolved = self.last_seq(feed), False
        for cut in self.cuts.get(feed, ()):
            if block.seq > cut.last.seq:
                return REVOKED
            if not is_ancestor(feed, block, cut.last):
                if is_ancestor(feed, cut.last, cut.last):
                    return REVOKED
                unresolved |= cut.last.seq == earliest
        return CUT_UNRESOLVED if unresolved else None


def fold(genesis: Genesis, control: Iterable[ControlBlock], is_ancestor: IsAncestor) -> Membership:
    """The membership that these control blocks make, in whatever order and however often each is given."""
    ballot = Ballot(genesis.ledger_id, control)
    lineage = trace(genesis.epoch, ballot)
    decisions = decide(ballot, lineage, is_ancestor)
    proven = [verdict for verdict in decisions.enrolments if _flaw(verdict.act) is None]
    cuts = _cuts(decisions.revocations)
    enrolments = _enrolments([verdict for verdict in proven if verdict.effective], ballot, cuts)
    admitted = {verdict.act.content["sig"][1] for verdict in proven}
    offices = {key for epoch in lineage.approved for key in (*epoch.governors, *epoch.notaries)}
    membership = Membership(
        genesis=genesis,
        epochs=lineage.chain,
        void=lineage.void,
        members=_members(enrolments, lineage.chain, cuts),
        enrolments=enrolments,
        cuts=cuts,
        known=frozenset(admitted | offices),
        electors=lineage.governors,
        pending=decisions.pending,
        awaited=decisions.awaited,
        ignored=_ignored(ballot, lineage, decisions.enrolments),
    )

    def stands(feed: bytes, point: Point) -> bool:
        return membership.fallen(feed, point, is_ancestor) is None

    return replace(membership, transport=rotations(ballot, lineage, cuts.keys(), stands, is_ancestor))


def check_proof(content: Mapping[str, Any]) -> None:
    """Raise unless a well-formed enrolment brings a request that is signed by the key it enrols, for its two keys."""
    feed, kem = _proven_keys(content["proof"])
    if (tuple(content["sig"]), tuple(content["kem"])) != ((ALG_ED25519, feed), kem):
        raise SchemaError("the proof in the enrolment is for other keys than the enrolment")


@lru_cache(maxsize=1024)  # a pure fact about the bytes that costs a signature check: to be approved, then to be folded
def _proven_keys(proof: bytes) -> tuple[bytes, tuple[int, bytes]]:
    request = read_request(proof)
    return request.feed, request.kem


_flaws: Final[WeakKeyDictionary[Act, str | None]] = WeakKeyDictionary()  # asked again at every fold


def _flaw(act: Act) -> str | None:
    """What is wrong with the proof in an enrolment; None when it holds. Asked last: it costs a signature check."""
    if act not in _flaws:
        try:
            check_proof(act.content)
        except MedledgerError as error:
            _flaws[act] = str(error)
        else:
            _flaws[act] = None
    return _flaws[act]


def _ignored(ballot: Ballot, lineage: Lineage, enrolments: Iterable[Verdict]) -> tuple[Ignored, ...]:
    """What electors wrote to no effect, and decided enrolments whose proof does not hold."""
    malformed = {entry for elector in lineage.governors for entry in ballot.sheet(elector).ignored}
    unproven = {Ignored(act.place, act.type, flaw) for act, *_ in enrolments if (flaw := _flaw(act)) is not None}
    return tuple(sorted({*malformed, *lineage.ignored, *unproven}))


# --- (4) members, (5) cuts, (7) succession --------------------------------------------------------------------------


def _cuts(verdicts: Iterable[Verdict]) -> dict[bytes, tuple[Cut, ...]]:
    cuts = {}
    for act, epoch, _ in verdicts:
        content = act.content
        last = Point(content["seq"], content["id"])
        cuts[act.id] = Cut(content["feed"], last, epoch.number, act.id, content["reason"])
    by_feed: dict[bytes, list[Cut]] = {}
    for _, cut in sorted(cuts.items()):
        by_feed.setdefault(cut.feed, []).append(cut)
    return {feed: tuple(found) for feed, found in by_feed.items()}


def _enrolments(
    verdicts: Iterable[Verdict], ballot: Ballot, cuts: Mapping[bytes, tuple[Cut, ...]]
) -> dict[bytes, tuple[Member, ...]]:
    """The enrolments of each key, oldest first; of several in one epoch the one with the smallest act id."""
    found: dict[bytes, dict[int, Member]] = {}
    for act, epoch, _ in sorted(verdicts, key=lambda verdict: (verdict.epoch.number, verdict.act.id)):
        content = act.content
        feed, old = content["sig"][1], content["succeeds"]
        member = Member(
            feed=feed,
            roles=tuple(content["roles"]),
            organisation=content["org"],
            label=content["label"],
            kem=(content["kem"][0], content["kem"][1]),
            epoch=epoch.number,
            act_id=act.id,
            succeeds=old,
            planned=old is not None and _planned(act, old, ballot, cuts.get(old, ())),
            revoked=feed in cuts,
        )
        found.setdefault(feed, {}).setdefault(epoch.number, member)
    return {feed: tuple(by_epoch.values()) for feed, by_epoch in found.items()}


def _planned(act: Act, old: bytes, ballot: Ballot, cuts: Iterable[Cut]) -> bool:
    """Whether the block of the feed `old` that its earliest cut names proposes this enrolment."""
    lasts = {cut.last for cut in cuts}
    earliest = [last for last in lasts if last.seq == min(lasts).seq]
    if len(earliest) != 1 or earliest[0].id is None:  # not cut, or nothing stands as far as its cuts reach
        return False
    statement = ballot.statement(old, earliest[0].id)
    return statement is not None and any(proposed.id == act.id for proposed in statement.acts)


def _members(
    enrolments: Mapping[bytes, tuple[Member, ...]], chain: tuple[Epoch, ...], cuts: Mapping[bytes, tuple[Cut, ...]]
) -> dict[bytes, Member]:
    """Everybody in the newest form: the newest enrolment, or the newest office of a key that is not enrolled."""
    members = {feed: found[-1] for feed, found in enrolments.items()}
    for epoch in reversed(chain):
        for feed in (*epoch.governors, *epoch.notaries):
            if feed not in members:
                since = next(first.number for first in chain if first.offices(feed))
                members[feed] = Member(feed, epoch.offices(feed), "", "", None, since, None, revoked=feed in cuts)
    heirs: dict[bytes | None, bytes] = {}
    for heir in sorted(members.values(), key=lambda heir: (-heir.epoch, heir.act_id or b"")):
        heirs.setdefault(heir.succeeds, heir.feed)
    return {feed: _today(member, heirs.get(feed), chain[-1]) for feed, member in sorted(members.items())}


def _today(member: Member, heir: bytes | None, epoch: Epoch) -> Member:
    """The member with its heir and with the offices that it holds in the newest epoch."""
    offices = epoch.offices(member.feed)
    if heir is None and not offices:
        return member
    return replace(member, succeeded_by=heir, governor=GOVERNOR in offices, notary=NOTARY in offices)
