"""The lagging indexes: entries by type, subject and time; blocks by id. Filled from blocks that stand, in batches.

They are filled when somebody asks for entries, or when `Replica.index` is called in a quiet moment, and can be dropped
and made again at any time. An entry that cannot be judged yet, because its epoch or its author's cut is not known whole
here, is void until it can: then its feed is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from heapq import merge
from itertools import chain, groupby, takewhile
from operator import itemgetter
from typing import Any, Protocol

from .block import Block, Hidden, join_block, parse_block, split_body
from .entry import Entry, decode_entry
from .errors import CorruptError
from .governance import Point
from .header import class_and_epoch
from .interpretation import Refusal, interpret_all
from .limits import IMPORT_BATCH_BLOCKS, MAX_SEQ
from .membership import EPOCH_UNKNOWN, Membership
from .store.checks import first_stray
from .store.database import SEQ_BITS, BlockRow, Feed, Store, insert_rows, position

_ENTRY_PAGE = 256
_LOOK_UPS = 400  # in one statement: SQLite before 3.32 takes 999 parameters
_STEP_BLOCKS = 4 * IMPORT_BATCH_BLOCKS  # a transaction; fewer flushes than an import's, for nobody waits for them
_READ_BYTES = 4 * 1024  # of bodies that are decoded together: some forty entries, gone before a garbage collection


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry and where it stands. `void` says why it does not count, or is None."""

    author: bytes
    seq: int
    index: int
    void: str | None
    entry: Entry
    block_id: bytes = field(repr=False)

    @property
    def type(self) -> str:
        return self.entry.type

    @property
    def time(self) -> int:
        """UTC milliseconds, by the author's clock."""
        return self.entry.time

    @property
    def subject(self) -> bytes | None:
        return self.entry.subject

    @property
    def content(self) -> Any:
        return self.entry.content


class Source(Protocol):
    """The replica that is indexed."""

    @property
    def store(self) -> Store: ...
    @property
    def membership(self) -> Membership: ...
    def is_ancestor(self, feed: bytes, earlier: Point, later: Point) -> bool: ...


class Indexer:
    """Fills and reads the indexes of one replica."""

    def __init__(self, replica: Source) -> None:
        self._replica = replica
        self._store = replica.store

    # --- filling ------------------------------------------------------------------------------------------------

    def catch_up(self, limit: int | None = None) -> int:
        """Read at most `limit` blocks into each of the indexes; how many were read."""
        return self.interpret(limit) + self.identify(limit)

    def interpret(self, limit: int | None = None) -> int:
        """Read the entries of at most `limit` blocks into the index of entries; of how many blocks it did."""
        return self._advance("interpreted", self._interpret, MAX_SEQ if limit is None else limit)

    def identify(self, limit: int | None = None) -> int:
        """Put the ids of at most `limit` blocks into the look-up; of how many it did."""
        return self._advance("identified", self._identify, MAX_SEQ if limit is None else limit)

    def _advance(self, column: str, step: Callable[[Feed, int, int], int], budget: int) -> int:
        done = 0
        for lagging, _ in self._store.lagging(column):
            while done < budget:
                with self._store.transaction():
                    # Asked anew in each transaction: another thread may have read on, cut the feed, or rolled back.
                    feed = self._store.feeds[lagging.author]
                    start = self._store.progress(column, feed)
                    if start >= feed.length:
                        break
                    reached = step(feed, start, min(_STEP_BLOCKS, budget - done))
                    self._store.set_progress(column, feed, reached)
                done += reached - start
        return done

    def _interpret(self, feed: Feed, start: int, blocks: int) -> int:
        """Index the entries of some blocks from `start`; the seq where to go on."""
        reached = start

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal reached
            for stop, found in self._rows(feed, start, blocks):
                yield from found
                reached = stop

        insert_rows(self._store.connection, "entries", rows())
        return reached

    def _rows(self, feed: Feed, start: int, blocks: int) -> Iterator[tuple[int, list[tuple[Any, ...]]]]:
        """The index rows of some blocks from `start`, some blocks at a time, with the seq after them."""
        judge = self._judge(feed)
        base = feed.no << SEQ_BITS
        numbers: dict[str, int] = {}
        items: list[tuple[int, bytes | Hidden, Refusal]] = []
        places: list[tuple[int, int]] = []
        size = 0
        last = min(start + blocks, feed.length) - 1
        for row in self._store.rows(feed, start, last + 1):
            block_class, epoch = class_and_epoch(row.header)
            refusal = judge(row, epoch)
            pos = base | row.seq
            for at, item in enumerate(split_body(row.body)):
                items.append((block_class, item, refusal))
                places.append((pos, at))
            size += len(row.body)
            if size < _READ_BYTES and row.seq < last:
                continue
            found = interpret_all(items)
            for name in {said[0] for said in found} - numbers.keys():
                numbers[name] = self._type_number(name)
            rows = [
                (pos, at, numbers[type_name], time, subject, void, content)
                for (pos, at), (type_name, time, subject, void, content) in zip(places, found, strict=True)
            ]
            yield row.seq + 1, rows
            items, places, size = [], [], 0

    def _judge(self, feed: Feed) -> Callable[[BlockRow, int], Refusal]:
        """For a block of this feed and its epoch, what tells why its author may not write a type there. Each answer is
        asked for once.
        """
        membership = self._replica.membership
        is_cut = feed.author in membership.cuts
        by_epoch: dict[int, Refusal] = {}

        def judge(row: BlockRow, epoch: int) -> Refusal:
            if is_cut:
                point = Point(row.seq, sha256(row.header).digest())
                fallen = membership.fallen(feed.author, point, self._replica.is_ancestor)
                if fallen is not None:
                    return lambda _: fallen
            refusal = by_epoch.get(epoch)
            if refusal is None:
                refusal = by_epoch[epoch] = cache(partial(membership.refusal, feed.author, epoch))
            return refusal

        return judge

    def forget_undecided(self) -> None:
        """The epochs changed: judge again what waited for one."""
        by_no = self._store.feeds_by_number()
        rows = self._store.query(f"SELECT DISTINCT pos >> {SEQ_BITS} FROM entries WHERE void = ?", (EPOCH_UNKNOWN,))
        for (no,) in rows:
            self._store.forget_interpretation(by_no[no])

    def _identify(self, feed: Feed, start: int, blocks: int) -> int:
        """Index the ids of some blocks from `start`, sorted, so that one batch touches each page once."""
        page = self._store.page(feed, start, start + blocks - 1, blocks)
        rows = sorted((_prefix(sha256(row.header).digest()), position(feed.no, row.seq)) for row in page)
        insert_rows(self._store.connection, "block_ids", rows)
        return start + len(page)

    def _type_number(self, name: str) -> int:
        found = self._store.query("SELECT no FROM entry_types WHERE name = ?", (name,))
        if not found:
            with self._store.transaction() as db:
                found = [(db.execute("INSERT INTO entry_types (name) VALUES (?)", (name,)).lastrowid,)]
        number: int = found[0][0]
        return number

    def write_members(self, membership: Membership) -> None:
        """The fold's result as rows for people."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM member_rows")
            db.executemany("INSERT INTO member_rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _member_rows(membership))

    # --- reading ------------------------------------------------------------------------------------------------

    def entries(
        self,
        type_name: str | None,
        subject: bytes | None,
        since: int | None,
        until: int | None,
        author: bytes | None,
        void: bool,
        newest_first: bool = False,
    ) -> Iterator[LoggedEntry]:
        """See `Replica.entries`."""
        self.catch_up()
        conditions, values = [], []
        for condition, value in (
            ("type = (SELECT no FROM entry_types WHERE name = ?)", type_name),
            ("subject = ?", subject),
            ("time >= ?", since),
            ("time < ?", until),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if author is not None:
            feed = self._store.feeds.get(author)
            if feed is None:
                return
            conditions.append(f"pos BETWEEN {position(feed.no, 0)} AND {position(feed.no, MAX_SEQ)}")
        if not void:
            conditions.append("void IS NULL")
        if type_name is not None or subject is not None:
            streams = [self._read(conditions, values, newest_first)]
        else:  # the types are few and each is indexed by time: merging them needs no index of its own
            numbers = [no for (no,) in self._store.query("SELECT no FROM entry_types")]
            streams = [self._read([f"type = {no}", *conditions], values, newest_first) for no in numbers]
        for _, logged in merge(*streams, key=itemgetter(0), reverse=newest_first):
            yield logged

    def _read(
        self, conditions: list[str], values: list[Any], newest_first: bool
    ) -> Iterator[tuple[tuple[int, int, int], LoggedEntry]]:
        """The entries in pages, each found anew after the last one, so that nothing is held while the caller works.

        Each comes with its place in the order. The conditions name one type or one subject, which are indexed by time:
        without an index each page would cost a look at every entry.
        """
        after: tuple[int, int, int] = (2**63 - 1, 2**63 - 1, 2**63 - 1) if newest_first else (-(2**63), -1, -1)
        beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
        sql = (
            f"SELECT time, pos, idx, void FROM entries WHERE {' AND '.join(conditions)} "
            f"AND (time, pos, idx) {beyond} (?, ?, ?) "
            f"ORDER BY time {order}, pos {order}, idx {order} LIMIT {_ENTRY_PAGE}"
        )
        while True:
            with self._store.lock:  # a page and the feeds it names, of one moment
                page = self._store.query(sql, (*values, *after))
                by_no = self._store.feeds_by_number()
            for pos, of_block in groupby(page, key=itemgetter(1)):  # read and split once: it may hold thousands
                feed, seq = by_no[pos >> SEQ_BITS], pos & MAX_SEQ
                row = self._store.row(feed, seq)
                items = [] if row is None else split_body(row.body)
                for time, _, index, void in of_block:
                    after = (time, pos, index)
                    if row is not None:  # else truncated since the page was read
                        yield after, _logged(feed, row, items[index], index, void)
            if len(page) < _ENTRY_PAGE:
                return

    # --- checking -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Make again what the indexes hold so far, and compare. Raises `CorruptError` at the first that differs.

        It goes by batches, each of one moment, so that blocks that come or go meanwhile are no damage.
        """
        with self._store.lock:
            reached = {feed.no: self._store.progress("interpreted", feed) for feed in self._store.feeds.values()}
            if first_stray(self._store, "entries", reached) is not None:
                raise _differs("entries")
        for author in list(self._store.feeds):
            for column, check in (("interpreted", self._check_entries), ("identified", self._check_ids)):
                start: int | None = 0
                while start is not None:
                    with self._store.lock:
                        start = self._check_batch(author, column, check, start)
        counts = "SELECT (SELECT count(*) FROM block_ids), (SELECT total(identified) FROM feeds)"
        ((held, expected),) = self._store.query(counts)
        if held != expected:
            raise _differs("block ids")
        self._check_members()

    def _check_batch(
        self, author: bytes, column: str, check: Callable[[Feed, int, int], None], start: int
    ) -> int | None:
        """Check one index of a feed for some blocks; the seq where to go on, None at the end."""
        feed = self._store.feeds[author]
        reached = self._store.progress(column, feed)
        if reached > feed.length:
            raise _differs(column, feed, feed.length)
        stop = min(start + IMPORT_BATCH_BLOCKS, reached)
        if start >= stop:
            return None
        check(feed, start, stop)
        return stop

    def _check_entries(self, feed: Feed, start: int, stop: int) -> None:
        expected = [row for _, rows in self._rows(feed, start, stop - start) for row in rows]
        found = self._store.query(
            "SELECT pos, idx, type, time, subject, void, content FROM entries WHERE pos BETWEEN ? AND ? "
            "ORDER BY pos, idx",
            (position(feed.no, start), position(feed.no, stop - 1)),
        )
        if found != expected:
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(expected, found, strict=False)))
            raise _differs("entries", feed, min(row[0] for row in (*expected[same:], *found[same:])) & MAX_SEQ)

    def _check_ids(self, feed: Feed, start: int, stop: int) -> None:
        """That each block is found by its id. That nothing else is found, their number tells."""
        page = self._store.page(feed, start, stop - 1, stop - start)
        rows = [(_prefix(sha256(row.header).digest()), position(feed.no, row.seq)) for row in page]
        for at in range(0, len(rows), _LOOK_UPS):
            some = rows[at : at + _LOOK_UPS]
            missing = self._store.query(
                f"WITH ids (prefix, pos) AS (VALUES {', '.join(['(?, ?)'] * len(some))}) SELECT ids.pos FROM ids "
                "LEFT JOIN block_ids b ON b.prefix = ids.prefix AND b.pos = ids.pos WHERE b.pos IS NULL LIMIT 1",
                list(chain.from_iterable(some)),
            )
            if missing:
                raise _differs("block ids", feed, missing[0][0] & MAX_SEQ)

    def _check_members(self) -> None:
        with self._store.lock:
            found = self._store.query("SELECT * FROM member_rows ORDER BY feed")
            if not found and not self._store.query("SELECT 1 FROM control LIMIT 1"):
                return  # nothing but the genesis has come yet
            if found != sorted(_member_rows(self._replica.membership)):
                raise _differs("members")

    def find_block(self, block_id: bytes) -> Block | None:
        """See `Replica.find_block`."""
        self.catch_up()
        by_no = self._store.feeds_by_number()
        places = self._store.query("SELECT pos FROM block_ids WHERE prefix = ?", (_prefix(block_id),))
        for (pos,) in places:
            row = self._store.row(by_no[pos >> SEQ_BITS], pos & MAX_SEQ)
            if row is not None and sha256(row.header).digest().startswith(block_id):
                return parse_block(join_block(row.header, row.body))
        return None


def _logged(feed: Feed, row: BlockRow, item: bytes | Hidden, index: int, void: str | None) -> LoggedEntry:
    block_id = sha256(row.header).digest()
    if isinstance(item, bytes) and void != "malformed":
        return LoggedEntry(feed.author, row.seq, index, void, decode_entry(item), block_id)
    raw = item if isinstance(item, bytes) else b""
    return LoggedEntry(feed.author, row.seq, index, void, Entry(b"", "", 0, None, None, raw), block_id)


def _prefix(block_id: bytes) -> int:
    """The first 8 bytes of an id as SQLite's signed integer."""
    return int.from_bytes(block_id[:8], "big", signed=True)


def _member_rows(membership: Membership) -> list[tuple[Any, ...]]:
    """A fold's result as rows for people."""
    return [
        (
            feed,
            member.label,
            member.organisation,
            " ".join(member.roles),
            member.epoch,
            member.governor,
            membership.last_seq(feed),
            member.succeeds,
        )
        for feed, member in membership.members.items()
    ]


def _differs(index: str, feed: Feed | None = None, seq: int | None = None) -> CorruptError:
    place = "the blocks" if feed is None else f"block {seq} of feed {feed.author.hex()[:16]}"
    return CorruptError(
        f"the index of {index} differs from {place}",
        feed=None if feed is None else feed.author,
        seq=seq,
        hint="The blocks are right: `medledger fsck --reindex` makes the index again.",
    )
