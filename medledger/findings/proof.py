"""How much a finding shows: the first entries of its proof and the first names, and how many more there are.

Whoever writes a million entries that do not fit makes a finding about them, and not one of a million lines. Nor do they
push out of it what others wrote: where not all is shown, one supply by each of its suppliers is.
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
    """The places of these entries, then of these supplies and what came back; and words for those left out.

    Where some are left out, the first of these entries and each supplier's first supply come before all others.
    """
    total = len(first) + sum(map(len, issues))
    entries = chain(first, chain.from_iterable(issues))
    if total <= MAX_PLACES:
        return places_of(entries), ""
    supplies = {issue.entry.place.feed: issue.entry for issue in reversed(issues)}
    places: dict[Place, None] = {}
    for entry in chain(first[:1], reversed(supplies.values()), entries):
        if len(places) == MAX_PLACES:
            break
        places[entry.place] = None
    return tuple(places), f"; {total - MAX_PLACES} more entries show it"


def listed(names: Sequence[str], between: str) -> str:
    """Names in a sentence, the first of very many."""
    more = [f"{len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
    return between.join([*names[:MAX_NAMES], *more])
