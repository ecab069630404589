"""Copies of the replica, which an agent may have open: the doctor opens nothing that an agent writes to.

An agent holds its replica locked, and a reader that took part in its write-ahead log would change files. So file and
log are copied as they are, to a directory of their own, and the copy is opened. While the agent writes, a copy may be
torn; then it mostly does not open, and is made once more. It is shown, and trusted with nothing.

Nothing is to stay behind. A copy goes as soon as it was read; the directory, however this ends but for SIGKILL and a
power cut; and what those leave, with the next doctor. Patients' messages, which the inbox holds, are never copied.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from medledger.errors import MedledgerError, StoreError

MAX_BYTES: Final = 512 * 1024 * 1024
ATTEMPTS: Final = 3
PREFIX: Final = "medledger-doctor-"
T = TypeVar("T")


class Copies:
    """A directory for copies, for as long as this is open. It is locked meanwhile: what nobody locks was left."""

    def __init__(self) -> None:
        remove_left()
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = _locked(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def look(self, database: Path, read: Callable[[Path], T]) -> T:
        """What `read` makes of a copy of this database, which is gone afterwards. Raises `StoreError`, or what `read`
        raises.
        """
        for attempt in range(ATTEMPTS):
            try:
                return read(self._copy(database))
            except (MedledgerError, sqlite3.Error):
                if attempt == ATTEMPTS - 1:
                    raise
            finally:
                self._clear()
        raise AssertionError("unreachable")

    def _copy(self, database: Path) -> Path:
        target = self._directory / database.name
        parts = [path for path in (database, database.with_name(f"{database.name}-wal")) if path.exists()]
        size = sum(path.stat().st_size for path in parts)
        if size > MAX_BYTES or size > shutil.disk_usage(self._directory).free // 2:
            raise StoreError(f"{database} is too large to be copied to {tempfile.gettempdir()}")
        try:
            for path in parts:
                shutil.copyfile(path, target.with_name(path.name))
                os.chmod(target.with_name(path.name), 0o600)
        except OSError as error:
            raise StoreError(f"{database} cannot be read: {error.strerror or error}") from error
        return target

    def _clear(self) -> None:
        for path in self._directory.iterdir():
            with suppress(OSError):
                path.unlink()


def remove_left() -> None:
    """Remove what a doctor of this user left behind that was killed."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if directory.lstat().st_uid != os.geteuid() or directory.is_symlink():
                continue
            lock = _locked(directory)
            if lock is not None:
                shutil.rmtree(directory, ignore_errors=True)
                os.close(lock)


def _locked(directory: Path) -> int | None:
    """A descriptor that holds the lock of a directory; None where somebody else does, or it cannot be had."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def orderly_hangup() -> Iterator[None]:
    """A terminal that is closed ends this as SIGTERM does (medledger.cli.stopping), so that what was copied goes.

    Where the parent has it ignored (nohup), it stays so.
    """
    before = signal.getsignal(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield
        return

    def end(number: int, _frame: object) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a second one must not cut the cleaning short
        sys.exit(128 + number)

    signal.signal(signal.SIGHUP, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
