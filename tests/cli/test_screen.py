"""The live view on its own: it fits whatever terminal there is, and says what matters first."""

from __future__ import annotations

import copy
import re
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip_world import World
from medledger.cli import cells, netrows, netscreen, nettext
from medledger.cli.meter import Meter
from medledger.cli.netdata import Health, Picture
from medledger.cli.netscreen import rate_text
from medledger.statusfile import Life

ALARMS = [
    {"text": "the feed of member ABCD-EFGH-IJKL-MNOP has forked", "hint": "Revoke its key.", "seconds": 5.0},
    {
        "text": "no peer has confirmed the last 3 blocks of this node " * 3,
        "hint": "See that one runs.",
        "seconds": 700.0,
    },
    {"text": "long ago", "hint": "", "seconds": 1000.0},
]
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def _real() -> dict[str, Any]:
    """A status as a node gives it, with one peer, and what `Gossip` adds."""
    world = World(7, "a")
    world.settle()
    world.net.run(100)
    status = world.governor.node.status(world.net.now)
    added = {"broker": "mqtt://broker:1883", "brokers": ["mqtt://broker:1883"], "protocol": "5", "connected": True}
    rest = {"taken_seconds": 0.0, "dropped_frames": 0, "last_alarm": None, "failure": None}
    return {
        **added,
        "connected_seconds": 90.0,
        **status,
        **rest,
        "key_generation": 2,
        "key_held": True,
        "in_sync": True,
    }


REAL = _real()


def peer(label: str, **fields: Any) -> dict[str, Any]:
    """A row of `peer_list`; its feed is the label in hex."""
    return {**REAL["peer_list"][0], "feed": label.encode().hex().ljust(64, "0"), **fields}


def view(*peers: dict[str, Any], life: Life | None = Life.RUNNING, seconds: float = 0.5, **fields: Any) -> Picture:
    """A picture with these peers and fields."""
    status = {**copy.deepcopy(REAL), **fields}
    if peers:
        status["peer_list"] = list(peers)
    feeds = [row["feed"] for rows in ("peer_list", "lagging_feeds") for row in status[rows]]
    labels = {feed: bytes.fromhex(feed).rstrip(b"\0").decode("utf-8", "replace") for feed in feeds}
    return Picture(status, labels, "St. Anna", "00" * 32, seconds, life, 4711)


def drawn(picture: Picture, columns: int = 80, lines: int = 24, meter: Meter | None = None) -> list[str]:
    """The screen without its colours."""
    screen = netscreen.draw(picture, meter or Meter(), columns, lines, clock="12:03:41", glyphs=cells.UNICODE)
    return [ESCAPE.sub("", cells.render(line, columns)) for line in screen]


# --- it fits ---------------------------------------------------------------------------------------------------------


@given(
    columns=st.integers(1, 200),
    lines=st.integers(1, 70),
    peers=st.integers(0, 100),
    feeds=st.integers(0, 100),
    label=st.text(max_size=20),
    alarms=st.lists(st.text(max_size=200), max_size=20),
)
def test_nothing_is_wider_or_higher_than_the_terminal(
    columns: int, lines: int, peers: int, feeds: int, label: str, alarms: list[str]
) -> None:
    """Whatever members are called and alarms say, in any script, and however many there are of all."""
    picture = view(
        *(peer(f"{label}{number}".encode("utf-8", "replace").decode()[:16]) for number in range(peers)),
        lagging_feeds=[
            {"feed": number.to_bytes(32, "big").hex(), "ours": number, "wanted": 50, "sources": 1}
            for number in range(feeds)
        ],
        alarms=[{"text": text, "hint": text, "seconds": 1.0} for text in alarms],
    )
    screen = drawn(picture, columns, lines)
    assert len(screen) <= lines
    for line in screen:
        assert cells.width(line) <= columns
        assert line.isprintable()


def test_a_small_terminal_shows_what_matters() -> None:
    """80 x 24 with more of everything than fits: some of each, counted, and an alarm whole, with what to do."""
    picture = view(
        *(peer(f"bed {number}") for number in range(40)),
        lagging_feeds=[{"feed": f"{number:02x}" * 32, "ours": 5, "wanted": 50, "sources": 1} for number in range(30)],
        lagging_feeds_more=70,
        alarms=ALARMS,
    )
    text = "\n".join(drawn(picture))
    assert "ALARM " in text
    assert "2 alarms in the last 15 min." in text
    assert "has forked" in text
    assert "→  Revoke its key." in text
    assert "bed 0" in text
    assert re.search(r"10%", text)
    assert text.count(" more") >= 2
    everything = "\n".join(drawn(picture, 100, 200))
    assert "bed 39" in everything
    assert "and 70 more" in everything
    assert "long ago" not in everything
    tiny = drawn(picture, 80, 14)
    assert any("ALARMS" in line for line in tiny)


def test_it_is_plain_text_where_there_are_no_more_characters() -> None:
    """ASCII glyphs, for a terminal that can draw no others."""
    meter = Meter()
    meter.rates.extend([(100.0, 5.0), (0.0, 0.0), (3000.0, 10.0)])
    picture = view(peer("box", standing="ahead", difference=9, blocks=99))
    screen = netscreen.draw(picture, meter, 100, 30, clock="12:00:00", glyphs=cells.ASCII)
    text = "\n".join(cells.render(line, 100) for line in screen)
    assert ESCAPE.sub("", text).replace("\u202f", " ").isascii()


# --- what it says ----------------------------------------------------------------------------------------------------


def test_each_standing_has_its_words_and_its_bar() -> None:
    """Who lacks blocks has a bar that is not full; who differs from us stands first, who is away last."""
    rows = netrows.peers(
        view(
            peer("level"),
            peer("bed 10"),
            peer("bed 9"),
            peer("behind", standing="behind", difference=-3),
            peer("ahead", standing="ahead", difference=1234),
            peer("differs", standing="differs", difference=0),
            peer("new", standing="unknown", blocks=None, beacon_seconds=None, stranger=True),
            peer("silent", heard_seconds=200.0),
            peer("gone", gone=True),
            blocks=1000,
        )
    )
    assert [row.name for row in rows] == [
        *("ahead", "behind", "differs", "new", "bed 9", "bed 10", "level", "gone", "silent"),
    ]
    words = {row.name: row.standing for row in rows}
    assert words["ahead"] == "ahead 1\u202f234"
    assert words["behind"] == "behind 3"
    assert words["new"] == "no beacon yet"
    assert (words["gone"], words["silent"]) == ("gone", "silent")
    shares = {row.name: row.share for row in rows}
    assert shares["level"] == 1.0
    assert shares["behind"] == 0.997
    assert 0.4 < shares["ahead"] < 0.5
    assert "not enrolled here yet" in {row.note for row in rows}
    full, empty = cells.bar(shares["behind"], 10, cells.UNICODE)
    assert (len(full), len(empty)) == (9, 1)


def test_a_restarted_member_is_one_row() -> None:
    """The boot heard last says where it stands; the bytes are those of all."""
    before = peer("box", boot="00" * 8, heard_seconds=9.0, standing="behind", difference=-9, bytes_in=100, bytes_out=1)
    after = peer("box", boot="11" * 8, heard_seconds=1.0, bytes_in=50, bytes_out=2, failures=2, retry_seconds=3.0)
    (row,) = netrows.peers(view(before, after, seconds=1.0))
    assert (row.standing, row.bytes_in, row.bytes_out) == ("level", 150, 3)
    assert row.note == "2 failures, asked again in 2.0 s; 2 boots"


@pytest.mark.parametrize(
    ("fields", "health", "why"),
    [
        ({}, Health.IN_SYNC, "all that its one peer has shown is here"),
        ({"peers": 1200}, Health.IN_SYNC, "all that its 1\u202f200 peers have shown is here"),
        ({"connected": False}, Health.BEHIND, "no broker: trying mqtt://broker:1883"),
        ({"peers": 0}, Health.BEHIND, "no other replica was heard"),
        ({"key_held": False}, Health.BEHIND, "the ledger's transport key was changed"),
        ({"state": "recovering"}, Health.BEHIND, "whether its key has signed more"),
        ({"in_sync": False}, Health.BEHIND, "finding out what its peers hold"),
        ({"in_sync": False, "feeds_behind": 2, "blocks_behind": 1}, Health.BEHIND, "behind in 2 feeds, 1 block"),
        ({"alarms": ALARMS, "connected": False}, Health.ALARM, "2 alarms in the last 15 min"),
        ({"failure": "KeyError: 7"}, Health.ALARM, "a fault of its own: KeyError: 7"),
    ],
)
def test_health(fields: dict[str, Any], health: Health, why: str) -> None:
    """What is worst decides, and the reason is said."""
    picture = view(**fields)
    assert picture.health is health
    assert why in picture.why
    assert picture.health.exit == {"in sync": 0, "behind": 5, "alarm": 6}[health.value]


@pytest.mark.parametrize(
    ("life", "why"),
    [
        (Life.CLOSED, "gossip was closed 1 min 10 s ago"),
        (Life.GONE, "process 4711 has ended without closing; its last word is 1 min 10 s old"),
        (Life.SILENT, "process 4711 is there, and has not shown anything for 1 min 10 s"),
    ],
)
def test_an_old_picture_is_not_how_things_are(life: Life, why: str) -> None:
    """However well things were: nobody gossips."""
    picture = view(life=life, seconds=70.0)
    assert picture.health is Health.NOT_RUNNING
    assert why in picture.why
    assert "What it showed last:" in nettext.lines(picture)
    assert drawn(picture)[0].startswith(" NOT RUNNING ")


def test_text_from_the_ledger_cannot_write_to_the_terminal() -> None:
    """Labels, names, alarms and brokers, with everything in them that a terminal would obey."""
    evil = "\x1b[2Jx\r\n\u202egood"
    status = {**copy.deepcopy(REAL), "broker": evil, "failure": evil}
    status["alarms"] = [{"text": evil, "hint": evil, "seconds": 1.0}]
    picture = Picture(status, {row["feed"]: evil for row in status["peer_list"]}, evil, "00", 0.0, Life.FAILED, 1)
    for line in (*nettext.lines(picture), *drawn(picture, 100, 40)):
        assert ESCAPE.sub("", line).isprintable()


# --- rates -----------------------------------------------------------------------------------------------------------


def test_rates_are_of_what_came_since_the_last_picture(rng: Random) -> None:
    """None at first; then bytes by the time between; none where nothing is new for long, or where a process is new."""
    meter = Meter()
    size = rng.randrange(1000, 100_000)

    def look(bytes_in: int, seconds: float, boot: str = "aa") -> tuple[float, float]:
        traffic = {"in": {"bytes": bytes_in}, "out": {"bytes": 0}}
        rows = [peer("box", bytes_in=bytes_in, bytes_out=7)]
        meter.look(view(*rows, traffic=traffic, boot=boot, seconds=seconds))
        return meter.rates[-1]

    feed = peer("box")["feed"]
    assert look(5000, 30.0) == (0.0, 0.0)
    assert look(5000 + size, 28.0)[0] == pytest.approx(size / 2, rel=0.05)
    assert meter.of(feed)[0] == pytest.approx(size / 2, rel=0.05)
    # A long silence is not part of it: the file would have been written sooner, had anything happened in it.
    assert look(5000 + 2 * size, 2.0)[0] == pytest.approx(size / 2, rel=0.05)
    assert look(5000 + 2 * size, 2.0)[0] == pytest.approx(size / 2, rel=0.05)
    assert look(10, 0.5, "bb") == (0.0, 0.0)
    assert meter.of(feed) == (0.0, 0.0)


def test_sparklines_and_rates_are_short() -> None:
    """The newest to the right, nothing for nothing, the highest in full."""
    assert cells.spark([0, 1, 4, 16], 6, cells.UNICODE) == "   ▃▅█"
    assert cells.spark([0, 0], 4, cells.UNICODE) == "    "
    assert cells.spark([5], 0, cells.UNICODE) == ""
    told = [rate_text(rate) for rate in (0, 0.4, 7, 999, 1234, 99_900, 1_500_000, 2e9, 3e12)]
    assert told == ["-", "-", "7 B/s", "999 B/s", "1.2 kB/s", "99.9 kB/s", "1.5 MB/s", "2.0 GB/s", "3000.0 GB/s"]


def test_text_is_measured_in_cells() -> None:
    """Scripts that take two cells a character, and marks that take none."""
    assert [cells.width(text) for text in ("box", "病院", "é", "e\u0301")] == [3, 4, 1, 1]
    assert cells.clip("病院レプリカ", 5) == "病院…"
    assert cells.width(cells.fit("病院", 3)) == 3
    assert cells.fit("ab", 4, right=True) == "  ab"
    assert cells.wrap("one two three", 7) == ["one two", "three"]
    assert cells.wrap("incomprehensible", 5) == ["inco…"]
