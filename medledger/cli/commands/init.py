"""`medledger init`: found a ledger whose sole governor is one key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click

from medledger.errors import ConfigurationError, StoreError

from .. import keyring
from ..command import Command
from ..opening import read_text
from ..options import brokers_option, json_option, key_option, ledger_argument, roles_option
from ..output import emit, facts, say


@click.command(
    cls=Command,
    examples=(
        "medledger init ward.db --name 'St. Anna' --role hospital",
        "medledger init ward.db --name 'St. Anna' --key /etc/medledger/ward.key --label 'Hospital' --role hospital",
    ),
)
@ledger_argument()
@click.option("--name", required=True, help="The ledger's name, for people.")
@key_option
@click.option("--label", default="", help="What people call you (box 7, ICU).")
@click.option("--organisation", default="", help="Who answers for you.")
@roles_option
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='Roles and what each may write, as TOML lines (bedside = ["reading"]) or a JSON object.',
)
@brokers_option("The MQTT broker to sync over; named in replies to those who join.", in_reply=True)
@json_option
def init(
    ledger: Path,
    name: str,
    key: Path | None,
    label: str,
    organisation: str,
    roles: tuple[str, ...],
    policy: Path | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Found a ledger in the new file LEDGER.

    Your key becomes its sole governor: it decides who joins. Where the key file does not exist it is made; without
    --key it lies beside the ledger, with the ending .key.
    """
    from medledger.keys import fingerprint, seal_to
    from medledger.ledger import Ledger

    roles_may = None if policy is None else read_policy(policy)
    if ledger.exists():
        raise StoreError(
            f"{ledger} exists already", hint="Choose another path, or go on with the ledger that is there."
        )
    if not ledger.absolute().parent.is_dir():
        raise StoreError(f"there is no directory {ledger.absolute().parent}", hint="Make it first.")
    key_path = ledger.with_suffix(".key") if key is None else key
    identity, made = keyring.load_or_create(key_path)
    with Ledger.create(
        ledger, identity, name=name, policy=roles_may, label=label, organisation=organisation, roles=roles
    ) as founded:
        ledger_id = founded.id
        if broker is not None:
            founded.store.set_meta("broker", seal_to(identity.kem_public_key, broker.encode()))
    if as_json:
        emit(
            {
                "ledger": str(ledger),
                "id": ledger_id.hex(),
                "name": name,
                "key": str(key_path),
                "key_made": made,
                "feed": identity.public_key.hex(),
            }
        )
        return
    say(f"Founded {name!r} in {ledger}.")
    facts(
        [
            ("ledger id", ledger_id.hex()),
            ("your key", f"{key_path}{' (new)' if made else ''}"),
            ("fingerprint", fingerprint(identity.public_key)),
        ],
        indent="  ",
    )
    if made:
        say("Keep a copy of the key file in a safe place: without it nobody can be let in, and nothing replaces it.")


def read_policy(path: Path) -> dict[str, list[str]]:
    """Roles and the entry types they may write, from a file. Raises `ConfigurationError`, which names the role."""
    import json

    text = read_text(path)
    try:
        found: Any = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is neither TOML nor JSON: {error}", hint='One role a line, as in: bedside = ["reading"]'
        ) from error
    for role, types in found.items():
        if not isinstance(types, list) or not all(isinstance(each, str) for each in types):
            raise ConfigurationError(
                f"{path}: the role {role!r} must be a list of entry types", hint='As in: bedside = ["reading"]'
            )
    return dict(found)
