"""What the governors have decided: enrolments and revocations that are effective, and what still waits for them.

An enrolment or revocation names an epoch e. It is effective when e is approved, a governor of e proposes it, anywhere
in its feed (docs/adr/0014), and t distinct governors of e approve it, each by an approval that counts:

- Approvals stand at positions in the governors' feeds. A governor that left after e is closed: its approvals count
  only at or before its closing, which is to say in the closing block or an ancestor of it. A thief of its key can write
  more blocks, or another branch with early numbers and times, and neither is an ancestor of the closing block.
- No cut and no fork removes an approval. So two governors that revoke each other are both cut, neither revocation
  undoes the other, and what they approved before stands.
- Where governance is void after e, the rivals bind differently (docs/adr/0013). An enrolment gives rights: its epoch
  must be effective, and its approvals lie within the closings of every rival. A revocation takes rights away: it is
  enough to lie within those of one.

An enrolment that t governors of any approved epoch approve anywhere, closings or not, is *admitted*: the key's feed is
kept and relayed, effective or not, and no later block can change that. What it says without rights is void.

What is not effective is listed with who has approved it and whose approval would still count. An act of an epoch that
is not effective here is undecided, "epoch-unknown": the epoch may yet arrive. Such an act is listed when any elector
proposes it: whether one of its governors did is not known yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from medledger.acts import GovEnrol, GovEpoch, GovRevoke
from medledger.ballot import Act, Ballot
from medledger.governance import Epoch, Point
from medledger.lineage import Closings, Lineage, supporters

IsAncestor: TypeAlias = Callable[[bytes, Point, Point], bool]

# States of a pending act.
OPEN: Final = "open"  # `missing` more approvals make it effective, and those of `may_approve` would count
CLOSED: Final = "closed"  # too many of the governors that could approve it have left
RIVAL: Final = "rival"  # its epoch has an approved successor: approving this one too would make governance void
EPOCH_UNKNOWN: Final = "epoch-unknown"  # the epoch whose governors decide is not effective here

_OPEN: Final = (None,)  # the closings of a governor that no approved epoch has closed


class Verdict(NamedTuple):
    """An act that the governors of an approved epoch decided. An enrolment that is not effective is admitted only."""

    act: Act
    epoch: Epoch
    effective: bool


@dataclass(frozen=True, slots=True)
class PendingAct:
    """A governor's proposal that is not effective. `epoch` is the one that decides; `proposer`, one who proposed it."""

    id: bytes
    type: str
    content: object
    proposer: bytes
    epoch: int
    state: str
    approved: tuple[bytes, ...] = ()
    may_approve: tuple[bytes, ...] = ()
    missing: int | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided under any approved epoch, and what was not decided under the effective ones."""

    enrolments: tuple[Verdict, ...]
    revocations: tuple[Verdict, ...]
    pending: tuple[PendingAct, ...]
    awaited: Mapping[bytes, tuple[bytes, ...]]  # ids of acts that electors approved and none who may proposed here


def decide(ballot: Ballot, lineage: Lineage, is_ancestor: IsAncestor) -> Decisions:
    """What the ballot decides under the lineage's epochs. It asks for electors' feeds only."""
    by_number: dict[int, list[Epoch]] = {}
    for epoch in lineage.approved:
        by_number.setdefault(epoch.number, []).append(epoch)
    acts = _acts(ballot, lineage)
    decided: dict[str, list[Verdict]] = {GovEnrol.TYPE: [], GovRevoke.TYPE: []}
    pending = _pending_epochs([act for act in acts if act.type == GovEpoch.TYPE], ballot, lineage)
    heard = {act.id for act in pending} | {epoch.id for epoch in lineage.approved} | lineage.refused
    for found in acts:
        if found.type == GovEpoch.TYPE:
            continue
        number = found.content["epoch"]
        in_force = lineage.chain[number] if number < len(lineage.chain) else None
        if in_force is None:
            pending.append(_pending(found, number, EPOCH_UNKNOWN))
            heard.add(found.id)
        for epoch in by_number.get(number, ()):
            act = ballot.proposal(found.id, epoch.governors)
            if act is None:
                continue
            heard.add(act.id)
            counted = _counted(epoch, act, ballot, lineage, is_ancestor)
            revokes = act.type == GovRevoke.TYPE
            effective = len(counted) >= epoch.threshold and (revokes or epoch is in_force)
            if effective or (not revokes and len(supporters(epoch, act.id, ballot)) >= epoch.threshold):
                decided[act.type].append(Verdict(act, epoch, effective))
            if not effective and epoch is in_force:
                pending.append(_waiting(act, epoch, counted, lineage.closings[epoch.id]))
    return Decisions(
        enrolments=tuple(decided[GovEnrol.TYPE]),
        revocations=tuple(decided[GovRevoke.TYPE]),
        pending=tuple(sorted(pending, key=lambda act: act.id)),
        awaited=_awaited(ballot, lineage, heard),
    )


def _acts(ballot: Ballot, lineage: Lineage) -> list[Act]:
    """Everything that electors propose, in order of the ids, each as the first of them does."""
    found: dict[bytes, Act] = {}
    for elector in sorted(lineage.governors, reverse=True):
        found.update(ballot.sheet(elector).acts)
    return [act for _, act in sorted(found.items())]


def _counted(epoch: Epoch, act: Act, ballot: Ballot, lineage: Lineage, is_ancestor: IsAncestor) -> tuple[bytes, ...]:
    """The governors of `epoch` with an approval of `act` within their closings: all, or for a revocation one."""
    closings = lineage.closings[epoch.id]
    bind: Callable[[Iterable[bool]], bool] = any if act.type == GovRevoke.TYPE else all

    def counts(governor: bytes, point: Point) -> bool:
        return bind(
            end is None or (point.seq <= end.seq and is_ancestor(governor, point, end)) for end in closings[governor]
        )

    return tuple(
        key
        for key in supporters(epoch, act.id, ballot)
        if closings[key] == _OPEN or any(counts(key, point) for point in ballot.sheet(key).approvals[act.id])
    )


def _waiting(act: Act, epoch: Epoch, approved: tuple[bytes, ...], closings: Closings) -> PendingAct:
    able = tuple(key for key in epoch.governors if key not in approved and closings[key] == _OPEN)
    missing = epoch.threshold - len(approved)
    return _pending(act, epoch.number, OPEN if len(able) >= missing else CLOSED, approved, able, missing)


def _pending_epochs(acts: Iterable[Act], ballot: Ballot, lineage: Lineage) -> list[PendingAct]:
    """Proposed epochs that are not approved."""
    approved = {epoch.id: epoch for epoch in lineage.approved}
    waiting = []
    for act in acts:
        if act.id not in approved and act.id not in lineage.refused:
            parent = approved.get(act.content[1])
            entitled = act if parent is None else ballot.proposal(act.id, parent.governors)
            waiting += [] if entitled is None else [entitled]
    pending = []
    for act in waiting:
        parent = approved.get(act.content[1])
        if parent is None:
            pending.append(_pending(act, act.content[0] - 1, EPOCH_UNKNOWN))
            continue
        approving = tuple(supporters(parent, act.id, ballot))
        missing = parent.threshold - len(approving)
        if parent is not lineage.chain[-1] or lineage.void:
            pending.append(_pending(act, parent.number, RIVAL, approving, (), missing))
            continue
        # Who supports another successor already would be a double approver: it is not asked again.
        taken = {
            key for other in waiting if other.content[1] == parent.id for key in supporters(parent, other.id, ballot)
        }
        able = tuple(key for key in parent.governors if key not in taken)
        pending.append(_pending(act, parent.number, OPEN, approving, able, missing))
    return pending


def _pending(
    act: Act,
    epoch: int,
    state: str,
    approved: tuple[bytes, ...] = (),
    may_approve: tuple[bytes, ...] = (),
    missing: int | None = None,
) -> PendingAct:
    return PendingAct(act.id, act.type, act.content, act.place.feed, epoch, state, approved, may_approve, missing)


def _awaited(ballot: Ballot, lineage: Lineage, heard: set[bytes]) -> dict[bytes, tuple[bytes, ...]]:
    found: dict[bytes, tuple[bytes, ...]] = {}
    for elector in sorted(lineage.governors):
        for act in ballot.sheet(elector).approvals.keys() - heard:
            found[act] = (*found.get(act, ()), elector)
    return dict(sorted(found.items()))
