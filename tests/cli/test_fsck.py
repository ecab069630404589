"""`medledger fsck`: what it says of an index that is wrong, and how that is mended."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Run


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entries SET content = replace(content, '72', '27')",
        "UPDATE block_ids SET prefix = prefix + 1",
        "UPDATE member_rows SET label = 'somebody else'",
    ],
)
def test_a_wrong_index_is_named_and_made_again(run: Run, ward: Path, sql: str) -> None:
    """The hint is a command that exists, and that helps."""
    run("fsck", ward, "--reindex")
    with closing(sqlite3.connect(ward)) as database:
        database.execute(sql)
        database.commit()
    assert "`medledger fsck --reindex`" in run("fsck", ward, code=1).err
    run("fsck", ward, "--reindex")
    run("fsck", ward)
