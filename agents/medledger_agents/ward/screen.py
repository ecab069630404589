"""The ward as people see it: a table that fits the terminal, what is not live without values.

Rules:

- State and values are never cut: where room is scarce, names are shortened in their middle, then columns fall away, the
  patient's first. An alarm that finds no room beside its bed stands on a line of its own under it.
- Nothing that needs somebody is off the screen while there is a line for it. Where not all beds fit, those stay on top,
  and the others take turns below; the last line counts what is not shown now. Where even those do not fit, they take
  turns, and the others have what lines are left.
- Elsewhere than on a terminal every bed is shown, and nothing is cut.
- Names are anybody's text: what is not printable is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from medledger.cli.cells import Line, Span, clip, fit, shorten, width
from medledger.cli.output import printable

from .beds import AHEAD_MS, COLUMNS, LIVE, Row

RED: Final = {"fg": "red", "bold": True}
YELLOW: Final = {"fg": "yellow"}
DIM: Final = {"dim": True}
BOLD: Final = {"bold": True}
STYLES: Final[Mapping[str, dict[str, Any]]] = {
    "live": {"fg": "green"},
    "stale": YELLOW,
    "silent": RED,
    "lost": RED,
    "fault": RED,
    "clock": RED,
    "nobody's": YELLOW,
    "waiting": DIM,
    "free": DIM,
    "off": DIM,
    "standby": DIM,
}
URGENT: Final = frozenset(("silent", "lost", "fault", "clock", "stale", "nobody's"))
"""The states in which somebody should look."""

ALARM: Final = {"fg": "yellow", "bold": True}
SIGNED: Final = "signed"
GAP: Final = 2  # between columns
WIDEST: Final = 9  # of a value: "(not-performed)" must not push the others off the screen
NAME_CELLS: Final = 8  # a bed's or a device's name is not made shorter to keep a column
ALARM_CELLS: Final = 20  # with less room an alarm has a line of its own
MIN_COLUMNS: Final = 24
NAMES: Final = ("BED", "DEVICE")
DROPPED: Final = ("PATIENT", "Temp", "RR", "NIBP", "DEVICE", "AGE")
"""What falls away for want of room, in this order."""


def everything(name: str, rows: Sequence[Row]) -> list[Line]:
    """All beds, as wide as they are."""
    return [*_headline(name, rows, None), [], *_table(rows, None)]


def page(
    name: str, rows: Sequence[Row], columns: int, lines: int, *, turn: int = 0, note: Line | None = None
) -> list[Line]:
    """At most `lines` lines of at most `columns` cells. `turn` counts up from time to time; `note` stands on top."""
    columns = max(columns, MIN_COLUMNS)
    top = [*([note] if note else []), *_headline(name, rows, columns), []]
    heading, *items = _items(rows, columns)
    top = top[: max(1, lines // 3)]  # in a small window beds come before figures
    room = max(1, lines - len(top) - len(heading))
    if sum(map(len, items)) > room:
        items = _chosen(rows, items, room - 1, turn, columns)
    return [line for part in (top, heading, *items) for line in part][:lines]


def _chosen(rows: Sequence[Row], items: list[list[Line]], room: int, turn: int, columns: int) -> list[list[Line]]:
    """As many beds as there is room for, and a line that counts the others."""
    urgent = [at for at, row in enumerate(rows) if row.alarm or row.state in URGENT]
    others = [at for at in range(len(rows)) if at not in set(urgent)]
    pages = _pages(urgent, items, room)
    shown = pages[turn % len(pages)]
    left = room - sum(len(items[at]) for at in shown)
    if left > 0:
        rest = _pages(others, items, left)
        shown = [*shown, *rest[turn // len(pages) % len(rest)]]
    away = [row for at, row in enumerate(rows) if at not in set(shown)]
    foot = Span(clip(f"{len(away)} more, in turn: {_counts(away)}", columns), DIM)
    return [*(items[at] for at in shown), [[foot]]]


def _pages(beds: Sequence[int], items: list[list[Line]], room: int) -> list[list[int]]:
    """These beds, as many on each page as there are lines for; a page of none where there are none."""
    pages: list[list[int]] = [[]]
    left = room
    for at in beds:
        if len(items[at]) > left and pages[-1]:
            pages.append([])
            left = room
        pages[-1].append(at)
        left -= len(items[at])
    return pages


# --- how they are, in a line -----------------------------------------------------------------------------------------


def _headline(name: str, rows: Sequence[Row], columns: int | None) -> list[Line]:
    """How many beds, and how they are: in one line, or, where it does not fit, below the name."""
    alarms = sum(row.alarm is not None for row in rows)
    parts = [Span(f"{count} {state}", STYLES.get(state, {})) for state, count in _ranked(rows)]
    if alarms:
        parts.insert(0, Span(f"{alarms} with an alarm", ALARM))
    title = Span(printable(name), BOLD)
    below: list[Line] = [[]]
    for part in parts:
        comma = [Span(", ")] if below[-1] else []
        if columns is not None and _width([*below[-1], *comma, part]) > columns:
            below.append([])
            comma = []
        below[-1] = [*below[-1], *comma, part]
    if len(below) == 1 and (columns is None or _width([title, *below[0]]) + GAP <= columns):
        return [[title, Span(" " * GAP), *below[0]]]
    return [[title], *below]


def _width(line: Line) -> int:
    return sum(width(span.text) for span in line)


def _ranked(rows: Sequence[Row]) -> list[tuple[str, int]]:
    ranks = list(STYLES)
    counts = Counter(row.state for row in rows)
    return sorted(counts.items(), key=lambda item: ranks.index(item[0]) if item[0] in ranks else len(ranks))


def _counts(rows: Sequence[Row]) -> str:
    return ", ".join(f"{count} {state}" for state, count in _ranked(rows))


# --- the table -------------------------------------------------------------------------------------------------------


def _table(rows: Sequence[Row], columns: int | None) -> list[Line]:
    return [line for item in _items(rows, columns) for line in item]


def _items(rows: Sequence[Row], columns: int | None) -> list[list[Line]]:
    """The heading, then each bed: a line, or two where its alarm does not fit beside it."""
    if not rows:
        return [[], [[Span("No bed has said anything yet.", DIM)]]]
    widths = _widths(rows, columns)
    used = sum(widths.values()) + GAP * len(widths)
    room = None if columns is None else max(0, columns - used)
    beside = room is None or room >= ALARM_CELLS
    heading = _joined([Span(fit(name, cells, right=_is_right(name)), DIM) for name, cells in widths.items()])
    items = [[heading]]
    for row in rows:
        line = _joined([_cell(row, name, cells, widths) for name, cells in widths.items()])
        under: list[Line] = []
        if row.alarm:
            text = printable(row.alarm)
            if beside or room is None:
                line = [*line, Span(" " * GAP), Span(text if room is None else clip(text, room), ALARM)]
            elif columns is not None:
                under = [[Span("  "), Span(clip(text, columns - GAP), ALARM)]]
        elif row.signed and (room is None or room >= len(SIGNED)):
            line = [*line, Span(" " * GAP), Span(SIGNED, DIM)]
        items.append([line, *under])
    return items


def _joined(cells: Sequence[Span]) -> Line:
    return [span for at, cell in enumerate(cells) for span in ((Span(" " * GAP), cell) if at else (cell,))]


def _widths(rows: Sequence[Row], columns: int | None) -> dict[str, int]:
    """The columns that there is room for, and how wide they are."""
    texts = [_texts(row) for row in rows]
    widths = {name: max([width(name), *(width(text[name]) for text in texts)]) for name in texts[0]}
    if columns is None:
        return widths
    for name in COLUMNS:
        widths[name] = min(widths[name], WIDEST)
    for name in DROPPED:
        if _room(widths, columns) >= sum(min(widths.get(each, 0), NAME_CELLS) for each in NAMES):
            break
        del widths[name]
    room = _room(widths, columns)
    if "DEVICE" in widths:
        widths["DEVICE"] = min(widths["DEVICE"], max(room // 2, room - widths["BED"]))
        room -= widths["DEVICE"]
    else:
        widths["BED"] = max(width("BED"), *(width(printable(row.location or row.device)) for row in rows))
    widths["BED"] = max(1, min(widths["BED"], room))
    return widths


def _room(widths: Mapping[str, int], columns: int) -> int:
    """The cells that are left for the names."""
    return columns - GAP * (len(widths) - 1) - sum(cells for name, cells in widths.items() if name not in NAMES)


def _texts(row: Row) -> dict[str, str]:
    """What stands in each column, in the order in which they stand."""
    return {
        "BED": printable(row.location) or "-",
        "DEVICE": printable(row.device),
        "PATIENT": row.patient or "-",
        "STATE": row.state,
        **{name: printable(row.cells[name]) or "-" for name in COLUMNS},
        "AGE": age_text(row.age),
    }


def _cell(row: Row, name: str, cells: int, widths: Mapping[str, int]) -> Span:
    text = _texts(row)[name]
    if name == "BED":
        known = row.location or "DEVICE" in widths  # a device that is nowhere is known by its own name
        return Span(fit(shorten(text if known else printable(row.device), cells), cells), BOLD)
    if name == "DEVICE":
        return Span(fit(shorten(text, cells), cells))
    if name == "STATE":
        return Span(fit(text, cells), STYLES.get(text, {}))
    if name in COLUMNS:
        return Span(fit(text, cells, right=True), BOLD if row.cells[name] else DIM)
    quiet = text == "-" or (name == "AGE" and row.state != LIVE)
    return Span(fit(text, cells, right=_is_right(name)), DIM if quiet else {})


def _is_right(name: str) -> bool:
    return name in COLUMNS or name == "AGE"


def age_text(milliseconds: int | None) -> str:
    """How old, in one unit. A time in the future is the author's clock, and said so."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds // 1000
    if milliseconds < -AHEAD_MS:
        return "ahead"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"


# --- for programs ----------------------------------------------------------------------------------------------------


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
