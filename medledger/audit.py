"""Verification of a replica from its bytes, for somebody who trusts neither the disk nor us.

`verify` reads every block and goes through all of `validation`'s checks again: each payload byte is hashed, each chain
is followed from its first block, each segment's signature is checked. With `every_signature` each block's own signature
is checked too; a block whose own does not verify may still hold through a successor, and is named.

It also checks all that decides who may write: that the tables of control blocks and of holes name just the blocks that
are some, and what `evidence` knows of disputed blocks, fork proofs and limits. Other threads may use the replica
meanwhile.

`fsck` adds what lies around the blocks: SQLite's own check, the definitions of tables and views, and that the indexes
of entries, ids and members say what the blocks say. SQLite's check alone would not see a replica whose last commits
were lost, nor a payload that was changed in place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from .block import Hidden, count_entries, join_block, split_body
from .errors import BlockError, CorruptError, MedledgerError, SignatureError
from .evidence import check_disputed, check_forks, check_limits, check_places
from .header import BlockClass, Head, parse_header, signed_message, signed_parts, signing_prefix
from .keys import verify as verify_signature
from .store import Feed
from .store.checks import definition_problem
from .store.database import position
from .validation import authenticate, validate_range

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

    from .replica import Replica

_CHUNK_BLOCKS = 512  # a multiple of a segment, so that each chunk ends in a block that must verify by itself
_CHECK_TOGETHER = 128  # signatures checked at one go: some milliseconds, which is what the last process may be late

_CONTROL = "SELECT pos FROM control WHERE pos BETWEEN ? AND ?"
_HOLES = "SELECT pos FROM holes WHERE pos BETWEEN ? AND ?"
_RESTORE = "Restore this replica from another one: make a new one and let it sync."

Progress = Callable[[int], None]


@dataclass(slots=True)
class VerifyReport:
    """What was checked. That it was returned at all means that every byte verified."""

    feeds: int = 0
    blocks: int = 0
    entries: int = 0
    hidden: int = 0  # entries erased or withheld: their hashes verified, their content is not here
    size_bytes: int = 0
    own_signatures: int | None = None  # blocks whose own signature was checked and holds; None unless asked for
    through_successor: list[tuple[bytes, int]] = field(default_factory=list)  # blocks that hold only by a later one's
    forks: list[bytes] = field(default_factory=list)
    disputed: int = 0


def verify(
    replica: Replica, *, every_signature: bool = False, processes: int = 1, progress: Progress | None = None
) -> VerifyReport:
    """See `Ledger.verify`. Raises `CorruptError` naming the first bad block."""
    check_places(replica)
    if every_signature:
        with _Signatures(replica.id, processes) as signatures:
            report = _Walk(replica, signatures, progress).run()
    else:
        report = _Walk(replica, None, progress).run()
    check_limits(replica)
    report.forks = check_forks(replica)
    report.disputed = check_disputed(replica)
    return report


@dataclass(slots=True)
class _Tally:
    """What was counted in one feed."""

    blocks: int = 0
    entries: int = 0
    hidden: int = 0
    size_bytes: int = 0
    own_signatures: int = 0
    through_successor: list[int] = field(default_factory=list)


class _Walk:
    """Verifies feed after feed, each up to the head that it had when its turn came.

    Other threads may append meanwhile, and a fork or a revocation may take blocks away. Each chunk is read at one
    moment, and a feed that lost blocks while it was read is read again: that is no damage.
    """

    def __init__(self, replica: Replica, signatures: _Signatures | None, progress: Progress | None) -> None:
        self._replica = replica
        self._store = replica.store
        self._signatures = signatures
        self._progress = progress
        self._done = 0  # blocks of the feeds before
        self._tallies: dict[bytes, _Tally] = {}

    def run(self) -> VerifyReport:
        with self._store.lock:
            authors = [feed.author for feed in sorted(self._store.feeds.values(), key=lambda feed: feed.no)]
        for author in authors:
            while not self._feed(author):
                self._note_signatures(all_left=True)
                del self._tallies[author]
        self._note_signatures(all_left=True)
        return self._report()

    def _feed(self, author: bytes) -> bool:
        """Verify a feed; False where it has to be done again."""
        with self._store.lock:
            feed = self._store.feeds[author]
            last = feed.head
        if last is None:
            return True
        tally = self._tallies[author] = _Tally()
        try:
            head: Head | None = None
            while head is None or head.seq < last.seq:
                head = self._chunk(feed, head, last, tally)
                self._note_signatures(all_left=False)
                if self._progress is not None:
                    self._progress(self._done + tally.blocks)
            if head != last:
                raise CorruptError("a feed's head is not its last block", feed=author, seq=head.seq)
        except CorruptError:
            with self._store.lock:
                now = self._store.feeds[author].head
            if now is not None and now.seq >= last.seq:
                raise
            return False
        self._done += tally.blocks
        return True

    def _chunk(self, feed: Feed, head: Head | None, last: Head, tally: _Tally) -> Head:
        """Verify the next blocks of a feed; the head after them."""
        start = 0 if head is None else head.seq + 1
        stop = min(last.seq + 1, start + _CHUNK_BLOCKS)
        with self._store.lock:
            rows = self._store.page(feed, start, stop - 1, _CHUNK_BLOCKS)
            control, holes = (self._listed(sql, feed, start, stop) for sql in (_CONTROL, _HOLES))
        raws = [join_block(row.header, row.body) for row in rows]
        accepted, error = validate_range(self._replica.id, feed.author, head, raws)
        if error is not None or len(accepted) < stop - start:
            bad = rows[len(accepted)].seq if len(accepted) < len(rows) else start + len(rows)
            raise _corrupt(self._replica.id, feed, bad, raws, start, error)
        _compare(feed, "control", control, {each.seq for each in accepted if each.block_class == BlockClass.CONTROL})
        _compare(feed, "holes", holes, {each.seq for each in accepted if each.has_holes})
        tally.blocks += len(rows)
        tally.size_bytes += sum(map(len, raws))
        for block in accepted:
            tally.entries += count_entries(block.body_bytes)
            if block.has_holes:
                tally.hidden += sum(isinstance(item, Hidden) for item in split_body(block.body_bytes))
        if self._signatures is not None:
            self._signatures.check(feed.author, [block.header_bytes for block in accepted])
        final = accepted[-1]
        return Head(final.seq, final.id, final.epoch)

    def _listed(self, sql: str, feed: Feed, start: int, stop: int) -> set[int]:
        """The seqs from `start` to before `stop` that a table of positions names."""
        found = self._store.query(sql, (position(feed.no, start), position(feed.no, stop - 1)))
        return {pos - position(feed.no, 0) for (pos,) in found}

    def _note_signatures(self, *, all_left: bool) -> None:
        if self._signatures is None:
            return
        for feed, failed, count in self._signatures.results() if all_left else self._signatures.ready():
            tally = self._tallies[feed]
            tally.own_signatures += count - len(failed)
            tally.through_successor += failed

    def _report(self) -> VerifyReport:
        report = VerifyReport(own_signatures=None if self._signatures is None else 0)
        for feed, tally in self._tallies.items():
            report.feeds += 1
            report.blocks += tally.blocks
            report.entries += tally.entries
            report.hidden += tally.hidden
            report.size_bytes += tally.size_bytes
            report.through_successor += [(feed, seq) for seq in tally.through_successor]
            if report.own_signatures is not None:
                report.own_signatures += tally.own_signatures
        report.through_successor.sort()
        return report


def _compare(feed: Feed, table: str, listed: set[int], expected: set[int]) -> None:
    """That a table names just these blocks: what it does not name of `control`, the membership does not see."""
    if listed != expected:
        seq = min(listed ^ expected)
        raise CorruptError(
            f"the table {table!r} is wrong about block {seq} of feed {feed.author.hex()[:16]}",
            feed=feed.author,
            seq=seq,
            hint=_RESTORE,
        )


def _corrupt(
    ledger_id: bytes, feed: Feed, seq: int, raws: list[bytes], start: int, error: BlockError | None
) -> CorruptError:
    """Name the bad block. Where one does not link to the block before, the one before may be the changed one."""
    if seq - 1 >= start:
        try:
            authenticate(ledger_id, feed.author, raws[seq - 1 - start])
        except MedledgerError:
            if error is None or "link" in str(error):
                seq -= 1
    reason = "it is missing" if error is None else str(error)
    return CorruptError(
        f"block {seq} of feed {feed.author.hex()[:16]} does not verify: {reason}",
        feed=feed.author,
        seq=seq,
        hint=_RESTORE,
    )


# --- every signature -----------------------------------------------------------------------------------------------


def failed_signatures(ledger_id: bytes, feed: bytes, headers: Sequence[bytes]) -> list[int]:
    """The seqs of those of these checked headers whose own signature does not verify. Runs in other processes."""
    prefix = signing_prefix(ledger_id)
    failed = []
    for data in headers:
        payload, signature = signed_parts(data)
        try:
            verify_signature(feed, signed_message(prefix, payload), signature)
        except SignatureError:
            failed.append(parse_header(data)[0].seq)
    return failed


def _pool_of(processes: int) -> ProcessPoolExecutor:
    from concurrent.futures import ProcessPoolExecutor  # late: slow to import, and most programs verify nothing
    from multiprocessing import get_context

    return ProcessPoolExecutor(processes, get_context("spawn"))


class _Checked(NamedTuple):
    """How many headers of a feed are being checked, or have been, and the seqs of those that failed."""

    feed: bytes
    failed: Future[list[int]] | list[int]
    checked: int


def _is_done(failed: Future[list[int]] | list[int]) -> bool:
    return isinstance(failed, list) or failed.done()


class _Signatures:
    """Checks headers on this process and others: Python around libsodium holds the interpreter's lock, so threads fall
    short.

    This process reads and hashes, keeps the others supplied, and checks by itself whatever they are too busy for: while
    they start, and where reading is quicker than checking. Few headers wait, so memory does not grow with the ledger.
    """

    def __init__(self, ledger_id: bytes, processes: int) -> None:
        self._ledger_id = ledger_id
        self._others = processes - 1
        self._pool = _pool_of(self._others) if self._others > 0 else None
        self._queue: deque[_Checked] = deque()

    def __enter__(self) -> _Signatures:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def check(self, feed: bytes, headers: Sequence[bytes]) -> None:
        """Have these checked. The answers come in `ready` and `results`."""
        for at in range(0, len(headers), _CHECK_TOGETHER):
            some = headers[at : at + _CHECK_TOGETHER]
            busy = sum(not _is_done(each.failed) for each in self._queue)
            failed: Future[list[int]] | list[int]
            if self._pool is not None and busy < 2 * self._others:  # one at work, one in hand
                failed = self._pool.submit(failed_signatures, self._ledger_id, feed, some)
            else:
                failed = failed_signatures(self._ledger_id, feed, some)
            self._queue.append(_Checked(feed, failed, len(some)))

    def ready(self) -> Iterator[tuple[bytes, list[int], int]]:
        """Feed, seqs of those that failed, and number of the headers whose answer is here, in their order."""
        while self._queue and _is_done(self._queue[0].failed):
            yield self._take()

    def results(self) -> Iterator[tuple[bytes, list[int], int]]:
        """All that are left."""
        while self._queue:
            yield self._take()

    def _take(self) -> tuple[bytes, list[int], int]:
        feed, failed, checked = self._queue.popleft()
        return feed, failed if isinstance(failed, list) else failed.result(), checked


# --- fsck ----------------------------------------------------------------------------------------------------------


def fsck(replica: Replica, progress: Progress | None = None) -> VerifyReport:
    """See `Ledger.fsck`. Raises `CorruptError`."""
    found = replica.store.integrity_problem()
    if found is not None:
        raise CorruptError(f"SQLite finds the file damaged: {found}", hint=_RESTORE)
    found = definition_problem(replica.store)
    if found is not None:
        raise CorruptError(f"the database is not as it was made: {found}", hint=_RESTORE)
    report = verify(replica, progress=progress)
    replica.check_indexes()
    return report
