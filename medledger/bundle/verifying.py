"""Verifying a bundle: all that it says, from its bytes alone. It takes no ledger and no key.

The checks:

1. The manifest is one; its genesis is signed by one of the first governors, and is of the ledger that was meant.
2. Each segment is there, has the bytes that its name stands for, and holds the blocks that the manifest lists, in that
   order.
3. Each block is taken by a replica that began with the genesis and knows nothing else: chains, Merkle roots, signatures
   and authors, as for blocks that come over a network. With `every_signature` each block's own signature is checked.
4. Each fork proof proves what it says, and each fork that the blocks show is among them.
5. The replica ends where the manifest says, feed for feed: nothing is missing, nothing is there beyond.

What fails is named, and the rest is looked at all the same. The replica lies in a temporary directory, which needs room
for all blocks, and is removed; memory does not grow with the bundle, but for its manifest.

This proves that the bundle is consistent. It cannot prove that there is nothing newer, and, unless the ledger's id was
given, not that it is of the ledger one has in mind.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from medledger.audit import verify
from medledger.errors import CorruptError, MalformedError, MedledgerError, StoreError
from medledger.fork import read_proof
from medledger.governance import Genesis, read_genesis
from medledger.importing import ImportReport
from medledger.replica import Replica
from medledger.store import Store

from .manifest import Manifest, Segment
from .progress import Notify
from .segments import difference
from .sources import Source, read_manifest
from .taking import take

MAX_PROBLEMS = 1000  # a report of a hostile file stays small


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a bundle that is not as it says. `feed` and `seq` name the block where it is about one."""

    what: str
    feed: bytes | None = None
    seq: int | None = None


@dataclass(slots=True)
class BundleReport:
    """What a bundle holds. It is consistent exactly when there are no problems."""

    genesis: Genesis
    manifest: Manifest
    members: int = 0  # enrolled, the revoked ones too
    revoked: int = 0
    feeds: int = 0
    blocks: int = 0  # that stand
    branches: int = 0  # blocks of governors' forked feeds beyond the fork
    hidden: int = 0  # blocks of which entries are erased or withheld
    forks: list[bytes] = field(default_factory=list)
    through_successor: list[tuple[bytes, int]] | None = None  # blocks that hold only by a later one; None: not asked
    digest: bytes = b""
    problems: list[Problem] = field(default_factory=list)


def verify_bundle(
    source: Source,
    *,
    ledger_id: bytes | None = None,
    every_signature: bool = False,
    processes: int = 1,
    notify: Notify | None = None,
) -> BundleReport:
    """Verify a bundle; `ledger_id` is the id of the ledger that is meant, or its start.

    Raises `MalformedError`, `NeedsNewerError` or `SignatureError` where manifest or genesis are none, or of another
    ledger; `StoreError` or `TransportError` where the bundle cannot be read, or no temporary replica be made.
    """
    manifest = read_manifest(source)
    genesis = read_genesis(manifest.genesis)
    if ledger_id is not None and not genesis.ledger_id.startswith(ledger_id):
        raise MalformedError(
            f"the bundle is of ledger {genesis.ledger_id.hex()}", hint="Ask whoever gave you the id, or the bundle."
        )
    report = BundleReport(genesis, manifest)
    with _temporary_replica(genesis) as replica:
        segments = _Segments()
        taken = take(replica, source, manifest, notify, segments)
        report.problems += segments.problems.values()
        _note_refused(report, taken)
        _compare_feeds(report, replica)
        _compare_forks(report, replica)
        if every_signature:
            _check_signatures(report, replica, processes)
        _describe(report, replica)
    del report.problems[MAX_PROBLEMS:]
    return report


@contextmanager
def _temporary_replica(genesis: Genesis) -> Iterator[Replica]:
    """A replica that knows nothing but the genesis, and is removed however this ends."""
    try:
        directory = tempfile.TemporaryDirectory(prefix="medledger-verify-")
    except OSError as error:
        raise StoreError(
            f"no temporary directory can be made: {error.strerror or error}", hint="TMPDIR says where there is room."
        ) from error
    with directory as place, closing(Store.create(Path(place) / "replica.db")) as store:
        store.set_meta("genesis", genesis.raw)
        yield Replica(store)


class _Segments:
    """Check 2, while the segments are read."""

    def __init__(self) -> None:
        self.problems: dict[bytes, Problem] = {}  # a segment may be read several times

    def read(self, segment: Segment, raws: Sequence[bytes]) -> None:
        """See `taking.Inspector`."""
        differs = difference(segment, raws)
        if differs is not None:
            self.problems[segment.hash] = Problem(f"{segment.name} holds {differs}")

    def damaged(self, segment: Segment, error: MedledgerError) -> None:
        """See `taking.Inspector`."""
        self.problems[segment.hash] = Problem(f"{error}: {_listed(segment)}")


def _listed(segment: Segment) -> str:
    """What a segment should hold, in a few words."""
    if not segment.spans:
        return f"{segment.blocks} blocks of forked feeds"
    first, more = segment.spans[0], len(segment.spans) - 1
    text = f"blocks {first.start} to {first.stop - 1} of {first.feed.hex()[:8]}"
    return f"{text}, and {more} more runs" if more else text


def _note_refused(report: BundleReport, taken: ImportReport) -> None:
    """Checks 3 and 4."""
    for error in taken.refused:
        report.problems.append(Problem(f"refused: {error}", error.feed, error.seq))


def _compare_feeds(report: BundleReport, replica: Replica) -> None:
    """Check 5."""
    promised = report.manifest.frontier
    held = replica.frontier()
    for feed in sorted(promised.keys() | held.keys()):
        seq, block_id = promised.get(feed, (-1, b""))
        head = held.get(feed)
        last = -1 if head is None else head.seq
        if last < seq:
            report.problems.append(Problem(f"blocks {last + 1} to {seq} are missing", feed, last + 1))
        elif last > seq:
            report.problems.append(Problem(f"blocks {seq + 1} to {last} are not in its list", feed, seq + 1))
        elif head is not None and head.id != block_id:
            report.problems.append(Problem("the last block is another than the one it names", feed, seq))


def _compare_forks(report: BundleReport, replica: Replica) -> None:
    """Check 4, the other way round: what the blocks show."""
    named = set()
    for raw in report.manifest.fork_proofs:
        try:
            named.add(read_proof(replica.id, raw).feed)
        except MedledgerError:
            continue  # refused, and noted as such
    for feed, proof in sorted(replica.forks.items()):
        if feed not in named:
            report.problems.append(Problem("the blocks show a fork of which it has no proof", feed, proof.seq))


def _check_signatures(report: BundleReport, replica: Replica, processes: int) -> None:
    try:
        verified = verify(replica, every_signature=True, processes=processes)
    except CorruptError as error:
        report.problems.append(Problem(str(error), error.feed, error.seq))
    else:
        report.through_successor = verified.through_successor


def _describe(report: BundleReport, replica: Replica) -> None:
    frontier, membership = replica.frontier(), replica.membership
    report.members = len(membership.members)
    report.revoked = len(membership.cuts)
    report.feeds = len(frontier)
    report.blocks = sum(head.seq + 1 for head in frontier.values())
    report.branches = len(replica.branches())
    report.hidden = len(replica.holes())
    report.forks = sorted(replica.forks)
    report.digest = replica.digest()
