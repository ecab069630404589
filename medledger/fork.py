"""A fork proof: an author signed two different blocks at one position of its feed.

    proof = [1, author, [headers of one side], [headers of the other]]

- Each side is a chain of 1 to 64 headers: the block at the split, and the few successors it needs until one verifies by
  its own signature (none, from an honest clone). Both sides' first headers have the author's feed, one seq and prev,
  and different ids; the side with the smaller id comes first. That is two signatures of one key for one place: it needs
  no trust in whoever shows it, no ledger and no network.
- Equal prev is required: without it, a thief of old, damaged bytes could accuse an author of what two segments that do
  not share a past seem to say.
- Of several proofs about one feed all replicas keep the same: lowest seq, then the two smallest ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from . import cbor
from .errors import MalformedBlockError, MalformedError, NeedsNewerError, SignatureError, UsageError
from .header import Header, parse_header, signed_message, signing_prefix
from .keys import verify
from .limits import MAX_FORK_PROOF_BYTES, SEGMENT_BLOCKS

VERSION = 1


@dataclass(frozen=True, slots=True)
class ForkProof:
    """A verified proof. `seq` is the position signed twice; `ids` the two block ids there, the smaller first."""

    feed: bytes
    seq: int
    prev: bytes | None
    ids: tuple[bytes, bytes]
    raw: bytes = field(repr=False)
    sides: tuple[tuple[bytes, ...], tuple[bytes, ...]] = field(repr=False)

    @property
    def rank(self) -> tuple[int, tuple[bytes, bytes]]:
        """Of two proofs about one feed the one of lower rank is kept, everywhere."""
        return self.seq, self.ids


def make_proof(ledger_id: bytes, one: Sequence[bytes], other: Sequence[bytes]) -> ForkProof:
    """The proof from two chains of headers that start at the split. Each is cut after its first own signature.

    Raises `UsageError` where the chains are not a fork, or a `BlockError` where one of them does not verify.
    """
    chains = [_shortest(ledger_id, list(chain)) for chain in (one, other)]
    chains.sort(key=lambda chain: sha256(chain[0]).digest())
    firsts = [parse_header(chain[0])[0] for chain in chains]
    if _place(firsts[0]) != _place(firsts[1]) or chains[0][0] == chains[1][0]:
        raise UsageError("these headers are not two blocks at one place of one feed")
    raw = cbor.encode([VERSION, firsts[0].author, chains[0], chains[1]])
    return read_proof(ledger_id, raw)


def read_proof(ledger_id: bytes, raw: bytes) -> ForkProof:
    """Decode and verify a proof. Raises `MalformedError`, `NeedsNewerError` or a `BlockError`."""
    parts = cbor.decode(raw, max_size=MAX_FORK_PROOF_BYTES)
    if type(parts) is not list or len(parts) != 4 or type(parts[0]) is not int:
        raise MalformedError("a fork proof is not an array of four")
    version, feed, one, other = parts
    if version != VERSION:
        raise NeedsNewerError(f"a fork proof of version {version}")
    if type(feed) is not bytes or len(feed) != 32:
        raise MalformedError("a fork proof names no feed")
    for side in (one, other):
        if type(side) is not list or not all(type(header) is bytes for header in side):
            raise MalformedError("a side of a fork proof is not a list of headers")
    first, second = check_header_chain(ledger_id, feed, one), check_header_chain(ledger_id, feed, other)
    ids = sha256(one[0]).digest(), sha256(other[0]).digest()
    if _place(first) != _place(second) or ids[0] >= ids[1]:
        raise MalformedError("a fork proof's sides are not two blocks at one place, the smaller id first")
    return ForkProof(feed, first.seq, first.prev, ids, raw, (tuple(one), tuple(other)))


def canonical(ledger_id: bytes, known: ForkProof, other: ForkProof) -> ForkProof:
    """What to keep of two proofs about one feed: lowest seq, then the two smallest ids out of all that they show."""
    if known.seq != other.seq or known.prev != other.prev:
        return min(known, other, key=lambda proof: proof.rank)
    sides = {sha256(side[0]).digest(): side for proof in (other, known) for side in proof.sides}
    one, two = sorted(sides)[:2]
    if (one, two) == known.ids:
        return known
    return make_proof(ledger_id, sides[one], sides[two])


def check_header_chain(ledger_id: bytes, feed: bytes, headers: Sequence[bytes]) -> Header:
    """Authenticate headers alone: consecutive, linked, of one segment, the last by its own signature.

    Returns the first, parsed. Raises a `BlockError` or `SignatureError`.
    """
    if not 0 < len(headers) <= SEGMENT_BLOCKS:
        raise MalformedBlockError(f"a chain of headers holds 1 to {SEGMENT_BLOCKS}", feed=feed)
    parsed = [parse_header(data) for data in headers]
    first = parsed[0][0]
    if first.author != feed:
        raise MalformedBlockError("a header is of another feed", feed=feed)
    for data, (before, _, _), (after, _, _) in zip(headers, parsed, parsed[1:], strict=False):
        if after.author != feed or after.seq != before.seq + 1 or after.prev != sha256(data).digest():
            raise MalformedBlockError("headers do not link", feed=feed, seq=after.seq)
        if before.seq % SEGMENT_BLOCKS == SEGMENT_BLOCKS - 1:
            raise MalformedBlockError("a chain of headers runs past the end of its segment", feed=feed, seq=after.seq)
    _, payload, signature = parsed[-1]
    verify(feed, signed_message(signing_prefix(ledger_id), payload), signature)
    return first


def _shortest(ledger_id: bytes, headers: list[bytes]) -> list[bytes]:
    """The chain up to its first header that verifies by itself."""
    prefix = signing_prefix(ledger_id)
    for count, data in enumerate(headers[:SEGMENT_BLOCKS], 1):
        header, payload, signature = parse_header(data)
        try:
            verify(header.author, signed_message(prefix, payload), signature)
        except SignatureError:
            continue
        return headers[:count]
    raise UsageError("no header of this chain verifies by its own signature")


def _place(header: Header) -> tuple[bytes, int, bytes | None]:
    return header.author, header.seq, header.prev
