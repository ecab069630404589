"""Merkle trees of RFC 9162 section 2.1: roots, inclusion proofs and consistency proofs.

Rules:

- A leaf's hash is SHA-256(0x00 || data), a node's is SHA-256(0x01 || left || right); the two prefixes keep a node from
  passing for a leaf. The root of no leaves is SHA-256 of nothing; the root of one leaf is that leaf's hash.
- Every `leaves` here is a sequence of leaf *hashes* of 32 bytes, so that an erased entry, of which only the hash is
  left, still takes part.
- Proofs are lists of 32-byte hashes from the leaf's level upwards, as RFC 9162 orders them. Verification needs only
  the proof, sizes and roots; it raises `ProofError` and never returns a bool. A proof has exactly one valid length, and
  every hash must have 32 bytes, so that nothing can be hidden in one.
- Every tree extends the empty one, which would prove nothing: consistency with size 0 is an error, both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from medledger.errors import ProofError, UsageError
from medledger.limits import MAX_INT

HASH_BYTES: Final = 32

_EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds `data`."""
    return sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over `leaves`, level by level: a node without a partner moves up unchanged, as RFC 9162 splits."""
    size = len(leaves)
    if size == 1:
        return leaves[0]
    if size == 0:
        return _EMPTY_ROOT
    level = leaves
    while size > 1:
        pairs = iter(level)
        above = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
        if size & 1:
            above.append(level[-1])
        level = above
        size = len(level)
    return level[0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings that lead from leaf `index` to the root over `leaves`."""
    low, high = 0, len(leaves)
    if not 0 <= index < high:
        raise UsageError(f"no leaf {index} in a tree of {high}")
    path: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(root(leaves[middle:high]))
            high = middle
        else:
            path.append(root(leaves[low:middle]))
            low = middle
    path.reverse()
    return path


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise `ProofError` unless `path` proves that `leaf_hash` is leaf `index` of the tree of `size` under `root`.

    The steps are those of RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size <= MAX_INT:
        raise ProofError(f"there is no leaf {index} in a tree of {size}")
    _check_hashes(leaf_hash, root, *path)
    # (1) `node` and `last` are the positions, in the current level, of our ancestor and of the rightmost node.
    node, last, computed = index, size - 1, leaf_hash
    for sibling in path:
        if last == 0:
            raise ProofError("the inclusion proof is too long")
        if node & 1 or node == last:
            computed = sha256(b"\x01" + sibling + computed).digest()
            # (2) A node without a partner moves up until it has one.
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            computed = sha256(b"\x01" + computed + sibling).digest()
        node >>= 1
        last >>= 1
    # (3) The path must end exactly at the root.
    if last != 0:
        raise ProofError("the inclusion proof is too short")
    if computed != root:
        raise ProofError("the inclusion proof leads to another root")


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """The nodes that prove that the tree over the first `old_size` leaves is a prefix of the tree over all of them."""
    low, high = 0, len(leaves)
    if not 0 < old_size <= high:
        raise UsageError(f"no consistency proof from size {old_size} to size {high}")
    path: list[bytes] = []
    while old_size < high:
        middle = low + _split(high - low)
        if old_size <= middle:
            path.append(root(leaves[middle:high]))
            high = middle
        else:
            path.append(root(leaves[low:middle]))
            low = middle
    # The old tree's last complete part starts the proof, unless it is the whole old tree: its root is known anyway.
    if low > 0:
        path.append(root(leaves[low:high]))
    path.reverse()
    return path


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raise `ProofError` unless `path` proves that the tree under `new_root` begins with the one under `old_root`.

    The steps are those of RFC 9162 section 2.1.4.2.
    """
    if not 0 < old_size <= new_size <= MAX_INT:
        raise ProofError(f"there is no consistency proof from size {old_size} to size {new_size}")
    _check_hashes(old_root, new_root, *path)
    if old_size == new_size:
        # (1) Equal trees need no proof, and allow none.
        if path or old_root != new_root:
            raise ProofError("two trees of one size differ, or come with a proof that they do not need")
        return
    # (2) An old tree of a power of two is itself the first node of the proof.
    nodes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not nodes:
        raise ProofError("the consistency proof is too short")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_computed = new_computed = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            raise ProofError("the consistency proof is too long")
        if node & 1 or node == last:
            # (3) A left sibling belongs to both trees.
            old_computed = sha256(b"\x01" + sibling + old_computed).digest()
            new_computed = sha256(b"\x01" + sibling + new_computed).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            # (4) A right sibling belongs to the new one only.
            new_computed = sha256(b"\x01" + new_computed + sibling).digest()
        node >>= 1
        last >>= 1
    # (5) The path must end exactly at both roots.
    if last != 0:
        raise ProofError("the consistency proof is too short")
    if old_computed != old_root:
        raise ProofError("the consistency proof leads to another old root")
    if new_computed != new_root:
        raise ProofError("the consistency proof leads to another new root")


def _split(size: int) -> int:
    """The largest power of two smaller than `size`: where RFC 9162 splits a tree of two leaves or more."""
    return 1 << (size - 1).bit_length() - 1


def _check_hashes(*hashes: bytes) -> None:
    for value in hashes:
        if type(value) is not bytes or len(value) != HASH_BYTES:
            raise ProofError("a hash of the proof is not 32 bytes")
