"""A picture of gossip as text, once, from top to bottom: what `net status` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from . import netrows
from .netdata import Health, Picture, ago_text
from .output import count_text, fact_lines, number_text, printable, size_text, style, table_lines

COLOURS: Final = {Health.IN_SYNC: "green", Health.BEHIND: "yellow", Health.ALARM: "red", Health.NOT_RUNNING: "red"}
MAX_LISTED: Final = 20


def lines(picture: Picture) -> list[str]:
    """All of it; tables only where they have rows."""
    rest = [headline(picture), *(f"  {line}" for line in fact_lines(_facts(picture)))]
    if not picture.running:
        rest[1:1] = ["What it showed last:"]
    return [*rest, *_peers(picture), *_feeds(picture), *_alarms(picture)]


def headline(picture: Picture) -> str:
    """What it comes to, and why."""
    health = picture.health
    return f"{style(f'{health.value.capitalize()}:', fg=COLOURS[health], bold=True)} {picture.why}."


def _facts(picture: Picture) -> list[tuple[str, str]]:
    status = picture.status
    here = f"{count_text(status['blocks'], 'block')} of {count_text(status['feeds'], 'feed')}"
    facts = [
        ("ledger", f"{printable(picture.name)}, {here}"),
        ("shown by", shown_by(picture)),
        ("broker", broker(picture)),
        ("own feed", own_feed(picture)),
        ("in", travelled(status["traffic"]["in"])),
        ("out", travelled(status["traffic"]["out"])),
        ("beacons", beacons(picture)),
        ("key", transport_key(picture)),
    ]
    return facts + [(name, count_text(status[key], noun)) for name, key, noun in _ODD if status[key]]


_ODD: Final = (
    ("forked", "forked_feeds", "feed"),
    ("hidden", "blocks_with_hidden_entries", "block"),
    ("unknown authors", "feeds_of_unknown_authors", "feed"),
    ("dropped", "dropped_frames", "frame"),
)


def shown_by(picture: Picture) -> str:
    """Whose picture it is, and how old."""
    if picture.life is None:
        return "this command, gossiping itself"
    return f"process {picture.pid}, {ago_text(picture.seconds)} ago"


def broker(picture: Picture) -> str:
    """Where it gossips."""
    status = picture.status
    name = printable(status["broker"])
    others = len(status["brokers"]) - 1
    more = f" (one of {others + 1})" if others > 0 else ""
    if not status["connected"]:
        return f"{name}{more}, not connected"
    since = picture.since(status["connected_seconds"])
    return f"{name}{more}" + ("" if since is None else f", connected for {ago_text(since)}")


def own_feed(picture: Picture) -> str:
    """Whether anybody has what is written here."""
    status = picture.status
    total = count_text(status["own_blocks"], "block")
    unconfirmed = status["own_blocks_unconfirmed"]
    if not status["own_blocks"]:
        return "nothing written yet"
    if not unconfirmed:
        return f"{total}, all confirmed by a peer"
    since = picture.since(status["own_blocks_unconfirmed_seconds"])
    waited = "" if since is None else f" for {ago_text(since)}"
    return f"{total}, of which no peer has confirmed {number_text(unconfirmed)}{waited}"


_KINDS: Final = {"repeated": "echoes"}  # of our own frames, as good as always


def travelled(way: dict[str, Any]) -> str:
    """Bytes and frames, and which kinds they are most of."""
    kinds = sorted(way["kinds"].items(), key=lambda item: (-item[1]["bytes"], item[0]))
    most = ", ".join(_KINDS.get(kind, kind.replace("_", " ")) for kind, tally in kinds[:3] if tally["bytes"])
    total = f"{size_text(way['bytes'])} in {count_text(way['frames'], 'frame')}"
    return f"{total}, mostly {most}" if most else total


def beacons(picture: Picture) -> str:
    """When the last ones travelled, and what is under way."""
    beacon = picture.status["beacon"]
    told = [
        f"{name} {ago_text(since)} ago" if (since := picture.since(beacon[key])) is not None else f"none {name} yet"
        for name, key in (("sent", "sent_seconds"), ("heard", "heard_seconds"))
    ]
    under_way = [
        count_text(picture.status[key], noun)
        for key, noun in (("probes_under_way", "probe"), ("pulls_under_way", "pull"))
        if picture.status[key]
    ]
    return ", ".join(told) + (f"; {' and '.join(under_way)} under way" if under_way else "")


def transport_key(picture: Picture) -> str:
    """Which key frames are sealed with."""
    status = picture.status
    stragglers = count_text(status["stragglers"], "member")
    missed = f"; not arrived yet at {stragglers} that we hear" if status["stragglers"] else ""
    return f"{printable(status['transport_key'])}, generation {number_text(status['key_generation'])}{missed}"


def _peers(picture: Picture) -> list[str]:
    rows = netrows.peers(picture)
    if not rows:
        return ["", "Peers: none"]
    cells = [
        (
            row.name,
            row.standing,
            f"{ago_text(row.heard)} ago",
            size_text(row.bytes_in),
            size_text(row.bytes_out),
            row.note,
        )
        for row in rows[:MAX_LISTED]
    ]
    left = len(rows) - len(cells) + picture.status["peer_list_more"]
    return _table(("PEER", "STANDING", "HEARD", "IN", "OUT", ""), cells, left)


def _feeds(picture: Picture) -> list[str]:
    rows = netrows.feeds(picture)
    cells = [
        (row.name, str(row.ours), str(row.wanted), str(row.wanted - row.ours), str(row.sources))
        for row in rows[:MAX_LISTED]
    ]
    left = len(rows) - len(cells) + picture.status["lagging_feeds_more"]
    return _table(("FEED THAT LAGS", "HERE", "THERE", "MISSING", "SOURCES"), cells, left) if rows else []


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], left: int) -> list[str]:
    heading, *body = table_lines(headings, rows)
    more = [f"and {number_text(left)} more: see --json"] if left > 0 else []
    return ["", style(heading, bold=True), *body, *more]


def _alarms(picture: Picture) -> list[str]:
    found = []
    for alarm in picture.alarms:
        found.append(f"  {ago_text(picture.since(alarm['seconds']) or 0.0)} ago  {printable(alarm['text'])}")
        if alarm["hint"]:
            found.append(f"    {printable(alarm['hint'])}")
    return ["", style("Alarms of the last 15 min", fg="red", bold=True), *found] if found else ["", "Alarms: none"]
