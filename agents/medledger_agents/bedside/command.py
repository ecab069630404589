"""`medledger agent associate` and `medledger agent quarantine`: what a person says to the running bedside agent.

Both speak with the agent through its socket beside the ledger, which only its owner can use (hand.py).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medledger.cli.command import Command, Group

if TYPE_CHECKING:
    from .config import BedsideConfig

_config = click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The running agent's configuration file (TOML).",
)
_patient = click.option("--patient", metavar="NUMBER", help="The patient's number; asked for where it is left out.")
_issuer = click.option("--issuer", metavar="NAME", help="Who issued the number. [default: issuer in [beds]]")


class Moment(click.ParamType[int]):
    """UTC ms from a time with a zone, as `2026-01-31T12:00:00+01:00` or `...Z`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See the class."""
        if isinstance(value, int):
            return value
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            self.fail(f"{value!r} is not a time with a zone: write 2026-01-31T12:00:00+01:00", param, ctx)
        return round(found.timestamp() * 1000)


@click.command(
    cls=Command,
    examples=(
        "medledger agent associate --config bed.toml MON-7 --patient 4711    from now on, till you say otherwise",
        "medledger agent associate --config bed.toml MON-7 --nobody          the patient has left",
    ),
)
@_config
@click.argument("device")
@_patient
@_issuer
@click.option("--nobody", is_flag=True, help="Nobody is at the device from now on.")
@click.option("--from", "since", type=Moment(), help="From then on instead of now.")
def associate(
    config_file: Path, device: str, patient: str | None, issuer: str | None, nobody: bool, since: int | None
) -> None:
    """Say who is at DEVICE.

    It ends whatever association the device had, and stands on the ledger with the reason `manual`.
    """
    if nobody and patient is not None:
        raise click.UsageError("--nobody and --patient exclude each other.")
    _tell(config_file, device, None if nobody else _number(patient), issuer, since, None)
    click.echo(f"{device}: {'nobody' if nobody else 'associated'}")


@click.group(cls=Group, examples=("medledger agent quarantine list --config bed.toml",))
def quarantine() -> None:
    """Readings that are nobody's: look at them, and say whose they are."""


@quarantine.command(
    "list",
    cls=Command,
    examples=("medledger agent quarantine list --config bed.toml --hours 72",),
)
@_config
@click.option("--hours", type=click.IntRange(1, 24 * 366), default=24, show_default=True, help="How far to look back.")
def list_(config_file: Path, hours: int) -> None:
    """List the readings that are nobody's, by device and time, with the reason.

    \b
    unassociated     nobody was associated with the device then, as far as is known
    after-discharge  somebody was, and that had ended
    uncertain        measured about when somebody came or went, or nobody knows when
    conflict         the message named somebody else (PID-3)
    """
    from .hand import SOCKET_NAME, answered, question, tell

    reply = tell(_read(config_file).ledger.path.parent / SOCKET_NAME, question(hours))
    found = answered(reply)
    for run in found:
        back = f"  ({run.taken_back} taken back)" if run.taken_back else ""
        click.echo(f"{run.device:<20} {_shown(run.first)} .. {_shown(run.last)} {run.count:>6}  {run.reason}{back}")
    click.echo(f"{sum(run.count for run in found)} readings in quarantine")


@quarantine.command(
    cls=Command,
    examples=(
        "medledger agent quarantine assign --config bed.toml MON-7 --from 2026-01-31T12:00Z --until 2026-01-31T12:20Z",
    ),
)
@_config
@click.argument("device")
@_patient
@_issuer
@click.option("--from", "since", type=Moment(), required=True, help="The first time, as the list shows it.")
@click.option("--until", type=Moment(), required=True, help="The last time, as the list shows it.")
def assign(config_file: Path, device: str, patient: str | None, issuer: str | None, since: int, until: int) -> None:
    """Say whose the readings of DEVICE between two times are.

    The readings stay as they were logged: two new entries say whose they are, and who reads the ledger finds both.
    """
    if until > time.time_ns() // 1_000_000:
        raise click.UsageError("--until has not passed yet.")
    _tell(config_file, device, _number(patient), issuer, since, until + 1)
    click.echo(f"{device}: assigned")


def _number(patient: str | None) -> str:
    return patient or click.prompt("Patient's number", hide_input=True)


def _tell(
    config_file: Path, device: str, number: str | None, issuer: str | None, since: int | None, until: int | None
) -> None:
    from .hand import SOCKET_NAME, tell, write
    from .patients import Patient

    config = _read(config_file)
    patient = None if number is None else Patient(number, issuer or config.beds.issuer or "")
    tell(config.ledger.path.parent / SOCKET_NAME, write(device, patient, since, until))


def _read(config_file: Path) -> BedsideConfig:
    from .config import BedsideConfig

    config = BedsideConfig.load(config_file)
    if config.beds.association != "adt":
        raise click.UsageError('This box takes patients from the messages (association = "message" in [beds]).')
    return config


def _shown(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
