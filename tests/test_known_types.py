"""The record types of the library are known to whoever reads a ledger, whatever else the program has imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from medledger import Identity, Ledger, Reading

SCRIPT = """
import sys
from medledger import Ledger

with Ledger.open(sys.argv[1]) as ledger:
    print([(entry.type, entry.void) for entry in ledger.entries("reading", void=True)])
"""


def test_a_program_that_only_opens_a_ledger_finds_its_readings_valid(tmp_path: Path) -> None:
    """The first to index a ledger may be a program that never names a record type; it must not mark readings void."""
    me = Identity.generate()
    with Ledger.create(tmp_path / "ward.db", me, name="Ward", roles=["hospital"]) as ledger:
        ledger.append(Reading(device="MON-7", samples=[("8867-4", "72", "/min")]))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "ward.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "[('reading', None)]"
