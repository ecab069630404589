"""Where a bundle is read from: a ZIP file, a directory, or anything else that gives files by name.

Nothing of a source is trusted. A file is read up to the size it may have, and not beyond; a segment is held against
its name before anybody looks at a block of it.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Final, Protocol

from medledger import files
from medledger.errors import CorruptError, LimitError, MalformedError, StoreError
from medledger.limits import MAX_BUNDLE_SEGMENTS, MAX_MANIFEST_BYTES

from .manifest import MANIFEST_NAME, Manifest, Segment, decode_manifest

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

_MAX_LIST_BYTES: Final = 128 * (MAX_BUNDLE_SEGMENTS + 2)  # 46 bytes for each member, and its name

Moved = Callable[[int], None]
"""Told how many more bytes have come."""


class Source(Protocol):
    """A bundle's files. `str()` of one says what it is, for messages."""

    def read(self, name: str, max_size: int, moved: Moved) -> bytes:
        """A file's bytes. Raises `MalformedError` where there is none or it is longer, `CorruptError` where it is
        damaged, `StoreError` or `TransportError` where it cannot be read.
        """
        ...


class _Listed(io.FileIO):
    """A file whose list of members, which `zipfile` reads at once and whole, may not be longer than a bundle's is."""

    opening = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.opening and size is not None and size > _MAX_LIST_BYTES:
            raise ValueError(f"its list of members is longer than {_MAX_LIST_BYTES} bytes")
        return super().read(size) or b""


class Archive:
    """A bundle in a ZIP file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = _Listed(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
        try:
            self._archive = zipfile.ZipFile(self._file)
        except _ZIP_ERRORS as error:
            self._file.close()
            raise MalformedError(f"{path} is not a bundle: {error}") from error
        except OSError as error:
            self._file.close()
            raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
        self._file.opening = False

    def __str__(self) -> str:
        return str(self._path)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()
        self._file.close()

    def read(self, name: str, max_size: int, moved: Moved) -> bytes:
        """See `Source`. Whatever the archive's headers say, no more than `max_size` is read."""
        if name not in self._archive.NameToInfo:
            raise MalformedError(f"the bundle has no {name}")
        try:
            info = self._archive.getinfo(name)
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_size:
                raise LimitError(f"{name} is compressed or over {max_size} bytes")
            with self._archive.open(info) as member:
                data = member.read(max_size)
        except (*_ZIP_ERRORS, OSError) as error:
            raise CorruptError(f"{name} in the bundle is damaged: {error}") from error
        moved(len(data))
        return data


class Directory:
    """An unpacked bundle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def read(self, name: str, max_size: int, moved: Moved) -> bytes:
        """See `Source`. Only regular files: somebody else may have filled the stick."""
        try:
            data = files.read(self.path / name, max_size).data
        except FileNotFoundError as error:
            raise MalformedError(f"the bundle has no {name}") from error
        except OSError as error:
            raise StoreError(f"{self.path / name} cannot be read: {error.strerror or error}") from error
        moved(len(data))
        return data


@contextmanager
def open_bundle(path: str | PathLike[str]) -> Iterator[Source]:
    """The bundle in a file or directory. Raises `MalformedError` where the file is none, `StoreError`."""
    place = Path(path)
    if place.is_dir():
        yield Directory(place)
        return
    with closing(Archive(place)) as archive:
        yield archive


def read_manifest(source: Source) -> Manifest:
    """What the bundle says it holds. Raises as `Source.read` does."""
    return decode_manifest(source.read(MANIFEST_NAME, MAX_MANIFEST_BYTES, lambda _: None))


def read_segment(source: Source, segment: Segment, moved: Moved) -> bytes:
    """A segment's bytes, which are those that its name stands for. Raises `CorruptError` and as `Source.read` does."""
    data = source.read(segment.name, segment.size, moved)
    if len(data) != segment.size or sha256(data).digest() != segment.hash:
        raise CorruptError(f"{segment.name} in the bundle is damaged", hint="Copy the bundle, or fetch it, again.")
    return data
