"""`medledger key`: make a key file, or show whose it is; and the transport key, which the members of a ledger share."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import govern, keyring
from ..command import Group
from ..opening import reading, signing
from ..options import json_option, key_option, ledger_argument, yes_option
from ..output import count_text, emit, facts, say, time_json, time_text, warn

if TYPE_CHECKING:
    from medledger.keys import Identity
    from medledger.ledger import Ledger
    from medledger.rekeying import KeyStatus


@click.group(
    cls=Group,
    examples=(
        "medledger key new box.key --passphrase",
        "medledger key show box.key",
        "medledger key status ward.db",
        "medledger key rotate ward.db",
    ),
)
def key() -> None:
    """Make a key or show one; see to the transport key of a ledger.

    A key is one file, for its owner alone. Whoever holds it writes in its name. Beside it a small .witness file for
    each ledger remembers what was signed, so that a restored backup cannot sign a second history: move them together.

    The transport key is another thing: all members of a ledger hold it, and it seals what travels. It lies in the
    ledger, sealed to each of them. A revocation brings a new one; without one it should be replaced every month.
    """


_path = click.argument("path", metavar="KEY", type=click.Path(path_type=Path))


@key.command(examples=("medledger key new box.key", "medledger key new box.key --passphrase"))
@_path
@click.option("--passphrase", is_flag=True, help="Protect it: asks for a passphrase, or takes MEDLEDGER_PASSPHRASE.")
@json_option
def new(path: Path, passphrase: bool, as_json: bool) -> None:
    """Make a new key in the new file KEY."""
    identity = keyring.create(path, passphrase=keyring.new_passphrase() if passphrase else None)
    _show(identity, path, as_json, protected=passphrase)


@key.command(examples=("medledger key show box.key", "medledger key show box.key --json"))
@_path
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show the public side of a key: nothing secret."""
    identity, protected = keyring.load_protected(path)
    _show(identity, path, as_json, protected=protected)


def _show(identity: Identity, path: Path, as_json: bool, *, protected: bool) -> None:
    if as_json:
        emit(
            {
                "key": str(path),
                "public_key": identity.public_key.hex(),
                "fingerprint": identity.fingerprint,
                "passphrase": protected,
            }
        )
        return
    say(str(path))
    facts(
        [
            ("fingerprint", identity.fingerprint),
            ("public key", identity.public_key.hex()),
            ("passphrase", "yes" if protected else "no"),
        ],
        indent="  ",
    )


@key.command(examples=("medledger key status ward.db", "medledger key status ward.db --json"))
@ledger_argument()
@key_option
@json_option
def status(ledger: Path, key: Path | None, as_json: bool) -> None:
    """Show the transport key in use: since when, and which members lack it.

    Without a key beside LEDGER, as an auditor's, all is shown but whether this replica holds it.
    """
    from ..describe import Names

    with _opened(ledger, key) as opened:
        found = opened.key_status()
        names = Names(opened.membership)
        overdue = found.overdue(_now())
        if as_json:
            emit(_json(found, overdue=overdue))
            return
        facts(
            [
                ("generation", str(found.generation) if found.generation else "0, as replies brought it"),
                ("id", found.id.hex() if found.id else "known to members only"),
                ("since", _since(found)),
                ("handed out by", names.both(found.by) if found.by else "the founder, and who let others in"),
                ("held here", "yes" if found.held else "no"),
                ("lacked by", ", ".join(map(names.both, found.lacking)) or "nobody, as far as is known here"),
            ]
        )
        if found.lacking:
            warn("Who lacks it is heard by nobody: `medledger key share` gives them a copy.")
        if found.leaked:
            who = ", ".join(map(names.both, found.leaked))
            warn(f"A revoked member may hold it: {who}. A governor should run `medledger key rotate`.")
        if overdue:
            warn("It should be replaced at least monthly: a governor should run `medledger key rotate`.")
        for problem in found.problems:
            warn(f"{problem[0].upper()}{problem[1:]}.")


@key.command(examples=("medledger key rotate ward.db", "medledger key rotate ward.db --yes"))
@ledger_argument()
@key_option
@yes_option
@json_option
def rotate(ledger: Path, key: Path | None, yes: bool, as_json: bool) -> None:
    """Give all members a new transport key, as a governor.

    Do so every month, and whenever one may have been read by somebody else. A revocation does it by itself. Members
    that are offline change to it when they come back.
    """
    with signing(ledger, key) as opened:
        govern.confirm("Give all members a new transport key?", yes=yes)
        opened.rotate_transport_key()
        found = opened.key_status()
        if as_json:
            emit(_json(found, overdue=False))
            return
        current = opened.membership.transport.current
        sent = sum(len(handing.boxes) for handing in current.handings) if current else 0
        say(f"Transport key {found.generation} is in use, sealed to {count_text(sent, 'member')}.")


@key.command(examples=("medledger key share ward.db",))
@ledger_argument()
@key_option
@yes_option
@json_option
def share(ledger: Path, key: Path | None, yes: bool, as_json: bool) -> None:
    """Give the transport key in use to members that lack it, as a governor.

    Such are members that another governor let in, who had not heard of the key. Other acts of a governor do it too.
    """
    from ..describe import Names

    with signing(ledger, key) as opened:
        names = Names(opened.membership)
        lacking = opened.key_status().lacking
        if lacking:
            govern.confirm(f"Give the transport key to {', '.join(map(names.both, lacking))}?", yes=yes)
        given = opened.share_transport_key()
        if as_json:
            emit({"given": [feed.hex() for feed in given]})
        else:
            say(f"Sealed it to {', '.join(map(names.both, given))}." if given else "Nobody lacks it.")


def _opened(ledger: Path, key: Path | None) -> AbstractContextManager[Ledger]:
    """The ledger with its member's key where one is found, to tell whether it holds the transport key."""
    return reading(ledger) if keyring.find_key(ledger, key) is None else signing(ledger, key)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _since(found: KeyStatus) -> str:
    from medledger.rekeying import DAY_MS

    if found.since is None:
        return "unknown"
    days = (_now() - found.since) // DAY_MS
    return time_text(found.since) + (f", {count_text(days, 'day')} ago" if days > 0 else "")


def _json(found: KeyStatus, *, overdue: bool) -> dict[str, object]:
    return {
        "generation": found.generation,
        "id": found.id.hex() if found.id else None,
        "since": None if found.since is None else time_json(found.since),
        "by": found.by.hex() if found.by else None,
        "held": found.held,
        "lacking": [feed.hex() for feed in found.lacking],
        "leaked": [feed.hex() for feed in found.leaked],
        "overdue": overdue,
        "problems": list(found.problems),
    }
