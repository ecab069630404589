"""Supplying a pack, taking it back, and undoing: what is checked before anything is logged.

 (1) the scan is GS1 and can be read in one way only
 (2) the clock can be right, so that expiry can be judged
 (3) the pack has not expired: its last day is today or later, by this place's calendar
 (4) no recall names it
 (5) the pack is not with a patient already, here or anywhere, nor left the stock, nor is it in quarantine
 (6) so much of it is on the shelf, where this pharmacy keeps its stock on the ledger
 (7) the prescription covers it: product, unit, last day, and what is left of it

(3) and (4) can be passed over with a reason and who gave it, where the configuration allows; a missing expiry date,
another product and a prescription that has not arrived here, always. The others cannot: supplying twice is never right.
The reason is recorded where it was needed, and nowhere else: on the ledger it says that a warning was passed over.
All of it is judged by what this replica holds. What another pharmacy did while the two were cut off comes out later.
"""

from __future__ import annotations

from typing import Any, Final

from medledger.findings import Observed
from medledger.findings.amounts import amount, amount_text
from medledger.findings.issues import Issue
from medledger.findings.prescriptions import Balance, balance
from medledger.findings.serials import WHOLE
from medledger.records import Dispense, DispenseReturn
from medledger.supplies import LEAVING
from medledger_bridge.gs1 import Scan

from .desk import Desk, Plan, described
from .requests import RefusedError, Request, malformed, prescription_id

DAY_MS: Final = 86_400_000
_NAME: Final = "To supply it all the same, give the reason as override, and who decides as operator."


def dispense(desk: Desk, request: Request) -> Plan:
    """The supply that is asked for. Raises `RefusedError`, `ScanError`."""
    scan = desk.scan(request)  # (1)
    desk.check_clock()  # (2)
    quantity, unit = desk.quantity(request, scan=scan), desk.unit(request)
    passed = [*_check_expiry(desk, scan, request), *_check_recalls(desk, scan, request)]  # (3), (4)
    _check_pack(desk, scan, request)  # (5)
    desk.check_enough(scan.gtin, unit, quantity, held=False)  # (6)
    named = request.get("prescription")
    account = None
    if named is not None:
        name = desk.prescription(named)
        account = balance(desk.view.book(("prescription", name)), name)
    refill, more = _check_prescription(desk, scan, request, account)  # (7)
    passed += more
    schedule = desk.view.schedule(scan.gtin)
    if account is not None and account.order is not None:
        schedule = account.order.content.get("schedule", schedule)
    record = Dispense(
        product=scan.gtin,
        lot=scan.lot,
        expiry=scan.expiry,
        serial=scan.serial,
        quantity=quantity,
        unit=unit,
        prescription=None if account is None else account.prescription,
        refill=refill or None,
        schedule=schedule,
        subject=None if request.get("subject") is None else desk.subjects.subject(request.get("subject"), "", desk.at),
        override=request.get("override") if passed else None,
        operator=desk.operator(request),
        raw=desk.raw,
        time=desk.at,
    )
    if request.get("override") is not None and not passed:
        passed = ["there was no warning to pass over: the reason is not recorded"]
    shown: dict[str, Any] = {**described(scan), "quantity": amount_text(amount(quantity)), "unit": unit}
    if account is not None and account.order is not None and account.remaining is not None:
        shown["refill"] = refill
        shown["remaining"] = amount_text(account.remaining - amount(quantity))
    return Plan((record,), shown, schedule is not None and desk.settings.witness_supply, tuple(passed))


def _overrides(request: Request) -> bool:
    """Whether the warning that is due is passed over. Raises `RefusedError` where nobody says who decides that."""
    if request.get("override") is None:
        return False
    if request.get("operator") is None:
        raise RefusedError("operator", "an override has to say who decides", hint="Give operator: a staff number.")
    return True


def _check_expiry(desk: Desk, scan: Scan, request: Request) -> list[str]:
    """(3) What was passed over. The last day is named by the calendar of this place."""
    if scan.expiry is None:
        if not _overrides(request):
            raise RefusedError("no-expiry", "the scan has no expiry date", hint=f"Read it from the pack. {_NAME}")
        return ["the scan has no expiry date"]
    if scan.expiry >= desk.today.isoformat():
        return []
    allowed = desk.settings.allow_expired
    message = f"the pack expired on {scan.expiry}"
    if not (allowed and _overrides(request)):
        hint = _NAME if allowed else "Take it off the shelf."
        raise RefusedError("expired", message, hint=hint, disposition="expired")
    return [message]


def _check_recalls(desk: Desk, scan: Scan, request: Request) -> list[str]:
    """(4) What was passed over."""
    found = recalled(desk, scan)
    if found is None:
        return []
    told = ": ".join(found.content[name] for name in ("reference", "reason") if name in found.content)
    message = f"the pack is recalled{f' ({told})' if told else ''}"
    if desk.settings.allow_recalled and _overrides(request):
        return [message]
    raise RefusedError(
        "recalled",
        message,
        hint=_NAME if desk.settings.allow_recalled else "Put it into quarantine (hold), and send it back (ship).",
        disposition="recalled",
    )


def _check_pack(desk: Desk, scan: Scan, request: Request) -> None:
    if scan.serial is None:
        return
    unit = desk.unit(request)
    pack = (scan.gtin, scan.serial)
    out = [issue for issue in issues_of(desk, scan) if issue.open > 0]
    elsewhere = any(issue.entry.place.feed != desk.view.me for issue in out)
    # Whoever names no quantity means the pack, whatever this pharmacy calls one.
    part = unit != WHOLE and request.get("quantity") is not None
    units = {issue.entry.content["unit"] for issue in out}
    divided = part and WHOLE not in units
    if out and (elsewhere or not divided):
        where = "by another pharmacy" if elsewhere else "here"
        opened = not elsewhere and WHOLE not in units
        again = f"Is it the opened pack: say how much, quantity=... unit={min(units)}. " if opened else ""
        raise RefusedError(
            "supplied-already",
            f"serial {scan.serial} was supplied {where} already, and did not come back",
            hint=f"{again}Keep the pack apart (hold): it may be falsified. Was the first supply a mistake: undo it.",
            disposition="dispensed",
        )
    if divided and not units <= {unit}:
        message = f"of serial {scan.serial} parts were supplied in {' and '.join(sorted(units))}"
        raise RefusedError("unit", message, hint="Ask in that unit.")
    state = pack_state(desk, scan)
    if state == "held":
        raise RefusedError("held", f"serial {scan.serial} is in quarantine", hint="Release it first, if it is sound.")
    if state in LEAVING:
        raise RefusedError(
            "gone",
            f"serial {scan.serial} left this pharmacy's stock ({state})",
            hint="Keep the pack apart (hold): it may be falsified.",
            disposition="mismatch_serial",
        )
    if state is None and desk.settings.only_received:
        raise RefusedError(
            "unknown-serial",
            f"serial {scan.serial} was never received here",
            hint="Keep the pack apart: it may be falsified. If it was not scanned in, receive it.",
            disposition="mismatch_serial",
        )
    shelf = desk.view.book(("pack", pack)).shelf_of_pack(desk.view.me, pack, unit)
    if shelf.received > 0 and amount(desk.quantity(request)) > shelf.available:
        raise RefusedError(
            "not-in-stock",
            f"of serial {scan.serial}, {amount_text(shelf.available)} {unit} are on the shelf, by what was recorded",
            hint="Supply the rest from another pack.",
        )


def pack_state(desk: Desk, scan: Scan) -> str | None:
    """Where a pack is by this pharmacy's own entries: on-shelf, held, supplied, the step by which it left, or None."""
    pack = (scan.gtin, scan.serial or "")
    life = desk.view.book(("pack", pack)).life(desk.view.me, pack)
    return life[-1][1] if life else None


def issues_of(desk: Desk, scan: Scan) -> list[Issue]:
    """Every supply of a pack, or of parts of it, by whomever."""
    pack = (scan.gtin, scan.serial or "")
    return desk.view.book(("pack", pack)).issues_of(pack)


def recalled(desk: Desk, scan: Scan) -> Observed | None:
    """The recall that stops this pharmacy's supply of a pack."""
    book = desk.view.book(("recalls", scan.gtin))
    return book.recalled(desk.view.me, scan.gtin, scan.lot, scan.serial)


def _check_prescription(desk: Desk, scan: Scan, request: Request, account: Balance | None) -> tuple[int, list[str]]:
    """Which of its supplies this one is, and what to say all the same."""
    if account is None:
        if _asked_refill(request) is not None:
            raise malformed("refill is said without the prescription that it is of")
        return 0, []
    if account.order is None:
        if prescription_id(request.get("prescription")) is None:
            return _asked_refill(request) or 0, []  # a number on paper: nobody put it on the ledger
        if not _overrides(request):
            raise RefusedError(
                "unknown-prescription",
                "this prescription has not arrived on this box",
                hint=f"Wait until the box is connected. {_NAME}",
            )
        return _asked_refill(request) or 0, ["the prescription is not known here: nothing was held against it"]
    order, passed = account.order.content, []
    if order.get("product", scan.gtin) != scan.gtin:
        passed = [f"prescribed is {order['product']}, and this is {scan.gtin}"]
        if not _overrides(request):
            raise RefusedError("other-product", passed[0], hint=_NAME)
    if account.unit != desk.unit(request):
        raise RefusedError("unit", f"the prescription is in {account.unit}", hint="Give quantity and unit in that.")
    if account.expires is not None and account.expires < desk.today.isoformat():
        raise RefusedError("prescription-expired", f"the prescription could be supplied until {account.expires}")
    return _check_left(desk, request, account), passed


def _check_left(desk: Desk, request: Request, account: Balance) -> int:
    """(7) The refill of which so much is left."""
    assert account.each is not None  # it has an order
    wanted, asked = amount(desk.quantity(request)), _asked_refill(request)
    step = account.next_refill()
    if asked is not None:
        left = account.each - account.open().get(asked, 0) if asked <= account.repeats else amount((0, 0))
        step = (asked, left)
    if step is None or wanted > step[1]:
        left = max(step[1], amount((0, 0))) if step is not None else amount((0, 0))
        repeats = f" of repeat {step[0]}" if step is not None and step[0] else ""
        raise RefusedError(
            "nothing-left" if left == 0 else "too-much",
            f"{amount_text(left)} {account.unit} are left{repeats}, by what this box knows",
            hint="Supply what is left, or ask the prescriber.",
        )
    return step[0]


def _asked_refill(request: Request) -> int | None:
    given = request.get("refill")
    if given is None:
        return None
    if not str(given).isdecimal() or int(given) > 99:
        raise malformed("refill is a number from 0, the first supply, to 99")
    return int(given)


# --- back -----------------------------------------------------------------------------------------------------------


def undo(desk: Desk, request: Request) -> Plan:
    """A supply that never left the counter: all of it, by who supplied it, within so many days."""
    issue = _find(desk, request, ours_first=True)
    if issue.entry.place.feed != desk.view.me:
        raise RefusedError("not-ours", "another pharmacy supplied it", hint="Take it back with return.")
    days = desk.settings.undo_days
    if abs(desk.at - issue.entry.time) > days * DAY_MS:  # the clock may have been set back a little meanwhile
        raise RefusedError("too-late", f"a supply can be undone for {days} days", hint="Take it back with return.")
    return _back(desk, request, issue, "undo")


def take_back(desk: Desk, request: Request) -> Plan:
    """What a patient brings: all of a supply, or so much of it; from whichever pharmacy it came."""
    return _back(desk, request, _find(desk, request), "return")


def _back(desk: Desk, request: Request, issue: Issue, action: str) -> Plan:
    quantity = desk.quantity(request, default=amount_text(issue.open)) if action == "return" else _exact(desk, issue)
    content = issue.entry.content
    if amount(quantity) > issue.open:
        left = f"{amount_text(issue.open)} {content['unit']}"
        raise RefusedError("too-much", f"of that supply, {left} are still with the patient")
    record = DispenseReturn(
        issue=issue.entry.leaf,
        quantity=quantity,
        action=action,
        reason=request.get("reason"),
        operator=desk.operator(request),
        raw=desk.raw,
        subject=issue.entry.subject,
        time=desk.at,
    )
    shown = {name: content[name] for name in ("product", "lot", "serial") if name in content}
    shown |= {"supply": issue.entry.leaf.hex(), "quantity": amount_text(amount(quantity)), "unit": content["unit"]}
    return Plan((record,), shown)


def _exact(desk: Desk, issue: Issue) -> tuple[int, int]:
    return desk.quantity(Request("undo", {"quantity": amount_text(issue.open)}))


def _find(desk: Desk, request: Request, *, ours_first: bool = False) -> Issue:
    """The supply that a request names, of which something is still out."""
    named, scanned = request.get("supply"), request.get("scan")
    if (named is None) == (scanned is None):
        raise malformed("name either the supply or the pack's scan")
    if named is not None:
        try:
            leaf = bytes.fromhex(named)
        except ValueError as error:
            raise malformed("supply is the 64 hexadecimal digits that the reply to dispense gave") from error
        issue = desk.view.book(("supply", leaf)).issue(leaf, desk.view.me)
        found = [] if issue is None else [issue]
    else:
        scan = desk.scan(request)
        if scan.serial is None:
            raise RefusedError("no-serial", "the scan has no serial number", hint="Name the supply.")
        found = issues_of(desk, scan)
    if not found:
        raise RefusedError("unknown-supply", "no such supply is known here")
    out = [issue for issue in found if issue.open > 0]
    if not out:
        raise RefusedError("returned-already", "all of that supply came back already")
    if ours_first:
        out = [issue for issue in out if issue.entry.place.feed == desk.view.me] or out
    if len(out) > 1:
        places = ", ".join(issue.entry.leaf.hex() for issue in out[:4])
        raise RefusedError("which", f"{len(out)} supplies of that pack are out", hint=f"Name one of: {places}.")
    return out[0]
