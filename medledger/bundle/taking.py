"""Taking a bundle into a replica.

Rules:

- A segment of which the replica holds every block is not read: so an import that was cut short goes on where it
  stopped, and a bundle that has grown costs what is new. Where blocks of it lack entries here (they were hidden from
  us) it is read: it may bring them.
- Segments are checked by their hash before a block of them is looked at; each block is validated like any other.
- Each segment is an import of its own: when the next one is read, what was valid of it is durable.
- A bundle is a peer's answer, for a replica that waits to hear how much of its own feed others hold.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from medledger.errors import (
    BlockError,
    BlockSignatureError,
    CorruptError,
    MalformedBlockError,
    MalformedError,
    MedledgerError,
    NeedsNewerError,
    NewerBlockError,
    SignatureError,
    StoreError,
)
from medledger.importing import ImportReport

from .manifest import Manifest, Segment, Span
from .progress import Meter, Notify
from .replica import Ledger, Replica
from .segments import holds, split_segment
from .sources import Source, read_manifest, read_segment

_MAX_PASSES: Final = 4  # over the blocks of a bundle with forks; each takes what the one before made known


class Inspector(Protocol):
    """Who looks at the segments as they are read, and decides about those that cannot be."""

    def read(self, segment: Segment, raws: Sequence[bytes]) -> None:
        """A segment and its blocks, of which none is validated yet."""
        ...

    def damaged(self, segment: Segment, error: MedledgerError) -> None:
        """A segment that is missing or is not what it should be. Passed over, where this does not raise."""
        ...


def import_bundle(ledger: Ledger, source: Source, notify: Notify | None = None) -> ImportReport:
    """Take what is valid of a bundle.

    Raises `MalformedError` where it is no bundle or is of another ledger, `CorruptError` (in whose message the damaged
    segment is named) where it was damaged: what came before it has been taken.
    """
    manifest = read_manifest(source)
    if manifest.genesis != ledger.genesis.raw:
        raise MalformedError("this bundle is of another ledger")
    report = take(ledger, source, manifest, notify)
    if ledger.me is not None:
        last = manifest.frontier.get(ledger.me)
        ledger.peer_has_no_more(0 if last is None else last[0] + 1, live=False)
    return report


def take(
    replica: Replica,
    source: Source,
    manifest: Manifest,
    notify: Notify | None = None,
    inspector: Inspector | None = None,
) -> ImportReport:
    """The blocks and fork proofs of a bundle of the replica's own ledger."""
    report = ImportReport()
    for _ in range(_MAX_PASSES):
        known = replica.fork_proofs()
        more = _Pass(replica, source, manifest, notify, inspector).run()
        _add(report, more)
        if known == replica.fork_proofs() and not (more.waiting and more.accepted):
            break  # else there may be more to take: on a branch of a fork, or of whom such a branch enrols
    return report


class _Pass:
    """Once through the segments that hold anything for a replica, in order, and the fork proofs."""

    def __init__(
        self,
        replica: Replica,
        source: Source,
        manifest: Manifest,
        notify: Notify | None,
        inspector: Inspector | None,
    ) -> None:
        self._replica = replica
        self._source = source
        self._manifest = manifest
        self._meter = Meter(notify, manifest.blocks, manifest.size_bytes)
        self._inspector = inspector
        self._holes: dict[bytes, list[int]] = {}
        for feed, seq in replica.holes():
            self._holes.setdefault(feed, []).append(seq)

    def run(self) -> ImportReport:
        """What became of the blocks."""
        report = ImportReport()
        for segment in self._manifest.segments:
            if self._is_held(segment):
                report.duplicates += segment.blocks
                self._meter.kept(segment.blocks, segment.size)
                continue
            more = self._replica.import_blocks(self._read(segment))
            report.duplicates += more.duplicates
            report.waiting += more.waiting
            _merge(report, more)
            self._meter.done(segment.blocks)
        _import_fork_proofs(self._replica, self._manifest.fork_proofs, report)
        return report

    def _read(self, segment: Segment) -> Sequence[bytes]:
        try:
            raws = list(split_segment(read_segment(self._source, segment, self._meter.moved)))
        except (CorruptError, MalformedError) as error:
            if self._inspector is None:
                raise
            self._inspector.damaged(segment, error)
            return ()
        if self._inspector is not None:
            self._inspector.read(segment, raws)
        return raws

    def _is_held(self, segment: Segment) -> bool:
        """Whether it has nothing for us. Of branches only reading tells."""
        return bool(segment.spans) and all(
            holds(self._replica, span) and not self._has_hole(span) for span in segment.spans
        )

    def _has_hole(self, span: Span) -> bool:
        holes = self._holes.get(span.feed, [])
        at = bisect_left(holes, span.start)
        return at < len(holes) and holes[at] < span.stop


def _import_fork_proofs(replica: Replica, proofs: Iterable[bytes], report: ImportReport) -> None:
    for proof in proofs:
        try:
            replica.import_fork_proof(proof)
        except StoreError:
            raise
        except MedledgerError as error:
            report.refuse(_refusal(error))


def _add(report: ImportReport, more: ImportReport) -> None:
    """What one more pass over the same blocks did: those of the passes before are no duplicates."""
    if not report.accepted:
        report.duplicates = more.duplicates
    report.waiting = more.waiting
    report.refused.clear()
    _merge(report, more)


def _merge(report: ImportReport, more: ImportReport) -> None:
    """What one more import did, but for what is counted differently in a pass and in all of them."""
    report.accepted += more.accepted
    report.forks += more.forks
    first = {advance.feed: advance.first for advance in reversed(report.advanced)}
    grown = {advance.feed for advance in more.advanced}
    report.advanced = [each for each in report.advanced if each.feed not in grown]
    report.advanced += [each._replace(first=first.get(each.feed, each.first)) for each in more.advanced]
    for error in more.refused:
        report.refuse(error)


def _refusal(error: MedledgerError) -> BlockError:
    """Why a fork proof was refused, as a report names it."""
    if isinstance(error, BlockError):
        return error
    message = f"a fork proof in the bundle: {error}"
    if isinstance(error, NeedsNewerError):
        return NewerBlockError(message)
    return BlockSignatureError(message) if isinstance(error, SignatureError) else MalformedBlockError(message)
