"""Verification of a replica from its bytes, for somebody who trusts neither the disk nor us.

`verify` reads every block and goes through all of `validation`'s checks again: each payload byte is hashed, each chain
is followed from its first block, each segment's signature is checked. With `every_signature` each block's own signature
is checked too; a block whose own does not verify may still hold through a successor, and is named.

`fsck` adds what lies around the blocks: SQLite's own check, the heads, fork proofs, and that the entry and id indexes
say what the blocks say. SQLite's check alone would not see a replica whose last commits were lost, nor a payload that
was changed in place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

from .block import Hidden, count_entries, join_block, split_block, split_body
from .errors import BlockError, CorruptError, MedledgerError, SignatureError
from .fork import read_proof
from .header import Head, parse_header, signed_message, signed_parts, signing_prefix
from .keys import verify as verify_signature
from .store import Feed
from .validation import authenticate, validate_range

if TYPE_CHECKING:
    from .replica import Replica

_CHUNK_BLOCKS = 512  # a multiple of a segment, so that each chunk ends in a block that must verify by itself
_CHECK_TOGETHER = 128  # signatures checked at one go: some milliseconds, which is what the last process may be late

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
    report = VerifyReport()
    if every_signature:
        report.own_signatures = 0
        with _Signatures(replica.id, processes) as signatures:
            _verify_feeds(replica, report, signatures, progress)
            for feed, failed, count in signatures.results():
                _note(report, feed, failed, count)
        report.through_successor.sort()
    else:
        _verify_feeds(replica, report, None, progress)
    for feed, raw in replica.fork_proofs().items():
        try:
            read_proof(replica.id, raw)
        except MedledgerError as error:
            raise CorruptError(f"a stored fork proof does not verify: {error}", feed=feed) from error
        report.forks.append(feed)
    report.disputed = _verify_disputed(replica)
    return report


def _verify_feeds(
    replica: Replica, report: VerifyReport, signatures: _Signatures | None, progress: Progress | None
) -> None:
    with replica.store.lock:
        feeds = sorted(replica.store.feeds.values(), key=lambda feed: feed.no)
    for feed in feeds:
        if feed.head is None:
            continue
        report.feeds += 1
        head: Head | None = None
        while head is None or head.seq < feed.head.seq:
            start = 0 if head is None else head.seq + 1
            head = _verify_chunk(replica, feed, head, start, report, signatures)
            if signatures is not None:
                for done, failed, count in signatures.ready():
                    _note(report, done, failed, count)
            if progress is not None:
                progress(report.blocks)
        if head != feed.head:
            raise CorruptError("a feed's head is not its last block", feed=feed.author, seq=head.seq)


def _verify_chunk(
    replica: Replica, feed: Feed, head: Head | None, start: int, report: VerifyReport, signatures: _Signatures | None
) -> Head:
    """Verify the next blocks of a feed; the head after them."""
    assert feed.head is not None
    rows = replica.store.page(feed, start, min(feed.head.seq, start + _CHUNK_BLOCKS - 1), _CHUNK_BLOCKS)
    raws = [join_block(row.header, row.body) for row in rows]
    expected = min(feed.head.seq + 1 - start, _CHUNK_BLOCKS)
    accepted, error = validate_range(replica.id, feed.author, head, raws)
    if error is not None or len(accepted) < expected:
        raise _corrupt(
            replica.id,
            feed,
            rows[len(accepted)].seq if len(accepted) < len(rows) else start + len(rows),
            raws,
            start,
            error,
        )
    report.blocks += len(rows)
    report.size_bytes += sum(map(len, raws))
    for block in accepted:
        report.entries += count_entries(block.body_bytes)
        if block.has_holes:
            report.hidden += sum(isinstance(item, Hidden) for item in split_body(block.body_bytes))
    if signatures is not None:
        signatures.check(feed.author, [block.header_bytes for block in accepted])
    last = accepted[-1]
    return Head(last.seq, last.id, last.epoch)


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
        hint="Restore this replica from another one: make a new one and let it sync.",
    )


def _note(report: VerifyReport, feed: bytes, failed: list[int], count: int) -> None:
    assert report.own_signatures is not None
    report.own_signatures += count - len(failed)
    report.through_successor += [(feed, seq) for seq in failed]


def _verify_disputed(replica: Replica) -> int:
    """That every disputed block is a block: its branch was authenticated when it came."""
    count = 0
    for disputed in replica.disputed():
        count += 1
        if sha256(split_block(disputed.raw)[0]).digest() != disputed.id:
            raise CorruptError("a disputed block is not the one it was kept as", feed=disputed.feed, seq=disputed.seq)
    return count


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
        self._pool = ProcessPoolExecutor(self._others, get_context("spawn")) if self._others > 0 else None
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
        raise CorruptError(f"SQLite finds the file damaged: {found}", hint="Make a new replica and let it sync.")
    report = verify(replica, progress=progress)
    replica.check_indexes()
    return report
