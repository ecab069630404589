"""Blocks to order: honest ones, and every kind of crooked one, built from the format's own encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from medledger import block as b
from medledger import header as h
from medledger import merkle
from medledger.entry import encode_entry
from medledger.keys import Identity

LEDGER_ID = hashlib.sha256(b"a ledger of the tests").digest()


def small_entry(n: int = 0, *, type: str = "reading") -> bytes:
    """A small entry, different for each n."""
    content = {"device": f"MON-{n}", "samples": [["8867-4", [60 + n % 60, 0], "/min"]]}
    return encode_entry(type, content, time=1_700_000_000_000 + n, subject=None, salt=n.to_bytes(16, "big"))


def make_block(
    author: Identity,
    head: h.Head | None,
    body: Sequence[bytes | b.Hidden],
    *,
    ledger_id: bytes = LEDGER_ID,
    sign: bool = True,
    **changes: Any,
) -> bytes:
    """The next block of a feed; `changes` replace header fields before signing; `sign=False` spoils the signature."""
    leaves = [e.leaf if isinstance(e, b.Hidden) else hashlib.sha256(b"\x00" + e).digest() for e in body]
    header = h.Header(
        author=author.public_key,
        seq=0 if head is None else head.seq + 1,
        prev=None if head is None else head.id,
        epoch=0 if head is None else head.epoch,
        block_class=h.BlockClass.DATA,
        time=1_700_000_000_000,
        clock=h.Clock(1000, b"bootboot", h.Sync.NTP),
        parents=(),
        entries_root=merkle.root(leaves),
        entries_count=len(body),
        body_size=sum(len(e) for e in body if isinstance(e, bytes)),
    )._replace(**changes)
    payload = h.encode_payload(header)
    signature = author.sign(h.signed_message(h.signing_prefix(ledger_id), payload))
    if not sign:
        signature = signature[:10] + bytes([signature[10] ^ 1]) + signature[11:]
    return b.join_block(h.encode_header(payload, signature), b.encode_body(body))


def head_of(raw: bytes) -> h.Head:
    """The head that a feed has after this block."""
    parsed = b.parse_block(raw)
    return h.Head(parsed.seq, parsed.id, parsed.header.epoch)


def hide(raw: bytes) -> bytes:
    """The block with all its entries hidden: it verifies, and has the same id."""
    header_bytes, body_bytes = b.split_block(raw)
    body = [e if isinstance(e, b.Hidden) else b.Hidden(merkle.leaf_hash(e)) for e in b.split_body(body_bytes)]
    return b.join_block(header_bytes, b.encode_body(body))


@dataclass
class Chain:
    """One author's feed being written."""

    author: Identity
    ledger_id: bytes = LEDGER_ID
    raws: list[bytes] = field(default_factory=list)

    @property
    def head(self) -> h.Head | None:
        return head_of(self.raws[-1]) if self.raws else None

    def add(self, body: Sequence[bytes | b.Hidden] | None = None, **changes: Any) -> bytes:
        """Write one more block."""
        body = [small_entry(len(self.raws))] if body is None else body
        self.raws.append(make_block(self.author, self.head, body, ledger_id=self.ledger_id, **changes))
        return self.raws[-1]

    def grow(self, count: int) -> Chain:
        """Write several."""
        for _ in range(count):
            self.add()
        return self

    def branch(self, length: int) -> Chain:
        """Another feed of the same author that shares the first `length` blocks."""
        return Chain(self.author, self.ledger_id, self.raws[:length])
