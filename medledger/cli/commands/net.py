"""`medledger net`: what goes on between this replica and the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from medledger.errors import InUseError
from medledger.statusfile import Life

from .. import netdata, netsource, nettext, netwatch
from ..command import Group
from ..exits import Exit
from ..gossiping import Way, broker_options
from ..netdata import Picture
from ..options import Duration, json_option, key_option, ledger_argument
from ..output import emit, remark, say, style
from ..stopping import stop_signals


@click.group(
    cls=Group,
    examples=(
        "medledger net status ward.db               once, also while an agent runs on it",
        "medledger net status ward.db --no-gossip   for monitoring: the exit code says how things are",
        "medledger net watch ward.db                live, until Ctrl-C",
    ),
)
def net() -> None:
    """See the gossip: peers, lag, traffic, alarms.

    Whoever gossips for a ledger (an agent, medledger sync, a program that asks for it) keeps a small status file beside
    it, which these commands read while the ledger itself is locked. Where nobody gossips they do so themselves.
    """


@net.command(
    examples=(
        "medledger net status ward.db",
        "medledger net status ward.db --no-gossip --json",
        "medledger net status ward.db --broker mqtts://broker.example:8883 --for 20s",
    )
)
@ledger_argument()
@click.option("--no-gossip", is_flag=True, help="Where nobody gossips, do not do so ourselves: end with 7.")
@click.option("--for", "duration", type=Duration(), default="6s", show_default=True, help="How long to gossip at most.")
@key_option
@broker_options
@json_option
def status(ledger: Path, no_gossip: bool, duration: int, key: Path | None, as_json: bool, **way: Any) -> int:
    """Show how the gossip of LEDGER goes.

    \b
    Ends with
      0  in sync: all that the peers heard lately have shown is here
      5  behind: blocks are missing, or there is no broker, or no peer
      6  an alarm in the last 15 minutes, or gossip has failed
      7  not running: nobody gossips for this ledger
    and with 2, 3 or 4 as any command where it could not look.

    The picture is that of the process that gossips, at most 15 seconds old. Where there is none, this command gossips
    for a few seconds, which needs the key; what arrives is kept. With --no-gossip it does not.
    """
    picture = netsource.last(ledger)
    if picture is not None and picture.running:
        return _show(picture, as_json=as_json)
    if not no_gossip:
        if picture is not None and picture.life is not Life.CLOSED:
            remark(f"Nobody gossips for {ledger}: {picture.why}. Gossiping from here.")
        request = netsource.Request(ledger, key, Way(**way))
        try:
            with netsource.ourselves(request, status_file=False) as take, stop_signals() as stopped:
                return _show(netsource.look(take, duration / 1000, stopped), as_json=as_json)
        except InUseError:
            if picture is None:
                raise
    return _not_running(ledger, as_json=as_json) if picture is None else _show(picture, as_json=as_json)


def _show(picture: Picture, *, as_json: bool) -> int:
    if as_json:
        emit(netdata.for_programs(picture))
    else:
        for line in nettext.lines(picture):
            say(line)
    return int(picture.health.exit)


def _not_running(ledger: Path, *, as_json: bool) -> int:
    """Nothing has ever been shown here."""
    why = f"nobody gossips for {ledger}, or shows that it does"
    if as_json:
        emit(netdata.nothing(why))
    else:
        say(f"{style('Not running:', fg='red', bold=True)} {why}.")
    return int(Exit.NOT_RUNNING)


@net.command(
    examples=(
        "medledger net watch ward.db",
        "medledger net watch ward.db --for 1h --json > ward.jsonl",
    )
)
@ledger_argument()
@click.option("--for", "duration", type=Duration(), help="End after so long (90s, 15min, 4h).")
@key_option
@broker_options
@json_option
def watch(ledger: Path, duration: int | None, key: Path | None, as_json: bool, **way: Any) -> None:
    """Watch the gossip of LEDGER live, until Ctrl-C or q.

    Peers with bars of who lacks blocks, rates of traffic, feeds that lag, alarms with what to do. What the process that
    gossips shows is read again each second, and it renews that every two seconds while anything happens. Where nobody
    gossips this command does so itself, as long as it runs. Where stdout is no terminal: a line for each change.
    """
    picture = netsource.last(ledger)
    seconds = None if duration is None else duration / 1000
    with stop_signals() as stopped:
        if picture is not None and picture.running:
            seen = netwatch.watch(lambda: netsource.current(ledger), stopped, seconds=seconds, as_json=as_json)
        else:
            request = netsource.Request(ledger, key, Way(**way))
            with netsource.ourselves(request, status_file=True) as take:
                seen = netwatch.watch(take, stopped, seconds=seconds, as_json=as_json)
    if seen is not None and sys.stdout.isatty() and not as_json:
        say(nettext.headline(seen))
