"""Stock: receipt, quarantine, waste and loss, what is on hand; and recalls. Plans, as in supply.py.

Expired and recalled packs can be received, held, sent back, lost and wasted: only supplying them is refused. What is
received and is expired, recalled or not what the delivery note says goes into quarantine in the same block.
"""

from __future__ import annotations

from typing import Any, Final

from medledger.errors import SchemaError
from medledger.findings.amounts import amount, amount_text
from medledger.findings.prescriptions import balance
from medledger.findings.serials import WHOLE
from medledger.records import Recall, Stock, check_gtin
from medledger.supplies import LEAVING
from medledger_bridge.gs1 import Scan

from .desk import Desk, Plan, described
from .requests import RefusedError, Request, malformed
from .supply import issues_of, pack_state, recalled

STEPS: Final = {
    "hold": "holding",
    "release": "storing",
    "ship": "shipping",
    "lose": "removing",
    "waste": "destroying",
}


def receive(desk: Desk, request: Request) -> Plan:
    """A pack comes in, and into quarantine where something is the matter with it."""
    scan = desk.scan(request)
    desk.check_clock()
    if scan.serial is not None and pack_state(desk, scan) in ("on-shelf", "held"):
        raise RefusedError("received-already", f"serial {scan.serial} is in stock already")
    fields = _fields(desk, request, scan)
    fields["document"] = _hash(request.get("document"))
    if request.get("schedule") is not None:
        fields["schedule"] = request.get("schedule")
    problem = _problem(desk, request, scan)
    records = [Stock(step="receiving", **fields)]
    shown = _shown(scan, fields)
    if problem is not None:
        disposition, reason = problem
        records.append(Stock(step="holding", disposition=disposition, reason=reason, **fields))
        shown |= {"held": True, "disposition": disposition, "reason": reason}
    return Plan(tuple(records), shown)


def _problem(desk: Desk, request: Request, scan: Scan) -> tuple[str, str] | None:
    """What is the matter with a pack that came in."""
    expected = request.get("expect") or {}
    found = described(scan)
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            return ("mismatch_serial" if name == "serial" else "mismatch_class"), f"{name} is not the one on the note"
    if scan.serial is not None and any(issue.open > 0 for issue in issues_of(desk, scan)):
        return "mismatch_serial", "this serial number is with a patient already"
    if recalled(desk, scan) is not None:
        return "recalled", "recalled"
    if scan.expiry is not None and scan.expiry < desk.today.isoformat():
        return "expired", f"expired on {scan.expiry}"
    return None


def move(desk: Desk, request: Request) -> Plan:
    """hold, release, ship, lose, waste."""
    scan, step = desk.scan(request), STEPS[request.do]
    fields = _fields(desk, request, scan)
    held = request.get("held") is True
    out_of_hold = held or step == "storing"
    _check_there(desk, request, scan, step)
    if desk.settings.only_received or desk.counts(scan.gtin, fields["unit"]):
        desk.check_enough(scan.gtin, fields["unit"], fields["quantity"], held=out_of_hold)
    schedule = desk.view.schedule(scan.gtin)
    record = Stock(
        step=step,
        source="holding" if held else None,
        disposition=request.get("disposition"),
        reason=request.get("reason"),
        schedule=schedule,
        **fields,
    )
    shown = _shown(scan, fields) | ({"schedule": schedule} if schedule else {})
    return Plan((record,), shown, witness=step == "destroying" and schedule is not None)


def _check_there(desk: Desk, request: Request, scan: Scan, step: str) -> None:
    """That the pack is here, to be released or to leave. Putting one into quarantine is always possible: it may be
    another one with the same number.
    """
    if scan.serial is None or step == "holding":
        return
    state = pack_state(desk, scan)
    if step == "storing":
        if state not in (None, "held"):
            raise RefusedError("not-held", f"serial {scan.serial} is not in quarantine")
        return
    whole = desk.unit(request) == WHOLE  # a pack that was divided leaves in parts
    hint = "If it is another pack with this number, hold it first."
    if whole and state in LEAVING:
        raise RefusedError("gone", f"serial {scan.serial} left this pharmacy's stock ({state})", hint=hint)
    if whole and state == "supplied":
        message = f"serial {scan.serial} is with a patient"
        raise RefusedError("supplied-already", message, hint=f"Take it back with return or undo. {hint}")


def inspection(desk: Desk, request: Request, error: RefusedError) -> Stock | None:
    """The alert that a refusal is, as an entry; None where this pharmacy has logged it already.

    It does not name the request's bytes: what names them is what the request was logged as.
    """
    scan = desk.scan(request)
    fields = _fields(desk, request, scan) | {"raw": None}
    record = Stock(step="inspecting", disposition=error.disposition, reason=str(error)[:80], **fields)
    return None if desk.view.inspected(record.to_content()) else record


def _fields(desk: Desk, request: Request, scan: Scan) -> dict[str, Any]:
    return {
        "product": scan.gtin,
        "lot": scan.lot,
        "expiry": scan.expiry,
        "serial": scan.serial,
        "quantity": desk.quantity(request, scan=scan),
        "unit": desk.unit(request),
        "operator": desk.operator(request),
        "raw": desk.raw,
        "time": desk.at,
    }


def _shown(scan: Scan, fields: dict[str, Any]) -> dict[str, Any]:
    return {**described(scan), "quantity": amount_text(amount(fields["quantity"])), "unit": fields["unit"]}


def _hash(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise malformed("document is a SHA-256: 64 hexadecimal digits")
    return found


def recall(desk: Desk, request: Request) -> Plan:
    """A recall, as an entry of this pharmacy."""
    lots, serials = _sorted(request.get("lots")), _sorted(request.get("serials"))
    try:
        record = Recall(
            product=request.get("product"),
            lots=lots,
            serials=serials,
            level=request.get("level"),
            reference=request.get("reference"),
            reason=request.get("reason"),
            raw=desk.raw,
            time=desk.at,
        )
    except SchemaError as error:
        raise malformed(str(error)) from error
    named = {name: list(found) for name, found in (("lots", lots), ("serials", serials)) if found is not None}
    return Plan((record,), {"product": record.product, **named})


def _sorted(found: list[str] | None) -> tuple[str, ...] | None:
    return None if found is None else tuple(sorted(set(found)))


# --- questions ------------------------------------------------------------------------------------------------------


def on_hand(desk: Desk, request: Request) -> dict[str, Any]:
    """What this pharmacy has, of one product or of all."""
    product = request.get("product")
    if product is not None:
        check_gtin(product)
    pack: dict[str, Any] = {}
    if request.get("scan") is not None:
        scan = desk.scan(request)
        product = scan.gtin
        if scan.serial is not None:
            pack = {"serial": scan.serial, "state": pack_state(desk, scan) or "unknown"}
    rows = [
        {
            "product": of,
            "unit": unit,
            **{
                name: amount_text(getattr(shelf, name))
                for name in ("received", "supplied", "available", "held", "on_hand")
            },
        }
        for (of, unit), shelf in desk.view.shelves(product).items()
        if request.get("unit") in (None, unit)
    ]
    return {"shelves": rows, **pack}


def account(desk: Desk, request: Request) -> dict[str, Any]:
    """What may still be supplied on a prescription."""
    name = desk.prescription(request.get("prescription"))
    found = balance(desk.view.book(("prescription", name)), name)
    numbers = {"dispensed": found.dispensed, "returned": found.returned}
    if found.authorised is not None and found.remaining is not None:
        numbers |= {"authorised": found.authorised, "remaining": found.remaining}
    shown: dict[str, Any] = {name: amount_text(number) for name, number in numbers.items()}
    if found.order is not None:
        order = found.order.content
        shown |= {name: order[name] for name in ("product", "atc", "schedule") if name in order}
        shown |= {"expires": found.expires} if found.expires is not None else {}
        step = found.next_refill()
        shown["next"] = None if step is None else {"refill": step[0], "left": amount_text(step[1])}
    shown |= {"known": found.order is not None, "unit": found.unit, "supplies": len(found.issues) + len(found.strays)}
    return shown
