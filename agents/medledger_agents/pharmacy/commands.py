"""`medledger agent counter`, a till for people and for scripts, and `medledger agent witness`, the second signature."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from medledger.errors import MedledgerError, TransportError, UsageError

if TYPE_CHECKING:
    from .epcis import Delivered

File = click.Path(dir_okay=False, path_type=Path)
SECONDS: Final = 30.0
READY_SECONDS: Final = 60.0
"""How long a till for people waits for a box that is still reading its ledger."""
MAX_REPLY_BYTES: Final = 1 << 26  # the stock of a pharmacy with some 100,000 products
_LOCAL: Final = "127.0.0.1:2576"


@click.command()
@click.option("--to", default=_LOCAL, show_default=True, metavar="HOST:PORT", help="The pharmacy agent's [scanner].")
@click.option("--json", "as_json", is_flag=True, help="The replies as they come, a JSON object a line.")
@click.option("--recall", "notice", type=File, help="Recall what a notice of the FDA names (XML or JSON), and exit.")
@click.option(
    "--note", "delivery", type=File, help="Hold what `receive` scans against this EPCIS delivery note (JSON)."
)
@click.option("--catalogue", type=File, help="GTINs that the pharmacy knows, one a line: settles ambiguous NDCs.")
@click.argument("request", required=False)
def counter(
    to: str,
    as_json: bool,
    notice: Path | None,
    delivery: Path | None,
    catalogue: Path | None,
    request: str | None,
) -> None:
    """Scan packs at a pharmacy agent, and see what it says.

    Each line of standard input, or REQUEST, is a scan or an operation: `dispense SCAN prescription=rx:...`, `verify`,
    `undo`, `return`, `receive`, `hold`, `release`, `ship`, `lose`, `waste`, `recall`, `stock`, `balance`, `conflicts`.
    Exit code 1: something was refused, or is not known to be done.

    \b
    Example:
      medledger agent counter 'verify (01)09520123456016(17)280331(10)L1(21)S1'
    """
    from .till import parse, say

    requests: Iterator[dict[str, Any]]
    if notice is not None:
        requests = iter(_recalls(notice, catalogue))
    elif request is not None:
        requests = iter([parse(request)])
    else:
        requests = (found for line in _lines() if (found := _typed(line)) is not None)
    delivered = None if delivery is None else _delivered(delivery)
    refused = False
    with closing(_Connection(to)) as connection:
        for each in requests:
            asked = each if delivered is None else delivered.hold_against(each)
            reply = _when_ready(connection, {"id": os.urandom(8).hex(), **asked})
            refused |= reply["result"] in ("refused", "unknown")
            click.echo(json.dumps(reply, ensure_ascii=False) if as_json else say(reply))
            if reply["result"] == "witness-needed" and not as_json:
                click.echo("  The second person runs this, with the file of their own key:")
                click.echo(f"  medledger agent witness --key FILE --to {to} {reply['id']} {reply['statement']}")
    if delivered is not None:
        for product, serial in delivered.missing:
            click.echo(f"NOT SCANNED: {product}, serial {serial}", err=True)
    sys.exit(1 if refused else 0)


def _when_ready(connection: _Connection, request: dict[str, Any]) -> dict[str, Any]:
    """The reply; where the box is still reading its ledger, that of a while later."""
    until = time.monotonic() + READY_SECONDS
    reply, told = connection.ask(request), None
    while reply.get("code") == "not-ready" and time.monotonic() < until:
        if reply["reason"] != told:
            told = reply["reason"]
            click.echo(f"Wait: {told}.", err=True)
        time.sleep(1)
        reply = connection.ask(request)
    return reply


def _lines() -> Iterator[str]:
    """Standard input; with a prompt where somebody sits at it."""
    prompt = sys.stdin.isatty()
    if prompt:
        click.echo("Scan a pack, or type what is to be done: `help` says what there is.", err=True)
    while True:
        if prompt:
            click.echo("scan> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line


def _delivered(delivery: Path) -> Delivered:
    from .epcis import MAX_NOTE_BYTES, Delivered, read_note

    try:
        with delivery.open("rb") as file:
            return Delivered(read_note(file.read(MAX_NOTE_BYTES + 1)))
    except OSError as error:
        raise UsageError(f"the note {delivery} cannot be read: {error.strerror}") from error


def _typed(line: str) -> dict[str, Any] | None:
    from .till import help_text, parse

    word = line.strip()
    if word in ("help", "?"):
        click.echo(help_text(), err=True)
    if word in ("", "help", "?"):
        return None
    try:
        return parse(line)
    except MedledgerError as error:
        click.echo(str(error), err=True)
        return None


def _recalls(notice: Path, catalogue: Path | None) -> list[dict[str, Any]]:
    from .recalls import MAX_NOTICE_BYTES, read_notice

    try:
        known = frozenset() if catalogue is None else frozenset(catalogue.read_text(encoding="utf-8").split())
        with notice.open("rb") as file:
            found = read_notice(file.read(MAX_NOTICE_BYTES + 1), catalogue=known)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"a file cannot be read: {error}") from error
    return found.requests()


@click.command()
@click.option("--key", required=True, type=File, help="The witness' own key file.")
@click.option("--to", default=_LOCAL, show_default=True, metavar="HOST:PORT", help="The pharmacy agent's [scanner].")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("request_id")
@click.argument("statement")
def witness(key: Path, to: str, yes: bool, request_id: str, statement: str) -> None:
    """Sign, as the second person, what a pharmacy is about to log, and send the signature.

    REQUEST_ID and STATEMENT are what the counter showed. What is signed is shown first. A passphrase is taken from
    MEDLEDGER_PASSPHRASE.

    \b
    Example:
      medledger agent witness --key witness.key w-1 8778...
    """
    from medledger.keys import Identity

    from .statement import read_statement
    from .till import say

    read = read_statement(statement)
    click.echo(read.sentence)
    if not yes:
        click.confirm("Did you see it, and do you sign?", abort=True)
    identity = Identity.load(key, os.environ.get("MEDLEDGER_PASSPHRASE"))
    signed = {"key": identity.public_key.hex(), "signature": identity.sign(read.message).hex()}
    with closing(_Connection(to)) as connection:
        reply = connection.ask({"do": "witness", "id": request_id, **signed})
    click.echo(say(reply))
    sys.exit(1 if reply["result"] in ("refused", "unknown") else 0)


class _Connection:
    """A till's line to the agent. Raises `TransportError`."""

    def __init__(self, to: str) -> None:
        host, colon, port = to.rpartition(":")
        if not (colon and port.isdecimal() and int(port) < 1 << 16):
            raise UsageError(f"{to!r} is not HOST:PORT", hint=f"As in: {_LOCAL}")
        try:
            self._socket = socket.create_connection((host, int(port)), timeout=SECONDS)
        except OSError as error:
            raise TransportError(
                f"no pharmacy agent answers at {to}: {error.strerror or error}",
                hint="Is it running? `medledger agent pharmacy`.",
            ) from error
        self._file = self._socket.makefile("rb")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its reply."""
        try:
            self._socket.sendall(json.dumps(request, ensure_ascii=False).encode() + b"\n")
            line = self._file.readline(MAX_REPLY_BYTES)
        except OSError as error:
            raise TransportError(
                f"the pharmacy agent does not answer: {error}", hint="Ask again with `stock`."
            ) from error
        if not line.endswith(b"\n"):
            raise TransportError("the pharmacy agent hung up", hint="Look at its log; then ask again with `stock`.")
        try:
            reply: dict[str, Any] = json.loads(line)
            reply["result"]
        except (ValueError, TypeError, KeyError) as error:
            raise TransportError("what answers there is no pharmacy agent", hint="Check --to.") from error
        return reply

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()
