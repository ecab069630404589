"""How much a node remembers: the number of things in every container that can be reached from it.

It looks at objects of `medledger.sync` and follows their attributes, so that a new one is counted from the day it
appears. What belongs to the replica is not the node's: the blocks and the membership are counted elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from random import Random
from typing import Any

SKIPPED = {"_replica", "_rng", "_codec", "_signer", "replica", "rng", "signer"}
_CONTAINERS = (dict, list, set, frozenset, deque)
_DEEP = 7


def census(root: object) -> dict[str, int]:
    """The sizes of the containers below `root`, by the dotted path to them."""
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, object, int]] = [("node", root, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if id(value) in seen or depth > _DEEP:
            continue
        seen.add(id(value))
        if isinstance(value, _CONTAINERS):
            sizes[path] = max(sizes.get(path, 0), len(value))
            waiting += [(f"{path}[]", each, depth + 1) for each in _some(value) if _ours(each)]
        elif _ours(value):
            waiting += [(f"{path}.{name}", each, depth + 1) for name, each in _attributes(value)]
    return sizes


def _some(container: Collection[Any]) -> list[Any]:
    """A few of the values in a container: they are of one kind."""
    values = container.values() if isinstance(container, dict) else container
    return [value for value, _ in zip(values, range(16), strict=False)]


def _ours(value: object) -> bool:
    return type(value).__module__.startswith("medledger.sync") or isinstance(value, _CONTAINERS)


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    for name in names:
        if name in SKIPPED or name.startswith("__"):
            continue
        each = getattr(value, name, None)
        if isinstance(each, Random):
            continue
        if _ours(each):
            yield name, each
