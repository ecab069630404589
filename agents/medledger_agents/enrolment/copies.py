"""Copies of databases that somebody else may have open: the doctor opens nothing that an agent writes to.

An agent holds its databases locked, and a reader that took part in their write-ahead log would change files. So file
and log are copied as they are, to a directory that is removed afterwards, and the copy is opened. While the agent
writes, a copy may be torn; then it mostly does not open, and is made once more. It is shown, and trusted with nothing.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from medledger.errors import MedledgerError, StoreError

MAX_BYTES: Final = 512 * 1024 * 1024
ATTEMPTS: Final = 3
T = TypeVar("T")


class Copies:
    """A directory for copies, for as long as this is open."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="medledger-doctor-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def look(self, database: Path, read: Callable[[Path], T]) -> T:
        """What `read` makes of a copy of this database. Raises `StoreError`, or what `read` raises."""
        for attempt in range(ATTEMPTS):
            try:
                return read(self._copy(database))
            except (MedledgerError, sqlite3.Error):
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _copy(self, database: Path) -> Path:
        target = self._directory / database.name
        for path in self._directory.iterdir():
            path.unlink()
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
