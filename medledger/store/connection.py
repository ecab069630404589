"""One SQLite connection as a replica uses it: opened, migrated, locked, and every failure in our words.

- An exception that leaves a transaction rolls it back. A COMMIT that fails stops the writer: nobody knows what
  the disk holds, so nothing more is written until the file is opened again.
- Every method takes the lock, so that one connection serves an agent that appends while gossip imports.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

from .. import files
from ..errors import CorruptError, InUseError, StoreError, UsageError

SCHEMA_VERSION = 4

# A damaged file can make the sqlite3 module fail to decode SQLite's own message.
_SQLITE_ERRORS = (sqlite3.Error, UnicodeError)
CHECK_DISK = "Check the path, the free space and the disk (the system's log tells more), then try again."
RESTORE = "Make a new replica and let it sync."
_AFTER_FAILURE = "Nothing more is written. Mend the disk and open the ledger again."


def connect(path: Path) -> sqlite3.Connection:
    """The one place that opens a database file."""
    return sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)


class Transaction:
    """What `Connection.transaction` gives to `with`. A class and not a generator: an append passes through two of them,
    and what runs right after a flush runs with cold caches, where each call costs.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: Connection) -> None:
        self._owner = owner

    def __enter__(self) -> sqlite3.Connection:
        return self._owner._begin()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._owner._end(error)


class Connection:
    """A replica's database file. Raises `StoreError` where SQLite cannot go on; the transaction is then rolled back."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.lock = threading.RLock()
        self.after_rollback: Callable[[], None] = lambda: None
        self._depth = 0
        self._failure: str | None = None
        self._closed = False
        self._load()

    # --- life ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new database. Raises `StoreError` where a file already stands."""
        try:
            files.reserve(path)  # for its owner only: readings are private
        except FileExistsError:
            raise StoreError(f"{path} exists already", hint="Open it, or choose another path.") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be made: {error.strerror or error}", hint=CHECK_DISK) from error
        return cls._connect(path, new=True)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing database, brought to the newest schema."""
        if not files.is_file(path):
            raise StoreError(f"there is no ledger at {path}", hint="Create one with `medledger init`, or join one.")
        return cls._connect(path, new=False)

    @classmethod
    def _connect(cls, path: Path, *, new: bool) -> Self:
        try:
            connection = connect(path)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be opened: {error}", hint=CHECK_DISK) from error
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")  # takes the exclusive lock now, so that a second process hears it now
            connection.execute("COMMIT")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{path} was written by newer software (schema {version})", hint="Update medledger on this machine."
                )
            if version < SCHEMA_VERSION:
                if version <= 0 and not new:
                    raise StoreError(f"{path} is not a medledger ledger", hint="Check the path.")
                _migrate(connection)
            failure = _flush(path)
            opened = cls(connection, path)
            opened._failure = failure
            return opened
        except _SQLITE_ERRORS as error:
            connection.close()
            raise _store_error(path, error) from error
        except BaseException:
            connection.close()
            raise

    @property
    def failure(self) -> str | None:
        """Why nothing is written until it is opened again, None where all is well."""
        return self._failure

    def close(self) -> None:
        with self.lock:
            self._closed = True
            self.connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the ledger is closed")

    def backup(self, path: Path) -> None:
        """A copy for other programs, consistent as of one moment, while this store goes on; whole, or not there."""
        partial = path.with_name(path.name + ".partial")
        try:
            if files.exists(path):
                raise StoreError(f"{path} exists already", hint="Choose another path, or move it away.")
            files.remove(partial)
            try:
                with self.lock, closing(connect(partial)) as target:
                    self.connection.backup(target)
                files.supplant(partial, path)
            finally:
                with suppress(OSError):
                    files.remove(partial)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be written: {error}", hint=CHECK_DISK) from error
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}", hint=CHECK_DISK) from error

    def settle(self) -> None:
        """Bring everything into the one file, durably, so that it can be moved. Raises `StoreError`."""
        found = self.query("PRAGMA wal_checkpoint(TRUNCATE)")
        if found != [(0, 0, 0)]:
            raise StoreError(f"{self.path} cannot be written: its log is in use", hint=CHECK_DISK)

    def transaction(self) -> Transaction:
        """All or nothing; durable when the outermost one is left. Nested ones join it, and fail with it."""
        return Transaction(self)

    def _begin(self) -> sqlite3.Connection:
        """Enter a transaction, and begin it where it is the outermost. The lock is held until `_end`."""
        self.lock.acquire()
        try:
            if not self._depth:
                self._check_open()
                if self._failure is not None:
                    raise StoreError(self._failure, hint=_AFTER_FAILURE)
                try:
                    self.connection.execute("BEGIN IMMEDIATE")
                except _SQLITE_ERRORS as error:
                    raise _store_error(self.path, error) from error
            self._depth += 1
        except BaseException:
            self.lock.release()
            raise
        return self.connection

    def _end(self, error: BaseException | None) -> None:
        """Leave a transaction; where it is the outermost, commit, or undo what ended in `error`."""
        try:
            if self._depth > 1:
                return
            if error is None:
                try:
                    self._commit()
                except BaseException:
                    self._roll_back()
                    raise
            else:
                self._roll_back()
                if isinstance(error, _SQLITE_ERRORS):
                    raise _store_error(self.path, error) from error
        finally:
            self._depth -= 1
            self.lock.release()

    def _commit(self) -> None:
        """Make it durable. Where that fails nobody knows what the disk holds: nothing is written until a new open."""
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._failure = str(_store_error(self.path, error))
            raise StoreError(self._failure, hint=_AFTER_FAILURE) from error

    def _roll_back(self) -> None:
        """Undo, and forget the heads that the failed transaction had moved."""
        if self._closed:
            return
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self._load()
        self.after_rollback()

    def _load(self) -> None:
        """Read what is kept in memory, at the start and after a transaction was undone."""

    def integrity_problem(self) -> str | None:
        """What SQLite's own check finds wrong with the file, or None."""
        rows = self.query("PRAGMA integrity_check(1)")
        return None if rows == [("ok",)] else str(rows[0][0])

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a SELECT. Raises `StoreError`, or `CorruptError` where SQLite finds the file damaged."""
        with self.lock:
            self._check_open()
            try:
                return self.connection.execute(sql, values).fetchall()
            except _SQLITE_ERRORS as error:
                raise _store_error(self.path, error) from error

    # --- meta ---------------------------------------------------------------------------------------------------

    def get_meta(self, key: str) -> Any:
        rows = self.query("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def set_meta(self, key: str, value: bytes | str | int) -> None:
        with self.transaction() as db:
            db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
            )


def _migrate(connection: sqlite3.Connection) -> None:
    """Late import: sqlite-utils costs a tenth of a second and 12 MB, which an up-to-date database does not need."""
    from sqlite_utils import Database

    from .migrations import migrate

    migrate(Database(connection))


def _flush(path: Path) -> str | None:
    """Make durable what the log shows, now that nobody else has it open; what went wrong, where something did: then
    nothing is written.

    It shows what the process before was killed over, or what a flush failed for: commits that no disk may hold yet, and
    that the system may call clean. What is committed behind them would go when they do. A checkpoint is no way out: cut
    short, it leaves the later of them in the database without the earlier ones.
    """
    try:
        files.flush_again(path.with_name(f"{path.name}-wal"))
    except OSError as error:
        return f"{path} cannot be written: {error.strerror or error}"
    return None


def _store_error(path: Path, error: Exception) -> StoreError:
    """SQLite's error in our words."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return InUseError(
            f"{path} is in use by another process",
            hint="One process at a time opens a ledger: stop the agent that runs on it, or use another replica.",
        )
    if "not a database" in text:
        return StoreError(f"{path} is not a SQLite database", hint="Check the path.")
    if "full" in text:
        return StoreError(f"the disk is full: nothing was written to {path}", hint="Free some space and try again.")
    if isinstance(error, UnicodeError) or any(word in text for word in ("malformed", "no such", "corrupt")):
        return CorruptError(f"{path} is damaged: {text}", hint=RESTORE)
    return StoreError(f"{path}: {text}", hint=CHECK_DISK)
