"""The doctor's look at the key and the replica: who this box is, and whether it may write.

The ledger is looked at in a copy (`copies`). While the agent runs, what it says of itself (the status file) is newer,
and counts where the two differ.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medledger.cli import waiting
from medledger.cli.output import duration_text, printable, time_text
from medledger.errors import MedledgerError, SealError
from medledger.guard import INSTANCE
from medledger.ledger import FORKED, READY, RECOVERING, REVOKED, Ledger
from medledger.witness import Witness

from ..advice import GIVE_A_ROLE, LET_IT_GOSSIP, SUCCEED, WAIT_FOR_ENROLMENT
from .findings import Case, Finding, fault, ok, skipped, warning

CLOCK_SLACK_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What a copy of the replica says."""

    name: str
    owned: bool  # sealed to this key
    enrolled: bool
    label: str
    roles: tuple[str, ...]
    may_write: bool  # what it is there to write
    state: str
    heir: bool  # another key carries this feed on
    own_time: int | None  # of our last block, UTC milliseconds
    newest: tuple[str, int] | None  # the other feed whose last block is the newest


def key(case: Case) -> Iterator[Finding]:
    """The key opened: whose it is, and that nobody else reads it."""
    path = case.config.ledger.key
    assert case.identity is not None  # the doctor asks only then
    owners = {each: each.stat().st_uid for each in _kept(case) if each.exists()}
    strange = [each for each, owner in owners.items() if owner != owners[case.path]]
    if strange:
        yield fault(
            "owner",
            f"{strange[0]} belongs to another user than {case.path}: the agent can use one of them only.",
            f"Give all of the directory to the agent's user: chown -R --reference={case.path} {case.path.parent}",
        )
    if os.geteuid() not in (0, owners[path]):
        yield warning("key", f"{path} belongs to another user.", "Run the doctor as the agent's user.")
    else:
        yield ok("key", f"{path} opens, for its owner alone: fingerprint {case.identity.fingerprint}.")


def _kept(case: Case) -> tuple[Path, ...]:
    """What the agent has to be able to use."""
    config, agent = case.config, case.agent
    taken_in = () if agent is None else (agent.inbox.path, agent.subjects.secret_file)
    return case.path, config.ledger.key, config.ledger.path, *taken_in


def membership(case: Case) -> Iterator[Finding]:
    """What the ledger says of this key."""
    path = case.config.ledger.path
    if not path.exists():
        yield _not_joined(case)
        return
    assert case.identity is not None
    try:
        facts = case.copies.look(path, lambda copy: _facts(copy, case))
    except (MedledgerError, sqlite3.Error) as error:
        if case.runs:
            yield skipped("enrolment", f"The agent is writing: no whole copy could be had ({error}).")
        else:
            hint = (isinstance(error, MedledgerError) and error.hint) or f"Check it: medledger fsck {path}"
            yield fault("enrolment", f"It cannot be told what this box is: {error}.", hint)
        return
    yield _enrolment(case, facts)
    if facts.owned and facts.enrolled:
        yield _state(case, facts)
    yield from _times(case, facts)


def _not_joined(case: Case) -> Finding:
    command = f"medledger agent setup --directory {case.path.parent}"
    if waiting.find(case.config.ledger.key) is not None:
        return warning("enrolment", "This box has asked to join, and has no reply yet.", f"Go on with: {command}")
    return fault("enrolment", f"This box is in no ledger: there is no {case.config.ledger.path}.", f"Run: {command}")


def _facts(copy: Path, case: Case) -> Facts:
    identity = case.identity
    assert identity is not None
    me = identity.public_key
    with Ledger.open(copy) as ledger:
        sealed, instance = ledger.store.get_meta("transport_key"), ledger.store.get_meta(INSTANCE)
        member = ledger.membership.members.get(me)
        head = ledger.head(me)
        times = [
            (feed, block.header.time)
            for feed, other in ledger.frontier().items()
            if (block := ledger.block(feed, other.seq)) is not None
        ]
        others = max((each for each in times if each[0] != me), key=lambda each: each[1], default=None)
        label_of = {feed: each.label for feed, each in ledger.membership.members.items()}
        owned = sealed is not None and _opens(case, sealed)
        state = FORKED if me in ledger.forks else REVOKED if me in ledger.membership.cuts else READY
        if owned and state == READY:
            witness = Witness.for_identity(identity, ledger.id)  # read only: it is written by what signs
            behind = witness.seq is not None and (head is None or head.seq < witness.seq)
            state = RECOVERING if witness.token != instance or behind else READY
        return Facts(
            name=ledger.name,
            owned=owned,
            enrolled=member is not None and member.act_id is not None,
            label="" if member is None else member.label,
            roles=() if member is None else member.roles,
            may_write=case.kind.entry_type is None
            or ledger.membership.refusal(me, ledger.membership.epoch.number, case.kind.entry_type) is None,
            state=state,
            heir=member is not None and member.succeeded_by is not None,
            own_time=next((time for feed, time in times if feed == me), None),
            newest=None if others is None else (label_of.get(others[0], "") or others[0][:4].hex(), others[1]),
        )


def _opens(case: Case, sealed: bytes) -> bool:
    assert case.identity is not None
    try:
        case.identity.unseal(sealed)
    except SealError:
        return False
    return True


def _enrolment(case: Case, facts: Facts) -> Finding:
    name, path = printable(facts.name), case.config.ledger.path
    if not facts.owned:
        return fault(
            "enrolment",
            f"{path} was not made with this key: the box's files do not belong together.",
            "Put the right key back, or the right replica; neither works without the other.",
        )
    if not facts.enrolled:
        return warning(
            "enrolment",
            f"Its enrolment in {name} has not arrived here: nothing can be logged yet.",
            WAIT_FOR_ENROLMENT if case.runs else f"Start the agent. {WAIT_FOR_ENROLMENT}",
        )
    called = f"{printable(facts.label) or 'this box'} in {name}, as {', '.join(facts.roles) or 'nothing'}"
    if not facts.may_write and facts.state != REVOKED:
        return fault(
            "enrolment",
            f"It is {called}, and may not write a {case.kind.entry_type}.",
            GIVE_A_ROLE,
        )
    return ok("enrolment", f"It is {called}.")


def _state(case: Case, facts: Facts) -> Finding:
    state = facts.state
    if case.runs and case.status is not None:
        state = str(case.status.document["status"].get("state", state))
    if state == REVOKED:
        heir = " Another key carries it on." if facts.heir else ""
        return fault("state", f"This key was revoked: what it writes counts for nothing.{heir}", SUCCEED)
    if state == FORKED:
        return fault("state", "This key signed two histories: a copy of the box, or of its card, was in use.", SUCCEED)
    if state == RECOVERING:
        return warning(
            "state",
            "It does not sign until others have shown that they hold nothing more of it: a new, or a restored replica.",
            LET_IT_GOSSIP,
        )
    return ok("state", "The key may sign: neither revoked nor forked, and no block of its own is missing.")


def _times(case: Case, facts: Facts) -> Iterator[Finding]:
    """Whether the clock fits what has been written already, here and elsewhere."""
    now = case.clock()
    if facts.own_time is not None and facts.own_time > now + CLOCK_SLACK_MS:
        yield warning(
            "clock here",
            f"This box's last block is of {time_text(facts.own_time)}: its clock was set back, or was wrong then.",
            "See that it is right now, and synchronised.",
        )
    if facts.newest is None:
        return
    who, newest = facts.newest
    if newest > now + CLOCK_SLACK_MS:
        ahead = duration_text(newest - now)
        yield warning(
            "clock there",
            f"{printable(who)} has written a block that is {ahead} ahead of this box's clock.",
            "One of the two is wrong: compare both with a clock that you trust.",
        )
    else:
        yield ok("clock there", "No other member's clock is ahead of this one's.")
