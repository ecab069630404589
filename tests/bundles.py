"""Unpacked bundles for tests: a ledger that fills several small segments, and what to ask of a directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medledger import Ledger
from medledger.bundle import (
    MANIFEST_NAME,
    Manifest,
    Progress,
    export_directory,
    open_bundle,
    read_manifest,
    verify_bundle,
)
from worlds import found, join, reading, sync

SEGMENT_BYTES = 4096  # a dozen blocks


def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let exports write segments of at most SEGMENT_BYTES."""
    for module in ("segments", "exporting"):
        monkeypatch.setattr(f"medledger.bundle.{module}.BUNDLE_SEGMENT_BYTES", SEGMENT_BYTES)


@contextmanager
def founded(directory: Path) -> Iterator[Ledger]:
    """A governor's replica with three feeds and 62 blocks."""
    with found(directory) as ledger:
        for name in ("box", "other"):
            with join(ledger, directory, name) as member:
                grow(member, 20)
                sync(member, ledger)
        grow(ledger, 17)
        yield ledger


def grow(ledger: Ledger, count: int) -> None:
    """Some more blocks of its own, of which the witness knows."""
    for n in range(count):
        block = ledger.append(reading(n))
        ledger.release(block.author, block.seq, block.seq + 1)


def manifest_of(bundle: Path) -> Manifest:
    """What a bundle says it holds."""
    with open_bundle(bundle) as source:
        return read_manifest(source)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a bundle."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def check(directory: Path, ledger: Ledger) -> None:
    """The bundle is consistent, holds all of the ledger, and no file but its own."""
    with open_bundle(directory) as source:
        report = verify_bundle(source, ledger_id=ledger.id)
        names = {segment.name for segment in read_manifest(source).segments}
    assert (report.problems, report.digest) == ([], ledger.digest())
    assert names | {MANIFEST_NAME} <= contents(directory).keys()


def written(ledger: Ledger, directory: Path) -> Progress:
    """Export, and how much of it was new."""
    told: list[Progress] = []
    export_directory(ledger, directory, told.append)
    return told[-1]


def total_blocks(ledger: Ledger) -> int:
    """Of all feeds."""
    return sum(head.seq + 1 for head in ledger.frontier().values())
