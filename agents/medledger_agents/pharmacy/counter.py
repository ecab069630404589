"""What a pharmacy does with one request from its counter: check it, log it, and only then say so. No sockets.

 (1) the line can be read (requests.py), and was not answered before: with an `id`, a request that is sent again because
     its reply was lost is logged once, and answered from the ledger; without, each line is its own request
 (2) the replica's view is brought up to date. Where that takes long, as when the register is made anew, the request is
     refused as `not-ready`: nobody is told anything by half of a ledger, and nobody waits for the whole of it
 (3) the operation is checked (supply.py, shelving.py)
 (4) where it takes a second person, nothing happens until that person has signed
 (5) the request is kept, the entry is durable on this box; then the reply says that it is done

Everything else is `refused` with a code and a reason. Where a refusal is about the pack itself (expired, recalled,
supplied already, a serial number that cannot be), it goes on the ledger too, once, for an alert concerns everybody. A
request that a crash interrupted before (5) is not logged afterwards: nobody was told that it was done.

Where a commit fails, nobody knows whether the disk has it until the ledger is opened again. Then the reply is neither
`done` nor `refused` but `unknown`, as often as it is asked; afterwards the same request under the same id is answered
from the ledger, or logged.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from medledger.errors import ConfigurationError, MedledgerError, SchemaError, UsageError
from medledger.findings import Finding, Observed
from medledger.findings.witnesses import check_witness
from medledger.ledger import Ledger
from medledger.records import Dispense, Record, Stock, witness_message
from medledger_bridge.errors import ScanError

from .. import logs
from ..inbox import Inbox, Received
from ..recorder import Answer, Delivery, Recorder
from ..subjects import Subjects
from . import shelving, supply
from .config import DispensingSection
from .desk import Desk, Plan, ReadScan
from .reading import ENTRY
from .requests import OPERATIONS, RefusedError, Request, UnsureError, malformed, read_request
from .view import Behind, Budget, View

MAX_WAITING: Final = 64
WITNESS_MINUTES: Final = 15
MAX_TOLD: Final = 64
"""Conflicts of one look that the log names one by one."""
MAX_ENTRIES: Final = 2
"""Entries of one request: a receipt, and its quarantine."""
PATIENCE: Final = 1_000
"""So many entries about supplies that came does a request wait for, about a second; it is refused for more."""
MAX_SHOWN: Final = 1_000
"""Conflicts in one reply."""
REGISTER_SUFFIX: Final = ".register.db"
"""In place of the inbox's: the file of register.py."""
_SENDER: Final = "counter"

Clock = Callable[[], datetime]
PLANS: Final[Mapping[str, Callable[[Desk, Request], Plan]]] = {
    "dispense": supply.dispense,
    "undo": supply.undo,
    "return": supply.take_back,
    "receive": shelving.receive,
    **dict.fromkeys(shelving.STEPS, shelving.move),
    "recall": shelving.recall,
}
QUESTIONS: Final[Mapping[str, Callable[[Desk, Request], dict[str, Any]]]] = {
    "stock": shelving.on_hand,
    "balance": shelving.account,
}
_CODES: Final[Mapping[type[MedledgerError], str]] = {
    ScanError: "scan",
    SchemaError: "malformed",
    ConfigurationError: "scanner",  # its self-test is missing, too old, or was not passed
}


def local_clock() -> datetime:
    """This place's date and time."""
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that waits for its witness."""

    request: Request
    line: bytes
    now: datetime
    record: Dispense | Stock


class Counter:
    """Handles requests one at a time; blocks on the disk."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        settings: DispensingSection,
        recorder: Recorder,
        subjects: Subjects,
        *,
        read_scan: ReadScan,
        clock: Clock = local_clock,
    ) -> None:
        self._ledger = ledger
        self._inbox = inbox
        self.settings = settings
        self._recorder = recorder
        self._subjects = subjects
        self._read_scan = read_scan
        self._clock = clock
        self._view = View(ledger, inbox.path.with_suffix(REGISTER_SUFFIX))
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._unsure: set[bytes] = set()  # what was being written when the ledger's commit failed: its last requests

    def close(self) -> None:
        """Close what it keeps of its own."""
        self._view.close()

    @property
    def behind(self) -> Behind | None:
        """What is still to be read and judged; None where nothing is."""
        return self._view.behind

    def look(self, entries: int, *, judge: bool = True) -> list[Finding]:
        """Read what came from others, about so many entries of it; the conflicts that are new, which are logged."""
        new = self._view.catch_up(Budget(entries * ENTRY), judge=judge)
        for finding in new[:MAX_TOLD]:
            logs.warning("conflict", kind=finding.kind, blocks=[at.block_id.hex()[:16] for at in finding.places])
        if len(new) > MAX_TOLD:  # as after a recall of what was supplied for years: `conflicts` has them all
            logs.warning("more conflicts", count=len(new) - MAX_TOLD)
        return new

    def _look(self) -> list[Finding]:
        """The conflicts that are new. Raises `RefusedError` where there is more to be read than a request waits for."""
        behind, new = self.behind, []
        if behind is None or not behind.reading or behind.blocks - behind.read <= PATIENCE:
            new = self.look(PATIENCE, judge=behind is None or behind.doubtful <= PATIENCE)
        if self.behind is not None and self.behind.reading:
            raise _not_ready(self.behind)
        return new

    def handle(self, line: bytes) -> dict[str, Any]:
        """The reply to one line."""
        request: Request | None = None
        try:
            request = read_request(line)  # (1)
            self._look()  # (2)
            reply = self._handle(request, line)
        except MedledgerError as error:
            code = error.code if isinstance(error, RefusedError) else _CODES.get(type(error), "not-logged")
            if request and code == "not-logged" and self._may_be_logged(request, error):
                return self._unknown(request, error)
            logs.warning("request refused", code=code, do=request.do if request else "unreadable")
            reply = {"result": "refused", "code": code, "reason": str(error)}
            if error.hint:
                reply["hint"] = error.hint
            if isinstance(error, RefusedError) and error.disposition and request:
                waiting = self._waiting.get(str(request.id)) if request.do == "witness" else None
                reply["alert"] = self._alert(waiting.request if waiting else request, line, error)
        return {**reply, "id": request.id} if request and request.id else reply

    def _may_be_logged(self, request: Request, error: MedledgerError) -> bool:
        """Whether a request that failed may stand on the ledger, now or since it was sent before."""
        if isinstance(error, UnsureError):
            return True
        logs_it = request.do in PLANS or request.do == "witness"
        if isinstance(error, RefusedError) or request.id is None or not logs_it:
            return False  # it was looked up, or cannot be a repetition, or is nothing to be logged
        try:
            return self._inbox.holds(_SENDER, request.id)
        except MedledgerError:
            return True

    def _unknown(self, request: Request, error: MedledgerError) -> dict[str, Any]:
        unsure = error if isinstance(error, UnsureError) else UnsureError(str(error), by_id=True)
        logs.warning("outcome unknown", do=request.do)
        reply = {"result": "unknown", "reason": str(unsure), "hint": unsure.hint}
        return {**reply, "id": request.id} if request.id else reply

    def _handle(self, request: Request, line: bytes) -> dict[str, Any]:
        if request.do == "witness":
            return self._witnessed(request)
        if request.do == "conflicts":
            return self._conflicts()
        desk = self._desk(line, self._clock())
        if request.do in QUESTIONS:
            return {"result": OPERATIONS[request.do].result, **QUESTIONS[request.do](desk, request), **self._age()}
        if request.do == "verify":
            plan = supply.dispense(desk, request)
            return {"result": "verified", **self._said(plan), "witness": plan.witness}
        if request.id and self._inbox.conflicts(Received(_SENDER, request.id, desk.raw, line, desk.at)):
            raise RefusedError("conflict", "this id was used for another request", hint="Give each request its own.")
        done = self._view.logged(desk.raw) if request.id else None
        if done is not None:
            return self._again(request, done)
        plan = PLANS[request.do](desk, request)  # (3)
        if plan.witness:
            return self._ask_for_witness(request, line, desk, plan)  # (4)
        return self._log(request, line, desk, plan)

    def _conflicts(self) -> dict[str, Any]:
        if self.behind is not None:
            raise _not_ready(self.behind)
        found = [_told(each) for each in islice(self._view.conflicts(MAX_SHOWN), MAX_SHOWN)]
        more = self._view.count_conflicts() - len(found)
        return {"result": "conflicts", "conflicts": found, **({"more": more} if more else {})}

    def _desk(self, line: bytes, now: datetime) -> Desk:
        return Desk(self._view, self.settings, self._subjects, self._read_scan, now, self._subjects.request(line))

    # --- logging --------------------------------------------------------------------------------------------------

    def _log(self, request: Request, line: bytes, desk: Desk, plan: Plan) -> dict[str, Any]:
        """(5)"""
        salt = self._subjects.name(line).salt
        received = Received(_SENDER, request.id or os.urandom(16).hex(), desk.raw, line, desk.at, salt)
        sound = self._ledger.failure is None
        answer = self._record(received, plan.records)
        if self._ledger.failure is not None and answer.block is None and (sound or desk.raw in self._unsure):
            self._unsure.add(desk.raw)
            raise UnsureError(
                f"whether it is logged is not known: {self._ledger.failure}", by_id=request.id is not None
            )
        if answer.refused is not None or answer.block is None:
            raise RefusedError("conflict" if answer.conflict else "not-logged", answer.refused or "nothing was logged")
        logs.event(OPERATIONS[request.do].result, block=answer.block, repeated=answer.repeated)
        named: dict[str, Any] = {}
        try:
            new = self._look()
            entry = self._view.logged(desk.raw, answer.block)
            named = {} if entry is None else {"entry": entry.leaf.hex()}
            plan = replace(plan, warnings=(*plan.warnings, *self._too_late(new, answer.block)))
        except MedledgerError as error:  # it is logged, and so it is said: the next request has to read it first
            logs.warning("what was logged cannot be read", reason=str(error))
        place = {"block": answer.block, **named, "repeated": answer.repeated}
        return {"result": OPERATIONS[request.do].result, **self._said(plan), **place}

    def _too_late(self, new: list[Finding], block: int) -> list[str]:
        """What came in between (2) and (5), as a recall of this very pack, and does not fit with what was logged."""
        mine = [each for each in new if any((at.feed, at.seq) == (self._view.me, block) for at in each.places)]
        return [f"meanwhile it has come in that {each.sentence}" for each in mine]

    def _record(self, received: Received, records: tuple[Record, ...]) -> Answer:
        (answer,) = self._recorder.record([Delivery(received, records)])
        self._recorder.rest()
        return answer

    def _again(self, request: Request, entry: Observed) -> dict[str, Any]:
        """The reply to a request whose entry stands on the ledger."""
        place = {"block": entry.place.seq, "entry": entry.leaf.hex(), "repeated": True}
        shown = {name: entry.content[name] for name in ("product", "lot", "expiry", "serial") if name in entry.content}
        issue = self._view.book(("supply", entry.leaf)).issue(entry.leaf, self._view.me)
        back = {"warnings": ["all of it came back since"]} if issue is not None and issue.open == 0 else {}
        return {"result": OPERATIONS[request.do].result, **shown, **place, **back}

    def _alert(self, request: Request, line: bytes, error: RefusedError) -> bool:
        """Put a refusal that is about the pack on the ledger; whether it stands there."""
        desk = self._desk(line, self._clock())
        try:
            record = shelving.inspection(desk, request, error)
            if record is None:
                return True
            self._recorder.note((record,))
        except MedledgerError as failure:
            logs.warning("an alert cannot be logged", reason=type(failure).__name__)
            return False
        try:
            self._look()
        except MedledgerError as failure:  # it stands there all the same: the next request has to read it first
            logs.warning("what was logged cannot be read", reason=str(failure))
        return True

    # --- the second person ------------------------------------------------------------------------------------------

    def _ask_for_witness(self, request: Request, line: bytes, desk: Desk, plan: Plan) -> dict[str, Any]:
        if request.id is None:
            raise malformed("this takes a witness, and so the request needs an id", hint="Send it again with an id.")
        waiting = self._still_waiting(request)
        if waiting is not None and waiting.line != line:
            raise RefusedError("conflict", "another request of this id waits for its witness")
        if waiting is not None:  # sent again: what the witness was shown is still what they sign
            before = self._desk(line, waiting.now)
            again = PLANS[request.do](before, request)
            desk, plan = (before, again) if again.records == (waiting.record,) else (desk, plan)
        (record,) = plan.records
        assert isinstance(record, Dispense | Stock)  # what can have a witness
        self._waiting[request.id] = _Waiting(request, line, desk.now, record)
        self._waiting.move_to_end(request.id)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)
        statement = witness_message(
            self._ledger.id, self._view.me, record.TYPE, desk.at, record.subject, record.to_content()
        )
        return {
            "result": "witness-needed",
            **self._said(plan),
            "statement": statement.hex(),
            "minutes": WITNESS_MINUTES - int((self._clock() - desk.now).total_seconds()) // 60,
        }

    def _still_waiting(self, request: Request) -> _Waiting | None:
        """The request of this id that waits for its witness, and not for too long."""
        waiting = self._waiting.get(str(request.id))
        if waiting is None or not 0 <= (self._clock() - waiting.now).total_seconds() <= WITNESS_MINUTES * 60:
            self._waiting.pop(str(request.id), None)
            return None
        return waiting

    def _witnessed(self, request: Request) -> dict[str, Any]:
        waiting = self._still_waiting(request)
        if waiting is None:
            raise RefusedError(
                "no-such-request", "no request of this id waits for a witness", hint="Send the request itself again."
            )
        try:
            witness = (bytes.fromhex(request.get("key")), bytes.fromhex(request.get("signature")))
        except ValueError as error:
            raise malformed("key and signature are hexadecimal") from error
        desk = self._desk(waiting.line, waiting.now)
        plan = PLANS[waiting.request.do](desk, waiting.request)  # what has happened since may forbid it now
        if plan.records != (waiting.record,):
            del self._waiting[str(request.id)]
            raise RefusedError("changed", "what was to be signed has changed meanwhile", hint="Send the request again.")
        record = replace(waiting.record, witness=witness)
        try:
            check_witness(
                self._ledger.id,
                self._ledger.membership,
                self._view.me,
                self._ledger.membership.epoch.number,
                record.TYPE,
                desk.at,
                record.subject,
                record.to_content(),
            )
        except MedledgerError as error:
            raise RefusedError("witness", str(error), hint=error.hint) from error
        reply = self._log(waiting.request, waiting.line, desk, Plan((record,), plan.shown))
        del self._waiting[str(request.id)]
        return reply

    # --- words ------------------------------------------------------------------------------------------------------

    def _said(self, plan: Plan) -> dict[str, Any]:
        warnings = {"warnings": list(plan.warnings)} if plan.warnings else {}
        return {**plan.shown, **warnings, **self._age()}

    def _age(self) -> dict[str, Any]:
        """How old the newest block of anybody else is that this box has judged by."""
        at = self._view.as_of
        count = self._view.count_conflicts()
        return {"as_of": None if at is None else _iso(at), **({"conflicts": count} if count else {})}


def interrupted(_raw: bytes, _at: int, _name: bytes) -> tuple[Record, ...]:
    """What is logged of a request that a crash interrupted: nothing, so that it is asked for again."""
    raise UsageError("interrupted before it was logged")


def how_far(behind: Behind) -> str:
    """In words, and in steps of a tenth: whoever logs it logs it ten times."""
    if behind.reading:
        return f"{10 * (10 * behind.read // behind.blocks)} % are read"
    return "all is read, and what does not fit is looked for"


def _not_ready(behind: Behind) -> RefusedError:
    hint = "Send it again in some seconds, with the same id."
    return RefusedError("not-ready", f"this box is still reading its ledger: {how_far(behind)}", hint=hint)


def _told(finding: Finding) -> dict[str, Any]:
    """A finding for the till, with the blocks that prove it."""
    proof = [f"{place.feed.hex()[:8]}/{place.seq}" for place in finding.places]
    return {"kind": finding.kind, "sentence": finding.sentence, "proof": proof}


def _iso(at: int) -> str | None:
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None  # a member's clock beyond what a calendar holds
