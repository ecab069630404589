"""A directory in which an unpacked bundle is written: for a web server, or a stick.

Rules:

- Segments come first, the manifest last; each file is written beside its place, flushed, and only then given its name.
  So at every moment the directory holds the whole bundle of before or the whole new one, and a file that has a
  segment's name has all of it.
- What is named by its content is written once: a segment that is there already stays as it is.
- Segments that neither the new manifest nor the one before names are removed last: somebody who fetches with the
  manifest of before is not cut off.
- One process writes at a time; another is refused at once. Nothing is written, or removed, through a link that lies in
  the directory: what it leads to is not of this bundle.
- Nothing is asked of the file system that a stick has not: no links, no permissions. Where it cannot replace a file at
  once (FAT), a power cut may leave no manifest, and all segments; the next export makes it again.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from medledger import files
from medledger.errors import MalformedError, StoreError

from .manifest import MANIFEST_NAME, SEGMENTS_NAME, Manifest, Segment, decode_manifest
from .sources import Directory, read_manifest

PARTIAL: Final = ".partial"
_OURS: Final = re.compile(rf"[0-9a-f]{{64}}({re.escape(PARTIAL)})?")


class Depot:
    """A directory that is being written. Make one with `open_depot`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._segments = path / SEGMENTS_NAME
        self._grown = False
        self.before = self._read_before()

    def _read_before(self) -> Manifest | None:
        """The bundle that is there; None where there is none yet, or its manifest is damaged. `NeedsNewerError`."""
        try:
            return read_manifest(Directory(self._path))
        except MalformedError:
            return None

    def check_is_of(self, genesis: bytes) -> None:
        """Refuse to mix two ledgers. Raises `StoreError`."""
        if self.before is not None and self.before.genesis != genesis:
            raise StoreError(f"{self._path} holds a bundle of another ledger", hint="Choose another directory.")

    def check_room(self, size: int) -> None:
        """Raise `StoreError` where so many bytes cannot fit."""
        free = shutil.disk_usage(self._path).free
        if size > free:
            raise StoreError(
                f"{self._path} has room for {free} more bytes, and {size} are needed",
                hint="Make room, or choose another place.",
            )

    def has(self, segment: Segment) -> bool:
        """Whether it is there, going by its name and size."""
        try:
            return (self._path / segment.name).stat().st_size == segment.size
        except FileNotFoundError:
            return False

    def is_sound(self, segment: Segment) -> bool:
        """Whether it is there, read and held against its name."""
        place = self._path / segment.name
        return self.has(segment) and sha256(files.read(place, segment.size).data).digest() == segment.hash

    def put(self, segment: Segment, data: bytes) -> bool:
        """Write a segment, durably but for its name; False where it was there."""
        if self.is_sound(segment):
            return False
        self._segments.mkdir(exist_ok=True)
        self._write(self._path / segment.name, data)
        self._grown = True
        # Crash here: a segment that no manifest names; it is found again by its name.
        return True

    def finish(self, raw: bytes) -> None:
        """Let the directory hold what this manifest says. All its segments have been put."""
        manifest = decode_manifest(raw)
        place = self._path / MANIFEST_NAME
        if self._grown:
            files.sync_directory(self._segments)
        if self.before != manifest:
            # Crash here: the bundle of before, and segments that its manifest does not name.
            self._write(place, raw)
            # Crash here: the new bundle, and segments of the one before the last.
            files.sync_directory(self._path)
            if self.before is not None:
                self._sweep([*self.before.segments, *manifest.segments])
        self._sweep_partial()

    def _write(self, place: Path, data: bytes) -> None:
        partial = place.with_name(place.name + PARTIAL)
        partial.unlink(missing_ok=True)  # of a crash, or a link that somebody has laid on the stick: never written to
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(place)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _sweep(self, named: Iterable[Segment]) -> None:
        keep = {segment.hash.hex() for segment in named}
        for path in self._listed():
            if path.name not in keep:
                path.unlink()

    def _sweep_partial(self) -> None:
        for path in self._listed():
            if path.name.endswith(PARTIAL):
                path.unlink()

    def _listed(self) -> list[Path]:
        """The files among the segments that are ours by their name."""
        if not self._segments.is_dir():
            return []
        return [path for path in self._segments.iterdir() if _OURS.fullmatch(path.name)]


@contextmanager
def open_depot(path: Path) -> Iterator[Depot]:
    """The directory at `path`, made where it is missing, for this process alone. Raises `StoreError`.

    One that holds something and no bundle is refused: it was hardly meant.
    """
    try:
        path.mkdir(exist_ok=True)
        names = set(os.listdir(path))
        if names and not names & {MANIFEST_NAME, MANIFEST_NAME + PARTIAL, SEGMENTS_NAME}:
            raise StoreError(
                f"{path} holds something else than a bundle", hint="Name an empty directory, or one that is to be made."
            )
        with _locked(path):
            if (path / SEGMENTS_NAME).is_symlink():
                raise StoreError(f"{path / SEGMENTS_NAME} is a link", hint="Remove it, or choose another directory.")
            yield Depot(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(files.locked_directory(path, wait=False))
        except BlockingIOError as error:
            raise StoreError(f"{path} is being written by another process", hint="Wait for it.") from error
        yield
