"""Reading what the folds need out of a replica: entries that count, each with its place and its block's clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from medledger.header import Header
from medledger.merkle import leaf_hash

from .finding import Context, Finding, Fold, Observed, Place

if TYPE_CHECKING:
    from medledger.indexing import LoggedEntry
    from medledger.replica import Replica


def find(replica: Replica, *, now: int | None = None, folds: Iterable[Fold] | None = None) -> Iterator[Finding]:
    """What these folds find, all of them where none are named. `now` is UTC ms; without it nothing is silent *still*.

    Memory grows with the entries of one fold's types. What arrives meanwhile may be missed.
    """
    from . import FOLDS

    ended = frozenset((*replica.membership.cuts, *replica.forks))
    context = Context(replica.id, replica.membership, now, ended)
    for fold in FOLDS if folds is None else folds:
        yield from fold.find(list(observe(replica, fold)), context)


def observe(replica: Replica, fold: Fold) -> Iterator[Observed]:
    """The entries that a fold asks for, of those that count."""
    if all(next(replica.entries(name), None) is None for name in fold.needs):
        return
    if fold.types is not None:
        for name in sorted(fold.types):
            yield from _with_clocks(replica, replica.entries(name))
    else:
        for feed in sorted({entry.author for name in fold.needs for entry in replica.entries(name)}):
            yield from _with_clocks(replica, replica.entries(author=feed))


def _with_clocks(replica: Replica, entries: Iterable[LoggedEntry]) -> Iterator[Observed]:
    header: Header | None = None
    block_id = b""
    for entry in entries:
        if entry.block_id != block_id:  # entries of a block mostly come together
            block = replica.block(entry.author, entry.seq)
            header, block_id = (None if block is None else block.header), entry.block_id
        if header is None:
            continue  # a fork or a revocation took it away meanwhile
        place = Place(entry.author, entry.seq, entry.index, entry.block_id)
        said = (entry.type, entry.time, entry.subject, entry.content)
        yield Observed(place, *said, header.time, header.clock, header.epoch, leaf_hash(entry.entry.raw))
