"""The supply book: what a set of entries says about prescriptions, packs and stock, kept up as entries come.

Rules:

- It is a fold over a set: each entry is added once, however often it comes, and every answer depends on the set alone,
  never on the order of arrival. Two replicas that hold the same blocks give the same answers.
- What counts as supplied is a `dispense` that is `completed`. What came back of it is told in issues.py.
- Stock is kept for each author, product and unit, as sums: see `Shelf`.
- A recall is everybody's, but one by a member that is a pharmacy and nothing else: that stops its own supplies alone,
  for no pharmacy decides what the others may supply.
- A recall that names neither lots nor serial numbers names every pack. A pack whose lot nobody could read is taken for
  recalled as soon as any lot of its product is, and so is one without a serial number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from medledger.membership import Membership

from .finding import Observed, Place
from .issues import Account, Issue
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
    _accounts: dict[bytes, Account] = field(default_factory=lambda: defaultdict(Account))  # by leaf hash
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
                account = self._accounts[content["issue"]]
                if account.add_return(entry):
                    self._shelve_return(entry, account.copies[0])
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
        for back in self._accounts[entry.leaf].add_supply(entry):
            self._shelve_return(back, entry)

    def _shelve_return(self, back: Observed, supply: Observed) -> None:
        """What comes back lies where it was brought to, once."""
        self.shelves[back.place.feed, supply.content["product"], supply.content["unit"]].add(move_of(back))

    def _add_step(self, entry: Observed) -> None:
        content = entry.content
        self.steps.append(entry)
        if "serial" in content:
            self.pack_steps[content["product"], content["serial"]].append(entry)
        self.shelves[entry.place.feed, content["product"], content["unit"]].add(move_of(entry))

    def _add_recall(self, entry: Observed) -> None:
        content = entry.content
        self.recalls[content["product"]].append(entry)
        scope = None if self.membership is None else bound_by(entry, self.membership)
        named = [
            (kind, each) for kind in ("lot", "serial") if f"{kind}s" in content for each in (*content[f"{kind}s"], None)
        ]
        for name in named or [("all", None)]:
            key = (scope, content["product"], *name)
            self._first_recalls[key] = min(entry, self._first_recalls.get(key, entry), key=_by_time)

    # --- asking -------------------------------------------------------------------------------------------------

    def issue(self, leaf: bytes, feed: bytes = b"") -> Issue | None:
        """The supply with this leaf hash; where several feeds have it, this one's, else the first by position."""
        account = self._accounts.get(leaf)
        if account is None or not account.copies:
            return None
        return account.issue(min(account.copies, key=lambda each: (each.place.feed != feed, each.place)))

    def _issues(self, entries: Iterable[Observed]) -> list[Issue]:
        return [self._accounts[entry.leaf].issue(entry) for entry in sorted(entries, key=_place)]

    def issues(self) -> list[Issue]:
        """Every supply, by feed and position."""
        return self._issues(copy for account in self._accounts.values() for copy in account.copies)

    def disowned(self) -> list[tuple[Issue, Observed]]:
        """What others than its supplier said to be undone: each once, with that supply, of its copies the first."""
        found = []
        for leaf, account in self._accounts.items():
            lone, issue = account.disowned(), self.issue(leaf)
            found += [(issue, back) for back in lone if issue is not None]
        return sorted(found, key=lambda each: (each[0].entry.place, each[1].place))

    def account(self, leaf: bytes) -> Account:
        """All that is about one leaf hash."""
        return self._accounts.get(leaf) or Account()

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
        return sorted((back for account in self._accounts.values() for back in account.lone()), key=_place)

    def shelf(self, feed: bytes, product: str, unit: str) -> Shelf:
        """An author's stock of a product in a unit; an empty one where nothing is known of it."""
        return self.shelves.get((feed, product, unit)) or Shelf()

    def recalled(self, feed: bytes, product: str, lot: str | None, serial: str | None) -> Observed | None:
        """The first recall, by its time, that stops this author's supply of a pack; None where none does."""
        names = (("all", None), ("lot", lot), ("serial", serial))
        keys = ((scope, product, *name) for scope in (None, feed) for name in names)
        return min(filter(None, map(self._first_recalls.get, keys)), key=_by_time, default=None)

    def lives(self, pack: Pack) -> dict[bytes, list[tuple[Observed, str]]]:
        """What each author's entries made of a pack, in their order: on-shelf, held, supplied, or how it left."""
        supplies = self._by_pack.get(pack, ())
        backs = (back for leaf in {each.leaf for each in supplies} for back in self._accounts[leaf].counting())
        told = [(step, step.content["step"]) for step in self.pack_steps.get(pack, ())]
        told += [(supply, "supplied") for supply in supplies]
        told += [(back, back.content["action"]) for back in backs]
        found: dict[bytes, list[tuple[Observed, str]]] = defaultdict(list)
        for entry, what in sorted(told, key=lambda each: each[0].place):
            if what != "inspecting":
                found[entry.place.feed].append((entry, _STATES.get(what, what)))
        return dict(found)

    def life(self, feed: bytes, pack: Pack) -> list[tuple[Observed, str]]:
        """The same of one author."""
        return self.lives(pack).get(feed, [])

    def shelf_of_pack(self, feed: bytes, pack: Pack, unit: str) -> Shelf:
        """What of an author's stock in a unit is of this one pack."""
        shelf = Shelf()
        for entry, _ in self.life(feed, pack):
            back = entry.type == "dispense.return"
            supply = self._accounts[entry.content["issue"]].copies[0] if back else entry
            if supply.content["unit"] == unit:
                shelf.add(move_of(entry))
        return shelf


def bound_by(recall: Observed, membership: Membership) -> bytes | None:
    """The one author whose supplies a recall stops; None where it stops everybody's."""
    feed = recall.place.feed
    return feed if membership.roles(feed, recall.epoch) == LOCAL_ROLES else None


def _place(entry: Observed) -> Place:
    return entry.place


def _by_time(entry: Observed) -> tuple[int, Place]:
    return entry.time, entry.place
