"""The supply book: what a set of entries says about prescriptions, packs and stock, kept up as entries come.

Rules:

- It is a fold over a set: each entry is added once, however often it comes, and every answer depends on the set alone,
  never on the order of arrival. Two replicas that hold the same blocks give the same answers.
- What counts as supplied is a `dispense` that is `completed`. A return counts against the one supply whose leaf hash it
  names; until that supply is here it counts for nothing.
- Of one supply no more can come back than was supplied: further returns credit nothing, and are found (issues that are
  `overreturned`). Otherwise two pharmacies that were cut off could make an authorisation out of nothing.
- Stock is kept for each author, product and unit, as sums: see `Shelf`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from medledger.supplies import recall_names

from .amounts import NOTHING, amount
from .finding import Observed, Place

TYPES: Final = frozenset(("prescription", "dispense", "dispense.return", "stock", "recall"))
COUNTS: Final = "completed"

Pack = tuple[str, str]
"""Product (GTIN-14) and serial number."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One supply, and what came back of it."""

    entry: Observed
    supplied: Fraction
    returns: tuple[Observed, ...]

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


class Move(NamedTuple):
    """One entry's effect on a shelf: a step of stock, or `supplied`, `undone`, `brought_back`."""

    place: Place
    kind: str
    quantity: Fraction
    from_hold: bool = False


@dataclass(slots=True)
class Shelf:
    """One author's stock of a product in a unit, as sums. `available + held` is what is on hand.

    received = on hand + supplied - undone - brought back + shipped + removed + destroyed, whatever the order.

    It begins with the first receipt, by the position in the author's feed: what was supplied before that was of a stock
    that nobody had counted.
    """

    received: Fraction = NOTHING
    supplied: Fraction = NOTHING
    undone: Fraction = NOTHING
    brought_back: Fraction = NOTHING
    shipped: Fraction = NOTHING
    removed: Fraction = NOTHING
    destroyed: Fraction = NOTHING
    held: Fraction = NOTHING
    begin: Place | None = None
    moves: list[Move] = field(default_factory=list, compare=False, repr=False)

    @property
    def on_hand(self) -> Fraction:
        """What should be there when somebody counts."""
        left = self.supplied + self.shipped + self.removed + self.destroyed
        return self.received + self.undone + self.brought_back - left

    @property
    def available(self) -> Fraction:
        """What of it may be supplied."""
        return self.on_hand - self.held

    def add(self, move: Move) -> None:
        """Count a move; an earlier receipt than was known makes earlier moves count."""
        self.moves.append(move)
        if move.kind == "receiving" and (self.begin is None or move.place < self.begin):
            before, self.begin = self.begin, move.place
            for each in self.moves:
                if each.place >= move.place and (before is None or each.place < before):
                    self._count(each)
        elif self.begin is not None and move.place >= self.begin:
            self._count(move)

    def _count(self, move: Move) -> None:
        quantity = move.quantity
        match move.kind:
            case "receiving":
                self.received += quantity
            case "supplied":
                self.supplied += quantity
            case "undone":
                self.undone += quantity
            case "brought_back":
                self.brought_back += quantity
                self.held += quantity
            case "holding":
                self.held += quantity
            case "storing":
                self.held -= quantity
            case "shipping":
                self.shipped += quantity
            case "removing":
                self.removed += quantity
            case "destroying":
                self.destroyed += quantity
        if move.from_hold:
            self.held -= quantity


@dataclass(slots=True)
class SupplyBook:
    """Add entries in any order; ask at any time."""

    orders: dict[bytes, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    recalls: dict[str, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    steps: list[Observed] = field(default_factory=list)
    shelves: dict[tuple[bytes, str, str], Shelf] = field(default_factory=lambda: defaultdict(Shelf))
    pack_steps: dict[Pack, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    by_raw: dict[tuple[bytes, bytes], list[Observed]] = field(default_factory=lambda: defaultdict(list))
    schedules: dict[str, str] = field(default_factory=dict)
    _seen: set[bytes] = field(default_factory=set)
    _supplies: dict[bytes, Observed] = field(default_factory=dict)
    _returns: dict[bytes, list[Observed]] = field(default_factory=lambda: defaultdict(list))
    _by_prescription: dict[bytes | str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    _by_pack: dict[Pack, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, entries: Iterable[Observed]) -> SupplyBook:
        """The book of these entries."""
        book = cls()
        for entry in entries:
            book.add(entry)
        return book

    def add(self, entry: Observed) -> None:
        """Take an entry in; entries of other types, and those that are here already, change nothing."""
        if entry.leaf in self._seen or entry.type not in TYPES:
            return
        self._seen.add(entry.leaf)
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
                self.recalls[content["product"]].append(entry)
            case "dispense":
                self._add_supply(entry)
            case "dispense.return":
                self._returns[content["issue"]].append(entry)
                if content["issue"] in self._supplies:
                    self._shelve_return(self._supplies[content["issue"]], entry)
            case "stock":
                self._add_step(entry)

    def _add_supply(self, entry: Observed) -> None:
        content = entry.content
        if content["status"] != COUNTS:
            return
        self._supplies[entry.leaf] = entry
        if "prescription" in content:
            self._by_prescription[content["prescription"]].append(entry.leaf)
        if "serial" in content:
            self._by_pack[content["product"], content["serial"]].append(entry.leaf)
        shelf = self.shelves[entry.place.feed, content["product"], content["unit"]]
        shelf.add(Move(entry.place, "supplied", amount(content["quantity"])))
        for back in self._returns.get(entry.leaf, ()):
            self._shelve_return(entry, back)

    def _shelve_return(self, supply: Observed, back: Observed) -> None:
        """What comes back lies where it was brought to."""
        shelf = self.shelves[back.place.feed, supply.content["product"], supply.content["unit"]]
        kind = "undone" if back.content["action"] == "undo" else "brought_back"
        shelf.add(Move(back.place, kind, amount(back.content["quantity"])))

    def _add_step(self, entry: Observed) -> None:
        content = entry.content
        self.steps.append(entry)
        if "serial" in content:
            self.pack_steps[content["product"], content["serial"]].append(entry)
        shelf = self.shelves[entry.place.feed, content["product"], content["unit"]]
        shelf.add(Move(entry.place, content["step"], amount(content["quantity"]), "source" in content))

    # --- asking -------------------------------------------------------------------------------------------------

    def issue(self, leaf: bytes) -> Issue | None:
        """The supply with this leaf hash."""
        entry = self._supplies.get(leaf)
        if entry is None:
            return None
        returns = tuple(sorted(self._returns.get(leaf, ()), key=lambda each: each.place))
        return Issue(entry, amount(entry.content["quantity"]), returns)

    def _issues(self, leaves: Iterable[bytes]) -> list[Issue]:
        found = [issue for leaf in leaves if (issue := self.issue(leaf)) is not None]
        return sorted(found, key=lambda issue: issue.entry.place)

    def issues(self) -> list[Issue]:
        """Every supply, by feed and position."""
        return self._issues(self._supplies)

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

    def recalled(self, product: str, lot: str | None, serial: str | None) -> list[Observed]:
        """The recalls that name this pack, or that may."""
        found = [each for each in self.recalls.get(product, ()) if recall_names(each.content, lot, serial)]
        return sorted(found, key=lambda each: each.place)
