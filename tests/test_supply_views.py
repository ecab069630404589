"""What people query of medicines: the views, and that a file of the release before is brought up to them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from medledger import Ledger
from medledger.merkle import leaf_hash
from medledger.records import Dispense, DispenseReturn, Prescription, Recall, Stock
from supply_entries import GTIN, RX
from worlds import found

VIEWS = ("prescriptions", "returns", "stock_steps", "recalls")


def write(ledger: Ledger) -> None:
    """One entry of each type."""
    ledger.append(Prescription(prescription=RX, quantity="2.5", unit="mg", product=GTIN, repeats=1))
    supply = ledger.append(Dispense(product=GTIN, quantity="2.5", unit="mg", prescription=RX))
    assert isinstance(supply.body[0], bytes)
    ledger.append(DispenseReturn(issue=leaf_hash(supply.body[0]), quantity=1, action="return"))
    ledger.append(Stock(step="holding", product=GTIN, quantity=1, unit="mg", disposition="returned"))
    ledger.append(Recall(product=GTIN, lots=["A", "B"], level="II"))


def rows(path: Path, view: str, columns: str) -> list[tuple[object, ...]]:
    """A query as people make it, of a copy."""
    with sqlite3.connect(path) as database:
        found_rows = database.execute(f"SELECT {columns} FROM {view}").fetchall()
    database.close()
    return found_rows


def test_the_views_say_what_the_entries_say(tmp_path: Path) -> None:
    """With the author's label, in plain numbers and hexadecimal."""
    with found(tmp_path) as ledger:
        write(ledger)
        ledger.index()
        ledger.backup(tmp_path / "copy.db")
    copy = tmp_path / "copy.db"
    assert rows(copy, "prescriptions", "author, prescription, quantity, unit, repeats") == [
        ("founder", RX.hex(), 2.5, "mg", 1)
    ]
    assert rows(copy, "returns", "quantity, action") == [(1.0, "return")]
    assert rows(copy, "stock_steps", "step, product, quantity, disposition") == [("holding", GTIN, 1.0, "returned")]
    assert rows(copy, "recalls", "lots, level") == [('["A","B"]', "II")]


def test_a_file_of_the_release_before_opens(tmp_path: Path) -> None:
    """Its views come, and entries that were of an unknown type there are read again."""
    with found(tmp_path) as ledger:
        write(ledger)
        ledger.index()
        digest = ledger.digest()
    path = tmp_path / "founder.db"
    database = sqlite3.connect(path)
    with database:
        for view in VIEWS:
            database.execute(f"DROP VIEW {view}")
        database.execute("DELETE FROM _sqlite_migrations WHERE name = 'add_supplies'")
        database.execute("UPDATE entries SET void = 'unknown-type' WHERE type IN (SELECT no FROM entry_types "
                         "WHERE name IN ('prescription', 'dispense.return', 'stock', 'recall'))")  # fmt: skip
        database.execute("PRAGMA user_version = 1")
    database.close()
    with Ledger.open(path) as ledger:
        assert ledger.digest() == digest
        for name in ("prescription", "dispense", "dispense.return", "stock", "recall"):
            assert len(list(ledger.entries(name))) == 1
        ledger.check_indexes()
        ledger.backup(tmp_path / "copy.db")
    assert len(rows(tmp_path / "copy.db", "prescriptions", "*")) == 1
