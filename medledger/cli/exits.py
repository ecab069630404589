"""How errors end the program: exit codes, in one table, by which scripts and monitoring tell causes apart; and a next
step for each error.

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
    BlockError,
    ConfigurationError,
    CorruptError,
    Fault,
    FrameError,
    KeyFileError,
    MedledgerError,
    MembershipError,
    NeedsNewerError,
    RecoveringError,
    SchemaError,
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


# What to do next where the error itself does not know; the first class that fits decides.
_NEXT_STEPS: Final[tuple[tuple[type[MedledgerError], str], ...]] = (
    (CorruptError, "`medledger fsck` names what is damaged. Take another member's replica, or a backup."),
    (StoreError, "Check the path, that you may read and write there, and that the disk has room."),
    (TransportError, "Check that it runs, its address, and that nothing in between blocks it."),
    (FrameError, "Check that all use the same version of medledger."),
    (KeyFileError, "Check that it is the right file: `medledger key show` tells whose it is."),
    (ConfigurationError, "Mend the file, and try again."),
    (UsageError, "The command's --help shows how it is called."),
    (SchemaError, "docs/format.md says what each type of record holds; `medledger append --help` has examples."),
    (MembershipError, "`medledger member list` and `medledger governance show` tell who is who, and who decides."),
    (NeedsNewerError, "Update medledger on this machine."),
    (BlockError, "Get the blocks again, from another member if need be: `medledger sync`, or a new bundle."),
    (MedledgerError, "It was damaged on the way, or is not what was meant: get it again from where it came."),
)


def next_step(error: MedledgerError) -> str:
    """What to do about an error: what it says itself, or what helps with its kind."""
    return error.hint or next(step for kind, step in _NEXT_STEPS if isinstance(error, kind))


def exit_code(error: MedledgerError) -> Exit:
    """The exit code that an error of the library ends the program with."""
    if isinstance(error, TransportError) and error.fault is Fault.CALLER:
        return Exit.USAGE  # an address or a certificate that cannot be used: no network was asked
    return next((code for kind, code in _BY_CLASS if isinstance(error, kind)), Exit.REFUSED)
