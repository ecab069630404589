"""Stores that earlier versions wrote open, say what they said, and pass every check.

tests/stores/version-N.sqlite.gz is a replica as the software wrote it whose schema was N: a reading, a device's state,
an association and a supply. It is never made again: software of that version did.
"""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from medledger import Ledger
from medledger.store.migrations import SCHEMA_VERSION, VIEWS

STORES = Path(__file__).resolve().parent / "stores"
DIGEST = {"version-1.sqlite.gz": "af43c88aafac30dda499f844ba3296d48f8d73ec2afa5074c4cd561f28b961f0"}


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
        assert ledger.digest().hex() == DIGEST[f"{past.name}.gz"]
        ledger.verify(every_signature=True)
        ledger.fsck()
        found = [(entry.type, entry.void) for entry in ledger.entries(void=True) if not entry.type.startswith("gov.")]
    assert found == [("reading", None), ("device.status", None), ("association", None), ("dispense", None)]


def test_every_view_of_today_is_there(past: Path) -> None:
    """Also those that came later."""
    with Ledger.open(past) as ledger:
        query = ledger.store.query
        assert query("PRAGMA user_version") == [(SCHEMA_VERSION,)]
        list(ledger.entries())
        counts = {name: query(f"SELECT count(*) FROM {name}")[0][0] for name in VIEWS}
    assert {name for name, count in counts.items() if count} == {
        *("members", "block_list", "entry_list", "readings", "dispenses", "associations")
    }
