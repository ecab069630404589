"""GS1 barcodes: which product, lot, expiry and serial a scan names, or why it cannot be said.

Rules:

- A scan is what a scanner sends: `]d2` (or another GS1 symbology's mark) and element strings, in which 0x1D, the FNC1
  of the symbol, ends a field of variable length. Without a mark, element strings are accepted all the same. The form
  that people read and type, `(01)...(17)...`, is accepted too. `]E0`, `]E4` and `]I1` mark plain GTINs.
- Check digits must be right, dates must exist, and texts keep to the GS1 character set. A GTIN becomes a GTIN-14.
- Two-digit years lie between 49 years ago and 50 years ahead of `today`, as the General Specifications say. Day 00
  means the last day of the month, in (17) and not in (7003), an expiry with its hour.
- What could be read in two ways is refused, never guessed: a field of variable length with no 0x1D after it and more
  behind; one that ends the scan but whose end reads as further elements, when neither a 0x1D in the scan nor the
  caller (`sends_separators`) shows that this scanner sends them; bare digits that are a GTIN and may be elements; one
  element twice with different values.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Final

from medledger.errors import SchemaError
from medledger.records import check_gtin

from .errors import ExtraMissingError, ScanError

if TYPE_CHECKING:
    from biip.gs1_messages import GS1Message

FNC1: Final = "\x1d"
MAX_SCAN_CHARS: Final = 512

ELEMENT_MARKS: Final = ("]d2", "]C1", "]Q3", "]e0", "]J1")  # DataMatrix, GS1-128, QR, DataBar, DotCode
GTIN_MARKS: Final = {"]E0": (13,), "]E4": (8,), "]I1": (14,)}  # EAN-13 and UPC, EAN-8, ITF-14: digits that follow
COMPANIONS: Final = frozenset(
    ("10", "11", "15", "17", "21", "30", "37", "240", "710", "711", "712", "713", "714", "715", "716", "7003")
)
"""Elements that stand beside a GTIN on a medicine's pack, and may hide in a field that was not ended.

Rarer ones are left out, (91) to (99) above all: every other lot with a 9 in it would look like one. Against these only
a scanner's self-test helps, which shows that it sends FNC1 (`scanner.selftest`).
"""

_READABLE: Final = re.compile(r"\(([0-9]{2,4})\)([^()]+)")
_DIGITS: Final = re.compile(r"[0-9]+")
_OF_ANY_LENGTH: Final = re.compile(r"\.\.|\[")
"""In the format of an element, such as N4+X..30 or N4+N6[+N6]; what has none of these may need an FNC1 all the same."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One scanned pack."""

    gtin: str  # GTIN-14
    lot: str | None
    expiry: str | None  # YYYY-MM-DD, the last day of use
    serial: str | None
    raw: str  # as scanned


def parse_scan(text: str, *, today: date | None = None, sends_separators: bool = False) -> Scan:
    """The pack that a scan names. Raises ScanError when it names none, or more than one could be meant.

    `sends_separators` says that this scanner was seen to send 0x1D for FNC1: then a scan without any needs none.
    """
    for mark, lengths in GTIN_MARKS.items():
        if text.startswith(mark):
            return Scan(_plain_gtin(text[3:].strip(), lengths), None, None, None, text)
    found = parse_elements(text, sends_separators=sends_separators)
    if "01" not in found:
        raise ScanError(
            "the scan names no product: it has no GTIN (01)", hint="Scan the code with the GTIN on the pack."
        )
    now = today or datetime.now(UTC).date()
    expiry = expiry_date(found["17"], today=now) if "17" in found else None
    if "7003" in found:  # an expiry with its time
        timed = expiry_date(found["7003"][:6], today=now, whole_months=False)
        if expiry not in (None, timed):
            raise ScanError("the scan names two expiry dates, (17) and (7003)")
        expiry = timed
    return Scan(_checked(found["01"]), found.get("10"), expiry, found.get("21"), text)


def parse_elements(text: str, *, sends_separators: bool = False) -> Mapping[str, str]:
    """The element strings of a scan, by application identifier, in their order. Raises ScanError."""
    if len(text) > MAX_SCAN_CHARS:
        raise ScanError(f"a scan has at most {MAX_SCAN_CHARS} characters")
    body = text.rstrip("\r\n")
    if body.startswith("("):
        return _readable(body)
    if body.startswith("]"):
        if body[:3] not in ELEMENT_MARKS:
            raise ScanError(f"the symbol {body[:3]!r} holds no GS1 elements")
        body = body[3:]
    elif _DIGITS.fullmatch(body) and len(body) in (8, 12, 13, 14) and _sum_is_right(body.zfill(14)):
        raise ScanError(
            "bare digits may be a GTIN or elements", hint="Let the scanner send the symbology mark (]d2, ]E0) first."
        )
    body = body.lstrip(FNC1)
    found = _collect(_split(body))
    if FNC1 not in body and not sends_separators:
        _refuse_hidden(found)
    return found


def expiry_date(text: str, *, today: date, whole_months: bool = True) -> str:
    """YYYY-MM-DD of a YYMMDD, by the century window around `today`. Raises ScanError.

    Day 00 is the month's last where an element may leave the day open (`whole_months`, GS1's kind yymmd0), else none.
    """
    if not (len(text) == 6 and text.isascii() and text.isdigit()):
        raise ScanError("an expiry date has six digits, YYMMDD")
    short, month, day = int(text[:2]), int(text[2:4]), int(text[4:])
    ahead = short - today.year % 100
    century = today.year // 100 - (1 if ahead >= 51 else -1 if ahead <= -50 else 0)
    year = century * 100 + short
    try:
        last = calendar.monthrange(year, month)[1]
        return date(year, month, day or (last if whole_months else 0)).isoformat()
    except (ValueError, calendar.IllegalMonthError) as error:
        raise ScanError("the expiry date does not exist") from error


def _split(body: str) -> list[tuple[str, str]]:
    """Elements of text with FNC1 in it: each field of variable length must be ended by one, or by the end."""
    message = _message(body)
    found = []
    position = 0
    for element in message.element_strings:
        identifier = element.ai.ai
        position += len(identifier) + len(element.value)
        if element.ai.separator_required and position < len(body) and body[position] != FNC1:
            raise ScanError(
                f"the field ({identifier}) is not ended: where the next one begins is a guess",
                hint="Set the scanner to send the group separator (GS, 0x1D) for FNC1.",
            )
        while body[position : position + 1] == FNC1:
            position += 1
        found.append((identifier, element.value))
    return found


def _readable(body: str) -> Mapping[str, str]:
    """Elements of the bracketed form, where brackets in a value would make it ambiguous and are refused."""
    found = []
    position = 0
    for match in _READABLE.finditer(body):
        if match.start() != position:
            break
        identifier, value = match.groups()
        elements = _message(identifier + value).element_strings
        if len(elements) != 1 or (elements[0].ai.ai, elements[0].value) != (identifier, value):
            raise ScanError(f"({identifier}) cannot have this value")
        found.append((identifier, value))
        position = match.end()
    if position != len(body):
        raise ScanError("the bracketed elements cannot be told apart")
    return _collect(found)


def _collect(elements: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    if not elements:
        raise ScanError("the scan is empty")
    for identifier, value in elements:
        if found.setdefault(identifier, value) != value:
            raise ScanError(f"the scan has two different values for ({identifier})")
    if "01" in found:
        _checked(found["01"])
    return found


def _refuse_hidden(found: Mapping[str, str]) -> None:
    """Refuses a scan without any FNC1 whose last field may have swallowed others."""
    identifier, value = list(found.items())[-1]
    if not _OF_ANY_LENGTH.search(_message(identifier + value).element_strings[0].ai.format):
        return  # it has one length, and so does not swallow anything
    for cut in range(1, len(value) - 2):
        try:
            hidden = [element for element, _ in _split(value[cut:])]
        except ScanError:
            continue
        if COMPANIONS.issuperset(hidden) and not set(hidden) & set(found):
            raise ScanError(
                f"the field ({identifier}) may hold others: the scanner sent no separator",
                hint="Set the scanner to send the symbology mark and the group separator (GS, 0x1D) for FNC1.",
            )


def _plain_gtin(digits: str, lengths: tuple[int, ...]) -> str:
    if len(digits) not in lengths or not _DIGITS.fullmatch(digits):
        raise ScanError("the symbol's mark promises a GTIN, and other characters follow")
    return _checked(digits.zfill(14))


def _checked(gtin: str) -> str:
    if not _sum_is_right(gtin):
        raise ScanError("the GTIN's check digit is wrong", hint="Scan again; if it stays wrong, quarantine the pack.")
    if not gtin.strip("0"):
        raise ScanError("the GTIN is all zeros")
    return gtin


def _sum_is_right(gtin: str) -> bool:
    try:
        check_gtin(gtin)
    except SchemaError:
        return False
    return True


def _message(body: str) -> GS1Message:
    """biip's reading of element strings; whatever it raises is one ScanError."""
    try:
        import biip
        from biip.gs1_messages import GS1Message
    except ImportError as error:
        raise ExtraMissingError(
            "reading GS1 scans needs the package biip", hint="Install it with: pip install 'medledger[supply]'"
        ) from error
    if any(character.isspace() and character != FNC1 for character in body):
        raise ScanError("the scan has blanks in it, which GS1 elements have not")  # biip would drop some
    try:
        return GS1Message.parse(body)
    except (biip.BiipException, ValueError) as error:
        raise ScanError("the scan is not made of GS1 elements") from error
