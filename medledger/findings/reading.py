"""Reading what the folds need out of a replica: entries that count, each with its place and its block's clock.

Each fold has a pass of its own, so that memory holds what one fold asks for. A pass goes by position, a page of blocks
at a time. An entry that counts was decoded strictly when it was indexed (interpretation.py), so here it is only parsed.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from medledger.block import split_body
from medledger.cbor import guess_all
from medledger.entry import decode_entry
from medledger.header import Header, parse_header
from medledger.limits import MAX_SEQ
from medledger.merkle import leaf_hash
from medledger.store.database import SEQ_BITS, position

from .finding import Context, Finding, Fold, Observed, Place

if TYPE_CHECKING:
    from medledger.replica import Replica

PAGE_ENTRIES: Final = 512
"""Entries that are read together: at most so many blocks are held."""

_FEEDS: Final = "SELECT DISTINCT pos >> {bits} FROM entries WHERE type IN ({types})"
# By position, not by type: else each page would sort all entries of these types.
_ENTRIES: Final = (
    "SELECT pos, idx FROM entries WHERE (pos, idx) > (?, ?) AND pos <= ? AND void IS NULL AND +type IN ({types}) "
    "ORDER BY pos, idx LIMIT {page}"
)
_PLACES: Final = (
    "SELECT DISTINCT pos FROM entries WHERE pos BETWEEN ? AND ? "
    "AND +type IN (SELECT no FROM entry_types WHERE name IN (SELECT value FROM json_each(?))) ORDER BY pos"
)
_BLOCKS: Final = "SELECT pos, header, body FROM blocks WHERE pos IN ({places})"


def find(replica: Replica, *, now: int | None = None, folds: Iterable[Fold] | None = None) -> Iterator[Finding]:
    """What these folds find, all of them where none are named. `now` is UTC ms; without it nothing is silent *still*.

    Memory grows with the entries of one fold's types. What arrives meanwhile may be missed.
    """
    from . import FOLDS

    ended = frozenset((*replica.membership.cuts, *replica.forks))
    context = Context(replica.id, replica.membership, now, ended)
    for fold in FOLDS if folds is None else folds:
        with _collector_at_rest():
            found = list(fold.find(list(observe(replica, fold)), context))
        yield from found


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Entries refer to each other in no circles, and a garbage collector that goes through millions of them again and
    again takes half the time (measured; Mercurial does the same where it builds long lists).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def observe(replica: Replica, fold: Fold) -> Iterator[Observed]:
    """The entries that a fold asks for, of those that count, by feed number and position."""
    if all(next(replica.entries(name), None) is None for name in fold.needs):
        return
    with replica.store.lock:
        numbers: dict[str, int] = dict(replica.store.query("SELECT name, no FROM entry_types"))
    asked = numbers.keys() if fold.types is None else fold.types & numbers.keys()
    in_feeds_of = fold.needs if fold.types is None else asked
    for no in _feeds(replica, [numbers[name] for name in in_feeds_of if name in numbers]):
        for page in _pages(replica, no, sorted(numbers[name] for name in asked)):
            yield from _observed(page, fold)


def blocks_with(replica: Replica, types: Iterable[str], feed: bytes, start: int, stop: int) -> list[int] | None:
    """The blocks of a feed, start <= seq < stop, with an entry of these types, void or not. None: not indexed yet."""
    store = replica.store
    with store.lock:
        known = store.feeds.get(feed)
        if known is None or store.progress("interpreted", known) < stop:
            return None
        rows = store.query(
            _PLACES, (position(known.no, start), position(known.no, stop - 1), json.dumps(sorted(types)))
        )
        return [pos & MAX_SEQ for (pos,) in rows]


def _feeds(replica: Replica, types: Iterable[int]) -> list[int]:
    """The numbers of the feeds that hold an entry of these types."""
    sql = _FEEDS.format(bits=SEQ_BITS, types=", ".join(map(str, types)))
    return sorted(no for (no,) in replica.store.query(sql))


_Item = tuple[bytes, int, int, bytes, bytes, bytes]
"""Feed, seq, index, header of the block, its id, and the entry's bytes."""


def _pages(replica: Replica, no: int, types: Iterable[int]) -> Iterator[list[_Item]]:
    """The entries of these types in one feed, in order, found anew for each page."""
    sql = _ENTRIES.format(types=", ".join(map(str, types)), page=PAGE_ENTRIES)
    after, last = (position(no, 0), -1), position(no, MAX_SEQ)
    while True:
        with replica.store.lock:  # a page, its blocks and whose they are, of one moment
            places = replica.store.query(sql, (*after, last))
            wanted = ", ".join(str(pos) for pos in dict.fromkeys(pos for pos, _ in places))
            rows = replica.store.query(_BLOCKS.format(places=wanted))
            blocks = {pos: (header, body) for pos, header, body in rows}
            feed = replica.store.feeds_by_number()[no].author if places else b""
        page: list[_Item] = []
        for pos, of_block in groupby(places, key=itemgetter(0)):
            if pos in blocks:
                header, body = blocks[pos]
                items, block_id = split_body(body), sha256(header).digest()
                page += [
                    (feed, pos & MAX_SEQ, index, header, block_id, item)
                    for _, index in of_block
                    if isinstance(item := items[index], bytes)
                ]
        yield page
        if len(places) < PAGE_ENTRIES:
            return
        after = places[-1]


def _observed(page: list[_Item], fold: Fold) -> Iterator[Observed]:
    guesses = guess_all([item for *_, item in page])
    header: Header | None = None
    read = b""
    for (feed, seq, index, header_bytes, block_id, item), guess in zip(page, guesses, strict=True):
        if header is None or header_bytes is not read:
            header, read = parse_header(header_bytes)[0], header_bytes
        type_name, time, subject, content = _said(item) if guess is None else guess[1:]
        if fold.keep is not None:
            content = fold.keep(type_name, content)
        place = Place(feed, seq, index, block_id)
        said = (type_name, time, subject, content)
        yield Observed(place, *said, header.time, header.clock, header.epoch, leaf_hash(item))


def _said(item: bytes) -> tuple[str, int, bytes | None, Any]:
    """The same, where another entry of the page was not read."""
    entry = decode_entry(item)
    return entry.type, entry.time, entry.subject, entry.content
