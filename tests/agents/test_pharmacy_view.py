"""The counter's view of the replica: read block by block, it is what reading everything anew gives."""

from __future__ import annotations

import random
from pathlib import Path

from counter_world import GTIN, RX
from medledger.findings import observe
from medledger.findings.supply_book import SupplyBook
from medledger.merkle import leaf_hash
from medledger.records import Dispense, DispenseReturn, Prescription, Recall, Stock
from medledger_agents.pharmacy.view import SUPPLIES, View
from worlds import found, join, sync


def test_what_is_read_bit_by_bit_is_what_is_there(tmp_path: Path, rng: random.Random) -> None:
    """Three pharmacies write, merge in any order, one is revoked and another joins; after each step the same book."""
    with found(tmp_path) as founder:
        ledgers = [join(founder, tmp_path, f"p{n}", "pharmacy") for n in range(3)]
        sync(founder, ledgers[0])
        founder.append(Prescription(prescription=RX, product=GTIN, quantity=30, unit="{tablet}", repeats=3))
        view = View(ledgers[0])
        supplies: list[bytes] = []
        try:
            for step in range(60):
                ledger = rng.choice(ledgers)
                if ledger.state == "ready":
                    block = ledger.append(_record(rng, supplies, step))
                    assert isinstance(block.body[0], bytes)
                    supplies.append(leaf_hash(block.body[0]))
                if rng.random() < 0.5:
                    giver = rng.choice([founder, *ledgers])
                    sync(giver, ledgers[0])
                if step == 30:
                    assert ledgers[2].me is not None
                    sync(ledgers[2], founder)
                    founder.revoke(ledgers[2].me, reason="lost")
                if step == 45:
                    ledgers.append(join(founder, tmp_path, "late", "pharmacy"))
                view.catch_up()
                assert _same(view.book, SupplyBook.of(observe(ledgers[0], SUPPLIES)))
        finally:
            for ledger in ledgers:
                ledger.close()


def _record(rng: random.Random, supplies: list[bytes], step: int) -> Dispense | DispenseReturn | Stock | Recall:
    kind = rng.randrange(4)
    if kind == 0 and supplies:
        return DispenseReturn(issue=rng.choice(supplies), quantity=1, action=rng.choice(["undo", "return"]))
    if kind == 1:
        return Stock(step=rng.choice(["receiving", "holding"]), product=GTIN, quantity=2, unit="{tablet}")
    if kind == 2 and step % 7 == 0:
        return Recall(product=GTIN, lots=[f"L{step:02}"])
    return Dispense(product=GTIN, quantity=3, unit="{tablet}", prescription=RX, serial=f"S{rng.randrange(20)}")


def _same(one: SupplyBook, other: SupplyBook) -> bool:
    """Whether two books answer alike."""
    return (
        one.issues() == other.issues()
        and one.prescriptions() == other.prescriptions()
        and one.shelves == other.shelves
        and sorted(each.place for each in one.steps) == sorted(each.place for each in other.steps)
        and {product: len(found) for product, found in one.recalls.items()}
        == {product: len(found) for product, found in other.recalls.items()}
    )


def test_it_says_how_old_what_it_heard_is(tmp_path: Path) -> None:
    """The newest block of anybody else, never one of its own."""
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        view = View(mine)
        view.catch_up()
        assert founder.me is not None
        newest = max(block.header.time for block in mine.blocks(founder.me))
        assert view.as_of == newest
        mine.append(Recall(product=GTIN))
        view.catch_up()
        assert view.as_of == newest
        block = founder.append(Recall(product=GTIN))
        sync(founder, mine)
        view.catch_up()
        assert view.as_of == block.header.time
