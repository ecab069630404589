"""The register: where in the ledger the entries about a prescription, a pack or a product stand, and how the stock is.

It is a SQLite file beside the inbox, made out of the ledger and never the other way: removing it costs the time to make
it again, and nothing else. Rules:

- It says up to which block each feed was read, with the block's id. What came since is added in one transaction
  together with the new position: after a kill -9 it goes on where it was, and takes no entry twice.
- Looking something up costs what is found, however much the ledger holds. What is found is a place: the entry itself is
  read from the ledger.
- A file of another ledger, key or format is emptied when it is opened. A damaged one is removed: when it is opened, or
  when it is closed after SQLite has found the damage (`damaged`).

What goes in, and when all of it is wrong, is for view.py to say.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

from medledger import cbor
from medledger.errors import StoreError
from medledger.findings.finding import Finding, Place
from medledger.findings.shelf import Move, Shelf

from .. import logs

FORMAT: Final = b"3"
"""To be changed with the tables, and with what counts: a register of other rules is made anew."""
TABLES: Final = {
    "about": "name TEXT PRIMARY KEY, value BLOB NOT NULL",  # what is said of all of it
    # The last block that was read and its id; what decided whether its entries count; whether any of them is here.
    "feeds": "no INTEGER PRIMARY KEY, feed BLOB NOT NULL UNIQUE, seq INTEGER NOT NULL, id BLOB NOT NULL, "
    "rights BLOB NOT NULL, used INTEGER NOT NULL",
    "places": "key BLOB NOT NULL, no INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL, "
    "PRIMARY KEY (key, no, seq, idx)",
    "schedules": "product TEXT PRIMARY KEY, schedule TEXT NOT NULL",
    "shelves": "product TEXT NOT NULL, unit TEXT NOT NULL, sums TEXT NOT NULL, PRIMARY KEY (product, unit)",
    "conflicts": "subject BLOB PRIMARY KEY, findings BLOB NOT NULL, count INTEGER NOT NULL",
    "doubtful": "subject BLOB PRIMARY KEY",  # what is to be judged when all is read
}
PRAGMAS: Final = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "cache_size = -8192",  # KiB: keys lie anywhere
    "synchronous = NORMAL",  # after a power cut it may be behind the ledger, and is whole
)
_SUMS: Final = ("received", "supplied", "undone", "brought_back", "shipped", "removed", "destroyed", "held")

_KEPT: Final = frozenset(("conflicts", "doubtful"))
"""What is told of them is judged again, and not read."""

Key = tuple[Any, ...]
"""What entries are found under: a word and plain values, such as ("pack", product, serial)."""


class Read(NamedTuple):
    """How far a feed was read, as in the table."""

    seq: int
    id: bytes
    rights: bytes
    used: bool


class Found(NamedTuple):
    """Where an entry stands."""

    feed: bytes
    seq: int
    at: int  # in its block


class Register:
    """One file. For one thread at a time. All of it raises `StoreError`."""

    def __init__(self, path: Path, ledger_id: bytes, me: bytes) -> None:
        self._path = path
        self._me = me
        self._is = {"format": FORMAT, "ledger": ledger_id, "feed": me}
        self._changed: dict[tuple[str, str], Shelf] = {}  # by the transaction under way
        self._numbers: dict[bytes, int] = {}  # of feeds, as in the table
        self._used: set[bytes] = set()  # the feeds that the transaction under way marked as such
        self._count: int | None = None  # of conflicts, where it is known
        self._postponed = False
        self.damaged = False
        try:
            self._db = self._open()
        except (sqlite3.OperationalError, OSError) as error:
            raise self._unusable(error) from error
        except sqlite3.DatabaseError as error:
            logs.warning("register removed", reason=str(error))
            self._remove()
            with self._reporting():
                self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=2.0, isolation_level=None, check_same_thread=False)
        try:
            self._path.chmod(0o600)
            for pragma in PRAGMAS:
                db.execute(f"PRAGMA {pragma}")
            db.execute("BEGIN IMMEDIATE")
            found = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            told = dict(db.execute("SELECT name, value FROM about")) if "about" in found else {}
            if not self._is.items() <= told.items():
                self._make(db, found)
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def _make(self, db: sqlite3.Connection, before: Iterable[str], kept: Collection[str] = ()) -> None:
        """The tables, with nothing in them but for those that are kept."""
        for name in before:
            db.execute(f'DROP TABLE "{name}"')
        for name, columns in TABLES.items():
            if name in kept:
                continue
            db.execute(f"CREATE TABLE {name} ({columns}) STRICT{'' if name == 'feeds' else ', WITHOUT ROWID'}")
        db.executemany("INSERT INTO about VALUES (?, ?)", self._is.items())

    def close(self) -> None:
        """Close the file. One that was found to be damaged is removed."""
        self._db.close()
        if self.damaged:
            logs.warning("register removed", reason="it is damaged")
            self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            for name in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + name).unlink(missing_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing. One that was left open (`postpone`) goes on, and is undone with it."""
        self._postponed = False
        try:
            with self._reporting():
                if not self._db.in_transaction:
                    self._db.execute("BEGIN IMMEDIATE")
            yield
            if not self._postponed:
                self._write_shelves()
                with self._reporting():
                    self._db.execute("COMMIT")
        except BaseException:
            self._postponed = False
            self._numbers.clear()  # may be of feeds that are not there: SQLite undoes by itself what finds no room
            self._count = None
            raise
        finally:
            if not self._postponed:
                self._forget_transaction()

    def postpone(self) -> None:
        """Leave the transaction under way open for the next: each commit writes very many pages again."""
        self._postponed = True

    def _forget_transaction(self) -> None:
        self._changed.clear()
        self._used.clear()
        if self._db.in_transaction:
            self._do("ROLLBACK")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self.damaged |= type(error) is sqlite3.DatabaseError  # what the disk and others' locks do is of a subclass
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error | OSError) -> StoreError:
        return StoreError(
            f"{self._path} cannot be used: {error}",
            hint="Look for a full or failing disk. The file may be removed: it is made again at the next start.",
        )

    def _do(self, sql: str, *values: Any) -> list[Any]:
        with self._reporting():
            return self._db.execute(sql, values).fetchall()

    # --- how far it was read ----------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Hold nothing, and note that it is made anew. What was found before is doubtful."""
        with self._reporting():
            self._make(self._db, TABLES.keys() - _KEPT, _KEPT)
        self._changed.clear()
        self._numbers.clear()
        self._used.clear()
        self.doubt_conflicts()
        self.note("remaking", b"")

    def note(self, name: str, value: bytes) -> None:
        """Something about all of it."""
        self._do("INSERT OR REPLACE INTO about VALUES (?, ?)", name, value)

    def noted(self, name: str) -> bytes | None:
        """What was noted."""
        found = self._do("SELECT value FROM about WHERE name = ?", name)
        return found[0][0] if found else None

    def forget(self, name: str) -> None:
        """Take back what was noted."""
        self._do("DELETE FROM about WHERE name = ?", name)

    def feeds(self) -> dict[bytes, Read]:
        """How far each feed was read."""
        rows = self._do("SELECT feed, seq, id, rights, used FROM feeds")
        return {feed: Read(seq, block, rights, bool(used)) for feed, seq, block, rights, used in rows}

    def read_on(self, feed: bytes, seq: int, block: bytes, rights: bytes) -> None:
        """A feed was read up to this block."""
        number = self._number(feed)
        self._do("UPDATE feeds SET seq = ?, id = ?, rights = ? WHERE no = ?", seq, block, rights, number)

    def _number(self, feed: bytes) -> int:
        if feed not in self._numbers:
            found = self._do("SELECT no FROM feeds WHERE feed = ?", feed)
            if not found:
                sql = "INSERT INTO feeds (feed, seq, id, rights, used) VALUES (?, -1, x'', x'', 0) RETURNING no"
                found = self._do(sql, feed)
            self._numbers[feed] = found[0][0]
        return self._numbers[feed]

    # --- places -----------------------------------------------------------------------------------------------------

    def add(self, place: Place, keys: Iterable[Key]) -> bool:
        """Put a place under these keys, the first of which is the entry's own; whether it was not there yet."""
        no = self._number(place.feed)
        if place.feed not in self._used:
            self._do("UPDATE feeds SET used = 1 WHERE no = ?", no)
            self._used.add(place.feed)
        first, *others = ((_digest(key), no, place.seq, place.index) for key in keys)
        if not self._do("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?) RETURNING 1", *first):
            return False
        with self._reporting():
            self._db.executemany("INSERT OR IGNORE INTO places VALUES (?, ?, ?, ?)", others)
        return True

    def find(self, *keys: Key) -> list[Found]:
        """What stands under any of these keys: our own feed's first, each by its position."""
        sql = "SELECT no, p.seq, idx, feed FROM places p JOIN feeds USING (no) WHERE key = ?"
        found = {row for key in keys for row in self._do(sql, _digest(key))}
        return [Found(feed, seq, at) for _, seq, at, feed in sorted(found, key=lambda row: (row[3] != self._me, row))]

    def first(self, key: Key) -> list[Found]:
        """One of the places under this key, of our own feed where there is one; none where there is none."""
        sql = "SELECT feed, p.seq, idx FROM places p JOIN feeds USING (no) WHERE key = ?"
        name = _digest(key)
        rows = self._do(f"{sql} AND no = ? LIMIT 1", name, self._number(self._me)) or self._do(f"{sql} LIMIT 1", name)
        return [Found(*row) for row in rows]

    def holds(self, key: Key, *, ours: bool = False, besides: Place | None = None) -> bool:
        """Whether anything stands under this key, or anything of our own feed; besides what stands in that place."""
        sql = "SELECT 1 FROM places WHERE key = ?"
        values: list[Any] = [_digest(key)]
        if ours:
            sql, values = f"{sql} AND no = ?", [*values, self._number(self._me)]
        if besides is not None:
            place = (self._number(besides.feed), besides.seq, besides.index)
            sql, values = f"{sql} AND (no, seq, idx) <> (?, ?, ?)", [*values, *place]
        return bool(self._do(f"{sql} LIMIT 1", *values))

    def ours(self, seq: int, index: int) -> Found:
        """A place in our own feed."""
        return Found(self._me, seq, index)

    # --- schedules and shelves --------------------------------------------------------------------------------------

    def schedule(self, product: str) -> str | None:
        """As what anybody's entry says that a product is controlled; of several the first in order."""
        found = self._do("SELECT schedule FROM schedules WHERE product = ?", product)
        return found[0][0] if found else None

    def add_schedule(self, product: str, schedule: str) -> None:
        """An entry says so."""
        sql = "INSERT INTO schedules VALUES (?1, ?2) ON CONFLICT DO UPDATE SET schedule = min(schedule, ?2)"
        self._do(sql, product, schedule)

    def shelves(self, product: str | None = None) -> dict[tuple[str, str], Shelf]:
        """This pharmacy's shelves, of one product or all, by product and unit."""
        sql = "SELECT product, unit, sums FROM shelves"
        rows = self._do(sql) if product is None else self._do(f"{sql} WHERE product = ?", product)
        return {(of, unit): _shelf(self._me, sums) for of, unit, sums in sorted(rows)}

    def move(self, product: str, unit: str, move: Move) -> None:
        """One of our own entries moved something."""
        name = (product, unit)
        if name not in self._changed:
            self._changed[name] = self.shelves(product).get(name) or Shelf()
        self._changed[name].add(move)

    def _write_shelves(self) -> None:
        for (product, unit), shelf in self._changed.items():
            self._do("INSERT OR REPLACE INTO shelves VALUES (?, ?, ?)", product, unit, _sums(shelf))

    # --- conflicts --------------------------------------------------------------------------------------------------

    def doubt(self, subjects: Iterable[Any]) -> None:
        """They are to be judged."""
        rows = ((cbor.encode(list(subject)),) for subject in subjects)
        with self._reporting():
            self._db.executemany("INSERT OR IGNORE INTO doubtful VALUES (?)", rows)

    def doubt_conflicts(self) -> None:
        """Each subject of one is to be judged again."""
        self._do("INSERT OR IGNORE INTO doubtful SELECT subject FROM conflicts")

    def doubtful(self, many: int) -> list[Any]:
        """Some of what is to be judged, as lists."""
        rows = self._do("SELECT subject FROM doubtful ORDER BY subject LIMIT ?", many)
        return [cbor.decode(subject, max_size=len(subject)) for (subject,) in rows]

    def doubts(self) -> int:
        """How much there is to be judged."""
        return int(self._do("SELECT count(*) FROM doubtful")[0][0])

    def settled(self, subject: Any) -> None:
        """It needs no judging."""
        self._do("DELETE FROM doubtful WHERE subject = ?", cbor.encode(list(subject)))

    def conflicts(self, many: int | None = None) -> Iterator[Finding]:
        """What was found, by its subject; about so many of these at most."""
        sql = "SELECT findings FROM conflicts ORDER BY subject LIMIT ?"
        for (encoded,) in self._do(sql, -1 if many is None else many):
            yield from _findings(encoded)

    def conflicts_about(self, subject: Any) -> list[Finding]:
        """What was found about this subject."""
        found = self._do("SELECT findings FROM conflicts WHERE subject = ?", cbor.encode(list(subject)))
        return _findings(found[0][0]) if found else []

    def count_conflicts(self) -> int:
        """How many they are."""
        if self._count is None:
            self._count = int(self._do("SELECT total(count) FROM conflicts")[0][0])
        return self._count

    def set_conflicts(self, subject: Any, found: Sequence[Finding]) -> None:
        """All that is found about this subject, which may be nothing."""
        name = cbor.encode(list(subject))
        self._count = None
        if found:
            told = [[each.kind, each.sentence, [_told(at) for at in each.places], dict(each.facts)] for each in found]
            self._do("INSERT OR REPLACE INTO conflicts VALUES (?, ?, ?)", name, cbor.encode(told), len(found))
        else:
            self._do("DELETE FROM conflicts WHERE subject = ?", name)


def _findings(encoded: bytes) -> list[Finding]:
    return [
        Finding(kind, sentence, tuple(Place(*place) for place in places), facts)
        for kind, sentence, places, facts in cbor.decode(encoded, max_size=len(encoded))
    ]


def _told(place: Place) -> list[Any]:
    return [place.feed, place.seq, place.index, place.block_id]


def _digest(key: Key) -> bytes:
    return blake2b(cbor.encode(list(key)), digest_size=16).digest()


def _sums(shelf: Shelf) -> str:
    begin = shelf.begin
    place = None if begin is None else [begin.seq, begin.index, begin.block_id.hex()]
    return json.dumps([place, *(str(getattr(shelf, name)) for name in _SUMS)])


def _shelf(feed: bytes, text: str) -> Shelf:
    """A shelf as it was when it was written. What lay before its first receipt is not needed: our own feed is read in
    its order, so that no earlier receipt can come.
    """
    place, *sums = json.loads(text)
    shelf = Shelf(begin=None if place is None else Place(feed, place[0], place[1], bytes.fromhex(place[2])))
    for name, sum_of in zip(_SUMS, sums, strict=True):
        setattr(shelf, name, Fraction(sum_of))
    return shelf
