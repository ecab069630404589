"""Puts simulated disks under the shipped store and files: `with mounted(disk): Ledger.open(disk.path("box.db"), ...)`.

- While it lasts, `medledger.store.connection.connect` opens databases below `sim.disk.ROOT` on their disk, and
  `medledger.files` reads and writes its small files there. Every other path is the real file system, as ever.
- What runs is the shipped code down to its system calls, and a real SQLite (apsw's, whose VFS can be written in Python)
  in place of the interpreter's.
- Several disks may be mounted, also one after the other; two of one name may not.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from medledger import files
from medledger.store import connection
from sim.disk import ROOT, Disk, Inode, PowerCut
from sim.sqlite import connect_on, overlooking

_ROOT = f"{ROOT}{os.sep}"
_disks: dict[str, Disk] = {}
_real_connect = connection.connect


@contextmanager
def mounted(*disks: Disk) -> Iterator[None]:
    """Let the shipped code find these disks."""
    for disk in disks:
        if _disks.setdefault(disk.name, disk) is not disk:
            raise ValueError(f"another disk named {disk.name!r} is mounted")
    with ExitStack() as stack:
        stack.callback(lambda: [_disks.pop(disk.name, None) for disk in disks])
        if files.os is os:
            system = _System()
            stack.enter_context(mock.patch.object(files, "os", system))
            stack.enter_context(mock.patch.object(files, "fcntl", _Locks(system)))
            stack.enter_context(mock.patch.object(connection, "connect", _connect))
            stack.enter_context(overlooking())
        yield


def _found(path: object) -> tuple[Disk, str] | None:
    """The disk and the file's name on it; None for the real file system."""
    text = os.fspath(path)  # type: ignore[call-overload]
    if not isinstance(text, str) or not text.startswith(_ROOT):
        return None
    disk, _, name = text[len(_ROOT) :].partition(os.sep)
    if disk not in _disks:
        raise FileNotFoundError(errno.ENOENT, f"no disk named {disk} is mounted", text)
    return _disks[disk], name


def _connect(path: Path) -> Any:
    found = _found(path)
    return _real_connect(path) if found is None else connect_on(*found)


class _Open:
    """A descriptor of a simulated file, or of a disk's directory (no inode)."""

    def __init__(self, disk: Disk, name: str, inode: Inode | None) -> None:
        self.disk = disk
        self.name = name
        self.inode = inode
        self.at = 0
        self._generation = disk.generation

    def check(self) -> None:
        """Raise where the process that opened it has ended."""
        if self.disk.dead or self.disk.generation != self._generation:
            raise PowerCut

    # The object that `fdopen` gives.

    def read(self, size: int) -> bytes:
        self.check()
        assert self.inode is not None
        found = bytes(self.inode.data[self.at : self.at + size])
        self.at += len(found)
        return found

    def write(self, data: bytes) -> int:
        self.check()
        assert self.inode is not None
        self.disk.write(self.inode, self.name, self.at, bytes(data))
        self.at += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing was buffered."""


class _System:
    """`os`, as far as `medledger.files` calls it; what is not of a simulated disk goes to the real one."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._next = 1 << 24  # no real descriptor is that high

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def described(self, descriptor: int) -> _Open | None:
        """What a descriptor of ours stands for."""
        return self._open.get(descriptor)

    def open(self, path: object, flags: int, mode: int = 0o777) -> int:
        found = _found(path)
        if found is None:
            return os.open(path, flags, mode)  # type: ignore[arg-type]
        disk, name = found
        inode = None
        if name:
            inode = disk.open(name, create=bool(flags & os.O_CREAT), exclusive=bool(flags & os.O_EXCL))
        descriptor = self._next
        self._next += 1
        self._open[descriptor] = _Open(disk, name, inode)
        return descriptor

    def close(self, descriptor: int) -> None:
        if self._open.pop(descriptor, None) is None:
            os.close(descriptor)

    @contextmanager
    def _closing(self, descriptor: int) -> Iterator[_Open]:
        try:
            yield self._open[descriptor]
        finally:
            self._open.pop(descriptor, None)

    def fdopen(self, descriptor: int, mode: str) -> Any:
        return os.fdopen(descriptor, mode) if descriptor not in self._open else self._closing(descriptor)

    def fsync(self, descriptor: int) -> None:
        file = self._open.get(descriptor)
        if file is None:
            os.fsync(descriptor)
            return
        file.check()
        if file.inode is None:
            file.disk.sync_directory()
        else:
            file.disk.sync(file.inode, file.name)

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        file = self._open.get(descriptor)
        if file is None:
            return os.pread(descriptor, size, offset)
        file.at = offset
        return file.read(size)

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        file = self._open.get(descriptor)
        if file is None:
            return os.pwrite(descriptor, data, offset)
        file.at = offset
        return file.write(data)

    def fstat(self, descriptor: int) -> Any:
        file = self._open.get(descriptor)
        return os.fstat(descriptor) if file is None else _status(file.inode)

    def stat(self, path: object) -> Any:
        found = _found(path)
        if found is None:
            return os.stat(path)  # type: ignore[arg-type]
        disk, name = found
        inode = disk.find(name) if name else None
        if name and inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return _status(inode)

    def listdir(self, path: object) -> list[str]:
        found = _found(f"{path}{os.sep}")
        return os.listdir(path) if found is None else found[0].names()  # type: ignore[call-overload, no-any-return]

    def unlink(self, path: object) -> None:
        found = _found(path)
        if found is None:
            os.unlink(path)  # type: ignore[arg-type]
        else:
            found[0].unlink(found[1])

    def link(self, source: object, target: object) -> None:
        self._both(os.link, "link", source, target)

    def replace(self, source: object, target: object) -> None:
        self._both(os.replace, "rename", source, target)

    def _both(self, real: Any, name: str, source: object, target: object) -> None:
        one, other = _found(source), _found(target)
        if one is None or other is None:
            real(source, target)
        elif one[0] is not other[0]:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        else:
            getattr(one[0], name)(one[1], other[1])


class _Locks:
    """`fcntl`: on a simulated disk one process holds all locks, and they end with it."""

    def __init__(self, system: _System) -> None:
        self._system = system

    def __getattr__(self, name: str) -> Any:
        return getattr(fcntl, name)

    def flock(self, descriptor: int, operation: int) -> None:
        file = self._system.described(descriptor)
        if file is None:
            fcntl.flock(descriptor, operation)
        else:
            file.check()


def _status(inode: Inode | None) -> Any:
    kind = stat.S_IFDIR if inode is None else stat.S_IFREG
    return SimpleNamespace(st_mode=kind | (0o700 if inode is None else 0o600), st_size=len(inode.data) if inode else 0)
