"""Fetching: an unpacked bundle copied from anywhere to a directory, segment by segment.

It is as crash-safe as an export into a directory, for it writes in the same order; what was fetched stays, and is known
again by its name and its bytes. So a fetch that was cut short goes on, one that is repeated moves what is new, and what
was damaged meanwhile is fetched again.
"""

from __future__ import annotations

from pathlib import Path

from medledger.errors import StoreError
from medledger.limits import MAX_MANIFEST_BYTES

from .depot import open_depot
from .manifest import MANIFEST_NAME, Manifest, decode_manifest
from .progress import Meter, Notify
from .sources import Source, read_segment


def fetch_bundle(source: Source, target: Path, notify: Notify | None = None) -> Manifest:
    """Copy a bundle to the directory `target`, or bring the one there up to date. No block is looked at.

    Raises as reading the source does, and `StoreError`: the directory holds something else, a bundle of another ledger
    or one with more blocks; the disk fails.
    """
    raw = source.read(MANIFEST_NAME, MAX_MANIFEST_BYTES, lambda _: None)
    manifest = decode_manifest(raw)
    with open_depot(target) as depot:
        depot.check_is_of(manifest.genesis)
        if depot.before is not None:
            _check_grows(depot.before, manifest)
        depot.check_room(sum(segment.size for segment in manifest.segments if not depot.has(segment)))
        meter = Meter(notify, manifest.blocks, manifest.size_bytes)
        for segment in manifest.segments:
            if depot.is_sound(segment):
                meter.kept(segment.blocks, segment.size)
                continue
            depot.put(segment, read_segment(source, segment, meter.moved))
            meter.done(segment.blocks)
        depot.finish(raw)
    return manifest


def _check_grows(before: Manifest, after: Manifest) -> None:
    """Refuse to put a bundle in the place of one that holds more: its source may have been rolled back."""
    frontier = after.frontier
    for feed, (seq, _) in before.frontier.items():
        if frontier.get(feed, (-1, b""))[0] < seq:
            raise StoreError(
                f"the bundle there has more blocks of {feed.hex()[:8]} than the one to fetch",
                hint="Fetch into another directory, and import both: nothing is lost then.",
            )
