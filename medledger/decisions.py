"""What the governors have decided: enrolments and revocations that are effective, and what still waits for them.

An enrolment or revocation names an epoch e. It is effective when e is approved and t distinct governors of e approve
it, each by an approval that counts:

- Approvals stand at positions in the governors' feeds. A governor that left after e is closed: its approvals count
  only at or before its closing, which is to say in the closing block or an ancestor of it. A thief of its key can write
  more blocks, or another branch with early numbers and times, and neither is an ancestor of the closing block.
- No cut and no fork removes an approval. So two governors that revoke each other are both cut, neither revocation
  undoes the other, and what they approved before stands.
- Where governance is void after e, the rivals bind differently (docs/adr/0013). An enrolment gives rights: its epoch
  must be effective, and its approvals lie within the closings of every rival. A revocation takes rights away: it is
  enough to lie within those of one. An enrolment that does as much, under any approved epoch, is *admitted*: the key's
  feed is kept and relayed as evidence, without rights.

What is not effective is listed with who has approved it and whose approval would still count. An act of an epoch that
is not effective here is undecided, "epoch-unknown": the epoch may yet arrive.
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


class Verdict(NamedTuple):
    """An act that the governors of an approved epoch decided. An enrolment that is not effective is admitted only."""

    act: Act
    epoch: Epoch
    effective: bool


@dataclass(frozen=True, slots=True)
class PendingAct:
    """A proposal that is not effective. `epoch` is the one whose governors decide; `proposer`, one who proposed it."""

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
    awaited: Mapping[bytes, tuple[bytes, ...]]  # ids of acts that governors approved and nobody here has proposed


def decide(ballot: Ballot, lineage: Lineage, is_ancestor: IsAncestor) -> Decisions:
    """What the ballot decides under the lineage's epochs."""
    by_number: dict[int, list[Epoch]] = {}
    for epoch in lineage.approved:
        by_number.setdefault(epoch.number, []).append(epoch)
    decided: dict[str, list[Verdict]] = {GovEnrol.TYPE: [], GovRevoke.TYPE: []}
    pending: list[PendingAct] = _pending_epochs(ballot, lineage)
    for act in (*ballot.of_type(GovEnrol.TYPE), *ballot.of_type(GovRevoke.TYPE)):
        number = act.content["epoch"]
        in_force = lineage.chain[number] if number < len(lineage.chain) else None
        if in_force is None:
            pending.append(_pending(act, number, EPOCH_UNKNOWN))
        for epoch in by_number.get(number, ()):
            closings = lineage.closings[epoch.id]
            counted = _counted(epoch, act, ballot, closings, is_ancestor, any)
            revokes = act.type == GovRevoke.TYPE
            strict = (
                counted if revokes or not lineage.void else _counted(epoch, act, ballot, closings, is_ancestor, all)
            )
            effective = len(strict) >= epoch.threshold and (revokes or epoch is in_force)
            if len(counted) >= epoch.threshold:
                decided[act.type].append(Verdict(act, epoch, effective))
            if not effective and epoch is in_force:
                pending.append(_waiting(act, epoch, strict, closings))
    return Decisions(
        enrolments=tuple(decided[GovEnrol.TYPE]),
        revocations=tuple(decided[GovRevoke.TYPE]),
        pending=tuple(sorted(pending, key=lambda act: act.id)),
        awaited=_awaited(ballot, lineage.governors),
    )


def _counted(
    epoch: Epoch,
    act: Act,
    ballot: Ballot,
    closings: Closings,
    is_ancestor: IsAncestor,
    bind: Callable[[Iterable[bool]], bool],
) -> tuple[bytes, ...]:
    """The governors of `epoch` with an approval of `act` that lies within `bind` (any or all) of their closings."""

    def counts(governor: bytes, point: Point) -> bool:
        return bind(
            end is None or (point.seq <= end.seq and is_ancestor(governor, point, end)) for end in closings[governor]
        )

    approvals = ballot.approvals.get(act.id, {})
    return tuple(key for key in epoch.governors if any(counts(key, point) for point in approvals.get(key, ())))


def _waiting(act: Act, epoch: Epoch, approved: tuple[bytes, ...], closings: Closings) -> PendingAct:
    able = tuple(key for key in epoch.governors if key not in approved and closings[key] == (None,))
    missing = epoch.threshold - len(approved)
    return _pending(act, epoch.number, OPEN if len(able) >= missing else CLOSED, approved, able, missing)


def _pending_epochs(ballot: Ballot, lineage: Lineage) -> list[PendingAct]:
    """Proposed epochs that are not approved."""
    approved = {epoch.id: epoch for epoch in lineage.approved}
    refused = {ignored.place for ignored in lineage.ignored}
    waiting = [act for act in ballot.of_type(GovEpoch.TYPE) if act.id not in approved and act.place not in refused]
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
            key for other in waiting if other.content[1] == parent.id for key in ballot.approvals.get(other.id, ())
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


def _awaited(ballot: Ballot, electors: frozenset[bytes]) -> dict[bytes, tuple[bytes, ...]]:
    found = {act: tuple(sorted(electors & by.keys())) for act, by in sorted(ballot.approvals.items())}
    return {act: by for act, by in found.items() if by and act not in ballot.acts}
