"""Syncing a ledger in the foreground, for `sync` and `audit sync`: connect, show what goes on, end when asked to.

In sync means that we hold all that our peers have shown, and that a peer has shown to hold all of ours. A peer must be
there: a replica that nobody answers is not in sync with anything.
"""

from __future__ import annotations

import logging
import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from medledger.errors import TransportError, UsageError

from .announcing import Announcer
from .describe import Names
from .entrylines import EntryPrinter, logged_entries
from .netdata import UNANSWERED, UNANSWERED_HINT, unanswered
from .options import Duration, brokers_option
from .output import LiveLine, count_text, emit, number_text, printable, remark, say, warn
from .rate import Rate, rate_text, time_left_text
from .stopping import Stopped, stop_signals

if TYPE_CHECKING:
    from medledger.importing import Advance
    from medledger.ledger import Ledger
    from medledger.transport import Alarm, Gossip

F = TypeVar("F", bound=Callable[..., Any])

PASSWORD: Final = "MEDLEDGER_BROKER_PASSWORD"  # noqa: S105 - the variable's name
POLL_SECONDS: Final = 0.1
LINGER_SECONDS: Final = 1.0
"""How long we stay once in sync: a peer that syncs at the same time has to hear from us that we hold its blocks."""
RECOVERING_LINGER_SECONDS: Final = 5.0
"""The same for a replica that waits to be told that nothing of its own feed is missing, which takes a few seconds."""

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Way:
    """Which broker, and as whom, as the options say."""

    broker: str | None
    protocol: str
    username: str | None
    ca: Path | None
    certificate: Path | None
    certificate_key: Path | None


@dataclass(frozen=True, slots=True)
class Request(Way):
    """How to sync, as the options say."""

    duration: int | None
    stay: bool
    patience: int
    follow: bool
    as_json: bool


def broker_options(command: F) -> F:
    """The options of `Way`."""
    return brokers_option(_BROKER_HELP, envvar="MEDLEDGER_BROKER_URL")(account_options(command))


def account_options(command: F) -> F:
    """The options of `Way`, but which broker."""
    for option in reversed(
        (
            click.option(
                "--protocol",
                type=click.Choice(("3.1.1", "5")),
                default="3.1.1",
                show_default=True,
                help="The version of MQTT to greet the broker with; one that does not know 5 is spoken to in 3.1.1.",
            ),
            click.option(
                "--username", help=f"The account at the broker, where --broker names none; its password: {PASSWORD}."
            ),
            click.option("--ca", type=_file, help="Certificates to trust, for mqtts:// (default: the system's)."),
            click.option("--certificate", type=_file, help="Our certificate, for a broker that asks for one."),
            click.option("--certificate-key", type=_file, help="The private key of our certificate."),
        )
    ):
        command = option(command)
    return command


def sync_options(command: F) -> F:
    """The options of `Request`, but --json."""
    for option in reversed(
        (
            broker_options,
            click.option(
                "--until-in-sync", is_flag=True, help="End when in sync: what happens without an option, too."
            ),
            click.option("--for", "duration", type=Duration(), help="Go on for so long (90s, 15min, 4h)."),
            click.option("--stay", is_flag=True, help="Go on until Ctrl-C; off a terminal a line says each change."),
            click.option("--patience", type=Duration(), default="60s", show_default=True, help=_PATIENCE_HELP),
            click.option("--follow", is_flag=True, help="Print entries as they arrive."),
        )
    ):
        command = option(command)
    return command


_BROKER_HELP: Final = "mqtt://host:port or mqtts://host:port. Default: the one named when we joined."
_PATIENCE_HELP: Final = "Until in sync: give up after so long without a new block."


def read_request(until_in_sync: bool, as_json: bool, **given: Any) -> Request:
    """The request that the options make. Raises `UsageError` where they contradict each other."""
    if (given["duration"] is not None) + given["stay"] + until_in_sync > 1:
        raise UsageError("only one of --until-in-sync, --for and --stay can be meant", hint="Leave out the others.")
    return Request(as_json=as_json, **given)


def gossip(
    ledger: Ledger,
    way: Way,
    *,
    on_alarm: Callable[[Alarm], None],
    must_connect: bool,
    connect_seconds: float = 0,
    status_file: bool = True,
) -> Gossip:
    """Gossip that way, not started yet. Raises `UsageError` where no broker is known."""
    from medledger.transport import Gossip

    url = way.broker or ledger.broker
    if url is None:
        raise UsageError("no broker is known for this ledger", hint="Name one: --broker mqtts://broker.example:8883")
    # What gossip has to say comes through on_alarm; without this, Python prints it a second time.
    logging.getLogger("medledger").addHandler(logging.NullHandler())
    return Gossip(
        ledger,
        url,
        protocol=way.protocol,
        username=way.username,
        password=os.environ.get(PASSWORD),
        ca=way.ca,
        certificate=way.certificate,
        key=way.certificate_key,
        on_alarm=on_alarm,
        must_connect=must_connect,
        connect_seconds=connect_seconds,
        status_file=status_file,
    )


def run(ledger: Ledger, request: Request) -> None:
    """Sync as asked. Raises `TransportError` where the broker is not there, or sync does not come in time."""
    line = LiveLine()
    arrived: queue.SimpleQueue[Advance] = queue.SimpleQueue()
    undo = ledger.watch(arrived.put)

    def alarm(raised: Alarm) -> None:
        line.clear()
        warn(f"{printable(raised.text)}.", printable(raised.hint))

    before = _blocks(ledger)
    limit = request.patience if request.duration is None else request.duration
    line.show("connecting")
    try:
        with (
            gossip(
                ledger, request, on_alarm=alarm, must_connect=not request.stay, connect_seconds=limit / 1000
            ) as running,
            stop_signals() as stopped,
        ):
            status, seconds = _watch(ledger, running, request, arrived, line, stopped)
    finally:
        line.clear()
        undo()
    _report(ledger, request, status, _blocks(ledger) - before, seconds)


def _watch(
    ledger: Ledger,
    gossip: Gossip,
    request: Request,
    arrived: queue.SimpleQueue[Advance],
    line: LiveLine,
    stopped: Stopped,
) -> tuple[dict[str, Any], float]:
    """Wait for the end that was asked for, showing what goes on; the last status, and when the last block came."""
    started = moved = time.monotonic()
    rate = Rate()
    blocks = -1
    settled: float | None = None
    announcer = Announcer(wanted=request.stay)
    printer = EntryPrinter(ledger.membership, as_json=request.as_json, headings=False) if request.follow else None
    try:
        while True:
            status = gossip.status()
            now = time.monotonic()
            if printer is not None:
                _print_arrivals(ledger, printer, arrived, line)
            if status["blocks"] != blocks:
                blocks, moved = status["blocks"], now
            rate.add(now, status["blocks"], status["traffic"]["in"]["bytes"])
            line.show(_status_line(status, rate, now - started))
            announcer.look(status, now)
            if status["failure"] is not None:
                raise TransportError(f"gossip has stopped: {status['failure']}", hint="Please report this.")
            if not status["in_sync"] or status["own_blocks_unconfirmed"] or unanswered(status):
                settled = None
            elif settled is None:
                settled = now
            if _is_over(request, status, now - started, settled and now - settled) or stopped.wait(POLL_SECONDS):
                return status, moved - started
            if settled is None:
                _check_patience(request, status, now - moved)
    except KeyboardInterrupt:
        if not (request.stay or request.duration is not None):
            raise
        return gossip.status(), moved - started


def _is_over(request: Request, status: dict[str, Any], seconds: float, settled: float | None) -> bool:
    if request.stay:
        return False
    if request.duration is not None:
        return seconds * 1000 >= request.duration
    linger = RECOVERING_LINGER_SECONDS if status["state"] == "recovering" else LINGER_SECONDS
    return settled is not None and settled >= linger


def _check_patience(request: Request, status: dict[str, Any], idle: float) -> None:
    """Raise `TransportError` where sync does not come."""
    if request.stay or request.duration is not None or idle * 1000 < request.patience:
        return
    if not status["connected"]:
        raise TransportError("the connection to the broker was lost", hint="What has arrived is kept; try again.")
    if status["peers"] == 0:
        raise TransportError(
            "nobody answered: no other replica of this ledger is on that broker now",
            hint="Start one there (`medledger sync LEDGER --stay`), or wait longer with --patience.",
        )
    if unanswered(status):
        raise TransportError(UNANSWERED, hint=UNANSWERED_HINT)
    if status["in_sync"]:
        last = count_text(status["own_blocks_unconfirmed"], "block")
        raise TransportError(
            f"all of theirs is here, but no peer has shown to hold our last {last}", hint="Sync again, for longer."
        )
    raise TransportError(
        f"not in sync after {idle:.0f} s without a new block", hint="What has arrived is kept; the next sync goes on."
    )


def _print_arrivals(ledger: Ledger, printer: EntryPrinter, arrived: queue.SimpleQueue[Advance], line: LiveLine) -> None:
    while not arrived.empty():
        feed, first, last = arrived.get()
        for block in ledger.blocks(feed, first, last + 1):
            line.clear()
            printer.membership = ledger.membership
            printer.print(logged_entries(ledger, block))


def _status_line(status: dict[str, Any], rate: Rate, seconds: float) -> str:
    """Where we stand; while blocks are lacking, how fast they come and how long the others will take."""
    if not status["connected"]:
        return f"{status['broker']}: connecting"
    peers = count_text(status["peers"], "peer")
    state = "in sync" if status["in_sync"] else f"{count_text(status['feeds_behind'], 'feed')} behind"
    missing = status["blocks_behind"]
    if not missing or status["in_sync"]:
        held = f"{count_text(status['blocks'], 'block')} of {count_text(status['feeds'], 'feed')}"
        return f"{status['broker']}: {state}, {peers}, {held}, {seconds:.0f} s"
    held = f"{number_text(status['blocks'])} of {count_text(status['blocks'] + missing, 'block')}"
    left = time_left_text(missing, rate.blocks)
    return f"{status['broker']}: {state}, {peers}, {held}, {rate_text(rate)}{left}"


def _blocks(ledger: Ledger) -> int:
    return sum(head.seq + 1 for head in ledger.frontier().values())


def _report(ledger: Ledger, request: Request, status: dict[str, Any], new: int, seconds: float) -> None:
    """How it ended: on stdout, or beside the entries that stand there."""
    if request.as_json and not request.follow:
        emit(
            {
                "in_sync": status["in_sync"],
                "new_blocks": max(0, new),
                "seconds": round(seconds, 1),
                "received_bytes": status["traffic"]["in"]["bytes"],
                "sent_bytes": status["traffic"]["out"]["bytes"],
                "blocks": _blocks(ledger),
                "feeds": len(ledger.frontier()),
                "peers": status["peers"],
                "own_blocks_unconfirmed": status["own_blocks_unconfirmed"],
                "state": ledger.state,
                "forks": [feed.hex() for feed in ledger.forks],
                "digest": ledger.digest().hex(),
            }
        )
        return
    tell = remark if request.follow else say
    total = f"{count_text(_blocks(ledger), 'block')} of {count_text(len(ledger.frontier()), 'feed')}"
    came = count_text(max(0, new), "new block") + (f" in {seconds:.1f} s" if new > 0 else "")
    if new < 0:
        came += f", {count_text(-new, 'block')} fewer than before: a revocation cut them off"
    tell(f"{'In sync' if status['in_sync'] else 'Not in sync yet'}: {came}, {total} here.")
    tell(f"  digest  {ledger.digest().hex()}")
    names = Names(ledger.membership)
    for feed in ledger.forks:
        warn(f"{names.both(feed)} signed two histories: it forked at block {ledger.forks[feed].seq}.")
    if status["own_blocks_unconfirmed"]:
        warn(f"no peer has shown to hold the last {count_text(status['own_blocks_unconfirmed'], 'block')} of ours.")
    if ledger.state == "recovering":
        warn("this replica does not know yet whether its key has signed more than it holds: it does not write.")
