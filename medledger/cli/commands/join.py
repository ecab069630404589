"""`medledger join`: the applicant's last step, from the reply to a replica."""

from __future__ import annotations

from pathlib import Path

import click

from medledger.errors import StoreError

from .. import keyring, waiting
from ..command import Command
from ..options import Handed, json_option, key_option, ledger_argument
from ..output import emit, facts, say


@click.command(
    cls=Command,
    examples=("medledger join box.db --key box.key mlrep1:...", "medledger join box.db --key box.key reply.txt"),
)
@ledger_argument()
@click.argument("reply", type=Handed("mlrep1:"))
@key_option
@json_option
def join(ledger: Path, reply: str, key: Path | None, as_json: bool) -> None:
    """Start a replica in the new file LEDGER, of the ledger that let you in.

    REPLY is the text that a governor got for your request (`medledger member request`), or a file that holds it, or -
    for stdin. It opens with your key and the secret kept beside it, which is removed then. Nothing of the ledger is
    here yet: sync, or import a bundle, before you write.
    """
    from medledger.ledger import Ledger

    if ledger.exists():  # said before a passphrase is asked for
        raise StoreError(
            f"{ledger} exists already", hint="Choose another path, or go on with the replica that is there."
        )
    key_path = keyring.require_key(ledger, key)
    identity = keyring.load(key_path)
    _, secret = waiting.secret_of(key_path)
    with Ledger.join(ledger, identity, reply, secret) as joined:
        ledger_id, name, broker = joined.id, joined.name, joined.broker
    waiting.forget(key_path)
    if as_json:
        emit({"ledger": str(ledger), "id": ledger_id.hex(), "name": name, "key": str(key_path), "broker": broker})
        return
    say(f"Joined {name!r} in {ledger}.")
    facts([("ledger id", ledger_id.hex()), ("broker", broker or "none named")], indent="  ")
    fetch = "medledger sync" if broker else "medledger bundle import"
    say(f"It is empty yet: `{fetch} {ledger}{'' if broker else ' BUNDLE'}` brings what the others hold.")
