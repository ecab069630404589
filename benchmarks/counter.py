"""The start of a pharmacy's counter: it may not grow with what pharmacies recorded.

A start is a new view over the ledger up to its answer about a prescription, after which requests are taken. A ledger
with many supplies and one with few take turns; compared are the medians. What it costs to read all of the ledger, when
there is no register yet, is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger.records import Dispense
from medledger_agents.pharmacy.view import View

from .measure import Line, in_turns, line, seconds
from .scale import Scale

GTIN = "09520123456016"
FEW = 10
PER_BLOCK = 64
START_BAR = 2.0  # both are milliseconds, of which SQLite's opening is most


def counter_start(place: Path, scale: Scale) -> Iterator[Line]:
    """With many supplies, against few."""
    many = scale.supplies
    paths = [_pharmacy(place / str(count), count) for count in (many, FEW)]
    anew = seconds(lambda: _start(paths[0]))
    _start(paths[1])
    large, small = map(median, in_turns([lambda: _start(paths[0]), lambda: _start(paths[1])], scale.opens))
    yield line(
        "counter-start",
        large * 1e3,
        "ms",
        reference=f"{FEW} supplies ({small * 1e3:.2f} ms); without a register {anew * 1e3:.0f} ms, once",
        ratio=large / small,
        bar=START_BAR,
        method=f"medians of {scale.opens} rounds, {many} supplies, taken in turns",
        result=[many],
    )


def _pharmacy(place: Path, supplies: int) -> Path:
    """The directory of a pharmacy that made so many supplies."""
    place.mkdir()
    founder = Identity.load_or_create(place / "box.key")
    with Ledger.create(place / "ledger.db", founder, name="Benchmarks", roles=["pharmacy"]) as ledger:
        for at in range(0, supplies, PER_BLOCK):
            ledger.append(*map(_supply, range(at, min(at + PER_BLOCK, supplies))))
        ledger.index()
    return place


def _supply(number: int) -> Dispense:
    prescription = number.to_bytes(16, "big")
    return Dispense(product=GTIN, quantity=1, unit="{pack}", serial=f"S{number}", prescription=prescription)


def _start(place: Path) -> None:
    with Ledger.open(place / "ledger.db", Identity.load(place / "box.key")) as ledger:
        view = View(ledger, place / "register.db")
        view.catch_up()
        assert view.book(("prescription", bytes(16))).issues()
        view.close()
