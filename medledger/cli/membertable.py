"""The members of a ledger and the acts that wait, as tables and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .describe import Names, summary
from .output import emit, printable, say, short, table
from .recordjson import to_json

if TYPE_CHECKING:
    from medledger.membership import Member
    from medledger.replica import Replica


def list_all(replica: Replica, *, as_json: bool) -> None:
    """Everybody: governors first, then by label, a key that is revoked after the one that carries it on."""
    members = sorted(
        replica.membership.members.values(),
        key=lambda each: (not each.governor, each.label.casefold(), each.revoked, each.feed),
    )
    if as_json:
        for each in members:
            emit(member_json(replica, each))
        return
    frontier = replica.frontier()
    names = Names(replica.membership)
    rows = [
        (
            printable(each.label) or "-",
            printable(each.organisation) or "-",
            ", ".join(offices(each)) or "-",
            str(frontier[each.feed].seq + 1) if each.feed in frontier else "0",
            short(each.feed),
            status(replica, each, names),
        )
        for each in members
    ]
    table(("LABEL", "ORGANISATION", "ROLES", "BLOCKS", "KEY", "STATUS"), rows)


def offices(member: Member) -> list[str]:
    """A member's roles and offices."""
    held = [*(["governor"] if member.governor else []), *(["notary"] if member.notary else [])]
    return [*held, *(role for role in member.roles if role not in held)]


def status(replica: Replica, member: Member, names: Names) -> str:
    """Whether a member may write, in words."""
    words = []
    if member.revoked:
        last = replica.membership.last_seq(member.feed)
        words.append("revoked" if last is None or last < 0 else f"revoked after block {last}")
    if member.feed in replica.forks:
        words.append(f"forked at block {replica.forks[member.feed].seq}")
    if member.succeeded_by is not None:
        words.append(f"succeeded by {names.both(member.succeeded_by)}")
    return ", ".join(words) or "active"


def member_json(replica: Replica, member: Member) -> dict[str, Any]:
    """A member for programs."""
    from medledger.keys import fingerprint

    head = replica.head(member.feed)
    fork = replica.forks.get(member.feed)
    last = replica.membership.last_seq(member.feed)
    return {
        "feed": member.feed.hex(),
        "fingerprint": fingerprint(member.feed),
        "label": member.label,
        "organisation": member.organisation,
        "roles": list(member.roles),
        "governor": member.governor,
        "notary": member.notary,
        "epoch": member.epoch,
        "blocks": 0 if head is None else head.seq + 1,
        "revoked": member.revoked,
        "revoked_after": last,
        "revocations": [cut.reason for cut in replica.membership.cuts.get(member.feed, ())],
        "forked_at": None if fork is None else fork.seq,
        "succeeds": None if member.succeeds is None else member.succeeds.hex(),
        "succeeded_by": None if member.succeeded_by is None else member.succeeded_by.hex(),
    }


def list_pending(replica: Replica, *, as_json: bool) -> None:
    """Acts that are proposed and not effective, with who has approved them."""
    names = Names(replica.membership)
    pending = replica.membership.pending
    if as_json:
        for act in pending:
            emit(
                {
                    "act": act.id.hex(),
                    "type": act.type,
                    "content": to_json(act.type, act.content),
                    "what": summary(act.type, act.content, names),
                    "proposer": act.proposer.hex(),
                    "epoch": act.epoch,
                    "state": act.state,
                    "approved": [feed.hex() for feed in act.approved],
                    "may_approve": [feed.hex() for feed in act.may_approve],
                    "missing": act.missing,
                }
            )
        return
    if not pending:
        say("Nothing waits for an approval.")
        return
    rows = [
        (
            short(act.id),
            summary(act.type, act.content, names),
            ", ".join(sorted(map(names.of, act.approved))) or "-",
            "-" if act.missing is None else str(act.missing),
            act.state,
        )
        for act in pending
    ]
    table(("ACT", "WHAT", "APPROVED BY", "MISSING", "STATE"), rows)
