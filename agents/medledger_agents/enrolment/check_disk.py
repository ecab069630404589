"""The doctor's look at the disks: room, what they are, and whether they keep fsync's word.

Everything that is acknowledged is flushed first. A file system that is gone after a restart, or was told not to wait
for the disk, makes that an empty promise, and no program can tell from inside when it happens.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medledger.cli.output import number_text, size_text

from ..config import SpoolSection
from .findings import Case, Finding, fault, ok, skipped, warning

MIN_INODES: Final = 1000
ROOMY: Final = 4  # times what must stay free
MAX_OPTION_CHARS: Final = 60
VOLATILE: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
LAYERS: Final = frozenset({"overlay", "aufs", "squashfs"})
FOREIGN: Final = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk"})
REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.sshfs"})
CARELESS: Final = frozenset({"nobarrier", "barrier=0", "data=writeback", "fsync_mode=nobarrier", "sync=disabled"})
STOPPED: Final = frozenset({"emergency_ro", "shutdown"})
"""What newer kernels call a file system that took an error: they do not count it as mounted read-only."""

_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo (proc(5))."""

    point: str
    kind: str
    source: str
    options: frozenset[str]

    @classmethod
    def read(cls, line: str) -> Mount | None:
        """None for a line that is none."""
        before, dash, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if not dash or len(left) < 6 or len(right) < 3:
            return None
        options = frozenset({*left[5].split(","), *right[2].split(",")})
        return cls(_plain(left[4]), right[0], _plain(right[1]), options)


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def mount_of(path: Path, mounts: list[Mount]) -> Mount | None:
    """The mount that a path lies on; the last of those at the longest point is on top."""
    found = None
    resolved = path.resolve()
    for mount in mounts:
        if resolved.is_relative_to(mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def disk(case: Case) -> Iterator[Finding]:
    """Each directory that the box writes to, one for each disk."""
    try:
        text = case.mounts.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    mounts = [mount for line in text.splitlines() if (mount := Mount.read(line)) is not None]
    seen: set[int] = set()
    for what, path in _written(case):
        directory = path.parent
        try:
            device = os.stat(directory).st_dev
        except OSError as error:
            yield fault(f"disk {what}", f"{directory}: {error.strerror}.", "Check [ledger] and [inbox], and the disk.")
            continue
        if device not in seen:
            seen.add(device)
            spool = SpoolSection() if case.agent is None else case.agent.spool
            mount = mount_of(directory, mounts)
            yield from _room(what, directory, spool.min_free_bytes, mount)
            yield from _kind(what, directory, mount)


def _written(case: Case) -> Iterator[tuple[str, Path]]:
    yield "ledger", case.config.ledger.path
    yield "key", case.config.ledger.key
    if case.agent is not None:
        yield "inbox", case.agent.inbox.path


def _room(what: str, directory: Path, least: int, mount: Mount | None) -> Iterator[Finding]:
    room = os.statvfs(directory)
    check, free = f"room {what}", room.f_bavail * room.f_frsize
    advice = "Remove what is not needed there, or give it a larger disk: without room nothing is acknowledged."
    if room.f_flag & os.ST_RDONLY or (mount is not None and mount.options & STOPPED):
        yield fault(
            check,
            f"{directory} is mounted read-only.",
            "After an error a disk is often remounted so: read dmesg, then replace it. Else mount it for writing.",
        )
    elif not os.access(directory, os.W_OK):
        yield warning(check, f"{directory} cannot be written by this user.", "Run the doctor as the agent's user.")
    elif free < least:
        yield fault(check, f"{directory} has {size_text(free)} left; the agent wants {size_text(least)} free.", advice)
    elif room.f_files and room.f_favail < MIN_INODES:
        yield fault(check, f"{directory} has {number_text(room.f_favail)} inodes left.", advice)
    elif free < ROOMY * least:
        yield warning(check, f"{directory} has only {size_text(free)} left.", advice)
    else:
        yield ok(check, f"{directory} has {size_text(free)} left.")


def _kind(what: str, directory: Path, mount: Mount | None) -> Iterator[Finding]:
    check = f"disk {what}"
    if mount is None:
        yield skipped(check, f"This system does not say what {directory} lies on.")
        return
    where = f"{directory} lies on {mount.source} ({mount.kind})"[: MAX_OPTION_CHARS * 3]
    careless = sorted(mount.options & CARELESS)
    if mount.kind in VOLATILE:
        yield fault(check, f"{where}: all of it is gone after a restart.", "Move the directory to a real disk.")
    elif careless:
        yield fault(
            check,
            f"{where}, mounted with {', '.join(careless)}: a power cut can take what was acknowledged.",
            f"Remove that from the options of {mount.point} in /etc/fstab, and mount it again.",
        )
    elif mount.kind in LAYERS:
        yield warning(
            check, f"{where}, the layer of a container: it is gone with it.", "Put the directory on a volume."
        )
    elif mount.kind in FOREIGN:
        yield warning(
            check,
            f"{where}, which keeps neither owners nor permissions: others can read the key.",
            "Use ext4, XFS, Btrfs or F2FS.",
        )
    elif mount.kind in REMOTE:
        yield warning(
            check,
            f"{where}, on another machine: its locks and flushes are that machine's word.",
            "Use a disk of this box.",
        )
    elif "mmcblk" in mount.source:
        yield ok(check, f"{where}, an SD card or eMMC: use one made for continuous writing, and keep a spare.")
    else:
        yield ok(check, f"{where}.")
