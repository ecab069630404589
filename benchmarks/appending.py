"""A durable append: what `Ledger.append` adds to one flushed commit and one signature.

- The plain commit is SQLite's own: WAL, `synchronous=FULL`, one row of as many fresh bytes as the block has, on the
  same disk. The four (append, plain commit, signature, reference) take turns; compared are their medians.
- The group commit is eight threads that append at once, against one thread that appends as much.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from medledger.clock import ClockReader
from medledger.header import Clock, Sync
from medledger.keys import Identity
from medledger.ledger import Ledger
from medledger.records import Reading

from .measure import Line, SignatureCheck, in_turns, line, seconds
from .scale import Scale
from .world import START_MS

THREADS = 8


def _clock() -> tuple[int, Clock]:
    return START_MS, Clock(0, b"bootboot", Sync.NTP)


def founded(path: Path, clock: ClockReader = _clock) -> Ledger:
    """A new ledger whose founder may log readings."""
    return Ledger.create(
        path, Identity.from_seed(b"w" * 32), name="Benchmarks", label="Bed 7", roles=["bedside"], clock=clock
    )


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
    plain = plain_database(place / "plain.db")
    _, secret = crypto_sign_seed_keypair(b"w" * 32)
    check = SignatureCheck()
    message = os.urandom(260)  # as long as what an author signs
    with founded(place / "ledger.db") as ledger:
        size = len(ledger.append(small_reading()).raw)
        reading = small_reading()

        def commit() -> None:
            plain.execute("BEGIN IMMEDIATE")
            plain.execute("INSERT INTO plain VALUES (NULL, ?)", (os.urandom(size),))
            plain.execute("COMMIT")

        subjects = (lambda: ledger.append(reading), commit, lambda: crypto_sign(message, secret), check.sample)
        appended, committed, signed, _ = map(median, in_turns(subjects, scale.appends))
        head = ledger.head(ledger.identity.public_key) if ledger.identity else None
    plain.close()
    extra = appended - committed - signed
    yield line(
        "durable-append",
        extra * 1e6,
        "us/append",
        ratio=extra / check.median,
        bar=1.0,
        method=f"medians of {scale.appends} rounds: append ({appended * 1e6:.0f} us) - plain commit of {size} bytes "
        f"({committed * 1e6:.0f} us) - signature ({signed * 1e6:.0f} us)",
        result=[None if head is None else head.seq],
    )


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
