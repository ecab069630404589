"""The header of a block: what its author signs, and its one encoding.

    header  = the bytes of a COSE_Sign1 (RFC 9052, tag 18): protected {1: -19}, unprotected {}, the payload, a signature
              over external_aad = ["medledger/block/1", ledger id]
    payload = [1, author, seq, prev, epoch, class, time, [monotonic_ms, boot_id, sync], parents, entries_root,
               entries_count, body_size, {}]

- A block's id is the SHA-256 of its header bytes, *signature included*. The id therefore covers bytes that the
  signature does not (the tag, the unprotected map, every length), and one lax check there would let anybody turn an
  honest block into a validly signed "fork". So a header is read loosely, built again by the writer's own encoder, and
  refused unless the two are equal to the byte: what the reader let through cannot matter.
- Everything here is arithmetic on bytes. No signature is checked here (see `validation`).
- All integers are unsigned and at most 2^63-1.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

from .errors import MalformedBlockError, NewerBlockError
from .limits import MAX_BODY_BYTES, MAX_ENTRIES_PER_BLOCK, MAX_INT, MAX_PARENTS, MAX_SEQ

VERSION: Final = 1
BOOT_ID_BYTES: Final = 8


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


class Before(Protocol):
    """A block as the next one is held against it: a `Head`, or more than that."""

    @property
    def seq(self) -> int: ...
    @property
    def id(self) -> bytes: ...
    @property
    def epoch(self) -> int: ...


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
SIGNATURE_BYTES = 64
_PAYLOAD_AT = len(_HEADER_START) + 2  # where a payload of less than 256 bytes starts
_AROUND_PAYLOAD = _PAYLOAD_AT + len(_SIGNATURE_HEAD) + SIGNATURE_BYTES
HASH_HEAD = b"\x58\x20"
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


def bytes_head(n: int) -> bytes:
    """The head of a byte string of `n` bytes (n < 2^16)."""
    if n < 24:
        return bytes([0x40 | n])
    return _pack_8(0x58, n) if n < 0x100 else _pack_16(0x59, n)


def array_head(n: int) -> bytes:
    """The head of an array of `n` items (n < 2^16)."""
    if n < 24:
        return bytes([0x80 | n])
    return _pack_8(0x98, n) if n < 0x100 else _pack_16(0x99, n)


def encode_link(author: bytes, seq: int, prev: bytes | None, epoch: int) -> bytes:
    """A payload's beginning: all that the feed's head before the block says, where the epoch stays the same."""
    return b"".join(
        (_PAYLOAD_START, author, _uint(seq), _NULL if prev is None else HASH_HEAD + prev, _uint(epoch)),
    )


def encode_commitment(entries_root: bytes, entries_count: int, body_size: int) -> bytes:
    """A payload's end: all that the body says."""
    return b"".join((HASH_HEAD, entries_root, _uint(entries_count), _uint(body_size), _NO_EXTENSIONS))


def encode_payload(header: Header) -> bytes:
    """The bytes that a header's signature covers, besides the external_aad. The caller answers for the ranges."""
    clock = header.clock
    parents = b"".join(
        b"\x83\x58\x20" + feed + _uint(seq) + HASH_HEAD + block_id for feed, seq, block_id in header.parents
    )
    return b"".join(
        (
            encode_link(header.author, header.seq, header.prev, header.epoch),
            _uint(header.block_class),
            _uint(header.time),
            b"\x83",
            _uint(clock.monotonic_ms),
            b"\x48",
            clock.boot_id,
            _uint(clock.sync),
            array_head(len(header.parents)),
            parents,
            encode_commitment(header.entries_root, header.entries_count, header.body_size),
        )
    )


def encode_header(payload: bytes, signature: bytes) -> bytes:
    """A payload and its signature as header bytes."""
    return b"".join((_HEADER_START, bytes_head(len(payload)), payload, _SIGNATURE_HEAD, signature))


def signing_prefix(ledger_id: bytes) -> bytes:
    """The start of what a block's signature covers, which is the same for all blocks of a ledger."""
    aad = _AAD_START + ledger_id
    return _SIG_START + bytes_head(len(aad)) + aad


def signed_message(prefix: bytes, payload: bytes) -> bytes:
    """RFC 9052 section 4.4: the bytes that an author signs. `prefix` is `signing_prefix(ledger_id)`."""
    return prefix + bytes_head(len(payload)) + payload


_SHORT_UINT = rb"(?:[\x00-\x17]|\x18[\x18-\xff])"
_UINT = rb"(?:" + _SHORT_UINT + rb"|\x19(?!\x00).{2}|\x1a(?!\x00{2}).{4}|\x1b(?!\x00{4})[\x00-\x7f].{7})"
# class, time, [monotonic_ms, boot_id, sync], no parents; each integer of the shortest form and within its limit
_middle_is_exact = re.compile(
    rb"[\x00\x01]" + _UINT + rb"\x83" + _UINT + rb"\x48.{8}" + _SHORT_UINT + rb"\x80", re.DOTALL
).fullmatch


def expect_next(author: bytes, head: Before, commitment: bytes, data: bytes) -> int | None:
    """The class of a block whose header bytes are exactly what the encoder writes for the next one of a feed.

    That is: after block `head` and in its epoch, without parents, over the body of which `commitment` is the encoding.
    Nearly every block is such a one. None means: look with `parse_header`.
    """
    size = len(data) - _AROUND_PAYLOAD
    if not 23 < size < 0x100 or head.seq >= MAX_SEQ:
        return None
    link = encode_link(author, head.seq + 1, head.id, head.epoch)
    middle = data[_PAYLOAD_AT + len(link) : -SIGNATURE_BYTES - 2 - len(commitment)]
    expected = b"".join((_HEADER_START, _pack_8(0x58, size), link, middle, commitment, _SIGNATURE_HEAD))
    if data[:-SIGNATURE_BYTES] != expected or _middle_is_exact(middle) is None:
        return None
    return middle[0]


def signed_parts(data: bytes) -> tuple[bytes, bytes]:
    """Payload and signature of header bytes that have been checked."""
    at = _PAYLOAD_AT if data[7] == 0x58 else _PAYLOAD_AT + 1
    return data[at : -SIGNATURE_BYTES - 2], data[-SIGNATURE_BYTES:]


_UINT_BYTES = (*[1] * 24, 2, 3, 5, 9)  # of an integer, by its first byte


def class_and_epoch(data: bytes) -> tuple[int, int]:
    """Two fields of header bytes that have been checked, without reading the others."""
    at = (_PAYLOAD_AT if data[7] == 0x58 else _PAYLOAD_AT + 1) + 36
    at += _UINT_BYTES[data[at]]
    at += 1 if data[at] == 0xF6 else 34
    epoch = data[at]
    if epoch < 24:
        return data[at + 1], epoch
    epoch, at = read_uint(data, at)
    return data[at], epoch


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
    if 0x80 <= payload[0] < 0x98 and (1 < payload[1] < 24 or (payload[1] == 24 and payload[2] > 23)):
        raise NewerBlockError(f"a block of version {read_uint(payload, 1)[0]}; this software knows version {VERSION}")
    raise MalformedBlockError("a block's payload is not version 1's array of thirteen")


def _refuse_extensions(rest: bytes) -> None:
    if len(rest) > 1 and 0xA1 <= rest[0] <= 0xB7:
        raise NewerBlockError("a block carries an extension that this software does not know")
    raise MalformedBlockError("bytes follow a block's payload")
