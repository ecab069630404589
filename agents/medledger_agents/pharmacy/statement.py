"""What a witness is asked to sign, in words: nobody signs bytes that they cannot read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from medledger import cbor
from medledger.errors import MedledgerError, UsageError
from medledger.findings.amounts import amount, amount_text
from medledger.registry import lookup
from medledger.supplies import WITNESS_DOMAIN

MAX_BYTES: Final = 4096
_MARKS: Final = ("lot", "serial", "expiry", "schedule", "disposition", "reason", "override")
_WORDS: Final = {"destroying": "destroy", "removing": "write off", "shipping": "send away"}


@dataclass(frozen=True, slots=True)
class Statement:
    """The bytes, and what they say."""

    message: bytes
    sentence: str


def read_statement(text: str) -> Statement:
    """The statement that a counter showed. Raises `UsageError` for anything but one, so that no other can be signed."""
    try:
        message = bytes.fromhex(text)
        domain, ledger, author, type_name, time, _subject, content = cbor.decode(message, max_size=MAX_BYTES)
        record = lookup(type_name)
        if domain != WITNESS_DOMAIN or record is None or type_name not in ("stock", "dispense") or "witness" in content:
            raise UsageError("no statement for a witness")
        record.SCHEMA.check(content)
        sentence = _sentence(ledger, author, type_name, time, content)
    except (MedledgerError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            "this is not what a counter asks a witness to sign", hint="Copy the whole line that the counter showed."
        ) from error
    return Statement(message, sentence)


def _sentence(ledger: bytes, author: bytes, type_name: str, time: int, content: Any) -> str:
    what = "supply" if type_name == "dispense" else _WORDS.get(content["step"], content["step"])
    goods = f"{amount_text(amount(content['quantity']))} {content['unit']} of {content['product']}"
    marks = [f"{name} {content[name]}" for name in _MARKS if name in content]
    try:
        when = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        when = "at an unreadable time"
    where = f"pharmacy {author.hex()[:8]}, ledger {ledger.hex()[:8]}, {when}"
    return f"You witness: {what} {', '.join([goods, *marks])} ({where})."
