"""Small files that must survive a power cut whole: key files and witnesses.

Rules:

- A file is written beside its place as `<name>.tmp`, flushed, and only then given its name; the directory is flushed
  after that. So at every moment the name holds either nothing, or the old bytes, or the new ones, never part of them.
- Writers take an exclusive lock on the directory, so that two processes never share the temporary name, and a writer
  may read the present bytes under the lock before it decides on new ones.
- A leftover temporary file of a crash is removed, never truncated: between the two steps of `create` it is a second
  name of the new file itself.
- Files are readable by their owner only. `OSError` passes through: the caller knows what the file meant.

POSIX only: it relies on `flock`, hard links and flushing of directories.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from medledger.errors import LimitError

_COPY_BYTES: Final = 1 << 20


class Found(NamedTuple):
    """A file's bytes and its permission bits."""

    data: bytes
    mode: int


def exists(path: Path) -> bool:
    """Whether the name is taken."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def is_file(path: Path) -> bool:
    """Whether a regular file has the name."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def remove(path: Path) -> None:
    """Remove a file, where there is one."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_family(path: Path) -> None:
    """Remove every file whose name begins with this one: a database has others beside it. None, where none is seen."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return
    for name in names:
        if name.startswith(path.name):
            remove(path.with_name(name))


def read(path: Path, max_size: int) -> Found:
    """Read a regular file of at most `max_size` bytes; `LimitError` beyond, `OSError` when it is not one."""
    # O_NONBLOCK: opening a named pipe must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a regular file")
        data = file.read(max_size + 1)
    if len(data) > max_size:
        raise LimitError(f"{path} is longer than {max_size} bytes")
    return Found(data, stat.S_IMODE(status.st_mode))


@contextmanager
def locked_directory(directory: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold the directory's exclusive lock; yields its descriptor, for `create` and `replace`.

    Without `wait` it is `BlockingIOError` where another process holds it.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable, as far as its file system can."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a share or a stick that cannot flush a directory
            raise
    finally:
        os.close(descriptor)


def reserve(path: Path) -> None:
    """Create an empty file; `FileExistsError` when the name is taken. The name is not durable yet."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def create(path: Path, data: bytes) -> None:
    """Create `path` with `data`, durable on return; `FileExistsError` when the name is taken, which is left alone."""
    with locked_directory(path.parent) as directory:
        temporary = _write_temporary(path, data)
        # Crash here: the name is free, a temporary file is left.
        try:
            os.link(temporary, path)
            # Crash here: the file is complete, the temporary file is its second name.
        finally:
            os.unlink(temporary)
        os.fsync(directory)


def replace(path: Path, data: bytes, directory: int) -> None:
    """Replace `path` by `data`, durable on return. `directory` is the held lock of the directory of `path`."""
    temporary = _write_temporary(path, data)
    # Crash here: the name holds the old bytes, a temporary file is left.
    os.replace(temporary, path)
    # Crash here: the name holds the old bytes or the new ones.
    os.fsync(directory)


def move(source: Path, target: Path) -> None:
    """Give a finished file its name, durable on return; `FileExistsError` when the name is taken.

    Where it raises, the name is free again, as far as the disk lets it.
    """
    with locked_directory(target.parent) as directory:
        os.link(source, target)
        # Crash here: the file is complete under its name, `source` is its second name.
        try:
            os.unlink(source)
            os.fsync(directory)
        except OSError:
            with suppress(OSError):
                os.unlink(target)
            raise


def flush_again(path: Path) -> None:
    """Make durable what whoever ended before us left in a file, and its name; where there is no file, the names beside.

    A flush that failed leaves pages that the system shows, calls clean, and never writes: so every byte is written once
    more, as it was read, and flushed. A crash meanwhile leaves none of them worse.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = -1
    if descriptor >= 0:
        try:
            at = 0
            while data := os.pread(descriptor, _COPY_BYTES, at):
                at += os.pwrite(descriptor, data, at)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_directory(path.parent)


def supplant(source: Path, target: Path) -> None:
    """Give a finished file its name, durable on return, whoever had it: for file systems without hard links."""
    os.replace(source, target)
    sync_directory(target.parent)


def _write_temporary(path: Path, data: bytes) -> Path:
    temporary = path.with_name(path.name + ".tmp")
    remove(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    return temporary
