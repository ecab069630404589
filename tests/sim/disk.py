"""A disk in memory: what survives a power cut, and what only a running system sees.

Rules:

- A file has bytes that are durable, and the writes since its last sync. A name (made, removed, renamed, linked) is
  durable after the sync of its directory; a sync of the file alone does not make its name durable. A disk is one flat
  directory.
- Everything that changes a file or makes a change durable is a *point*, and points are numbered from 1: `write`,
  `truncate`, `sync` of a file; `create`, `link`, `unlink`, `rename`, and `dirsync` of the directory. `open` of what
  exists is no point, but may be made to fail.
- `crash_at = n` ends the process at point n: a change has reached the system and is not durable, a sync has not
  happened. `PowerCut` is raised then, and by all that the process still tries: the disk is `dead` until `crash`, which
  says what the power cut left and starts the next process. Files opened before it stay dead.
- A write is atomic in its sectors of 512 bytes, and leaves what lies beside it alone (SQLite calls that
  powersafe overwrite, and believes it of every Linux file system).
- `fail` plants errors: the n-th write, sync, truncate, open ... from now raises `OSError` and does nothing. A sync
  that fails with `lose=True` takes the unsynced writes with it: the system still shows them, calls them clean, and no
  later sync brings them to the disk. That is what Linux does.
- `capacity` bounds the bytes of all files: beyond it a write raises ENOSPC.
- Randomness is the caller's: same calls, same disk.

`sim.mounting` puts a disk under the shipped ledger.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple

SECTOR: Final = 512
ROOT: Final = Path("/simulated-disk")
"""Files of the disk named "box" have paths below /simulated-disk/box."""

KINDS: Final = ("write", "truncate", "sync", "create", "link", "unlink", "rename", "dirsync")


class PowerCut(BaseException):
    """The process ended here. No `Exception`: nothing that handles errors may live on."""


class Mode(Enum):
    """What a crash leaves of the changes that were not durable."""

    DROPPED = "unsynced dropped"
    TORN = "torn at 512 B"  # those up to some moment, and of the next one some sectors
    REORDERED = "reordered"  # any of them, some in part
    KILLED = "killed"  # all: the process died, the system did not; they still are not durable


class _Change(NamedTuple):
    """What was done and is not durable: a write, a truncation (no data), or names given and taken."""

    number: int
    offset: int = 0
    data: bytes | None = None
    names: dict[str, Inode | None] | None = None


class Inode:
    """A file's bytes: as the system shows them, as they are durable, and what lies between."""

    __slots__ = ("data", "durable", "locks", "pending")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.pending: list[_Change] = []
        self.locks: dict[object, int] = {}  # SQLite's lock level of each open file that has one

    def copy(self) -> Inode:
        """The same bytes; nobody has it open."""
        other = Inode()
        other.data, other.durable, other.pending = self.data[:], self.durable[:], self.pending[:]
        return other


class Fault(NamedTuple):
    """A planted error."""

    kind: str
    name: str  # how the file's name ends
    left: int  # operations that still succeed
    error: int
    lasting: bool
    lose: bool


class Disk:
    """One node's disk. See the module for what its files go through."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.points = 0
        self.crash_at: int | None = None
        self.dead = False
        self.capacity: int | None = None
        self.checkpoint_pages = 1000  # of a write-ahead log; SQLite's own default
        self.on_point: Callable[[int, str, str], None] | None = None  # called before each: number, kind, file's name
        self.counts = dict.fromkeys(KINDS, 0)
        self.faults_hit = 0
        self.on_fault: Callable[[str], None] = lambda _: None  # called with the name of what has just struck
        self.generation = 0  # of the process: a file opened by an earlier one is dead
        self.closing: list[Callable[[], None]] = []  # what the next crash takes from the process
        self._names: dict[str, Inode] = {}
        self._durable_names: dict[str, Inode] = {}
        self._pending_names: list[_Change] = []
        self._faults: list[Fault] = []
        self._was_full: int | None = None  # the capacity that was told to be used up

    def path(self, name: str) -> Path:
        """Where the shipped code finds this file."""
        return ROOT / self.name / name

    def copy(self, name: str) -> Disk:
        """Another disk with the same files in the same state: a cloned card, or a moment to come back to."""
        other = Disk(name)
        other.points, other.checkpoint_pages, other.capacity = self.points, self.checkpoint_pages, self.capacity
        inodes: dict[int, Inode] = {}

        def twin(inode: Inode) -> Inode:
            return inodes.setdefault(id(inode), inode.copy()) if id(inode) not in inodes else inodes[id(inode)]

        other._names = {key: twin(inode) for key, inode in self._names.items()}
        other._durable_names = {key: twin(inode) for key, inode in self._durable_names.items()}
        other._pending_names = [
            change._replace(names={key: inode and twin(inode) for key, inode in (change.names or {}).items()})
            for change in self._pending_names
        ]
        return other

    # --- failing ------------------------------------------------------------------------------------------------

    def fail(
        self,
        kind: str,
        *,
        nth: int = 1,
        error: int = errno.EIO,
        name: str = "",
        lasting: bool = False,
        lose: bool = False,
    ) -> None:
        """The `nth` operation of this kind from now fails, on a file whose name ends in `name`; so do all that follow
        when `lasting`. `kind` may be any point, `open`, or `any`, which is every point.
        """
        self._faults.append(Fault(kind, name, nth - 1, error, lasting, lose))

    def mend(self) -> None:
        """No planted error any more."""
        self._faults.clear()
        self.capacity = None

    def crash(self, mode: Mode, rng: random.Random) -> None:
        """End the process, here or where it died already, and leave what the mode says. The next one may start."""
        self.dead = True
        for close in self.closing:
            close()
        self.closing.clear()
        self.generation += 1
        self.dead, self.crash_at = False, None
        if mode is not Mode.KILLED:
            self._settle(mode, rng)
        for inode in self._names.values():
            inode.locks.clear()

    def _settle(self, mode: Mode, rng: random.Random) -> None:
        """Power was cut: keep some of what was not durable, and nothing else is there any more."""
        inodes = {id(inode): inode for inode in self._reachable()}
        changes: list[tuple[_Change, Inode | None]] = [(change, None) for change in self._pending_names]
        for inode in inodes.values():
            changes += [(change, inode) for change in inode.pending]
            inode.pending = []
        self._pending_names = []
        changes.sort(key=lambda pair: pair[0].number)
        for change, target in _kept(changes, mode, rng):
            if target is not None:
                _apply(target.durable, change)
            elif change.names is not None:
                _rename(self._durable_names, change.names)
        self._names = dict(self._durable_names)
        for inode in inodes.values():
            inode.data = inode.durable[:]

    def _reachable(self) -> Iterable[Inode]:
        yield from self._durable_names.values()
        yield from self._names.values()
        for change in self._pending_names:
            yield from (inode for inode in (change.names or {}).values() if inode is not None)

    def _point(self, kind: str, name: str) -> int:
        """Number a point. Raises what was planted for it; `PowerCut` where the process is dead already."""
        if self.dead:
            raise PowerCut
        self.points += 1
        self.counts[kind] += 1
        if self.on_point is not None:
            self.on_point(self.points, kind, name)
        if self._faults:
            self._meet_fault(kind, name)
        return self.points

    def _meet_fault(self, kind: str, name: str) -> None:
        for at, fault in enumerate(self._faults):
            if fault.kind not in (kind, "any") or (fault.kind == "any" and kind == "open"):
                continue
            if not name.endswith(fault.name):
                continue
            if fault.left:
                self._faults[at] = fault._replace(left=fault.left - 1)
                continue
            if not fault.lasting:
                del self._faults[at]
            if fault.lose and kind in ("sync", "dirsync"):
                self._lose(kind, name)
            self.faults_hit += 1
            self.on_fault("I/O error")
            raise OSError(fault.error, os.strerror(fault.error))

    def _lose(self, kind: str, name: str) -> None:
        """The system has given up on these writes, and will not try them again."""
        if kind == "dirsync":
            self._pending_names.clear()
        elif name in self._names:
            self._names[name].pending.clear()
        self.on_fault("flush that loses what it was to save")

    def _cut(self, number: int) -> None:
        if number == self.crash_at:
            self.dead = True
            raise PowerCut

    # --- files: what a system call does ------------------------------------------------------------------------

    def find(self, name: str) -> Inode | None:
        """The file of this name, as the system shows it."""
        if self.dead:
            raise PowerCut
        return self._names.get(name)

    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._names)

    def open(self, name: str, *, create: bool = False, exclusive: bool = False) -> Inode:
        """The file, made where `create` says so."""
        inode = self.find(name)
        if inode is not None:
            if create and exclusive:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            if self._faults:
                self._meet_fault("open", name)
            return inode
        if not create:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        inode = Inode()
        self._change_names("create", name, {name: inode})
        return inode

    def write(self, inode: Inode, name: str, offset: int, data: bytes) -> None:
        """Write bytes, beyond the end too: what lies between is zero."""
        number = self._point("write", name)
        if self.capacity is not None:
            growth = offset + len(data) - len(inode.data)
            if growth > 0 and self.used + growth > self.capacity:
                if self._was_full != self.capacity:
                    self._was_full = self.capacity
                    self.on_fault("disk full")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._do(inode, _Change(number, offset, data))

    def truncate(self, inode: Inode, name: str, size: int) -> None:
        """Cut a file, or extend it with zeros."""
        self._do(inode, _Change(self._point("truncate", name), size))

    def _do(self, inode: Inode, change: _Change) -> None:
        _apply(inode.data, change)
        inode.pending.append(change)
        self._cut(change.number)

    def sync(self, inode: Inode, name: str) -> None:
        """What was written to this file is durable; its name may not be."""
        self._cut(self._point("sync", name))
        for change in inode.pending:
            _apply(inode.durable, change)
        inode.pending.clear()

    def sync_directory(self) -> None:
        """The names are durable."""
        self._cut(self._point("dirsync", ""))
        for change in self._pending_names:
            _rename(self._durable_names, change.names or {})
        self._pending_names.clear()

    def link(self, source: str, target: str) -> None:
        """Give a file a second name."""
        inode = self._existing(source)
        if target in self._names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        self._change_names("link", target, {target: inode})

    def unlink(self, name: str) -> None:
        """Take a name away."""
        self._existing(name)
        self._change_names("unlink", name, {name: None})

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, whoever had it: at once."""
        inode = self._existing(source)
        self._change_names("rename", target, {target: inode, source: None})

    def _existing(self, name: str) -> Inode:
        inode = self.find(name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return inode

    def _change_names(self, kind: str, name: str, names: dict[str, Inode | None]) -> None:
        change = _Change(self._point(kind, name), names=names)
        _rename(self._names, names)
        self._pending_names.append(change)
        self._cut(change.number)

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return sum(len(inode.data) for inode in {id(inode): inode for inode in self._names.values()}.values())


def _apply(data: bytearray, change: _Change) -> None:
    """Write or truncate."""
    if change.data is None:
        if change.offset < len(data):
            del data[change.offset :]
        else:
            data.extend(bytes(change.offset - len(data)))
        return
    if change.offset > len(data):
        data.extend(bytes(change.offset - len(data)))
    data[change.offset : change.offset + len(change.data)] = change.data


def _rename(names: dict[str, Inode], changed: dict[str, Inode | None]) -> None:
    for name, inode in changed.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _kept(
    changes: list[tuple[_Change, Inode | None]], mode: Mode, rng: random.Random
) -> Iterable[tuple[_Change, Inode | None]]:
    """Which changes survive, in the order in which they were made; torn ones as what is left of them."""
    if mode is Mode.DROPPED:
        return
    if mode is Mode.TORN:
        at = rng.randrange(len(changes) + 1)
        yield from changes[:at]
        if at < len(changes):
            change, target = changes[at]
            for piece in _torn(change, rng):
                yield piece, target
        return
    share = rng.choice((0.2, 0.5, 0.8))
    for change, target in changes:
        if rng.random() >= share:
            continue
        for piece in _torn(change, rng) if rng.random() < 0.25 else (change,):
            yield piece, target


def _torn(change: _Change, rng: random.Random) -> Iterable[_Change]:
    """Some sectors of a write: its first ones, or any. Names and truncations are done or not."""
    if change.data is None:
        return
    pieces = []
    at = 0
    while at < len(change.data):
        end = min(len(change.data), at + SECTOR - (change.offset + at) % SECTOR)
        pieces.append(_Change(change.number, change.offset + at, change.data[at:end]))
        at = end
    if rng.random() < 0.5:
        yield from pieces[: rng.randrange(len(pieces) + 1)]
    else:
        yield from (piece for piece in pieces if rng.random() < 0.5)
