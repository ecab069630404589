"""Validation as the design states it, with no thought of speed: strict CBOR of everything, one check after the other.

The fast path must give the same verdict as this for every input. `verify(public_key, message, signature)` is passed in,
so that differential tests can leave libsodium out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from medledger import cbor
from medledger.errors import MedledgerError
from medledger.header import Head
from medledger.limits import (
    MAX_BLOCK_BYTES,
    MAX_BODY_BYTES,
    MAX_ENTRIES_PER_BLOCK,
    MAX_ENTRY_BYTES,
    MAX_HEADER_BYTES,
    MAX_INT,
    MAX_PARENTS,
    MAX_SEQ,
)
from reference_merkle import root

Verify = Callable[[bytes, bytes, bytes], None]


class Refused(Exception):
    """The block is not the feed's next one."""


def check(condition: bool, why: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise Refused(why)


def is_hash(value: Any) -> bool:
    """32 bytes."""
    return type(value) is bytes and len(value) == 32


def is_uint(value: Any, high: int) -> bool:
    """An integer (no boolean) from 0 to `high`."""
    return type(value) is int and 0 <= value <= high


def validate(ledger_id: bytes, feed: bytes, head: Head | None, raw: bytes, verify: Verify) -> tuple[int, bytes]:
    """(seq, id) of a block that is valid by itself as the feed's next one; `Refused` otherwise."""
    try:
        parts = cbor.decode(raw, max_size=MAX_BLOCK_BYTES)
    except MedledgerError as error:
        raise Refused(str(error)) from error
    check(type(parts) is list and len(parts) == 2, "block")
    header, body = parts
    check(type(header) is bytes and 0 < len(header) <= MAX_HEADER_BYTES, "header")
    check(header[:2] == b"\xd2\x84", "tag")
    try:  # what follows the tag is a plain array, so the strict decoder reads it
        sign1 = cbor.decode(header[1:], max_size=MAX_HEADER_BYTES)
    except MedledgerError as error:
        raise Refused(str(error)) from error
    protected, unprotected, payload, signature = sign1
    check(protected == cbor.encode({1: -19}) and unprotected == {} and type(unprotected) is dict, "headers")
    check(type(payload) is bytes and type(signature) is bytes and len(signature) == 64, "payload")
    try:
        fields = cbor.decode(payload, max_size=MAX_HEADER_BYTES)
    except MedledgerError as error:
        raise Refused(str(error)) from error
    check(type(fields) is list and len(fields) == 13, "fields")
    version, author, seq, prev, epoch, block_class, time, clock, parents, entries_root, count, size, ext = fields
    check(version == 1 and type(version) is int and ext == {} and type(ext) is dict, "version")
    check(author == feed, "author")
    check(is_uint(seq, MAX_SEQ) and is_uint(epoch, MAX_INT) and is_uint(time, MAX_INT), "ranges")
    check(type(block_class) is int and block_class in (0, 1), "class")
    check(type(clock) is list and len(clock) == 3, "clock")
    check(
        is_uint(clock[0], MAX_INT) and type(clock[1]) is bytes and len(clock[1]) == 8 and is_uint(clock[2], 255),
        "clock",
    )
    check(type(parents) is list and len(parents) <= MAX_PARENTS, "parents")
    for parent in parents:
        check(type(parent) is list and len(parent) == 3, "parent")
        check(is_hash(parent[0]) and is_uint(parent[1], MAX_SEQ) and is_hash(parent[2]), "parent")
    feeds = [parent[0] for parent in parents]
    check(feeds == sorted(set(feeds)) and author not in feeds, "parents' order")
    check(seq == (0 if head is None else head.seq + 1), "seq")
    check((prev is None) if head is None else (prev == head.id), "prev")
    check(head is None or epoch >= head.epoch, "epoch")
    check(is_hash(entries_root) and is_uint(count, MAX_ENTRIES_PER_BLOCK) and is_uint(size, MAX_BODY_BYTES), "body")
    check(type(body) is list and 0 < len(body) == count, "count")
    leaves, total, hidden = [], 0, 0
    for item in body:
        if type(item) is list:
            check(len(item) == 1 and is_hash(item[0]), "hidden")
            leaves.append(item[0])
            hidden += 1
        else:
            check(type(item) is bytes and len(item) <= MAX_ENTRY_BYTES, "entry")
            leaves.append(hashlib.sha256(b"\x00" + item).digest())
            total += len(item)
    check(root(leaves) == entries_root, "root")
    check(hidden > 0 or total == size, "size")
    check(hidden == 0 or block_class == 1, "hidden control")
    structure = ["Signature1", protected, cbor.encode(["medledger/block/1", ledger_id]), payload]
    verify(feed, cbor.encode(structure), signature)
    return seq, hashlib.sha256(header).digest()
