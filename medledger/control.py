"""The control blocks of a replica as the membership fold reads them, decoded once and kept in memory.

Blocks on disputed branches count too: an approval is not undone by a fork or a cut of the feed it stands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from .acts import GovEpoch, GovRevoke
from .block import split_body
from .entry import decode_entry
from .errors import MalformedError
from .governance import Point
from .header import parse_header
from .membership import ControlBlock
from .store import BlockRow, Store


class ControlLog:
    """A cache over the store's control blocks, by position."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decoded: dict[bytes, ControlBlock] = {}
        self._by_position: dict[tuple[int, int], bytes] = {}
        self.named: set[bytes] = set()  # ids of blocks that some closing or cut names: their arrival decides something

    def blocks(self) -> tuple[list[ControlBlock], list[ControlBlock]]:
        """Every control block: those that stand, and the disputed ones."""
        found: tuple[list[ControlBlock], list[ControlBlock]] = ([], [])
        for feed, block_id, row in self._store.control_rows():
            known = block_id or self._by_position.get((feed.no, row.seq))
            if known is None:
                known = self._by_position[feed.no, row.seq] = sha256(row.header).digest()
            block = self._decoded.get(known)
            if block is None:
                block = self._decoded[known] = _decode(feed.author, known, row)
                self.named.update(_named(block))
            found[1 if block_id else 0].append(block)
        return found

    def forget(self, author: bytes) -> None:
        """A feed's blocks moved."""
        no = self._store.feeds[author].no
        self._by_position = {place: known for place, known in self._by_position.items() if place[0] != no}

    def is_ancestor(self, feed: bytes, earlier: Point, later: Point) -> bool:
        """Whether `later` is held and `earlier` is it or one of its ancestors."""
        found = self._store.feeds.get(feed)
        if found is None or earlier[0] > later[0]:
            return False
        seq, block_id = later
        while block_id is not None:
            row = self._store.row(found, seq)
            if row is not None and sha256(row.header).digest() == block_id:  # on the standing chain: a look-up away
                standing = self._store.row(found, earlier[0])
                return standing is not None and sha256(standing.header).digest() == earlier[1]
            branch = self._store.disputed_block(block_id)
            if branch is None:
                return False
            if (seq, block_id) == earlier:
                return True
            seq, block_id = seq - 1, parse_header(branch.header)[0].prev
            if seq < earlier[0]:
                return False
        return False


def _decode(feed: bytes, block_id: bytes, row: BlockRow) -> ControlBlock:
    entries = []
    for index, item in enumerate(split_body(row.body)):
        if isinstance(item, bytes):
            try:
                entry = decode_entry(item)
            except MalformedError:
                continue  # not an act; the entry is marked void where entries are read
            entries.append((index, entry.type, entry.content))
    return ControlBlock(feed, row.seq, block_id, parse_header(row.header)[0].epoch, tuple(entries))


def _named(block: ControlBlock) -> Iterator[bytes]:
    """The block ids that closings and cuts in a block name. What is malformed names nothing."""
    for _, entry_type, content in block.entries:
        if entry_type == GovRevoke.TYPE and isinstance(content, dict):
            yield from _if_id(content.get("id"))
        elif entry_type == GovEpoch.TYPE and isinstance(content, list) and content and isinstance(content[-1], list):
            for closing in content[-1]:
                if isinstance(closing, list) and closing:
                    yield from _if_id(closing[-1])


def _if_id(value: object) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
