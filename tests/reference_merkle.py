"""RFC 9162 section 2.1, word for word: slow, recursive, obvious. The fast code is compared with it."""

from __future__ import annotations

from hashlib import sha256


def split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def root(leaves: list[bytes]) -> bytes:
    """MTH: section 2.1.1, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def inclusion_proof(leaves: list[bytes], index: int) -> list[bytes]:
    """PATH: section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion_proof(leaves[:k], index), root(leaves[k:])]
    return [*inclusion_proof(leaves[k:], index - k), root(leaves[:k])]


def consistency_proof(leaves: list[bytes], old_size: int) -> list[bytes]:
    """PROOF: section 2.1.4.1."""
    return subproof(old_size, leaves, True)


def subproof(old_size: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF: section 2.1.4.1. `whole`: the part is the whole old tree, whose root the verifier has."""
    if old_size == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if old_size <= k:
        return [*subproof(old_size, leaves[:k], whole), root(leaves[k:])]
    return [*subproof(old_size - k, leaves[k:], False), root(leaves[:k])]


def root_from_inclusion(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root to which `path` leads, by walking down the same splits; ValueError when its length is wrong."""
    if size == 1:
        if path:
            raise ValueError("too long")
        return leaf
    if not path:
        raise ValueError("too short")
    k = split(size)
    if index < k:
        return sha256(b"\x01" + root_from_inclusion(leaf, index, k, path[:-1]) + path[-1]).digest()
    return sha256(b"\x01" + path[-1] + root_from_inclusion(leaf, index - k, size - k, path[:-1])).digest()
