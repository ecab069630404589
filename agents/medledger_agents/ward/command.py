"""`medledger ward`: the beds of a ledger in the terminal, once or live."""

from __future__ import annotations

import queue
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from medledger.cli import gossiping
from medledger.cli.command import Command
from medledger.cli.entrylines import logged_entries
from medledger.cli.gossiping import Way, broker_options, stop_signals
from medledger.cli.opening import reading, signing
from medledger.cli.options import Duration, json_option, key_option, ledger_argument
from medledger.cli.output import emit, printable

if TYPE_CHECKING:
    from medledger.importing import Advance
    from medledger.indexing import LoggedEntry
    from medledger.ledger import Ledger

    from .beds import Row

SECONDS: Final = 1.0


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
    nobody's  measuring, and associated with no patient
    free      the association has ended

    Values are shown of live devices only: a dead sensor must not look like a calm patient. Live, this command gossips
    for LEDGER with its key, so it is meant for a screen's own replica; while an agent holds LEDGER, use a replica of
    another machine or a copy (medledger backup).
    """
    live = not once and not as_json and sys.stdout.isatty()
    with ExitStack() as stack:
        opened = stack.enter_context(reading(ledger) if offline or not live else signing(ledger, key))
        beds = _Beds(opened, since)
        if as_json:
            from .screen import for_programs

            for row in beds.rows():
                emit(for_programs(row))
        elif not live:
            _print(beds)
        else:
            if not offline:
                running = gossiping.gossip(
                    opened, Way(**way), on_alarm=lambda _: None, must_connect=False, status_file=True
                )
                stack.enter_context(running)
            with stop_signals() as stopped, suppress(KeyboardInterrupt):
                _live(beds, stopped)


class _Beds:
    """A replica's beds, kept up to date with what arrives."""

    def __init__(self, ledger: Ledger, since: int) -> None:
        from .beds import TYPES, Ward

        self.name = printable(ledger.name)
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


def _print(beds: _Beds) -> None:
    from rich.console import Console

    from .screen import draw

    console = Console(highlight=False)
    console.print(draw(beds.name, beds.rows()))


def _live(beds: _Beds, stopped: threading.Event) -> None:
    from rich.console import Console
    from rich.live import Live

    from .screen import draw

    console = Console(highlight=False)
    with Live(draw(beds.name, beds.rows()), console=console, screen=True, auto_refresh=False) as screen:
        while not stopped.wait(SECONDS):
            screen.update(draw(beds.name, beds.rows(), note=time.strftime("%H:%M:%S")), refresh=True)


def _now() -> int:
    return time.time_ns() // 1_000_000
