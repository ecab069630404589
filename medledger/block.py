"""A block: the signed unit of a feed, and its one encoding.

    block   = [header, body]
    header  = the bytes of a COSE_Sign1 (RFC 9052, tag 18): protected {1: -19}, unprotected {}, the payload, a signature
              over external_aad = ["medledger/block/1", ledger id]
    payload = [1, author, seq, prev, epoch, class, time, [monotonic_ms, boot_id, sync], parents, entries_root,
               entries_count, body_size, {}]
    body    = the entries' byte strings; an erased or hidden one is [leaf hash] instead

- A block's id is the SHA-256 of its header bytes, *signature included*. The id therefore covers bytes that the
  signature does not (the tag, the unprotected map, every length), and one lax check there would let anybody turn an
  honest block into a validly signed "fork". So a header is read loosely, built again by the writer's own encoder, and
  refused unless the two are equal to the byte: what the reader let through cannot matter.
- Everything here is arithmetic on bytes. No signature is checked here (see `validation`) and no entry is decoded.
- All integers are unsigned and at most 2^63-1.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

from . import merkle
from .errors import LimitError, MalformedBlockError, NewerBlockError, UsageError
from .limits import (
    MAX_BLOCK_BYTES,
    MAX_BODY_BYTES,
    MAX_ENTRIES_PER_BLOCK,
    MAX_ENTRY_BYTES,
    MAX_HEADER_BYTES,
    MAX_INT,
    MAX_PARENTS,
    MAX_SEQ,
)

VERSION: Final = 1
BOOT_ID_BYTES: Final = 8

sha256 = hashlib.sha256


class BlockClass(IntEnum):
    """What a block's entries are about; a block holds one class, so that control feeds can be read without the data."""

    CONTROL = 0
    DATA = 1


class Sync(IntEnum):
    """What stands behind an author's clock."""

    NONE = 0
    NTP = 1
    MANUAL = 2
    GPS = 3


class Clock(NamedTuple):
    """Stands behind a block's `time`: within one boot, `monotonic_ms` tells how far apart two blocks really were."""

    monotonic_ms: int
    boot_id: bytes
    sync: int


class Parent(NamedTuple):
    """A block of another feed that the author had seen: a hint of order, which never affects validity."""

    feed: bytes
    seq: int
    id: bytes


class Head(NamedTuple):
    """The last block of a feed, and what the next one is held against."""

    seq: int
    id: bytes
    epoch: int


class Header(NamedTuple):
    """The signed payload of a block. Each field says why it is kept for ever."""

    author: bytes  # the feed, which is the Ed25519 key: whose word this is
    seq: int  # position in the feed: a missing block is visible
    prev: bytes | None  # id of the block before; null exactly at seq 0: the past cannot be rewritten
    epoch: int  # the governance epoch the author knew: by whose policy its entries are judged
    block_class: int  # control or data: governance is found, and synced, without reading the data
    time: int  # the author's UTC milliseconds: a claim
    clock: Clock  # what stands behind the claim
    parents: tuple[Parent, ...]  # what the author had seen: brackets the time from below
    entries_root: bytes  # RFC 9162 root: one entry can be proved, or erased, without the others
    entries_count: int  # the tree's size, which a Merkle proof needs
    body_size: int  # the entries' lengths together: what to expect before fetching


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


# --- the writer's encoder ------------------------------------------------------------------------------------------

_SMALL = tuple(bytes([n]) for n in range(24))
_pack_8 = struct.Struct(">BB").pack
_pack_16 = struct.Struct(">BH").pack
_pack_32 = struct.Struct(">BI").pack
_pack_64 = struct.Struct(">BQ").pack

# Everything of a header that version 1 fixes: tag 18, array of 4, bstr({1: -19}), {}.
_HEADER_START = bytes.fromhex("d28443a10132a0")
_SIGNATURE_HEAD = b"\x58\x40"
_PAYLOAD_START = b"\x8d\x01\x58\x20"  # array of 13, version 1, 32-byte string
_NO_EXTENSIONS = b"\xa0"
_HASH_HEAD = b"\x58\x20"
_NULL = b"\xf6"
_AAD_START = b"\x82\x71medledger/block/1\x58\x20"
# COSE's Sig_structure up to its external_aad: ["Signature1", bstr({1: -19}), ...
_SIG_START = b"\x84\x6aSignature1\x43\xa1\x01\x32"


def _uint(n: int) -> bytes:
    """CBOR's shortest unsigned integer (RFC 8949 section 3)."""
    if n < 24:
        return _SMALL[n]
    if n < 0x100:
        return _pack_8(24, n)
    if n < 0x10000:
        return _pack_16(25, n)
    if n < 0x100000000:
        return _pack_32(26, n)
    return _pack_64(27, n)


def _bytes_head(n: int) -> bytes:
    """The head of a byte string of `n` bytes (n < 2^16)."""
    if n < 24:
        return bytes([0x40 | n])
    return _pack_8(0x58, n) if n < 0x100 else _pack_16(0x59, n)


def _array_head(n: int) -> bytes:
    """The head of an array of `n` items (n < 2^16)."""
    if n < 24:
        return bytes([0x80 | n])
    return _pack_8(0x98, n) if n < 0x100 else _pack_16(0x99, n)


def encode_payload(header: Header) -> bytes:
    """The bytes that a header's signature covers, besides the external_aad. The caller answers for the ranges."""
    clock = header.clock
    parents = b"".join(
        b"\x83\x58\x20" + feed + _uint(seq) + _HASH_HEAD + block_id for feed, seq, block_id in header.parents
    )
    return b"".join(
        (
            _PAYLOAD_START,
            header.author,
            _uint(header.seq),
            _NULL if header.prev is None else _HASH_HEAD + header.prev,
            _uint(header.epoch),
            _uint(header.block_class),
            _uint(header.time),
            b"\x83",
            _uint(clock.monotonic_ms),
            b"\x48",
            clock.boot_id,
            _uint(clock.sync),
            _array_head(len(header.parents)),
            parents,
            _HASH_HEAD,
            header.entries_root,
            _uint(header.entries_count),
            _uint(header.body_size),
            _NO_EXTENSIONS,
        )
    )


def encode_header(payload: bytes, signature: bytes) -> bytes:
    """A payload and its signature as header bytes."""
    return b"".join((_HEADER_START, _bytes_head(len(payload)), payload, _SIGNATURE_HEAD, signature))


def signing_prefix(ledger_id: bytes) -> bytes:
    """The start of what a block's signature covers, which is the same for all blocks of a ledger."""
    aad = _AAD_START + ledger_id
    return _SIG_START + _bytes_head(len(aad)) + aad


def signed_message(prefix: bytes, payload: bytes) -> bytes:
    """RFC 9052 section 4.4: the bytes that an author signs. `prefix` is `signing_prefix(ledger_id)`."""
    return prefix + _bytes_head(len(payload)) + payload


def encode_body(body: Sequence[bytes | Hidden]) -> bytes:
    """A body's one encoding."""
    parts = [_array_head(len(body))]
    for item in body:
        if isinstance(item, Hidden):
            parts.append(b"\x81\x58\x20" + item.leaf)
        else:
            parts.append(_bytes_head(len(item)))
            parts.append(item)
    return b"".join(parts)


def join_block(header_bytes: bytes, body_bytes: bytes) -> bytes:
    """`[header, body]` from its two halves."""
    return b"".join((b"\x82", _bytes_head(len(header_bytes)), header_bytes, body_bytes))


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


# --- reading -------------------------------------------------------------------------------------------------------


def read_uint(data: bytes, at: int) -> tuple[int, int]:
    """The integer at `at` and where the next item starts. Loose: lengths are held against the encoder's later."""
    head = data[at]
    if head < 24:
        return head, at + 1
    if head == 24:
        return data[at + 1], at + 2
    if head == 25:
        return int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
    if head == 26:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    if head == 27:
        return int.from_bytes(data[at + 1 : at + 9], "big"), at + 9
    raise MalformedBlockError("an integer of the header is not an unsigned integer")


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


def parse_header(data: bytes) -> tuple[Header, bytes, bytes]:
    """Header bytes as `(header, payload, signature)`.

    Raises `NewerBlockError` for a version, algorithm or extension this software does not know, and
    `MalformedBlockError` for any byte that is not the one the encoder would have written.
    """
    try:
        header, payload, signature = _read_header(data)
    except (IndexError, ValueError):
        raise MalformedBlockError("a block's header ends early") from None
    # The surest check: build what it must be, and compare.
    if encode_payload(header) != payload or encode_header(payload, signature) != data:
        raise MalformedBlockError("a block's header is not in its one encoding")
    _check_ranges(header)
    return header, payload, signature


def _read_header(data: bytes) -> tuple[Header, bytes, bytes]:
    """Loosely: what `parse_header` then holds against the encoder. IndexError where the bytes end early."""
    if data[:7] != _HEADER_START:
        _refuse_start(data)
    size_head = data[7]
    if size_head == 0x58:
        at, end = 9, 9 + data[8]
    elif size_head == 0x59:
        at, end = 10, 10 + int.from_bytes(data[8:10], "big")
    else:
        raise MalformedBlockError("a block's payload is not a byte string")
    payload, signature = data[at:end], data[end + 2 :]
    if len(signature) != 64:
        raise MalformedBlockError("a block's signature is not 64 bytes")
    if payload[:4] != _PAYLOAD_START:
        _refuse_payload_start(payload)
    author = payload[4:36]
    seq, at = read_uint(payload, 36)
    if payload[at] == 0xF6:
        prev, at = None, at + 1
    else:
        prev, at = payload[at + 2 : at + 34], at + 34
    epoch, at = read_uint(payload, at)
    block_class, at = read_uint(payload, at)
    time, at = read_uint(payload, at)
    monotonic_ms, at = read_uint(payload, at + 1)
    boot_id = payload[at + 1 : at + 9]
    sync, at = read_uint(payload, at + 9)
    parents: tuple[Parent, ...] = ()
    if payload[at] == 0x80:
        at += 1
    else:
        parents, at = _read_parents(payload, at)
    root = payload[at + 2 : at + 34]
    count, at = read_uint(payload, at + 34)
    size, at = read_uint(payload, at)
    if payload[at:] != _NO_EXTENSIONS:
        _refuse_extensions(payload[at:])
    clock = Clock(monotonic_ms, boot_id, sync)
    header = Header(author, seq, prev, epoch, block_class, time, clock, parents, root, count, size)
    return header, payload, signature


def _read_parents(payload: bytes, at: int) -> tuple[tuple[Parent, ...], int]:
    count = payload[at] - 0x80
    if not 0 < count <= MAX_PARENTS:
        raise MalformedBlockError(f"a block names more than {MAX_PARENTS} parents")
    at += 1
    parents = []
    for _ in range(count):
        feed = payload[at + 3 : at + 35]
        seq, at = read_uint(payload, at + 35)
        parents.append(Parent(feed, seq, payload[at + 2 : at + 34]))
        at += 34
    return tuple(parents), at


def _check_ranges(header: Header) -> None:
    """What the encoding alone does not say."""
    seq, clock = header.seq, header.clock
    if seq > MAX_SEQ or header.epoch > MAX_INT or header.time > MAX_INT or clock.monotonic_ms > MAX_INT:
        raise MalformedBlockError("an integer of the header is over its limit", feed=header.author)
    if (header.prev is None) != (seq == 0):
        raise MalformedBlockError("a block's prev is null exactly at seq 0", feed=header.author, seq=seq)
    if header.block_class > BlockClass.DATA or clock.sync > 0xFF:
        raise NewerBlockError("a block of a class or clock kind not known here", feed=header.author, seq=seq)
    if not 0 < header.entries_count <= MAX_ENTRIES_PER_BLOCK or header.body_size > MAX_BODY_BYTES:
        raise MalformedBlockError("a block's count or size is over its limit", feed=header.author, seq=seq)
    if header.parents:
        _check_parents(header)


def _check_parents(header: Header) -> None:
    feeds = [parent.feed for parent in header.parents]
    if any(a >= b for a, b in pairwise(feeds)) or header.author in feeds:
        raise MalformedBlockError(
            "a block's parents are not sorted, of distinct, other feeds", feed=header.author, seq=header.seq
        )
    if any(parent.seq > MAX_SEQ for parent in header.parents):
        raise MalformedBlockError("a parent's seq is over the limit", feed=header.author, seq=header.seq)


def _refuse_start(data: bytes) -> None:
    """Tell newer from broken: a COSE_Sign1 with other protected bytes may be another algorithm; else it is not ours."""
    if (
        data[:2] == b"\xd2\x84"
        and 0x41 <= data[2] <= 0x57
        and data[3] >> 5 == 5
        and data[3 : 3 + data[2] - 0x40] != _HEADER_START[3:6]
    ):
        raise NewerBlockError("a block is signed with an algorithm that this software does not know")
    raise MalformedBlockError("a block's header is not a tagged COSE_Sign1 with empty unprotected headers")


def _refuse_payload_start(payload: bytes) -> None:
    if 0x80 <= payload[0] < 0x98 and (1 < payload[1] < 24 or payload[1] == 24):
        raise NewerBlockError(f"a block of version {read_uint(payload, 1)[0]}; this software knows version {VERSION}")
    raise MalformedBlockError("a block's payload is not version 1's array of thirteen")


def _refuse_extensions(rest: bytes) -> None:
    if len(rest) > 1 and 0xA1 <= rest[0] <= 0xB7:
        raise NewerBlockError("a block carries an extension that this software does not know")
    raise MalformedBlockError("bytes follow a block's payload")


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
                if body_bytes[at + 1 : at + 3] != _HASH_HEAD:
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


def split_body(body_bytes: bytes) -> list[bytes | Hidden]:
    """The items of a body that `scan_body` has passed."""
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


MAX_ENTRY = MAX_ENTRY_BYTES
