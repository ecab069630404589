"""What the control blocks of all feeds propose and approve: the raw material of governance.

- An *act* is a governance entry `gov.epoch`, `gov.enrol` or `gov.revoke`. Its id covers its content and the ledger, not
  who wrote it or where: anybody may propose, and two proposals of one content are one act.
- An *approval* is an entry `gov.approve [act id, 0]`. It counts for its author, with the position of the block that it
  stands in. A governor who approves twice has approved once, at two positions. Proposing is not approving. A round
  other than 0 is reserved and counts for nothing yet.
- An approval may come before the act it names: it waits in `approvals` and nothing else happens.
- A malformed entry is no act and no approval. It is listed in `ignored` and never an error: one author's nonsense
  must not stop everybody's governance.

The result is a set in disguise: the order of the blocks and their repetition change nothing. A block is told by its
author and id, so two branches of a forked feed are both read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from medledger.acts import GovApprove, GovEnrol, GovEpoch, GovRevoke
from medledger.errors import MedledgerError, SchemaError
from medledger.governance import CONTROL_PREFIX, Point, act_id

ACT_SCHEMAS: Final = {cls.TYPE: cls.SCHEMA for cls in (GovEpoch, GovEnrol, GovRevoke)}


@dataclass(frozen=True, slots=True)
class ControlBlock:
    """What governance needs of an authenticated block of class 0: its position and its decoded entries.

    `epoch` is what its author knew. It decides nothing here: acts name their epochs themselves.
    """

    feed: bytes
    seq: int
    id: bytes
    epoch: int
    entries: tuple[tuple[int, str, Any], ...]


class Place(NamedTuple):
    """Where an entry stands."""

    feed: bytes
    seq: int
    id: bytes
    entry: int


@dataclass(frozen=True, slots=True)
class Act:
    """A well-formed proposal. `place` is where it stands; the lowest place, where it stands at several."""

    id: bytes
    type: str
    content: Any
    place: Place


class Ignored(NamedTuple):
    """A governance entry that is not an act or approval, and why."""

    place: Place
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ballot:
    """Acts by id; approvals by act id, then by author; positions at which a feed proposed what is to succeed it."""

    acts: Mapping[bytes, Act]
    approvals: Mapping[bytes, Mapping[bytes, frozenset[Point]]]
    successions: Mapping[bytes, frozenset[Point]]
    ignored: tuple[Ignored, ...]

    def of_type(self, act_type: str) -> list[Act]:
        """The acts of one type, in order of their ids."""
        return [act for _, act in sorted(self.acts.items()) if act.type == act_type]


def collect(ledger_id: bytes, control: Iterable[ControlBlock]) -> Ballot:
    """Everything that `control` proposes and approves, whatever its order."""
    blocks = {(block.feed, block.id): block for block in control}
    acts: dict[bytes, Act] = {}
    approvals: dict[bytes, dict[bytes, set[Point]]] = {}
    successions: dict[bytes, set[Point]] = {}
    ignored: list[Ignored] = []
    for block in sorted(blocks.values(), key=lambda block: (block.feed, block.seq, block.id)):
        point = Point(block.seq, block.id)
        for index, entry_type, content in block.entries:
            if not entry_type.startswith(CONTROL_PREFIX):
                continue
            place = Place(block.feed, block.seq, block.id, index)
            try:
                if entry_type == GovApprove.TYPE:
                    approvals.setdefault(_approved(content), {}).setdefault(block.feed, set()).add(point)
                    continue
                act = _act(ledger_id, entry_type, content, place)
            except MedledgerError as error:
                ignored.append(Ignored(place, entry_type, str(error)))
                continue
            acts.setdefault(act.id, act)
            if act.type == GovEnrol.TYPE and content["succeeds"] == block.feed:
                successions.setdefault(act.id, set()).add(point)
    return Ballot(
        acts,
        {act: {author: frozenset(points) for author, points in by.items()} for act, by in approvals.items()},
        {act: frozenset(points) for act, points in successions.items()},
        tuple(sorted(ignored)),
    )


def check_act(act_type: str, content: Any) -> None:
    """Raise `SchemaError` unless `content` is well formed for an act of this type."""
    schema = ACT_SCHEMAS.get(act_type)
    if schema is None:
        raise SchemaError(f"{act_type!r:.80} is not a governance act that this version knows")
    schema.check(content)
    if act_type == GovEnrol.TYPE and content["succeeds"] == content["sig"][1]:
        raise SchemaError("a key cannot succeed itself")


def _act(ledger_id: bytes, act_type: str, content: Any, place: Place) -> Act:
    check_act(act_type, content)
    return Act(act_id(ledger_id, act_type, content), act_type, content, place)


def _approved(content: Any) -> bytes:
    """The act that the content of a `gov.approve` names."""
    GovApprove.SCHEMA.check(content)
    act, voting_round = content
    if voting_round != 0:
        raise SchemaError(f"approvals in round {voting_round} are reserved")
    return bytes(act)
