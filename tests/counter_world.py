"""Counters for the tests of the pharmacy, without sockets: a ledger, members, and a clock of the test's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from medledger import Identity, Ledger
from medledger.entry import decode_entry
from medledger.records import Prescription, lookup
from medledger_agents.inbox import Inbox
from medledger_agents.pharmacy.config import DispensingSection, ScannerSection
from medledger_agents.pharmacy.counter import MAX_ENTRIES, Counter, interrupted
from medledger_agents.pharmacy.scans import scan_reader
from medledger_agents.recorder import Recorder
from medledger_agents.subjects import Subjects
from worlds import join, sync

GS = "\x1d"
GTIN = "09520123456016"
ZONE = timezone(timedelta(hours=2))
NOON = datetime(2027, 3, 15, 12, tzinfo=ZONE)
RX = bytes(range(16))
RX_TEXT = f"rx:{RX.hex()}"


def scan(*, gtin: str = GTIN, expiry: str | None = "280331", lot: str = "L1", serial: str = "S1") -> str:
    """A DataMatrix as a scanner sends it."""
    parts = f"]d201{gtin}{f'17{expiry}' if expiry else ''}10{lot}"
    return f"{parts}{GS}21{serial}" if serial else parts + GS


class Desk:
    """A pharmacy's counter over its ledger. `now` is its clock."""

    def __init__(self, ledger: Ledger, inbox: Inbox, **settings: Any) -> None:
        self.ledger = ledger
        self.now = NOON
        recorder = Recorder(ledger, inbox, interrupted, max_entries=MAX_ENTRIES)
        self.counter = Counter(
            ledger,
            inbox,
            DispensingSection(**settings),
            recorder,
            Subjects(b"s" * 32, "month"),
            read_scan=scan_reader(ScannerSection()),
            clock=lambda: self.now,
        )

    def ask(self, do: str = "dispense", **fields: Any) -> dict[str, Any]:
        """One request's reply."""
        reply = self.counter.handle(json.dumps({"do": do, **fields}).encode())
        json.dumps(reply)
        return reply

    def steps(self) -> list[tuple[str, str | None]]:
        """The steps of stock on its ledger."""
        return [(entry.content["step"], entry.content.get("disposition")) for entry in self.ledger.entries("stock")]


@contextmanager
def desk(founder: Ledger, directory: Path, name: str, **settings: Any) -> Iterator[Desk]:
    """A pharmacy that joined the founder's ledger."""
    with (
        join(founder, directory, name, "pharmacy") as ledger,
        Inbox.open(directory / f"{name}-inbox.db") as inbox,
    ):
        made = Desk(ledger, inbox, **settings)
        yield made
        made.counter.close()


def prescribe(founder: Ledger, *to: Ledger, **fields: Any) -> None:
    """The hospital prescribes 30 tablets of the product, and these replicas hear of it."""
    order = {"prescription": RX, "product": GTIN, "quantity": 30, "unit": "{tablet}", **fields}
    founder.append(Prescription(**order))
    for ledger in to:
        sync(founder, ledger)


def sign(identity: Identity, statement: str) -> dict[str, str]:
    """What a witness answers."""
    return {"key": identity.public_key.hex(), "signature": identity.sign(bytes.fromhex(statement)).hex()}


def copy(ledger: Ledger, raw: bytes) -> None:
    """Log an entry with the bytes of another one, its salt and all."""
    entry = decode_entry(raw)
    kind = lookup(entry.type)
    assert kind is not None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ledger.writer, "_randomness", lambda size: entry.salt[:size])
        block = ledger.append(kind.from_content(entry.content, subject=entry.subject, time=entry.time))
    assert block.body == (raw,)
