"""`medledger agent drivers`: what instruments can be wired to a box."""

from __future__ import annotations

import click

from medledger.cli.command import Command
from medledger.cli.options import json_option
from medledger.cli.output import emit, table

_NEEDS = {"serial": "a serial port", "ble": "Bluetooth", "tcp": "a network connection"}


@click.command(cls=Command, examples=("medledger agent drivers", "medledger agent drivers --json"))
@json_option
def drivers(as_json: bool) -> None:
    """List the drivers that [instruments] in a bedside box's configuration may name.

    Installed packages may bring more: see docs/adding-a-device.md.
    """
    from medledger_bridge.devices import known, lookup

    from .config import SIGNED

    found = [(SIGNED, "serial", "a device that signs its own batches")]
    for name in known():
        driver = lookup(name)
        found.append((name, driver.NEEDS, " ".join((driver.__doc__ or "").split("\n\n")[0].split())))
    if as_json:
        for name, needs, doc in found:
            emit({"driver": name, "needs": needs, "what": doc})
    else:
        table(("DRIVER", "NEEDS", "WHAT"), [(name, _NEEDS[needs], doc) for name, needs, doc in found])
