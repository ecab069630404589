"""`medledger prescriptions`: what was prescribed, supplied and brought back, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medledger.errors import UsageError

from ..command import Command
from ..opening import reading
from ..options import json_option, ledger_argument
from ..output import emit, facts, printable, say, short, table, time_json, time_text

if TYPE_CHECKING:
    from medledger.findings import Context
    from medledger.findings.issues import Issue
    from medledger.findings.prescriptions import Balance
    from medledger.findings.supply_book import SupplyBook
    from medledger.ledger import Ledger

HEADINGS = ("PRESCRIPTION", "UNIT", "AUTHORISED", "SUPPLIED", "RETURNED", "REMAINING", "")


@click.command(
    cls=Command,
    examples=(
        "medledger prescriptions ward.db                  all of them, those that do not fit marked",
        "medledger prescriptions ward.db 0a1b2c3d         one, with each supply and the proof",
        "medledger prescriptions ward.db --json",
    ),
)
@ledger_argument()
@click.argument("prescription", required=False)
@json_option
def prescriptions(ledger: Path, prescription: str | None, as_json: bool) -> None:
    """Show the balances of the prescriptions in LEDGER.

    PRESCRIPTION is the id of one, or its first digits. A finding names the blocks that prove it: `medledger show` has
    them.
    """
    from medledger.findings import Context
    from medledger.findings.prescriptions import balance

    with reading(ledger) as opened:
        book = _book(opened)
        context = Context(opened.id, opened.membership)
        names = book.prescriptions() if prescription is None else [_chosen(book.prescriptions(), prescription)]
        accounts = [balance(book, name) for name in names]
        if as_json:
            for account in accounts:
                emit(_json(account, context))
        elif prescription is not None:
            _show(accounts[0], context)
        elif accounts:
            table(HEADINGS, [_row(account, context) for account in accounts])
        else:
            say("No prescription, and no supply on one.")


def _book(ledger: Ledger) -> SupplyBook:
    from medledger.findings import Fold, observe
    from medledger.findings.supply_book import SupplyBook

    types = ("prescription", "dispense", "dispense.return")
    return SupplyBook.of(observe(ledger, Fold("balances", types, frozenset(types), lambda *_: ())))


def _chosen(names: list[bytes | str], wanted: str) -> bytes | str:
    digits = wanted.lower().removeprefix("rx:").removeprefix("hex:").replace("-", "")
    found = [name for name in names if name == wanted or (isinstance(name, bytes) and name.hex().startswith(digits))]
    if not found:
        raise UsageError(
            f"there is no prescription {wanted!r} here", hint="List them: `medledger prescriptions LEDGER`."
        )
    if len(found) > 1 and wanted not in found:
        raise UsageError(f"{wanted!r} begins {len(found)} prescriptions", hint="Give more digits.")
    return wanted if wanted in found else found[0]


def _named(prescription: bytes | str) -> str:
    return short(prescription) if isinstance(prescription, bytes) else printable(prescription)


def _numbers(account: Balance) -> dict[str, str | None]:
    from medledger.findings.amounts import amount_text

    numbers = {
        "authorised": account.authorised,
        "dispensed": account.dispensed,
        "returned": account.returned,
        "remaining": account.remaining,
    }
    return {name: None if number is None else amount_text(number) for name, number in numbers.items()}


def _row(account: Balance, context: Context) -> tuple[str, ...]:
    from medledger.findings.prescriptions import findings_of

    kinds = sorted({finding.kind.upper() for finding in findings_of(account, context)})
    return (
        _named(account.prescription),
        account.unit,
        *(number or "-" for number in _numbers(account).values()),
        ", ".join(kinds) or ("" if account.order is not None else "no order here"),
    )


def _show(account: Balance, context: Context) -> None:
    from medledger.findings.prescriptions import author_name, findings_of

    name = account.prescription.hex() if isinstance(account.prescription, bytes) else printable(account.prescription)
    pairs = [("prescription", name)]
    if account.order is not None:
        order = account.order
        pairs.append(("written by", f"{printable(author_name(order, context))}, {_place(order.place)}"))
        content = order.content
        pairs += [(key, str(content[key])) for key in ("product", "atc", "schedule") if key in content]
        pairs += [("expires", account.expires)] if account.expires is not None else []
        pairs.append(("repeats", str(account.repeats)))
    numbers = _numbers(account)
    pairs += [(key, f"{number} {account.unit}" if number else "not known here") for key, number in numbers.items()]
    facts(pairs)
    if account.issues or account.strays:
        say()
        table(("TIME", "BY", "BLOCK", "SUPPLIED", "RETURNED", "REPEAT", "SERIAL"), [
            _supply(issue, context) for issue in (*account.issues, *account.strays)
        ])  # fmt: skip
    for finding in findings_of(account, context):
        say()
        say(f"{finding.kind.upper()}: {printable(finding.sentence)}.")
        say(f"  Proof: {', '.join(_place(place) for place in finding.places)}")


def _supply(issue: Issue, context: Context) -> tuple[str, ...]:
    from medledger.findings.amounts import amount_text
    from medledger.findings.prescriptions import author_name

    content = issue.entry.content
    return (
        time_text(issue.entry.time),
        printable(author_name(issue.entry, context)),
        _place(issue.entry.place),
        f"{amount_text(issue.supplied)} {content['unit']}",
        amount_text(issue.returned),
        str(content.get("refill", 0)),
        printable(content.get("serial", "")),
    )


def _place(place: Any) -> str:
    return f"{short(place.feed)}/{place.seq}"


def _json(account: Balance, context: Context) -> dict[str, Any]:
    from medledger.findings.amounts import amount_text
    from medledger.findings.prescriptions import findings_of

    name = account.prescription.hex() if isinstance(account.prescription, bytes) else account.prescription
    return {
        "prescription": name,
        "unit": account.unit,
        "known": account.order is not None,
        **_numbers(account),
        "supplies": [
            {
                "entry": issue.entry.leaf.hex(),
                "author": issue.entry.place.feed.hex(),
                "block": issue.entry.place.block_id.hex(),
                "time": time_json(issue.entry.time),
                "refill": issue.entry.content.get("refill", 0),
                "quantity": amount_text(issue.supplied),
                "returned": amount_text(issue.returned),
            }
            for issue in (*account.issues, *account.strays)
        ],
        "findings": [
            {
                "kind": finding.kind,
                "sentence": finding.sentence,
                "proof": [{"feed": at.feed.hex(), "seq": at.seq, "block": at.block_id.hex()} for at in finding.places],
            }
            for finding in findings_of(account, context)
        ],
    }
