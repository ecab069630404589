"""The live view as lines: a picture and what was measured between pictures, drawn for a terminal of any size.

From top to bottom: how things are, in a bar; what is here; traffic with its rates; the peers; feeds that lag; alarms
with what to do about them. In a small terminal rows are left out and counted, alarms last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from . import netrows, nettext
from .cells import Glyphs, Line, Span, bar, clip, fit, spark, width, wrap
from .meter import Meter
from .netdata import Health, Picture, ago_text
from .netrows import DIM, FeedRow, PeerRow
from .output import count_text, number_text, printable, size_text

MIN_COLUMNS: Final = 40
NAME_CELLS: Final = 18
RATE_CELLS: Final = 10
_INK: Final = {Health.IN_SYNC: "green", Health.BEHIND: "yellow", Health.ALARM: "red", Health.NOT_RUNNING: "red"}
_HEAD: Final = {"fg": DIM}


class Block(NamedTuple):
    """A part of the screen: its heading, its items, and how many more of these there are.

    An item has a line or several, and is shown whole or not at all.
    """

    heading: Line
    items: list[list[Line]]
    more: int

    @property
    def height(self) -> int:
        """All of it: with an empty line before it, its heading, and a line for what is left out."""
        return sum(map(len, self.items)) + 2 + (self.more > 0)

    @property
    def least(self) -> int:
        """One item of it, and that there are more."""
        return min(self.height, len(self.items[0]) + 3) if self.items else 0


def draw(picture: Picture, meter: Meter, columns: int, lines: int, *, clock: str, glyphs: Glyphs) -> list[Line]:
    """At most `lines` lines, none of them wider than `columns`, once rendered."""
    top = [*_title(picture, columns, clock), *_figures(picture, meter, columns, glyphs)]
    room = lines - len(top)
    alarms = _alarms(picture, columns, glyphs)
    feeds = _feeds(picture, columns, glyphs)
    peers = _peers(picture, meter, columns, glyphs)
    below = (peers, feeds, alarms)
    for block, most in zip(below, _shares(below, (alarms, peers, feeds), room), strict=True):
        top += _cut(block, most)
    return top[:lines]


# --- the parts -----------------------------------------------------------------------------------------------------


def _title(picture: Picture, columns: int, clock: str) -> list[Line]:
    health = picture.health
    word = f" {health.value.upper()} "
    name = f" {printable(picture.name)} "
    rest = max(0, columns - width(word) - width(clock) - 1)
    ink = _INK[health]
    shown = "by this command" if picture.life is None else nettext.shown_by(picture)
    why = f" {picture.why[:1].upper()}{picture.why[1:]}."
    return [
        [
            Span(word, {"bg": ink, "fg": "black", "bold": True}),
            Span(fit(name, rest), {"bold": True}),
            Span(f"{clock} ", _HEAD),
        ],
        [Span(clip(why, columns), {"fg": ink})],
        [Span(clip(f" {nettext.broker(picture)}; {shown}", columns), _HEAD)],
        [],
    ]


def _figures(picture: Picture, meter: Meter, columns: int, glyphs: Glyphs) -> list[Line]:
    status = picture.status
    here = f"{count_text(status['blocks'], 'block')} of {count_text(status['feeds'], 'feed')}"
    unconfirmed = {"fg": "yellow"} if status["own_blocks_unconfirmed"] else {}
    rows: list[Line] = [
        [_name("here"), Span(here)],
        [_name("own feed"), Span(nettext.own_feed(picture), unconfirmed)],
    ]
    for name, way, at in (("in", "in", 0), ("out", "out", 1)):
        tally = status["traffic"][way]
        rates = [rate[at] for rate in meter.rates]
        total = f"  {size_text(tally['bytes'])} in {count_text(tally['frames'], 'frame')}"
        line = [_name(name), Span(fit(rate_text(rates[-1] if rates else 0.0), 11, right=True), {"bold": True})]
        drawn = spark(rates, max(0, min(len(rates), columns - 56)), glyphs)
        rows.append([*line, Span(f"  {drawn}", {"fg": "cyan"}), Span(total)])
    rows.append([_name("beacons"), Span(nettext.beacons(picture))])
    return rows


def _peers(picture: Picture, meter: Meter, columns: int, glyphs: Glyphs) -> Block:
    rows = netrows.peers(picture)
    wide = min(24, max(8, columns - 68))
    name = max(10, min(32, columns - wide - 50))
    heading = [
        Span(f" {fit('PEER', name)} {fit('STANDING', 14)} {fit('', wide)} {fit('HEARD', 9, right=True)}", _HEAD),
        Span(f" {fit('IN', RATE_CELLS, right=True)} {fit('OUT', RATE_CELLS, right=True)}", _HEAD),
    ]
    drawn = [_peer(row, meter, name, wide, glyphs, noted=columns - name - wide - 50 >= width(row.note)) for row in rows]
    if not drawn:
        drawn = [[Span(" none was heard yet: is another replica on this broker?", _HEAD)]]
    return Block(heading, [[row] for row in drawn], picture.status["peer_list_more"])


def _peer(row: PeerRow, meter: Meter, name: int, wide: int, glyphs: Glyphs, *, noted: bool) -> Line:
    """A row; its note stands behind its rates where there is room (`noted`), else in their place."""
    full, empty = bar(row.share, wide, glyphs)
    rate_in, rate_out = meter.of(row.feed)
    quiet = {"fg": DIM} if row.colour == DIM else {}
    rates = "".join(f" {fit(rate_text(rate), RATE_CELLS, right=True)}" for rate in (rate_in, rate_out))
    return [
        Span(f" {fit(row.name, name)} ", quiet or {"bold": True}),
        Span(f"{fit(row.standing, 14)} ", {"fg": row.colour}),
        Span(full, {"fg": row.colour}),
        Span(f"{empty} ", _HEAD),
        Span(fit(ago_text(row.heard), 9, right=True), quiet),
        Span(rates if noted or not row.note else "", quiet),
        Span(f"  {row.note}" if row.note else "", {"fg": "yellow"}),
    ]


def _feeds(picture: Picture, columns: int, glyphs: Glyphs) -> Block:
    rows = netrows.feeds(picture)
    wide = min(40, max(8, columns - 56))
    heading = [
        Span(f" {fit('FEED THAT LAGS', NAME_CELLS)} {fit('', wide)}      {fit('MISSING', 11, right=True)}", _HEAD),
        Span(f" {fit('SOURCES', 8, right=True)}", _HEAD),
    ]
    return Block(heading, [[_feed(row, wide, glyphs)] for row in rows], picture.status["lagging_feeds_more"])


def _feed(row: FeedRow, wide: int, glyphs: Glyphs) -> Line:
    full, empty = bar(row.share, wide, glyphs)
    percent = int(row.share * 100)
    return [
        Span(f" {fit(row.name, NAME_CELLS)} "),
        Span(full, {"fg": "cyan"}),
        Span(empty, _HEAD),
        Span(f"{percent:4d}%"),
        Span(fit(number_text(row.wanted - row.ours), 12, right=True), {"bold": True}),
        Span(fit(number_text(row.sources), 9, right=True)),
    ]


def _alarms(picture: Picture, columns: int, glyphs: Glyphs) -> Block:
    items: list[list[Line]] = []
    for alarm in picture.alarms:
        rows: list[Line] = []
        ago = fit(ago_text(alarm["seconds"] + picture.seconds), 12)
        room = max(10, columns - 14)
        for at, part in enumerate(wrap(printable(alarm["text"]), room)):
            rows.append([Span(f" {ago if at == 0 else ' ' * 12}", _HEAD), Span(part, {"fg": "red"})])
        if alarm["hint"]:
            for at, part in enumerate(wrap(printable(alarm["hint"]), room - 3)):
                rows.append([Span(f" {' ' * 12}{fit(glyphs.arrow if at == 0 else '', 3)}"), Span(part)])
        items.append(rows)
    return Block([Span(" ALARMS of the last 15 min", {"fg": "red", "bold": True})], items, 0)


def rate_text(rate: float) -> str:
    """Bytes a second, short."""
    if rate < 1:
        return "-"
    for unit in ("B/s", "kB/s", "MB/s"):
        if rate < 999.5:
            return f"{rate:.0f} {unit}" if unit == "B/s" or rate >= 100 else f"{rate:.1f} {unit}"
        rate /= 1000
    return f"{rate:.1f} GB/s"


def _name(text: str) -> Span:
    return Span(f" {fit(text, 9)}", _HEAD)


# --- making it fit -------------------------------------------------------------------------------------------------


def _shares(blocks: Sequence[Block], ranked: Sequence[Block], room: int) -> list[int]:
    """How many lines each block gets: all where there is room; else those give way that are most above their least.

    Where not even that is there for all, it is for those that rank first.
    """
    given = [0] * len(blocks)
    for block in ranked:
        if sum(given) + block.least <= room:
            given[blocks.index(block)] = block.least
    for at, block in enumerate(blocks):
        given[at] = block.height if given[at] else 0
    while sum(given) > room:
        above = [lines - block.least if lines else -1 for lines, block in zip(given, blocks, strict=True)]
        given[above.index(max(above))] -= 1
    return given


def _cut(block: Block, lines: int) -> list[Line]:
    """The block in at most so many lines: an empty one and its heading first; less than one item is nothing."""
    shown: list[Line] = []
    left = len(block.items)
    for item in block.items:
        rest = left - 1 + block.more
        if 2 + len(shown) + len(item) + (rest > 0) > lines:
            break
        shown += item
        left -= 1
    if not shown:
        return []
    left += block.more
    more: list[Line] = [[Span(f" and {number_text(left)} more", _HEAD)]] if left else []
    return [[], block.heading, *shown, *more]
