"""Enrolling an applicant from its request: shown, asked about, done once however often it is said, and answered.

The order matters where a key was lost. The new key is enrolled. What others hold of the old one is brought, and then it
is revoked, which changes the transport key. Only then the reply is made: it brings the applicant the new transport key.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from medledger.errors import MembershipError, UsageError

from . import govern, replies
from .output import emit, remark, say, warn

if TYPE_CHECKING:
    from medledger.decisions import PendingAct
    from medledger.joining import Request
    from medledger.ledger import Ledger

    from .gossiping import Way


def enrol(
    ledger: Ledger,
    text: str,
    *,
    roles: tuple[str, ...],
    label: str | None,
    broker: str | None,
    yes: bool,
    as_json: bool,
    revoke_old: bool = False,
    way: Way | None = None,
    wait: float = 0,
) -> None:
    """Enrol an applicant and give it its reply; the reply alone where it is a member already.

    With `way` the reply goes over the broker, too, and we gossip for at most `wait` seconds. Raises `UsageError`,
    `JoinError`, `MembershipError`.
    """
    from medledger.joining import read_request_text

    request, secret = read_request_text(text)
    govern.describe_request(request)
    if roles:
        remark(f"  {'granted'.ljust(12)}  {', '.join(roles)}")
    if revoke_old and request.succeeds is None:
        raise UsageError(
            "this request succeeds no key: there is no old one to revoke",
            hint="Have it made with --succeeds, or revoke the old key with `medledger member revoke`.",
        )
    _admit(ledger, request, text, roles=roles, label=label, yes=yes)
    revoked = revoke_old and _revoke_old(ledger, request, way, yes=yes)
    reply = replies.again(ledger, request, secret, broker)
    waits = replies.pending_enrolment(ledger, request.feed)
    told = {
        "reply": reply,
        "feed": request.feed.hex(),
        "effective": waits is None,
        "pending_act": None if waits is None else waits.id.hex(),
        "revoked": request.succeeds.hex() if revoked and request.succeeds is not None else None,
    }
    if waits is not None:
        warn(govern.waits_for(waits))
    # On a terminal the text is in the way of people, where the broker has brought it.
    late = way is not None and not as_json and sys.stdout.isatty()
    if not as_json and not late:
        _say_reply(reply)
    if way is not None:
        from .delivering import deliver

        done = deliver(ledger, request, secret, reply, way, wait)
        told |= {"delivered": done.left, "held": done.held, "arrived": done.arrived}
        if late and not done.arrived:
            _say_reply(reply)
    if as_json:
        emit(told)


def _say_reply(reply: str) -> None:
    remark("Send it this reply:")
    say(reply)


def _admit(
    ledger: Ledger, request: Request, text: str, *, roles: tuple[str, ...], label: str | None, yes: bool
) -> None:
    """Make it a member, where it is none yet."""
    as_asked = not roles and label is None
    if as_asked and replies.is_enrolled(ledger, request.feed):
        remark("It is a member already: this is its reply once more.")
    elif as_asked and (proposed := replies.pending_enrolment(ledger, request.feed)) is not None:
        if ledger.me not in proposed.approved:
            remark("Another governor has proposed this already.")
            _approve_proposed(ledger, request, proposed, yes=yes)
    else:
        govern.confirm("Compare the fingerprint with the one on its own screen. Let it in?", yes=yes)
        ledger.enrol(text, roles=roles or None, label=label)


def _approve_proposed(ledger: Ledger, request: Request, proposed: PendingAct, *, yes: bool) -> None:
    """A yes to what another governor made of the request, who may have granted more than is shown of the request."""
    from .describe import Names, summary

    content: Any = proposed.content
    told = summary(proposed.type, content, Names(ledger.membership))
    more = sorted(set(content["roles"]) - set(request.roles))
    if more or content["succeeds"] not in (None, request.succeeds):
        beyond = f"the role {', '.join(more)}" if more else "to succeed another key"
        raise MembershipError(
            f"another governor has proposed this already, and it grants what the request does not ask for: {beyond}",
            hint=f"To approve that all the same ({told}): medledger member approve LEDGER {proposed.id.hex()[:8]}",
        )
    govern.confirm(f"Approve: {told}?", yes=yes)
    ledger.approve(proposed.id)


def _revoke_old(ledger: Ledger, request: Request, way: Way | None, *, yes: bool) -> bool:
    """Revoke the key that the applicant's succeeds, unless somebody has; whether this was the one who did.

    Its cut is its last block that is held here: so what others hold of it is brought first, where a broker is known.
    """
    from .describe import Names

    old = request.succeeds
    assert old is not None  # looked at before
    if old in ledger.membership.cuts:
        remark("The old key has been revoked already.")
        return False
    names = Names(ledger.membership)
    if way is not None:
        from .delivering import catch_up

        catch_up(ledger, way, names.both(old))
    govern.confirm(f"Revoke {names.both(old)} for ever?", yes=yes)
    block = ledger.revoke(old, reason=f"lost; succeeded by {request.feed.hex()}")
    if old not in ledger.membership.cuts:
        warn(f"The revocation of {names.both(old)} waits for other governors: `medledger member list --pending`.")
        return False
    seq = govern.first_entry(block).content["seq"]
    stands = "none of its blocks stands" if seq < 0 else f"what it wrote until block {seq} stands"
    remark(f"Revoked {names.both(old)}: {stands}.")
    govern.report_key(ledger, old)
    return True
