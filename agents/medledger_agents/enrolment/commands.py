"""`medledger agent setup` and `medledger agent doctor`: their options. What they do stands beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from medledger.cli.command import Command
from medledger.cli.options import Duration, Handed, Hex, brokers_option, json_option, yes_option

File = click.Path(dir_okay=False, path_type=Path)
Existing = click.Path(exists=True, dir_okay=False, path_type=Path)
Directory = click.Path(file_okay=False, path_type=Path)
KINDS = ("bedside", "pharmacy", "auditor")


@click.command(
    cls=Command,
    examples=(
        "medledger agent setup",
        "medledger agent setup --kind bedside --label 'bed 7' --broker mqtts://broker.example:8883 --yes",
        "medledger agent setup --kind auditor                        a replica that reads all and writes nothing",
        "medledger agent setup --reply reply.txt                     go on with a reply that was carried here",
        "medledger agent setup --kind bedside --succeeds 5f3a...     a new box for one that was lost",
    ),
)
@click.option("--kind", type=click.Choice(KINDS), help="What the box is.")
@click.option("--directory", type=Directory, help="Where all of it lives. [default: /var/lib/medledger, or your own]")
@click.option("--label", help="What people will call it (bed 7, ICU). [default: this machine's name]")
@click.option("--organisation", help="Who answers for it.")
@brokers_option("The broker, where the reply may be left.", envvar="MEDLEDGER_BROKER_URL")
@click.option("--username", help="User name at the broker; its password: MEDLEDGER_BROKER_PASSWORD, or typed.")
@click.option("--password-file", type=Existing, help="A file whose first line is the password at the broker.")
@click.option("--ca", type=Existing, help="Certificates to trust, for mqtts://. [default: the system's]")
@click.option("--succeeds", type=Hex(32), help="The public key of the box that this one carries on.")
@click.option("--replace", is_flag=True, help="This box's own key is dead: put it aside, and go on under a new one.")
@click.option("--reply", type=Handed("mlrep1:"), help="The reply: a file, the text itself, or - for stdin.")
@click.option("--qr/--no-qr", default=None, help="The request as a QR code on the terminal, or not.")
@click.option("--qr-out", type=File, help="The QR code as an image: FILE.png or FILE.svg.")
@click.option("--wait/--no-wait", default=True, help="Whether to wait for the reply.")
@click.option("--patience", type=Duration(), help="Give up waiting after so long (15min, 4h).")
@yes_option
@json_option
def setup(
    directory: Path | None, broker: str | None, patience: int | None, succeeds: bytes | None, **given: Any
) -> None:
    """Put a box into service: its key, its configuration, its request to join, and the join.

    It shows a request, as text and as a QR code; a governor of the ledger approves it (medledger member approve), and
    the box joins. Cut it off whenever you like: the same command goes on where it was.
    """
    from . import home
    from .asking import Given
    from .setup import run

    run(
        Given(
            directory=(directory or home.default_directory()).absolute(),
            broker=tuple(broker.split()) if broker else None,
            patience=None if patience is None else patience / 1000,
            succeeds=succeeds,
            **given,
        )
    )


@click.command(
    cls=Command,
    examples=(
        "medledger agent doctor",
        "medledger agent doctor --config /var/lib/medledger/agent.toml --json",
    ),
)
@click.option("--config", "config_file", type=File, help="The configuration. [default: that of `agent setup`]")
@click.option("--kind", type=click.Choice(KINDS), help="What the box is, where the configuration could be either's.")
@json_option
@click.pass_context
def doctor(context: click.Context, config_file: Path | None, kind: str | None, as_json: bool) -> None:
    """Look a box over: key, enrolment, clock, disks, broker, certificates, peers, ports.

    Each check says how it is, and what to do where it is not well. Nothing is changed, and the agent may run meanwhile.
    Exit codes: 0 all is well, 1 a warning, 2 a fault.
    """
    from . import examination, home
    from .copies import orderly_hangup
    from .doctor import examine, worst

    path = (config_file or home.default_directory() / home.CONFIG_NAME).absolute()
    with orderly_hangup():
        findings = examine(path, kind=None if kind is None else home.KINDS[kind])
    (examination.show_json if as_json else examination.show)(findings)
    context.exit(worst(findings).exit)
