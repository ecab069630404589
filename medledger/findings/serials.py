"""One pack, supplied twice: a serial number stands on one pack only, so one of two such packs is falsified, or was
supplied from a replica that did not know of the other supply.

- Supplies that came back whole do not count: a pack that was undone or returned may be supplied again, anywhere.
- Supplies of one serial number by two authors do not fit together, however little of the pack each supplied: a pack is
  in one place. A pharmacy with several boxes supplies a divided pack from one of them.
- One author may divide a pack. What does not fit is more than one whole pack ({pack}), or a whole one and a part.

- *several packs of one serial*: one supply says more than one pack of a serial number.
- *supplied after it left*: a pack that its pharmacy had destroyed, lost or sent away before, by its own feed's order,
  and that had not come back since: from a supplier, from a patient, or found again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from medledger.supplies import LEAVING

from .amounts import NOTHING, amount_text
from .finding import Context, Finding, Fold, Observed
from .issues import Issue
from .prescriptions import author_name
from .proof import listed, places_of, proof
from .supply_book import Pack, SupplyBook

WHOLE: Final = "{pack}"


def find(entries: Sequence[Observed], context: Context) -> Iterator[Finding]:
    """Every serial number that was supplied where it cannot have been."""
    book = SupplyBook.of(entries)
    for pack in book.packs():
        yield from findings_of(book, pack, context)


def findings_of(book: SupplyBook, pack: Pack, context: Context) -> Iterator[Finding]:
    """What does not fit about one pack."""
    product, serial = pack
    facts: dict[str, Any] = {"product": product, "serial": serial}
    out = [issue for issue in book.issues_of(pack) if issue.open > 0]
    authors = sorted({issue.entry.place.feed for issue in out})
    if clashes(out):
        names = listed(sorted({author_name(issue.entry, context) for issue in out}), " and by ")
        places, more = proof((), out)
        said = f"serial {serial} of {product} was supplied {len(out)} times, by {names}{more}"
        yield Finding("serial supplied twice", said, places, {**facts, "authors": authors})
    for issue in out:
        if _packs(issue) > 1:
            supplied = f"{author_name(issue.entry, context)} supplied {amount_text(_packs(issue))} {WHOLE}"
            said = f"serial {serial} of {product} stands on one pack, and {supplied}"
            yield Finding("several packs of one serial", said, places_of(issue), facts)
    lives = book.lives(pack)
    leaves = {issue.entry.leaf for issue in out}
    for feed in authors:
        yield from _after_it_left(lives[feed], pack, leaves, context)


def clashes(out: Sequence[Issue]) -> bool:
    """Whether these supplies of one serial number, none of them come back whole, cannot all be of one pack."""
    if len(out) < 2:
        return False
    if len({issue.entry.place.feed for issue in out}) > 1:
        return True
    whole = sum(map(_packs, out), NOTHING)
    parts = any(issue.entry.content["unit"] != WHOLE for issue in out)
    return whole > 1 or (whole >= Fraction(1) and parts)


def _packs(issue: Issue) -> Fraction:
    """How many whole packs of it are with the patient."""
    return issue.open if issue.entry.content["unit"] == WHOLE else NOTHING


def _after_it_left(
    life: Sequence[tuple[Observed, str]], pack: Pack, out: set[bytes], context: Context
) -> Iterator[Finding]:
    """By one author's own entries."""
    for (before, state), (supply, _) in pairwise(life):
        if state in LEAVING and supply.leaf in out:
            product, serial = pack
            who = author_name(supply, context)
            said = f"serial {serial} of {product} was supplied by {who} after its own entry {state}"
            places = (before.place, supply.place)
            yield Finding("supplied after it left", said, places, {"product": product, "serial": serial})


SERIALS: Final = Fold("serial numbers", ("dispense",), frozenset(("dispense", "dispense.return", "stock")), find)
