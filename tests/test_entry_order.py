"""Entries come in the order of their time, whatever is asked for, and no page of them costs a look at all others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medledger import Association, Identity, Ledger, Reading
from medledger.indexing import _ENTRY_PAGE, LoggedEntry
from worlds import found, reading

SUBJECT = bytes(16)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Two types, three pages of entries each, at times that repeat and go back."""
    path = tmp_path_factory.mktemp("order") / "a.db"
    with Ledger.create(path, Identity.generate(), name="A", roles=["hospital"]) as made:
        for at in range(9):
            times = [(at * 37 + place * 11) % 500 for place in range(_ENTRY_PAGE // 3)]
            made.append(*(Reading(device="A", time=time, subject=SUBJECT if at % 2 else None) for time in times))
            made.append(*(Association(device="A", action="begin", time=time) for time in times))
        yield made


@pytest.fixture(scope="module")
def everything(ledger: Ledger) -> dict[tuple[int, int, int], LoggedEntry]:
    """All entries by their places, in order."""
    found = {(entry.time, entry.seq, entry.index): entry for entry in ledger.entries(void=True)}
    assert list(found) == sorted(found)
    return found


def places(found: Iterator[LoggedEntry]) -> list[tuple[int, int, int]]:
    """What orders entries."""
    return [(entry.time, entry.seq, entry.index) for entry in found]


@settings(max_examples=40)
@given(
    type_name=st.sampled_from([None, "reading", "association", "nothing"]),
    subject=st.sampled_from([None, SUBJECT, bytes(15) + b"x"]),
    since=st.none() | st.integers(-1, 501),
    until=st.none() | st.integers(-1, 501),
    newest_first=st.booleans(),
)
def test_the_order_is_the_same_for_every_question(
    ledger: Ledger,
    everything: dict[tuple[int, int, int], LoggedEntry],
    type_name: str | None,
    subject: bytes | None,
    since: int | None,
    until: int | None,
    newest_first: bool,
) -> None:
    """Filtering by hand what an unfiltered question gives is the same as asking; newest first is the same backwards."""
    expected = [
        place
        for place, entry in everything.items()
        if (type_name is None or entry.type == type_name)
        and (subject is None or entry.subject == subject)
        and (since is None or place[0] >= since)
        and (until is None or place[0] < until)
    ]
    asked = {"subject": subject, "since": since, "until": until, "author": ledger.me, "newest_first": newest_first}
    assert places(ledger.entries(type_name, **asked)) == expected[:: -1 if newest_first else 1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked",
    [{}, {"newest_first": True}, {"type": "reading"}, {"subject": SUBJECT}, {"author": bytes(32)}, {"since": 7}],
)
def test_a_page_is_found_through_an_index(ledger: Ledger, asked: dict[str, object]) -> None:
    """SQLite neither scans the entries nor sorts them: a listing of a million stays linear."""
    if "author" in asked:
        asked = {"author": ledger.me}
    statements: list[str] = []
    connection = ledger.store.connection
    connection.set_trace_callback(statements.append)
    next(iter(ledger.entries(**asked)))  # type: ignore[arg-type]
    connection.set_trace_callback(None)
    listings = [sql for sql in statements if sql.startswith("SELECT time, pos, idx")]
    assert listings
    for sql in listings:
        plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"))
        assert "SEARCH entries USING INDEX" in plan, plan
        assert "SCAN entries" not in plan, plan
        assert "TEMP B-TREE" not in plan, plan


def test_a_block_of_many_entries_is_read_once_a_page(tmp_path: Path) -> None:
    """Not once for each of them: what reads a whole ledger would take the square of a block's length."""
    with found(tmp_path) as ledger:
        ledger.append(*(reading(rate, time=1_767_268_800_000 + rate) for rate in range(40, 240)))
        assert len(list(ledger.entries("reading"))) == 200
        statements: list[str] = []
        ledger.store.connection.set_trace_callback(statements.append)
        assert len(list(ledger.entries("reading"))) == 200
        ledger.store.connection.set_trace_callback(None)
    assert sum("FROM blocks" in each for each in statements) == 1
