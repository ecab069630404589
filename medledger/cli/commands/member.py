"""`medledger member`: who takes part, from asking to being revoked.

- *request* is the applicant's: a key asks to join.
- *approve* is a governor's yes to what waits for one: a request, whose reply it also leaves on the broker, or an act
  that another governor has proposed.
- *enrol* makes somebody a member: from a request (as approving it does, without a broker), or anew, with other roles, a
  member whose epoch has passed.
- *revoke* ends a membership after a block.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medledger.errors import UsageError

from .. import enrolling, govern, keyring, waiting
from ..command import Group
from ..gossiping import Way, account_options
from ..naming import find_act, find_feed
from ..opening import reading, signing
from ..options import (
    Duration,
    Handed,
    Hex,
    brokers_option,
    json_option,
    key_option,
    ledger_argument,
    roles_option,
    yes_option,
)
from ..output import emit, remark, say

if TYPE_CHECKING:
    from medledger.ledger import Ledger

REQUEST = "mlreq1:"


@click.group(
    cls=Group,
    examples=(
        "medledger member request --key box.key --label 'box 7' --role bedside > request.txt    on the box",
        "medledger member approve ward.db request.txt > reply.txt                               a governor",
        "medledger join box.db --key box.key reply.txt                                          on the box",
        "medledger member list ward.db",
    ),
)
def member() -> None:
    """Ask to join, approve, enrol, revoke, list.

    A key asks (request), a governor says yes (approve), the key joins (medledger join). Where it takes several
    governors, the others approve what the first has proposed: list --pending shows it.
    """


@member.command(
    examples=(
        "medledger member request --key box.key --label 'box 7' --role bedside > request.txt",
        "medledger member request --key new.key --label 'box 7' --role bedside --succeeds OLD_PUBLIC_KEY",
    )
)
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    envvar="MEDLEDGER_KEY",
    show_envvar=True,
    required=True,
    help="The applicant's key file; made where it is missing.",
)
@click.option("--label", default="", help="What people will call it (box 7, ICU).")
@click.option("--organisation", default="", help="Who answers for it.")
@roles_option
@click.option("--succeeds", type=Hex(32), help="The public key that this one carries on.")
@click.option("--replace", is_flag=True, help="Make a new request; the reply to an earlier one will not open any more.")
@json_option
def request(
    key: Path,
    label: str,
    organisation: str,
    roles: tuple[str, ...],
    succeeds: bytes | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Ask to join a ledger: prints the text for a governor.

    Hand it over on paper, on a screen or on a stick, not over a network: it holds a secret by which the reply will be
    known. The same command prints the same request again until the key has joined.
    """
    from medledger.joining import make_request, read_request_text

    identity, made = keyring.load_or_create(key)
    fresh = make_request(
        identity, secret=os.urandom(16), label=label, organisation=organisation, roles=roles, succeeds=succeeds
    )
    kept = None if replace else waiting.find(key)
    if kept is None:
        waiting.keep(key, fresh, replace=replace)
    elif read_request_text(kept)[0].proof != read_request_text(fresh)[0].proof:
        raise UsageError(
            f"another request of {key} waits for its reply", hint="Use that one, or make it anew with --replace."
        )
    text = kept or fresh
    if as_json:
        emit({"request": text, "key": str(key), "key_made": made, "feed": identity.public_key.hex()})
        return
    if made:
        remark(f"Made a new key in {key}.")
    remark(f"Hand this to a governor, who compares the fingerprint {identity.fingerprint}:")
    say(text)


@member.command(
    examples=(
        "medledger member approve ward.db request.txt > reply.txt",
        "medledger member approve ward.db mlreq1:... --role bedside --broker mqtts://broker.example",
        "medledger member approve ward.db request.txt --revoke-old            its key was lost",
        "medledger member approve ward.db 3fa9c210            an act that another governor has proposed",
    )
)
@ledger_argument()
@click.argument("what", metavar="REQUEST|ACT", type=Handed(REQUEST))
@roles_option
@click.option("--label", help="Call the applicant otherwise than it asks.")
@brokers_option("The broker to name in the reply; default: the one this replica was told.", in_reply=True)
@click.option(
    "--revoke-old",
    is_flag=True,
    help="Revoke the key that this one succeeds: it was lost. What it wrote and others hold is brought first, where a "
    "broker is known.",
)
@click.option("--no-deliver", is_flag=True, help="Print the reply and leave it at that.")
@click.option(
    "--wait",
    type=Duration(),
    default="30s",
    show_default=True,
    help="How long to stay on the broker until somebody holds the enrolment.",
)
@account_options
@key_option
@yes_option
@json_option
def approve(
    ledger: Path,
    what: str,
    roles: tuple[str, ...],
    label: str | None,
    broker: str | None,
    revoke_old: bool,
    no_deliver: bool,
    wait: int,
    key: Path | None,
    yes: bool,
    as_json: bool,
    **account: Any,
) -> None:
    """Say yes, as a governor, to a request or to a pending act.

    Compare the fingerprint with the one on the applicant's screen first. The applicant then becomes a member, and its
    reply is printed. Only the applicant can open it: where a broker is known, it is left there too, and this command
    stays until another replica holds the enrolment. Approving the same request again gives a reply again. For an act,
    named by the start of its id, your approval is added to the others'.
    """
    with signing(ledger, key) as opened:
        if what.startswith(REQUEST):
            way = None if no_deliver or not (broker or opened.broker) else Way(broker=broker, **account)
            enrolling.enrol(
                opened,
                what,
                roles=roles,
                label=label,
                broker=broker,
                yes=yes,
                as_json=as_json,
                revoke_old=revoke_old,
                way=way,
                wait=wait / 1000,
            )
        elif roles or label or broker or revoke_old:
            raise UsageError(
                "--role, --label, --broker and --revoke-old go with a request", hint="An act is approved as it is."
            )
        else:
            _approve_act(opened, what, yes=yes, as_json=as_json)


@member.command(
    examples=(
        "medledger member enrol ward.db request.txt --role bedside > reply.txt",
        "medledger member enrol ward.db 'box 7' --role laboratory",
    )
)
@ledger_argument()
@click.argument("who", metavar="REQUEST|MEMBER", type=Handed(REQUEST))
@roles_option
@click.option("--label", help="What people will call it.")
@brokers_option("The broker to name in the reply; default: the one this replica was told.", in_reply=True)
@key_option
@yes_option
@json_option
def enrol(
    ledger: Path,
    who: str,
    roles: tuple[str, ...],
    label: str | None,
    broker: str | None,
    key: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Make somebody a member, as a governor, or change what a member may do.

    With a request this is `member approve --no-deliver`. With a member, by label or key, it is enrolled anew with the
    roles given, which takes a new epoch since the last time: see `medledger governance change`.
    """
    with signing(ledger, key) as opened:
        if who.startswith(REQUEST):
            enrolling.enrol(opened, who, roles=roles, label=label, broker=broker, yes=yes, as_json=as_json)
        else:
            _enrol_again(opened, who, roles=roles, label=label, yes=yes, as_json=as_json)


@member.command(
    examples=(
        "medledger member revoke ward.db 'box 7' --reason 'stolen'",
        "medledger member revoke ward.db 5f3a91c2 --after 1041 --reason 'key lost'",
    )
)
@ledger_argument()
@click.argument("who", metavar="MEMBER")
@click.option("--reason", default="", help="Why: an auditor will ask.")
@click.option("--after", type=int, help="Its last block that stands, -1 for none. Default: its last block here.")
@key_option
@yes_option
@json_option
def revoke(ledger: Path, who: str, reason: str, after: int | None, key: Path | None, yes: bool, as_json: bool) -> None:
    """End a membership, as a governor. The key is dead for ever; what it wrote until then stands.

    Until then is until its last block that is held here: bring what others hold first (medledger sync LEDGER), where
    the key was lost and not stolen.

    MEMBER is a label, a fingerprint, or the start of its key.
    """
    from medledger.governance import act_id

    from ..describe import Names, summary

    with signing(ledger, key) as opened:
        feed = find_feed(opened, who)
        names = Names(opened.membership)
        govern.confirm(f"Revoke {names.both(feed)} for ever?", yes=yes)
        block = opened.revoke(feed, reason=reason, after=after)
        entry = govern.first_entry(block)
        act = act_id(opened.id, entry.type, entry.content)
        pending = govern.outcome(opened, act)
        if as_json:
            emit({"act": act.hex(), "effective": pending is None, "feed": feed.hex(), "last": entry.content["seq"]})
        else:
            govern.report(pending, f"Done: {summary(entry.type, entry.content, names)}")
            govern.report_key(opened, feed)


@member.command("list", examples=("medledger member list ward.db", "medledger member list ward.db --pending --json"))
@ledger_argument()
@click.option("--pending", is_flag=True, help="What has been proposed and is not effective.")
@json_option
def list_members(ledger: Path, pending: bool, as_json: bool) -> None:
    """List the members of a ledger, or the acts that wait for approvals."""
    from ..membertable import list_all, list_pending

    with reading(ledger) as opened:
        (list_pending if pending else list_all)(opened, as_json=as_json)


# --- what they do ----------------------------------------------------------------------------------------------------


def _enrol_again(
    ledger: Ledger, who: str, *, roles: tuple[str, ...], label: str | None, yes: bool, as_json: bool
) -> None:
    from medledger.governance import act_id

    from .. import replies
    from ..describe import Names, summary

    feed = find_feed(ledger, who)
    names = Names(ledger.membership)
    act = replies.enrolment_again(ledger, feed, roles=roles or None, label=label)
    content = act.to_content()
    line = summary(act.TYPE, content, names)
    govern.confirm(f"{line[0].upper()}{line[1:]}?", yes=yes)
    replies.propose(ledger, act, content)
    identifier = act_id(ledger.id, act.TYPE, content)
    pending = govern.outcome(ledger, identifier)
    if as_json:
        emit({"act": identifier.hex(), "effective": pending is None, "feed": feed.hex(), "roles": content["roles"]})
    else:
        govern.report(pending, f"Done: {line}")


def _approve_act(ledger: Ledger, what: str, *, yes: bool, as_json: bool) -> None:
    from ..describe import Names, summary

    act = find_act(ledger, what)
    line = summary(act.type, act.content, Names(ledger.membership))
    govern.confirm(f"Approve: {line}?", yes=yes)
    ledger.approve(act.id)
    pending = govern.outcome(ledger, act.id)
    if as_json:
        emit({"act": act.id.hex(), "effective": pending is None, "what": line})
    else:
        govern.report(pending, f"Effective: {line}")
