"""How much a finding shows: the first entries of its proof and the first names, and how many more there are.

Whoever writes a million entries that do not fit makes a finding about them, and not one of a million lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Final

from .finding import Observed, Place
from .issues import Issue

MAX_PLACES: Final = 64
MAX_NAMES: Final = 16


def places_of(entries: Iterable[Observed]) -> tuple[Place, ...]:
    """Where the first of these entries stand. No more of them are looked at."""
    return tuple(entry.place for entry in islice(entries, MAX_PLACES))


def proof(first: Sequence[Observed], issues: Sequence[Issue]) -> tuple[tuple[Place, ...], str]:
    """The places of these entries, then of these supplies and what came back; and words for those left out."""
    total = len(first) + sum(map(len, issues))
    more = f"; {total - MAX_PLACES} more entries show it" if total > MAX_PLACES else ""
    return places_of(chain(first, chain.from_iterable(issues))), more


def listed(names: Sequence[str], between: str) -> str:
    """Names in a sentence, the first of very many."""
    more = [f"{len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
    return between.join([*names[:MAX_NAMES], *more])
