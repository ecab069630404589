"""What feeds propose, approve and hand over: the raw material of governance.

- An *act* is a governance entry `gov.epoch`, `gov.enrol` or `gov.revoke`. Its id covers its content and the ledger, not
  who wrote it or where: two proposals of one content are one act. Whose proposals count is `lineage`'s and
  `decisions`' question; a feed is read only when they ask for it, so the feeds of others cannot change an answer.
- An *approval* is an entry `gov.approve [act id, 0]`. It counts for its author, with the position of the block that it
  stands in. A governor who approves twice has approved once, at two positions. Proposing is not approving. A round
  other than 0 is reserved and counts for nothing yet.
- An approval may come before the act it names: it waits in its feed's sheet and nothing else happens.
- A *handing over* is an entry `gov.transport`, by which its author alone gives a transport key to members.
- A malformed entry is no act and no approval. It is listed in `ignored` and never an error: one author's nonsense
  must not stop everybody's governance.

The result is a set in disguise: the order of the blocks and their repetition change nothing. A block is told by its
author and id, so two branches of a forked feed are both read. What a block says is worked out once and kept with it: a
fold is made again for every control block that arrives, and would spend its time on schemas and act ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from medledger.acts import GovApprove, GovEnrol, GovEpoch, GovRevoke, GovTransport
from medledger.errors import MedledgerError, SchemaError
from medledger.governance import CONTROL_PREFIX, Point, act_id

ACT_SCHEMAS: Final = {cls.TYPE: cls.SCHEMA for cls in (GovEpoch, GovEnrol, GovRevoke)}


class Place(NamedTuple):
    """Where an entry stands."""

    feed: bytes
    seq: int
    id: bytes
    entry: int


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Act:
    """A well-formed proposal. `place` is where it stands; the lowest place, where it stands at several."""

    id: bytes
    type: str
    content: Any
    place: Place


@dataclass(frozen=True, slots=True)
class Handing:
    """A well-formed `gov.transport`: copies of a key of this name, each sealed to the member it stands under."""

    place: Place
    epoch: int
    generation: int
    key: bytes
    boxes: Mapping[bytes, bytes]


class Ignored(NamedTuple):
    """A governance entry that is not an act or approval, and why."""

    place: Place
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What one control block proposes, approves and hands over."""

    acts: tuple[Act, ...]
    approved: tuple[bytes, ...]
    handings: tuple[Handing, ...]
    ignored: tuple[Ignored, ...]


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
    _read: tuple[bytes, Statement] | None = field(default=None, init=False, repr=False, compare=False)

    def statement(self, ledger_id: bytes) -> Statement:
        """What this block says in that ledger. Worked out once: the entries must not change."""
        if self._read is None or self._read[0] != ledger_id:
            object.__setattr__(self, "_read", (ledger_id, _statement(ledger_id, self)))
        assert self._read is not None
        return self._read[1]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a feed says, on all its branches: acts by id, epochs by the id of the one before, approvals by act id."""

    acts: Mapping[bytes, Act]
    successors: Mapping[bytes, Sequence[Act]]
    approvals: Mapping[bytes, Sequence[Point]]
    handings: tuple[Handing, ...]
    ignored: tuple[Ignored, ...]


class Ballot:
    """Control blocks by feed, in whatever order and however often they are given. A feed is read when asked for."""

    def __init__(self, ledger_id: bytes, control: Iterable[ControlBlock]) -> None:
        self._ledger_id = ledger_id
        self._blocks: dict[bytes, dict[bytes, ControlBlock]] = {}
        for block in control:
            self._blocks.setdefault(block.feed, {})[block.id] = block
        self._sheets: dict[bytes, Sheet] = {}

    def sheet(self, feed: bytes) -> Sheet:
        """What a feed says; an empty sheet for a feed without control blocks."""
        found = self._sheets.get(feed)
        if found is None:
            found = self._sheets[feed] = _sheet(self._ledger_id, self._blocks.get(feed, {}).values())
        return found

    def statement(self, feed: bytes, block_id: bytes) -> Statement | None:
        """What one block says; None when it is not here, or no control block."""
        block = self._blocks.get(feed, {}).get(block_id)
        return None if block is None else block.statement(self._ledger_id)

    def proposal(self, act: bytes, governors: Iterable[bytes]) -> Act | None:
        """The act as the first of these feeds proposes it; None when none does."""
        for governor in governors:
            found = self.sheet(governor).acts.get(act)
            if found is not None:
                return found
        return None


def check_act(act_type: str, content: Any) -> None:
    """Raise `SchemaError` unless `content` is well formed for an act of this type."""
    schema = ACT_SCHEMAS.get(act_type)
    if schema is None:
        raise SchemaError(f"{act_type!r:.80} is not a governance act that this version knows")
    schema.check(content)
    if act_type == GovEnrol.TYPE and content["succeeds"] == content["sig"][1]:
        raise SchemaError("a key cannot succeed itself")


def _sheet(ledger_id: bytes, blocks: Iterable[ControlBlock]) -> Sheet:
    acts: dict[bytes, Act] = {}
    successors: dict[bytes, list[Act]] = {}
    approvals: dict[bytes, list[Point]] = {}
    handings: list[Handing] = []
    ignored: list[Ignored] = []
    for block in sorted(blocks, key=lambda block: (block.seq, block.id)):
        statement = block.statement(ledger_id)
        for act in statement.acts:
            acts.setdefault(act.id, act)
        for approved in statement.approved:
            approvals.setdefault(approved, []).append(Point(block.seq, block.id))
        handings += statement.handings
        ignored += statement.ignored
    for act in acts.values():
        if act.type == GovEpoch.TYPE:
            successors.setdefault(act.content[1], []).append(act)
    return Sheet(acts, successors, approvals, tuple(handings), tuple(ignored))


def _statement(ledger_id: bytes, block: ControlBlock) -> Statement:
    acts: list[Act] = []
    approved: dict[bytes, None] = {}
    handings: list[Handing] = []
    ignored: list[Ignored] = []
    for index, entry_type, content in block.entries:
        if not entry_type.startswith(CONTROL_PREFIX):
            continue
        place = Place(block.feed, block.seq, block.id, index)
        try:
            if entry_type == GovApprove.TYPE:
                approved[_approved(content)] = None
            elif entry_type == GovTransport.TYPE:
                handings.append(_handing(place, content))
            else:
                check_act(entry_type, content)
                acts.append(Act(act_id(ledger_id, entry_type, content), entry_type, content, place))
        except MedledgerError as error:
            ignored.append(Ignored(place, entry_type, str(error)))
    return Statement(tuple(acts), tuple(approved), tuple(handings), tuple(ignored))


def _handing(place: Place, content: Any) -> Handing:
    GovTransport.SCHEMA.check(content)
    return Handing(place, content["epoch"], content["generation"], content["key"], dict(content["boxes"]))


def _approved(content: Any) -> bytes:
    """The act that the content of a `gov.approve` names."""
    GovApprove.SCHEMA.check(content)
    act, voting_round = content
    if voting_round != 0:
        raise SchemaError(f"approvals in round {voting_round} are reserved")
    return bytes(act)
