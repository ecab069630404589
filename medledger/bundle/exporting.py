"""Exporting: all of a ledger as a bundle, in a new file or in a directory that is brought up to date.

Rules:

- Governors' feeds come first, then the others, each in order, then the branches of governors' forked feeds: a reader
  that knows only the genesis can take the blocks as they come.
- Equal replicas that write a bundle anew write equal bytes.
- A directory that holds an earlier bundle keeps its segments, each held against its name; what is new goes into further
  ones. So that many small exports do not leave many small segments, those at the end that are under half full are
  written again together with the new blocks, as long as they have no more blocks than come after them: their number
  stays logarithmic.
- A directory is never made to hold less than it did, but where a fork or a revocation took it away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from medledger import files
from medledger.errors import StoreError
from medledger.header import Head
from medledger.limits import BUNDLE_SEGMENT_BYTES, MAX_BUNDLE_SPANS, MAX_DATA_BYTES

from .depot import PARTIAL, Depot, open_depot
from .manifest import MANIFEST_NAME, Manifest, Segment, encode_manifest
from .progress import Meter, Notify
from .replica import Ledger
from .segments import Run, holds, pack


def export_file(ledger: Ledger, target: Path, notify: Notify | None = None) -> Manifest:
    """Write all of a ledger to the new ZIP file `target`, durably, or nothing.

    Raises `StoreError`: the file exists, the disk fails.
    """
    if target.exists():
        raise StoreError(f"{target} exists already", hint="Choose another name, or remove that file.")
    try:
        with _partial(target) as (partial, file):
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                manifest = _write_archive(ledger, archive, notify)
            file.flush()
            os.fsync(file.fileno())
            files.supplant(partial, target)  # a reader sees the whole bundle or none, on a stick, too
    except OSError as error:
        hint = "Export a directory instead (--unpacked): its files are small." if error.errno == errno.EFBIG else None
        raise StoreError(f"{target} cannot be written: {error.strerror or error}", hint=hint) from error
    return manifest


@contextmanager
def _partial(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The file beside `target` that is to become it, for this process alone; removed where it did not.

    One that a crash left is written anew. A link is none of ours, and what it leads to is not written to.
    """
    partial = target.with_name(target.name + PARTIAL)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _check_is_ours(partial, os.fstat(descriptor))
        except (BlockingIOError, FileNotFoundError) as error:  # or it has its name already: it was finished just now
            raise StoreError(f"{target} is being written by another process", hint="Wait for it.") from error
        try:
            os.ftruncate(descriptor, 0)
            yield partial, file
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _check_is_ours(partial: Path, opened: os.stat_result) -> None:
    """That the file which was opened has this name, and no other one."""
    if not stat.S_ISREG(opened.st_mode) or opened.st_nlink > 1 or not os.path.samestat(opened, os.lstat(partial)):
        raise StoreError(f"{partial} is in the way", hint="Remove it, or choose another name.")


def _write_archive(ledger: Ledger, archive: zipfile.ZipFile, notify: Notify | None) -> Manifest:
    frontier = ledger.frontier()
    meter = Meter(notify, _blocks(frontier))
    segments: list[Segment] = []
    for segment, data in pack(_runs(ledger, frontier, {})):
        archive.writestr(_member(segment.name), data)
        segments.append(segment)
        meter.moved(segment.size)
        meter.done(segment.blocks)
    manifest = _manifest(ledger, segments)
    archive.writestr(_member(MANIFEST_NAME), encode_manifest(manifest))
    return manifest


def _member(name: str) -> zipfile.ZipInfo:
    """A member's name, with the same date in every bundle: equal content gives equal bytes."""
    return zipfile.ZipInfo(name)


def export_directory(ledger: Ledger, target: Path, notify: Notify | None = None) -> Manifest:
    """Write all of a ledger to the directory `target`, or bring the bundle there up to date.

    Cut short, it leaves the bundle of before, and goes on from what was written when it is called again. Raises
    `StoreError`: the directory holds something else, a bundle of another ledger or of one that has more; the disk
    fails.
    """
    with open_depot(target) as depot:
        depot.check_is_of(ledger.genesis.raw)
        frontier = ledger.frontier()
        kept = _kept(ledger, frontier, depot) if depot.before is not None else []
        meter = Meter(notify, _blocks(frontier))
        segments = list(kept)
        for segment in kept:
            meter.kept(segment.blocks, segment.size)
        lengths = {span.feed: span.stop for segment in kept for span in segment.spans}
        for segment, data in pack(_runs(ledger, frontier, lengths)):
            if depot.put(segment, data):
                meter.moved(segment.size)
                meter.done(segment.blocks)
            else:
                meter.kept(segment.blocks, segment.size)
            segments.append(segment)
        manifest = _manifest(ledger, segments)
        depot.finish(encode_manifest(manifest))
        return manifest


def _kept(ledger: Ledger, frontier: dict[bytes, Head], depot: Depot) -> list[Segment]:
    """The segments of the bundle that is there which remain part of it."""
    before = depot.before
    assert before is not None
    _check_grows(ledger, before)
    kept: list[Segment] = []
    for segment in before.segments:
        if not segment.spans or not depot.is_sound(segment) or not all(holds(ledger, span) for span in segment.spans):
            break
        kept.append(segment)
    new = _blocks(frontier) - sum(segment.blocks for segment in kept)
    while kept and kept[-1].size < BUNDLE_SEGMENT_BYTES // 2 and kept[-1].blocks <= new:
        new += kept.pop().blocks
    spans = sum(len(segment.spans) for segment in kept)
    return kept if spans + 2 * len(frontier) <= MAX_BUNDLE_SPANS else []


def _check_grows(ledger: Ledger, before: Manifest) -> None:
    """Refuse to write less over more."""
    for feed, (seq, _) in before.frontier.items():
        head = ledger.head(feed)
        if head is not None and head.seq >= seq:
            continue
        if feed not in ledger.fork_proofs() and feed not in ledger.membership.cuts:
            raise StoreError(
                f"the bundle there has more blocks of {feed.hex()[:8]} than this ledger",
                hint="Import it first, or choose another directory.",
            )


def _manifest(ledger: Ledger, segments: list[Segment]) -> Manifest:
    proofs = tuple(proof for _, proof in sorted(ledger.fork_proofs().items()))
    return Manifest(ledger.genesis.raw, tuple(segments), proofs)


def _blocks(frontier: dict[bytes, Head]) -> int:
    return sum(head.seq + 1 for head in frontier.values())


def _runs(ledger: Ledger, frontier: dict[bytes, Head], lengths: dict[bytes, int]) -> Iterator[Run]:
    """All blocks from these lengths of the feeds to the frontier, and the branches."""
    electors = ledger.membership.electors
    for feed in sorted(frontier, key=lambda feed: (feed not in electors, feed)):
        start = lengths.get(feed, 0)
        yield Run(feed, start, _released(ledger, feed, start, frontier[feed].seq + 1))
    branches = ledger.branches()
    if branches:
        yield Run(None, 0, branches)


def _released(ledger: Ledger, feed: bytes, start: int, stop: int) -> Iterator[bytes]:
    while start < stop and (page := ledger.release(feed, start, stop, MAX_DATA_BYTES)):
        yield from page
        start += len(page)
