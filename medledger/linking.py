"""Which blocks of one author, as they came in a batch, follow which.

Ids are hashes of headers, and each header names the block before it. Nothing here is verified: who signed what is for
`validation` to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

from .block import split_block
from .errors import BlockError, MalformedBlockError, MalformedError, MedledgerError
from .header import parse_header
from .limits import SEGMENT_BLOCKS


class Arrived(NamedTuple):
    """A block as it came, with what its bytes claim."""

    seq: int
    raw: bytes


class Link(NamedTuple):
    """What a block says of its place among the others."""

    id: bytes
    prev: bytes | None


class Links:
    """Which blocks of one author in a batch follow which. Looked at once, and only where somebody asks: a header that
    many others name must not be read for each of them.
    """

    def __init__(self, blocks: Sequence[Arrived]) -> None:
        self._raws = [arrived.raw for arrived in blocks]
        self._links: dict[bytes, Link] = {}

    def of(self, raw: bytes) -> Link:
        """Of one block. Raises a `BlockError` or `MalformedError` where it cannot be read."""
        link = self._links.get(raw)
        if link is None:
            header_bytes = split_block(raw)[0]
            link = self._links[raw] = Link(sha256(header_bytes).digest(), parse_header(header_bytes)[0].prev)
        return link

    def chain(self, raw: bytes) -> list[bytes]:
        """A block and those that follow it one by one, a segment's worth at most. Raises what `of` raises."""
        chain = [raw]
        while len(chain) < SEGMENT_BLOCKS and (after := self._following.get(self.of(chain[-1]).id)) is not None:
            chain.append(after)
        return chain

    @cached_property
    def _following(self) -> dict[bytes, bytes]:
        """The block that follows the one of an id; of several the first."""
        found: dict[bytes, bytes] = {}
        for raw in self._raws:
            try:
                prev = self.of(raw).prev
            except (BlockError, MalformedError):
                continue
            if prev is not None:
                found.setdefault(prev, raw)
        return found


def named(error: MedledgerError, feed: bytes) -> BlockError:
    """The error as one about a feed's blocks."""
    return error if isinstance(error, BlockError) else MalformedBlockError(str(error), feed=feed)
