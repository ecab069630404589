"""A durable append: what `Ledger.append` adds to one flushed commit and one signature.

- The plain commit is SQLite's own: WAL, `synchronous=FULL`, one row of as many fresh bytes as the block has, on the
  same disk. The four (append, plain commit, one signature, one check) are called once in each round, in random order;
  compared are their medians.
- What runs after a flush runs on a processor that has slept, and a flush right after a flush takes another time than
  one after a pause. So before each of the four, whichever it is, a row is committed to a third file and a record is
  made, untimed: all start from the state in which an agent appends. One check then takes longer than in a loop.
- The group commit is eight threads that append at once, against one thread that appends as much.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair

from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger.records import Reading

from .measure import MESSAGE_BYTES, Line, line, seconds
from .scale import Scale

THREADS = 8


def founded(path: Path) -> Ledger:
    """A new ledger whose founder may log readings."""
    return Ledger.create(path, Identity.from_seed(b"w" * 32), name="Benchmarks", label="Bed 7", roles=["bedside"])


def small_reading() -> Reading:
    """What a bedside box logs, as small as it gets."""
    return Reading(device="MON-7", samples=[("8867-4", 72, "/min")], subject=b"p" * 16)


def plain_database(path: Path) -> sqlite3.Connection:
    """SQLite as the store opens it, with one plain table."""
    plain = sqlite3.connect(path, isolation_level=None)
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        plain.execute(f"PRAGMA {pragma}")
    plain.execute("CREATE TABLE plain (n INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT")
    return plain


def durable_append(place: Path, scale: Scale) -> Iterator[Line]:
    """One small entry."""
    plain, before = plain_database(place / "plain.db"), plain_database(place / "before.db")
    public, secret = crypto_sign_seed_keypair(b"w" * 32)
    message = os.urandom(260)  # as long as what an author signs
    checked = crypto_sign(message[:MESSAGE_BYTES], secret)
    with founded(place / "ledger.db") as ledger:
        reading = small_reading()
        size = len(ledger.append(reading).raw)
        subjects = [
            lambda: ledger.append(reading),
            lambda: _commit(plain, os.urandom(size)),
            lambda: crypto_sign(message, secret),
            lambda: crypto_sign_open(checked, public),
        ]
        times: list[list[float]] = [[] for _ in subjects]
        rng = Random(1)
        for _ in range(scale.appends):
            for which in rng.sample(range(len(subjects)), len(subjects)):
                _commit(before, message)
                small_reading()
                times[which].append(seconds(subjects[which]))
        head = ledger.head(ledger.identity.public_key) if ledger.identity else None
    plain.close()
    before.close()
    appended, committed, signed, check = map(median, times)
    extra = appended - committed - signed
    yield line(
        "durable-append",
        extra * 1e6,
        "us/append",
        ratio=extra / check,
        bar=1.0,
        method=f"medians of {scale.appends} rounds: append ({appended * 1e6:.0f} us) - plain commit of {size} bytes "
        f"({committed * 1e6:.0f} us) - signature ({signed * 1e6:.0f} us), against one check ({check * 1e6:.0f} us)",
        result=[None if head is None else head.seq],
    )


def _commit(database: sqlite3.Connection, fresh: bytes) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO plain VALUES (NULL, ?)", (fresh,))
    database.execute("COMMIT")


def group_commit(place: Path, scale: Scale) -> Iterator[Line]:
    """Eight threads that append at once."""
    count = THREADS * scale.threads
    with founded(place / "one.db") as one, founded(place / "eight.db") as eight:
        alone = seconds(lambda: _append(one, count))
        together = seconds(lambda: _append_together(eight, scale.threads))
        heads = [max(head.seq for head in ledger.frontier().values()) for ledger in (one, eight)]
    yield line(
        "group-commit-8-threads",
        count / together,
        "appends/s",
        reference=f"one thread ({count / alone:.0f} appends/s)",
        ratio=alone / together,
        method=f"{count} appends by one thread, then by {THREADS}",
        result=heads,
    )


def _append(ledger: Ledger, count: int) -> None:
    for _ in range(count):
        ledger.append(small_reading())


def _append_together(ledger: Ledger, each: int) -> None:
    threads = [threading.Thread(target=_append, args=(ledger, each)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
