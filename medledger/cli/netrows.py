"""The rows of a picture as people read them: one for each member that is a peer, and one for each feed that lags.

A member that was restarted is several peers for a while, one for each boot. It gets one row: the boot heard last says
where it stands, and the traffic is that of all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from medledger.limits import PEER_SECONDS

from .netdata import Picture, ago_text
from .output import count_text, number_text

GOOD, WARN, BAD, NEWS, DIM = "green", "yellow", "red", "cyan", "bright_black"


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One member."""

    feed: str
    name: str
    standing: str  # in words
    colour: str
    share: float  # of the blocks of both of us that the one who lacks some holds
    heard: float
    beacon: float | None
    bytes_in: int
    bytes_out: int
    note: str


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One feed that peers hold more of."""

    name: str
    ours: int
    wanted: int
    sources: int

    @property
    def share(self) -> float:
        """How much of it is here."""
        return self.ours / self.wanted if self.wanted else 1.0


def peers(picture: Picture) -> list[PeerRow]:
    """Those that differ from us first, then those that do not, then the silent ones; each by name."""
    boots: dict[str, list[dict[str, Any]]] = {}
    for row in picture.status["peer_list"]:
        boots.setdefault(row["feed"], []).append(row)
    rows = [_peer(picture, sorted(each, key=lambda row: float(row["heard_seconds"]))) for each in boots.values()]
    return sorted(
        rows, key=lambda row: (row.standing in ("gone", "silent"), row.colour == GOOD, _by_number(row.name), row.feed)
    )


def feeds(picture: Picture) -> list[FeedRow]:
    """Feeds that lag, in the order they are asked for."""
    return [
        FeedRow(picture.label(row["feed"]), row["ours"], row["wanted"], row["sources"])
        for row in picture.status["lagging_feeds"]
    ]


def _peer(picture: Picture, boots: list[dict[str, Any]]) -> PeerRow:
    row = boots[0]
    heard = row["heard_seconds"] + picture.seconds
    standing, colour, share = _standing(row, picture.status["blocks"])
    if row["gone"] or heard > PEER_SECONDS:
        standing, colour = ("gone" if row["gone"] else "silent"), DIM
    return PeerRow(
        feed=row["feed"],
        name=picture.label(row["feed"]),
        standing=standing,
        colour=colour,
        share=share,
        heard=heard,
        beacon=picture.since(row["beacon_seconds"]),
        bytes_in=sum(each["bytes_in"] for each in boots),
        bytes_out=sum(each["bytes_out"] for each in boots),
        note=_note(row, len(boots), picture.seconds),
    )


def _by_number(name: str) -> list[tuple[int, str]]:
    """Names in the order people count: bed 9 before bed 10."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(int(part) if part.isdecimal() and part.isascii() else -1, part) for part in parts]


def _standing(row: dict[str, Any], here: int) -> tuple[str, str, float]:
    """In words, with a colour, and how much the one who lacks blocks has of them."""
    more = row["difference"]
    if row["standing"] == "ahead":
        return f"ahead {number_text(more)}", NEWS, here / max(1, here + more)
    if row["standing"] == "behind":
        return f"behind {number_text(-more)}", WARN, max(0, here + more) / max(1, here)
    if row["standing"] == "differs":
        return "differs", NEWS, max(0, here + more) / max(1, here)
    if row["standing"] == "level":
        return "level", GOOD, 1.0
    return "no beacon yet", DIM, 0.0


def _note(row: dict[str, Any], boots: int, age: float) -> str:
    """What else there is to know of a peer."""
    notes = []
    if row["stranger"]:
        notes.append("not enrolled here yet")
    if row["failures"]:
        again = max(0.0, row["retry_seconds"] - age)
        notes.append(
            f"{count_text(row['failures'], 'failure')}{f', asked again in {ago_text(again)}' if again else ''}"
        )
    if boots > 1:
        notes.append(f"{boots} boots")
    return "; ".join(notes)
