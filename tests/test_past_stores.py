"""Stores that earlier versions wrote open, say what they said, and pass every check.

tests/stores/version-N.sqlite.gz is a replica as the software wrote it whose schema was N. Version 1: a reading, a
device's state, an association and a supply. Version 3: a device with a key, a reading and a batch of it under a patient
whose discharge is told after them, a supply and a promise. None is ever made again: software of that version did.
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from medledger import Ledger
from medledger.store.migrations import SCHEMA_VERSION, VIEWS

STORES = Path(__file__).resolve().parent / "stores"
DIGEST = {
    "version-1.sqlite": "af43c88aafac30dda499f844ba3296d48f8d73ec2afa5074c4cd561f28b961f0",
    "version-3.sqlite": "6962efddda1d7aa556a89348688a6ca08f4966d296da505d0589ef1546a69cdb",
}
ENTRIES = {
    "version-1.sqlite": ["reading", "device.status", "association", "dispense"],
    "version-3.sqlite": [
        *("device.enrol", "association", "dispense", "cadence", "reading", "device.batch", "association")
    ],
}
VIEWS_WITH_ROWS = {
    "version-1.sqlite": {"readings", "dispenses", "associations"},
    "version-3.sqlite": {"readings", "dispenses", "associations", "signed_readings", "device_keys", "cadences"},
}


@pytest.fixture(params=sorted(STORES.glob("*.gz")), ids=lambda path: path.name)
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store of the past, unpacked."""
    target = tmp_path / request.param.name.removesuffix(".gz")
    with gzip.open(request.param) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return target


def test_a_past_store_opens_and_passes_every_check(past: Path) -> None:
    """Blocks, tables, views and indexes; its content is what it was."""
    with Ledger.open(past) as ledger:
        assert ledger.digest().hex() == DIGEST[past.name]
        ledger.verify(every_signature=True)
        ledger.fsck()
        found = [(entry.type, entry.void) for entry in ledger.entries(void=True) if not entry.type.startswith("gov.")]
    assert found == [(name, None) for name in ENTRIES[past.name]]


def test_every_view_of_today_is_there(past: Path) -> None:
    """Also those that came later."""
    with Ledger.open(past) as ledger:
        query = ledger.store.query
        assert query("PRAGMA user_version") == [(SCHEMA_VERSION,)]
        list(ledger.entries())
        counts = {name: query(f"SELECT count(*) FROM {name}")[0][0] for name in VIEWS}
    with_rows = {name for name, count in counts.items() if count}
    assert with_rows == {"members", "block_list", "entry_list", *VIEWS_WITH_ROWS[past.name]}


def test_no_view_of_readings_calls_a_subject_theirs(past: Path) -> None:
    """It is the one they were logged under. Whose they are is for `medledger audit readings` to say."""
    with Ledger.open(past) as ledger:
        columns = {name: {row[1] for row in ledger.store.query(f"PRAGMA table_info({name})")} for name in VIEWS}
    assert {name for name, found in columns.items() if "logged_subject" in found} == {
        *("entry_list", "readings", "signed_readings")
    }
    assert all("subject" not in found for found in columns.values() if "logged_subject" in found)
