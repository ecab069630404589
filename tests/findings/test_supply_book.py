"""The supply book against the obvious slow way to say the same, and what a hostile member can make an auditor pay."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from medledger.findings import FOLDS, Finding, Observed, find
from medledger.findings.amounts import amount
from medledger.findings.proof import MAX_NAMES, MAX_PLACES
from medledger.findings.shelf import Shelf, move_of
from medledger.findings.supply_book import TYPES, SupplyBook
from medledger.records import Dispense, DispenseReturn, Prescription, Stock
from supply_entries import GTIN, RX, Feeds, by_kind, context, feed_of
from worlds import found

CONTEXT = context()
AUTHORS = ("a", "b", "c")
TABLETS = {"product": GTIN, "unit": "{tablet}"}


# --- the obvious slow way ---------------------------------------------------------------------------------------------


def slow_returns(entries: Sequence[Observed], supply: Observed) -> list[Observed]:
    """All entries that name this supply, but for an undo by somebody else."""
    named = (each for each in entries if each.type == "dispense.return" and each.content["issue"] == supply.leaf)
    counts = (each for each in named if each.content["action"] != "undo" or each.place.feed == supply.place.feed)
    return sorted(counts, key=lambda each: each.place)


def slow_disowned(entries: Sequence[Observed]) -> list[tuple[Observed, Observed]]:
    """Each undo that counts for none of the supplies that it names, with the first of them."""
    found = []
    for back in (each for each in entries if each.type == "dispense.return"):
        named = sorted((each for each in entries if each.leaf == back.content["issue"]), key=lambda each: each.place)
        if named and not any(back in slow_returns(entries, supply) for supply in named):
            found.append((named[0], back))
    return sorted(found, key=lambda each: (each[0].place, each[1].place))


def slow_shelf(entries: Sequence[Observed], feed: bytes, serial: str | None) -> Shelf:
    """Every move of one author, of all its stock or of one pack; what comes back counts once."""
    supplies = [each for each in entries if each.type == "dispense"]
    shelf = Shelf()
    for entry in sorted(entries, key=lambda each: each.place):
        about = next((each for each in supplies if entry in slow_returns(entries, each)), None)
        about = about if entry.type == "dispense.return" else entry
        if entry.place.feed == feed and about is not None and serial in (None, about.content.get("serial")):
            shelf.add(move_of(entry))
    return shelf


def anything(rng: random.Random) -> list[Observed]:
    """Supplies, receipts, returns by anybody, and copies in any feed, in any order."""
    feeds = Feeds()
    found: list[Observed] = []
    for _ in range(rng.randrange(2, 16)):
        who, serial, kind = rng.choice(AUTHORS), rng.choice(["S", "T"]), rng.randrange(5)
        supplies = [each for each in found if each.type == "dispense"]
        if kind == 0:
            found.append(feeds.add(who, Stock(step="receiving", quantity=4, serial=serial, **TABLETS)))
        elif kind < 3 or not supplies:
            found.append(feeds.add(who, Dispense(quantity=3, serial=serial, **TABLETS)))
        elif kind == 3:
            action = rng.choice(["undo", "return"])
            found.append(feeds.add(who, DispenseReturn(issue=rng.choice(supplies).leaf, quantity=2, action=action)))
        else:
            found.append(feeds.copy(who, rng.choice(supplies)))
    return rng.sample(found, len(found))


def test_it_says_what_the_slow_way_says(rng: random.Random) -> None:
    """Whatever was copied and returned by whom, and in whatever order it came."""
    for _ in range(150):
        entries = anything(rng)
        book = SupplyBook.of(entries)
        for issue in book.issues():
            returns = slow_returns(entries, issue.entry)
            assert list(issue) == [issue.entry, *returns]
            assert len(issue) == 1 + len(returns)
            assert issue.given_back == sum((amount(each.content["quantity"]) for each in returns), Fraction(0))
        assert [(issue.entry, back) for issue, back in book.disowned()] == slow_disowned(entries)
        for feed in map(feed_of, AUTHORS):
            assert book.shelf(feed, GTIN, "{tablet}") == slow_shelf(entries, feed, None)
            for serial in ("S", "T"):
                assert book.shelf_of_pack(feed, (GTIN, serial), "{tablet}") == slow_shelf(entries, feed, serial)
                life = [entry for entry, _ in book.life(feed, (GTIN, serial))]
                assert len(life) == len({entry.place for entry in life})


# --- hostile members --------------------------------------------------------------------------------------------------


def copies_and_returns(size: int) -> list[Observed]:
    """One pharmacy's many copies of one supply, and as many returns of it."""
    feeds = Feeds()
    supply = feeds.add("a", Dispense(quantity=1, serial="S", prescription=RX, **TABLETS))
    backs = [DispenseReturn(issue=supply.leaf, quantity=1, action="return") for _ in range(size)]
    return [supply, *(feeds.copy("a", supply) for _ in range(size)), *(feeds.add("a", back) for back in backs)]


def copies_and_foreign_undos(size: int) -> list[Observed]:
    """The same, where somebody else said again and again that it never left the counter."""
    feeds = Feeds()
    supply = feeds.add("a", Dispense(quantity=1, serial="S", **TABLETS))
    undo = DispenseReturn(issue=supply.leaf, quantity=1, action="undo")
    return [supply, *(feeds.add("b", undo) for _ in range(size)), *(feeds.copy("a", supply) for _ in range(size))]


def one_serial_everywhere(size: int) -> list[Observed]:
    """Many members that supplied one pack, each of which destroyed it before."""
    feeds = Feeds()
    names = [f"n{n}" for n in range(size)]
    supply = feeds.add("a", Dispense(quantity=1, serial="S", **TABLETS))
    left = [feeds.add(name, Stock(step="destroying", quantity=1, serial="S", **TABLETS)) for name in names]
    return [supply, *left, *(feeds.copy(name, supply) for name in names)]


def orders_and_supplies(size: int) -> list[Observed]:
    """One prescription, written again and again with a last day that is over, and supplied as often."""
    feeds = Feeds()
    days = [f"20{10 + n % 10}-01-01" for n in range(size)]
    orders = [feeds.add("d", Prescription(prescription=RX, quantity=1, expires=day, **TABLETS)) for day in days]
    supplies = [Dispense(quantity=1, prescription=RX, refill=1 + n % 99, **TABLETS) for n in range(size)]
    return [*orders, *(feeds.add("a", supply) for supply in supplies)]


HOSTILE: dict[str, Callable[[int], list[Observed]]] = {
    each.__name__: each
    for each in (copies_and_returns, copies_and_foreign_undos, one_serial_everywhere, orders_and_supplies)
}


def findings_and_cost(entries: Sequence[Observed]) -> tuple[list[Finding], int]:
    """What all folds about supplies find, and how many instructions of Python the package of findings took for it."""
    count = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        if event == "call":
            if "/medledger/findings/" not in frame.f_code.co_filename:
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += 1
        return trace

    found: list[Finding] = []
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for fold in FOLDS:
            if set(fold.needs) & TYPES:
                found += fold.find([each for each in entries if each.type in (fold.types or ())], CONTEXT)
    finally:
        sys.settrace(before)
    return found, count


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_costs_what_it_wrote(name: str) -> None:
    """Three times as many entries take less than four times the instructions (by the product it would be nine), and
    three times as many findings at most. Each names a bounded part of its proof, and says that there is more.
    """
    few, many = (HOSTILE[name](size) for size in (200, 600))
    assert len(many) < 3.02 * len(few)
    (found, cost), (found_more, cost_more) = findings_and_cost(few), findings_and_cost(many)
    assert cost_more < 4 * cost
    assert len(found) <= len(found_more) <= 3.02 * len(found)
    for finding in found_more:
        assert 0 < len(finding.places) <= MAX_PLACES
        assert len(finding.sentence) < 2_000


def test_what_is_left_out_is_counted() -> None:
    """A serial number that very many supplied: the first entries and the first names, and how many more there are."""
    (finding,) = by_kind(findings_and_cost(one_serial_everywhere(100))[0])["serial supplied twice"]
    assert "was supplied 101 times" in finding.sentence
    assert f" and by {101 - MAX_NAMES} more; {101 - MAX_PLACES} more entries show it" in finding.sentence
    assert len(finding.facts["authors"]) == 101


def test_nobody_s_entries_leave_out_another_s() -> None:
    """Of a prescription that was written and supplied again and again by some, the order that counts and a supply by
    each pharmacy are shown, however many entries stand before them.
    """
    feeds = Feeds()
    orders = [Prescription(prescription=RX, quantity=2 + n, **TABLETS) for n in range(2 * MAX_PLACES)]
    written = [feeds.add("a", order) for order in orders]
    supply = Dispense(quantity=2, prescription=RX, **TABLETS)
    supplied = [feeds.add(name, supply) for name in ("b", *["c"] * MAX_PLACES, "d")]
    (finding,) = by_kind(findings_and_cost([*written, *supplied])[0])["overdispensed"]
    assert len(set(finding.places)) == len(finding.places) == MAX_PLACES
    assert {each.place for each in (written[0], supplied[0], supplied[1], supplied[-1])} <= set(finding.places)


# --- several packs of one number --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "unit", "returned", "said"),
    [
        (2, "{pack}", None, "and a supplied 2 {pack}"),
        ("1.5", "{pack}", None, "and a supplied 1.5 {pack}"),
        (3, "{pack}", 1, "and a supplied 2 {pack}"),
        (2, "{pack}", 1, None),
        (1, "{pack}", None, None),
        (30, "{tablet}", None, None),
    ],
)
def test_one_supply_of_several_packs(quantity: Any, unit: str, returned: int | None, said: str | None) -> None:
    """A serial number stands on one pack: one supply of more than one does not fit, alone; tablets of it may be many,
    and what came back counts no more.
    """
    feeds = Feeds()
    entries = [feeds.add("a", Dispense(product=GTIN, quantity=quantity, unit=unit, serial="S"))]
    if returned is not None:
        entries.append(feeds.add("a", DispenseReturn(issue=entries[0].leaf, quantity=returned, action="return")))
    kinds = by_kind(findings_and_cost(entries)[0])
    assert set(kinds) == ({"several packs of one serial"} if said else set())
    for finding in kinds.get("several packs of one serial", ()):
        assert said is not None
        short = feed_of("a").hex()[:8]
        assert finding.sentence == f"serial S of {GTIN} stands on one pack, {said.replace(' a ', f' {short} ')}"
        assert set(finding.places) == {entry.place for entry in entries}


def test_one_supply_of_several_packs_is_found_in_a_ledger(tmp_path: Path) -> None:
    """By the whole way that an audit takes."""
    with found(tmp_path) as ledger:
        ledger.append(Dispense(product=GTIN, quantity=2, unit="{pack}", serial="S"))
        assert [finding.kind for finding in find(ledger)] == ["several packs of one serial"]
