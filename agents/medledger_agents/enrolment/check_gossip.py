"""The doctor's look at the exchange with the others, by what the agent shows of itself while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from medledger.cli import netdata, netsource
from medledger.cli.netdata import Health
from medledger.cli.output import count_text, duration_text, printable
from medledger.errors import StoreError
from medledger.statusfile import Life

from ..advice import MAY_BE_REVOKED
from .ending import start_command
from .findings import Case, Finding, fault, ok, skipped, warning

UNCONFIRMED_SECONDS: Final = 600.0


def gossip(case: Case) -> Iterator[Finding]:
    """Whether it runs, its peers, how far behind it is, and what of its own nobody else holds."""
    try:
        picture = netsource.current(case.config.ledger.path)
    except StoreError as error:
        yield warning("agent", f"Its status cannot be read: {error}.", error.hint or "Restart the agent.")
        return
    start = start_command(case.kind, case.path)
    if case.agent is None and (picture is None or picture.life is Life.CLOSED):
        yield skipped("agent", f"Nobody keeps the replica in step now; where that is wanted: {start}")
        return
    if picture is None:
        yield warning("agent", "It has not run yet.", f"Start it: {start}")
        return
    why = printable(picture.why)
    if picture.health is Health.NOT_RUNNING:
        say = warning if picture.life is Life.CLOSED else fault
        yield say("agent", f"It does not run: {why}.", f"Start it: {start}")
        return
    yield ok("agent", f"It runs, as process {picture.pid}.")
    alarms = picture.alarms
    if netdata.unanswered(picture.status):
        yield fault("peers", f"{why[:1].upper()}{why[1:]}.", MAY_BE_REVOKED)
    elif picture.health is Health.IN_SYNC:
        yield ok("peers", f"In sync: {why}.")
    elif alarms:
        newest = alarms[0]
        yield warning(
            "peers", f"{printable(newest['text'])}.", printable(newest["hint"] or "See `medledger net watch`.")
        )
    elif picture.status["failure"] is not None:
        yield fault("peers", f"Gossip: {why}.", "Restart the agent, and please report this.")
    else:
        yield warning(
            "peers", f"Not in sync: {why}.", "Wait, and look again: medledger net watch LEDGER shows what goes on."
        )
    yield _unconfirmed(picture)


def _unconfirmed(picture: netdata.Picture) -> Finding:
    count = picture.status["own_blocks_unconfirmed"]
    seconds = picture.since(picture.status["own_blocks_unconfirmed_seconds"])
    if not count or seconds is None:
        return ok("own blocks", "All that this box has written is held elsewhere, too.")
    text = f"{count_text(count, 'block')} of its own {'is' if count == 1 else 'are'} held by nobody else"
    since = f"since {duration_text(int(seconds * 1000))}"
    if seconds < UNCONFIRMED_SECONDS:
        return ok("own blocks", f"{text}, {since}: on its way.")
    return warning(
        "own blocks",
        f"{text}, {since}: should this box burn, they are gone.",
        "See that another replica of this ledger is on the broker.",
    )
