"""Each byte of a ledger's database flipped, one after the other: each flip is detected, or provably changes nothing.

A flip is detected when opening the ledger with its key, `fsck`, or reading what it keeps for itself raises one of our
errors. Doing all of that half a million times would take hours, so a flip is first met by the part of `fsck` that reads
the byte, on a ledger that stays open and forgets its cached pages:

1. in a table of blocks, the walk along the feeds that have blocks on that page;
2. SQLite's own check;
3. the rows of the table or index that the page belongs to (the pages of the others are as they were). Where all of them
   are what they were, the flip is *inert*: no query can tell;
4. of differing rows of the indexes of entries and ids, the check of that index for the feed that the row is of;
5. the ledger opened anew, checked whole, and read. What passes that, must say the same as ever (`_exported`: it leaves
   out what only sqlite-utils reads, such as the date of a migration), or the flip is *missed*; and it must take a
   block, or the flip is detected by writing.

A part of `fsck` that raises makes the whole raise, so "detected" is no guess; yet a share of all flips goes through
step 5 as well, and has to come to the same verdict. Where a byte of a block is hit, the error names the block.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from forge import Chain, hide, small_entry
from medledger import Identity, Ledger, Reading, audit, make_request
from medledger.errors import CorruptError, MedledgerError
from medledger.keys import seal_to
from medledger.ledger import READY
from medledger.limits import MAX_SEQ
from medledger.store.database import SEQ_BITS
from medledger.store.migrations import VIEWS
from sim.bars import Bar
from sim.crash_life import Life, key
from sim.disk import Disk

PAGE = 4096
INERT, MISSED = "inert", "missed"
BLOCKS = 1000


class Place(NamedTuple):
    """The bytes of a block's header or body in the file."""

    start: int
    stop: int
    feed: bytes
    seq: int


def make_ledger(directory: Path) -> Path:
    """A ledger of 1,000 blocks and some, of everything that a ledger may hold; closed, with its key beside it."""
    path = directory / "flips.db"
    key("box").save(directory / "box.key")
    life = Life(Disk("none"), random.Random(0))
    options: dict[str, Any] = {"clock": life.clock, "randomness": life.rng.randbytes}
    me = Identity.load(directory / "box.key")
    with Ledger.create(path, me, name="Ward", roles=["hospital"], **options) as ledger:
        names = [f"member {number}" for number in range(30)]
        for name in [*names, "forker", "cut", "hidden"]:
            ledger.enrol(make_request(key(name), secret=bytes(16), label=name, roles=["hospital"]))
        for name in names:
            ledger.import_blocks(Chain(key(name), ledger.id).grow(30).raws)
        forked = Chain(key("forker"), ledger.id).grow(20)
        branch = forked.branch(10)
        branch.add([small_entry(1000)])
        ledger.import_blocks(forked.raws)
        ledger.import_blocks(branch.grow(3).raws)
        hidden = Chain(key("hidden"), ledger.id).grow(20).raws
        ledger.import_blocks([hide(raw) if at % 5 == 0 else raw for at, raw in enumerate(hidden)])
        ledger.import_blocks(Chain(key("cut"), ledger.id).grow(20).raws)
        ledger.revoke(key("cut").public_key, after=9)
        while sum(head.seq + 1 for head in ledger.frontier().values()) < BLOCKS:
            life.append(ledger)
        life.append_large(ledger)
        ledger.index()
        ledger.store.set_meta("broker", seal_to(me.kem_public_key, b"mqtts://broker.example:8883"))
        ledger.release(me.public_key, 0, MAX_SEQ)
    return path


@dataclass
class Outcome:
    """What came of some flips: how many were detected by which step, or were inert; and what was missed."""

    counts: Counter[str] = field(default_factory=Counter)
    checked_whole: int = 0
    blocks_hit: int = 0
    blocks_named: int = 0
    missed: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Those of other bytes."""
        self.counts.update(other.counts)
        self.checked_whole += other.checked_whole
        self.blocks_hit += other.blocks_hit
        self.blocks_named += other.blocks_named
        self.missed += other.missed


class ByteFlips:
    """Flips bytes of a ledger's file, which is its own. `whole` of them also go through opening and all of fsck."""

    def __init__(self, path: Path, seed: int, whole: float = 0.002) -> None:
        self.path = path
        self.seed = seed
        self.whole = whole
        self.outcome = Outcome()
        self._identity = Identity.load(self.path.with_name("box.key"))
        self._original = self.path.read_bytes()
        self._file = os.open(self.path, os.O_RDWR)
        self._tables = self._read_map()
        self._open()
        self._dumps = self._queries()
        self._rows = {name: self._dump(name) for name in self._dumps}
        self._exports = _exported(self._ledger)
        self._places = self._find_places()
        self._feeds_on: dict[int, set[bytes]] = {}
        for place in self._places:
            for page in range(place.start // PAGE + 1, (place.stop - 1) // PAGE + 2):
                self._feeds_on.setdefault(page, set()).add(place.feed)

    def close(self) -> None:
        """Nothing of the copy is needed any more."""
        self._ledger.close()
        os.close(self._file)

    @property
    def size(self) -> int:
        return len(self._original)

    def _open(self) -> None:
        self._renewed = False  # whether the ledger was opened since the file was as it should be
        self._ledger = Ledger.open(self.path, self._identity)
        self._connection = self._ledger.store.connection

    # --- what is where ------------------------------------------------------------------------------------------

    def _read_map(self) -> dict[int, str]:
        """The table or index that each page belongs to, by SQLite's own account; free pages are not in it."""
        with closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            return dict(connection.execute("SELECT pageno, name FROM dbstat"))

    def _queries(self) -> dict[str, str]:
        """For each table all that it holds, and for each index all that it holds by itself."""
        named = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = ? AND rootpage"
        found = {name: f'SELECT * FROM "{name}"' for name, _, _ in self._connection.execute(named, ("table",))}
        for name, table, sql in self._connection.execute(named, ("index",)):
            columns = ", ".join(
                column for (column,) in self._connection.execute(f'SELECT name FROM pragma_index_info("{name}")')
            )
            where = sql[sql.index("WHERE") :] if sql and "WHERE" in sql else ""
            found[name] = f'SELECT {columns} FROM "{table}" INDEXED BY "{name}" {where} ORDER BY {columns}'
        return found

    def _dump(self, name: str) -> list[Any]:
        """The rows, with texts as the bytes that they are."""
        self._connection.text_factory = bytes
        try:
            return self._connection.execute(self._dumps[name]).fetchall()
        finally:
            self._connection.text_factory = str

    def _find_places(self) -> list[Place]:
        """Where the bytes of standing blocks lie. A header and its body lie side by side, if not on overflow pages."""
        authors = {feed.no: author for author, feed in self._ledger.store.feeds.items()}
        places = []
        for pos, header, body in self._rows["blocks"]:
            block = authors[pos >> SEQ_BITS], pos & MAX_SEQ
            start = self._original.find(header + body)
            if start >= 0:
                places.append(Place(start, start + len(header + body), *block))
                continue
            for page in [page for page, table in self._tables.items() if table == "blocks"]:
                start = (page - 1) * PAGE + 4  # behind the number of the next page
                at = body.find(self._original[start : start + 64])
                if at >= 0:
                    places.append(Place(start, start + min(PAGE - 4, len(body) - at), *block))
        return sorted(places)

    def _block_at(self, offset: int) -> tuple[bytes, int] | None:
        """The block that this byte is of."""
        at = bisect_right(self._places, offset, key=lambda place: place.start) - 1
        if at < 0 or offset >= self._places[at].stop:
            return None
        return self._places[at].feed, self._places[at].seq

    # --- flipping -----------------------------------------------------------------------------------------------

    def flip(self, offset: int) -> None:
        """Flip some bits of this byte, see what comes of it, and put it back."""
        rng = random.Random(f"{self.seed}:{offset}")
        byte = self._original[offset] ^ rng.randrange(1, 256)
        os.pwrite(self._file, bytes([byte]), offset)
        how, error = self._judge(offset)
        seen = self.outcome
        if rng.random() < self.whole and not self._renewed:
            seen.checked_whole += 1
            again, error = self._anew()
            if (again == INERT) is not (how == INERT):
                seen.missed.append(f"byte {offset} ({self._tables.get(offset // PAGE + 1)}): {how}, but {again}")
        self._restore(offset)
        seen.counts[how] += 1
        if how == MISSED:
            seen.missed.append(f"byte {offset} ({self._tables.get(offset // PAGE + 1)}) to {byte:#x}: {error!r}")
        block = self._block_at(offset)
        if block is not None:
            seen.blocks_hit += 1
            if isinstance(error, CorruptError) and (error.feed, error.seq) == block:
                seen.blocks_named += 1
            else:
                seen.missed.append(f"byte {offset} of block {block[1]} of {block[0].hex()[:8]}: named as {error!r}")

    def _judge(self, offset: int) -> tuple[str, Exception | None]:
        """Which step detects it, with its error; INERT, or MISSED."""
        page = offset // PAGE + 1
        table = self._tables.get(page, "")
        if page == 1 or table == "sqlite_schema":  # what an open ledger has read long ago
            return self._anew()
        self._connection.execute("PRAGMA shrink_memory")
        if table == "blocks":
            walk = audit._Walk(self._ledger, None, None)
            for feed in self._feeds_on.get(page, ()):
                error = raised(walk._feed, feed)
                if error is not None:
                    return _verdict("walk along a feed", error)
        error = raised(self._check_structure)
        if error is not None:
            return _verdict("check by SQLite", error)
        found: list[Any] = []
        for name in [table] if table in self._rows else self._rows:  # a free page is of none of them
            found = self._dump(name)
            if found != self._rows[name]:
                break
        else:
            return INERT, None
        feed = self._differing_feed(table, found)
        if feed is not None:
            error = raised(self._check_index, table, feed)
            if error is not None:
                return _verdict("check of an index", error)
        return self._anew()

    def _check_structure(self) -> None:
        found = self._ledger.store.integrity_problem()
        if found is not None:
            raise CorruptError(found)

    def _differing_feed(self, table: str, found: list[Any]) -> bytes | None:
        """The feed of the first row of an index that is not what it was."""
        column = {"entries": 0, "block_ids": 1}.get(table)
        if column is None:
            return None
        changed = set(self._rows[table]) ^ set(found)
        numbers = {row[column] >> SEQ_BITS for row in changed if isinstance(row[column], int)}
        return next((f for f, feed in self._ledger.store.feeds.items() if feed.no in numbers), None)

    def _check_index(self, table: str, feed: bytes) -> None:
        """As in `Indexer.check`, for one feed."""
        indexer = self._ledger._indexer
        column, check = {
            "entries": ("interpreted", indexer._check_entries),
            "block_ids": ("identified", indexer._check_ids),
        }[table]
        indexer._check_batch(feed, column, check, 0)

    def _anew(self) -> tuple[str, Exception | None]:
        """Open the ledger as a new process would, check all of it, and read all of it."""
        self._ledger.close()
        error = raised(self._open)
        self._renewed = True
        if error is not None:
            return _verdict("opening", error)
        for how, action in (("fsck", self._ledger.fsck), ("reading", self._read)):
            error = raised(action)
            if error is not None:
                return _verdict(how, error)
        try:
            if _exported(self._ledger) != self._exports:
                return MISSED, None
        except sqlite3.Error as error:
            return MISSED, error
        error = raised(self._ledger.append, Reading(device="MON-7", samples=[]))
        return (INERT, None) if error is None else _verdict("writing", error)

    def _read(self) -> None:
        """What fsck does not look at: what the ledger keeps for its owner."""
        if self._ledger.state != READY:
            raise CorruptError(f"the ledger is {self._ledger.state}")
        _ = self._ledger.transport_key, self._ledger.broker

    def _restore(self, offset: int) -> None:
        """All as it was, whatever the ledger wrote on finding it changed."""
        os.pwrite(self._file, self._original[offset : offset + 1], offset)
        if not self._renewed:
            return
        self._ledger.close()
        if self.path.read_bytes() != self._original:
            self.path.write_bytes(self._original)
        self.path.with_name(f"{self.path.name}-wal").unlink(missing_ok=True)
        self._open()


def raised(action: Callable[..., object], *arguments: object) -> Exception | None:
    """The error that an action ends with."""
    try:
        action(*arguments)
    except Exception as error:  # noqa: BLE001 - one that is not ours is what this looks for
        return error
    return None


def _verdict(how: str, error: Exception) -> tuple[str, Exception]:
    """Detected, unless the error is one that should not have left the library."""
    return (how, error) if isinstance(error, MedledgerError) else (MISSED, error)


def _exported(ledger: Ledger) -> list[Any]:
    """All that a ledger says: its digest, and the rows that it reads."""

    def query(sql: str) -> list[Any]:
        return ledger.store.connection.execute(sql).fetchall()

    tables = ("meta", "feeds", "blocks", "control", "holes", "disputed", "forks", "block_ids", "entry_types", "entries")
    rows = [query(f"SELECT * FROM {table}") for table in (*tables, "powers_of_ten", "member_rows")]
    return [ledger.digest(), *rows, [query(f"SELECT * FROM {view}") for view in VIEWS]]


def measure(seed: int, directory: Path, *, share: float = 1.0, processes: int | None = None) -> tuple[Bar, list[str]]:
    """Flip each byte, or a share of them, on every processor; and what was missed, line by line."""
    path = make_ledger(directory)
    size = path.stat().st_size
    count = round(size * share)
    offsets = sorted(random.Random(seed).sample(range(size), count))
    parts = processes or os.cpu_count() or 1
    outcome = Outcome()
    with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
        shares = [offsets[number::parts] for number in range(parts)]
        for part in pool.map(_flip, repeat(path), repeat(seed), shares, range(parts)):
            outcome.add(part)
    inert = outcome.counts[INERT]
    bar = Bar(
        "flip each byte of a 1,000-block database",
        "100 % detected or provably inert; first bad (feed, seq) named",
        f"{count} of {size} bytes: {count - inert - outcome.counts[MISSED]} detected, {inert} inert, "
        f"{len(outcome.missed)} missed; {outcome.blocks_named} of {outcome.blocks_hit} hit blocks named; "
        f"{outcome.checked_whole} checked whole as well",
        not outcome.missed and count > 0,
        seed,
    )
    return bar, outcome.missed


def _flip(path: Path, seed: int, offsets: list[int], number: int) -> Outcome:
    """These bytes, in a process of its own, on a copy of its own."""
    directory = path.parent / f"copy {number}"
    directory.mkdir()
    for found in path.parent.glob("*"):
        if found.is_file():
            shutil.copy(found, directory)
    flips = ByteFlips(directory / path.name, seed)
    try:
        for offset in offsets:
            flips.flip(offset)
    finally:
        flips.close()
    return flips.outcome
