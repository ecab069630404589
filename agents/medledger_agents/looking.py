"""How an agent is: asked over its own port, shown in a few lines. `medledger agent status`.

- What is shown is what /health and /metrics say (scrape.py); nothing is asked of the ledger, which the agent holds.
- Exit codes are those of `medledger net status`, so that one check in monitoring serves both.
- A figure that is NaN or infinite is one that is not known.
- An answer that is not ours, too long or too late is an error with its reason, and never taken for a healthy agent.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from medledger.cli.cells import wrap
from medledger.cli.command import Command
from medledger.cli.exits import Exit
from medledger.cli.options import Duration, json_option
from medledger.cli.output import (
    count_text,
    duration_text,
    emit,
    fact_lines,
    number_text,
    printable,
    say,
    size_text,
    style,
)
from medledger.errors import ConfigurationError, TransportError
from medledger_bridge.errors import ExtraMissingError

from .advice import on_fault
from .exposition import PREFIX

MAX_PAGE_BYTES: Final = 1024 * 1024
AGAIN_SECONDS: Final = 0.2
FEW_HOURS: Final = 72
MANY_HOURS: Final = 2 * 365 * 24
NOT_KEPT: Final = "not known to be synchronised"
PATIENCE_SECONDS: Final = 6.0  # a second more than the agent gives itself
File = click.Path(dir_okay=False, path_type=Path)
MIN_COLUMNS: Final = 30
ANY: Final = "0.0.0.0"  # noqa: S104 - compared with, not listened on

Figures = Mapping[str, Mapping[tuple[str, ...], float]]
"""By name and the values of its labels."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An agent that answered."""

    faults: Mapping[str, str]
    figures: Figures

    def one(self, name: str, *labels: str) -> float | None:
        """A figure, None where the agent does not give it."""
        return self.figures.get(name, {}).get(labels)


def ask(host: str, port: int) -> Seen | None:
    """What the agent at that port says; None where nobody listens. Raises `TransportError` for anything else."""
    import http.client  # not needed by the other commands, which are registered with this one

    here = "127.0.0.1" if host == ANY else host
    try:
        status, health = _get(here, port, "/health")
        _, page = _get(here, port, "/metrics")
        faults = json.loads(health)["faults"]
        if status not in (200, 503) or not isinstance(faults, dict):
            raise ValueError(status)
        return Seen({str(what): str(why) for what, why in faults.items()}, _figures(page.decode()))
    except ConnectionRefusedError:
        return None
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException) as error:
        raise TransportError(
            f"what answers on {here}:{port} does not answer as an agent does: {str(error) or type(error).__name__}",
            hint="Is another program on that port? Is the agent's disk hanging? See its log.",
        ) from error


def ask_until_well(host: str, port: int, seconds: float) -> Seen | None:
    """As `ask`, again and again until the agent is well or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        seen = ask(host, port)
        if (seen is not None and not seen.faults) or time.monotonic() >= deadline:
            return seen
        time.sleep(AGAIN_SECONDS)


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(MAX_PAGE_BYTES + 1)
        if len(body) > MAX_PAGE_BYTES:
            raise ValueError("its answer is too long")
        return answer.status, body
    finally:
        connection.close()


def _figures(page: str) -> Figures:
    try:
        from prometheus_client.parser import text_string_to_metric_families
    except ImportError as error:
        raise ExtraMissingError(
            "prometheus-client is not installed", hint="Install it: pip install 'medledger[agents]'."
        ) from error
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX).removesuffix("_total")
            if math.isfinite(sample.value):
                found.setdefault(name, {})[tuple(sample.labels.values())] = sample.value
    return found


# --- what is shown -------------------------------------------------------------------------------------------------


def lines(kind: str, seen: Seen, columns: int | None = None) -> list[str]:
    """The agent in a few lines; advice is broken to so many columns."""
    facts = [
        ("ledger", _state(seen)),
        ("messages", _messages(seen)),
        ("disk", _disk(seen)),
        ("gossip", _gossip(seen)),
        ("clock", f"{_now()}, {'synchronised' if seen.one('clock_synchronised') else NOT_KEPT}"),
    ]
    restarts = {labels[0]: value for labels, value in seen.figures.get("failures", {}).items() if value}
    if restarts:
        failed = ", ".join(f"{printable(part)} {number_text(int(count))}" for part, count in sorted(restarts.items()))
        facts.append(("failures", f"{failed} (each was started again)"))
    version = next((labels[0] for labels in seen.figures.get("info", {}) if labels), "")
    word = style("unhealthy", fg="red", bold=True) if seen.faults else style("well", fg="green", bold=True)
    shown = [f"{kind} agent {printable(version)}: {word}", *fact_lines(facts)]
    for what, why in seen.faults.items():
        name, *rest = _broken(f"{printable(what)}: {printable(why)}", columns, "  ", "    ")
        shown += [name.replace(printable(what), style(printable(what), fg="red"), 1), *rest]
        shown += _broken(on_fault(what, why), columns, "    -> ", "       ")
    return shown


def _now() -> str:
    """This machine's clock, which is the agent's: people see at once where it is wrong."""
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime())


def _broken(text: str, columns: int | None, first: str, then: str) -> list[str]:
    """The text in lines of so many columns, in one where there is no terminal."""
    parts = [text] if columns is None else wrap(text, max(MIN_COLUMNS, columns) - len(then))
    return [(then if at else first) + part for at, part in enumerate(parts)]


def _state(seen: Seen) -> str:
    states = seen.figures.get("ledger_state", {})
    return next((labels[0] for labels, value in states.items() if value), "unknown")


def _messages(seen: Seen) -> str:
    results = {labels[0]: int(value) for labels, value in seen.figures.get("messages", {}).items()}
    parts = [f"{number_text(results.get('logged', 0))} logged"]
    parts += [
        f"{number_text(count)} {printable(name)}"
        for name, count in sorted(results.items())
        if name != "logged" and count
    ]
    commits, seconds = seen.one("commit_seconds_count"), seen.one("commit_seconds_sum")
    if commits and seconds is not None:
        parts.append(f"{1000 * seconds / commits:.0f} ms a commit")
    waiting = seen.one("inbox_open")
    if waiting:
        parts.append(f"{count_text(int(waiting), 'message')} neither logged nor refused yet")
    return ", ".join(parts)


def _disk(seen: Seen) -> str:
    parts = []
    messages, free = seen.one("spool_bytes", "inbox"), seen.one("disk_free_bytes")
    for size, text in ((messages, "{} of messages"), (free, "{} free")):  # what is unconfirmed, `gossip` says
        if size is not None:
            parts.append(text.format(size_text(int(size))))
    seconds = seen.one("spool_left_seconds")
    if seconds is not None:
        parts.append(f"lasts {_lasting(int(seconds / 3600))} at this rate")
    return ", ".join(parts) or "not looked at yet"


def _lasting(hours: int) -> str:
    """How long the disk lasts, as exactly as it can be known."""
    if hours > MANY_HOURS:
        return "for years"
    return f"{hours} h" if hours < FEW_HOURS else count_text(hours // 24, "day")


def _gossip(seen: Seen) -> str:
    if seen.one("broker_connected") is None:
        return "offline: no broker is known, or it is not wanted"
    peers = count_text(int(seen.one("peers") or 0), "peer")
    where = peers if seen.one("broker_connected") else "no connection to the broker"
    waiting = int(seen.one("own_blocks_unconfirmed") or 0)
    if not waiting:
        blocks = int(seen.one("own_blocks") or 0)
        held = f"all of our {count_text(blocks, 'block')} confirmed" if blocks else "nothing written yet"
        return f"{where}; {held}"
    seconds = int(seen.one("own_blocks_unconfirmed_seconds") or 0)
    return f"{where}; {count_text(waiting, 'own block')} unconfirmed, the oldest for {duration_text(1000 * seconds)}"


def for_programs(kind: str, seen: Seen) -> dict[str, Any]:
    """The same as plain data."""
    figures = {
        name + ("." + ".".join(labels) if labels else ""): value
        for name, values in sorted(seen.figures.items())
        for labels, value in sorted(values.items())
        if not name.endswith("_bucket")
    }
    return {
        "kind": kind,
        "running": True,
        "healthy": not seen.faults,
        "faults": dict(seen.faults),
        "advice": {what: on_fault(what, why) for what, why in seen.faults.items()},
        "figures": figures,
    }


@click.command(
    cls=Command,
    examples=(
        "medledger agent status --config /var/lib/medledger/agent.toml",
        "medledger agent status --config agent.toml --json",
        "medledger agent status --wait 30s                    after a start, until it is well",
    ),
)
@click.option("--config", "config_file", type=File, help="The agent's configuration file. [default: as setup wrote it]")
@click.option("--wait", type=Duration(), default=0, help="Look again until it is well, for so long (30s, 5min).")
@json_option
def status(config_file: Path | None, wait: int, as_json: bool) -> int:
    """Show how a running agent is.

    \b
    Ends with
      0  well
      5  an auditor's replica that is behind
      6  unhealthy: the faults are named
      7  not running
    and with 2, 3 or 4 as any command where it could not look.

    It asks the agent's own port ([metrics] in its configuration). What lies around an agent is looked at by medledger
    agent doctor, its gossip by medledger net status.
    """
    from .enrolment.ending import start_command
    from .enrolment.home import CONFIG_NAME, default_directory, kind_of

    config_file = config_file or default_directory() / CONFIG_NAME

    kind = kind_of(config_file)
    if kind is None:
        raise ConfigurationError(
            f"it cannot be told from {config_file} what kind of box this is",
            hint="It lacks the sections that only one kind has: compare it with `medledger agent bedside --sample`.",
        )
    config: Any = kind.load(config_file)
    if kind.entry_type is None:
        return _status_of_replica(config.ledger.path, wait / 1000, as_json=as_json)
    section = config.metrics
    if not section.enabled or section.port == 0:
        raise ConfigurationError(
            f"{config_file} gives the agent no port to be asked on",
            hint="Set enabled and port in [metrics]; with port = 0 only the log knows which.",
        )
    seen = ask_until_well(section.host, section.port, wait / 1000)
    if seen is None:
        if as_json:
            emit({"kind": kind.name, "running": False, "healthy": False})
        else:
            word = style("not running", fg="red", bold=True)
            say(f"{kind.name} agent: {word}: nobody listens on port {section.port}")
            say(f"  -> Its log says why it ended. To start it: {start_command(kind, config_file)}")
        return int(Exit.NOT_RUNNING)
    if as_json:
        emit(for_programs(kind.name, seen))
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in lines(kind.name, seen, columns):
            say(line)
    return int(Exit.ALARM if seen.faults else Exit.OK)


def _status_of_replica(ledger: Path, seconds: float, *, as_json: bool) -> int:
    """A box that only holds a replica has no port: its gossip is all there is to see."""
    from medledger.cli import netdata, netsource, nettext

    deadline = time.monotonic() + seconds
    while True:
        picture = netsource.current(ledger)
        health = netdata.Health.NOT_RUNNING if picture is None else picture.health
        if health is netdata.Health.IN_SYNC or time.monotonic() >= deadline:
            break
        time.sleep(AGAIN_SECONDS)
    if as_json:
        emit(netdata.nothing(_never(ledger)) if picture is None else netdata.for_programs(picture))
        return int(health.exit)
    if picture is None:
        say(f"auditor's replica: {style('not running', fg='red', bold=True)}: {_never(ledger)}")
        return int(health.exit)
    for line in nettext.lines(picture):
        say(line)
    return int(health.exit)


def _never(ledger: Path) -> str:
    return "nobody has kept it in step yet" if ledger.is_file() else "it has not joined: medledger agent setup"
