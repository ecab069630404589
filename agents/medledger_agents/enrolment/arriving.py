"""From the reply to membership: the replica is made, gossips, and waits for its own enrolment.

The order in which things are given up makes any crash harmless: the replica is durable before the reply is removed from
the broker, and that before the request is forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from medledger.cli import waiting
from medledger.cli.output import LiveLine, count_text, printable, remark, warn
from medledger.errors import MedledgerError, TransportError
from medledger.ledger import READY, RECOVERING, Ledger

from ..config import ReplicaConfig
from .home import account

if TYPE_CHECKING:
    from medledger.keys import Identity

POLL_SECONDS: Final = 0.1
SETTLE_SECONDS: Final = 1.0
"""How long we stay after the last block came: a peer should hear that we hold it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a box is a member of, and what is lacking until it may write."""

    ledger_id: bytes
    name: str
    roles: tuple[str, ...]
    label: str
    broker: str | None
    lacks: str | None
    dead: bool = False  # and nothing that arrives will mend it


def standing(ledger: Ledger, entry_type: str | None) -> Standing:
    """How the box stands in its replica; `entry_type` is what it is there to write, if anything."""
    me, membership = ledger.me, ledger.membership
    assert me is not None  # opened with its key
    member = membership.members.get(me)
    lacks, dead = None, False
    if ledger.state not in (READY, RECOVERING):
        lacks, dead = f"its key is {ledger.state}", True
    elif member is None or member.act_id is None:
        lacks = "its enrolment has not arrived"
    elif entry_type is None:
        pass  # who writes nothing need not know whether others hold more of its feed
    elif membership.refusal(me, membership.epoch.number, entry_type) is not None:
        lacks, dead = f"its roles ({', '.join(member.roles) or 'none'}) may not write a {entry_type}", True
    elif ledger.state == RECOVERING:
        lacks = "it asks the others whether they hold blocks of its own"
    return Standing(
        ledger.id,
        ledger.name,
        member.roles if member is not None else (),
        member.label if member is not None else "",
        ledger.broker,
        lacks,
        dead,
    )


def start_replica(config: ReplicaConfig, identity: Identity, reply: str, secret: bytes) -> None:
    """Make the replica from an authentic reply. Raises `JoinError`, `StoreError`."""
    Ledger.join(config.ledger.path, identity, reply, secret).close()


def give_up_request(config: ReplicaConfig, remove: Callable[[bytes], None]) -> None:
    """The ledger has been joined: remove the reply from the broker, as far as that can be had, and the request."""
    key = config.ledger.key
    if waiting.find(key) is None:
        return
    _, secret = waiting.secret_of(key)
    try:
        remove(secret)
    except MedledgerError as error:
        remark(f"The reply is left on the broker, sealed: {printable(str(error))}.")
    waiting.forget(key)


def arrive(config: ReplicaConfig, identity: Identity, entry_type: str | None, deadline: float | None) -> Standing:
    """Gossip until the box may write, or until nothing that arrives will let it. Raises what opening a ledger does, and
    `TransportError` where the time is over.
    """
    line = LiveLine()
    with ExitStack() as stack:
        ledger = stack.enter_context(Ledger.open(config.ledger.path, identity))
        found = standing(ledger, entry_type)
        url = config.gossip.broker or ledger.broker
        if found.lacks is None or found.dead or config.gossip.offline or url is None:
            return found
        from medledger.transport import Gossip

        def alarmed(alarm: Any) -> None:
            line.clear()
            warn(f"{printable(alarm.text)}.", printable(alarm.hint))

        gossip = stack.enter_context(
            Gossip(ledger, url, **account(config.gossip), must_connect=False, on_alarm=alarmed, status_file=True)
        )
        stack.callback(line.clear)
        remark("Waiting for its enrolment from the other replicas.")
        started = moved = time.monotonic()
        blocks = -1
        while True:
            found, status = standing(ledger, entry_type), gossip.status()
            if status["blocks"] != blocks:
                blocks, moved = status["blocks"], time.monotonic()
            done = found.lacks is None or found.dead
            if done and time.monotonic() - moved >= SETTLE_SECONDS:
                return found
            if status["failure"] is not None:
                raise TransportError(f"gossip has stopped: {status['failure']}", hint="Please report this.")
            line.show(_status_line(status, found, time.monotonic() - started))
            if not done and deadline is not None and time.monotonic() > deadline:
                raise _too_late(status, found)
            time.sleep(POLL_SECONDS)


def _status_line(status: dict[str, Any], found: Standing, seconds: float) -> str:
    where = status["broker"]
    if not status["connected"]:
        return f"{seconds:.0f} s, {where}: connecting"
    peers = count_text(status["peers"], "other replica")
    blocks = count_text(status["blocks"], "block")
    if not status["peers"]:
        return f"{seconds:.0f} s, {where}: no other replica of this ledger is there yet"
    return f"{seconds:.0f} s, {peers}, {blocks} here: {found.lacks}"


def _too_late(status: dict[str, Any], found: Standing) -> TransportError:
    if not status["connected"]:
        return TransportError(
            f"the broker {status['broker']} cannot be reached",
            hint="Check that it runs, and this box's network; then run the same command again.",
        )
    if not status["peers"]:
        return TransportError(
            "no other replica of this ledger is on that broker",
            hint="Have one stay there (`medledger sync LEDGER --stay`), then run the same command again.",
        )
    return TransportError(
        f"{found.lacks}", hint="Other governors may have to approve; then run the same command again."
    )
