"""Vectors of RFC 9162 trees: roots, inclusion proofs and consistency proofs, good and crooked.

The proofs are made by the recursive definitions of RFC 9162 sections 2.1.3.1 and 2.1.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .making import Vector, accepted, leaf, refused, sha256, tree

DATA = [bytes([n]) * n for n in range(11)]
LEAVES = [leaf(data) for data in DATA]


def split_of(size: int) -> int:
    """The largest power of two below `size`."""
    split = 1
    while split * 2 < size:
        split *= 2
    return split


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(leaves) == 1:
        return []
    split = split_of(len(leaves))
    if index < split:
        return [*inclusion(leaves[:split], index), tree(leaves[split:])]
    return [*inclusion(leaves[split:], index - split), tree(leaves[:split])]


def consistency(leaves: Sequence[bytes], old: int, whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b)."""
    if old == len(leaves):
        return [] if whole else [tree(leaves)]
    split = split_of(len(leaves))
    if old <= split:
        return [*consistency(leaves[:split], old, whole), tree(leaves[split:])]
    return [*consistency(leaves[split:], old - split, False), tree(leaves[:split])]


def roots() -> list[Vector]:
    """Roots of trees of several sizes."""
    return [
        accepted(
            "merkle-root",
            f"size-{size:02}",
            "The leaf hashes and the root of a tree." if size else "The root of no leaves is the hash of nothing.",
            {"data": DATA[:size]},
            leaf_hashes=LEAVES[:size],
            root=tree(LEAVES[:size]),
        )
        for size in (0, 1, 2, 3, 4, 5, 7, 8, 11)
    ]


def inclusions() -> list[Vector]:
    """Proofs that a leaf is in a tree."""
    vectors = []
    for size, index in ((1, 0), (2, 0), (2, 1), (3, 2), (5, 4), (7, 0), (7, 6), (8, 3), (11, 5), (11, 8), (11, 10)):
        inputs = good_inclusion(size, index)
        vectors.append(accepted("merkle-inclusion", f"leaf-{index}-of-{size}", "An honest proof.", inputs))
    honest = good_inclusion(7, 2)
    path, other = honest["path"], sha256(b"another")
    changes: dict[str, tuple[str, dict[str, Any]]] = {
        "other-leaf": ("Another leaf's hash.", {"leaf_hash": LEAVES[3]}),
        "other-index": ("Another place.", {"index": 3}),
        "other-size": ("Another size of the tree, with a path of another length.", {"size": 9}),
        "other-root": ("Another root.", {"root": other}),
        "other-node": ("A wrong node in the path.", {"path": [path[0], other, path[2]]}),
        "order": ("The path from the root downwards.", {"path": path[::-1]}),
        "too-short": ("The path's last node is missing.", {"path": path[:-1]}),
        "too-long": ("A node too many.", {"path": [*path, other]}),
        "empty-path": ("No path.", {"path": []}),
        "index-beyond": ("A leaf beyond the tree.", {"index": 7}),
        "index-negative": ("A negative place.", {"index": -1}),
        "size-0": ("A tree without leaves.", {"size": 0, "index": 0}),
        "node-31-bytes": ("A node of 31 bytes.", {"path": [path[0][:31], *path[1:]]}),
        "leaf-33-bytes": ("A leaf hash of 33 bytes.", {"leaf_hash": LEAVES[2] + b"\x00"}),
        "node-as-leaf": ("An inner node in the place of a leaf, in a smaller tree.", node_as_leaf()),
    }
    for name, (why, change) in changes.items():
        vectors.append(refused("merkle-inclusion", f"wrong-{name}", why, {**honest, **change}, "ProofError"))
    return vectors


def good_inclusion(size: int, index: int) -> dict[str, Any]:
    """An honest inclusion proof."""
    leaves = LEAVES[:size]
    return {
        "leaf_hash": leaves[index],
        "index": index,
        "size": size,
        "path": inclusion(leaves, index),
        "root": tree(leaves),
    }


def node_as_leaf() -> dict[str, Any]:
    """A claim that the data of two leaf hashes, joined, is a leaf: the prefixes 0x00 and 0x01 tell it apart."""
    return {
        "leaf_hash": leaf(LEAVES[0] + LEAVES[1]),
        "index": 0,
        "size": 2,
        "path": [LEAVES[2]],
        "root": tree(LEAVES[:3]),
    }


def consistencies() -> list[Vector]:
    """Proofs that one tree begins with another."""
    vectors = []
    for old, new in ((1, 1), (1, 2), (2, 3), (3, 7), (4, 7), (4, 8), (6, 8), (7, 11), (8, 11), (10, 11), (11, 11)):
        inputs = good_consistency(old, new)
        vectors.append(accepted("merkle-consistency", f"{old}-to-{new}", "An honest proof.", inputs))
    honest = good_consistency(6, 11)
    path, other = honest["path"], sha256(b"another")
    changes: dict[str, tuple[str, dict[str, Any]]] = {
        "other-old-root": ("Another old root.", {"old_root": other}),
        "other-new-root": ("Another new root.", {"new_root": other}),
        "roots-exchanged": (
            "The roots changed places.",
            {"old_root": honest["new_root"], "new_root": honest["old_root"]},
        ),
        "other-node": ("A wrong node.", {"path": [other, *path[1:]]}),
        "too-short": ("A node is missing.", {"path": path[:-1]}),
        "too-long": ("A node too many.", {"path": [*path, other]}),
        "empty-path": ("No path.", {"path": []}),
        "from-nothing": (
            "From a tree without leaves: that would prove nothing.",
            {"old_size": 0, "old_root": tree([])},
        ),
        "shrinking": ("The new tree is smaller.", {"old_size": 12}),
        "node-31-bytes": ("A node of 31 bytes.", {"path": [path[0][:31], *path[1:]]}),
        "same-size-with-path": (
            "Equal trees need no proof, and allow none.",
            {**good_consistency(6, 6), "path": [other]},
        ),
        "same-size-other-root": ("Two trees of one size that differ.", {**good_consistency(6, 6), "new_root": other}),
    }
    for name, (why, change) in changes.items():
        vectors.append(refused("merkle-consistency", f"wrong-{name}", why, {**honest, **change}, "ProofError"))
    return vectors


def good_consistency(old: int, new: int) -> dict[str, Any]:
    """An honest consistency proof."""
    return {
        "old_size": old,
        "new_size": new,
        "old_root": tree(LEAVES[:old]),
        "new_root": tree(LEAVES[:new]),
        "path": consistency(LEAVES[:new], old),
    }


def make() -> list[Vector]:
    """All of them."""
    return [*roots(), *inclusions(), *consistencies()]
