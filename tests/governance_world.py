"""A small world of feeds for the tests of governance: positions and branches, without real blocks.

`World.write` adds a control block to somebody's feed, after its head or, to fork it, after any earlier point. A
`World` answers for everything it holds, or for a part: `fold(held=...)` sees only those blocks, as a replica would.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any

from medledger.ballot import ControlBlock
from medledger.governance import NOTHING, Genesis, Point, act_id, epoch_document, make_genesis, read_genesis
from medledger.joining import Request, make_request, read_request_text
from medledger.keys import Identity
from medledger.membership import Membership, fold

POLICY = {"nurse": ["note", "reading"], "pharmacist": ["dispense"], "robot": ["*"]}
SECRET = b"s" * 16


@cache
def person(name: str) -> Identity:
    """The identity that everybody calls by this name."""
    return Identity.from_seed(sha256(name.encode()).digest())


def key(name: str) -> bytes:
    """The public key of a person, which is also the id of that person's feed."""
    return person(name).public_key


def keys(names: Iterable[str]) -> list[bytes]:
    """The keys of several people, sorted."""
    return sorted(map(key, names))


@cache
def request(name: str) -> Request:
    """A person's request to join."""
    return read_request_text(make_request(person(name), secret=SECRET, label=name))[0]


def enrolment(
    name: str, roles: Iterable[str] = ("nurse",), *, epoch: int = 0, succeeds: bytes | None = None, label: str = ""
) -> dict[str, Any]:
    """The content of an enrolment."""
    asked = request(name)
    return {
        "epoch": epoch,
        "roles": sorted(roles),
        "org": "St. Elsewhere",
        "label": label or name,
        "sig": [-19, asked.feed],
        "kem": list(asked.kem),
        "proof": asked.proof,
        "succeeds": succeeds,
    }


def revocation(name: str, last: Point = NOTHING, *, epoch: int = 0, reason: str = "") -> dict[str, Any]:
    """The content of a revocation."""
    return {"epoch": epoch, "feed": key(name), "seq": last.seq, "id": last.id, "reason": reason}


class World:
    """Feeds that grow, and the ledger they belong to. The first governor is the founder."""

    def __init__(
        self,
        *governors: str,
        threshold: int | None = None,
        notaries: Iterable[str] = (),
        policy: Mapping[str, Iterable[str]] = POLICY,
    ) -> None:
        document = epoch_document(
            number=0,
            previous=None,
            governors=keys(governors),
            threshold=len(governors) // 2 + 1 if threshold is None else threshold,
            notaries=keys(notaries),
            policy=policy,
        )
        raw = make_genesis(person(governors[0]), nonce=b"n" * 16, name="test", continues=None, epoch0=document)
        self.genesis: Genesis = read_genesis(raw)
        self.blocks: dict[bytes, ControlBlock] = {}
        self.previous: dict[bytes, Point] = {}
        self.heads: dict[bytes, Point] = {}

    def act(self, act_type: str, content: Any) -> bytes:
        """The id of an act in this ledger."""
        return act_id(self.genesis.ledger_id, act_type, content)

    def write(self, who: str, *entries: tuple[str, Any], after: Point | None = None) -> Point:
        """A control block of `who` with these entries of (type, content)."""
        feed = key(who)
        parent = self.heads.get(feed, NOTHING) if after is None else after
        seq = parent.seq + 1
        block_id = sha256(b"%b%b%d%r" % (feed, parent.id or b"", seq, entries)).digest()
        self.blocks[block_id] = ControlBlock(
            feed, seq, block_id, 0, tuple((at, entry_type, content) for at, (entry_type, content) in enumerate(entries))
        )
        self.previous[block_id] = parent
        if after is None or feed not in self.heads:
            self.heads[feed] = Point(seq, block_id)
        return Point(seq, block_id)

    def approve(self, act: bytes, *who: str) -> list[Point]:
        """A block of each of these people that approves the act."""
        return [self.write(name, ("gov.approve", [act, 0])) for name in who]

    def decide(self, act_type: str, content: Any, *who: str) -> bytes:
        """Propose an act in the first person's feed and have all of them approve it."""
        act = self.act(act_type, content)
        self.write(who[0], (act_type, content))
        self.approve(act, *who)
        return act

    def successor(
        self,
        *governors: str,
        of: bytes | None = None,
        number: int = 1,
        threshold: int | None = None,
        notaries: Iterable[str] = (),
        policy: Mapping[str, Iterable[str]] = POLICY,
        closing: Mapping[str, Point] | None = None,
    ) -> list[Any]:
        """The content of an epoch that follows epoch 0, or the one with the id `of`."""
        return epoch_document(
            number=number,
            previous=self.genesis.ledger_id if of is None else of,
            governors=keys(governors),
            threshold=len(governors) // 2 + 1 if threshold is None else threshold,
            notaries=keys(notaries),
            policy=policy,
            closing={key(name): point for name, point in (closing or {}).items()},
        )

    def is_ancestor(self, held: Collection[bytes], feed: bytes, earlier: Point, later: Point) -> bool:
        """What a replica that holds these blocks says."""
        if later.id not in held:
            return False
        while later.seq > earlier.seq and later.id is not None:
            later = self.previous[later.id]
        return later == earlier and earlier.id in self.blocks and self.blocks[earlier.id].feed == feed

    def fold(self, *, held: Collection[bytes] | None = None, order: Iterable[ControlBlock] | None = None) -> Membership:
        """The membership that a replica holding these blocks computes, given in this order."""
        present = self.blocks.keys() if held is None else held
        control = [self.blocks[block_id] for block_id in present] if order is None else order
        return fold(self.genesis, control, lambda *points: self.is_ancestor(present, *points))

    def fallen(self, name: str, block: Point, *, held: Collection[bytes] | None = None) -> str | None:
        """Why a block of this person does not stand."""
        present = self.blocks.keys() if held is None else held
        membership = self.fold(held=present)
        return membership.fallen(key(name), block, lambda *points: self.is_ancestor(present, *points))


def trio() -> World:
    """Three governors, of whom two must agree."""
    return World("ada", "ben", "cyd")
