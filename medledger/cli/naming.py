"""Finding a member or an act by what people type: a label, a fingerprint, or the start of its hexadecimal form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from medledger.errors import MembershipError, UsageError

if TYPE_CHECKING:
    from medledger.decisions import PendingAct
    from medledger.replica import Replica

MIN_DIGITS: Final = 4


def find_feed(replica: Replica, text: str) -> bytes:
    """The one feed that `text` names. Raises `UsageError` where it names none or several."""
    from medledger.keys import fingerprint

    members = replica.membership.members
    feeds = {*members, *replica.frontier()}
    labelled = [feed for feed, member in members.items() if member.label == text]
    digits = text.lower()
    found = labelled or [
        feed
        for feed in sorted(feeds)
        if (len(digits) >= MIN_DIGITS and feed.hex().startswith(digits)) or fingerprint(feed) == text.upper()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(feed.hex()[:12] for feed in found)
        raise UsageError(f"several members are meant by {text!r}: {keys}", hint="Name one by more of its key.")
    raise UsageError(
        f"no member is called {text!r}",
        hint=f"Give a label, a fingerprint, or {MIN_DIGITS} digits or more of a key: see `medledger member list`.",
    )


def find_act(replica: Replica, text: str) -> PendingAct:
    """The one pending act whose id starts so. Raises `MembershipError`."""
    digits = text.lower()
    found = [act for act in replica.membership.pending if act.id.hex().startswith(digits)]
    if len(found) == 1 and len(digits) >= MIN_DIGITS:
        return found[0]
    problem = "several pending acts start" if len(found) > 1 else "no pending act starts"
    raise MembershipError(
        f"{problem} with {text[:64]!r}", hint="List them with `medledger member list LEDGER --pending`."
    )
