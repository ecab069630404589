"""What the operations at the counter share: the replica's view, the settings, this place's time, and what a scan names.

An operation makes a `Plan`: the records that would be logged and what the reply would say. Making one changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from medledger.clock import RELEASED
from medledger.decimals import Exact, to_exact
from medledger.findings.amounts import amount, amount_text
from medledger.findings.serials import WHOLE
from medledger.findings.shelf import Shelf
from medledger.registry import Record
from medledger_bridge.gs1 import Scan

from ..subjects import Subjects
from .config import DispensingSection
from .requests import RefusedError, Request, malformed, prescription_id
from .view import View

ReadScan = Callable[[str, date], Scan]
STAFF = "staff"
"""Under which issuer an operator's number becomes a pseudonym."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an operation comes to."""

    records: tuple[Record, ...]
    shown: Mapping[str, Any] = field(default_factory=dict)
    witness: bool = False  # whether it takes a second person
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Desk:
    """One request's surroundings."""

    view: View
    settings: DispensingSection
    subjects: Subjects
    read_scan: ReadScan
    now: datetime  # by this place's clock
    raw: bytes  # what the request is named by (`Subjects.request`)

    @property
    def today(self) -> date:
        """This place's calendar."""
        return self.now.date()

    @property
    def at(self) -> int:
        """UTC ms."""
        return int(self.now.timestamp() * 1000)

    def check_clock(self) -> None:
        """That expiry can be judged."""
        if self.at < RELEASED:
            raise RefusedError(
                "clock",
                f"this box's clock says {self.today.isoformat()}, which cannot be right: expiry cannot be judged",
                hint="Set the clock (timedatectl), then scan again.",
            )

    def scan(self, request: Request) -> Scan:
        """The pack that the request's scan names. Raises `ScanError`."""
        return self.read_scan(request.get("scan"), self.today)

    def quantity(self, request: Request, *, scan: Scan | None = None, default: str | None = None) -> Exact:
        """How much, of the pack that was scanned. Raises `RefusedError` for nothing and for more than that pack."""
        given = request.get("quantity")
        found = to_exact(str(given if given is not None else default or self.settings.quantity))
        if found[0] <= 0:
            raise malformed("the quantity must be more than nothing")
        if scan is not None and scan.serial is not None and self.unit(request) == WHOLE and amount(found) > 1:
            raise RefusedError(
                "one-pack",
                f"serial {scan.serial} stands on one pack, and asked for are {amount_text(amount(found))}",
                hint="Scan each pack.",
            )
        return found

    def unit(self, request: Request) -> str:
        """Of what."""
        return str(request.get("unit") or self.settings.unit)

    def operator(self, request: Request) -> bytes | None:
        """Who asks, as the ledger may know it."""
        number = request.get("operator")
        return None if number is None else self.subjects.subject(number, STAFF, self.at)

    def prescription(self, text: str) -> bytes:
        """A prescription's id: the shared one, or what stands for a number of this pharmacy's own."""
        shared = prescription_id(text)
        return self.subjects.prescription(text) if shared is None else shared

    def shelf(self, product: str, unit: str) -> Shelf:
        """What this pharmacy has of a product."""
        return self.view.shelf(product, unit)

    def counts(self, product: str, unit: str) -> bool:
        """Whether this pharmacy keeps that product's stock on the ledger; then the unit must be one it counts in."""
        units = [known for (_, known), shelf in self.view.shelves(product).items() if shelf.received > 0]
        if units and unit not in units:
            raise RefusedError(
                "unit",
                f"stock of {product} is counted in {' and '.join(sorted(units))}, not in {unit}",
                hint=f"Say how much in it: quantity=... unit={min(units)}.",
            )
        return bool(units)

    def check_enough(self, product: str, unit: str, wanted: Exact, *, held: bool) -> None:
        """That so much of it is there: what was never received is, unless only what was received counts."""
        if not self.counts(product, unit):
            if self.settings.only_received:
                raise RefusedError("not-in-stock", f"no {product} was ever received here", hint="Receive it first.")
            return
        shelf = self.shelf(product, unit)
        there: Fraction = shelf.held if held else shelf.available
        if amount(wanted) > there:
            where = "in quarantine" if held else "on the shelf"
            raise RefusedError(
                "not-in-stock",
                f"there are {amount_text(there)} {unit} of {product} {where}, by what was recorded",
                hint="Count; receive what was not scanned in, or release what is in quarantine.",
            )


def described(scan: Scan) -> dict[str, Any]:
    """The parts of a scan that are there."""
    found = {"product": scan.gtin, "lot": scan.lot, "expiry": scan.expiry, "serial": scan.serial}
    return {name: value for name, value in found.items() if value is not None}
