"""The supply book: what a set of entries says about prescriptions, packs and stock, kept up as entries come.

Rules:

- It is a fold over a set: each entry is added once, however often it comes, and every answer depends on the set alone,
  never on the order of arrival. Two replicas that hold the same blocks give the same answers.
- An entry's bytes do not name its author, and anybody can copy them. A copy in another feed is one more entry, by its
  own author: it takes nothing away from the first. What comes back of a supply that stands twice counts for both.
- What counts as supplied is a `dispense` that is `completed`. A return counts against the one supply whose leaf hash it
  names; until that supply is here it counts for nothing.
- That a supply never left the counter (`undo`), only that counter knows. In any other feed it counts for nothing,
  whatever its author's role is: nobody makes room on a prescription by a word about another's supply. What a patient
  brings back (`return`) may be brought anywhere: it lies in the stock of who took it.
- Of one supply no more can come back than was supplied: further returns credit nothing, and are found (issues that are
  `overreturned`). Otherwise two pharmacies that were cut off could make an authorisation out of nothing.
- Stock is kept for each author, product and unit, as sums: see `Shelf`.
- A recall is everybody's, but one by a member that is a pharmacy and nothing else: that stops its own supplies alone,
  for no pharmacy decides what the others may supply.
- A recall that names neither lots nor serial numbers names every pack. A pack whose lot nobody could read is taken for
  recalled as soon as any lot of its product is, and so is one without a serial number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import Final

from medledger.membership import Membership

from .amounts import NOTHING, amount
from .finding import Observed, Place
from .shelf import Shelf, move_of

TYPES: Final = frozenset(("prescription", "dispense", "dispense.return", "stock", "recall"))
COUNTS: Final = "completed"
LOCAL_ROLES: Final = frozenset(("pharmacy",))
"""Who has these roles and no other recalls for itself alone."""
_STATES: Final = {
    "receiving": "on-shelf",
    "storing": "on-shelf",
    "undo": "on-shelf",
    "holding": "held",
    "return": "held",
}

Pack = tuple[str, str]
"""Product (GTIN-14) and serial number."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One supply, and what came back of it."""

    entry: Observed
    supplied: Fraction
    returns: tuple[Observed, ...]
    disowned: tuple[Observed, ...] = ()  # undone by others than its supplier: they count for nothing

    @property
    def given_back(self) -> Fraction:
        """What its returns add up to, which may be more than was supplied."""
        return sum((amount(each.content["quantity"]) for each in self.returns), NOTHING)

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


@dataclass(slots=True)
class SupplyBook:
    """Add entries in any order; ask at any time. Without `membership` every recall is everybody's."""

    membership: Membership | None = None
    orders: dict[bytes, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    recalls: dict[str, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    steps: list[Observed] = field(default_factory=list)
    shelves: dict[tuple[bytes, str, str], Shelf] = field(default_factory=lambda: defaultdict(Shelf))
    pack_steps: dict[Pack, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    by_raw: dict[tuple[bytes, bytes], list[Observed]] = field(default_factory=lambda: defaultdict(list))
    schedules: dict[str, str] = field(default_factory=dict)
    _seen: set[Place] = field(default_factory=set)
    _supplies: dict[bytes, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    _returns: dict[bytes, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    _by_prescription: dict[bytes | str, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    _by_pack: dict[Pack, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    _first_recalls: dict[tuple[bytes | None, str, str, str | None], Observed] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Observed], membership: Membership | None = None) -> SupplyBook:
        """The book of these entries."""
        book = cls(membership)
        for entry in entries:
            book.add(entry)
        return book

    def add(self, entry: Observed) -> None:
        """Take an entry in; entries of other types, and those that are here already, change nothing."""
        if entry.place in self._seen or entry.type not in TYPES:
            return
        self._seen.add(entry.place)
        content = entry.content
        if "raw" in content:
            self.by_raw[entry.place.feed, content["raw"]].append(entry)
        if "schedule" in content and "product" in content:
            known = self.schedules.get(content["product"])
            self.schedules[content["product"]] = min(content["schedule"], known or content["schedule"])
        match entry.type:
            case "prescription":
                self.orders[content["prescription"]].append(entry)
            case "recall":
                self._add_recall(entry)
            case "dispense":
                self._add_supply(entry)
            case "dispense.return":
                self._returns[content["issue"]].append(entry)
                self._shelve_return(self._supplies.get(content["issue"], ()), entry)
            case "stock":
                self._add_step(entry)

    def _add_supply(self, entry: Observed) -> None:
        content = entry.content
        if content["status"] != COUNTS:
            return
        if "prescription" in content:
            self._by_prescription[content["prescription"]].append(entry)
        if "serial" in content:
            self._by_pack[content["product"], content["serial"]].append(entry)
        self.shelves[entry.place.feed, content["product"], content["unit"]].add(move_of(entry))
        copies = self._supplies[entry.leaf]
        for back in self._returns.get(entry.leaf, ()):
            if not any(counts_for(copy, back) for copy in copies):  # else it lies there already
                self._shelve_return((entry,), back)
        copies.append(entry)

    def _shelve_return(self, copies: Sequence[Observed], back: Observed) -> None:
        """What comes back lies where it was brought to, once."""
        if any(counts_for(supply, back) for supply in copies):
            content = copies[0].content
            self.shelves[back.place.feed, content["product"], content["unit"]].add(move_of(back))

    def _add_step(self, entry: Observed) -> None:
        content = entry.content
        self.steps.append(entry)
        if "serial" in content:
            self.pack_steps[content["product"], content["serial"]].append(entry)
        self.shelves[entry.place.feed, content["product"], content["unit"]].add(move_of(entry))

    def _add_recall(self, entry: Observed) -> None:
        content, feed = entry.content, entry.place.feed
        self.recalls[content["product"]].append(entry)
        roles = None if self.membership is None else self.membership.roles(feed, entry.epoch)
        named = [
            (kind, each) for kind in ("lot", "serial") if f"{kind}s" in content for each in (*content[f"{kind}s"], None)
        ]
        for name in named or [("all", None)]:
            key = (feed if roles == LOCAL_ROLES else None, content["product"], *name)
            self._first_recalls[key] = min(entry, self._first_recalls.get(key, entry), key=_by_time)

    # --- asking -------------------------------------------------------------------------------------------------

    def issue(self, leaf: bytes, feed: bytes = b"") -> Issue | None:
        """The supply with this leaf hash; where several feeds have it, this one's, else the first by position."""
        copies = sorted(self._supplies.get(leaf, ()), key=lambda each: (each.place.feed != feed, each.place))
        return self._issue(copies[0]) if copies else None

    def _issue(self, entry: Observed) -> Issue:
        named = sorted(self._returns.get(entry.leaf, ()), key=lambda each: each.place)
        returns = tuple(back for back in named if counts_for(entry, back))
        suppliers = {copy.place.feed for copy in self._supplies[entry.leaf]}
        disowned = tuple(back for back in named if not counts_for(entry, back) and back.place.feed not in suppliers)
        return Issue(entry, amount(entry.content["quantity"]), returns, disowned)

    def _issues(self, entries: Iterable[Observed]) -> list[Issue]:
        return sorted(map(self._issue, entries), key=lambda issue: issue.entry.place)

    def issues(self) -> list[Issue]:
        """Every supply, by feed and position."""
        return self._issues(chain.from_iterable(self._supplies.values()))

    def issues_on(self, prescription: bytes | str) -> list[Issue]:
        """The supplies of one prescription."""
        return self._issues(self._by_prescription.get(prescription, ()))

    def issues_of(self, pack: Pack) -> list[Issue]:
        """The supplies of one pack, or of parts of it."""
        return self._issues(self._by_pack.get(pack, ()))

    def packs(self) -> Iterator[Pack]:
        """The packs that were supplied under a serial number."""
        yield from sorted(self._by_pack)

    def prescriptions(self) -> list[bytes | str]:
        """The prescriptions that were written or supplied."""
        return sorted({*self.orders, *self._by_prescription}, key=lambda name: (isinstance(name, str), name))

    def returns_of_nothing(self) -> list[Observed]:
        """Returns whose supply is not here."""
        lone = [each for leaf, found in self._returns.items() if leaf not in self._supplies for each in found]
        return sorted(lone, key=lambda each: each.place)

    def shelf(self, feed: bytes, product: str, unit: str) -> Shelf:
        """An author's stock of a product in a unit; an empty one where nothing is known of it."""
        return self.shelves.get((feed, product, unit)) or Shelf()

    def recalled(self, feed: bytes, product: str, lot: str | None, serial: str | None) -> Observed | None:
        """The first recall, by its time, that stops this author's supply of a pack; None where none does."""
        names = (("all", None), ("lot", lot), ("serial", serial))
        keys = ((scope, product, *name) for scope in (None, feed) for name in names)
        return min(filter(None, map(self._first_recalls.get, keys)), key=_by_time, default=None)

    def life(self, feed: bytes, pack: Pack) -> list[tuple[Observed, str]]:
        """What one author's entries made of a pack, in their order: on-shelf, held, supplied, or how it left."""
        mine = [(step, step.content["step"]) for step in self.pack_steps.get(pack, ()) if step.place.feed == feed]
        for issue in self.issues_of(pack):
            mine += [(back, back.content["action"]) for back in issue.returns if back.place.feed == feed]
            mine += [(issue.entry, "supplied")] if issue.entry.place.feed == feed else []
        states = [(entry, _STATES.get(what, what)) for entry, what in mine if what != "inspecting"]
        return sorted(states, key=lambda each: each[0].place)

    def shelf_of_pack(self, feed: bytes, pack: Pack, unit: str) -> Shelf:
        """What of an author's stock in a unit is of this one pack."""
        shelf = Shelf()
        for entry, _ in self.life(feed, pack):
            supply = self._supplies[entry.content["issue"]][0] if entry.type == "dispense.return" else entry
            if supply.content["unit"] == unit:
                shelf.add(move_of(entry))
        return shelf


def counts_for(supply: Observed, back: Observed) -> bool:
    """Whether a return that names this supply is one that its author can know of."""
    return back.content["action"] != "undo" or back.place.feed == supply.place.feed


def _by_time(entry: Observed) -> tuple[int, Place]:
    return entry.time, entry.place
