"""What setup has to know of a box: given as options, or asked on a terminal, once.

Nothing is asked that has been answered: not what an option says, and not what the request that waits holds already.
Without a terminal, or with --yes, the defaults hold; only the kind has none.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from medledger import files
from medledger.cli.gossiping import PASSWORD
from medledger.errors import MedledgerError, StoreError, UsageError
from medledger.limits import MAX_LABEL_CHARS

from .home import KINDS, Kind, Values


@dataclass(frozen=True, slots=True)
class Given:
    """The options of `medledger agent setup`; None where one was not given."""

    directory: Path
    kind: str | None = None
    label: str | None = None
    organisation: str | None = None
    broker: tuple[str, ...] | None = None
    username: str | None = None
    password_file: Path | None = None
    ca: Path | None = None
    succeeds: bytes | None = None
    replace: bool = False
    reply: str | None = None
    qr: bool | None = None
    qr_out: Path | None = None
    wait: bool = True
    patience: float | None = None  # seconds
    yes: bool = False
    as_json: bool = False

    @property
    def may_ask(self) -> bool:
        """Whether there is somebody to ask."""
        return not self.yes and not self.as_json and sys.stdin.isatty()


def kind(given: Given) -> Kind:
    """What the box is to be. Raises `UsageError` where nobody says."""
    if given.kind is not None:
        return KINDS[given.kind]
    if not given.may_ask:
        raise UsageError(
            "the kind of this box is not said, and there is no terminal to ask on",
            hint=f"Give --kind: {' or '.join(KINDS)}.",
        )
    click.echo("What is this box to be?", err=True)
    for each in KINDS.values():
        click.echo(f"  {each.name:10}{each.does}", err=True)
    return KINDS[click.prompt("Kind", type=click.Choice(list(KINDS)), err=True)]


def label(given: Given) -> str:
    """What people will call it."""
    if given.label is not None:
        return given.label
    default = socket.gethostname()[:MAX_LABEL_CHARS]
    if not given.may_ask:
        return default
    return _text("What will people call it? (bed 7, ICU)", default)


def organisation(given: Given) -> str:
    """Who answers for it."""
    if given.organisation is not None or not given.may_ask:
        return given.organisation or ""
    return _text("Which organisation answers for it? (Return for none)", "")


def broker(given: Given) -> tuple[str, ...] | None:
    """Where it gossips, and where its reply may be left."""
    from medledger.transport import BrokerAddress

    if given.broker is not None or not given.may_ask:
        return given.broker
    while True:
        text = _text("The broker, as in mqtts://broker.example:8883 (Return for none)", "")
        if not text:
            return None
        try:
            BrokerAddress.parse_all(text)
        except MedledgerError as error:
            click.echo(f"{error}. {error.hint}", err=True)
        else:
            return tuple(text.split())


def password_file(given: Given) -> Path | None:
    """The file with the password at the broker, made where a user is named and the password is typed or in the
    environment. Raises `StoreError`.
    """
    if given.password_file is not None or given.username is None:
        return given.password_file
    password = os.environ.get(PASSWORD)
    if password is None and given.may_ask:
        password = click.prompt(f"Password of {given.username} at the broker", hide_input=True, err=True)
    if password is None:
        return None
    path = given.directory / "broker-password"
    try:
        files.create(path, f"{password}\n".encode())
    except FileExistsError:
        pass  # made by the run before this one
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def values(given: Given, at: tuple[str, ...] | None) -> Values:
    """What of the answers stands in the configuration."""
    gossip: dict[str, Any] = {}
    if at:
        gossip["broker"] = at[0] if len(at) == 1 else list(at)
    if given.username is not None:
        gossip["username"] = given.username
    for name, path in (("password_file", password_file(given)), ("ca_file", given.ca)):
        if path is not None:
            gossip[name] = str(path.absolute())
    return {"gossip": gossip}


def _text(question: str, default: str) -> str:
    answer: str = click.prompt(question, default=default, show_default=bool(default), err=True)
    return answer.strip()
