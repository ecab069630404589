"""What the counter may ask for: a line becomes a `Request`, or is refused. Pure.

A line is a scan as the scanner sends it (`]d201...`), which asks to dispense that pack, or one JSON object whose `do`
names an operation of `OPERATIONS`; without `do` it dispenses. Rules:

- Every key is known to its operation, and what the operation needs is there. A key is written once.
- Values are text that is not empty; a quantity may be a whole number, for binary fractions are not exact.
- `prescription` is `rx:` and 32 hexadecimal digits, the id that a prescriber put on the ledger and every pharmacy
  knows; any other text is a number of this pharmacy's own, of which only a keyed hash goes further.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from medledger import strictjson
from medledger.errors import StoreError, UsageError

MAX_LINE_BYTES: Final = 4096
SHARED: Final = "rx:"
FNC1_TYPED: Final = "<GS>"
"""How people type the separator of a scan."""
_SHARED_ID: Final = re.compile(r"[0-9a-f]{32}")


class RefusedError(UsageError):
    """The request is not carried out. `code` is for programs, the message for the person at the counter.

    `disposition` says what is the matter with the pack (GS1's word), where that is what it is about: then it is an
    alert, and goes on the ledger.
    """

    def __init__(self, code: str, message: str, *, hint: str | None = None, disposition: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.disposition = disposition


class UnsureError(StoreError):
    """Whether a request is logged cannot be said: the disk failed while it was written, or while that was looked up."""

    def __init__(self, message: str, *, by_id: bool) -> None:
        again = "Send it again with the same id until it is answered: then it is logged once."
        look = "Look at stock, balance or the pack when the box is well, before it is asked for again."
        super().__init__(message, hint=again if by_id else look)


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operation needs and may be told, what its reply's `result` is, and what it is for."""

    needs: tuple[str, ...]
    may: tuple[str, ...]
    result: str
    doc: str


_WHO: Final = ("operator", "id")
_AMOUNT: Final = ("quantity", "unit")
_STEP: Final = (*_AMOUNT, "reason", "disposition", *_WHO)

OPERATIONS: Final[Mapping[str, Operation]] = {
    "dispense": Operation(
        ("scan",),
        (*_AMOUNT, "prescription", "refill", "subject", "override", *_WHO),
        "dispensed",
        "Supply a pack or a part of it. The default.",
    ),
    "verify": Operation(
        ("scan",),
        (*_AMOUNT, "prescription", "refill", "override", *_WHO),
        "verified",
        "Say what `dispense` would say, and supply nothing.",
    ),
    "undo": Operation(
        (), ("supply", "scan", "reason", *_WHO), "undone", "A supply of this pharmacy never left the counter."
    ),
    "return": Operation(
        (),
        ("supply", "scan", "quantity", "reason", *_WHO),
        "returned",
        "The patient brought it back, or a part of it: it is held, and credited to the prescription.",
    ),
    "receive": Operation(
        ("scan",),
        (*_AMOUNT, "expect", "document", "schedule", *_WHO),
        "received",
        "A pack came in. What is expired, recalled or not as expected goes into quarantine at once.",
    ),
    "hold": Operation(("scan",), _STEP, "held", "Put into quarantine."),
    "release": Operation(("scan",), _STEP, "released", "Take out of quarantine."),
    "ship": Operation(("scan",), (*_STEP, "held"), "shipped", "Send back to the supplier, or on."),
    "lose": Operation(("scan",), (*_STEP, "held"), "lost", "It is not there any more: lost, stolen, missing."),
    "waste": Operation(("scan",), (*_STEP, "held"), "wasted", "Destroy it. Of a controlled drug this takes a witness."),
    "witness": Operation(
        ("id", "key", "signature"), (), "", "The second person's signature for a request that needs one."
    ),
    "recall": Operation(
        ("product",),
        ("lots", "serials", "level", "reference", "reason", "id"),
        "recalled",
        "Recall a product: a pharmacy for itself, a hospital for all.",
    ),
    "stock": Operation((), ("scan", "product", "unit", "id"), "stock", "What is on hand of a product."),
    "balance": Operation(("prescription",), ("id",), "balance", "What may still be supplied on a prescription."),
    "conflicts": Operation((), ("id",), "conflicts", "What other pharmacies did that does not fit with this one."),
}
_LISTS: Final = frozenset(("lots", "serials"))
_NUMBERS: Final = frozenset(("prescription", "subject", "operator"))
_EXPECTED: Final = frozenset(("product", "lot", "expiry", "serial"))


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be read."""

    do: str
    fields: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        """What the till knows it by."""
        return self.fields.get("id")

    def get(self, name: str) -> Any:
        """A field, None where it was left out."""
        return self.fields.get(name)


def read_request(line: bytes) -> Request:
    """The request in a line. Raises `RefusedError` with the code `malformed`."""
    try:
        text = line.decode().strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise malformed("the line is not UTF-8 text") from error
    if not text.startswith("{"):
        return _request({"scan": text})
    try:
        found = strictjson.parse(text, fraction=strictjson.refuse_fraction)
        json.dumps(found, ensure_ascii=False).encode()  # \ud800 alone is no text: no reply could hold it
    except ValueError as error:
        raise malformed("the line begins like JSON and is not one object") from error
    return _request(found)


def malformed(message: str, *, hint: str | None = None) -> RefusedError:
    """The till's mistake."""
    return RefusedError("malformed", message, hint=hint)


def prescription_id(text: str) -> bytes | None:
    """The shared id that `rx:...` writes, None for a number of the pharmacy's own. Raises `RefusedError`."""
    if not text.lower().startswith(SHARED):
        return None
    digits = text[len(SHARED) :].replace("-", "").lower()
    if not _SHARED_ID.fullmatch(digits):
        raise malformed(f"a prescription is {SHARED} and 32 hexadecimal digits", hint="Scan it again.")
    return bytes.fromhex(digits)


def _request(found: Any) -> Request:
    do = found.get("do", "dispense")
    operation = OPERATIONS.get(do) if isinstance(do, str) else None
    if operation is None:
        raise malformed(f"there is no operation {str(do)[:32]!r}", hint=f"There are: {', '.join(OPERATIONS)}.")
    allowed = (*operation.needs, *operation.may)
    for key, value in found.items():
        if key == "do":
            continue
        if key not in allowed:
            hint = f"Allowed: {', '.join(allowed)}."
            raise malformed(f"there is no key {key[:32]!r} in a request to {do}", hint=hint)
        _check_value(key, value)
    for key in operation.needs:
        if key not in found or not found[key]:
            raise malformed(f"there is no {key} in the request")
    # Blanks around a number would make another prescription, or another person, of it.
    trimmed = {key: value.strip() if key in _NUMBERS else value for key, value in found.items() if key != "do"}
    return Request(do, trimmed)


def _check_value(key: str, value: Any) -> None:
    if key in _LISTS:
        if type(value) is not list or not value or not all(type(each) is str and each.strip() for each in value):
            raise malformed(f"{key} must be a list of texts")
    elif key == "expect":
        if type(value) is not dict or not value or not _EXPECTED.issuperset(value):
            raise malformed(f"expect is an object of {', '.join(sorted(_EXPECTED))}")
        for name, text in value.items():
            _check_value(f"expect.{name}", text)
    elif key == "held":
        if type(value) is not bool:
            raise malformed("held must be true or false")
    elif not (key in ("quantity", "refill") and type(value) is int) and (type(value) is not str or not value.strip()):
        raise malformed(f"{key} must be text that is not empty")
