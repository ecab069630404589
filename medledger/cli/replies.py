"""Enrolling in the cases that `Ledger.enrol` leaves open: a reply that was lost, and a member enrolled anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from medledger.errors import MembershipError, UsageError

if TYPE_CHECKING:
    from medledger.acts import GovEnrol
    from medledger.decisions import PendingAct
    from medledger.joining import Request
    from medledger.ledger import Ledger


def is_enrolled(ledger: Ledger, feed: bytes) -> bool:
    """Whether an effective enrolment names this key, and nothing has revoked it."""
    member = ledger.membership.members.get(feed)
    return member is not None and member.act_id is not None and not member.revoked


def pending_enrolment(ledger: Ledger, feed: bytes) -> PendingAct | None:
    """The enrolment of this key that waits for governors, None where none does."""
    for act in ledger.membership.pending:
        if act.type == "gov.enrol" and isinstance(act.content, dict) and act.content["sig"][1] == feed:
            return act
    return None


def again(ledger: Ledger, request: Request, secret: bytes, broker: str | None) -> str:
    """The reply to a request whose key is a member already: nothing is written."""
    from medledger.governing import reply

    if not ledger.transport_keys:
        raise UsageError("this replica has no transport key to pass on", hint="Open it with a member's key.")
    return reply(ledger, request, secret, broker=broker)


def enrolment_again(ledger: Ledger, feed: bytes, *, roles: Iterable[str] | None, label: str | None) -> GovEnrol:
    """The enrolment of a member in the current epoch, on the request that it once signed. Raises `MembershipError`."""
    from medledger.acts import GovEnrol
    from medledger.joining import read_request
    from medledger.proposals import enrolment_content

    known = ledger.membership.members[feed]
    proof = next(
        (
            entry.content["proof"]
            for entry in ledger.entries(GovEnrol.TYPE)
            if known.act_id is not None and entry.content["sig"][1] == feed
        ),
        None,
    )
    if proof is None:
        raise MembershipError(
            "this key has never asked to join: it is here by its office alone",
            hint="Have it make a request, and approve that.",
        )
    content = enrolment_content(
        ledger.membership,
        read_request(proof),
        roles=known.roles if roles is None else roles,
        organisation=known.organisation,
        label=known.label if label is None else label,
        succeeds=known.succeeds,
    )
    return GovEnrol.from_content(content)


def propose(ledger: Ledger, act: GovEnrol, content: Any) -> None:
    """Propose an act and approve it, in one block."""
    from medledger.governing import decide

    decide(ledger, act, content)
