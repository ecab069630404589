"""Medicines: the record types of prescribing, stock, supply, return and recall.

Rules:

- A *prescription* authorises `quantity` of something once, and again `repeats` times. Its id is 16 random bytes that
  the prescriber made and every pharmacy gets: supplies of one prescription meet under it wherever they were made.
- A *dispense* supplies. A *dispense.return* takes back from exactly one dispense, which it names by the leaf hash of
  its entry: product, unit, pack and prescription are those of that entry and are not said again.
- *stock* is one step of a pack or a quantity, in the words of GS1's Core Business Vocabulary:

      receiving   came in                        shipping    went back to the supplier, or on to another pharmacy
      holding     put into quarantine            removing    lost, stolen, or missing at a count
      storing     released from quarantine       destroying  wasted
      inspecting  looked at after an alert: nothing moves, and all replicas know

  `source` is `holding` where what leaves was in quarantine. Supplies come out of what is not.
- A *recall* names lots, or serial numbers, or both; one that names neither means all of the product.
- A *witness* is a second person, `[key, signature]`, who signs with a key of their own over the deterministic CBOR of
  `["medledger/supply-witness/1", ledger id, author, type, time, subject, content without witness]`. Whether that person
  may be one is judged by findings/witnesses.py. An entry whose witness' signature is wrong is still an entry.
- Nothing here can hold a name or a staff number: `operator` is the pharmacy's own keyed pseudonym.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Final

from . import cbor
from .decimals import to_exact
from .errors import SchemaError
from .registry import RecordBase, record
from .samples import UNIT, Value
from .schema import Array, Bytes, ByType, Decimal, Int, Map, OneOf, Remembered, Text, Tuple, Validator, Where

WITNESS_DOMAIN: Final = "medledger/supply-witness/1"

DISPENSE_STATUS: Final = (  # FHIR MedicationDispense.status
    "preparation",
    "in-progress",
    "on-hold",
    "completed",
    "stopped",
    "cancelled",
    "declined",
    "entered-in-error",
    "unknown",
)
STEPS: Final = ("receiving", "inspecting", "holding", "storing", "shipping", "removing", "destroying")  # CBV bizStep
LEAVING: Final = frozenset(("shipping", "removing", "destroying"))
DISPOSITIONS: Final = (  # CBV: what is the matter with it, where something is
    "expired",
    "recalled",
    "damaged",
    "returned",
    "stolen",
    "dispensed",
    "destroyed",
    "mismatch_serial",
    "mismatch_class",
    "unknown",
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ATC: Final = re.compile(r"[A-Z](?:[0-9]{2}(?:[A-Z](?:[A-Z](?:[0-9]{2})?)?)?)?")


def _gtin_problem(gtin: str) -> str | None:
    if not (len(gtin) == 14 and gtin.isascii() and gtin.isdigit()):
        return "must be a GTIN of 14 digits"
    total = sum(map(int, gtin[-1::-2])) + 3 * sum(map(int, gtin[-2::-2]))
    return None if total % 10 == 0 else "must be a GTIN with a right check digit"


def check_gtin(gtin: str) -> None:
    """Nothing when `gtin` is a GTIN-14 with a right check digit; otherwise SchemaError."""
    problem = _gtin_problem(gtin)
    if problem is not None:
        raise SchemaError(f"the product {problem}")


def _date_problem(text: str) -> str | None:
    if not _DATE.fullmatch(text):  # fromisoformat also takes 20260131 and 2026-W05-6
        return "must be a date, YYYY-MM-DD"
    try:
        date.fromisoformat(text)
    except ValueError:
        return "must be a date that exists"
    return None


def _not_negative(value: Any) -> str | None:
    return "must not be negative: a return is an event of its own" if value[0] < 0 else None


def _positive(value: Any) -> str | None:
    return None if value[0] > 0 else "must be more than nothing"


def _atc_problem(text: str) -> str | None:
    return None if _ATC.fullmatch(text) else "must be a code of the ATC classification, such as N02AA01 or N02A"


def _itself(item: str) -> str:
    return item


GTIN: Final = Remembered(Where(Text(14, 14), _gtin_problem))
DATE: Final = Remembered(Where(Text(10, 10), _date_problem))
LOT: Final = Text(1, 20)  # GS1 AI (10)
SERIAL: Final = Text(1, 20)  # GS1 AI (21)
AMOUNT: Final = Where(Decimal(), _positive)
SCHEDULE: Final = Text(1, 16)
REASON: Final = Text(1, 80)
OPERATOR: Final = Bytes(16)
HASH: Final = Bytes(32)
WITNESS: Final = Tuple(Bytes(32), Bytes(64))


def witness_message(
    ledger_id: bytes, author: bytes, type_name: str, time: int, subject: bytes | None, content: Mapping[str, Any]
) -> bytes:
    """What a witness signs of an entry that `author` is about to write. `content` may hold a witness or none."""
    said = {name: value for name, value in content.items() if name != "witness"}
    return cbor.encode([WITNESS_DOMAIN, ledger_id, author, type_name, time, subject, said])


# --- prescriptions ------------------------------------------------------------------------------------------------


def _what_problem(content: Any) -> str | None:
    return None if "product" in content or "atc" in content else "must say what is prescribed: product, atc or both"


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription(RecordBase):
    """May be supplied: `quantity`, once and `repeats` times more. `quantity` is written as in a `Dispense`."""

    TYPE: ClassVar[str] = "prescription"
    SCHEMA: ClassVar[Validator] = Where(
        Map(
            {
                "prescription": Bytes(16),  # random; what every supply of it names, in any pharmacy
                "quantity": AMOUNT,  # how much each time
                "unit": UNIT,  # of what: supplies in another unit cannot be held against it
            },
            {
                "product": GTIN,  # this product and no other
                "atc": Where(Text(1, 7), _atc_problem),  # any product of this class; which those are, a catalogue says
                "repeats": Int(1, 99),  # how many times more it may be supplied; left out for none
                "schedule": SCHEDULE,  # a controlled drug, and as what the law knows it: "II", "CD2", "BtM"
                "expires": DATE,  # the last day on which it may be supplied
                "raw": HASH,  # SHA-256 of the prescription as it was issued
            },
        ),
        _what_problem,
    )

    prescription: bytes
    quantity: Value
    unit: str
    product: str | None = None
    atc: str | None = None
    repeats: int | None = None
    schedule: str | None = None
    expires: str | None = None
    raw: bytes | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantity", to_exact(self.quantity))
        self.check()


# --- supply and return --------------------------------------------------------------------------------------------


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class Dispense(RecordBase):
    """A pack, or part of one, was supplied for a prescription; or was going to be, and `status` says what happened.

    `quantity` is written as text, an int, a Decimal or a pair, and kept as an exact pair.
    """

    TYPE: ClassVar[str] = "dispense"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "product": GTIN,  # GTIN-14 of what left the shelf: recalls are made by it
            "quantity": Where(Decimal(), _not_negative),  # how much: balances of a prescription are kept in it
            "unit": UNIT,  # of what ("{tablet}", "mL"): a quantity without its unit cannot be added up
            "status": OneOf(DISPENSE_STATUS),  # completed, or why not
        },
        {
            "lot": LOT,  # recalls name lots
            "expiry": DATE,  # shows that no expired stock was supplied
            "serial": SERIAL,  # one pack: the same serial supplied twice is a falsified pack
            # 16 bytes: a prescription that a prescriber put on a ledger, or the pharmacy's keyed hash of a number on
            # paper, which joins partial supplies and means nothing outside the pharmacy.
            "prescription": ByType({bytes: Bytes(16, 32), str: Text(1, 64)}),
            "refill": Int(1, 99),  # which of the prescription's repeats; left out for the first supply
            "schedule": SCHEDULE,  # as in `prescription`
            "override": REASON,  # the reason for which a warning was passed over
            "operator": OPERATOR,  # who passed it over, by the pharmacy's own pseudonym
            "witness": WITNESS,  # the second person, where the supply takes two
            "raw": HASH,  # SHA-256 of the request as received, behind a salt that its author keeps
        },
    )

    product: str
    quantity: Value
    unit: str
    status: str = "completed"
    lot: str | None = None
    expiry: str | None = None
    serial: str | None = None
    prescription: bytes | str | None = None
    refill: int | None = None
    schedule: str | None = None
    override: str | None = None
    operator: bytes | None = None
    witness: Sequence[bytes] | None = None
    raw: bytes | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantity", to_exact(self.quantity))
        self.check()


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class DispenseReturn(RecordBase):
    """So much of one supply came back. `undo`: it never left the counter; `return`: the patient brought it."""

    TYPE: ClassVar[str] = "dispense.return"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "issue": HASH,  # leaf hash of the dispense: of which supply, on whatever replica
            "quantity": AMOUNT,  # how much, in the unit of that supply
            "action": OneOf(("undo", "return")),  # what is undone may be supplied again; what comes back is held
        },
        {
            "reason": REASON,
            "operator": OPERATOR,
            "raw": HASH,  # as in `dispense`
        },
    )

    issue: bytes
    quantity: Value
    action: str
    reason: str | None = None
    operator: bytes | None = None
    raw: bytes | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantity", to_exact(self.quantity))
        self.check()


# --- stock and recalls --------------------------------------------------------------------------------------------


def _source_problem(content: Any) -> str | None:
    if "source" in content and content["step"] not in LEAVING:
        return "must name a source only for what leaves: shipping, removing, destroying"
    return None


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class Stock(RecordBase):
    """One step of a pack, or of a quantity, in its author's stock."""

    TYPE: ClassVar[str] = "stock"
    SCHEMA: ClassVar[Validator] = Where(
        Map(
            {
                "step": OneOf(STEPS),  # what was done
                "product": GTIN,
                "quantity": AMOUNT,  # how much moved; of an inspection, how much was looked at
                "unit": UNIT,  # stock is counted in it, and supplies have to be in the same one
            },
            {
                "lot": LOT,
                "expiry": DATE,
                "serial": SERIAL,
                "source": OneOf(("holding",)),  # what leaves was in quarantine
                "disposition": OneOf(DISPOSITIONS),  # what is the matter with it
                "reason": REASON,  # the same for people
                "schedule": SCHEDULE,  # a controlled drug: its waste takes two people
                "document": HASH,  # SHA-256 of the delivery note or EPCIS document
                "override": REASON,  # why a warning was passed over
                "operator": OPERATOR,  # who did it
                "witness": WITNESS,  # the second person
                "raw": HASH,  # as in `dispense`
            },
        ),
        _source_problem,
    )

    step: str
    product: str
    quantity: Value
    unit: str
    lot: str | None = None
    expiry: str | None = None
    serial: str | None = None
    source: str | None = None
    disposition: str | None = None
    reason: str | None = None
    schedule: str | None = None
    document: bytes | None = None
    override: str | None = None
    operator: bytes | None = None
    witness: Sequence[bytes] | None = None
    raw: bytes | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantity", to_exact(self.quantity))
        self.check()


@record
@dataclass(frozen=True, slots=True, kw_only=True)
class Recall(RecordBase):
    """Must not be supplied any more: these lots, these serial numbers, or all of a product."""

    TYPE: ClassVar[str] = "recall"
    SCHEMA: ClassVar[Validator] = Map(
        {
            "product": GTIN,
        },
        {
            "lots": Array(LOT, 1, 500, order=_itself),  # sorted: one set has one form
            "serials": Array(SERIAL, 1, 500, order=_itself),
            "level": OneOf(("I", "II", "III")),  # how dangerous, I most (FDA, EU)
            "reference": Text(1, 32),  # the authority's own number of it ("D-1407-2012")
            "reason": REASON,
            "raw": HASH,  # SHA-256 of the notice as published
        },
    )

    product: str
    lots: Sequence[str] | None = None
    serials: Sequence[str] | None = None
    level: str | None = None
    reference: str | None = None
    reason: str | None = None
    raw: bytes | None = None
    subject: bytes | None = None
    time: int | None = None

    def __post_init__(self) -> None:
        self.check()
