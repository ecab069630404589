"""What the folds about medicines find, one by one: each from the fewest entries that show it, and none without them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Any

import pytest

from medledger.findings import FOLDS, prescriptions
from medledger.findings.finding import Finding, Observed
from medledger.findings.prescriptions import surely_after
from medledger.findings.supply_book import TYPES, SupplyBook
from medledger.records import Dispense, DispenseReturn, Prescription, Recall, Stock
from medledger.registry import Record
from supply_entries import GTIN, NOON, RX, Feeds, by_kind, context, feed_of

OTHER = "09520123456016"
DAY = 86_400_000
CONTEXT = context()
Make = Callable[[Feeds], Iterable[Observed]]


def order(**fields: Any) -> Prescription:
    """30 tablets, once."""
    return Prescription(**{"prescription": RX, "product": GTIN, "quantity": 30, "unit": "{tablet}", **fields})


def supply(**fields: Any) -> Dispense:
    """30 tablets on that prescription."""
    return Dispense(**{"product": GTIN, "quantity": 30, "unit": "{tablet}", "prescription": RX, **fields})


def pack(**fields: Any) -> Dispense:
    """A whole pack with a serial number."""
    return Dispense(**{"product": GTIN, "quantity": 1, "unit": "{pack}", "serial": "S", **fields})


def stock(step: str, **fields: Any) -> Stock:
    """A step of that pack."""
    return Stock(**{"step": step, "product": GTIN, "quantity": 1, "unit": "{pack}", "serial": "S", **fields})


def of(*written: tuple[str, Record]) -> Make:
    """Entries, each by its author."""
    return lambda feeds: [feeds.add(author, record) for author, record in written]


def back(quantity: object, action: str = "return", by: str = "a", first: Dispense | None = None) -> Make:
    """A supply by `a`, and what comes back of it."""

    def make(feeds: Feeds) -> Iterable[Observed]:
        issue = feeds.add("a", first or pack())
        return [issue, feeds.add(by, DispenseReturn(issue=issue.leaf, quantity=quantity, action=action))]

    return make


def both(*makes: Make) -> Make:
    """All of them."""
    return lambda feeds: [entry for make in makes for entry in make(feeds)]


CASES: dict[str, tuple[str | None, Make]] = {
    "just what is authorised": (None, of(("d", order()), ("a", supply()))),
    "each repeat once": (None, of(("d", order(repeats=1)), ("a", supply()), ("b", supply(refill=1)))),
    "one too much": ("overdispensed", of(("d", order()), ("a", supply()), ("a", supply(quantity="0.5")))),
    "two pharmacies": ("overdispensed", of(("d", order()), ("a", supply()), ("b", supply()))),
    "one repeat twice": (
        "overdispensed",
        of(("d", order(repeats=5)), ("a", supply(refill=1)), ("b", supply(refill=1))),
    ),
    "a repeat that there is not": ("overdispensed", of(("d", order()), ("a", supply(refill=1)))),
    "returned before more": (None, both(of(("d", order()), ("a", supply(quantity=10))), back(30, first=supply()))),
    "not completed": (None, of(("d", order()), ("a", supply()), ("b", supply(status="declined")))),
    "a number on paper": (None, of(("a", supply(prescription=b"p" * 16)), ("a", supply(prescription=b"p" * 16)))),
    "the same order again": (None, of(("d", order()), ("d", order()), ("a", supply()))),
    "two orders": ("prescription written twice", of(("d", order()), ("e", order(quantity=20)))),
    "the least counts": ("overdispensed", of(("d", order()), ("e", order(quantity=20)), ("a", supply()))),
    "another unit": ("other unit", of(("d", order()), ("a", supply(unit="{pack}")))),
    "another product": ("other product", of(("d", order()), ("a", supply(product=OTHER)))),
    "another product with a reason": (None, of(("d", order()), ("a", supply(product=OTHER, override="same")))),
    "a class": (None, of(("d", order(product=None, atc="N02A")), ("a", supply(product=OTHER)))),
    "after its last day": ("prescription expired", of(("d", order(expires="2027-01-13")), ("a", supply()))),
    "on its last day somewhere": (None, of(("d", order(expires="2027-01-14")), ("a", supply()))),
    "more back than out": ("returned twice", both(back(1), back("1.5", first=pack(serial="T")))),
    "undone twice": ("returned twice", back(2)),
    "undone by its supplier": (None, back(1, "undo")),
    "undone by another": ("undone by another", back(1, "undo", "b")),
    "brought back elsewhere": (None, back(1, "return", "b")),
    "back of nothing": ("return without supply", lambda feeds: list(back(1)(feeds))[1:]),
    "a pack twice, elsewhere": ("serial supplied twice", of(("a", pack()), ("b", pack()))),
    "a pack twice, here": ("serial supplied twice", of(("a", pack()), ("a", pack()))),
    "a pack after it came back": (None, both(back(1), of(("b", pack())))),
    "parts of a pack, here": (None, of(("a", pack(unit="{tablet}")), ("a", pack(unit="{tablet}")))),
    "parts of a pack, elsewhere": (
        "serial supplied twice",
        of(("a", pack(unit="{tablet}")), ("b", pack(unit="{tablet}"))),
    ),
    "a whole and a part": ("serial supplied twice", of(("a", pack()), ("a", pack(unit="{tablet}")))),
    "another product's serial": (None, of(("a", pack()), ("b", pack(product=OTHER)))),
    "after its destruction": (
        "supplied after it left",
        of(("a", stock("receiving")), ("a", stock("destroying")), ("a", pack()), ("a", stock("receiving"))),
    ),
    "after it came in again": (
        None,
        of(("a", stock("receiving")), ("a", stock("shipping")), ("a", stock("receiving")), ("a", pack())),
    ),
    "expired": ("expired supplied", of(("a", pack(expiry="2027-01-13")))),
    "on its last day": (None, of(("a", pack(expiry="2027-01-14")))),
    "recalled": ("recalled supplied", of(("r", Recall(product=GTIN, lots=["L"])), ("a", pack(lot="L")))),
    "another lot": (None, of(("r", Recall(product=GTIN, lots=["L"])), ("a", pack(lot="M")))),
    "recalled and back": (None, both(of(("r", Recall(product=GTIN))), back(1))),
    "an alert": ("pack alert", of(("a", stock("inspecting", disposition="expired")))),
    "more left than came": (
        "more left than came",
        of(("a", stock("receiving")), ("a", stock("removing", quantity=2, serial=None))),
    ),
    "held more than there is": (
        "more left than came",
        of(("a", stock("receiving")), ("a", stock("holding", quantity=2, serial=None))),
    ),
    "supplied before stock was kept": (None, of(("a", pack(serial=None)), ("a", stock("receiving")))),
    "no stock is kept": (None, of(("a", stock("removing", serial=None)))),
    "waste of a controlled drug": ("no witness", of(("a", stock("destroying", schedule="II")))),
    "waste without saying so": (
        "no witness",
        of(("b", stock("receiving", serial="T", schedule="II")), ("a", stock("destroying"))),
    ),
    "waste of another drug": (None, of(("a", stock("destroying")))),
    "a witness that nobody enrolled": (
        "invalid witness",
        of(("a", stock("destroying", schedule="II", witness=(bytes(32), bytes(64))))),
    ),
}


def found_in(entries: Sequence[Observed]) -> list[Finding]:
    """What all the folds find."""
    return [
        finding
        for fold in FOLDS
        if set(fold.needs) & TYPES
        for finding in fold.find([each for each in entries if fold.types is None or each.type in fold.types], CONTEXT)
    ]


@pytest.mark.parametrize("name", CASES)
def test_it_is_found_where_it_is(name: str, rng: random.Random) -> None:
    """Exactly that kind, with places that are among the entries; the same for every order, and for entries twice."""
    kind, make = CASES[name]
    entries = list(make(Feeds()))
    found = found_in(entries)
    kinds = set(by_kind(found))
    if name == "the least counts":
        kinds.discard("prescription written twice")
    assert kinds == ({kind} if kind else set())
    places = {entry.place for entry in entries}
    for finding in found:
        assert finding.places
        assert set(finding.places) <= places
        assert "\n" not in finding.sentence
    orders = list(permutations(entries)) if len(entries) < 4 else [rng.sample(entries, len(entries)) for _ in range(6)]
    for other in orders:
        assert found_in(other) == found
        assert found_in([*other, *other[:1]]) == found


def test_the_proof_names_both_pharmacies() -> None:
    """The order and both supplies, and who they are by."""
    entries = list(of(("d", order()), ("a", supply()), ("b", supply(quantity=5)))(Feeds()))
    (finding,) = found_in(entries)
    assert set(finding.places) == {entry.place for entry in entries}
    assert finding.facts["authors"] == sorted([feed_of("a"), feed_of("b")])
    assert (finding.facts["authorised"], finding.facts["supplied"]) == ("30", "35")


def test_nobody_makes_room_by_a_word_about_anothers_supply() -> None:
    """The supply stands, and what was supplied because of that word is too much. Who undid whose is named with both."""
    feeds = Feeds()
    entries = list(both(of(("d", order())), back(30, "undo", "b", supply(serial="S")))(feeds))
    entries.append(feeds.add("b", supply(serial="S")))
    kinds = by_kind(found_in(entries))
    assert set(kinds) == {"undone by another", "overdispensed", "serial supplied twice"}
    (undone,) = kinds["undone by another"]
    assert undone.places == (entries[1].place, entries[2].place)
    assert undone.facts["authors"] == [feed_of("b"), feed_of("a")]
    assert SupplyBook.of(entries).shelf(feed_of("b"), GTIN, "{tablet}").undone == 0


def test_too_much_by_a_second_order_says_so() -> None:
    """Who supplied may have known the first order only: both are in the proof."""
    entries = list(of(("d", order()), ("a", supply()), ("e", order(quantity=20)))(Feeds()))
    (finding,) = by_kind(found_in(entries))["overdispensed"]
    assert finding.sentence.endswith(", by the least of 2 orders that differ")
    assert {entry.place for entry in entries} == set(finding.places)


@pytest.mark.parametrize(
    ("content", "lot", "serial", "named"),
    [
        ({}, "L", "S", True),
        ({"lots": ["L"]}, "L", "S", True),
        ({"lots": ["L"]}, "M", "S", False),
        ({"lots": ["L"]}, None, "S", True),
        ({"serials": ["S"]}, "L", "S", True),
        ({"serials": ["S"]}, "L", "T", False),
        ({"serials": ["S"]}, "L", None, True),
        ({"lots": ["L"], "serials": ["S"]}, "M", "S", True),
        ({"lots": ["L"], "serials": ["S"]}, "M", "T", False),
    ],
)
def test_what_a_recall_names(content: dict[str, Any], lot: str | None, serial: str | None, named: bool) -> None:
    """Lots or serials, all of it where neither is named, and what may be one of them."""
    book = SupplyBook.of(of(("r", Recall(product=GTIN, **content)))(Feeds()))
    assert (book.recalled(feed_of("a"), GTIN, lot, serial) is not None) is named
    assert book.recalled(feed_of("a"), OTHER, lot, serial) is None


def test_a_day_is_over_when_it_is_everywhere() -> None:
    """Noon of 15 January 2027 in Greenwich: the 13th is over on all of Earth, the 14th perhaps not; odd clocks too."""
    assert surely_after(NOON, "2027-01-13")
    assert not surely_after(NOON, "2027-01-14")
    assert surely_after(NOON + DAY, "2027-01-14")
    assert surely_after(2**62, "2027-01-14")
    assert not surely_after(-(2**62), "2027-01-14")


def test_a_copied_entry_takes_nothing_from_its_author() -> None:
    """The bytes of a supply and of a receipt in another feed: in any order each author has its own, the undo is the
    first one's, and nobody is accused of it.
    """
    feeds = Feeds()
    received = feeds.add("north", Stock(step="receiving", product=GTIN, quantity=30, unit="{tablet}"))
    supply = feeds.add("north", Dispense(product=GTIN, quantity=10, unit="{tablet}", serial="S1"))
    undo = feeds.add("north", DispenseReturn(issue=supply.leaf, quantity=10, action="undo"))
    taken = feeds.add("east", Stock(step="receiving", product=GTIN, quantity=1, unit="{tablet}"))
    brought = feeds.add("east", DispenseReturn(issue=supply.leaf, quantity=4, action="return"))
    copies = [feeds.copy("south", entry) for entry in (received, supply)]
    entries = [received, supply, undo, taken, brought, *copies]
    for order in random.Random(1).sample(list(permutations(entries)), 300):
        book = SupplyBook.of(order)
        mine, other = (book.issue(supply.leaf, feed_of(name)) for name in ("north", "south"))
        assert mine is not None
        assert other is not None
        assert (mine.open, other.open) == (0, 6)
        shelves = [book.shelf(feed_of(name), GTIN, "{tablet}") for name in ("north", "south", "east")]
        assert [(shelf.available, shelf.held) for shelf in shelves] == [(30, 0), (20, 0), (1, 4)]
        assert {finding.kind for finding in prescriptions.find(list(order), CONTEXT)} == {"returned twice"}
