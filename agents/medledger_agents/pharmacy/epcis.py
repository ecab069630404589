"""Delivery notes as EPCIS 2.0 documents (JSON): which packs were sent, so that what comes in can be held against it.

Rules:

- Packs are the instances of events whose business step is `shipping` or `receiving`; an event with an error
  declaration, or of action DELETE, does not count. Other events say how packs moved, not what was sent.
- An instance is `urn:epc:id:sgtin:COMPANY.ITEM.SERIAL`, or a GS1 Digital Link `.../01/GTIN/21/SERIAL`. Its GTIN-14 is
  the item's first digit, the company, the rest of the item, and the check digit. Identifiers of other kinds (pallets,
  returnable boxes) are counted and passed over.
- Lot and expiry are those of the event's master data (`lotNumber`, `itemExpirationDate`), where it has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

from medledger.errors import SchemaError
from medledger.records import check_gtin
from medledger_bridge.errors import ScanError
from medledger_bridge.gs1 import parse_scan

MAX_NOTE_BYTES: Final = 4 * 1024 * 1024
STEPS: Final = frozenset(("shipping", "receiving"))
_SGTIN: Final = re.compile(r"urn:epc:id:sgtin:([0-9]{6,12})\.([0-9]{1,7})\.(\S{1,60})")
_LINK: Final = re.compile(r"https?://[^?#]*/01/([0-9]{14})(?:/10/[^/?#]+)?/21/([^/?#]+)")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class NoteError(ScanError):
    """A document that is no delivery note."""


@dataclass(frozen=True, slots=True)
class SentPack:
    """One pack on the note."""

    product: str
    serial: str
    lot: str | None = None
    expiry: str | None = None

    def expected(self) -> dict[str, str]:
        """As `receive` takes it (`expect`)."""
        found = {"product": self.product, "serial": self.serial, "lot": self.lot, "expiry": self.expiry}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Note:
    """A delivery note: its packs by product and serial number, and its hash."""

    packs: Mapping[tuple[str, str], SentPack]
    others: int  # identifiers that are no packs'
    document: bytes  # SHA-256 of the bytes


def read_note(data: bytes) -> Note:
    """The packs that a document says were sent. Raises `NoteError`."""
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError(f"a delivery note has at most {MAX_NOTE_BYTES} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NoteError("the delivery note is not JSON") from error
    packs: dict[tuple[str, str], SentPack] = {}
    others = 0
    for event in _events(found):
        for name in _instances(event):
            pack = _pack(name, event)
            if pack is None:
                others += 1
            elif packs.setdefault((pack.product, pack.serial), pack) != pack:
                raise NoteError(f"the note names serial {pack.serial} of {pack.product} twice, and not alike")
    if not packs:
        raise NoteError("the document names no pack that was shipped", hint="It has no SGTIN in a shipping event.")
    return Note(packs, others, sha256(data).digest())


def gtin_of(company: str, item: str) -> str:
    """The GTIN-14 of a company prefix and an item reference with its indicator. Raises `NoteError`."""
    body = item[:1] + company + item[1:]
    if len(body) != 13 or not body.isascii() or not body.isdecimal():
        raise NoteError("an SGTIN's company and item have 13 digits together")
    total = sum(map(int, body[-2::-2])) + 3 * sum(map(int, body[-1::-2]))
    return f"{body}{-total % 10}"


def _events(document: Any) -> Iterator[Mapping[str, Any]]:
    body = _inside(document, "epcisBody")
    listed = _inside(body, "eventList")
    if listed is None:
        listed = _inside(_inside(_inside(body, "queryResults"), "resultsBody"), "eventList")
    if listed is None and str(_inside(document, "type")).endswith("Event"):
        listed = [document]
    if not isinstance(listed, list):
        raise NoteError("the document is no EPCIS document: it has no list of events")
    for event in listed:
        if not isinstance(event, dict):
            raise NoteError("an event of the document is no object")
        step = event.get("bizStep")
        named = step.rpartition(":")[2].rpartition("-")[2].rpartition("/")[2] if isinstance(step, str) else ""
        if named in STEPS and "errorDeclaration" not in event and event.get("action") != "DELETE":
            yield event


def _inside(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _instances(event: Mapping[str, Any]) -> Iterator[str]:
    listed = event.get("epcList", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise NoteError("an event's epcList is not a list of texts")
    yield from listed


def _pack(name: str, event: Mapping[str, Any]) -> SentPack | None:
    if match := _SGTIN.fullmatch(name):
        gtin, serial = gtin_of(match.group(1), match.group(2)), unquote(match.group(3))
    elif match := _LINK.fullmatch(name):
        gtin, serial = match.group(1), unquote(match.group(2))
        try:
            check_gtin(gtin)
        except SchemaError as error:
            raise NoteError(f"the note names {name[:64]}: {error}") from error
    else:
        return None
    if not 1 <= len(serial) <= 20:
        raise NoteError("the note names a serial number of more than 20 characters")
    return SentPack(gtin, serial, _master(event, "lotNumber"), _date(_master(event, "itemExpirationDate")))


def _master(event: Mapping[str, Any], name: str) -> str | None:
    """A value of the instances' master data, whatever the prefix of its vocabulary."""
    data = event.get("ilmd")
    if not isinstance(data, dict):
        return None
    found = [value for key, value in data.items() if str(key).rpartition(":")[2] == name]
    return found[0] if len(found) == 1 and isinstance(found[0], str) else None


def _date(text: str | None) -> str | None:
    return text[:10] if text is not None and _DATE.match(text) else None


class Delivered:
    """A note while its packs are scanned in: each `receive` is told what the note says of its pack."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._left = dict(note.packs)

    def hold_against(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request, and for a receipt what is expected. A pack that is not on the note is no pack of it."""
        if request.get("do") != "receive":
            return request
        try:
            scan = parse_scan(str(request.get("scan", "")))
        except ScanError:
            return request  # the agent says so
        pack = self._left.pop((scan.gtin, scan.serial or ""), None)
        expected = {"serial": "(not on the note)"} if pack is None else pack.expected()
        return {"expect": expected, "document": self._note.document.hex(), **request}

    @property
    def missing(self) -> list[tuple[str, str]]:
        """What of the note was not scanned."""
        return sorted(self._left)
