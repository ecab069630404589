"""The ward drawn: what needs somebody is never off the screen, what is shown is whole, and every bed is seen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from medledger.cli.cells import Line, Span, line_text, render, width
from medledger_agents.ward.beds import COLUMNS, Row
from medledger_agents.ward.screen import STYLES, URGENT, everything, page

CELLS = dict(zip(COLUMNS, ("72", "97.5", "16", "121/77", "37.1"), strict=True))
LONG = "00-80-98-FE-FF-0B-12-34.ANESTHESIA.WORKSTATION"


def bed(at: int, **fields: Any) -> Row:
    """A bed that measures."""
    values: dict[str, Any] = {
        "location": f"ICU^{at:02}^A",
        "device": f"MON-{at}",
        "patient": "00010203",
        "state": "live",
        "cells": CELLS,
        "age": 5000,
        "alarm": None,
        "signed": False,
        "author": bytes(32),
    }
    return Row(**{**values, **fields})


def texts(lines: list[Line], columns: int = 1000) -> list[str]:
    """As a terminal without colours shows them."""
    return [render([Span(span.text) for span in line], columns) for line in lines]


def test_one_long_name_takes_no_value_from_anybody() -> None:
    """On 80 columns: the states and values of all beds stand there whole, and both ends of the name."""
    shown = texts(
        page("St. Anna", [bed(1), bed(2, device=LONG, location="Kinderklinik Ost^117^Fensterplatz")], 80, 24), 80
    )
    for line in shown[-2:]:
        assert "live" in line.split()
        assert [cell for cell in line.split() if cell in CELLS.values()] == list(CELLS.values())
    assert "Kinder" in shown[-1]
    assert "TATION" in shown[-1]


def test_what_needs_somebody_stays_on_the_screen() -> None:
    """Of 40 beds on 24 lines; the others take turns, and the last line counts those that are away."""
    rows = [bed(at) for at in range(40)]
    rows[33] = bed(33, state="silent")
    rows[38] = bed(38, alarm="SpO2 LOW")
    seen: set[str] = set()
    for turn in range(3):
        shown = texts(page("St. Anna", rows, 80, 24, turn=turn))
        assert len(shown) == 24 or turn == 2  # the last page may be shorter
        assert any("MON-33 " in line and "silent" in line for line in shown)
        assert any("MON-38 " in line for line in shown)
        assert any("SpO2 LOW" in line for line in shown)
        here = {word for line in shown for word in line.split() if word.startswith("MON-")}
        assert shown[-1] == f"{40 - len(here)} more, in turn: {40 - len(here)} live"
        seen |= here
    assert seen == {row.device for row in rows}


def test_more_trouble_than_lines_takes_turns_too() -> None:
    """And comes before the rest."""
    rows = [bed(at, state="live" if at < 10 else "lost") for at in range(40)]
    first = texts(page("St. Anna", rows, 80, 24))
    assert not any(" live " in line for line in first[3:-1])
    assert first[-1].endswith("10 live, 10 lost")
    everywhere = [line for turn in range(5) for line in texts(page("St. Anna", rows, 80, 24, turn=turn))]
    assert all(any(f" MON-{at} " in line for line in everywhere) for at in range(40))


def test_more_trouble_than_lines_is_never_off_the_screen() -> None:
    """However many beds are well: there is no page of theirs alone, and each in trouble is seen every second time."""
    rows = [bed(at, state="live" if at < 60 else "lost") for at in range(90)]
    drawn = [texts(page("St. Anna", rows, 80, 24, turn=turn)) for turn in range(12)]
    for first, second in pairwise(drawn):
        assert all(any(f" MON-{at} " in line for line in (*first, *second)) for at in range(60, 90))
    assert all(any(f"MON-{at} " in line for shown in drawn for line in shown) for at in range(60))


def test_an_alarm_stands_beside_its_bed_or_under_it() -> None:
    """Wherever it is whole."""
    rows = [bed(1, alarm="SpO2 low limit violated"), bed(2)]
    assert "SpO2 low limit violated" in texts(page("", rows, 120, 24), 120)[-2]
    assert texts(page("", rows, 80, 24), 80)[-2].strip() == "SpO2 low limit violated"


def test_a_device_that_is_nowhere_is_known_by_its_name() -> None:
    """Also where there is no room for the column of devices."""
    heading, first, second = texts(page("", [bed(1, location=""), bed(2, device=LONG)], 32, 24), 32)[-3:]
    assert "DEVICE" not in heading
    assert (first.split()[0], second.split()[0]) == ("MON-1", "ICU^02^A")


def test_elsewhere_than_on_a_terminal_nothing_is_cut() -> None:
    """A file has no width."""
    rows = [bed(1, device=LONG, alarm="SpO2 low limit violated " * 9), bed(2, signed=True)]
    shown = [line_text([Span(span.text) for span in line]) for line in everything("St. Anna", rows)]
    assert LONG in shown[-2]
    assert rows[0].alarm is not None
    assert shown[-2].endswith(rows[0].alarm.rstrip())
    assert shown[-1].endswith("signed")
    assert all(line == line.rstrip() for line in shown)


def test_nothing_on_the_ledger_can_take_over_the_terminal() -> None:
    """Escape sequences and marks that turn the direction of writing are shown as what they are: nothing to see."""
    rows = [bed(1, device="\x1b[2J\u202eMON", location="\x9b2J", alarm="\x07\x1b]0;title\x07")]
    for line in (*texts(everything("a\nb", rows)), *texts(page("a\nb", rows, 80, 24))):
        assert line.isprintable()


names = st.one_of(st.just(""), st.text(max_size=40), st.sampled_from(["病室三号室^東", "חדר 4", LONG]))
beds = st.builds(
    bed,
    st.integers(0, 99),
    location=names,
    device=names,
    state=st.sampled_from(sorted(STYLES)),
    alarm=st.one_of(st.none(), names.filter(bool)),
    signed=st.booleans(),
)


@given(st.lists(beds, max_size=30), st.integers(24, 160), st.integers(6, 60), st.integers(0, 9))
def test_it_always_fits_the_terminal(rows: list[Row], columns: int, lines: int, turn: int) -> None:
    """However small, whatever stands in it; and a bed in trouble is there or counted."""
    drawn = page("St. Anna", rows, columns, lines, turn=turn, note=[Span("12:00:00")])
    assert len(drawn) <= lines
    shown = texts(drawn, columns)
    assert all(width(line) <= columns for line in shown)
    trouble = {row.state for row in rows if row.state in URGENT}
    if columns >= 80 and lines >= 24:
        assert all(any(state in line for line in shown) for state in trouble)
