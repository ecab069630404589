"""Bringing an applicant its reply over the broker, and the ledger its enrolment: what follows a governor's yes.

First the reply is left where the applicant looks for it (`transport.rendezvous`), then this replica gossips until
another one holds all that is ours: the applicant itself, where it waits. Neither is needed for the enrolment to stand:
what does not work here is said, and the reply can still be carried by hand.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medledger.errors import MedledgerError

from .gossiping import (
    LINGER_SECONDS,
    PASSWORD,
    POLL_SECONDS,
    RECOVERING_LINGER_SECONDS,
    Way,
    gossip,
)
from .output import LiveLine, printable, remark, warn
from .stopping import stop_signals

if TYPE_CHECKING:
    from medledger.joining import Request
    from medledger.ledger import Ledger

LEAVE_SECONDS = 10.0
PEER_SECONDS = 15.0
"""How long to listen for anybody who could hold more."""
CATCH_UP_SECONDS = 60.0


@dataclass(slots=True)
class Delivery:
    """What came of it."""

    left: bool = False  # the broker has shown the reply to be there
    held: bool = False  # another replica holds all that is ours
    arrived: bool = False  # the applicant has spoken as a member


def deliver(ledger: Ledger, request: Request, secret: bytes, reply: str, way: Way, seconds: float) -> Delivery:
    """Leave the reply, and gossip for at most so long. Says what it does, and raises nothing but Ctrl-C."""
    done = Delivery()
    line = LiveLine()
    try:
        _leave(ledger, request, secret, reply, way, line)
        done.left = True
        line.clear()
        remark("The reply waits for it on the broker, too.")
        _gossip(ledger, request, way, seconds, line, done)
    except MedledgerError as error:
        line.clear()
        warn(f"{printable(str(error))}.", printable(error.hint or ""))
    line.clear()
    _report(done, request)
    return done


def catch_up(ledger: Ledger, way: Way, name: str) -> None:
    """Bring what the others hold, before a member is cut off after its last block here: what is beyond that is void.

    Whom nobody answers is told, and goes on: a key that was stolen has to be revoked all the same.
    """
    line = LiveLine()
    line.show(f"bringing what others hold of {name}")
    hint = f"What {name} wrote and this replica lacks will not count."
    try:
        with gossip(ledger, way, on_alarm=lambda _: None, must_connect=True, connect_seconds=LEAVE_SECONDS) as running:
            heard = _until(lambda: running.status()["peers"] > 0, PEER_SECONDS)
            complete = heard and running.wait_in_sync(CATCH_UP_SECONDS)
            if complete:
                time.sleep(LINGER_SECONDS)  # for those who are heard a moment later
                complete = running.wait_in_sync(CATCH_UP_SECONDS)
        line.clear()
        if not complete:
            warn("not all that others hold is here." if heard else "no other replica was heard.", hint)
    except MedledgerError as error:
        line.clear()
        warn(f"{printable(str(error))}.", hint)


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (now := holds()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return now


def _leave(ledger: Ledger, request: Request, secret: bytes, reply: str, way: Way, line: LiveLine) -> None:
    from medledger.transport.rendezvous import Rendezvous

    url = way.broker or ledger.broker
    assert url is not None  # whoever delivers has looked
    place = Rendezvous(
        url,
        request.feed,
        secret,
        username=way.username,
        password=os.environ.get(PASSWORD),
        ca=way.ca,
        certificate=way.certificate,
        key=way.certificate_key,
        protocol=way.protocol,
    )
    line.show(f"{place.broker}: leaving the reply")
    with place.open(must_connect=True, seconds=LEAVE_SECONDS):
        place.leave(reply, LEAVE_SECONDS)


def _gossip(ledger: Ledger, request: Request, way: Way, seconds: float, line: LiveLine, done: Delivery) -> None:
    """Until the applicant or anybody else holds our blocks."""
    with (
        gossip(ledger, way, on_alarm=lambda _: None, must_connect=True, connect_seconds=LEAVE_SECONDS) as running,
        stop_signals() as stopped,
    ):
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            status: dict[str, Any] = running.status()
            done.arrived |= any(peer["feed"] == request.feed.hex() for peer in status["peer_list"])
            done.held |= status["peers"] > 0 and status["own_blocks_unconfirmed"] == 0
            if done.held:
                # It asks whether anybody holds blocks of its own: what we have shown answers, once it has heard it.
                linger = LINGER_SECONDS if done.arrived else RECOVERING_LINGER_SECONDS
                deadline = min(deadline, now + linger)
            who = "it has joined" if done.arrived else "waiting for it to join"
            line.show(f"{status['broker']}: {who}, {deadline - now:.0f} s left")
            if stopped.wait(POLL_SECONDS):
                return


def _report(done: Delivery, request: Request) -> None:
    name = printable(request.label) or "The applicant"
    if done.held:
        remark(
            f"{name} has joined, and holds its enrolment." if done.arrived else "Another replica holds its enrolment."
        )
    elif done.left:
        remark("Nobody has fetched its enrolment yet: a replica that holds it has to be on the broker when it joins,")
        remark("as with `medledger sync LEDGER --stay`.")
