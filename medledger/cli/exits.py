"""Exit codes, in one table: scripts and monitoring tell causes apart by them.

| code | meaning                                                                                        |
|------|------------------------------------------------------------------------------------------------|
| 0    | done                                                                                           |
| 1    | refused, or failed verification: bad bytes, a bad signature, a rule of the ledger              |
| 2    | called wrongly: arguments, options, JSON, a key file or its passphrase                         |
| 3    | the store: a ledger or file that is missing, in use by another process, full or not readable   |
| 4    | the network: no broker, no web server, or not in sync in the time given                        |
| 5    | `net status`: behind: not in sync with the peers, or without a broker or peers                 |
| 6    | `net status`: an alarm in the last 15 minutes, or a fault of its own that ended gossip         |
| 7    | `net status`: nobody gossips for the ledger                                                    |
| 70   | a bug in medledger                                                                             |
| 130  | stopped with Ctrl-C                                                                            |
| 141  | whoever read our output has closed it                                                          |
| 143  | ended by SIGTERM, as shells show it; commands that wait for it (`sync`, agents) end with 0     |
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from medledger.errors import (
    CorruptError,
    Fault,
    FrameError,
    MedledgerError,
    RecoveringError,
    StoreError,
    TransportError,
    UsageError,
)


class Exit(IntEnum):
    """The codes by name."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    STORE = 3
    NETWORK = 4
    BEHIND = 5
    ALARM = 6
    NOT_RUNNING = 7
    BUG = 70
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


MEANINGS: Final = {
    Exit.OK: "done",
    Exit.REFUSED: "refused, or failed verification",
    Exit.USAGE: "called wrongly",
    Exit.STORE: "a ledger or file is missing, in use, full or not readable",
    Exit.NETWORK: "no broker, no web server, or not in sync in time",
    Exit.BEHIND: "net status: behind",
    Exit.ALARM: "net status: an alarm",
    Exit.NOT_RUNNING: "net status: not running",
    Exit.BUG: "a bug in medledger",
    Exit.INTERRUPTED: "stopped with Ctrl-C",
    Exit.CLOSED_PIPE: "whoever read our output has closed it",
    Exit.TERMINATED: "ended by SIGTERM",
}

# The first class that fits decides. A damaged or recovering replica is no trouble with its file.
_BY_CLASS: Final[tuple[tuple[type[MedledgerError], Exit], ...]] = (
    (CorruptError, Exit.REFUSED),
    (RecoveringError, Exit.REFUSED),
    (StoreError, Exit.STORE),
    (TransportError, Exit.NETWORK),
    (FrameError, Exit.NETWORK),
    (UsageError, Exit.USAGE),
)


def exit_code(error: MedledgerError) -> Exit:
    """The exit code that an error of the library ends the program with."""
    if isinstance(error, TransportError) and error.fault is Fault.CALLER:
        return Exit.USAGE  # an address or a certificate that cannot be used: no network was asked
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), Exit.REFUSED)
