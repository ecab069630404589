"""The register on a disk that fails in the middle of a transaction: what it holds afterwards is of before, and what
comes next stands where it says.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from medledger.errors import StoreError
from medledger.findings.finding import Place
from medledger_agents.pharmacy.register import Register

ME, ONE, TWO = bytes(32), b"\1" * 32, b"\2" * 32


def fill(register: Register) -> None:
    """One feed more, and so many entries of it that the disk is full."""
    with register.transaction():
        for seq in range(10_000):
            register.add(Place(ONE, seq, 0, bytes(32)), [("leaf", seq)])


def test_whose_an_entry_is_after_the_disk_was_full(tmp_path: Path) -> None:
    """SQLite itself undoes a transaction for which there is no room: a feed that came with it is not known any more,
    and its number is another's.
    """
    register = Register(tmp_path / "register.db", bytes(32), ME)
    (pages,) = register._db.execute("PRAGMA page_count").fetchone()
    register._db.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(StoreError, match="disk is full"):
        fill(register)
    register._db.execute("PRAGMA max_page_count = 1000000")
    assert register.feeds() == {}
    with register.transaction():
        for feed in (TWO, ONE):
            register.add(Place(feed, 7, 0, bytes(32)), [("leaf", feed)])
            register.read_on(feed, 7, feed, b"")
    assert [register.find(("leaf", feed))[0].feed for feed in (ONE, TWO)] == [ONE, TWO]
    assert {feed: read.id for feed, read in register.feeds().items()} == {ONE: ONE, TWO: TWO}
    register.close()
