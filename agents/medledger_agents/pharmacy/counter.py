"""What a pharmacy does with one request from its counter: check it, log it, and only then say so. No sockets.

A request is a line: a scan as the scanner sends it (`]d201...`), or one JSON object:

    {"scan": "]d201...", "quantity": "20", "unit": "{tablet}", "prescription": "RX-17", "subject": "4711",
     "override": "why a warning was passed over", "id": "till-1-000017"}

All but `scan` may be left out. A number must be a whole number or text, for binary fractions are not exact. With an
`id`, a request that is sent again because its reply was lost is logged once; without, each line is its own request.

 (1) the line is readable, and every key in it is known
 (2) the scan is GS1 and can be read in one way only
 (3) the clock can be right, so that expiry can be judged
 (4) the pack has not expired: its last day is today or later, by this place's calendar
 (5) the request is kept, the entry is durable on this box; then the reply says `dispensed`

Everything else is `refused` with a reason: the pack stays on the shelf. A request that a crash interrupted before (5)
is not logged afterwards, because nobody was told that the pack may be handed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from medledger.decimals import format_decimal, to_exact
from medledger.errors import ConfigurationError, MedledgerError, SchemaError, UsageError
from medledger.records import Dispense
from medledger_bridge.errors import ScanError
from medledger_bridge.gs1 import Scan, parse_scan
from medledger_bridge.scanner.settings import read_scan

from .. import RELEASED, logs
from ..inbox import Received
from ..recorder import Delivery, Recorder
from ..scannerrecord import DEFAULT_DAYS, demand_test
from ..subjects import Subjects
from .config import DispensingSection

MAX_LINE_BYTES: Final = 4096
KEYS: Final = ("scan", "quantity", "unit", "prescription", "subject", "override", "id")
_SENDER: Final = "counter"

Clock = Callable[[], datetime]


class RefusedError(UsageError):
    """The pack must not be supplied. `code` is for programs, the message for the person at the counter."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


def local_clock() -> datetime:
    """This place's date and time."""
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be read."""

    scan: str
    quantity: str
    unit: str
    prescription: str | None
    subject: str | None
    override: str | None
    id: str | None


class Counter:
    """Handles requests one at a time; blocks on the disk."""

    def __init__(
        self,
        settings: DispensingSection,
        recorder: Recorder,
        subjects: Subjects,
        *,
        sends_separators: bool,
        test_record: Path | None = None,
        test_days: int = DEFAULT_DAYS,
        clock: Clock = local_clock,
    ) -> None:
        self.settings = settings
        self._recorder = recorder
        self._subjects = subjects
        self._sends_separators = sends_separators
        self._test_record = test_record
        self._test_days = test_days
        self._clock = clock

    def handle(self, line: bytes) -> dict[str, Any]:
        """The reply to one line."""
        request: Request | None = None
        try:
            request = self._read(line)
            reply = self._dispense(request, line)
        except MedledgerError as error:
            code = error.code if isinstance(error, RefusedError) else _CODES.get(type(error), "not-logged")
            logs.warning("dispensing refused", code=code)
            reply = {"result": "refused", "code": code, "reason": str(error)}
            if error.hint:
                reply["hint"] = error.hint
        return {**reply, "id": request.id} if request and request.id else reply

    def _read(self, line: bytes) -> Request:
        """(1)"""
        try:
            text = line.decode().strip(" \t\r\n")
        except UnicodeDecodeError as error:
            raise RefusedError("malformed", "the line is not UTF-8 text") from error
        if not text.startswith("{"):
            return self._request({"scan": text})
        try:
            found = json.loads(text, parse_float=_no_float, parse_constant=_no_float)
        except (ValueError, RecursionError) as error:
            raise RefusedError("malformed", "the line begins like JSON and is not one object") from error
        return self._request(found)

    def _request(self, found: Mapping[str, Any]) -> Request:
        for key, value in found.items():
            if key not in KEYS:
                raise RefusedError(
                    "malformed", f"there is no key {key[:32]!r} in a request", hint=f"Allowed: {', '.join(KEYS)}."
                )
            whole = key == "quantity" and type(value) is int
            if not whole and (type(value) is not str or not value.strip()):
                raise RefusedError("malformed", f"{key} must be text that is not empty")
        if not found.get("scan"):
            raise RefusedError("malformed", "there is no scan in the request")
        return Request(
            found["scan"],
            str(found.get("quantity", self.settings.quantity)),
            found.get("unit", self.settings.unit),
            *(found.get(key) for key in ("prescription", "subject", "override", "id")),
        )

    def _dispense(self, request: Request, line: bytes) -> dict[str, Any]:
        now = self._clock()
        scan = self._scan(request.scan, now.date())  # (2)
        self._check(scan, now.date(), request.override)
        at = int(now.timestamp() * 1000)
        dispense = self._record(request, scan, sha256(line).digest(), at)
        message_id = request.id or os.urandom(16).hex()
        received = Received(_SENDER, message_id, sha256(line).digest(), line, at)
        (answer,) = self._recorder.record([Delivery(received, (dispense,))])  # (5)
        self._recorder.rest()
        if answer.refused is not None:
            raise RefusedError("conflict" if answer.conflict else "not-logged", answer.refused)
        logs.event("dispensed", block=answer.block, repeated=answer.repeated)
        return {"result": "dispensed", **_shown(dispense), "block": answer.block, "repeated": answer.repeated}

    def _scan(self, text: str, today: date) -> Scan:
        """(2), and with a scanner whose self-test still counts, where one is demanded: a new test counts at once."""
        if self._test_record is None:
            return parse_scan(text, today=today, sends_separators=self._sends_separators)
        record = demand_test(self._test_record, today=today, max_days=self._test_days)
        return read_scan(text, record.arriving(), today=today)

    def _check(self, scan: Scan, today: date, override: str | None) -> None:
        """(3) and (4)"""
        if today < RELEASED:
            raise RefusedError(
                "clock",
                f"this box's clock says {today.isoformat()}, which cannot be right: expiry cannot be judged",
                hint="Set the clock (timedatectl), then scan again.",
            )
        if scan.expiry is None:
            if override is None:
                hint = "Read it from the pack, and give the reason as override."
                raise RefusedError("no-expiry", "the scan has no expiry date", hint=hint)
        elif scan.expiry < today.isoformat():
            problem = f"the pack expired on {scan.expiry}"
            if not self.settings.allow_expired:
                raise RefusedError("expired", problem, hint="Take it off the shelf.")
            if override is None:
                raise RefusedError("expired", problem, hint="To supply it all the same, give the reason as override.")

    def _record(self, request: Request, scan: Scan, raw: bytes, at: int) -> Dispense:
        if to_exact(request.quantity)[0] <= 0:
            raise RefusedError("malformed", "the quantity must be more than nothing")
        prescription = request.prescription
        return Dispense(
            product=scan.gtin,
            lot=scan.lot,
            expiry=scan.expiry,
            serial=scan.serial,
            quantity=request.quantity,
            unit=request.unit,
            prescription=None if prescription is None else self._subjects.prescription(prescription),
            subject=None if request.subject is None else self._subjects.subject(request.subject, "", at),
            override=request.override,
            raw=raw,
            time=at,
        )


_CODES: Final[Mapping[type[MedledgerError], str]] = {
    ScanError: "scan",
    SchemaError: "malformed",
    ConfigurationError: "scanner",  # its self-test is missing, too old, or was not passed
}


def interrupted(_raw: bytes, _at: int) -> tuple[Dispense, ...]:
    """What is logged of a request that a crash interrupted: nothing, so that it is asked for again."""
    raise UsageError("interrupted before it was logged")


def _shown(dispense: Dispense) -> dict[str, Any]:
    found = {
        "product": dispense.product,
        "lot": dispense.lot,
        "expiry": dispense.expiry,
        "serial": dispense.serial,
        "quantity": format_decimal(to_exact(dispense.quantity)),
        "unit": dispense.unit,
    }
    return {name: value for name, value in found.items() if value is not None}


def _no_float(text: str) -> Any:
    raise ValueError(f"{text[:16]} is not exact: write it as text")
