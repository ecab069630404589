"""What people see: times, sizes, tables, and nothing that could take over a terminal."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.cli import describe, output
from medledger.cli.options import Duration, Hex, Time, parse_time
from medledger.membership import Membership


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("2026-11-22T09:30:00+01:00", 1795336200000),
        ("2026-11-22 08:30:00", 1795336200000),
        ("1795336200000", 1795336200000),
        ("-1", -1),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_are_read_as_iso_8601_or_milliseconds(text: str, milliseconds: int) -> None:
    """UTC where no zone is named."""
    assert Time().convert(text, None, None) == milliseconds


@given(st.integers(-62135596800000, 253402300799999))
def test_a_time_that_is_shown_can_be_read(milliseconds: int) -> None:
    """Every moment of the calendar goes through its text unchanged."""
    assert parse_time(output.time_text(milliseconds)) == milliseconds


@pytest.mark.parametrize("milliseconds", [2**63 - 1, -(2**63), 253402300800000])
def test_a_time_beyond_the_calendar_is_shown_as_its_number(milliseconds: int) -> None:
    """A claim may be nonsense; showing it is no error."""
    assert output.time_text(milliseconds) == f"{milliseconds} ms"
    assert output.time_json(milliseconds) == milliseconds


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("90s", 90_000), ("15min", 900_000), ("4h", 14_400_000), ("2d", 172_800_000), ("0s", 0)]
)
def test_durations(text: str, milliseconds: int) -> None:
    """A number and its unit."""
    assert Duration().convert(text, None, None) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1h", "4 weeks"])
def test_what_is_no_duration(text: str) -> None:
    """A unit is needed, and a whole number."""
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_hexadecimal_has_a_length() -> None:
    """A subject of any other length is a mistake, not a shorter subject."""
    assert Hex(2).convert("00FF", None, None) == b"\x00\xff"
    for wrong in ("00", "00ff0", "00ffzz", ""):
        with pytest.raises(click.BadParameter):
            Hex(2).convert(wrong, None, None)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (3_660_000, "1 h 1 min"),
        (90_000_000, "1 d 1 h"),
        (61_000, "1 min 1 s"),
    ],
)
def test_a_duration_is_shown_in_two_units(milliseconds: int, text: str) -> None:
    """The two largest."""
    assert output.duration_text(milliseconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (8_400_000, "8.4 MB"), (5 * 10**9, "5.0 GB")],
)
def test_sizes(count: int, text: str) -> None:
    """Decimal units."""
    assert output.size_text(count) == text


def test_counts_agree_with_their_noun() -> None:
    """1 block, 2 blocks, 1 000 000 entries."""
    assert output.count_text(1, "block") == "1 block"
    assert output.count_text(2, "block") == "2 blocks"
    assert output.count_text(10**6, "entry", "entries") == "1\u202f000\u202f000 entries"


def test_tables_are_aligned() -> None:
    """Texts to the left, numbers to the right, no trailing spaces."""
    assert output.table_lines(("NAME", "N"), [("a", "5"), ("long name", "12")]) == [
        "NAME        N",
        "a           5",
        "long name  12",
    ]
    assert output.table_lines(("NAME", "N"), []) == ["NAME  N"]


@given(st.text())
def test_only_visible_characters_are_printed(text: str) -> None:
    """Neither plain output nor JSON carries a control or direction character."""
    assert output.printable(text).isprintable()
    shown = output.json_text(text)
    assert json.loads(shown) == text
    assert not set(shown) & {chr(code) for code in (*range(32), *range(0x7F, 0xA0), 0x202E, 0x2066, 0xFEFF)}


class _NoMembers:
    members: dict[bytes, Any] = {}  # noqa: RUF012 - nobody


CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=4) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["device", "samples", "quantity", "label", "sig", "feed", "seq"]), inner)
    ),
    max_leaves=12,
)


@given(st.sampled_from([*describe._SUMMARIES, "other", ""]), CONTENT)
def test_any_content_has_a_line(kind: str, content: Any) -> None:
    """What a void entry holds may be anything: its line is short and visible, and no error."""
    membership: Membership = _NoMembers()  # type: ignore[assignment]
    line = describe.summary(kind, content, describe.Names(membership))
    assert line.isprintable()
    assert len(line) <= describe.MAX_SUMMARY


def test_columns_are_aligned_whatever_the_script() -> None:
    """A character that takes two cells counts as two, one that stands on another as none."""
    lines = output.table_lines(("LABEL", "BLOCKS"), [("病室三", "1"), ("Zoe\u0301", "12")])
    assert [line.replace("病室三", "xxxxxx").replace("\u0301", "") for line in lines] == [
        "LABEL   BLOCKS",
        "xxxxxx       1",
        "Zoe         12",
    ]


def test_what_an_encoding_lacks_takes_as_many_cells() -> None:
    """So that columns stay aligned; narrow spaces and ellipses have plain forms."""
    assert "1\u202f000 病 Zoé…".encode("ascii", output.LENIENT) == b"1 000 ?? Zo?~"
    assert "病 Zoé".encode("latin-1", output.LENIENT) == "?? Zoé".encode("latin-1")
