"""Verification of what lies beside the chains and yet decides who may write: disputed blocks, fork proofs, limits.

What must be true of a replica's evidence:

- Every row is of a feed, and lies at a block that the feed has.
- A fork proof verifies, and is kept for the feed and the place that it is about.
- Nothing stands at or beyond its feed's fork, nor beyond its revocation.
- A disputed block is what its row says: its id, author, seq, class and body are its header's. The block before it is
  here. Its author's signature stands behind it, its own or a successor's within the segment.
- A feed with disputed blocks has a fork or a cut: nothing else takes a block away.
- Two disputed blocks at one place, with one block before them, are a fork: there is a proof at that place or below. Not
  so in a feed that is cut, where a block may come to the place of one that the cut has set aside.

What a replica has once known cannot be missed by it where nothing that is left refers to it: the end of a disputed
branch, for one. Its digest tells, where the branch is a governor's.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from .block import join_block
from .errors import CorruptError, MedledgerError
from .fork import read_proof
from .header import Header, parse_header
from .limits import SEGMENT_BLOCKS
from .store import Feed
from .store.checks import first_stray
from .validation import authenticate, check_body

if TYPE_CHECKING:
    from .replica import Replica

_HINT = "Restore this replica from another one: make a new one and let it sync."


def check_places(replica: Replica) -> None:
    """That no row lies where no block is. Raises `CorruptError`."""
    store = replica.store
    with store.lock:
        lengths = {feed.no: feed.length for feed in store.feeds.values()}
        for table in ("blocks", "control", "holes"):
            if first_stray(store, table, lengths) is not None:
                raise CorruptError(f"there is a row in the table {table!r} where no block can be", hint=_HINT)
        for feeds in ("SELECT DISTINCT feed FROM disputed", "SELECT feed FROM forks"):
            if any(no not in lengths for (no,) in store.query(feeds)):
                raise CorruptError("there are disputed blocks or fork proofs of a feed that is not here", hint=_HINT)


def check_limits(replica: Replica) -> None:
    """That no block stands beyond a fork or a revocation. Raises `CorruptError`."""
    with replica.store.lock:
        for feed in replica.store.feeds.values():
            limit = replica.limit(feed.author)
            if feed.length > limit.length:
                message = f"a block of feed {feed.author.hex()[:16]} stands beyond the feed's {limit.reason}"
                raise CorruptError(message, feed=feed.author, seq=limit.length, hint=_HINT)


def check_forks(replica: Replica) -> list[bytes]:
    """Verify every stored fork proof; the feeds they are about. Raises `CorruptError`."""
    rows = replica.store.query("SELECT author, forks.seq, proof FROM forks JOIN feeds ON no = feed ORDER BY no")
    for author, seq, raw in rows:
        try:
            proof = read_proof(replica.id, raw)
        except MedledgerError as error:
            raise CorruptError(f"a stored fork proof does not verify: {error}", feed=author, hint=_HINT) from error
        if (proof.feed, proof.seq) != (author, seq):
            raise CorruptError("a fork proof is kept for another place than it is about", feed=author, hint=_HINT)
    return [author for author, _, _ in rows]


class _Row(NamedTuple):
    """A disputed block as it is kept."""

    id: bytes
    seq: int
    block_class: int
    header: bytes
    body: bytes


class _Beside(NamedTuple):
    """A feed's disputed blocks, and what of the feed they are held against, all of one moment."""

    feed: bytes
    rows: list[_Row]
    standing: dict[int, bytes]  # ids of blocks that stand, by seq: those that a disputed block may follow
    fork: int | None  # where the feed's known fork is
    is_cut: bool


def check_disputed(replica: Replica) -> int:
    """Verify every disputed block; how many there are. Raises `CorruptError`."""
    store = replica.store
    with store.lock:
        authors = {feed.no: feed.author for feed in store.feeds.values()}
        disputed = [authors[no] for (no,) in store.query("SELECT DISTINCT feed FROM disputed ORDER BY feed")]
    count = 0
    for author in disputed:
        with store.lock:
            beside = _read(replica, store.feeds[author])
        _check_feed(replica.id, beside)
        count += len(beside.rows)
    return count


def _read(replica: Replica, feed: Feed) -> _Beside:
    found = replica.store.query(
        "SELECT id, seq, class, header, body FROM disputed WHERE feed = ? ORDER BY seq DESC, id", (feed.no,)
    )
    rows = [_Row(*row) for row in found]
    standing = {}
    for seq in {row.seq - 1 for row in rows if 0 < row.seq <= feed.length}:
        before = replica.store.row(feed, seq)
        if before is not None:
            standing[seq] = sha256(before.header).digest()
    proof = replica.forks.get(feed.author)
    is_cut = replica.membership.last_seq(feed.author) is not None
    return _Beside(feed.author, rows, standing, None if proof is None else proof.seq, is_cut)


def _check_feed(ledger_id: bytes, beside: _Beside) -> None:
    """Check the disputed blocks of a feed, the newest first, so that a successor has been seen when it has to vouch."""
    headers = {row.id: _check_row(beside.feed, row) for row in beside.rows}
    vouched: set[bytes | None] = set()
    places: set[tuple[int, bytes | None]] = set()
    for row in beside.rows:
        prev = headers[row.id].prev
        before = None if prev is None else headers.get(prev)
        if row.seq and beside.standing.get(row.seq - 1) != prev and (before is None or before.seq != row.seq - 1):
            raise _wrong(beside.feed, row, "the block before it is missing")
        if row.id not in vouched:
            _check_signature(ledger_id, beside.feed, row)
        if row.seq % SEGMENT_BLOCKS:
            vouched.add(prev)
        if (row.seq, prev) in places and not beside.is_cut and (beside.fork is None or beside.fork > row.seq):
            raise _wrong(beside.feed, row, "another one is at its place, and the proof of that fork is missing")
        places.add((row.seq, prev))
    if beside.fork is None and not beside.is_cut:
        raise _wrong(beside.feed, beside.rows[-1], "nothing here says why it does not stand")


def _check_row(feed: bytes, row: _Row) -> Header:
    """That a disputed block is what it is kept as, and whole."""
    try:
        header = parse_header(row.header)[0]
        check_body(header, row.body)
    except MedledgerError as error:
        raise _wrong(feed, row, str(error)) from error
    kept = (row.id, feed, row.seq, row.block_class)
    if kept != (sha256(row.header).digest(), header.author, header.seq, header.block_class):
        raise _wrong(feed, row, "it is not the one it was kept as")
    return header


def _check_signature(ledger_id: bytes, feed: bytes, row: _Row) -> None:
    try:
        authenticate(ledger_id, feed, join_block(row.header, row.body))
    except MedledgerError as error:
        raise _wrong(feed, row, str(error)) from error


def _wrong(feed: bytes, row: _Row, reason: str) -> CorruptError:
    return CorruptError(
        f"disputed block {row.seq} of feed {feed.hex()[:16]} does not verify: {reason}",
        feed=feed,
        seq=row.seq,
        hint=_HINT,
    )
