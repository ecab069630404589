"""A bundle: a whole replica in one file, to carry where no network goes.

    bundle   = a ZIP file, stored without compression, of `manifest.cbor` and `segments/<sha-256 in hex>`
    manifest = [1, genesis, [[feed, seq, id] ...], [[sha-256, size, blocks] ...], [fork proof ...]]
    segment  = a CBOR sequence (RFC 8742) of byte strings, each an encoded block; at most 8 MiB

- Governors' feeds come first, then the others, each in order, then the branches of governors' forked feeds: a reader
  that knows only the genesis can take the blocks as they come.
- Segments are named by their hash, so that, unpacked on a web server, they can be fetched, resumed and cached by name.
- A bundle proves nothing by itself and needs no signature: every block in it is validated like any other. The
  manifest's frontier only tells a reader whether something is missing.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, Protocol

from . import cbor, files
from .errors import (
    BlockError,
    BlockSignatureError,
    CorruptError,
    LimitError,
    MalformedBlockError,
    MalformedError,
    MedledgerError,
    NeedsNewerError,
    NewerBlockError,
    SignatureError,
    StoreError,
)
from .fork import ForkProof
from .governance import Genesis
from .header import Head
from .importing import ImportReport
from .limits import (
    BUNDLE_SEGMENT_BYTES,
    MAX_BLOCK_BYTES,
    MAX_DATA_BYTES,
    MAX_FORK_PROOF_BYTES,
    MAX_GENESIS_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_SEQ,
)
from .membership import Membership
from .schema import Array, Bytes, Int, Tuple

VERSION: Final = 1
# What `zipfile` raises over bytes that are no archive, beside its own error: it trusts most of what it reads.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    ArithmeticError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
    struct.error,
)
_MAX_PASSES: Final = 4  # over the blocks of a bundle with forks; each takes what the one before made known
MANIFEST_NAME: Final = "manifest.cbor"

_HASH: Final = Bytes(32)
_MANIFEST: Final = Tuple(
    Int(VERSION, VERSION),
    Bytes(1, MAX_GENESIS_BYTES),
    Array(Tuple(_HASH, Int(0, MAX_SEQ), _HASH), 0, 2**20),
    Array(Tuple(_HASH, Int(1, BUNDLE_SEGMENT_BYTES), Int(1, 2**32)), 0, 2**20),
    Array(Bytes(1, MAX_FORK_PROOF_BYTES), 0, 2**16),
)


class Source(Protocol):
    """The ledger that is exported, or imported into."""

    @property
    def genesis(self) -> Genesis: ...
    @property
    def membership(self) -> Membership: ...
    @property
    def me(self) -> bytes | None: ...
    def frontier(self) -> dict[bytes, Head]: ...
    def branches(self) -> Sequence[bytes]: ...
    def fork_proofs(self) -> dict[bytes, bytes]: ...
    def release(self, feed: bytes, start: int, stop: int, max_bytes: int) -> Sequence[bytes]: ...
    def import_blocks(self, raws: Iterable[bytes]) -> ImportReport: ...
    def import_fork_proof(self, raw: bytes) -> ForkProof: ...
    def peer_has_no_more(self, length: int, *, live: bool = True) -> None: ...


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says it holds. `frontier` has the last (seq, id) of each feed."""

    genesis: bytes
    frontier: dict[bytes, tuple[int, bytes]]
    segments: tuple[tuple[bytes, int, int], ...]
    fork_proofs: tuple[bytes, ...]

    @property
    def blocks(self) -> int:
        return sum(blocks for _, _, blocks in self.segments)


def export_bundle(ledger: Source, target: Path) -> Manifest:
    """Write all of a ledger to `target`, durably, or nothing. Raises `StoreError`: the file exists, the disk fails."""
    if target.exists():
        raise StoreError(f"{target} exists already")
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("wb") as file:
            manifest = _write(ledger, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)  # a reader sees the whole bundle or none; `files.move` needs links, which sticks lack
        files.sync_directory(target.parent)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return manifest


def _write(ledger: Source, file: IO[bytes]) -> Manifest:
    frontier = ledger.frontier()
    segments = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for data, blocks in _segments(_released(ledger, frontier)):
            digest = sha256(data).digest()
            archive.writestr(_member(digest), data)
            segments.append((digest, len(data), blocks))
        manifest = Manifest(
            ledger.genesis.raw,
            {feed: (frontier[feed].seq, frontier[feed].id) for feed in sorted(frontier)},
            tuple(segments),
            tuple(proof for _, proof in sorted(ledger.fork_proofs().items())),
        )
        archive.writestr(_member(None), encode_manifest(manifest))
    return manifest


def _released(ledger: Source, frontier: dict[bytes, Head]) -> Iterator[bytes]:
    """All blocks up to the frontier, and the branches."""
    electors = ledger.membership.electors
    for feed in sorted(frontier, key=lambda feed: (feed not in electors, feed)):
        start, stop = 0, frontier[feed].seq + 1
        while start < stop and (page := ledger.release(feed, start, stop, MAX_DATA_BYTES)):
            yield from page
            start += len(page)
    yield from ledger.branches()


def _segments(raws: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """The blocks as segments of at most BUNDLE_SEGMENT_BYTES, each with its number of blocks."""
    parts: list[bytes] = []
    size = 0
    for raw in raws:
        item = cbor.encode(raw)
        if size + len(item) > BUNDLE_SEGMENT_BYTES:
            yield b"".join(parts), len(parts)
            parts, size = [], 0
        parts.append(item)
        size += len(item)
    if parts:
        yield b"".join(parts), len(parts)


def _member(digest: bytes | None) -> zipfile.ZipInfo:
    """A member's name, with the same date in every bundle: equal content gives equal bytes."""
    return zipfile.ZipInfo(MANIFEST_NAME if digest is None else f"segments/{digest.hex()}")


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's one encoding."""
    return cbor.encode(
        [
            VERSION,
            manifest.genesis,
            [[feed, seq, block_id] for feed, (seq, block_id) in manifest.frontier.items()],
            [list(segment) for segment in manifest.segments],
            list(manifest.fork_proofs),
        ]
    )


def decode_manifest(data: bytes) -> Manifest:
    """Raises `MalformedError` or `NeedsNewerError`."""
    parts = cbor.decode(data, max_size=MAX_MANIFEST_BYTES)
    if isinstance(parts, list) and parts and type(parts[0]) is int and parts[0] > VERSION:
        raise NeedsNewerError(f"a bundle of version {parts[0]}", hint="Update medledger.")
    try:
        _MANIFEST.check(parts, "manifest")
    except MedledgerError as error:
        raise MalformedError(f"not a bundle's manifest: {error}") from error
    _, genesis, frontier, segments, proofs = parts
    return Manifest(
        genesis,
        {feed: (seq, block_id) for feed, seq, block_id in frontier},
        tuple((digest, size, blocks) for digest, size, blocks in segments),
        tuple(proofs),
    )


def read_manifest(source: Path) -> Manifest:
    """The manifest of a bundle file. Raises `MalformedError` where it is none, `StoreError` where it cannot be read."""
    with _Opened(source) as archive:
        return _manifest(archive)


def import_bundle(ledger: Source, source: Path) -> ImportReport:
    """Take what is valid of a bundle; segments are checked by their hash before a block of them is looked at.

    A bundle is a peer's answer, for a replica that waits to hear how much of its own feed others hold. Raises
    `MalformedError` where the file is no bundle or is of another ledger, `CorruptError` (in whose message the damaged
    segment is named) where it was damaged: what came before it has been taken.
    """
    with _Opened(source) as archive:
        manifest = _manifest(archive)
        if manifest.genesis != ledger.genesis.raw:
            raise MalformedError("this bundle is of another ledger")
        report = ImportReport()
        for _ in range(_MAX_PASSES):
            known = ledger.fork_proofs()
            more = ledger.import_blocks(raw for segment in manifest.segments for raw in _blocks(archive, segment))
            _import_fork_proofs(ledger, manifest.fork_proofs, more)
            _add(report, more)
            if known == ledger.fork_proofs() and not (more.waiting and more.accepted):
                break  # else there may be more to take: on a branch of a fork, or of whom such a branch enrols
    if ledger.me is not None:
        last = manifest.frontier.get(ledger.me)
        ledger.peer_has_no_more(0 if last is None else last[0] + 1, live=False)
    return report


def _import_fork_proofs(ledger: Source, proofs: Iterable[bytes], report: ImportReport) -> None:
    for proof in proofs:
        try:
            ledger.import_fork_proof(proof)
        except StoreError:
            raise
        except MedledgerError as error:
            report.refuse(_refusal(error))


def _add(report: ImportReport, more: ImportReport) -> None:
    """What one more pass over the same blocks did: those of the passes before are no duplicates."""
    if not report.accepted:
        report.duplicates = more.duplicates
    report.accepted += more.accepted
    report.advanced += more.advanced
    report.forks += more.forks
    report.waiting, report.refused = more.waiting, more.refused


def _refusal(error: MedledgerError) -> BlockError:
    """Why a fork proof was refused, as a report names it."""
    if isinstance(error, BlockError):
        return error
    message = f"a fork proof in the bundle: {error}"
    if isinstance(error, NeedsNewerError):
        return NewerBlockError(message)
    return BlockSignatureError(message) if isinstance(error, SignatureError) else MalformedBlockError(message)


class _Opened:
    """A bundle's archive; what goes wrong with it, in our words."""

    def __init__(self, source: Path) -> None:
        self._source = source

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self._archive = zipfile.ZipFile(self._source)
        except _ZIP_ERRORS as error:
            raise MalformedError(f"{self._source} is not a bundle: {error}") from error
        except OSError as error:
            raise StoreError(f"{self._source} cannot be read: {error.strerror or error}") from error
        return self._archive

    def __exit__(self, *exception: object) -> None:
        self._archive.close()


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    return decode_manifest(_read(archive, MANIFEST_NAME, MAX_MANIFEST_BYTES))


def _read(archive: zipfile.ZipFile, name: str, max_size: int) -> bytes:
    """A member's bytes, never more than `max_size`, whatever its header says."""
    if name not in archive.NameToInfo:
        raise MalformedError(f"the bundle has no {name}")
    try:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_size:
            raise LimitError(f"{name} is compressed or over {max_size} bytes")
        with archive.open(info) as member:
            return member.read(max_size)
    except (*_ZIP_ERRORS, OSError) as error:
        raise CorruptError(f"{name} in the bundle is damaged: {error}") from error


def _blocks(archive: zipfile.ZipFile, segment: tuple[bytes, int, int]) -> Iterator[bytes]:
    digest, size, _ = segment
    name = f"segments/{digest.hex()}"
    data = _read(archive, name, BUNDLE_SEGMENT_BYTES)
    if len(data) != size or sha256(data).digest() != digest:
        raise CorruptError(f"{name} in the bundle is damaged", hint="Copy the bundle again.")
    yield from split_segment(data)


def split_segment(data: bytes) -> Iterator[bytes]:
    """The encoded blocks in a segment's CBOR sequence. Raises `MalformedError`."""
    at = 0
    while at < len(data):
        head = data[at]
        width = {0x58: 1, 0x59: 2, 0x5A: 4}.get(head, 0)
        start = at + 1 + width
        length = int.from_bytes(data[at + 1 : start], "big")
        if not width or not 0 < length <= MAX_BLOCK_BYTES or start + length > len(data):
            raise MalformedError("a segment is not a sequence of byte strings, each a block")
        at = start + length
        yield data[start:at]
