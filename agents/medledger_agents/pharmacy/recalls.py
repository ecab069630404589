"""Recalls as authorities publish them, made into recall entries: National Drug Codes become GTINs, lots are read.

Rules:

- An NDC with hyphens says how it is divided: 4-4-2, 5-3-2 or 5-4-1 (ten digits). Its GTIN-14 is `003`, the ten digits
  and a check digit (GS1 US: 3 and the NDC make a GTIN-12). It is that of the package named, not of a case of them.
- 5-4-2 (eleven digits) is a form for billing, in which one segment was filled up with a leading zero. Where exactly one
  segment begins with a zero, it was that one. Where more do, it could have been each: refused as ambiguous, with the
  GTINs that it may be, never guessed. A catalogue of the GTINs that the pharmacy knows can settle it.
- Digits without hyphens are refused for the same reason.
- Lots are read where a line names them after `Lot`, or ends with one and its expiry. Where a line cannot be told, the
  whole notice is refused: it is for a person to read, who recalls product and lots with the operation `recall`.
- A notice that is not about a drug, or names no NDC, is refused with that reason.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from medledger.errors import SchemaError
from medledger.records import check_gtin
from medledger_bridge.errors import ScanError

MAX_NOTICE_BYTES: Final = 256 * 1024
_NDC: Final = re.compile(r"(?<![0-9-])([0-9]{4,5})-([0-9]{3,4})-([0-9]{1,2})(?![0-9-])")
_LEVELS: Final = {"Class I": "I", "Class II": "II", "Class III": "III"}
_LOT: Final = re.compile(
    r"\b[Ll]ots?\b(?:\s+(?:[Nn]umbers?|[Nn]os?\.?|#))?\s*[:#]?\s*((?:[A-Z0-9-]*[0-9][A-Z0-9-]*(?:\s*,\s*(?:and\s+)?|\s+and\s+)?)+)"
)
_NO_LOT: Final = re.compile(r"\b[0-9]{1,2}/\s?[0-9]{2,4}\b|\b[0-9.]+\s?(?:mg|mcg|g|mL|%)(?![A-Za-z0-9])")
"""Dates and strengths."""
_LOT_LINE: Final = re.compile(r"\b([A-Z0-9-]*[0-9][A-Z0-9-]*)\s+[0-9]{1,2}/\s?[0-9]{4}\s*$")


class RecallError(ScanError):
    """A notice that cannot be made into a recall entry without guessing."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What an authority published, as far as it can be told."""

    reference: str | None
    level: str | None
    reason: str | None
    products: tuple[str, ...]  # GTIN-14
    lots: tuple[str, ...]
    raw: bytes  # SHA-256 of the bytes

    def requests(self) -> list[dict[str, Any]]:
        """What a counter is asked for: one recall for each product."""
        said = {"level": self.level, "reference": self.reference, "reason": self.reason and self.reason[:80]}
        named: dict[str, Any] = {name: value for name, value in said.items() if value}
        if self.lots:
            named["lots"] = list(self.lots)
        return [{"do": "recall", "product": product, **named} for product in self.products]


def ndc_to_gtins(ndc: str) -> tuple[str, ...]:
    """The GTIN-14s that a hyphened NDC may be: one of ten digits, perhaps several of eleven. Raises `RecallError`."""
    match = _NDC.fullmatch(ndc)
    if match is None:
        raise RecallError(f"{ndc[:32]!r} is not an NDC with its hyphens: how its digits divide cannot be told")
    labeler, product, package = match.groups()
    shape = (len(labeler), len(product), len(package))
    if sum(shape) == 10:
        return (_gtin(labeler + product + package),)
    if shape != (5, 4, 2):
        raise RecallError(f"an NDC is divided as 4-4-2, 5-3-2, 5-4-1 or 5-4-2, and {ndc} is not")
    shorter = []
    if labeler.startswith("0"):
        shorter.append(labeler[1:] + product + package)
    if product.startswith("0"):
        shorter.append(labeler + product[1:] + package)
    if package.startswith("0"):
        shorter.append(labeler + product + package[1:])
    if not shorter:
        raise RecallError(f"the eleven digits of {ndc} have no segment that was filled up with a zero")
    return tuple(sorted({_gtin(digits) for digits in shorter}))


def ndc_to_gtin(ndc: str, catalogue: Collection[str] = ()) -> str:
    """The GTIN-14 of an NDC. Raises `RecallError` where it may be several; `catalogue` of GTINs can settle that."""
    may_be = ndc_to_gtins(ndc)
    known = [gtin for gtin in may_be if gtin in catalogue] or list(may_be)
    if len(known) > 1:
        raise RecallError(
            f"the NDC {ndc} may be {' or '.join(known)}: which segment was filled up with a zero cannot be told",
            hint="Look at a pack, and recall its GTIN by hand.",
        )
    return known[0]


def _gtin(ten_digits: str) -> str:
    body = f"003{ten_digits}"
    total = sum(map(int, body[-2::-2])) + 3 * sum(map(int, body[-1::-2]))
    gtin = f"{body}{-total % 10}"
    try:
        check_gtin(gtin)
    except SchemaError as error:  # a mistake of ours
        raise RecallError(str(error)) from error
    return gtin


def read_notice(data: bytes, *, catalogue: Collection[str] = ()) -> Notice:
    """One recall of the FDA's enforcement reports, as XML or JSON. Raises `RecallError`."""
    if len(data) > MAX_NOTICE_BYTES:
        raise RecallError(f"a notice has at most {MAX_NOTICE_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RecallError("the notice is not UTF-8 text") from error
    fields = _from_json(text) if text.lstrip().startswith("{") else _from_xml(text)
    kind = fields.get("product-type", "Drugs")
    if kind != "Drugs":
        raise RecallError(f"the notice is about {kind[:32]}, not a drug")
    described, codes = fields.get("product-description", ""), fields.get("code-info", "")
    ndcs = sorted({match.group(0) for match in _NDC.finditer(f"{described}\n{codes}") if _is_ndc(match, described)})
    if not ndcs:
        raise RecallError("the notice names no NDC", hint="Recall its GTIN by hand.")
    return Notice(
        fields.get("reference"),
        _LEVELS.get(fields.get("classification", "")),
        fields.get("reason-for-recall"),
        tuple(sorted({ndc_to_gtin(ndc, catalogue) for ndc in ndcs})),
        _lots(codes),
        sha256(data).digest(),
    )


def _is_ndc(match: re.Match[str], text: str) -> bool:
    """Whether a number is said to be an NDC: catalogue numbers look alike."""
    before = text[: text.find(match.group(0))]
    return re.search(r"\bNDC\b[^A-Za-z]*(?:[0-9-]+[^A-Za-z]*)*$", before) is not None


def _lots(codes: str) -> tuple[str, ...]:
    """The lots that the code information names. Raises `RecallError` where some cannot be told."""
    found: set[str] = set()
    for line in codes.splitlines():
        match = _LOT.search(line) or _LOT_LINE.search(line)
        named = match.group(1) if match else ""
        found |= {lot for lot in re.split(r"[\s,]+|\band\b", named) if any(map(str.isdigit, lot))}
        if any(map(str.isdigit, _NO_LOT.sub("", line.replace(named, "", 1) if named else line))):
            raise RecallError("which lots the notice names cannot be told", hint="Read it, and recall them by hand.")
    if any(len(lot) > 20 for lot in found):
        raise RecallError("the notice names a lot of more than 20 characters, which no GS1 code has")
    if not found and codes.strip() and not re.search(r"\b[Aa]ll lots\b", codes):
        raise RecallError("which lots the notice names cannot be told", hint="Read it, and recall them by hand.")
    return tuple(sorted(found))


def _from_json(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecallError("the notice is not JSON") from error
    if not isinstance(found, dict):
        raise RecallError("the notice is not one JSON object")
    fields = {str(name).replace("_", "-"): value for name, value in found.items() if isinstance(value, str)}
    return {**fields, **({"reference": fields["recall-number"]} if "recall-number" in fields else {})}


def _from_xml(text: str) -> dict[str, str]:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise RecallError("the notice declares entities, which no recall needs")
    try:
        root = ET.fromstring(text.strip())  # noqa: S314
    except ET.ParseError as error:
        raise RecallError("the notice is not XML") from error
    fields = {child.tag: (child.text or "").strip() for child in root}
    return {**fields, **({"reference": root.attrib["id"]} if "id" in root.attrib else {})}
