"""Plain statements over the tables of `migrations`: rows in, rows out. What may be stored is decided elsewhere.

Every method takes the lock, so that one connection serves an agent that appends while gossip imports. Nothing here
keeps the lock while a caller iterates: what could be long is read in pages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from typing import Any, NamedTuple

from ..errors import CorruptError, UsageError
from ..header import BlockClass, Head, parse_header
from ..limits import MAX_SEQ
from ..validation import ValidBlock
from .connection import RESTORE, Connection

SEQ_BITS = 40
CONTROL = int(BlockClass.CONTROL)  # a plain integer: compared for each block of an import
PAGE_ROWS = 256
_ROWS_PER_STATEMENT = 100  # of at most 9 columns: SQLite before 3.32 takes 999 parameters


@dataclass(slots=True)
class Feed:
    """A feed's row: where its blocks lie and what the next one is held against. Replaced as a whole on commit."""

    no: int
    author: bytes
    head: Head | None

    @property
    def length(self) -> int:
        return 0 if self.head is None else self.head.seq + 1


class BlockRow(NamedTuple):
    """A stored block's two halves."""

    seq: int
    header: bytes
    body: bytes


def position(feed_no: int, seq: int) -> int:
    """Row key of a block: feeds one after the other, each in order."""
    return feed_no << SEQ_BITS | seq


def insert_rows(db: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows, all of one width, many to a statement: SQLite then keeps its place in the table and its indexes."""
    source = iter(rows)
    while batch := list(islice(source, _ROWS_PER_STATEMENT)):
        row = f"({', '.join('?' * len(batch[0]))})"
        if len(batch) == _ROWS_PER_STATEMENT:
            many = f"INSERT INTO {table} VALUES {', '.join([row] * _ROWS_PER_STATEMENT)}"
            db.execute(many, list(chain.from_iterable(batch)))
        else:
            db.executemany(f"INSERT INTO {table} VALUES {row}", batch)


class Store(Connection):
    """One replica's tables."""

    feeds: dict[bytes, Feed]
    with_disputed: set[int]  # numbers of the feeds that have disputed blocks: nearly always none

    def _load(self) -> None:
        feeds = {}
        for no, author, seq, head, epoch in self.query("SELECT no, author, seq, head, epoch FROM feeds"):
            feeds[author] = Feed(no, author, None)
            if type(seq) is not int or type(epoch) is not int or (seq >= 0) is not isinstance(head, bytes):
                raise CorruptError(f"{self.path} is damaged: a feed's head", hint=RESTORE)
            if seq >= 0:
                feeds[author].head = Head(seq, head, epoch)
        self.feeds = feeds
        self.with_disputed = {no for (no,) in self.query("SELECT DISTINCT feed FROM disputed")}

    # --- feeds and blocks ---------------------------------------------------------------------------------------

    def feed(self, author: bytes) -> Feed:
        """The feed's row, made if it is new."""
        with self.lock:
            found = self.feeds.get(author)
            if found is None:
                with self.transaction() as db:
                    no = db.execute("INSERT INTO feeds VALUES (NULL, ?, -1, NULL, 0, 0, 0)", (author,)).lastrowid
                assert no is not None  # an INSERT has a rowid
                found = self.feeds[author] = Feed(no, author, None)
            return found

    def append(self, feed: Feed, blocks: Sequence[ValidBlock]) -> None:
        """Blocks that follow the feed's head, in one transaction with the head."""
        base = feed.no << SEQ_BITS
        last = blocks[-1]
        with self.transaction() as db:
            if len(blocks) == 1:
                db.execute("INSERT INTO blocks VALUES (?, ?, ?)", (base | last.seq, last.header_bytes, last.body_bytes))
            else:
                insert_rows(
                    db, "blocks", [(base | block.seq, block.header_bytes, block.body_bytes) for block in blocks]
                )
            for block in blocks:
                if block.has_holes:
                    db.execute("INSERT INTO holes VALUES (?)", (base | block.seq,))
                if block.block_class == CONTROL:
                    db.execute("INSERT INTO control VALUES (?)", (base | block.seq,))
            db.execute(
                "UPDATE feeds SET seq = ?, head = ?, epoch = ? WHERE no = ?", (last.seq, last.id, last.epoch, feed.no)
            )
            feed.head = Head(last.seq, last.id, last.epoch)

    def rows(self, feed: Feed, start: int = 0, stop: int | None = None) -> Iterator[BlockRow]:
        """The feed's blocks with start <= seq < stop, in order, read in pages."""
        last = MAX_SEQ if stop is None else stop - 1
        while start <= last:
            page = self.page(feed, start, last, PAGE_ROWS)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            start = page[-1].seq + 1

    def page(self, feed: Feed, start: int, last: int, rows: int) -> list[BlockRow]:
        """At most `rows` of the feed's blocks with start <= seq <= last. Raises `UsageError` for a negative start."""
        if start < 0:
            raise UsageError("blocks are numbered from 0")
        base = feed.no << SEQ_BITS
        found = self.query(
            "SELECT pos, header, body FROM blocks WHERE pos BETWEEN ? AND ? ORDER BY pos LIMIT ?",
            (base | start, base | min(last, MAX_SEQ), rows),
        )
        for pos, header, body in found:
            if (
                type(header) is not bytes or type(body) is not bytes
            ):  # a flipped bit may make nothing, or a number, of it
                raise CorruptError(
                    f"{self.path} is damaged: a block is not there", feed=feed.author, seq=pos - base, hint=RESTORE
                )
        return [BlockRow(pos - base, header, body) for pos, header, body in found]

    def row(self, feed: Feed, seq: int) -> BlockRow | None:
        page = self.page(feed, seq, seq, 1)
        return page[0] if page else None

    def replace_body(self, feed: Feed, seq: int, body: bytes, *, has_holes: bool) -> None:
        """Fill, or erase, entries of a stored block: the header does not change."""
        pos = position(feed.no, seq)
        with self.transaction() as db:
            db.execute("UPDATE blocks SET body = ? WHERE pos = ?", (body, pos))
            if has_holes:
                db.execute("INSERT OR IGNORE INTO holes VALUES (?)", (pos,))
            else:
                db.execute("DELETE FROM holes WHERE pos = ?", (pos,))
            self.forget_interpretation(feed, seq)

    def truncate(self, feed: Feed, head: Head | None) -> None:
        """Move every block after `head` to the disputed ones: evidence, but no longer what the feed says."""
        keep = 0 if head is None else head.seq + 1
        base = feed.no << SEQ_BITS
        low, high = base | keep, base | MAX_SEQ
        with self.transaction() as db:
            for row in self.rows(feed, keep):
                self.add_disputed(feed, row.seq, row.header, row.body)
            for table in ("blocks", "control", "holes", "entries"):
                db.execute(f"DELETE FROM {table} WHERE pos BETWEEN ? AND ?", (low, high))
            db.execute("DELETE FROM block_ids WHERE pos BETWEEN ? AND ?", (low, high))
            db.execute(
                "UPDATE feeds SET seq = ?, head = ?, epoch = ?, interpreted = min(interpreted, ?), "
                "identified = min(identified, ?) WHERE no = ?",
                (keep - 1, head and head.id, head.epoch if head else 0, keep, keep, feed.no),
            )
            feed.head = head

    # --- evidence -----------------------------------------------------------------------------------------------

    def add_disputed(self, feed: Feed, seq: int, header: bytes, body: bytes) -> None:
        block_class = parse_header(header)[0].block_class
        self.with_disputed.add(feed.no)
        with self.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO disputed VALUES (?, ?, ?, ?, ?, ?)",
                (sha256(header).digest(), feed.no, seq, block_class, header, body),
            )

    def disputed(self, feed: Feed) -> list[tuple[bytes, BlockRow]]:
        """(id, block) of the feed's disputed blocks, by seq."""
        rows = self.query("SELECT id, seq, header, body FROM disputed WHERE feed = ? ORDER BY seq, id", (feed.no,))
        return [(block_id, BlockRow(seq, header, body)) for block_id, seq, header, body in rows]

    def disputed_places(self, feed: Feed, start: int) -> list[tuple[int, bytes]]:
        """(seq, id) of the feed's disputed blocks from seq `start` on, in that order."""
        return self.query("SELECT seq, id FROM disputed WHERE feed = ? AND seq >= ? ORDER BY seq, id", (feed.no, start))

    def remove_disputed(self, block_ids: Iterable[bytes]) -> None:
        """These blocks stand again."""
        with self.transaction() as db:
            db.executemany("DELETE FROM disputed WHERE id = ?", [(block_id,) for block_id in block_ids])

    def feeds_with_disputed(self) -> list[Feed]:
        """The feeds that have disputed blocks."""
        with self.lock:
            by_no = self.feeds_by_number()
            return [by_no[no] for no in sorted(self.with_disputed)]

    def feeds_by_number(self) -> dict[int, Feed]:
        """The feeds, by the number that row keys are made of."""
        with self.lock:
            return {feed.no: feed for feed in self.feeds.values()}

    def disputed_block(self, block_id: bytes) -> BlockRow | None:
        rows = self.query("SELECT seq, header, body FROM disputed WHERE id = ?", (block_id,))
        return BlockRow(*rows[0]) if rows else None

    def set_fork(self, feed: Feed, seq: int, proof: bytes) -> None:
        with self.transaction() as db:
            db.execute(
                "INSERT INTO forks VALUES (?, ?, ?) "
                "ON CONFLICT (feed) DO UPDATE SET seq = excluded.seq, proof = excluded.proof",
                (feed.no, seq, proof),
            )

    def forks(self) -> dict[bytes, bytes]:
        """The canonical fork proof of each forked feed."""
        return dict(self.query("SELECT f.author, k.proof FROM forks k JOIN feeds f ON f.no = k.feed"))

    def control_rows(self) -> Iterator[tuple[Feed, bytes, BlockRow]]:
        """(feed, id or b"", block) of every control block, the disputed ones with their id."""
        with self.lock:
            rows = self.query(
                "SELECT c.pos, b.header, b.body FROM control c JOIN blocks b ON b.pos = c.pos ORDER BY c.pos"
            )
            branches = self.query(
                "SELECT feed, id, seq, header, body FROM disputed WHERE class = 0 ORDER BY feed, seq, id"
            )
            by_no = self.feeds_by_number()
        for pos, header, body in rows:
            yield by_no[pos >> SEQ_BITS], b"", BlockRow(pos & MAX_SEQ, header, body)
        for no, block_id, seq, header, body in branches:
            yield by_no[no], block_id, BlockRow(seq, header, body)

    def holes(self) -> list[tuple[bytes, int]]:
        """(feed, seq) of each block with a hidden entry."""
        with self.lock:
            rows = self.query("SELECT pos FROM holes ORDER BY pos")
            by_no = self.feeds_by_number()
        return [(by_no[pos >> SEQ_BITS].author, pos & MAX_SEQ) for (pos,) in rows]

    def hole_sizes(self) -> dict[tuple[bytes, int], int]:
        """The bytes that the body of each such block has here: an entry takes more than the hash in its place."""
        with self.lock:
            rows = self.query("SELECT h.pos, length(b.body) FROM holes h JOIN blocks b ON b.pos = h.pos ORDER BY h.pos")
            by_no = self.feeds_by_number()
        return {(by_no[pos >> SEQ_BITS].author, pos & MAX_SEQ): size for pos, size in rows}

    # --- what lags ----------------------------------------------------------------------------------------------

    def forget_interpretation(self, feed: Feed, seq: int = 0) -> None:
        """The feed's entries from `seq` on will be read again."""
        with self.transaction() as db:
            db.execute(
                "DELETE FROM entries WHERE pos BETWEEN ? AND ?", (position(feed.no, seq), position(feed.no, MAX_SEQ))
            )
            db.execute("UPDATE feeds SET interpreted = min(interpreted, ?) WHERE no = ?", (seq, feed.no))

    def forget_ids(self, feed: Feed) -> None:
        """The feed's block ids will be read again."""
        with self.transaction() as db:
            db.execute("DELETE FROM block_ids WHERE pos BETWEEN ? AND ?", _span(feed))
            db.execute("UPDATE feeds SET identified = 0 WHERE no = ?", (feed.no,))

    def lagging(self, column: str) -> list[tuple[Feed, int]]:
        """(feed, next seq) of the feeds whose `interpreted` or `identified` is behind their head."""
        assert column in ("interpreted", "identified")
        rows = self.query(f"SELECT author, {column} FROM feeds WHERE {column} <= seq ORDER BY no")
        return [(self.feeds[author], seq) for author, seq in rows]

    def progress(self, column: str, feed: Feed) -> int:
        """How many of a feed's blocks stand in an index."""
        assert column in ("interpreted", "identified")
        reached: int = self.query(f"SELECT {column} FROM feeds WHERE no = ?", (feed.no,))[0][0]
        return reached

    def set_progress(self, column: str, feed: Feed, seq: int) -> None:
        assert column in ("interpreted", "identified")
        with self.transaction() as db:
            db.execute(f"UPDATE feeds SET {column} = ? WHERE no = ?", (seq, feed.no))


def _span(feed: Feed) -> tuple[int, int]:
    """The row keys that a feed's blocks may have."""
    return position(feed.no, 0), position(feed.no, MAX_SEQ)
