"""What people query about devices: signed readings a row each, keys, promises."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from devices import Instrument
from medledger import Cadence, DeviceRetire
from worlds import found

NOON = 1_767_268_800_000


def test_signed_readings_are_rows_with_their_age_in_the_batch(tmp_path: Path) -> None:
    """Each sample, its counter, and how long before the batch it was measured."""
    oximeter = Instrument("PO-1")
    with closing(found(tmp_path)) as ledger:
        ledger.append(oximeter.batch(71, 72, time=NOON, subject=bytes(16)))
        list(ledger.entries())
        rows = ledger.store.query(
            "SELECT device, key, counter, before_ms, code, value, unit, logged_subject, time FROM signed_readings"
        )
    shared = (oximeter.key.hex(), 1)
    assert rows == [
        ("PO-1", *shared, 1000, "8867-4", 71.0, "/min", "00" * 16, "2026-01-01T12:00:00.000Z"),
        ("PO-1", *shared, 0, "8867-4", 72.0, "/min", "00" * 16, "2026-01-01T12:00:00.000Z"),
    ]


def test_keys_and_promises_are_rows(tmp_path: Path) -> None:
    """Enrolment, retirement, promise."""
    oximeter = Instrument("PO-1")
    with closing(found(tmp_path)) as ledger:
        ledger.append(oximeter.enrolment(model="Acme"), DeviceRetire(key=oximeter.key, last=7, reason="lost"))
        ledger.append(Cadence(device="PO-1", interval=60_000), Cadence())
        list(ledger.entries())
        keys = ledger.store.query("SELECT type, device, key, model, last, reason FROM device_keys ORDER BY type")
        promises = ledger.store.query("SELECT device, interval_ms FROM cadences ORDER BY device")
    key = oximeter.key.hex()
    assert keys == [
        ("device.enrol", "PO-1", key, "Acme", None, None),
        ("device.retire", None, key, None, 7, "lost"),
    ]
    assert promises == [(None, None), ("PO-1", 60_000)]
