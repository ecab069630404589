"""The file of an inbox: its tables, the steps from those of earlier versions, and how it is opened.

- STRICT tables, synchronous=FULL: what was committed outlives the power. One process has it at a time.
- A step of `MIGRATIONS` never changes once it is released. All that a file lacks are made in one transaction, or none.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from medledger.errors import StoreError

SCHEMA_VERSION: Final = 4
SCHEMA: Final = """
CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  sender TEXT NOT NULL,          -- MSH-3 and MSH-4, or the counter's software
  message_id TEXT NOT NULL,      -- MSH-10: with the sender, what a repetition is known by
  sha256 BLOB NOT NULL,          -- of salt and raw: the ledger's entries name the message by it
  raw BLOB NOT NULL,             -- as received; empty when it was removed
  received INTEGER NOT NULL,     -- UTC milliseconds, by this box's clock
  after INTEGER NOT NULL,        -- our feed's last block at that time: entries of it can only stand in later ones
  block INTEGER,                 -- our feed's block that holds the last of its entries; null while none does
  refused TEXT                   -- why it is not logged
) STRICT;
CREATE INDEX messages_key ON messages (sender, message_id, id);
CREATE INDEX messages_open ON messages (id) WHERE block IS NULL AND refused IS NULL;
"""
SWEEPS: Final = """
CREATE TABLE sweeps (upto INTEGER NOT NULL) STRICT;  -- up to which message `remove` has looked
INSERT INTO sweeps VALUES (0);
PRAGMA user_version = 2;
"""
COUNTED: Final = "signed:"
"""What the names of senders begin with that count their messages: devices that sign. The index below has it, too."""

COUNTERS: Final = """
CREATE INDEX messages_counted ON messages (sender, CAST(message_id AS INTEGER))
  WHERE block IS NOT NULL AND sender GLOB 'signed:*';  -- no other message pays for it
PRAGMA user_version = 3;
"""
SALTS: Final = """
ALTER TABLE messages ADD COLUMN salt BLOB NOT NULL DEFAULT X'';  -- empty for what holds no person, and before version 4
PRAGMA user_version = 4;
"""
MIGRATIONS: Final = (SCHEMA, SWEEPS, COUNTERS, SALTS)
PRAGMAS: Final = (
    "auto_vacuum = INCREMENTAL",  # of a new file: what is removed goes back to the disk
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
)


def opened(path: Path) -> sqlite3.Connection:
    """This file, made if there is none, with the tables of now; its owner's alone. Raises `StoreError`."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        connection = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the inbox {path} cannot be opened: {error}", hint="Check path in [inbox].") from error
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    try:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(f"{path} was written by newer software", hint="Update medledger on this box.")
        if version < SCHEMA_VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {' '.join(MIGRATIONS[version:])} COMMIT;")
    except sqlite3.Error as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: sqlite3.Error) -> StoreError:
    """What an error of SQLite means here."""
    return StoreError(
        f"the inbox {path} cannot be written: {error}",
        hint="Look for a full or failing disk; nothing is acknowledged until it works again.",
    )
