"""`medledger agent setup`: from a blank box to a member of a ledger, in steps that can be cut off anywhere.

 (1) the directory, and the configuration in it
 (2) the key, made on the box: it never leaves it
 (3) the request, kept beside the key, shown as text and as a QR code
 (4) the reply: over the broker, pasted, or in a file
 (5) the replica, which gossips until the box's own enrolment and role have arrived

Each step is durable before the next begins, and is found done when setup runs again: the same request is shown, and
nothing is asked twice. What exists is never overwritten.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from medledger.cli import keyring, waiting
from medledger.cli.gossiping import PASSWORD
from medledger.cli.output import emit, remark, say, style
from medledger.errors import InUseError, UsageError
from medledger.joining import Request, make_request, open_reply, read_request_text
from medledger.keys import Identity

from ..config import ReplicaConfig
from ..settings import first_line
from . import arriving, asking, home, outages, showing, succession
from .asking import Given
from .awaiting import CLEAR_SECONDS, Awaiting, handed_over, meet
from .ending import bare, report
from .home import Kind

SECRET_BYTES: Final = 16
AGAIN: Final = "Nothing is lost: the same command goes on from here."


@dataclass(frozen=True, slots=True)
class Box:
    """What the first three steps have made."""

    given: Given
    kind: Kind
    path: Path  # the configuration's
    config: ReplicaConfig
    identity: Identity

    @property
    def brokers(self) -> tuple[str, ...] | None:
        """Where the reply may be left: as said now, else as configured."""
        return None if self.config.gossip.offline else self.given.broker or self.config.gossip.broker

    @property
    def greeting(self) -> dict[str, Any]:
        """How the broker is greeted."""
        return home.account(self.config.gossip, os.environ.get(PASSWORD))


def run(given: Given) -> None:
    """Set the box up, as far as it goes. Raises `MedledgerError`; after Ctrl-C, as after any error, run it again."""
    owner = home.become_owner(given.directory)
    if owner is not None:
        remark(f"Going on as the user {owner}, to whom {given.directory} belongs.")
    with home.entered(given.directory), outages.told():
        try:
            _run(given)
        except KeyboardInterrupt:
            remark(f"\n{AGAIN}")
            raise


def _run(given: Given) -> None:
    kind, path, config, answers = _configure(given)
    old = given.succeeds
    succession.settle(given.directory, config.ledger.key, config.ledger.path)
    if given.replace or succession.noted(given.directory) is not None:
        old = succession.begin(given.directory, config.ledger.key, config.ledger.path, getattr(config, "inbox", None))
    identity = _key(config)
    box = Box(given, kind, path, config, identity)
    deadline = None if given.patience is None else time.monotonic() + given.patience
    if not config.ledger.path.exists():
        text = _request(box, answers, old)
        reply = _reply(box, text, deadline)
        if reply is None:
            return
        arriving.start_replica(config, identity, reply, read_request_text(text)[1])
    arriving.give_up_request(config, _remover(box))
    try:
        found = arriving.arrive(config, identity, kind.entry_type, deadline)
    except InUseError as error:
        raise InUseError(
            f"this box has joined already, and its replica {config.ledger.path} is in use: its agent runs",
            hint=f"Ask how it is: medledger agent doctor --config {path}",
        ) from error
    succession.settle(given.directory, config.ledger.key, config.ledger.path)
    report(found, kind, path, identity, as_json=given.as_json)


# --- (1) ----------------------------------------------------------------------------------------------------------


def _configure(given: Given) -> tuple[Kind, Path, ReplicaConfig, Callable[[], tuple[str, str]]]:
    """The box's kind and configuration, and how to learn its label and organisation where no request holds them."""
    path = given.directory / home.CONFIG_NAME
    known = home.kind_of(path) if path.exists() else None
    if known is not None and given.kind not in (None, known.name):
        raise UsageError(
            f"{path} is the configuration of a {known.name} box", hint="Use another directory for another box."
        )
    kind = known or asking.kind(given)
    if path.exists():
        if given.username is not None or given.password_file is not None or given.ca is not None:
            raise UsageError(
                f"{path} exists: --username, --password-file and --ca would have no effect",
                hint="Write them there, under [gossip]; then run this without them.",
            )
        return kind, path, kind.load(path), lambda: (asking.label(given), asking.organisation(given))
    answers = asking.label(given), asking.organisation(given)
    home.write_config(path, kind, asking.values(given, asking.broker(given)))
    remark(f"Wrote {path}: every key stands in it, with what it is for.")
    return kind, path, kind.load(path), lambda: answers


# --- (2) and (3) --------------------------------------------------------------------------------------------------


def _key(config: ReplicaConfig) -> Identity:
    passphrase = first_line(config.ledger.passphrase_file, "passphrase_file")
    if passphrase is not None and config.ledger.key.exists():
        return Identity.load(config.ledger.key, passphrase)
    identity, made = keyring.load_or_create(config.ledger.key)
    if made:
        remark(f"Made the key of this box in {config.ledger.key}. It never leaves the box.")
    return identity


def _request(box: Box, answers: Callable[[], tuple[str, str]], old: bytes | None) -> str:
    """The request that waits, or a new one, kept before anybody sees it. Raises `UsageError` where another waits."""
    key = box.config.ledger.key
    kept = waiting.find(key)
    if kept is not None:
        request, _ = read_request_text(kept)
        asked = {"--label": box.given.label, "--organisation": box.given.organisation, "--succeeds": old}
        holds = {"--label": request.label, "--organisation": request.organisation, "--succeeds": request.succeeds}
        for option, value in asked.items():
            if value is not None and value != holds[option]:
                raise UsageError(
                    f"this box has asked already, with another {option.lstrip('-')}",
                    hint=f"Leave out {option} to go on with that request, or remove {waiting.place(key)} first.",
                )
        return kept
    label, organisation = answers()
    text = make_request(
        box.identity,
        secret=os.urandom(SECRET_BYTES),
        label=label,
        organisation=organisation,
        roles=[box.kind.name],
        succeeds=old,
    )
    waiting.keep(key, text, replace=False)
    return text


# --- (4) ----------------------------------------------------------------------------------------------------------


def _reply(box: Box, text: str, deadline: float | None) -> str | None:
    """The reply to the request; None where nobody is to wait for it. Raises `JoinError`, `TransportError`."""
    given = box.given
    request, secret = read_request_text(text)
    if given.reply is not None:
        reply = handed_over(given.reply)
        open_reply(reply, box.identity, secret)
        return reply
    _show(box, text, request)
    brokers = box.brokers
    if not given.wait or (brokers is None and not sys.stdin.isatty()):
        if given.wait:
            remark("No broker is known, and there is no terminal to paste the reply into: bring it with --reply FILE.")
        return None
    place = None if brokers is None else meet(brokers, box.identity, secret, box.greeting)
    if place is not None:
        remark(f"Waiting for the reply at {place.broker}.")
    awaiting = Awaiting(box.identity, secret, place, deadline)
    reply = awaiting.wait()
    remark("The reply has come, and is authentic.")
    return reply


def _show(box: Box, text: str, request: Request) -> None:
    given = box.given
    if given.qr_out is not None:
        showing.write_image(text, given.qr_out)
        remark(f"The QR code is in {given.qr_out}. It holds a secret: remove it afterwards.")
    if given.as_json:
        emit(
            {
                "state": "waiting",
                "request": text,
                "fingerprint": box.identity.fingerprint,
                "feed": request.feed.hex(),
                "config": str(box.path),
            }
        )
        return
    _show_code(given, text)
    remark("This box asks to join. Give this to a governor, and not over a network:\n")
    say(text)
    remark("\nThe governor compares the fingerprint, and types:\n")
    remark(f"  fingerprint   {style(box.identity.fingerprint, bold=True)}")
    remark(f"  asks to be    {', '.join(request.roles)}, called {request.label!r}")
    if request.succeeds is not None:
        remark(f"  succeeds      {request.succeeds.hex()}")
    broker = f" --broker {bare(box.brokers[0])}" if box.brokers else ""
    revoke = " --revoke-old" if request.succeeds is not None else ""
    remark(f"  command       medledger member approve LEDGER REQUEST{broker}{revoke}\n")


def _show_code(given: Given, text: str) -> None:
    """The QR code, where there is a terminal that it fits on, or where it is asked for."""
    if given.qr is False or (given.qr is None and not sys.stdout.isatty()):
        return
    lines = showing.code_lines(text)
    if given.qr is None:
        columns, rows = os.get_terminal_size()
        if columns < showing.width(lines) or rows < len(lines):
            remark(
                f"The QR code takes {showing.width(lines)} columns and {len(lines)} rows, this terminal has "
                f"{columns} and {rows}: --qr-out FILE.png makes an image of it.\n"
            )
            return
    for line in lines:
        say(line)


def _remover(box: Box) -> Callable[[bytes], None]:
    """Removes the reply from the broker, where one is known."""

    def remove(secret: bytes) -> None:
        brokers = box.brokers
        if brokers is None:
            return
        with meet(brokers, box.identity, secret, box.greeting).open(must_connect=True) as place:
            place.clear(CLEAR_SECONDS)

    return remove
