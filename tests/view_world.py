"""For tests of the counter's view: entries of all kinds, what reading all of them says, and what is read for it."""

from __future__ import annotations

import random
from itertools import groupby
from pathlib import Path
from typing import Any

from counter_world import GTIN, RX
from medledger import Ledger
from medledger.findings import Fold, observe
from medledger.findings.prescriptions import balance
from medledger.findings.supply_book import TYPES, SupplyBook
from medledger.records import Dispense, DispenseReturn, Recall, Record, Stock
from medledger_agents.pharmacy.view import View

SUPPLIES = Fold("supplies", tuple(sorted(TYPES)), TYPES, lambda _entries, _context: ())
PRODUCTS = (GTIN, "07032069804988")
LOTS = ("L1", "L2")


def any_record(rng: random.Random, supplies: list[bytes]) -> Record:
    """One entry, which may take back one of these supplies."""
    kind, product = rng.randrange(10), rng.choice(PRODUCTS)
    serial = rng.choice([None, "S1", "S2", "S3", "S4"])
    lot = rng.choice(LOTS)
    if kind < 3 and supplies:
        return DispenseReturn(issue=rng.choice(supplies), quantity=1, action=rng.choice(["undo", "return"]))
    if kind < 6:
        step = rng.choice(["receiving", "receiving", "holding", "storing", "destroying", "inspecting"])
        schedule = rng.choice([None, "II", "CD2"])
        return Stock(step=step, product=product, quantity=2, unit="{tablet}", serial=serial, schedule=schedule, lot=lot)
    if kind == 6:
        return Recall(product=product, lots=[lot])
    prescription = rng.choice([RX, bytes(16), None])
    return Dispense(product=product, quantity=3, unit="{tablet}", prescription=prescription, serial=serial, lot=lot)


def assert_says_what_is_there(view: View, ledger: Ledger) -> None:
    """The same about everything as a book of all entries."""
    whole = SupplyBook.of(observe(ledger, SUPPLIES), ledger.membership)
    me = view.me
    for name in (RX, bytes(16)):
        assert balance(view.book(("prescription", name)), name) == balance(whole, name)
    for product in PRODUCTS:
        assert view.schedule(product) == whole.schedules.get(product)
        for serial in ("S1", "S2", "S3", "S4"):
            pack = (product, serial)
            book = view.book(("pack", pack), ("recalls", product))
            assert book.issues_of(pack) == whole.issues_of(pack)
            assert book.life(me, pack) == whole.life(me, pack)
            assert book.shelf_of_pack(me, pack, "{tablet}") == whole.shelf_of_pack(me, pack, "{tablet}")
            for lot in (*LOTS, None):
                assert book.recalled(me, product, lot, serial) == whole.recalled(me, product, lot, serial)
        assert view.shelf(product, "{tablet}") == whole.shelf(me, product, "{tablet}")
    for leaf, alike in groupby(sorted(whole.issues(), key=lambda each: each.entry.leaf), lambda each: each.entry.leaf):
        assert view.book(("supply", leaf)).issues() == list(alike)
    for step in whole.steps:
        if step.content["step"] == "inspecting" and step.place.feed == me:
            assert view.inspected(step.content)
    anew = View(ledger, view._path.with_name("anew.db"))
    try:
        anew.catch_up()
        assert list(anew.conflicts()) == list(view.conflicts())
        assert anew.as_of == view.as_of
    finally:
        anew.close()
        for path in view._path.parent.glob("anew.db*"):
            path.unlink()


class Counting:
    """A ledger that counts the blocks that are asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.blocks_read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def block(self, feed: bytes, seq: int) -> Any:
        self.blocks_read += 1
        return self._ledger.block(feed, seq)

    def blocks(self, feed: bytes, start: int, stop: int) -> Any:
        for block in self._ledger.blocks(feed, start, stop):
            self.blocks_read += 1
            yield block


def start(ledger: Ledger, path: Path) -> Counting:
    """What a start reads."""
    counting = Counting(ledger)
    view = View(counting, path)  # type: ignore[arg-type]
    try:
        view.catch_up()
    finally:
        view.close()
    return counting


def numbered(number: int) -> Dispense:
    """A supply with a serial number and a prescription of its own."""
    return Dispense(product=GTIN, quantity=1, unit="{tablet}", serial=f"N{number}", prescription=b"%016d" % number)
