"""`medledger ward`: the beds of a ledger in the terminal, once or live."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from medledger.cli import gossiping
from medledger.cli.command import Command
from medledger.cli.entrylines import logged_entries
from medledger.cli.gossiping import Way, broker_options
from medledger.cli.opening import reading, signing
from medledger.cli.options import Duration, json_option, key_option, ledger_argument
from medledger.cli.output import emit, say
from medledger.cli.stopping import Stopped, stop_signals

if TYPE_CHECKING:
    from medledger.cli.cells import Line
    from medledger.importing import Advance
    from medledger.indexing import LoggedEntry
    from medledger.ledger import Ledger
    from medledger.transport import Gossip

    from .beds import Row

TURN_SECONDS: Final = 8.0
"""How long a page of beds stays where not all fit."""


@click.command(
    cls=Command,
    examples=(
        "medledger ward hospital.db             live, until Ctrl-C; gossips meanwhile",
        "medledger ward copy.db --once          what this replica holds, once",
        "medledger ward hospital.db --json      one object a bed, for programs",
    ),
)
@ledger_argument()
@click.option("--once", is_flag=True, help="Show what is here and end: what happens where stdout is no terminal.")
@click.option("--since", type=Duration(), default="24h", show_default=True, help="Leave out beds silent for longer.")
@click.option("--offline", is_flag=True, help="Live, without gossip.")
@key_option
@broker_options
@json_option
def ward(ledger: Path, once: bool, since: int, offline: bool, key: Path | None, as_json: bool, **way: Any) -> None:
    """Show the beds: values, their age, and who is silent.

    A row is a device: its place, the patient's pseudonym, what it measured last, and its state.

    \b
    live      measuring, and here within what its agent has promised
    stale     the agent says: no reading for longer than there should be
    lost      the agent says: no signal
    silent    the agent promised an entry and none has come here: agent, network or power
    clock     the agent's clock is ahead of this one: how old its values are is not known
    nobody's  measuring, and what it measured last is given to no patient
    free      the association has ended
    waiting   a patient is there, and nothing has been measured yet
    off, standby, fault   as the device or its agent says

    Values are shown of live devices only: a dead sensor must not look like a calm patient.

    On a terminal it is live: the first line says whether all that the others hold is here, and beds for which there is
    no room take turns, while those that need somebody stay. q or Ctrl-C ends it. It gossips for LEDGER with its key, so
    it is meant for a screen's own replica; while an agent holds LEDGER, use a replica of another machine or a copy
    (medledger backup).
    """
    from medledger.cli import terminal
    from medledger.cli.cells import line_text

    from .screen import everything, for_programs

    live = not once and not as_json and terminal.is_there()
    with ExitStack() as stack:
        opened = stack.enter_context(reading(ledger) if offline or not live else signing(ledger, key))
        beds = _Beds(opened, since)
        if as_json:
            for row in beds.rows():
                emit(for_programs(row))
        elif not live:
            for line in everything(beds.name, beds.rows()):
                say(line_text(line))
        else:
            running = None
            if not offline:
                running = stack.enter_context(
                    gossiping.gossip(opened, Way(**way), on_alarm=lambda _: None, must_connect=False, status_file=True)
                )
            with suppress(KeyboardInterrupt), stop_signals() as stopped:
                _live(beds, lambda columns: _note(opened, running, columns), stopped)


class _Beds:
    """A replica's beds, kept up to date with what arrives."""

    def __init__(self, ledger: Ledger, since: int) -> None:
        from .beds import TYPES, Ward

        self.name = ledger.name
        self._ledger = ledger
        self._since = since
        self._ward = Ward()
        self._arrived: queue.SimpleQueue[Advance] = queue.SimpleQueue()
        ledger.watch(self._arrived.put)
        found: list[LoggedEntry] = []
        for name in TYPES:
            after = None if name in ("association", "cadence") else _now() - since
            found += ledger.entries(name, since=after)
        self._ward.take(sorted(found, key=lambda each: (each.author, each.seq, each.index)))

    def rows(self) -> list[Row]:
        """The beds as they are now, those left out that said nothing for long."""
        while not self._arrived.empty():
            advance = self._arrived.get()
            for block in self._ledger.blocks(advance.feed, advance.first, advance.last + 1):
                self._ward.take(logged_entries(self._ledger, block))
        revoked = {member.feed for member in self._ledger.membership.members.values() if member.revoked}
        return [row for row in self._ward.rows(_now(), revoked) if row.age is None or row.age <= self._since]


def _live(beds: _Beds, note: Callable[[int], Line], stopped: Stopped) -> None:
    from medledger.cli import terminal

    from .screen import page

    with terminal.screen() as screen:
        while not stopped.is_set():
            columns, lines = screen.size()
            turn = int(time.monotonic() / TURN_SECONDS)
            screen.show(page(beds.name, beds.rows(), columns, lines, turn=turn, note=note(columns)))
            if screen.wait(terminal.SECONDS, stopped):
                break


def _note(ledger: Ledger, running: Gossip | None, columns: int) -> Line:
    """The time, and whether what is shown here is all that the others have."""
    from medledger.cli import netdata
    from medledger.cli.cells import Span, fit
    from medledger.cli.nettext import COLOURS

    from .screen import DIM, GAP

    clock = time.strftime("%H:%M:%S")
    room = columns - len(clock) - GAP
    if running is None:
        said = Span(fit("Offline: what came before is all that is shown.", room), {"fg": "yellow"})
    else:
        picture = netdata.own(ledger, running)
        said = Span(fit(f"{picture.health.value.capitalize()}: {picture.why}.", room), {"fg": COLOURS[picture.health]})
    return [said, Span(" " * GAP), Span(clock, DIM)]


def _now() -> int:
    return time.time_ns() // 1_000_000
