"""medledger: an embedded ledger for health care.

Every party keeps a replica of one signed, append-only record. This package is the library that a process embeds:

    from medledger import Identity, Ledger, Reading

    me = Identity.load_or_create("box.key")
    with Ledger.open("ward.db", me) as ledger:
        block = ledger.append(Reading(device="MON-7", samples=[("8867-4", "72", "/min")]))   # durable on return

What is named here is the public interface. It is loaded when it is first used: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .block import Block as Block
    from .errors import MedledgerError as MedledgerError
    from .importing import ImportReport as ImportReport
    from .indexing import LoggedEntry as LoggedEntry
    from .joining import make_request as make_request
    from .keys import Identity as Identity
    from .ledger import Ledger as Ledger
    from .records import Association as Association
    from .records import Cadence as Cadence
    from .records import DeviceBatch as DeviceBatch
    from .records import DeviceEnrol as DeviceEnrol
    from .records import DeviceRetire as DeviceRetire
    from .records import DeviceStatus as DeviceStatus
    from .records import Dispense as Dispense
    from .records import Reading as Reading
    from .records import Sample as Sample
    from .registry import register as register

_HOMES: Final = {
    "Association": "records",
    "Block": "block",
    "Cadence": "records",
    "DeviceBatch": "records",
    "DeviceEnrol": "records",
    "DeviceRetire": "records",
    "DeviceStatus": "records",
    "Dispense": "records",
    "Identity": "keys",
    "ImportReport": "importing",
    "Ledger": "ledger",
    "LoggedEntry": "indexing",
    "MedledgerError": "errors",
    "Reading": "records",
    "Sample": "records",
    "make_request": "joining",
    "register": "registry",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
