"""A replica in memory, for tests of gossip: signed chains with the real errors, and none of the ledger's weight.

A block is CBOR `[body, signature]`, body being CBOR `[feed, seq, prev, payload]`. A payload `enrol:<key>` in a
governor's feed makes the key known. Everything is deterministic, so that a seed repeats a run exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from nacl.bindings import crypto_sign_ed25519_pk_to_curve25519

from medledger import cbor
from medledger.errors import (
    BlockError,
    BlockSignatureError,
    DivergedError,
    ForkedError,
    GapError,
    MalformedBlockError,
    MalformedError,
    SignatureError,
    UnknownAuthorError,
)
from medledger.fork import ForkProof
from medledger.importing import Advance, ImportReport
from medledger.keys import Identity, verify
from medledger.transport_key import TransportKey

LEDGER_ID = sha256(b"a ledger in memory").digest()
KEY = TransportKey(b"k" * 32)
MAX_BYTES = 62 * 1024


@dataclass(frozen=True)
class Head:
    """The last block of a feed."""

    seq: int
    id: bytes


@dataclass(frozen=True)
class MemoryMembership:
    """Who is known."""

    known: frozenset[bytes]
    electors: frozenset[bytes]
    cuts: Mapping[bytes, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Parsed:
    """A block, taken apart."""

    feed: bytes
    seq: int
    prev: bytes | None
    payload: bytes
    body: bytes
    signature: bytes
    raw: bytes
    id: bytes

    def authenticate(self) -> None:
        try:
            verify(self.feed, self.body, self.signature)
        except SignatureError:
            raise BlockSignatureError("not signed by its author", feed=self.feed, seq=self.seq) from None


def parse(raw: bytes) -> Parsed:
    """Take a block apart."""
    try:
        body, signature = cbor.decode(raw, max_size=MAX_BYTES)
        feed, seq, prev, payload = cbor.decode(body, max_size=MAX_BYTES)
    except (MalformedError, ValueError, TypeError) as error:
        raise MalformedBlockError("not a block") from error
    return Parsed(feed, seq, prev, payload, body, signature, raw, sha256(raw).digest())


def identity(name: str) -> Identity:
    """The same identity for the same name."""
    return Identity.from_seed(sha256(name.encode()).digest())


class MemoryReplica:
    """One node's replica. `recover_to` makes it recovering until its own feed is that long.

    Blocks of its own that it has not signed make it recovering too, until it is told that nobody has more.
    """

    def __init__(self, who: Identity, governor: bytes, *, recover_to: int = 0) -> None:
        self.id = LEDGER_ID
        self.identity = who
        self.transport_keys = (KEY,)
        self.own_rotation = 0
        self.key_leaked_to: tuple[bytes, ...] = ()
        self.me = who.public_key
        self.chains: dict[bytes, list[Parsed]] = {}
        self.forks: dict[bytes, ForkProof] = {}
        self._enrolled: set[bytes] = set()  # and not in the membership yet
        self.membership = MemoryMembership(frozenset({governor}), frozenset({governor}))
        self.recover_to = recover_to
        self.doubt = False
        self.heard_lengths: list[int] = []
        self.imports = 0
        self.imported: list[bytes] = []

    @property
    def state(self) -> str:
        whole = len(self.chains.get(self.me, ())) >= self.recover_to
        return "ready" if whole and not self.doubt else "recovering"

    def peer_has_no_more(self, length: int) -> None:
        self.heard_lengths.append(length)
        self.doubt &= length != len(self.chains.get(self.me, ()))

    def sealing_key(self, feed: bytes) -> bytes | None:
        known = feed in self.membership.known and feed not in self.membership.cuts
        return crypto_sign_ed25519_pk_to_curve25519(feed) if known else None

    # --- writing ---

    def append(self, payload: bytes) -> Advance:
        """Write one block of our own feed."""
        chain = self.chains.setdefault(self.me, [])
        prev = chain[-1].id if chain else None
        chain.append(make(self.identity, len(chain), prev, payload))
        self._learn(chain[-1])
        return Advance(self.me, len(chain) - 1, len(chain) - 1)

    def enrol(self, key: bytes) -> Advance:
        """As a governor: make a key known."""
        return self.append(b"enrol:" + key)

    def clone(self) -> MemoryReplica:
        """Another replica of the same identity with the same content: a copied disk."""
        twin = MemoryReplica(self.identity, next(iter(self.membership.electors)))
        twin.chains = {feed: list(chain) for feed, chain in self.chains.items()}
        twin.membership = self.membership
        return twin

    # --- reading ---

    def frontier(self) -> dict[bytes, Head]:
        return {feed: Head(len(chain) - 1, chain[-1].id) for feed, chain in self.chains.items() if chain}

    def head(self, feed: bytes) -> Head | None:
        chain = self.chains.get(feed)
        return Head(len(chain) - 1, chain[-1].id) if chain else None

    def release(self, feed: bytes, start: int, stop: int, max_bytes: int) -> list[bytes]:
        found: list[bytes] = []
        size = 0
        for block in islice(self.chains.get(feed, ()), start, stop):
            size += len(block.raw)
            if found and size > max_bytes:
                break
            found.append(block.raw)
        return found

    def branch_places(self, feed: bytes) -> list[tuple[int, bytes]]:
        return []

    def release_branches(self, feed: bytes, ids: list[bytes], max_bytes: int) -> list[bytes]:
        return []

    def holes(self) -> list[tuple[bytes, int]]:
        return []

    def digest(self) -> bytes:
        """Equal on two replicas exactly when they hold the same."""
        heads = [[feed, head.seq, head.id] for feed, head in sorted(self.frontier().items())]
        return sha256(cbor.encode([heads, [[feed, *proof.ids] for feed, proof in sorted(self.forks.items())]])).digest()

    # --- importing ---

    def import_blocks(self, raws: Iterable[bytes]) -> ImportReport:
        report = ImportReport()
        self.imports += 1
        groups: dict[bytes, list[Parsed]] = {}
        for raw in raws:
            self.imported.append(raw)
            try:
                block = parse(raw)
                groups.setdefault(block.feed, []).append(block)
            except MalformedBlockError as error:
                report.refuse(error)
        while ready := [feed for feed in groups if feed in self.membership.known]:
            for feed in ready:
                before = len(self.chains.get(feed, ()))
                self._feed(feed, sorted(groups.pop(feed), key=lambda block: block.seq), report)
                after = len(self.chains.get(feed, ()))
                if after > before:
                    report.advanced.append(Advance(feed, before, after - 1))
        for feed, blocks in groups.items():
            report.waiting += len(blocks)
            report.refuse(UnknownAuthorError("nobody has enrolled this author", feed=feed))
        return report

    def _feed(self, feed: bytes, blocks: list[Parsed], report: ImportReport) -> None:
        for block in blocks:
            try:
                self._take(block, report)
            except BlockError as error:
                report.refuse(error)
                if isinstance(error, GapError):
                    return

    def _take(self, block: Parsed, report: ImportReport) -> None:
        feed, seq = block.feed, block.seq
        chain = self.chains.setdefault(feed, [])
        if seq > len(chain):
            raise GapError("blocks are missing before this one", feed=feed, seq=seq)
        if seq < len(chain) and chain[seq].id == block.id:
            report.duplicates += 1
            return
        block.authenticate()
        fork = self.forks.get(feed)
        if fork is not None and seq >= fork.seq:
            raise ForkedError("beyond the fork", feed=feed, seq=seq)
        before = chain[seq - 1].id if seq else None
        if block.prev != before:
            raise DivergedError("does not link", feed=feed, seq=seq)
        if seq == len(chain):
            chain.append(block)
            report.accepted += 1
            self.doubt |= feed == self.me and len(chain) > self.recover_to
            self._learn(block)
            return
        self._adopt(proof_of(chain[seq], block))
        report.forks.append(feed)
        raise ForkedError("two blocks at one place", feed=feed, seq=seq)

    def import_fork_proof(self, raw: bytes) -> ForkProof:
        one, other = (parse(block) for block in cbor.decode(raw, max_size=4 * MAX_BYTES))
        for block in (one, other):
            block.authenticate()
        if (one.feed, one.seq, one.prev) != (other.feed, other.seq, other.prev) or one.id == other.id:
            raise MalformedError("no fork")
        self._adopt(proof_of(one, other))
        return self.forks[one.feed]

    def _adopt(self, proof: ForkProof) -> None:
        known = self.forks.get(proof.feed)
        if known is None or proof.rank < known.rank:
            self.forks[proof.feed] = proof
            del self.chains.setdefault(proof.feed, [])[proof.seq :]

    def _learn(self, block: Parsed) -> None:
        if block.feed in self._membership.electors and block.payload.startswith(b"enrol:"):
            self._enrolled.add(block.payload[6:])

    @property
    def membership(self) -> MemoryMembership:
        """Another object whenever it has changed."""
        if self._enrolled:
            before = self._membership
            self._membership = MemoryMembership(before.known | self._enrolled, before.electors, before.cuts)
            self._enrolled.clear()
        return self._membership

    @membership.setter
    def membership(self, membership: MemoryMembership) -> None:
        self._membership = membership


def make(author: Identity, seq: int, prev: bytes | None, payload: bytes) -> Parsed:
    """A signed block."""
    body = cbor.encode([author.public_key, seq, prev, payload])
    return parse(cbor.encode([body, author.sign(body)]))


def proof_of(one: Parsed, other: Parsed) -> ForkProof:
    """The proof that two blocks stand at one place."""
    first, second = sorted((one, other), key=lambda block: block.id)
    raw = cbor.encode([first.raw, second.raw])
    return ForkProof(one.feed, one.seq, one.prev, (first.id, second.id), raw, ((first.raw,), (second.raw,)))
