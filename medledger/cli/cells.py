"""Text in a terminal's cells: how wide it is, cut and filled to a width, bars and sparklines, and lines with colours.

A line is a list of spans, each a text and its style. Widths are counted in cells, since a label may be written in a
script whose characters take two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from unicodedata import category, east_asian_width

from .output import style

ELLIPSIS: Final = "…"


class Span(NamedTuple):
    """A piece of a line: its text, and a colour and more as `click.style` takes them."""

    text: str
    how: dict[str, Any] = {}  # noqa: RUF012 - never changed


Line = list[Span]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What bars and sparklines are drawn with: of Unicode, or of ASCII where the terminal has no more."""

    full: str
    empty: str
    steps: str
    arrow: str


UNICODE: Final = Glyphs("━", "╌", "▁▂▃▄▅▆▇█", "→")
ASCII: Final = Glyphs("#", ".", ".:-=+*%#", "->")


def width(text: str) -> int:
    """How many cells a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if category(char) in ("Mn", "Me") else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def clip(text: str, cells: int) -> str:
    """The text, cut to so many cells with an ellipsis where it is longer."""
    if width(text) <= cells:
        return text
    kept = ""
    for char in text:
        if width(kept + char) > cells - 1:
            break
        kept += char
    return kept + ELLIPSIS if cells > 0 else ""


def shorten(text: str, cells: int) -> str:
    """As `clip`, but out of its middle: names often differ in their ends alone."""
    if width(text) <= cells or cells < 3:
        return clip(text, cells)
    head, tail = text[: (cells - 1) // 2], ""
    while width(head) > (cells - 1) // 2:
        head = head[:-1]
    for char in reversed(text):
        if width(head + char + tail) > cells - 1:
            break
        tail = char + tail
    return head + ELLIPSIS + tail


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """The text in exactly so many cells."""
    cut = clip(text, cells)
    room = " " * (cells - width(cut))
    return room + cut if right else cut + room


def wrap(text: str, cells: int) -> list[str]:
    """The text in lines of at most so many cells, broken between words where that can be."""
    lines: list[str] = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if width(joined) <= cells:
            lines[-1] = joined
        else:
            lines += [clip(word, cells)] if lines[-1] else []
            lines[-1] = clip(word, cells)
    return lines


def bar(share: float, cells: int, glyphs: Glyphs) -> tuple[str, str]:
    """The full and the empty part. What is not complete never looks it, and what has begun never looks empty."""
    full = round(share * cells)
    if share < 1:
        full = min(full, cells - 1)
    if share > 0:
        full = max(full, 1)
    full = max(0, min(cells, full))
    return glyphs.full * full, glyphs.empty * (cells - full)


def spark(values: Sequence[float], cells: int, glyphs: Glyphs) -> str:
    """The last values as a row of columns, the newest to the right; the highest of them has full height.

    Heights grow with the square root, so that one burst does not hide all else.
    """
    shown = [max(0.0, value) ** 0.5 for value in list(values)[-cells:]] if cells > 0 else []
    top = max([*shown, 1e-9])
    last = len(glyphs.steps) - 1
    drawn = "".join(" " if value <= 0 else glyphs.steps[min(last, int(value / top * last + 0.999))] for value in shown)
    return drawn.rjust(cells)


def render(line: Line, cells: int) -> str:
    """The line with its colours, cut to so many cells."""
    parts = []
    for text, how in line:
        cut = clip(text, cells)
        cells -= width(cut)
        parts.append(style(cut, **how) if how and cut else cut)
        if cells <= 0:
            break
    return "".join(parts)


def line_text(line: Line) -> str:
    """The line with its colours, uncut, and with nothing that is not seen at its end."""
    kept = list(line)
    while kept and not kept[-1].text.strip():
        kept.pop()
    if kept:
        kept[-1] = Span(kept[-1].text.rstrip(), kept[-1].how)
    return "".join(style(text, **how) if how else text for text, how in kept)
