"""The inbox: every message as it was received, in a SQLite database of this agent alone, and whether it was logged.

A message becomes entries exactly once, whenever the power goes, because of this order:

 (1) `store` commits its bytes here.          Crash after it: nobody was told; `unlogged` has it on the next start.
 (2) `Ledger.append` commits its entries.     Crash after it: `logged_in` finds its hash in our feed on the next start.
 (3) `mark_logged` notes the block here, with the next commit. Only then, or later, the sender is told.

Rules:

- A message is known by (sender, message id). The same id with the same bytes is the same message, however late. The
  same id with other bytes is refused for a while (`keep_id_ms`): one of the two is a mistake, and it is not ours to
  guess which. After that it is a new message, since senders begin to count again.
- The bytes stay here, for the ledger holds a hash of them only, until `remove` takes those of old messages. A message's
  row stays for ever: a repetition is known, however late. They are patients' data: the file is its owner's alone. What
  a device signed and no entry can hold stays, too: nothing else says what it measured.
- The hash is SHA-256 over a salt, which stays beside the bytes, and them (subjects.py). What a message was named by
  once is its name for good, whatever secret made the salt: a message that comes again is known by its bytes.
- Nothing new is taken while `gate` says why not (see spool.py). What is on the ledger already is answered all the same.
- Any thread may call; one at a time gets in.
- `StoreError` where SQLite cannot go on; the transaction is then rolled back.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, Self

from medledger.entry import Entry, decode_entry
from medledger.ledger import Ledger

from .inboxfile import SCHEMA_VERSION, opened, unwritable
from .instruments.envelope import batch_hash, is_unfit

HIGHEST_LOGGED: Final = (
    "SELECT CAST(message_id AS INTEGER) FROM messages"
    " WHERE sender = ? AND block IS NOT NULL AND sender GLOB 'signed:*'"  # word for word, or the index is not used
    " ORDER BY CAST(message_id AS INTEGER) DESC LIMIT 1"
)
SWEEP_ROWS: Final = 500
FUTURE_MS: Final = 86_400_000
"""A message that was received later than by so much after now was received under a wrong clock."""


def _open() -> None:
    """There is room."""


class Verdict(Enum):
    """What a message is to the inbox."""

    NEW = "new"
    AGAIN = "again"  # the same message, not logged yet as far as the inbox knows
    LOGGED = "logged"  # the same message, on the ledger already
    CONFLICT = "conflict"  # another message under the same id
    FULL = "full"  # not taken: there is no room


@dataclass(frozen=True, slots=True)
class Received:
    """A message that came in."""

    sender: str
    message_id: str
    sha256: bytes  # of salt and raw
    raw: bytes
    at: int  # UTC milliseconds
    salt: bytes = b""


class Stored(NamedTuple):
    """Where a message stands in the inbox. `after`, `block` and `sha256`, what it is named by, are as in the table."""

    id: int
    verdict: Verdict
    after: int
    block: int | None
    sha256: bytes


class Unlogged(NamedTuple):
    """A message that was stored, and that nobody marked since."""

    id: int
    sha256: bytes
    raw: bytes
    received: int
    after: int


class Inbox:
    """One agent's database of messages."""

    def __init__(self, connection: sqlite3.Connection, path: Path, keep_id_ms: int) -> None:
        self._db = connection
        self._path = path
        self.keep_id_ms = keep_id_ms
        self.gate: Callable[[], str | None] = _open
        """Says why nothing new can be taken, None where it can."""
        self._lock = threading.RLock()
        self._committed = time.monotonic()

    @property
    def path(self) -> Path:
        """Its file."""
        return self._path

    @classmethod
    def open(cls, path: Path, *, keep_id_hours: int = 24) -> Self:
        """The inbox in this file, made if there is none. Raises `StoreError`."""
        return cls(opened(path), path, keep_id_hours * 3_600_000)

    def close(self) -> None:
        """Write what is noted and close."""
        try:
            self.commit()
        finally:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def store(self, messages: Sequence[Received], *, after: int) -> list[Stored]:
        """Keep these messages, durable on return, together with what was marked since the last commit.

        `after` is our feed's last block, -1 for none. One answer for each message, in their order.
        """
        full = self.gate() is not None
        with self._reporting():
            self._begin()
            found = [self._store(message, after, full=full) for message in messages]
            self._commit()
        return found

    def _store(self, message: Received, after: int, *, full: bool) -> Stored:
        row = self._find(message)
        if row is not None:
            known, name, salt, received, stored_after, block = row
            if _is(message, name, salt):
                verdict = Verdict.LOGGED if block is not None else Verdict.FULL if full else Verdict.AGAIN
                if verdict is Verdict.AGAIN:
                    self._db.execute("UPDATE messages SET refused = NULL WHERE id = ?", (known,))
                return Stored(known, verdict, stored_after, block, name)
            if abs(message.at - received) < self.keep_id_ms:
                return Stored(known, Verdict.CONFLICT, stored_after, block, name)
        if full:
            return Stored(0, Verdict.FULL, after, None, message.sha256)
        row_id = self._db.execute(
            "INSERT INTO messages (sender, message_id, sha256, raw, received, after, salt)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (message.sender, message.message_id, message.sha256, message.raw, message.at, after, message.salt),
        ).lastrowid
        assert row_id is not None  # an INSERT has a rowid
        return Stored(row_id, Verdict.NEW, after, None, message.sha256)

    def conflicts(self, message: Received) -> bool:
        """Whether `store` would find another message under this one's id; for who has to know before it is judged."""
        with self._reporting():
            row = self._find(message)
        return row is not None and not _is(message, row[1], row[2]) and abs(message.at - row[3]) < self.keep_id_ms

    def holds(self, sender: str, message_id: str) -> bool:
        """Whether any message under this id was kept: one that was not is not logged."""
        with self._reporting():
            row = self._db.execute(
                "SELECT 1 FROM messages WHERE sender = ? AND message_id = ? LIMIT 1", (sender, message_id)
            ).fetchone()
        return row is not None

    def _find(self, message: Received) -> tuple[int, bytes, bytes, int, int, int | None] | None:
        """The message itself, by its name or by the bare hash of an earlier version; else the last that had its id."""
        found: tuple[int, bytes, bytes, int, int, int | None] | None = self._db.execute(
            "SELECT id, sha256, salt, received, after, block FROM messages WHERE sender = ? AND message_id = ?"
            " ORDER BY sha256 IN (?, ?) DESC, id DESC LIMIT 1",
            (message.sender, message.message_id, message.sha256, sha256(message.raw).digest()),
        ).fetchone()
        return found

    def mark_logged(self, messages: Sequence[int], block: int) -> None:
        """Note the block of these messages' last entries. Written with the next commit: losing it is harmless."""
        with self._reporting():
            self._begin()
            self._db.execute(
                "UPDATE messages SET block = ?, refused = NULL WHERE id IN (SELECT value FROM json_each(?))",
                (block, json.dumps(messages)),
            )

    def mark_refused(self, message: int, reason: str) -> None:
        """Note why a message is not logged. Written with the next commit."""
        with self._reporting():
            self._begin()
            self._db.execute("UPDATE messages SET refused = ? WHERE id = ?", (reason, message))

    def commit(self) -> None:
        """Write what was marked; for a quiet moment."""
        with self._reporting():
            if self._db.in_transaction:
                self._commit()

    def begin_feed(self) -> None:
        """This box goes on under a new key: what waits can stand anywhere in its new feed. Durable on return."""
        with self._reporting():
            self._begin()
            self._db.execute("UPDATE messages SET after = -1 WHERE block IS NULL")
            self._commit()

    def unlogged(self) -> list[Unlogged]:
        """The messages that are neither logged nor refused, as far as is noted: what the last crash left behind."""
        with self._reporting():
            rows = self._db.execute(
                "SELECT id, sha256, raw, received, after FROM messages"
                " WHERE block IS NULL AND refused IS NULL ORDER BY id"
            )
            return [Unlogged(*row) for row in rows]

    def highest_logged(self, sender: str) -> int:
        """The highest message id of a sender that counts its messages (`COUNTED`), of those logged; 0 for none."""
        with self._reporting():
            found = self._db.execute(HIGHEST_LOGGED, (sender,)).fetchone()
            return 0 if found is None else int(found[0])

    # --- room, and signs of life -------------------------------------------------------------------------------------

    def used_bytes(self) -> int:
        """How much of the disk it takes, but for pages that are free to be used again."""
        with self._reporting():
            pages, free, size = (
                self._db.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            return int((pages - free) * size)

    def open_messages(self) -> int:
        """How many messages are neither logged nor refused."""
        with self._reporting():
            found = self._db.execute("SELECT count(*) FROM messages WHERE block IS NULL AND refused IS NULL").fetchone()
            return int(found[0])

    def prove(self, within: float) -> None:
        """Write to the disk, unless that was done within so many seconds. Raises `StoreError`; hangs where it hangs."""
        with self._reporting():
            if time.monotonic() - self._committed > within:
                self._begin()
                # written although it is the same, as a row would not be: SQLite leaves a page alone whose bytes stay
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._commit()

    def remove(self, *, received_before: int, confirmed: int | None, now: int) -> int:
        """Remove the bytes of messages that were received before that time and are logged; how many that were.

        With `confirmed`, only of those whose entries stand in the first so many blocks of our feed. Looks at a bounded
        number of messages that it has not looked at yet: call it again while it returns something. Times are UTC
        milliseconds. It stops at the first message whose time has not come, and never removes one that was refused, or
        received under a clock that was ahead, or a batch that no entry can hold.
        """
        with self._reporting():
            (upto,) = self._db.execute("SELECT upto FROM sweeps").fetchone()
            rows = self._db.execute(
                "SELECT id, sender, message_id, sha256, received, after, block, refused, salt,"
                " CASE WHEN sender GLOB 'signed:*' THEN raw END FROM messages WHERE id > ? ORDER BY id LIMIT ?",
                (upto, SWEEP_ROWS),
            ).fetchall()
            gone = []
            looked = upto
            for *row, signed in rows:
                message, received, block, refused = row[0], row[4], row[6], row[7]
                if received <= now + FUTURE_MS and refused is None:
                    waits = block is None or (confirmed is not None and block >= confirmed)
                    if received >= received_before or waits:
                        break
                    if signed is None or not is_unfit(signed):
                        gone.append(row)
                looked = message
            if looked > upto:
                self._begin()
                # Not an update: SQLite would leave each page half empty, and no new row ever comes to lie in it.
                self._db.executemany("DELETE FROM messages WHERE id = ?", [row[:1] for row in gone])
                self._db.executemany(
                    "INSERT INTO messages (id, sender, message_id, sha256, raw, received, after, block, refused, salt)"
                    " VALUES (?, ?, ?, ?, X'', ?, ?, ?, ?, ?)",
                    gone,
                )
                self._db.execute("UPDATE sweeps SET upto = ?", (looked,))
                self._commit()
                self._db.executescript("PRAGMA incremental_vacuum;")  # a step a page, which `execute` would not take
        return len(gone)

    def _commit(self) -> None:
        self._db.execute("COMMIT")
        self._committed = time.monotonic()

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """SQLite's errors as ours. What was marked and not committed is lost then, which a restart mends."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise unwritable(self._path, error) from error


def _is(message: Received, name: bytes, salt: bytes) -> bool:
    """Whether it is the message that was named so, under whatever secret."""
    return name == message.sha256 or name == sha256(salt + message.raw).digest()


def logged_in(ledger: Ledger, after: int, wanted: Iterable[bytes]) -> dict[bytes, list[int]]:
    """For each of these hashes of messages, the blocks of our own feed behind `after` that hold its entries.

    A block is named once for each entry, so that a message of many readings can be taken up where it was left. A batch
    that a device signed names no message: what was kept of it is known by what it says.
    """
    found: dict[bytes, list[int]] = {name: [] for name in wanted}
    if ledger.me is None or not found:
        return found
    for block in ledger.blocks(ledger.me, after + 1):
        for raw in block.body:
            name = _named_by(decode_entry(raw)) if isinstance(raw, bytes) else None
            if name in found:
                found[name].append(block.seq)
    return found


def _named_by(entry: Entry) -> bytes | None:
    """The hash of the message that an entry of ours was made of."""
    if entry.type == "device.batch":
        return batch_hash(entry.content)
    name = entry.content.get("raw") if isinstance(entry.content, dict) else None
    return name if isinstance(name, bytes) else None
