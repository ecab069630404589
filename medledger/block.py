"""A block: the signed unit of a feed.

    block = [header, body]
    body  = the entries' byte strings; an erased or hidden one is [leaf hash] instead

A header commits to its body through a Merkle root over the entries, so that one entry can be hidden, or proved, without
the others. Entries are cut out and hashed here, never decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from . import merkle
from .errors import LimitError, MalformedBlockError, UsageError
from .header import HASH_HEAD, Header, array_head, bytes_head, parse_header
from .limits import MAX_BLOCK_BYTES, MAX_BODY_BYTES, MAX_ENTRIES_PER_BLOCK, MAX_ENTRY_BYTES, MAX_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class Hidden:
    """An entry that was erased or withheld: its leaf hash stands in its place, and the block still verifies."""

    leaf: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A parsed block with the bytes it came from. Parsed is not believed: see `validation`."""

    header: Header
    id: bytes
    body: tuple[bytes | Hidden, ...] = field(repr=False)
    header_bytes: bytes = field(repr=False)
    body_bytes: bytes = field(repr=False)

    @property
    def author(self) -> bytes:
        return self.header.author

    @property
    def seq(self) -> int:
        return self.header.seq

    @property
    def time(self) -> int:
        return self.header.time

    @property
    def raw(self) -> bytes:
        """The block's whole encoding."""
        return join_block(self.header_bytes, self.body_bytes)


def encode_body(body: Sequence[bytes | Hidden]) -> bytes:
    """A body's one encoding."""
    parts = [array_head(len(body))]
    for item in body:
        if isinstance(item, Hidden):
            parts.append(b"\x81\x58\x20" + item.leaf)
        else:
            parts.append(bytes_head(len(item)))
            parts.append(item)
    return b"".join(parts)


def join_block(header_bytes: bytes, body_bytes: bytes) -> bytes:
    """`[header, body]` from its two halves."""
    return b"".join((b"\x82", bytes_head(len(header_bytes)), header_bytes, body_bytes))


def check_body_limits(entries: Sequence[bytes]) -> None:
    """Raise `LimitError` (fault: caller) when these entries do not fit one block."""
    if not entries:
        raise UsageError("a block holds at least one entry")
    if len(entries) > MAX_ENTRIES_PER_BLOCK:
        raise LimitError(
            f"{len(entries)} entries are over the {MAX_ENTRIES_PER_BLOCK} of one block", fault=UsageError.fault
        )
    size = sum(map(len, entries))
    if size > MAX_BODY_BYTES:
        raise LimitError(f"{size} bytes of entries are over the {MAX_BODY_BYTES} of one block", fault=UsageError.fault)


def split_block(raw: bytes) -> tuple[bytes, bytes]:
    """The header bytes and the body bytes of an encoded block.

    Raises `LimitError` beyond `MAX_BLOCK_BYTES` and `MalformedBlockError` where this is not `[bytes, array]`.
    """
    if len(raw) > MAX_BLOCK_BYTES:
        raise LimitError(f"a block of {len(raw)} bytes is over the limit of {MAX_BLOCK_BYTES}")
    if raw[:2] == b"\x82\x58":
        header_at, size = 3, int.from_bytes(raw[2:3], "big")
        shortest = size > 23
    elif raw[:2] == b"\x82\x59":
        header_at, size = 4, int.from_bytes(raw[2:4], "big")
        shortest = size > 0xFF
    else:
        raise MalformedBlockError("a block is not an array of a header and a body")
    body_at = header_at + size
    header_bytes = raw[header_at:body_at]
    if not shortest or body_at >= len(raw) or size > MAX_HEADER_BYTES:
        raise MalformedBlockError("a block's header is not a byte string of the shortest form within the limits")
    return header_bytes, raw[body_at:]


def scan_body(body_bytes: bytes) -> tuple[list[bytes], int, int]:
    """Body bytes as `(leaf hashes, size of the entries that are there, number of hidden ones)`. No entry is decoded.

    Raises `MalformedBlockError` for anything but bounded byte strings and `[leaf hash]`, each of the shortest form.
    """
    try:
        count, at = _body_count(body_bytes)
        leaves: list[bytes] = []
        size = hidden = 0
        for _ in range(count):
            head = body_bytes[at]
            if head == 0x58:
                length = body_bytes[at + 1]
                at += 2
                shortest = length > 23
            elif head == 0x59:
                length = int.from_bytes(body_bytes[at + 1 : at + 3], "big")
                at += 3
                shortest = 0xFF < length <= MAX_ENTRY_BYTES
            elif head == 0x81:
                if body_bytes[at + 1 : at + 3] != HASH_HEAD:
                    raise MalformedBlockError("a hidden entry is not an array of one hash")
                leaves.append(body_bytes[at + 3 : at + 35])
                hidden += 1
                at += 35
                continue
            else:
                length = head - 0x40
                at += 1
                shortest = 0 <= length < 24
            if not shortest:
                raise MalformedBlockError("an entry is not a byte string of the shortest form within the limits")
            end = at + length
            leaves.append(sha256(b"\x00" + body_bytes[at:end]).digest())
            at = end
            size += length
    except IndexError:
        raise MalformedBlockError("a block's body ends early") from None
    if at != len(body_bytes):
        raise MalformedBlockError("a block's body is longer or shorter than its entries")
    return leaves, size, hidden


def _body_count(body_bytes: bytes) -> tuple[int, int]:
    """How many items a body's array head says, and where the first starts. IndexError where the bytes end early."""
    head = body_bytes[0]
    if 0x80 < head < 0x98:
        return head - 0x80, 1
    if head == 0x98 and body_bytes[1] > 23:
        return body_bytes[1], 2
    if head == 0x99 and 0xFF < (count := int.from_bytes(body_bytes[1:3], "big")) <= MAX_ENTRIES_PER_BLOCK:
        return count, 3
    raise MalformedBlockError(f"a block's body is not an array of 1 to {MAX_ENTRIES_PER_BLOCK}")


def count_entries(body_bytes: bytes) -> int:
    """The number of items of a body that `scan_body` has passed."""
    return _body_count(body_bytes)[0]


def split_body(body_bytes: bytes) -> list[bytes | Hidden]:
    """The items of a body that `scan_body` has passed."""
    if body_bytes[:2] == b"\x81\x58":
        return [body_bytes[3:]]
    items: list[bytes | Hidden] = []
    count, at = _body_count(body_bytes)
    for _ in range(count):
        head = body_bytes[at]
        if head == 0x81:
            items.append(Hidden(body_bytes[at + 3 : at + 35]))
            at += 35
            continue
        if head == 0x58:
            length = body_bytes[at + 1]
            at += 2
        elif head == 0x59:
            length = int.from_bytes(body_bytes[at + 1 : at + 3], "big")
            at += 3
        else:
            length = head - 0x40
            at += 1
        items.append(body_bytes[at : at + length])
        at += length
    return items


def parse_block(raw: bytes) -> Block:
    """A whole block, parsed. Nothing is verified but the encoding; raises as the functions it calls."""
    header_bytes, body_bytes = split_block(raw)
    header, _, _ = parse_header(header_bytes)
    scan_body(body_bytes)
    return Block(header, sha256(header_bytes).digest(), tuple(split_body(body_bytes)), header_bytes, body_bytes)


def entries_root(entries: Sequence[bytes]) -> bytes:
    """RFC 9162 root over the entries' leaf hashes."""
    return merkle.root([sha256(b"\x00" + entry).digest() for entry in entries])
