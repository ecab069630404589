"""What does not fit between this pharmacy's supplies and what others wrote, about one subject at a time.

- An entry that comes makes its subjects doubtful (`subjects_of`). They are put into the register and judged when all
  is read, each once, however many entries were about it; after a kill -9 what was not judged yet still is to be.
- A recall makes all our supplies of its product doubtful: there may be very many of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from medledger.findings import Finding, Observed, prescriptions, recalls, serials
from medledger.findings.supply_book import SupplyBook

from .keys import Subject, key_of

if TYPE_CHECKING:
    from .view import View


def subjects_of(view: View, entry: Observed) -> Iterator[Subject]:
    """What an entry is about; a return's subjects are those of its supply."""
    if entry.type == "recall":
        yield "recalls", entry.content["product"]
        return
    if entry.type == "dispense.return":
        supply = next(view.at(view.register.first(("leaf", entry.content["issue"]))), None)
        if supply is None:
            return
        entry = supply
    content = entry.content
    if entry.place.feed == view.me and view.register.holds(("recalls", content.get("product"))):
        yield "supply", entry.leaf
    if "prescription" in content:
        yield "prescription", content["prescription"]
    if "serial" in content:
        yield "pack", (content["product"], content["serial"])


def is_about_us(view: View, entry: Observed) -> bool:
    """Whether something of ours may be in a finding about its subjects, as far as it alone tells."""
    brought = entry.type == "dispense" and view.register.holds(("issue", entry.leaf), ours=True)
    return entry.place.feed == view.me or entry.type == "recall" or brought


class Judge:
    """Judges one subject after the other, while nothing is read."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._recalls: dict[str, SupplyBook] = {}  # by product: each recall is read once for all supplies

    def settle(self, subject: Subject) -> list[Finding]:
        """Look again at a subject, and keep what is found; the findings that were not known."""
        register = self._view.register
        match subject:
            case ("recalls", product):
                register.doubt(("ours", (place.seq, place.at)) for place in register.find(("ours", product)))
                return []
            case ("ours", (seq, index)):
                supply = next(self._view.at([register.ours(seq, index)]), None)
                if supply is None or not self._is_recalled(supply):
                    return []
                subject = ("supply", supply.leaf)
        found = [each for each in self._findings(subject) if self._is_ours(each)]
        known = {each.places for each in register.conflicts_about(subject)}
        register.set_conflicts(subject, found)
        return [each for each in found if each.places not in known]

    def _is_ours(self, finding: Finding) -> bool:
        """Whether it is about something of ours, of which the proof may show none where others wrote very much."""
        me = self._view.me
        return me in finding.facts.get("authors", ()) or any(at.feed == me for at in finding.places)

    def _findings(self, subject: Subject) -> Iterator[Finding]:
        view = self._view
        match subject:
            case ("prescription" | "pack", _) if len(view.register.find(key_of(subject))) < 2:
                return  # one entry alone fits
            case ("prescription", name):
                found = prescriptions.findings_of(prescriptions.balance(view.book(subject), name), view.context)
                yield from (each for each in found if each.kind == "overdispensed")
            case ("pack", pack):
                yield from serials.findings_of(view.book(subject), pack, view.context)
            case ("supply", leaf):
                issue = view.book(subject).issue(leaf, view.me)
                if issue is not None and issue.open > 0:
                    found = recalls.findings_of(self._recalls_of(issue.entry.content["product"]), issue, view.context)
                    yield from (each for each in found if each.kind == "recalled supplied")

    def _is_recalled(self, supply: Observed) -> bool:
        content = supply.content
        product, lot, serial = content["product"], content.get("lot"), content.get("serial")
        return self._recalls_of(product).recalled(self._view.me, product, lot, serial) is not None

    def _recalls_of(self, product: str) -> SupplyBook:
        if product not in self._recalls:
            self._recalls[product] = self._view.book(("recalls", product))
        return self._recalls[product]
