"""`medledger key`: make a key file, or show whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import keyring
from ..command import Group
from ..options import json_option
from ..output import emit, facts, say

if TYPE_CHECKING:
    from medledger.keys import Identity


@click.group(cls=Group, examples=("medledger key new box.key --passphrase", "medledger key show box.key"))
def key() -> None:
    """Make a key, or show one.

    A key is one file, for its owner alone. Whoever holds it writes in its name. Beside it a small .witness file for
    each ledger remembers what was signed, so that a restored backup cannot sign a second history: move them together.
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
