"""The tables and views of a replica, as numbered migrations.

A migration and the record that it was applied are one transaction (sqlite-utils). Tables are STRICT. The views are what
people query: texts instead of numbers, hexadecimal instead of bytes, a row for each sample of a reading.

The subject under which a reading was logged is not always whose it is: a discharge that was told later takes readings
back, and a person may assign those in quarantine. That is a fold over the entries, which SQL does not do. So where a
view shows readings the column is called `logged_subject`, and `medledger audit readings` says whose they are.
"""

from __future__ import annotations

from typing import Final

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from ..decimals import MAX_EXPONENT, MIN_EXPONENT

SCHEMA_VERSION: Final = 4
"""PRAGMA user_version of a database that needs no migration, so that opening one does not look further."""

FEED_SHIFT: Final = 40
"""Bits of a block's sequence number in `pos`; above them stands its feed's number."""

migrations = Migrations("medledger")

TABLES: Final = """
-- What a replica is: ledger id, genesis, this copy's instance token, sealed transport key.
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

-- One row a feed, with its head, so that opening costs nothing that grows with the blocks.
CREATE TABLE feeds (
  no INTEGER PRIMARY KEY,
  author BLOB NOT NULL UNIQUE,
  seq INTEGER NOT NULL,          -- of the head; -1 while the feed is empty
  head BLOB,                     -- id of the head
  epoch INTEGER NOT NULL,        -- of the head: a feed's epochs never decrease
  interpreted INTEGER NOT NULL,  -- blocks whose entries stand in `entries`
  identified INTEGER NOT NULL    -- blocks whose ids stand in `block_ids`
) STRICT;

-- pos = feed number << 40 | seq. Header and body as they were received.
CREATE TABLE blocks (pos INTEGER PRIMARY KEY, header BLOB NOT NULL, body BLOB NOT NULL) STRICT;

-- Blocks of class control: all that the membership fold reads.
CREATE TABLE control (pos INTEGER PRIMARY KEY) STRICT;

-- Blocks with a hidden entry, still wanted from peers.
CREATE TABLE holes (pos INTEGER PRIMARY KEY) STRICT;

-- Authenticated blocks that do not stand: branches of a fork, blocks beyond a revocation. Evidence, never dropped.
CREATE TABLE disputed (
  id BLOB PRIMARY KEY, feed INTEGER NOT NULL, seq INTEGER NOT NULL, class INTEGER NOT NULL,
  header BLOB NOT NULL, body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX disputed_places ON disputed (feed, seq, id);

-- The canonical proof that a feed forked.
CREATE TABLE forks (feed INTEGER PRIMARY KEY, seq INTEGER NOT NULL, proof BLOB NOT NULL) STRICT;

-- The first 8 bytes of a block's id to where it lies. Lags.
CREATE TABLE block_ids (prefix INTEGER NOT NULL, pos INTEGER NOT NULL, PRIMARY KEY (prefix, pos)) STRICT, WITHOUT ROWID;

CREATE TABLE entry_types (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- What the entries say. Lags, and can be made again from `blocks`.
CREATE TABLE entries (
  pos INTEGER NOT NULL, idx INTEGER NOT NULL, type INTEGER NOT NULL, time INTEGER NOT NULL, subject BLOB,
  void TEXT,                     -- null where the entry counts; else why it does not
  content TEXT,                  -- JSON, bytes as hexadecimal; null where it could not be read
  PRIMARY KEY (pos, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_type ON entries (type, time);
CREATE INDEX entries_by_subject ON entries (subject, time) WHERE subject IS NOT NULL;

-- For the views: a float near an exact decimal. SQLite is not always built with pow().
CREATE TABLE powers_of_ten (exponent INTEGER PRIMARY KEY, factor REAL NOT NULL) STRICT;

-- The membership fold's result, for people: made again whenever it changes.
CREATE TABLE member_rows (
  feed BLOB PRIMARY KEY, label TEXT NOT NULL, organisation TEXT NOT NULL, roles TEXT NOT NULL,
  epoch INTEGER NOT NULL, governor INTEGER NOT NULL, revoked_after INTEGER, succeeds BLOB
) STRICT, WITHOUT ROWID;
"""

_NAMED = """
  lower(hex(f.author)) AS feed, m.label AS author, m.organisation AS organisation,
  e.pos & 1099511627775 AS seq, e.idx AS "index",
  strftime('%Y-%m-%dT%H:%M:%fZ', e.time / 1000.0, 'unixepoch') AS time, lower(hex(e.subject)) AS subject
"""
_AS_LOGGED = _NAMED.replace("AS subject", "AS logged_subject")  # of readings: whose they are, a fold says

_JOINED = """
FROM entries e
JOIN entry_types t ON t.no = e.type
JOIN feeds f ON f.no = e.pos >> 40
LEFT JOIN member_rows m ON m.feed = f.author
"""

FIRST_VIEWS: Final = {
    "members": """
        SELECT lower(hex(feed)) AS feed, label, organisation, roles, epoch, governor, revoked_after,
               lower(hex(succeeds)) AS succeeds
        FROM member_rows""",
    "block_list": """
        SELECT lower(hex(f.author)) AS feed, m.label AS author, b.pos & 1099511627775 AS seq,
               length(b.header) AS header_bytes, length(b.body) AS body_bytes
        FROM blocks b JOIN feeds f ON f.no = b.pos >> 40 LEFT JOIN member_rows m ON m.feed = f.author""",
    "entry_list": f"SELECT {_AS_LOGGED}, t.name AS type, e.void, e.content {_JOINED}",
    "readings": f"""
        SELECT {_AS_LOGGED}, json_extract(e.content, '$.quarantine') AS quarantine,
               json_extract(e.content, '$.device') AS device,
               json_extract(s.value, '$[0]') AS code,
               CASE json_type(s.value, '$[1]')
                 WHEN 'array' THEN json_extract(s.value, '$[1][0]') * pow10.factor
                 ELSE json_extract(s.value, '$[1]') END AS value,
               json_extract(s.value, '$[1][0]') AS mantissa, json_extract(s.value, '$[1][1]') AS exponent,
               json_extract(s.value, '$[2]') AS unit, json_extract(s.value, '$[3]') AS qualifiers
        {_JOINED}, json_each(e.content, '$.samples') s
        LEFT JOIN powers_of_ten pow10 ON pow10.exponent = json_extract(s.value, '$[1][1]')
        WHERE t.name = 'reading' AND e.void IS NULL""",
    "dispenses": f"""
        SELECT {_NAMED}, json_extract(e.content, '$.product') AS product, json_extract(e.content, '$.lot') AS lot,
               json_extract(e.content, '$.expiry') AS expiry, json_extract(e.content, '$.serial') AS serial,
               json_extract(e.content, '$.quantity[0]') * pow10.factor AS quantity,
               json_extract(e.content, '$.unit') AS unit, json_extract(e.content, '$.prescription') AS prescription,
               json_extract(e.content, '$.status') AS status, e.content
        {_JOINED} LEFT JOIN powers_of_ten pow10 ON pow10.exponent = json_extract(e.content, '$.quantity[1]')
        WHERE t.name = 'dispense' AND e.void IS NULL""",
    "associations": f"""
        SELECT {_NAMED}, json_extract(e.content, '$.device') AS device, json_extract(e.content, '$.action') AS action,
               e.content {_JOINED}
        WHERE t.name = 'association' AND e.void IS NULL""",
}

_AMOUNT = """json_extract(e.content, '$.quantity[0]') * pow10.factor AS quantity"""
_POWERS = "LEFT JOIN powers_of_ten pow10 ON pow10.exponent = json_extract(e.content, '$.quantity[1]')"
_PACK = """
  json_extract(e.content, '$.product') AS product, json_extract(e.content, '$.lot') AS lot,
  json_extract(e.content, '$.expiry') AS expiry, json_extract(e.content, '$.serial') AS serial
"""

SUPPLY_VIEWS: Final = {
    "prescriptions": f"""
        SELECT {_NAMED}, json_extract(e.content, '$.prescription') AS prescription, {_AMOUNT},
               json_extract(e.content, '$.unit') AS unit, json_extract(e.content, '$.product') AS product,
               json_extract(e.content, '$.atc') AS atc, ifnull(json_extract(e.content, '$.repeats'), 0) AS repeats,
               json_extract(e.content, '$.schedule') AS schedule, json_extract(e.content, '$.expires') AS expires,
               e.content
        {_JOINED} {_POWERS} WHERE t.name = 'prescription' AND e.void IS NULL""",
    "returns": f"""
        SELECT {_NAMED}, json_extract(e.content, '$.issue') AS issue, {_AMOUNT},
               json_extract(e.content, '$.action') AS action, json_extract(e.content, '$.reason') AS reason, e.content
        {_JOINED} {_POWERS} WHERE t.name = 'dispense.return' AND e.void IS NULL""",
    "stock_steps": f"""
        SELECT {_NAMED}, json_extract(e.content, '$.step') AS step, {_PACK}, {_AMOUNT},
               json_extract(e.content, '$.unit') AS unit, json_extract(e.content, '$.source') AS source,
               json_extract(e.content, '$.disposition') AS disposition, json_extract(e.content, '$.reason') AS reason,
               json_extract(e.content, '$.schedule') AS schedule, e.content
        {_JOINED} {_POWERS} WHERE t.name = 'stock' AND e.void IS NULL""",
    "recalls": f"""
        SELECT {_NAMED}, json_extract(e.content, '$.product') AS product, json_extract(e.content, '$.lots') AS lots,
               json_extract(e.content, '$.serials') AS serials, json_extract(e.content, '$.level') AS level,
               json_extract(e.content, '$.reference') AS reference, json_extract(e.content, '$.reason') AS reason,
               e.content
        {_JOINED} WHERE t.name = 'recall' AND e.void IS NULL""",
}

DEVICE_VIEWS: Final = {
    "device_keys": f"""
        SELECT {_NAMED}, t.name AS type, json_extract(e.content, '$.device') AS device,
               json_extract(e.content, '$.key') AS key, json_extract(e.content, '$.model') AS model,
               json_extract(e.content, '$.last') AS last, json_extract(e.content, '$.reason') AS reason
        {_JOINED} WHERE t.name IN ('device.enrol', 'device.retire') AND e.void IS NULL""",
    "signed_readings": f"""
        SELECT {_AS_LOGGED}, json_extract(e.content, '$.device') AS device, json_extract(e.content, '$.key') AS key,
               json_extract(e.content, '$.counter') AS counter,
               json_extract(e.content, '$.uptime') - json_extract(r.value, '$[0]') AS before_ms,
               json_extract(s.value, '$[0]') AS code,
               CASE json_type(s.value, '$[1]')
                 WHEN 'array' THEN json_extract(s.value, '$[1][0]') * pow10.factor
                 ELSE json_extract(s.value, '$[1]') END AS value,
               json_extract(s.value, '$[1][0]') AS mantissa, json_extract(s.value, '$[1][1]') AS exponent,
               json_extract(s.value, '$[2]') AS unit, json_extract(s.value, '$[3]') AS qualifiers
        {_JOINED}, json_each(e.content, '$.readings') r, json_each(r.value, '$[1]') s
        LEFT JOIN powers_of_ten pow10 ON pow10.exponent = json_extract(s.value, '$[1][1]')
        WHERE t.name = 'device.batch' AND e.void IS NULL""",
    "cadences": f"""
        SELECT {_NAMED}, json_extract(e.content, '$.device') AS device,
               json_extract(e.content, '$.interval') AS interval_ms
        {_JOINED} WHERE t.name = 'cadence' AND e.void IS NULL""",
}
VIEWS: Final = {**FIRST_VIEWS, **SUPPLY_VIEWS, **DEVICE_VIEWS}
"""Every view of a database that needs no migration."""


@migrations()
def create_tables(db: Database) -> None:
    """Everything of the first release."""
    for statement in TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)
    db.conn.executemany(
        "INSERT INTO powers_of_ten VALUES (?, ?)", [(n, float(f"1e{n}")) for n in range(MIN_EXPONENT, MAX_EXPONENT + 1)]
    )
    for name, sql in FIRST_VIEWS.items():
        db.create_view(name, sql)


@migrations()
def add_supplies(db: Database) -> None:
    """Views of prescriptions, stock and recalls. What was of an unknown type is read again: it may be known now."""
    for name, sql in SUPPLY_VIEWS.items():
        db.create_view(name, sql)
    stale = f"SELECT DISTINCT pos >> {FEED_SHIFT} FROM entries WHERE void = 'unknown-type'"
    numbers = [no for (no,) in db.execute(stale).fetchall()]
    for no in numbers:
        db.execute(f"DELETE FROM entries WHERE pos >> {FEED_SHIFT} = ?", [no])
        db.execute("UPDATE feeds SET interpreted = 0 WHERE no = ?", [no])


@migrations()
def add_devices(db: Database) -> None:
    """Views of what devices signed, their keys, and promises. `before_ms` is how long before its batch was sealed."""
    for name, sql in DEVICE_VIEWS.items():
        db.create_view(name, sql)


@migrations()
def name_logged_subjects(db: Database) -> None:
    """Views that show readings no longer call the subject under which they were logged `subject`."""
    for name in ("entry_list", "readings", "signed_readings"):
        db.execute(f"DROP VIEW {name}")
        db.create_view(name, VIEWS[name])


def migrate(db: Database) -> None:
    """Bring a database to `SCHEMA_VERSION`, each step with its record in one transaction."""
    migrations.apply(db)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
