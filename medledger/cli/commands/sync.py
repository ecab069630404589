"""`medledger sync`: exchange blocks with other replicas over an MQTT broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import gossiping
from ..command import Command
from ..opening import signing
from ..options import json_option, key_option, ledger_argument


@click.command(
    cls=Command,
    examples=(
        "medledger sync box.db                                            until in sync, over the broker we were told",
        "medledger sync ward.db --broker mqtts://broker.example:8883 --stay",
        "medledger sync audit.db --for 15min --follow",
    ),
)
@ledger_argument()
@key_option
@gossiping.sync_options
@json_option
def sync(ledger: Path, key: Path | None, until_in_sync: bool, as_json: bool, **given: Any) -> None:
    """Exchange blocks of LEDGER with the other replicas on a broker, until in sync.

    In sync: we hold all that the others have shown, and another has shown to hold all of ours. The broker is trusted
    with nothing. Stopped at any moment, what has arrived is kept. Ends with 4 where sync does not come.
    """
    request = gossiping.read_request(until_in_sync, as_json, **given)
    with signing(ledger, key) as opened:
        gossiping.run(opened, request)
