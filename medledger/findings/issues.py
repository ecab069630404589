"""A supply, and what came back of it.

Rules:

- A return counts against the supplies whose leaf hash it names; until one is here it counts for nothing.
- That a supply never left the counter (`undo`), only that counter knows. In any other feed it counts for nothing,
  whatever its author's role is: nobody makes room on a prescription by a word about another's supply. What a patient
  brings back (`return`) may be brought anywhere: it lies in the stock of who took it.
- An entry's bytes do not name its author, and anybody can copy them. A copy in another feed is one more entry, by its
  own author: it takes nothing away from the first. What comes back of a supply that stands twice counts for both.
- Of one supply no more can come back than was supplied: further returns credit nothing (`Issue.overreturned`).
  Otherwise two pharmacies that were cut off could make an authorisation out of nothing.

What all copies of a supply have in common is kept once, so that a member who copies a supply many times and returns it
many times costs what they wrote, and not the product of the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import merge
from typing import NamedTuple

from .amounts import NOTHING, amount
from .finding import Observed, Place


class Backs(NamedTuple):
    """Returns in the order of their places, and what they add up to."""

    entries: tuple[Observed, ...] = ()
    total: Fraction = NOTHING

    @classmethod
    def of(cls, entries: Iterable[Observed]) -> Backs:
        """These."""
        found = tuple(sorted(entries, key=_place))
        return cls(found, sum((amount(each.content["quantity"]) for each in found), NOTHING))


@dataclass(frozen=True, slots=True)
class Issue:
    """One supply, and what came back of it."""

    entry: Observed
    supplied: Fraction
    brought: Backs  # by the patient, to whichever pharmacy: all copies of the supply share it
    undone: Backs  # by its supplier

    @property
    def given_back(self) -> Fraction:
        """What its returns add up to, which may be more than was supplied."""
        return self.brought.total + self.undone.total

    @property
    def returned(self) -> Fraction:
        """What counts of that."""
        return min(self.given_back, self.supplied)

    @property
    def open(self) -> Fraction:
        """What is with the patient."""
        return self.supplied - self.returned

    @property
    def overreturned(self) -> bool:
        return self.given_back > self.supplied

    def __len__(self) -> int:
        """How many entries prove it."""
        return 1 + len(self.brought.entries) + len(self.undone.entries)

    def __iter__(self) -> Iterator[Observed]:
        """The entries that prove it: the supply, and its returns by their places."""
        yield self.entry
        yield from merge(self.brought.entries, self.undone.entries, key=_place)


@dataclass(slots=True)
class Account:
    """All that is about one leaf hash: the supplies that have it, and the returns that name it. Each is added once."""

    copies: list[Observed] = field(default_factory=list)
    _suppliers: set[bytes] = field(default_factory=set)
    _brought: list[Observed] = field(default_factory=list)
    _undone: dict[bytes, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    _backs: dict[bytes | None, Backs] = field(default_factory=dict)  # as they were asked for since the last return

    def add_supply(self, entry: Observed) -> list[Observed]:
        """Take a supply in; the returns that count from now on, and did not before."""
        begun = [] if self.copies else list(self._brought)
        if entry.place.feed not in self._suppliers:
            begun += self._undone.get(entry.place.feed, ())
        self.copies.append(entry)
        self._suppliers.add(entry.place.feed)
        return begun

    def begun_by(self, entry: Observed) -> list[Observed]:
        """The returns that count because of this one of its supplies, and of no other."""
        others = {copy.place.feed for copy in self.copies if copy.place != entry.place}
        begun = [] if others else list(self._brought)
        return begun if entry.place.feed in others else begun + self._undone.get(entry.place.feed, [])

    def add_return(self, back: Observed) -> bool:
        """Take a return in; whether it counts."""
        self._backs.clear()
        if back.content["action"] == "undo":
            self._undone[back.place.feed].append(back)
            return back.place.feed in self._suppliers
        self._brought.append(back)
        return bool(self.copies)

    def issue(self, entry: Observed) -> Issue:
        """One of its supplies, with what counts for it."""
        for feed in (None, entry.place.feed):
            if feed not in self._backs:
                self._backs[feed] = Backs.of(self._brought if feed is None else self._undone.get(feed, ()))
        return Issue(entry, amount(entry.content["quantity"]), self._backs[None], self._backs[entry.place.feed])

    def counting(self) -> list[Observed]:
        """The returns that count, each once however many copies there are."""
        if not self.copies:
            return []
        return self._brought + [back for feed in self._suppliers for back in self._undone.get(feed, ())]

    def disowned(self) -> list[Observed]:
        """What others than a supplier said to be undone: it counts for nothing."""
        if not self.copies:
            return []
        lone = [back for feed, undone in self._undone.items() if feed not in self._suppliers for back in undone]
        return sorted(lone, key=_place)

    def lone(self) -> list[Observed]:
        """The returns, where no supply is here."""
        return [] if self.copies else [*self._brought, *(back for undone in self._undone.values() for back in undone)]


def _place(entry: Observed) -> Place:
    return entry.place
