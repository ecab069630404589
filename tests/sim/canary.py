"""Canaries: bugs planted in the shipped code, each of which a simulator that is worth its time must find.

They patch one function each, while they last, in this process only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

from medledger import fork, validation
from medledger.guard import Guard
from medledger.store.connection import Connection
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

CANARIES: dict[str, tuple[Callable[[], AbstractContextManager[object]], str]] = {
    "accepts blocks without a signature": (_without_signatures, "nothing forged accepted"),
    "believes fork proofs without a signature": (_without_proofs, "no honest node accused"),
    "publishes before it persists": (_without_flush, "nothing acknowledged lost"),
    "does not flush the witness": (_without_witness, "no self-fork"),
    "signs while recovering": (_without_recovery, "no self-fork"),
    "answers nothing": (_without_answers, "convergence"),
}
"""What is planted, how, and the rule whose breach gives it away."""
