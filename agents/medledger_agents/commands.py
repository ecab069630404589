"""The agents' commands on the `medledger` command line: `agent ...`, `ward`, `demo`.

The command line finds `register` through the entry point group `medledger.commands`. It is called for every command
that is not built in, so nothing heavy is imported here: each command imports what it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from medledger.cli.command import Command, Group

File = click.Path(dir_okay=False, path_type=Path)
Directory = click.Path(file_okay=False, path_type=Path)

ENDS = """

\b
Ends with
  0   an orderly end: SIGTERM
  1   a part that cannot be kept alive
  2   a configuration or key that cannot be used
  3   a ledger, inbox or disk
  4   a port or an address
  70  a stop that was cut short"""
"""What the help of every agent's command closes with: its exit codes."""


def register(cli: click.Group) -> None:
    """Add our commands to the root command."""
    from .bedside.command import associate, quarantine
    from .enrolment.commands import doctor, setup
    from .instruments.command import drivers
    from .looking import status
    from .pharmacy.commands import counter, witness
    from .playing import play
    from .scanning import scan, scanner_test
    from .ward.command import ward

    commands = (associate, counter, doctor, drivers, play, quarantine, scan, scanner_test, setup, status, witness)
    for command in commands:
        agent.add_command(command)
    for command in (agent, demo, ward):
        cli.add_command(command)


@click.group(
    cls=Group,
    examples=(
        "medledger agent setup            first: makes the box's key and configuration, and joins",
        "medledger agent bedside --config /var/lib/medledger/agent.toml",
        "medledger agent status           how the running agent is",
        "medledger agent doctor           what is wrong around it, and what to do",
    ),
)
def agent() -> None:
    """Run a bedside or pharmacy box, or an auditor's replica."""


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What all agents take, and how they end."""
    command.__doc__ = inspect.cleandoc(command.__doc__ or "") + ENDS
    for option in reversed(
        (
            click.option("--config", "config_file", type=File, help="The configuration file (TOML)."),
            click.option("--sample", is_flag=True, help="Print a configuration file with every key, and exit."),
            click.option(
                "--until-input-ends", is_flag=True, help="End when standard input does, for a program that starts it."
            ),
        )
    ):
        command = option(command)
    return command


def _examples(kind: str) -> tuple[str, ...]:
    return (
        f"medledger agent {kind} --config /var/lib/medledger/agent.toml",
        f"medledger agent {kind} --sample > agent.toml",
    )


def _file(config_file: Path | None) -> Path:
    if config_file is None:
        raise click.UsageError("Missing option '--config'. A file to start from is printed by --sample.")
    return config_file


@agent.command(examples=_examples("bedside"))
@_options
def bedside(config_file: Path | None, sample: bool, until_input_ends: bool) -> None:
    """Take HL7 v2 messages over MLLP and log the readings in them.

    A message is acknowledged (MSA|AA) when its readings are on this box's disk.
    """
    from .bedside.config import BedsideConfig

    if sample:
        _print_sample(BedsideConfig)
        return
    path = _file(config_file).absolute()
    config = BedsideConfig.load(path)
    from .runtime import run_bedside

    run_bedside(config, path, until_input_ends=until_input_ends)


@agent.command(examples=_examples("pharmacy"))
@_options
def pharmacy(config_file: Path | None, sample: bool, until_input_ends: bool) -> None:
    """Take scans of packs on a local socket, refuse what must not be supplied, and log what is.

    Each line is a scan or a JSON object, and is answered by one.
    """
    from .pharmacy.config import PharmacyConfig

    if sample:
        _print_sample(PharmacyConfig)
        return
    path = _file(config_file).absolute()
    config = PharmacyConfig.load(path)
    from .runtime import run_pharmacy

    run_pharmacy(config, path, until_input_ends=until_input_ends)


@agent.command(examples=_examples("auditor"))
@_options
def auditor(config_file: Path | None, sample: bool, until_input_ends: bool) -> None:
    """Keep a replica in step that writes nothing: a server's that is always there, or an auditor's.

    To bring a laptop's replica up to date once, use medledger audit sync.
    """
    from .auditor.config import AuditorConfig

    if sample:
        _print_sample(AuditorConfig)
        return
    path = _file(config_file).absolute()
    config = AuditorConfig.load(path)
    from .auditor.service import run_auditor

    run_auditor(config, path, until_input_ends=until_input_ends)


def _print_sample(config: type[Any]) -> None:
    from .settings import sample

    click.echo(sample(config), nl=False)


@click.command(cls=Command, examples=("medledger demo", "medledger demo --plain --directory trial"))
@click.option("--broker", metavar="URL", help="Use this MQTT broker (mqtt://...) instead of an embedded one.")
@click.option("--directory", type=Directory, help="Where the parties' files go. [default: a new temporary directory]")
@click.option("--plain", is_flag=True, help="Plain lines instead of a live screen.")
def demo(broker: str | None, directory: Path | None, plain: bool) -> None:
    """See it all work, in half a minute.

    A hospital, a bedside box, a pharmacy and an auditor share a ledger. Each is a process with a key and a directory of
    its own. The replicas stay, to be looked at.
    """
    from .demo.play import run

    run(broker=broker, directory=directory, plain=plain)
