"""The membership acts: contents of the governance entries. What they do, and when they count, is membership.py's.

Rules:

- Each act's content is the bytes that its act id covers, so every list that is a set is sorted, and a field without a
  value is null where the format says so: two governors that propose the same thing propose the same bytes.
- A schema says only whether the content is well formed. Whether it is effective is a question of approvals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from .limits import (
    MAX_GOVERNORS,
    MAX_INT,
    MAX_JOIN_BYTES,
    MAX_LABEL_CHARS,
    MAX_NOTARIES,
    MAX_ROLES,
    MAX_SEALED_PER_ENTRY,
    MAX_SEQ,
    MAX_TYPE_CHARS,
    MAX_TYPES_PER_ROLE,
)
from .registry import RecordBase, record
from .schema import Array, Bytes, Int, Map, MapOf, Nullable, Text, Tuple, Validator, Where

HASH: Final = Bytes(32)
FEED: Final = Bytes(32)
SEALED_KEY: Final = Bytes(80)  # a libsodium sealed box around 32 bytes


def _first(item: Any) -> Any:
    return item[0]


def _itself(item: Any) -> Any:
    return item


def _position(item: Any) -> str | None:
    seq, block_id = item[-2:]
    return None if (seq == -1) is (block_id is None) else "must have a null id exactly when its seq is -1"


_NAME: Final = Text(1, MAX_TYPE_CHARS)
_LABEL: Final = Text(0, MAX_LABEL_CHARS)
_LAST_SEQ: Final = Int(-1, MAX_SEQ)  # -1: nothing of the feed stands

EPOCH: Final = Tuple(
    Int(0, MAX_INT),  # k: which epoch this is
    Nullable(HASH),  # id of epoch k-1: governance is a chain; null in the genesis only
    Array(FEED, 1, MAX_GOVERNORS, order=_itself),  # who decides from now on
    Int(1, MAX_GOVERNORS),  # t: how many of them it takes
    Array(FEED, 0, MAX_NOTARIES, order=_itself),  # whose acks make blocks final
    MapOf(_NAME, Array(_NAME, 0, MAX_TYPES_PER_ROLE, order=_itself), 0, MAX_ROLES),  # policy: role to entry types
    # Where the feed of each leaving governor or notary ends: nothing after it counts for the epoch before.
    Array(Where(Tuple(FEED, _LAST_SEQ, Nullable(HASH)), _position), 0, MAX_GOVERNORS + MAX_NOTARIES, order=_first),
)


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class GovEpoch(RecordBase):
    """A proposal of the next governance epoch. Lists are sorted, so that equal proposals are equal bytes."""

    TYPE: ClassVar[str] = "gov.epoch"
    CONTROL: ClassVar[bool] = True
    SCHEMA: ClassVar[Validator] = EPOCH

    k: int
    previous: bytes | None
    governors: Sequence[bytes]
    threshold: int
    notaries: Sequence[bytes] = ()
    policy: Mapping[str, Sequence[str]]
    closing: Sequence[tuple[bytes, int, bytes | None]] = ()
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()

    def to_content(self) -> list[Any]:
        """The epoch document, as its act's content."""
        policy = {role: list(types) for role, types in self.policy.items()}
        closing = [list(position) for position in self.closing]
        return [self.k, self.previous, list(self.governors), self.threshold, list(self.notaries), policy, closing]

    @classmethod
    def from_content(cls, content: Any, *, subject: bytes | None = None, time: int | None = None) -> Self:
        """The record that `content` describes; SchemaError when it does not conform."""
        cls.SCHEMA.check(content)
        return cls(**dict(zip(cls.NAMES, content, strict=True)), subject=subject, time=time)


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class GovEnrol(RecordBase):
    """Makes a key a member."""

    TYPE: ClassVar[str] = "gov.enrol"
    CONTROL: ClassVar[bool] = True
    SCHEMA: ClassVar[Validator] = Map(
        {
            "epoch": Int(0, MAX_INT),  # whose governors must approve it
            "roles": Array(_NAME, 0, MAX_ROLES, order=_itself),  # with the epoch's policy: what it may write
            "org": _LABEL,  # which organisation answers for it
            "label": _LABEL,  # what people call it ("box 7, ICU")
            "sig": Tuple(Int(-19, -19), Bytes(32)),  # COSE algorithm and key that sign its blocks
            "kem": Tuple(Int(1, 2), Bytes(32)),  # algorithm and key that things are sealed to
            "proof": Bytes(64, MAX_JOIN_BYTES),  # the applicant's signed request: nobody enrols a key they do not hold
            "succeeds": Nullable(FEED),  # the feed it carries on, or null
        }
    )

    epoch: int
    roles: Sequence[str]
    org: str
    label: str
    sig: tuple[int, bytes]
    kem: tuple[int, bytes]
    proof: bytes
    succeeds: bytes | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()

    def to_content(self) -> dict[str, Any]:
        """The content of this record's entry."""
        lists = {"roles": list(self.roles), "sig": list(self.sig), "kem": list(self.kem)}
        return {name: lists.get(name, getattr(self, name)) for name in self.NAMES}


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class GovRevoke(RecordBase):
    """Cuts a feed: nothing after (seq, id) stands, and its key is dead."""

    TYPE: ClassVar[str] = "gov.revoke"
    CONTROL: ClassVar[bool] = True
    SCHEMA: ClassVar[Validator] = Where(
        Map(
            {
                "epoch": Int(0, MAX_INT),  # whose governors must approve it
                "feed": FEED,  # who is cut
                "seq": _LAST_SEQ,  # its last block that stands; -1 for none
                "id": Nullable(HASH),  # that block's id: names the branch, where the feed has forked
                "reason": Text(0, MAX_LABEL_CHARS),  # why (key lost, box stolen): an auditor asks
            }
        ),
        lambda content: _position((content["seq"], content["id"])),
    )

    epoch: int
    feed: bytes
    seq: int
    id: bytes | None
    reason: str = ""
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()

    def to_content(self) -> dict[str, Any]:
        """The content of this record's entry."""
        return {name: getattr(self, name) for name in self.NAMES}


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class GovApprove(RecordBase):
    """A governor's approval of an act, made by standing at a position of the governor's own feed."""

    TYPE: ClassVar[str] = "gov.approve"
    CONTROL: ClassVar[bool] = True
    SCHEMA: ClassVar[Validator] = Tuple(
        HASH,  # the act's id: covers its content, and not who proposed it or where
        Int(0, MAX_INT),  # round: 0; reserved for split votes
    )

    act: bytes
    round: int = 0
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()

    def to_content(self) -> list[Any]:
        """The content of this record's entry."""
        return [self.act, self.round]

    @classmethod
    def from_content(cls, content: Any, *, subject: bytes | None = None, time: int | None = None) -> Self:
        """The record that `content` describes; SchemaError when it does not conform."""
        cls.SCHEMA.check(content)
        return cls(act=content[0], round=content[1], subject=subject, time=time)


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class GovTransport(RecordBase):
    """Hands a transport key to members, each copy sealed to its own. Needs no approval: see `medledger.rotations`.

    A further act of the same generation and key reaches more members.
    """

    TYPE: ClassVar[str] = "gov.transport"
    CONTROL: ClassVar[bool] = True
    SCHEMA: ClassVar[Validator] = Map(
        {
            "epoch": Int(0, MAX_INT),  # in which its author governs: its closing bounds this as it bounds approvals
            "generation": Int(1, MAX_INT),  # the key in use has the highest; 0 is what join replies brought at first
            "key": HASH,  # the key's name: who opens a copy can tell that it is the one that everybody was given
            "boxes": Array(Tuple(FEED, SEALED_KEY), 1, MAX_SEALED_PER_ENTRY, order=_first),  # to whom
        }
    )

    epoch: int
    generation: int
    key: bytes
    boxes: Sequence[tuple[bytes, bytes]]
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()

    def to_content(self) -> dict[str, Any]:
        """The content of this record's entry."""
        return {
            "epoch": self.epoch,
            "generation": self.generation,
            "key": self.key,
            "boxes": [list(box) for box in self.boxes],
        }
