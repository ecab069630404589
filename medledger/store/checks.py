"""Checks of the tables themselves: rows where no block can be, and definitions that are not ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache

from ..limits import MAX_SEQ
from .database import SEQ_BITS, Store, position

_APPLIED = "SELECT migration_set, name FROM _sqlite_migrations ORDER BY migration_set, name"
_CONSTANTS = frozenset({"genesis", "instance", "transport_key", "broker"})  # the names in `meta`
_FACTORS = "SELECT exponent, factor FROM powers_of_ten ORDER BY exponent"
_LOWEST = -(2**63)
_DEFINITIONS = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND substr(name, 1, 1) != '_'"  # of ours


def first_stray(store: Store, table: str, lengths: Mapping[int, int]) -> int | None:
    """The key of a row that lies in no feed, or beyond its feed's length; None where there is none.

    `lengths` are by feed number. Costs a look-up or two for each feed, however many rows there are.
    """
    after = _LOWEST
    while True:
        ((first,),) = store.query(f"SELECT min(pos) FROM {table} WHERE pos >= ?", (after,))
        if first is None:
            return None
        no = first >> SEQ_BITS
        if no not in lengths:
            return int(first)
        ((last,),) = store.query(f"SELECT max(pos) FROM {table} WHERE pos <= ?", (position(no, MAX_SEQ),))
        if last & MAX_SEQ >= lengths[no]:
            return int(last)
        after = position(no + 1, 0)


def definition_problem(store: Store) -> str | None:
    """What of the tables, views and constants that every replica has is missing or changed, or None.

    Whatever else somebody has added stays out of it, except triggers: they would act when we write.
    """
    definitions, factors, applied = _ours()
    for name, sql in definitions:
        if store.query("SELECT sql FROM sqlite_master WHERE name = ?", (name,)) != [(sql,)]:
            return f"the definition of {name!r} is not ours"
    if store.query(_FACTORS) != factors:
        return "the table of powers of ten is wrong"
    if store.query(_APPLIED) != applied:
        return "the list of applied migrations is wrong"
    for (name,) in store.query("SELECT key FROM meta ORDER BY key"):
        if name not in _CONSTANTS:  # one that is called wrong is missing where it is looked for
            return f"there is an unknown constant, {name!r}"
    triggers = store.query("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    return f"there is a trigger, {triggers[0][0]!r}" if triggers else None


@cache
def _ours() -> tuple[list[tuple[str, str]], list[tuple[int, float]], list[tuple[str, str]]]:
    """The definitions, the factors and the migrations of a database that was just made."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        _migrate(fresh)
        definitions, factors, applied = (fresh.execute(sql).fetchall() for sql in (_DEFINITIONS, _FACTORS, _APPLIED))
        return definitions, factors, applied


def _migrate(connection: sqlite3.Connection) -> None:
    """Late import, as in `Store`: sqlite-utils is slow to load, and few processes need it."""
    from sqlite_utils import Database

    from .migrations import migrate

    migrate(Database(connection))
