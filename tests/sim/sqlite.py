"""SQLite on a simulated disk: a VFS for apsw's SQLite, and connections that look like the sqlite3 module's.

- The VFS does what SQLite's own for Unix does where durability is at stake: the first sync of a new log or journal also
  syncs the directory, and overlooks it where that fails; powersafe overwrite is claimed; locks are the same five
  levels. Shared memory is not there: the store's exclusive locking does not need it. Temporary files without a name
  touch no disk.
- A planted `OSError` becomes the result code that the Unix VFS would give. So does a power cut; from then on nothing
  that SQLite still does reaches the disk, and whoever called it gets `PowerCut`.
- A checkpoint after a commit runs as SQLite's own does, every `Disk.checkpoint_pages` pages of log, and its failure is
  overlooked as SQLite overlooks it; it is started from here because an exception must not look like a failed commit.
"""

from __future__ import annotations

import errno
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import apsw
import apsw.ext

from sim.disk import Disk, Inode, PowerCut

_VFS_NAME: Final = "medledger-simulated-disk"
_NEW_NAME_SYNCED: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL
_SHARED, _RESERVED, _PENDING, _EXCLUSIVE = 1, 2, 3, 4

_numbers: WeakKeyDictionary[Disk, int] = WeakKeyDictionary()
_disks: WeakValueDictionary[int, Disk] = WeakValueDictionary()
_next_number = count(1)


def connect_on(disk: Disk, name: str) -> SimulatedConnection:
    """What `sqlite3.connect(path, isolation_level=None)` gives, for a file on a simulated disk."""
    if disk not in _numbers:
        _numbers[disk] = next(_next_number)
        _disks[_numbers[disk]] = disk
    return SimulatedConnection(disk, f"/{_numbers[disk]}/{name}")


def _error(code: int) -> Exception:
    return apsw.exception_for(code)


def _called(code: int, action: Callable[..., None], *arguments: Any) -> None:
    """Do it, and give SQLite this result code where it fails; a full disk has its own."""
    try:
        action(*arguments)
    except OSError as error:
        raise _error(apsw.SQLITE_FULL if error.errno == errno.ENOSPC else code) from None
    except PowerCut:
        raise _error(code) from None


class _File:
    """An open file, as the VFS hands it to SQLite."""

    def __init__(self, disk: Disk, name: str, inode: Inode, *, sync_name: bool) -> None:
        self._disk = disk
        self._name = name
        self._inode = inode
        self._generation = disk.generation
        self._sync_name = sync_name

    def _is_dead(self) -> bool:
        return self._disk.dead or self._disk.generation != self._generation

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._inode.data[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        if not self._is_dead():
            _called(apsw.SQLITE_IOERR_WRITE, self._disk.write, self._inode, self._name, offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        if not self._is_dead():
            _called(apsw.SQLITE_IOERR_TRUNCATE, self._disk.truncate, self._inode, self._name, size)

    def xSync(self, flags: int) -> None:
        if not self._is_dead():
            _called(apsw.SQLITE_IOERR_FSYNC, self._disk.sync, self._inode, self._name)
        if self._sync_name and not self._is_dead():
            self._sync_name = False
            with suppress(OSError, PowerCut):  # as in SQLite's os_unix.c
                self._disk.sync_directory()

    def xFileSize(self) -> int:
        return len(self._inode.data)

    def xLock(self, level: int) -> None:
        locks = self._inode.locks
        own = locks.get(self, 0)
        others = max((held for holder, held in locks.items() if holder is not self), default=0)
        if level <= own:
            return
        if others >= (_PENDING if level == _SHARED else _RESERVED):
            raise _error(apsw.SQLITE_BUSY)
        if level == _EXCLUSIVE and others >= _SHARED:
            locks[self] = _PENDING
            raise _error(apsw.SQLITE_BUSY)
        locks[self] = level

    def xUnlock(self, level: int) -> None:
        if self in self._inode.locks:
            self._inode.locks[self] = level

    def xCheckReservedLock(self) -> bool:
        return any(held >= _RESERVED for held in self._inode.locks.values())

    def xFileControl(self, operation: int, pointer: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return 4096

    def xDeviceCharacteristics(self) -> int:
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)

    def xClose(self) -> None:
        self._inode.locks.pop(self, None)


class _TemporaryFile(_File):
    """A file without a name: it holds what does not fit SQLite's memory, and ends with the connection."""

    def xWrite(self, data: bytes, offset: int) -> None:
        bytes_ = self._inode.data
        if offset > len(bytes_):
            bytes_.extend(bytes(offset - len(bytes_)))
        bytes_[offset : offset + len(data)] = data

    def xTruncate(self, size: int) -> None:
        del self._inode.data[size:]

    def xSync(self, flags: int) -> None:
        """Nothing of it is to survive."""


class _Vfs(apsw.VFS):
    """Finds the disk by the number that its paths begin with."""

    def __init__(self) -> None:
        super().__init__(_VFS_NAME, base="")

    @staticmethod
    def _found(path: str) -> tuple[Disk, str]:
        number, _, name = path[1:].partition("/")
        return _disks[int(number)], name

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        flags[1] = flags[0]
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            return _TemporaryFile(Disk("temporary"), "", Inode(), sync_name=False)
        disk, name = self._found(path)
        create = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
        try:
            inode = disk.open(name, create=create, exclusive=bool(flags[0] & apsw.SQLITE_OPEN_EXCLUSIVE))
        except (OSError, PowerCut):
            raise _error(apsw.SQLITE_CANTOPEN) from None
        return _File(disk, name, inode, sync_name=create and bool(flags[0] & _NEW_NAME_SYNCED))

    def xDelete(self, path: str, sync_directory: bool) -> None:
        disk, name = self._found(path)
        if name not in disk.names():
            raise _error(apsw.SQLITE_IOERR_DELETE_NOENT)
        _called(apsw.SQLITE_IOERR_DELETE, disk.unlink, name)
        if sync_directory:
            _called(apsw.SQLITE_IOERR_DIR_FSYNC, disk.sync_directory)

    def xAccess(self, path: str, flags: int) -> bool:
        disk, name = self._found(path)
        return name in disk.names()

    def xFullPathname(self, path: str) -> str:
        return path

    def xRandomness(self, amount: int) -> bytes:
        return bytes(amount)

    def xSleep(self, microseconds: int) -> int:
        return microseconds

    def xCurrentTime(self) -> float:
        return 2461000.5

    def xGetLastError(self) -> tuple[int, str]:
        return 0, ""


@contextmanager
def overlooking() -> Iterator[None]:
    """apsw tells `sys.unraisablehook` and `sys.excepthook` of errors that SQLite overlooked: overlook them, too."""
    unraisable, uncaught = sys.unraisablehook, sys.excepthook

    def overlook(found: Any) -> None:
        if not isinstance(found.exc_value, apsw.Error):
            unraisable(found)

    def overlook_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error, apsw.Error):
            uncaught(kind, error, trace)

    sys.unraisablehook, sys.excepthook = overlook, overlook_uncaught
    try:
        yield
    finally:
        sys.unraisablehook, sys.excepthook = unraisable, uncaught


class _Cursor:
    """What the store and sqlite-utils use of a `sqlite3.Cursor`. All rows are read at once: a statement that is not
    finished would be in the way of a commit for as long as anything, such as a traceback, refers to its cursor.
    """

    def __init__(self, connection: SimulatedConnection, cursor: apsw.Cursor, sql: str) -> None:
        self._rows = iter(connection.run(cursor.fetchall))
        self._connection = connection
        self._sql = sql
        self.lastrowid = connection.apsw.last_insert_rowid()
        self.rowcount = connection.apsw.changes()

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    @property
    def description(self) -> Any:
        """The columns."""
        info = apsw.ext.query_info(self._connection.apsw, self._sql)
        return [(column[0], *[None] * 6) for column in info.description] or None


class SimulatedConnection:
    """What the store and sqlite-utils use of a `sqlite3.Connection` in autocommit mode."""

    isolation_level = None

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._generation = disk.generation
        self.apsw: apsw.Connection = self.run(lambda: apsw.Connection(path, vfs=_VFS_NAME))
        self.apsw.set_wal_hook(self._after_commit)
        disk.closing.append(self._abandon)

    def _after_commit(self, _: apsw.Connection, database: str, pages: int) -> int:
        if pages >= self._disk.checkpoint_pages:
            with suppress(apsw.Error):
                self.apsw.wal_checkpoint(database, apsw.SQLITE_CHECKPOINT_PASSIVE)
        return int(apsw.SQLITE_OK)

    def run(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """What a call of apsw gives, or what the sqlite3 module would raise; `PowerCut` where the process has ended."""
        try:
            result = action(*arguments)
        except apsw.Error as error:
            self._check()
            code = error.result
            message = _MESSAGES.get(code) or str(error)
            raise _CLASSES.get(code, sqlite3.OperationalError)(message) from None
        self._check()
        return result

    def _check(self) -> None:
        if self._disk.dead or self._disk.generation != self._generation:
            raise PowerCut

    def execute(self, sql: str, values: Any = ()) -> _Cursor:
        return _Cursor(self, self.run(self.apsw.execute, sql, values), sql)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> _Cursor:
        return _Cursor(self, self.run(self.apsw.executemany, sql, rows), sql)

    @property
    def in_transaction(self) -> bool:
        return bool(self.apsw.in_transaction)

    def backup(self, target: SimulatedConnection) -> None:
        copying = target.apsw.backup("main", self.apsw, "main")
        try:
            while not copying.done:
                self.run(copying.step, 100)
        finally:
            self.run(copying.finish)

    def close(self) -> None:
        """As in the sqlite3 module: what cannot be put in order is left to the next who opens the file."""
        with suppress(apsw.Error):
            self.apsw.close(True)
        self._check()
        if self._abandon in self._disk.closing:
            self._disk.closing.remove(self._abandon)

    def _abandon(self) -> None:
        """The process ended: nothing of this reaches the disk."""
        with suppress(apsw.Error):
            self.apsw.close(True)


_MESSAGES: Final = {
    apsw.SQLITE_BUSY: "database is locked",
    apsw.SQLITE_CANTOPEN: "unable to open database file",
    apsw.SQLITE_CORRUPT: "database disk image is malformed",
    apsw.SQLITE_FULL: "database or disk is full",
    apsw.SQLITE_IOERR: "disk I/O error",
    apsw.SQLITE_NOTADB: "file is not a database",
}
_CLASSES: Final[dict[int, type[sqlite3.Error]]] = {
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_FORMAT: sqlite3.DatabaseError,
    apsw.SQLITE_MISMATCH: sqlite3.IntegrityError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_TOOBIG: sqlite3.DataError,
}

_vfs = _Vfs()
