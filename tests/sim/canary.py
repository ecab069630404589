"""Canaries: bugs planted in the shipped code, each of which a simulator that is worth its time must find.

They patch one function each, while they last, in this process only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from unittest import mock

from medledger import Ledger, fork, validation
from medledger.errors import StoreError
from medledger.guard import Guard
from medledger.store.connection import Connection
from medledger.sync import Effect, Event, Node, WakeAt
from medledger.sync.serving import Server

from .broker import Weather
from .plan import Plan


def _without_signatures() -> AbstractContextManager[object]:
    """Blocks are taken whoever signed them."""
    return mock.patch.object(validation, "verify", return_value=None)


def _without_proofs() -> AbstractContextManager[object]:
    """Fork proofs are believed whoever signed their headers."""
    return mock.patch.object(fork, "verify", return_value=None)


def _without_flush() -> AbstractContextManager[object]:
    """A commit returns before it is on the disk, so that blocks are acknowledged and published before they persist."""
    shipped = Connection._connect.__func__  # type: ignore[attr-defined]

    def hasty(cls: type[Connection], path: Path, *, new: bool) -> Connection:
        opened: Connection = shipped(cls, path, new=new)
        opened.connection.execute("PRAGMA synchronous = OFF")
        return opened

    return mock.patch.object(Connection, "_connect", classmethod(hasty))


def _without_witness() -> AbstractContextManager[object]:
    """Blocks leave, and the witness does not hear of it."""
    return mock.patch.object(Guard, "leaves", return_value=None)


def _without_recovery() -> AbstractContextManager[object]:
    """A restored store signs as if it were the latest."""
    return mock.patch.object(Guard, "recovering", property(lambda _: False))


def _without_answers() -> AbstractContextManager[object]:
    """Wants are not answered."""
    return mock.patch.object(Server, "want", return_value=[])


def _without_refusal() -> AbstractContextManager[object]:
    """A ledger that knows that it must not sign does so when asked."""
    return mock.patch.object(Ledger, "check_may_sign", return_value=None)


def _without_end_of_recovery() -> AbstractContextManager[object]:
    """A restored store never learns that its peers have no more."""
    return mock.patch.object(Guard, "confirmed", return_value=None)


def _without_forgetting() -> AbstractContextManager[object]:
    """Something of every event stays with the node."""
    shipped = Node.handle

    def hoarding(node: Node, event: Event, now: float) -> list[Effect]:
        vars(node).setdefault("_hoard", []).append(now)
        return shipped(node, event, now)

    return mock.patch.object(Node, "handle", hoarding)


def _without_care() -> AbstractContextManager[object]:
    """A question from outside raises what nobody expects."""
    return mock.patch.object(Server, "want", side_effect=LookupError("planted"))


def _without_cause() -> AbstractContextManager[object]:
    """Appending fails as if the disk had, and the disk is well."""
    return mock.patch.object(Ledger, "append", side_effect=StoreError("planted"))


def _in_a_hurry() -> AbstractContextManager[object]:
    """A node asks to be woken again at once, for ever."""
    shipped = Node.handle

    def restless(node: Node, event: Event, now: float) -> list[Effect]:
        return [*shipped(node, event, now), WakeAt(now)]

    return mock.patch.object(Node, "handle", restless)


PLAN = Plan(
    members=3,
    governors=1,
    auditor=False,
    enemies=2,
    write_seconds=1.0,
    burst=1,
    weather=Weather(loss=0.1, sure_loss=0.1, duplication=0.05, replay=0.05),
    pace=40,
    happenings=("power cut", "process killed", "restored backup"),
)
"""A life hard enough for every canary to die in it soon."""

QUIET = replace(PLAN, happenings=())
"""The same, but that machines live long."""

CANARIES: dict[str, tuple[Callable[[], AbstractContextManager[object]], str, Plan]] = {
    "accepts blocks without a signature": (_without_signatures, "nothing forged accepted", PLAN),
    "believes fork proofs without a signature": (_without_proofs, "no honest node accused", PLAN),
    "publishes before it persists": (_without_flush, "nothing acknowledged lost", PLAN),
    "does not flush the witness": (_without_witness, "no self-fork", PLAN),
    "signs while recovering": (_without_recovery, "no self-fork", PLAN),
    "answers nothing": (_without_answers, "convergence", PLAN),
    "signs although it knows better": (_without_refusal, "no signing unless ready", PLAN),
    "never signs again": (_without_end_of_recovery, "recovery ends", PLAN),
    "forgets nothing": (_without_forgetting, "memory bounded", QUIET),
    "raises what nobody expects": (_without_care, "no escaping exception", PLAN),
    "fails without a cause": (_without_cause, "no error without a cause", PLAN),
    "wakes all the time": (_in_a_hurry, "time goes on", PLAN),
}
"""What is planted, how, the rule whose breach gives it away, and the lives in which that shows."""
