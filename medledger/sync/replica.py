"""What gossip needs of a ledger, and nothing more. `medledger.ledger.Ledger` is one.

Rules for whoever implements it:

- `release` and `release_branches` are the ways out for blocks: what they return is persisted, and of our own feed the
  flushed witness has reached it. Gossip publishes nothing else.
- `import_blocks` never raises for blocks, only for a store that fails. It may be handed blocks it has, blocks that do
  not link, and anything an attacker can think of.
- Heads are those of the blocks that stand. Two replicas with equal heads, equal forks and equal branches of governors'
  feeds hold the same, but for entries that are hidden from one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from medledger.errors import BlockError
from medledger.fork import ForkProof
from medledger.keys import MemberKey

from .frames import TransportKey
from .frontier import Head


class Membership(Protocol):
    """Who may write, as far as the control feeds here tell."""

    @property
    def known(self) -> Collection[bytes]:
        """Feeds whose blocks are kept and relayed."""
        ...

    @property
    def electors(self) -> Collection[bytes]:
        """Feeds of present and former governors: known from the genesis on, and fetched first."""
        ...

    @property
    def cuts(self) -> Mapping[bytes, object]:
        """Revoked feeds."""
        ...


class Advance(Protocol):
    """Blocks first to last of a feed are new and durable."""

    @property
    def feed(self) -> bytes: ...

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...


class ImportReport(Protocol):
    """What became of blocks that were handed in."""

    @property
    def accepted(self) -> int: ...

    @property
    def duplicates(self) -> int: ...

    @property
    def refused(self) -> Sequence[BlockError]:
        """Why; each names its feed and seq where they are known."""
        ...

    @property
    def advanced(self) -> Sequence[Advance]: ...

    @property
    def forks(self) -> Sequence[bytes]:
        """Feeds whose fork these blocks have proved."""
        ...


class Replica(Protocol):
    """One ledger on this machine."""

    @property
    def id(self) -> bytes: ...

    @property
    def me(self) -> bytes | None:
        """Our own feed, None while we have none."""
        ...

    @property
    def identity(self) -> MemberKey | None: ...

    @property
    def transport_keys(self) -> Sequence[TransportKey]:
        """The keys that seal gossip, the one in use last; none without an identity. They change with the membership."""
        ...

    @property
    def own_rotation(self) -> int:
        """The length of our own feed up to the last block in which we hand out the key in use; 0 where we do not."""
        ...

    @property
    def key_leaked_to(self) -> Collection[bytes]:
        """The revoked members that hold the key in use; it changes with the membership."""
        ...

    def sealing_key(self, feed: bytes) -> bytes | None:
        """The X25519 key that is sealed to for a member; None for who is none, or not any more."""
        ...

    @property
    def state(self) -> str:
        """`ready`, or `recovering` while our own feed must come back from peers before we sign again."""
        ...

    @property
    def membership(self) -> Membership:
        """Another object whenever it has changed."""
        ...

    def frontier(self) -> Mapping[bytes, Head]:
        """The head of every feed that has one."""
        ...

    def head(self, feed: bytes) -> Head | None:
        """The head of one feed."""
        ...

    @property
    def forks(self) -> Mapping[bytes, ForkProof]:
        """The canonical proof of each feed known to have forked."""
        ...

    def import_blocks(self, raws: Iterable[bytes]) -> ImportReport:
        """Validate and store; durable on return."""
        ...

    def import_fork_proof(self, raw: bytes) -> ForkProof:
        """Verify a proof; the canonical one that is kept. Raises `MedledgerError` where it proves nothing."""
        ...

    def release(self, feed: bytes, start: int, stop: int, max_bytes: int) -> Sequence[bytes]:
        """Blocks `start` to before `stop`: as many as `max_bytes` hold (at least one), fewer where we have fewer."""
        ...

    def branch_places(self, feed: bytes) -> Sequence[tuple[int, bytes]]:
        """(seq, id) of the blocks on branches of a governor's forked feed, in that order; none of any other feed."""
        ...

    def release_branches(self, feed: bytes, ids: Sequence[bytes], max_bytes: int) -> Sequence[bytes]:
        """The blocks of these ids on such branches, as many as `max_bytes` hold (at least one)."""
        ...

    def holes(self) -> Sequence[tuple[bytes, int]]:
        """(feed, seq) of the blocks that stand with entries hidden."""
        ...

    def peer_has_no_more(self, length: int) -> None:
        """While recovering: a peer has told us that it holds this many blocks of our own feed."""
        ...
