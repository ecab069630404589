"""The ward as people see it: a table that fits the terminal, alarms first, what is not live without values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .beds import AHEAD_MS, COLUMNS, Row

STYLES: Final = {
    "live": "green",
    "stale": "yellow",
    "silent": "bold red",
    "lost": "bold red",
    "fault": "bold red",
    "clock": "bold red",
    "nobody's": "yellow",
    "waiting": "dim",
    "free": "dim",
    "off": "dim",
    "standby": "dim",
}
SIGNED: Final = "signed"
WIDEST: Final = 9  # of a value: "(not-performed)" must not push the others off the screen


def draw(name: str, rows: Sequence[Row], *, note: str = "") -> RenderableType:
    """The table, with a line above it that sums it up and one below it for `note`."""
    table = Table(expand=True, box=None, header_style="dim", pad_edge=False)
    table.add_column("BED", no_wrap=True, min_width=4)
    table.add_column("DEVICE", no_wrap=True, min_width=8)
    table.add_column("PATIENT", no_wrap=True)
    table.add_column("STATE", no_wrap=True, min_width=8)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True, max_width=WIDEST)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("", ratio=1, overflow="ellipsis", no_wrap=True)
    for row in rows:
        style = STYLES.get(row.state, "")
        quiet = "" if row.state == "live" else "dim"
        table.add_row(
            Text(row.location or "-", "bold"),
            Text(row.device),
            Text(row.patient or "-", "" if row.patient else "dim"),
            Text(row.state, style),
            *(Text(row.cells[column] or "-", "bold" if row.cells[column] else "dim") for column in COLUMNS),
            Text(age_text(row.age), quiet),
            Text(row.alarm, "bold yellow") if row.alarm else Text(SIGNED if row.signed else "", "dim"),
        )
    body = table if rows else Text("No bed has said anything yet.", "dim")
    return Group(headline(name, rows), Text(), body, *([Text(note, "dim")] if note else []))


def headline(name: str, rows: Sequence[Row]) -> Text:
    """How many beds, and how they are."""
    line = Text(f"{name}  ", "bold")
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    alarms = sum(row.alarm is not None for row in rows)
    parts = [(f"{count} {state}", STYLES.get(state, "")) for state, count in sorted(counts.items(), key=_rank)]
    if alarms:
        parts.insert(0, (f"{alarms} with an alarm", "bold yellow"))
    for at, (text, style) in enumerate(parts):
        line.append(", " if at else "")
        line.append(text, style)
    return line


def _rank(item: tuple[str, int]) -> int:
    return list(STYLES).index(item[0]) if item[0] in STYLES else len(STYLES)


def age_text(milliseconds: int | None) -> str:
    """How old, in one unit. A time in the future is the author's clock, and said so."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds // 1000
    if milliseconds < -AHEAD_MS:
        return "clock ahead"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"


def for_programs(row: Row) -> dict[str, Any]:
    """A row as plain data."""
    return {
        "location": row.location or None,
        "device": row.device,
        "patient": row.patient or None,
        "state": row.state,
        "values": {name: text for name, text in row.cells.items() if text},
        "age_ms": row.age,
        "alarm": row.alarm,
        "signed": row.signed,
        "author": row.author.hex(),
    }
