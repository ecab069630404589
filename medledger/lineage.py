"""Which epochs are approved, which are effective, and where a governor's approvals end.

Approved epochs form a tree with epoch 0 as its root: an epoch is in it when its predecessor is and t of the
predecessor's governors approve it, one of whom proposes it (docs/adr/0014). For this proposals and approvals count
anywhere in the governors' feeds, on any branch, before or after any cut, fork or closing. So the tree depends on no
other rule, no other feed is asked, and more blocks can only make it grow.

The *chain* of effective epochs runs from epoch 0 as long as exactly one successor is approved. Where two are, at epoch
k, governance is void at k: both are named, with the governors that approved both (since 2t > n there are some), neither
is chosen, and no epoch after k is effective. More blocks can lengthen the chain or make it void, nothing else.

A governor that leaves is *closed*: its approvals of acts of the epochs it governed end at the closing position that
the epoch without it names. Acts of epoch e are bound by the first closing of a governor after e, since it may come
back later. When governance is void there is one such closing, or none, on each way down the tree; `medledger.decisions`
says how they bind together, and docs/adr/0013 why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from medledger.ballot import Act, Ballot, Ignored
from medledger.errors import MedledgerError
from medledger.governance import Epoch, Point, read_epoch

Closings: TypeAlias = Mapping[bytes, tuple[Point | None, ...]]
"""For each governor of one epoch: where it is first closed on each way down the tree, None where it is not."""


@dataclass(frozen=True, slots=True)
class GovernanceVoid:
    """Two or more successors of epoch `epoch` are approved. `double_approvers` approved at least two of them."""

    epoch: int
    rivals: tuple[bytes, ...]
    double_approvers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """The tree of approved epochs, parents before children; the effective chain; what closes whom."""

    approved: tuple[Epoch, ...]
    chain: tuple[Epoch, ...]
    void: GovernanceVoid | None
    closings: Mapping[bytes, Closings]  # by epoch id
    refused: frozenset[bytes]  # ids of acts that governors propose as successors of approved epochs and that are none
    ignored: tuple[Ignored, ...]

    @property
    def governors(self) -> frozenset[bytes]:
        """Every key that governs in an approved epoch: its approvals may matter whatever happens to its feed."""
        return frozenset(key for epoch in self.approved for key in epoch.governors)


def trace(first: Epoch, ballot: Ballot) -> Lineage:
    """The lineage that the ballot makes of epoch 0. It asks for the feeds of governors of approved epochs only."""
    approved = [first]
    children: dict[bytes, list[Epoch]] = {}
    refused: list[bytes] = []
    ignored: list[Ignored] = []
    for parent in approved:  # grows while it is walked
        children[parent.id] = []
        for act in _proposals(parent, ballot):
            try:
                child = read_epoch(act.content, id=act.id, parent=parent)
            except MedledgerError as error:
                refused.append(act.id)
                ignored.append(Ignored(act.place, act.type, str(error)))
                continue
            if len(supporters(parent, act.id, ballot)) >= parent.threshold:
                children[parent.id].append(child)
        approved.extend(children[parent.id])
    chain = _chain(first, children)
    return Lineage(
        tuple(approved),
        chain,
        _void(chain[-1], children[chain[-1].id], ballot),
        _closings(approved, children),
        frozenset(refused),
        tuple(ignored),
    )


def supporters(parent: Epoch, act_id: bytes, ballot: Ballot) -> list[bytes]:
    """The governors of `parent` that approve this act, anywhere."""
    return [key for key in parent.governors if act_id in ballot.sheet(key).approvals]


def _proposals(parent: Epoch, ballot: Ballot) -> list[Act]:
    """What governors of `parent` propose as its successor, in order of the ids, each as the first of them does."""
    found: dict[bytes, Act] = {}
    for governor in parent.governors:
        for act in ballot.sheet(governor).successors.get(parent.id, ()):
            found.setdefault(act.id, act)
    return [act for _, act in sorted(found.items())]


def _chain(first: Epoch, children: Mapping[bytes, list[Epoch]]) -> tuple[Epoch, ...]:
    chain = [first]
    while len(children[chain[-1].id]) == 1:
        chain.extend(children[chain[-1].id])
    return tuple(chain)


def _void(last: Epoch, rivals: list[Epoch], ballot: Ballot) -> GovernanceVoid | None:
    if not rivals:
        return None
    approvers = [supporters(last, rival.id, ballot) for rival in rivals]
    double = [key for key in last.governors if sum(key in by for by in approvers) > 1]
    return GovernanceVoid(last.number, tuple(sorted(rival.id for rival in rivals)), tuple(double))


def _closings(approved: Iterable[Epoch], children: Mapping[bytes, list[Epoch]]) -> dict[bytes, Closings]:
    found: dict[bytes, Closings] = {}
    for epoch in reversed(list(approved)):  # children come after their parents, so theirs are found already
        ends: dict[bytes, dict[Point | None, None]] = {}
        for governor in epoch.governors:
            ends[governor] = {} if children[epoch.id] else {None: None}
            for child in children[epoch.id]:
                stays = governor in child.governors
                ends[governor].update(dict.fromkeys(found[child.id][governor] if stays else (child.closing[governor],)))
        found[epoch.id] = {governor: tuple(points) for governor, points in ends.items()}
    return found
