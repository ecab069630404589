"""A replica: all feeds of one ledger as this machine holds them, and what they add up to. It needs no key.

Three things are derived from the blocks, never stored as truth of their own:

- the *membership*, by folding the control blocks (`membership.fold`), made again when a control block arrives;
- what *stands*: a feed's blocks before its fork and within its cuts; the others are kept as disputed;
- the *entries* index, filled when somebody asks (`indexing`), and forgotten where membership changes its meaning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

from . import cbor
from .block import Block, join_block, parse_block
from .control import ControlLog
from .errors import BlockError, CorruptError, MedledgerError, StoreError, UnknownAuthorError, UsageError
from .fork import ForkProof, canonical, make_proof, read_proof
from .governance import Genesis, Point, read_genesis
from .header import BlockClass, Head, parse_header
from .importing import Advance, Importer, ImportReport, Limit
from .indexing import Indexer, LoggedEntry
from .limits import MAX_INT, MAX_SEQ, MIN_INT
from .membership import Membership, fold
from .store import Feed, Store
from .validation import ValidBlock, authenticate, validate_range

Watcher = Callable[[Advance], None]


class Disputed(NamedTuple):
    """A block that is authentic and yet does not stand: on a branch of a fork, or beyond a revocation."""

    feed: bytes
    seq: int
    id: bytes
    raw: bytes


class Replica:
    """One ledger's replica in one file. Thread-safe. Use as a context manager, or call `close()`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        raw = store.get_meta("genesis")
        if raw is None:
            raise StoreError(f"{store.path} holds no genesis", hint="Its creation was cut short: remove the file.")
        try:
            self.genesis: Genesis = read_genesis(raw)
            self.id = self.genesis.ledger_id
            self._forks = self._read_forks()
        except MedledgerError as error:
            raise CorruptError(
                f"{store.path} is damaged: {error}", hint="Make a new replica and let it sync."
            ) from error
        self._watchers: list[Watcher] = []
        self._watch_lock = threading.Lock()
        self._control = ControlLog(store)
        self._indexer = Indexer(self)
        self._membership: Membership | None = None
        store.after_rollback = self._forget_derived

    # --- life ---------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The ledger's name, from its genesis."""
        return self.genesis.name

    @property
    def path(self) -> Path:
        return self.store.path

    def close(self) -> None:
        """Close the file. Whatever was acknowledged is durable already."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def backup(self, path: str | Path) -> None:
        """A consistent copy for other programs to read while this replica goes on. Raises `StoreError`."""
        self.store.backup(Path(path))

    def _read_forks(self) -> dict[bytes, ForkProof]:
        return {feed: read_proof(self.id, proof) for feed, proof in self.store.forks().items()}

    def _forget_derived(self) -> None:
        """A transaction was undone: derive again what it may have changed."""
        self._membership = None
        self._control = ControlLog(self.store)
        self._indexer = Indexer(self)
        self._forks = self._read_forks()

    # --- what it holds ------------------------------------------------------------------------------------------

    def frontier(self) -> dict[bytes, Head]:
        """The head of every known feed that has one."""
        with self.store.lock:
            known = self.membership.known
            return {
                author: feed.head
                for author, feed in self.store.feeds.items()
                if feed.head is not None and author in known
            }

    def head(self, feed: bytes) -> Head | None:
        """A feed's last block that stands, None for an empty or unknown feed."""
        with self.store.lock:  # not what a transaction of another thread may yet undo
            found = self.store.feeds.get(feed)
            return None if found is None else found.head

    def digest(self) -> bytes:
        """32 bytes, equal on two replicas exactly when they hold the same: heads, forks, governors' branches."""
        with self.store.lock:
            heads = [[feed, head.seq, head.id] for feed, head in sorted(self.frontier().items())]
            forks = [[feed, proof.seq, *proof.ids] for feed, proof in sorted(self._forks.items())]
            electors = self.membership.electors
            branches = sorted(block_id for feed in electors for _, block_id in self.branch_places(feed))
        state = sha256(b"medledger/digest/1" + self.id)
        for part in (*heads, None, *forks, None, *branches):
            state.update(cbor.encode(part))
        return state.digest()

    def branches(self) -> list[bytes]:
        """The blocks on branches of governors' forked feeds: approvals in them count, so replicas share them."""
        electors = self.membership.electors
        return [block.raw for block in self.disputed() if block.feed in electors]

    def branch_places(self, feed: bytes) -> list[tuple[int, bytes]]:
        """(seq, id) of the blocks on branches of one governor's forked feed, in that order; none of any other feed."""
        with self.store.lock:
            found = self.store.feeds.get(feed)
            if found is None or feed not in self.membership.electors:
                return []
            return self.store.disputed_places(found, found.length)

    def holes(self) -> list[tuple[bytes, int]]:
        """(feed, seq) of the blocks that stand here with entries hidden: erased, or withheld by who gave them to us."""
        return self.store.holes()

    def hole_sizes(self) -> dict[tuple[bytes, int], int]:
        """The bytes of each such block's entries and hashes, by (feed, seq): more, when one of its entries has come."""
        return self.store.hole_sizes()

    def raw_blocks(self, feed: bytes, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """A feed's encoded blocks with start <= seq < stop."""
        found = self.store.feeds.get(feed)
        if found is None:
            return
        for row in self.store.rows(found, start, stop):
            yield join_block(row.header, row.body)

    def blocks(self, feed: bytes, start: int = 0, stop: int | None = None) -> Iterator[Block]:
        """A feed's blocks with start <= seq < stop, parsed."""
        return map(parse_block, self.raw_blocks(feed, start, stop))

    def block(self, feed: bytes, seq: int) -> Block | None:
        """One block, or None."""
        return next(self.blocks(feed, seq, seq + 1), None)

    def find_block(self, block_id: bytes) -> Block | None:
        """The block with this id (32 bytes, or its first 8 or more), or None. Brings the id index up to date first."""
        if len(block_id) < 8:
            raise UsageError("a block is looked up by at least the first 8 bytes of its id")
        return self._indexer.find_block(block_id)

    def disputed(self) -> list[Disputed]:
        """Every authentic block that does not stand."""
        return [
            Disputed(feed.author, row.seq, block_id, join_block(row.header, row.body))
            for feed in self.store.feeds_with_disputed()
            for block_id, row in self.store.disputed(feed)
            if row.seq >= feed.length  # one that came to stand again stays among the evidence
        ]

    def entries(
        self,
        type: str | None = None,
        *,
        subject: bytes | None = None,
        since: int | None = None,
        until: int | None = None,
        author: bytes | None = None,
        void: bool = False,
        newest_first: bool = False,
    ) -> Iterator[LoggedEntry]:
        """Entries by their time, oldest first: since <= time < until, in UTC milliseconds.

        `subject` is 16 bytes, `author` a feed of 32. Raises `UsageError` for another type or a time beyond 64 bits.
        Void entries (see `interpretation`) come only with `void=True`. Blocks that arrive meanwhile may be missed.
        """
        for name, value, kind in (
            ("type", type, str),
            ("subject", subject, bytes),
            ("since", since, int),
            ("until", until, int),
            ("author", author, bytes),
        ):
            if value is not None and not isinstance(value, kind):
                raise UsageError(f"{name} is {kind.__name__} here, not {value.__class__.__name__}")
        for bound in (since, until):
            if bound is not None and not MIN_INT <= bound <= MAX_INT:
                raise UsageError("a time is UTC milliseconds in 64 bits")
        return self._indexer.entries(type, subject, since, until, author, void, newest_first)

    def watch(self, callback: Watcher) -> Callable[[], None]:
        """Call `callback` with every `Advance` after it is durable, in the thread that made it. Returns the undo.

        A block comes a second time when entries arrive that were hidden in it. The callback must be quick and must not
        raise; hand work to a queue.
        """
        with self._watch_lock:
            self._watchers = [*self._watchers, callback]

        def undo() -> None:
            with self._watch_lock:
                self._watchers = [watcher for watcher in self._watchers if watcher is not callback]

        return undo

    def notify(self, advances: Iterable[Advance]) -> None:
        for advance in advances:
            for watcher in self._watchers:
                watcher(advance)

    # --- what comes in ------------------------------------------------------------------------------------------

    def import_blocks(self, raws: Iterable[bytes]) -> ImportReport:
        """Take what is valid of these encoded blocks, in batches; memory does not grow with their number.

        A bad block never raises: it is in the report, and nothing of it is kept. Raises `StoreError` where the disk
        fails; whole batches before it are kept.
        """
        importer = Importer(self)
        for advances in importer.run(raws):
            self.notify(advances)
        return importer.report

    def took(self, feed: bytes, last: int) -> None:
        """Blocks of a feed came in, up to `last`. Called within the transaction that stores them."""

    def index(self, limit: int | None = None) -> int:
        """Bring the lagging indexes forward by at most `limit` blocks; the number of blocks read. See `entries`."""
        return self._indexer.catch_up(limit)

    def reindex(self) -> int:
        """Drop the indexes and make them again from the blocks; the number of blocks read."""
        with self.store.transaction():
            for feed in self.store.feeds.values():
                self.store.forget_interpretation(feed)
                self.store.forget_ids(feed)
            self._indexer.write_members(self.membership)
        return self._indexer.catch_up()

    def check_indexes(self) -> None:
        """That the indexes say what the blocks say. Raises `CorruptError`."""
        self._indexer.check()

    # --- membership ---------------------------------------------------------------------------------------------

    @property
    def membership(self) -> Membership:
        """Who may write what, as far as this replica's control blocks tell."""
        with self.store.lock:
            if self._membership is None:
                self._membership = self._fold()
            return self._membership

    def knows(self, feed: bytes) -> bool:
        """Whether an effective enrolment or office names this feed, so that its blocks are taken."""
        return self.membership.knows(feed)

    def sealing_key(self, feed: bytes) -> bytes | None:
        """The X25519 key that secrets for a member are sealed to; None for who is none, or not any more."""
        member = self.membership.members.get(feed)
        return None if member is None or member.revoked or member.kem is None else member.kem[1]

    def is_ancestor(self, feed: bytes, earlier: Point, later: Point) -> bool:
        """Whether `later` is held here and `earlier` is it or one of its ancestors.

        What lies beyond a fork or a cut is not shared, so that one replica holds it and another does not. It descends
        from what stands before it: that answer is the same for all, and holds until a fork further back is proved.
        """
        if feed not in self.membership.electors and later.seq >= self.limit(feed).length:
            return self._control.is_ancestor(feed, earlier, earlier)
        return self._control.is_ancestor(feed, earlier, later)

    def governs(self, feed: bytes) -> bool:
        """Whether control blocks of this feed may change the membership: an elector's, or what a cut feed last said."""
        membership = self.membership
        return feed in membership.electors or feed in membership.cuts

    def decides(self, feed: bytes, blocks: Sequence[ValidBlock]) -> bool:
        """Whether these new blocks of a feed, standing or on a branch, may change the membership."""
        if not self.governs(feed):
            return False
        if any(block.id in self._control.named for block in blocks):
            self.store.forget_interpretation(self.store.feed(feed))  # a cut has waited for one of them
            return True
        return any(block.block_class == BlockClass.CONTROL for block in blocks)

    def keeps_branches(self, feed: bytes) -> bool:
        """Whether blocks on every branch of this feed are taken."""
        return feed in self._forks and feed in self.membership.electors

    def _fold(self) -> Membership:
        """The fold over what all replicas can hold: what stands, and every branch of electors' feeds.

        Who the electors are does not depend on other feeds, so a first fold over everything tells it.
        """
        standing, disputed = self._control.blocks()
        folded = fold(self.genesis, standing + disputed, self._control.is_ancestor)
        shared = [block for block in disputed if block.feed in folded.electors]
        if len(shared) < len(disputed):
            folded = fold(self.genesis, standing + shared, self._control.is_ancestor)
        return folded

    def refold(self) -> None:
        """Fold again after control blocks came or moved, and apply what changed: cuts, and the meaning of entries."""
        with self.store.transaction():
            before = self._membership
            after = self._membership = self._fold()
            for author in list(self.store.feeds):
                self._apply_limit(author)
            for feed in self.store.feeds_with_disputed():
                self._restore(feed)
            for author, feed in self.store.feeds.items():
                if before is None or _rights(before, author) != _rights(after, author):
                    self.store.forget_interpretation(feed)
            if before is not None and before.epochs != after.epochs:
                self._indexer.forget_undecided()
            self._indexer.write_members(after)

    # --- what stands --------------------------------------------------------------------------------------------

    def limit(self, feed: bytes) -> Limit:
        """How many of a feed's blocks can stand: up to its fork, and within every cut."""
        proof = self._forks.get(feed)
        lengths = [Limit(MAX_SEQ + 1)]
        if proof is not None:
            lengths.append(Limit(proof.seq, "fork"))
        membership = self.membership
        last = membership.last_seq(feed)
        if last is not None and feed not in membership.electors:  # approvals count beyond a cut: such feeds stay whole
            lengths.append(Limit(last + 1, "cut"))
        return min(lengths, key=lambda limit: limit.length)

    def _apply_limit(self, author: bytes) -> None:
        """Move what no longer stands to the disputed blocks."""
        feed = self.store.feeds[author]
        limit = self.limit(author)
        if feed.length > limit.length:
            self._truncate(feed, limit.length)

    def _truncate(self, feed: Feed, length: int) -> None:
        """Let at most `length` blocks stand, the last of which verifies by itself: no other could be a feed's head."""
        head: Head | None = None
        for seq in range(length - 1, -1, -1):
            row = self.store.row(feed, seq)
            assert row is not None  # a feed has no gaps
            try:
                header = authenticate(self.id, feed.author, join_block(row.header, row.body))
            except BlockError:
                continue
            head = Head(seq, sha256(row.header).digest(), header.epoch)
            break
        self.store.truncate(feed, head)
        self._control.forget(feed.author)

    def _restore(self, feed: Feed) -> None:
        """Let blocks stand again that a cut had taken away and no longer does."""
        limit = self.limit(feed.author)
        if limit.length <= feed.length:
            return
        rows = [(block_id, row) for block_id, row in self.store.disputed(feed) if feed.length <= row.seq < limit.length]
        raws = [join_block(row.header, row.body) for _, row in rows]
        accepted, _ = validate_range(self.id, feed.author, feed.head, raws)
        if accepted:
            self.store.append(feed, accepted)
            self.store.remove_disputed(block.id for block in accepted)
            self._control.forget(feed.author)

    # --- forks --------------------------------------------------------------------------------------------------

    @property
    def forks(self) -> Mapping[bytes, ForkProof]:
        """The canonical proof of each feed known to have forked."""
        return dict(self._forks)

    def fork_proofs(self) -> dict[bytes, bytes]:
        """The same, as the bytes that travel."""
        return {feed: proof.raw for feed, proof in self._forks.items()}

    def import_fork_proof(self, raw: bytes) -> ForkProof:
        """Verify a fork proof and keep it. Raises `MalformedError`, `NeedsNewerError` or a `BlockError`."""
        proof = read_proof(self.id, raw)
        if not self.knows(proof.feed):
            raise UnknownAuthorError("a fork proof about a feed that nobody has enrolled here", feed=proof.feed)
        with self.store.transaction():
            if self.adopt_fork(proof) and self.governs(proof.feed):
                self.refold()
        return self._forks[proof.feed]

    def adopt_fork(self, proof: ForkProof) -> bool:
        """Keep the canonical one of this verified proof and ours, and let stand only what lies before it.

        True where that changed anything; the caller then sees to folding again.
        """
        with self.store.transaction():
            known = self._forks.get(proof.feed)
            kept = proof if known is None else canonical(self.id, known, proof)
            if known is not None and kept.rank == known.rank:
                return False
            feed = self.store.feed(proof.feed)
            self.store.set_fork(feed, kept.seq, kept.raw)
            self._forks[proof.feed] = kept
            self._apply_limit(proof.feed)
            self.store.forget_interpretation(feed)  # a cut beyond the fork is resolved now
            return True

    def adopt_branch(self, feed: bytes, headers: list[bytes]) -> None:
        """A further branch of a forked feed was verified: it may be one side of the canonical proof."""
        known = self._forks[feed]
        for at, raw in enumerate(headers):
            header = parse_header(raw)[0]
            if header.seq == known.seq and header.prev == known.prev and sha256(raw).digest() not in known.ids:
                self.adopt_fork(make_proof(self.id, known.sides[0], headers[at:]))
            if header.seq >= known.seq:
                break


def _rights(membership: Membership, feed: bytes) -> tuple[object, ...]:
    """All of a membership that decides whether this feed's entries count."""
    return (
        membership.members.get(feed),
        membership.enrolments.get(feed),
        membership.cuts.get(feed),
        feed in membership.electors,
        membership.void,
    )
