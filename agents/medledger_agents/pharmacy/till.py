"""A till for people: lines that somebody types or scans become requests, and replies become sentences. No sockets.

]d201...                          dispense that pack, with what was set before
waste ]d201... reason="broken"    an operation, what it is about, and more of its keys
balance rx:00010203...            the first word after an operation is its scan, product, prescription or supply
{"do": "stock"}                   a request as it goes over the wire
help                              what there is
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from medledger import strictjson
from medledger.errors import UsageError

from .requests import FNC1_TYPED, OPERATIONS

_FIRST: Final = {"balance": "prescription", "stock": "product", "recall": "product"}
_KEY: Final = re.compile(r"[a-z]+=")
_LISTS: Final = frozenset(("lots", "serials"))


def help_text() -> str:
    """What may be typed, each operation with what it takes."""
    lines = ["A scan alone supplies that pack. Else, with what is needed and [what may be said]:"]
    for name, operation in OPERATIONS.items():
        if name != "witness":  # the command `medledger agent witness` asks for that
            may = [f"[{key}=]" for key in operation.may if key != "id"]
            lines += [" ".join(("", name, *(key.upper() for key in operation.needs), *may)), f"      {operation.doc}"]
    lines += ["As in:  dispense SCAN prescription=rx:... quantity=10 unit={tablet}", "Ctrl+D ends it."]
    return "\n".join(lines)


def parse(line: str) -> dict[str, Any]:
    """The request in a typed line. Raises `UsageError`."""
    text = line.strip()
    if text.startswith("{"):
        try:
            found = strictjson.parse(text, fraction=strictjson.refuse_fraction)
        except ValueError as error:
            raise UsageError(f"this is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UsageError("a request is one JSON object")
        return found
    word, _, rest = text.partition(" ")
    if word not in OPERATIONS:
        return {"do": "dispense", "scan": text.replace(FNC1_TYPED, "\x1d")}
    return {"do": word, **_keys(word, rest.strip())}


def _keys(do: str, rest: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    first, _, more = rest.partition(" ")
    if first and not _KEY.match(first):
        name = _FIRST.get(do, "scan")
        if name == "scan" and do in ("undo", "return") and len(first) == 64:
            name = "supply"
        found[name] = first.replace(FNC1_TYPED, "\x1d")
        rest = more
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise UsageError(f"the line cannot be read: {error}") from error
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not of the form key=value")
        found[name] = value.split(",") if name in _LISTS else value == "true" if name == "held" else value
    return found


def say(reply: Mapping[str, Any]) -> str:
    """What the pharmacist sees of a reply."""
    result = reply["result"]
    if result == "refused":
        lines = [f"REFUSED ({reply['code']}): {reply['reason']}."]
        lines += [f"  {reply['hint']}"] if "hint" in reply else []
        lines += ["  All pharmacies are told of this pack."] if reply.get("alert") else []
    elif result == "unknown":
        lines = [f"UNKNOWN: {reply['reason']}.", f"  {reply['hint']}"]
    elif result == "conflicts":
        lines = [f"{each['kind']}: {each['sentence']}. Proof: {', '.join(each['proof'])}" for each in reply[result]]
        lines = lines or ["Nothing that is known here contradicts this pharmacy's supplies."]
        if "more" in reply:
            lines += [f"And {reply['more']} more: `medledger audit findings` on an auditor's replica has them all."]
    elif result == "stock":
        lines = [
            f"{row['product']}: {row['available']} {row['unit']} to supply, {row['held']} held"
            for row in reply["shelves"]
        ]
        lines += [f"serial {reply['serial']}: {reply['state']}"] if "serial" in reply else []
        lines = lines or ["No stock is recorded."]
    elif result == "balance":
        lines = [_balance(reply)]
    else:
        lines = [_done(reply)]
    return "\n".join(lines + _notes(reply))


def _done(reply: Mapping[str, Any]) -> str:
    words = {"witness-needed": "A WITNESS HAS TO SIGN", "verified": "Can be supplied"}
    parts = [f"{reply['quantity']} {reply['unit']}"] if "quantity" in reply else []
    parts += [reply["product"]] if "product" in reply else []
    parts += [f"{name} {reply[name]}" for name in ("lot", "serial", "expiry") if name in reply]
    told = f"{words.get(reply['result'], reply['result'].upper())}: {', '.join(parts)}"
    told += f"; {reply['remaining']} remain on the prescription" if "remaining" in reply else ""
    told += "; nothing is logged before that" if reply["result"] == "witness-needed" else ""
    told += f"; into QUARANTINE: {reply['reason']}" if reply.get("held") and "reason" in reply else ""
    told += f" (block {reply['block']}{', as before' if reply.get('repeated') else ''})" if "block" in reply else ""
    return told


def _balance(reply: Mapping[str, Any]) -> str:
    if not reply["known"]:
        supplied = f"{reply['dispensed']} {reply['unit']} were" if reply["supplies"] else "nothing was"
        return f"No such prescription has arrived here; {supplied} supplied under it."
    step = reply["next"]
    left = "nothing is left" if step is None else f"{step['left']} may be supplied now"
    return (
        f"{reply['remaining']} of {reply['authorised']} {reply['unit']} remain: {reply['dispensed']} supplied, "
        f"{reply['returned']} returned; {left}"
    )


def _notes(reply: Mapping[str, Any]) -> list[str]:
    notes = [f"  Note: {warning}." for warning in reply.get("warnings", ())]
    if type(reply.get("conflicts")) is int:
        notes.append(f"  {reply['conflicts']} conflicts with other pharmacies: see `conflicts`.")
    if "as_of" in reply:
        known = reply["as_of"]
        notes.append(f"  Others were heard up to {_here(known)}." if known else "  Nobody else was heard yet.")
    return notes


def _here(text: str) -> str:
    """A time by the clock of this place, to the minute."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")
