"""Balances are conserved: pharmacies supply, take back and waste while they are cut off from one another, and merge in
any order; what is authorised, supplied and left, and what is on the shelf, adds up at every moment at every replica.

The reference is a plain count of what each operation did, kept beside the machine. It shares no code with the folds.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Container
from fractions import Fraction
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from medledger.findings.amounts import amount_text
from medledger.findings.finding import Observed
from medledger.findings.prescriptions import balance
from medledger.findings.prescriptions import find as find_prescriptions
from medledger.findings.serials import find as find_serials
from medledger.findings.stock import find as find_stock
from medledger.findings.supply_book import SupplyBook
from medledger.records import Dispense, DispenseReturn, Prescription, Stock
from supply_entries import GTIN, Feeds, by_kind, context, feed_of

PHARMACIES = ("north", "south", "east")
UNIT = "{tablet}"
CONTEXT = context()
AMOUNTS = st.sampled_from(["0.5", "1", "2.50", "10", "30"])


class Partitioned(RuleBasedStateMachine):
    """Three pharmacies with a replica each, a prescriber whose orders reach them one by one, and nobody in between."""

    def __init__(self) -> None:
        super().__init__()
        self.feeds = Feeds()
        self.everything: list[Observed] = []
        self.books = {name: SupplyBook() for name in PHARMACIES}
        self.held: dict[str, set[int]] = {name: set() for name in PHARMACIES}  # indexes into everything
        self.authorised: dict[bytes, tuple[Fraction, int]] = {}
        # The reference: by supply (its index), who supplied what of which prescription and number, and what came back.
        self.supplies: dict[int, tuple[str, bytes, int, Fraction, str]] = {}
        self.returns: dict[
            int, tuple[str, bytes, bool, Fraction]
        ] = {}  # who took back what (its leaf), an undo, how much
        self.strays: dict[int, bytes] = {}  # supplies in another unit, and their prescriptions
        self.begun: dict[str, int] = {}  # where each pharmacy first received something: its stock counts from there
        self.shelf: dict[str, dict[str, Fraction]] = {name: defaultdict(Fraction) for name in PHARMACIES}

    # --- what happens -------------------------------------------------------------------------------------------

    def write(self, author: str, record: Any) -> int:
        """The author's own replica has it at once."""
        at = len(self.everything)
        self.everything.append(self.feeds.add(author, record))
        if author in self.books:
            self.hand_over(author, at)
        return at

    def hand_over(self, name: str, at: int) -> None:
        """An entry reaches a replica, once or again."""
        self.books[name].add(self.everything[at])
        self.held[name].add(at)

    @initialize()
    def first_order(self) -> None:
        """There is a prescription from the start, and everybody has it; one pharmacy has stock, the others not yet."""
        at = self.order(Fraction(30), 1)
        for name in PHARMACIES:
            self.hand_over(name, at)
        self.move("north", "receiving", "30", source=False)

    def order(self, each: Fraction, repeats: int) -> int:
        """A prescriber writes one."""
        name = bytes([len(self.authorised)]) * 16
        self.authorised[name] = (each, repeats)
        record = Prescription(prescription=name, quantity=str(each), unit=UNIT, product=GTIN, repeats=repeats or None)
        return self.write("prescriber", record)

    @rule(each=st.sampled_from([1, 10, 30]), repeats=st.integers(0, 2))
    def prescribe(self, each: int, repeats: int) -> None:
        """It may reach the pharmacies later than a supply on it does."""
        if len(self.authorised) < 4:
            self.order(Fraction(each), repeats)

    @rule(name=st.sampled_from(PHARMACIES), quantity=AMOUNTS, data=st.data())
    def supply_what_it_may(self, name: str, quantity: str, data: st.DataObject) -> None:
        """An honest pharmacy supplies no more than its replica says is left."""
        prescription = data.draw(st.sampled_from(sorted(self.authorised)))
        account = balance(self.books[name], prescription)
        step = account.next_refill()
        if step is not None:
            self.supply(name, prescription, step[0], amount_text(min(step[1], Fraction(quantity))), "")

    @rule(
        name=st.sampled_from(PHARMACIES),
        quantity=AMOUNTS,
        refill=st.integers(0, 3),
        serial=st.sampled_from(["", "", "A", "B"]),
        data=st.data(),
    )
    def supply_anything(self, name: str, quantity: str, refill: int, serial: str, data: st.DataObject) -> None:
        """A dishonest one supplies what it likes."""
        self.supply(name, data.draw(st.sampled_from(sorted(self.authorised))), refill, quantity, serial)

    def supply(self, name: str, prescription: bytes, refill: int, quantity: str, serial: str) -> None:
        """One supply, and its count."""
        record = Dispense(
            product=GTIN,
            quantity=quantity,
            unit=UNIT,
            prescription=prescription,
            refill=refill or None,
            serial=serial or None,
        )
        at = self.write(name, record)
        self.supplies[at] = (name, prescription, refill, Fraction(quantity), serial)
        if name in self.begun:
            self.shelf[name]["supplied"] += Fraction(quantity)

    @rule(name=st.sampled_from(PHARMACIES), quantity=AMOUNTS, data=st.data())
    def supply_in_another_unit(self, name: str, quantity: str, data: st.DataObject) -> None:
        """What cannot be held against its prescription is on its account all the same, and in no sum of it."""
        prescription = data.draw(st.sampled_from(sorted(self.authorised)))
        record = Dispense(product=GTIN, quantity=quantity, unit="mL", prescription=prescription)
        self.strays[self.write(name, record)] = prescription

    @precondition(lambda self: self.supplies)
    @rule(name=st.sampled_from(PHARMACIES), quantity=AMOUNTS, undo=st.booleans(), data=st.data())
    def take_back(self, name: str, quantity: str, undo: bool, data: st.DataObject) -> None:
        """Of any supply, known to that replica or not, as much as is asked: more than was supplied, too. That another's
        never left the counter is said and counts for nothing.
        """
        at = data.draw(st.sampled_from(sorted(self.supplies)))
        action = "undo" if undo else "return"
        issue = self.everything[at].leaf
        back = self.write(name, DispenseReturn(issue=issue, quantity=quantity, action=action))
        self.returns[back] = (name, issue, undo, Fraction(quantity))

    @precondition(lambda self: self.supplies)
    @rule(name=st.sampled_from(PHARMACIES), data=st.data())
    def copy(self, name: str, data: st.DataObject) -> None:
        """A supply of another, byte by byte: its author says that it supplied the same, and nothing of the other's."""
        at = data.draw(st.sampled_from(sorted(self.supplies)))
        author, *said = self.supplies[at]
        if author != name and all(self.everything[it].leaf != self.everything[at].leaf for it in self.of(name)):
            self.everything.append(self.feeds.copy(name, self.everything[at]))
            made = len(self.everything) - 1
            self.hand_over(name, made)
            self.supplies[made] = (name, *said)  # type: ignore[assignment]
            if name in self.begun:
                self.shelf[name]["supplied"] += self.supplies[made][3]

    def of(self, name: str) -> list[int]:
        """Its supplies."""
        return [at for at, supply in self.supplies.items() if supply[0] == name]

    def counts(self, at: int, back: int) -> bool:
        """Whether a return is one of this supply: its author's own, or one that a patient brought to anybody."""
        name, leaf, undo, _ = self.returns[back]
        return leaf == self.everything[at].leaf and (not undo or name == self.supplies[at][0])

    def back(self, at: int, known: Container[int] | None = None) -> Fraction:
        """What came back of a supply, by these entries or all."""
        found = (self.returns[back][3] for back in self.returns if self.counts(at, back) and _among(back, known))
        return sum(found, Fraction(0))

    def meddled(self) -> set[tuple[int, int]]:
        """A supply, and who else says that it never left the counter."""
        alone = [back for back in self.returns if not any(self.counts(at, back) for at in self.supplies)]
        return {
            (at, back) for back in alone for at in self.supplies if self.everything[at].leaf == self.returns[back][1]
        }

    @rule(
        name=st.sampled_from(PHARMACIES),
        step=st.sampled_from(["receiving", "receiving", "holding", "storing", "shipping", "removing", "destroying"]),
        quantity=AMOUNTS,
        source=st.booleans(),
    )
    def move(self, name: str, step: str, quantity: str, source: bool) -> None:
        """A step of stock, possible or not."""
        out = source and step in ("shipping", "removing", "destroying")
        record = Stock(step=step, product=GTIN, quantity=quantity, unit=UNIT, source="holding" if out else None)
        at = self.write(name, record)
        if step == "receiving":
            self.begun.setdefault(name, at)
        if name in self.begun:
            self.shelf[name][step] += Fraction(quantity)
            held = {"holding": 1, "storing": -1}.get(step, -1 if out else 0)
            self.shelf[name]["held"] += held * Fraction(quantity)

    @rule(giver=st.sampled_from(PHARMACIES), taker=st.sampled_from(PHARMACIES), data=st.data())
    def merge_some(self, giver: str, taker: str, data: st.DataObject) -> None:
        """Part of what one has reaches another, in any order and more than once."""
        if self.held[giver]:
            some = data.draw(st.lists(st.sampled_from(sorted(self.held[giver])), max_size=8))
            for at in some:
                self.hand_over(taker, at)

    # --- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def every_account_adds_up(self) -> None:
        """authorised = remaining + dispensed - returned, and the parts are what this replica's entries make them."""
        for name, book in self.books.items():
            for prescription, (each, repeats) in self.authorised.items():
                account = balance(book, prescription)
                held = self.held[name]
                mine = [at for at in held if at in self.supplies and self.supplies[at][1] == prescription]
                strays = [at for at in held if self.strays.get(at) == prescription]
                if account.order is None:
                    assert strays or account.dispensed == sum((self.supplies[at][3] for at in mine), Fraction(0))
                    continue  # without an order the unit is that of the first supply
                back = {at: min(self.supplies[at][3], self.back(at, held)) for at in mine}
                assert account.dispensed == sum((self.supplies[at][3] for at in mine), Fraction(0))
                assert account.returned == sum(back.values(), Fraction(0))  # no authorisation comes out of nothing
                assert account.authorised == account.remaining + account.dispensed - account.returned  # type: ignore[operator]
                assert account.authorised == each * (1 + repeats)
                assert {issue.entry.place for issue in account.strays} == {self.everything[at].place for at in strays}
                out: dict[int, Fraction] = defaultdict(Fraction)
                for at in mine:
                    out[self.supplies[at][2]] += self.supplies[at][3] - back[at]
                assert account.open() == out
                left = [(number, each - out.get(number, 0)) for number in range(repeats + 1)]
                assert account.next_refill() == next((step for step in left if step[1] > 0), None)

    @invariant()
    def every_shelf_adds_up(self) -> None:
        """received = on hand + supplied - returned + wasted + lost + sent away, at the pharmacy whose shelf it is."""
        for name, book in self.books.items():
            shelf, count = book.shelf(feed_of(name), GTIN, UNIT), self.shelf[name]
            gone = count["shipping"] + count["removing"] + count["destroying"]
            # A return of a supply that has not reached this replica yet says neither of what nor in which unit.
            known = [
                entry
                for at, entry in enumerate(self.everything)
                if at in self.held[name]
                and at > self.begun.get(name, len(self.everything))
                and entry.type == "dispense.return"
                and entry.place.feed == feed_of(name)
                and any(self.counts(supply, at) for supply in self.held[name] if supply in self.supplies)
            ]
            returned = sum((amount_of(entry) for entry in known), Fraction(0))
            brought = sum((amount_of(entry) for entry in known if entry.content["action"] == "return"), Fraction(0))
            assert shelf.held == count["held"] + brought
            assert shelf.received == count["receiving"]
            assert shelf.on_hand == count["receiving"] - count["supplied"] + returned - gone
            assert shelf.received == (
                shelf.on_hand
                + shelf.supplied
                - shelf.undone
                - shelf.brought_back
                + shelf.shipped
                + shelf.removed
                + shelf.destroyed
            )
            assert shelf.available + shelf.held == shelf.on_hand

    def teardown(self) -> None:
        """All merge, in an order of each one's own: all say the same, and too much is found exactly where it is."""
        answers = []
        for name in PHARMACIES:
            order = list(range(len(self.everything)))
            random.Random(f"{name}{len(order)}").shuffle(order)
            for at in order:
                self.hand_over(name, at)
            accounts = [balance(self.books[name], prescription) for prescription in sorted(self.authorised)]
            answers.append((accounts, {key: repr(shelf) for key, shelf in sorted(self.books[name].shelves.items())}))
        assert answers[0] == answers[1] == answers[2]
        shuffled = [self.everything[at] for at in order]
        for find in (find_prescriptions, find_serials, find_stock):
            assert list(find(shuffled, CONTEXT)) == list(find(self.everything, CONTEXT))
        self.found_exactly_where_it_is(by_kind(find_prescriptions(shuffled, CONTEXT)))
        self.serials_exactly(by_kind(find_serials(shuffled, CONTEXT)))

    def found_exactly_where_it_is(self, found: dict[str, list[Any]]) -> None:
        """Over by number of supply; and more returned than supplied."""
        out: dict[tuple[bytes, int], Fraction] = defaultdict(Fraction)
        for at, (_, prescription, refill, quantity, _) in self.supplies.items():
            out[prescription, refill] += quantity - min(quantity, self.back(at))
        over = {
            (prescription, refill)
            for (prescription, refill), with_patient in out.items()
            if with_patient > (self.authorised[prescription][0] if refill <= self.authorised[prescription][1] else 0)
        }
        named = {(each.facts["prescription"], each.facts["refill"]) for each in found.get("overdispensed", [])}
        assert named == over
        twice = {self.everything[at].leaf for at in self.supplies if self.back(at) > self.supplies[at][3]}
        assert {each.facts["issue"] for each in found.get("returned twice", [])} == twice
        undone = {finding.places for finding in found.get("undone by another", [])}
        whose: dict[Any, list[Any]] = defaultdict(list)  # by who said so, the copies of the supply
        for at, back in self.meddled():
            whose[self.everything[back].place].append(self.everything[at].place)
        assert undone == {(min(copies), said) for said, copies in whose.items()}
        for finding in found.get("overdispensed", []):
            proof = {(place.feed, place.seq) for place in finding.places}
            for at, (_, prescription, refill, quantity, _) in self.supplies.items():
                counts = (prescription, refill) == (finding.facts["prescription"], finding.facts["refill"])
                if counts and quantity > self.back(at) and len(finding.places) < 64:
                    assert (self.everything[at].place.feed, self.everything[at].place.seq) in proof

    def serials_exactly(self, found: dict[str, list[Any]]) -> None:
        """One serial number, with the patients of two pharmacies."""
        who: dict[str, set[str]] = defaultdict(set)
        for at, (name, _, _, quantity, serial) in self.supplies.items():
            if serial and quantity > self.back(at):
                who[serial].add(name)
        twice = {serial for serial, names in who.items() if len(names) > 1}
        assert {each.facts["serial"] for each in found.get("serial supplied twice", [])} == twice


def amount_of(entry: Observed) -> Fraction:
    """How much an entry is about."""
    mantissa, exponent = entry.content["quantity"]
    return Fraction(mantissa) * Fraction(10) ** int(exponent)


def _among(at: int, known: Container[int] | None) -> bool:
    return known is None or at in known


Partitioned.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestPartitioned = Partitioned.TestCase
TestPartitioned.__doc__ = "Balances under random operations, partitions and merges."
