"""Room on the disk: what is refused when there is none, that nothing is dropped, and that it goes on by itself."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxes import Agent, Box, World
from medledger_agents.config import SpoolSection
from medledger_agents.health import Health
from medledger_agents.inbox import Inbox, Received, Verdict
from medledger_agents.inboxfile import SCHEMA
from medledger_agents.spool import Rate, Spool, Usage, hours_left, refusal
from waiting import until

DAY = 86_400_000
NOW = 1_800_000_000_000
MIB = 1 << 20


def scan(number: int) -> str:
    """A pack's own scan."""
    return f"]d201095060001343521728033121S{number}"


# --- the policy ------------------------------------------------------------------------------------------------------

SIZES = st.integers(0, 1 << 40)


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_it_is_full_exactly_beyond_its_bounds(inbox: int, waiting: int, free: int, most: int, least: int) -> None:
    """Refused with the word "full" when too little is free or too much is taken, and in no other case."""
    said = refusal(SpoolSection(max_bytes=most, min_free_bytes=least), Usage(inbox, waiting, free))
    assert (said is not None) == (free < least or (most > 0 and inbox + waiting >= most))
    assert said is None or "full" in said


@given(SIZES, SIZES, st.floats(1, 1e9))
def test_the_hours_left_are_the_room_over_the_rate(free: int, least: int, rate: float) -> None:
    """Room beyond what must stay free, divided by the bytes of an hour; not known without a rate."""
    section = SpoolSection(min_free_bytes=least)
    assert hours_left(section, Usage(0, 0, free), rate) == max(0, free - least) / rate
    assert hours_left(section, Usage(0, 0, free), None) is None
    assert hours_left(section, Usage(0, 0, free), 0.0) is None


def test_a_rate_is_of_the_last_hour() -> None:
    """Growth long ago does not count, a shrinking disk is no rate, and a few minutes are no measure."""
    rate = Rate()
    rate.saw(0, 0.0)
    rate.saw(5000, 60.0)
    assert rate.per_hour is None
    rate.saw(1_000_000, 400.0)
    assert rate.per_hour == pytest.approx(9_000_000)
    for minute in range(100):
        rate.saw(1_000_000 + minute * 10, 4000.0 + 60 * minute)
    assert rate.per_hour == pytest.approx(600)
    rate.saw(0, 10_000.0)
    assert rate.per_hour == 0


def test_an_alarm_comes_before_the_disk_is_full(tmp_path: Path) -> None:
    """At a rate at which the disk would not last the hours that are asked for, health says so; nothing is refused."""
    health = Health()
    (tmp_path / "ledger.db").write_bytes(b"")
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        spool = Spool(
            SpoolSection(hours=1, max_bytes=8 * MIB, min_free_bytes=0),
            inbox,
            tmp_path / "ledger.db",
            lambda: (0, 0),
            health,
        )
        spool.look(0.0)
        with (tmp_path / "ledger.db").open("ab") as file:
            file.truncate(4 * MIB)
        spool.look(600.0)
        assert spool.hours_left is not None
        assert spool.hours_left < 1
        assert health.faults() == {"spool hours": "at the present rate the disk lasts less than 1 hours"}
        assert spool.gate() is None
        spool.section = SpoolSection(hours=0, max_bytes=8 * MIB, min_free_bytes=0)
        spool.look(660.0)
        assert health.faults() == {}


# --- the inbox -------------------------------------------------------------------------------------------------------


def message(number: int, at: int = NOW) -> Received:
    """Some message."""
    raw = b"message %d " % number * 100
    return Received("MON-7", str(number), sha256(raw).digest(), raw, at)


def raws(path: Path) -> dict[str, bytes]:
    """The bytes that an inbox holds, by message id."""
    db = sqlite3.connect(path)
    found = dict(db.execute("SELECT message_id, raw FROM messages"))
    db.close()
    return found


def test_a_full_inbox_takes_nothing_new_and_answers_what_it_knows(tmp_path: Path) -> None:
    """New and unlogged messages are refused without being kept; a logged one is answered with its block."""
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        first, second = inbox.store([message(1), message(2)], after=-1)
        inbox.mark_logged([first.id], 7)
        inbox.gate = lambda: "full"
        found = inbox.store([message(1), message(2), message(3)], after=7)
        assert [each.verdict for each in found] == [Verdict.LOGGED, Verdict.FULL, Verdict.FULL]
        assert found[0].block == 7
        inbox.gate = lambda: None
        again = inbox.store([message(2), message(3)], after=7)
        assert [each.verdict for each in again] == [Verdict.AGAIN, Verdict.NEW]
        assert again[0].id == second.id
    assert raws(tmp_path / "inbox.db")["3"] == message(3).raw


def test_raw_bytes_go_only_when_they_are_old_logged_and_confirmed(tmp_path: Path) -> None:
    """Everything else keeps its bytes, every message its row: a repetition is known all the same."""
    old = NOW - 10 * DAY
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        stored = inbox.store([message(number, old) for number in range(4)] + [message(4)], after=-1)
        for place in stored:
            inbox.mark_logged([place.id], place.id)  # blocks 1 to 5
        assert inbox.remove(received_before=NOW - 5 * DAY, confirmed=3, now=NOW) == 2
        assert inbox.remove(received_before=NOW - 5 * DAY, confirmed=3, now=NOW) == 0
        assert inbox.remove(received_before=NOW - 5 * DAY, confirmed=None, now=NOW) == 2
        (again,) = inbox.store([message(0)], after=9)
        assert (again.verdict, again.block) == (Verdict.LOGGED, 1)
        (other,) = inbox.store([Received("MON-7", "0", bytes(32), b"other", old)], after=9)
        assert other.verdict is Verdict.CONFLICT
    kept = raws(tmp_path / "inbox.db")
    assert {number for number, raw in kept.items() if raw} == {"4"}
    assert set(kept) == {"0", "1", "2", "3", "4"}


def test_refused_messages_and_those_of_a_wrong_clock_keep_their_bytes(tmp_path: Path) -> None:
    """They are passed over, and those behind them go; one that is not logged yet holds up those behind it."""
    old = NOW - 10 * DAY
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        messages = [message(0, old), message(1, NOW + 400 * DAY), message(2, old), message(3, old), message(4, old)]
        stored = inbox.store(messages, after=-1)
        inbox.mark_refused(stored[0].id, "no")
        for place in (stored[1], stored[2], stored[4]):
            inbox.mark_logged([place.id], 1)
        assert inbox.remove(received_before=NOW, confirmed=None, now=NOW) == 1
        inbox.mark_logged([stored[3].id], 1)
        assert inbox.remove(received_before=NOW, confirmed=None, now=NOW) == 2
    assert {number for number, raw in raws(tmp_path / "inbox.db").items() if raw} == {"0", "1"}


def test_removal_goes_on_where_it_was_and_gives_the_room_back(tmp_path: Path) -> None:
    """Thousands of messages go in bounded steps, over a restart too, and the file shrinks."""
    path = tmp_path / "inbox.db"
    with Inbox.open(path) as inbox:
        for start in range(0, 3000, 500):
            for place in inbox.store([message(start + number, NOW - 9 * DAY) for number in range(500)], after=-1):
                inbox.mark_logged([place.id], 0)
        before = inbox.used_bytes()
        assert inbox.remove(received_before=NOW, confirmed=None, now=NOW) == 500
    with Inbox.open(path) as inbox:
        removed = 500
        while count := inbox.remove(received_before=NOW, confirmed=None, now=NOW):
            assert count <= 500
            removed += count
        assert removed == 3000
        assert inbox.used_bytes() < before / 2
    assert path.stat().st_size < before / 2


def test_an_inbox_of_the_last_version_is_taken_over(tmp_path: Path) -> None:
    """Its messages stay; from then on it may give bytes up, too."""
    path = tmp_path / "inbox.db"
    db = sqlite3.connect(path)
    db.executescript(SCHEMA + "PRAGMA user_version = 1;")
    first = message(1, NOW - 9 * DAY)
    db.execute(
        "INSERT INTO messages (sender, message_id, sha256, raw, received, after, block) VALUES (?, ?, ?, ?, ?, -1, 3)",
        (first.sender, first.message_id, first.sha256, first.raw, first.at),
    )
    db.commit()
    db.close()
    with Inbox.open(path) as inbox:
        (found,) = inbox.store([first], after=9)
        assert (found.verdict, found.block) == (Verdict.LOGGED, 3)
        assert inbox.remove(received_before=NOW, confirmed=None, now=NOW) == 1


# --- a disk that is really full --------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place]).returncode != 0:
        pytest.skip("needs to mount a file system, which only root may")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def moved(box: Box, disk: Path, sections: str) -> Box:
    """The box on this disk."""
    for path in box.home.iterdir():
        shutil.copy(path, disk)
    box.home = disk
    box.config = disk / "agent.toml"
    box.config.write_text(box.config.read_text() + sections)
    return box


def fill(disk: Path, leave: int) -> Path:
    """Something else takes all of the disk but so many bytes."""
    found = os.statvfs(disk)
    other = disk / "something-else"
    with other.open("wb") as file:
        left = found.f_bavail * found.f_frsize - leave
        while left > 0:
            left -= file.write(bytes(min(left, MIB)))
    return other


def health(agent: Agent) -> tuple[int, dict[str, str]]:
    """Status, and what is wrong."""
    assert until(lambda: any(event["event"] == "metrics" for event in agent.log))
    port = next(event["port"] for event in agent.log if event["event"] == "metrics")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
            return answer.status, json.load(answer)["faults"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["faults"]


@pytest.mark.parametrize("leave", [3 * MIB, 0], ids=["at the reserve", "to the last byte"])
def test_a_full_disk_refuses_alarms_and_goes_on_by_itself(world: World, small_disk: Path, leave: int) -> None:
    """Refused with "full", still listening and unhealthy; what was acknowledged stays, and with room all goes on."""
    box = moved(world.box("counter", "pharmacy"), small_disk, "[spool]\nmin_free_bytes = 4194304\n")
    with box.start() as agent:
        till = agent.till()
        assert till.ask({"scan": scan(1), "id": "1"})["result"] == "dispensed"
        other = fill(small_disk, leave)
        for number in range(2, 6):
            reply = till.ask({"scan": scan(number), "id": str(number)})
            assert (reply["result"], "full" in reply["reason"]) == ("refused", True), reply
        assert till.ask({"scan": scan(1), "id": "1"})["repeated"] is True
        status, faults = health(agent)
        assert (status, "full" in faults["spool"]) == (503, True)
        other.unlink()
        for number in range(2, 6):
            assert till.ask({"scan": scan(number), "id": str(number)})["result"] == "dispensed"
        assert until(lambda: health(agent) == (200, {}))
        agent.stop()
    serials = [entry.content["serial"] for entry in box.entries("dispense")]
    assert serials == ["S1", "S2", "S3", "S4", "S5"]


def test_without_a_reserve_a_full_disk_loses_nothing_either(world: World, small_disk: Path) -> None:
    """Writes fail for want of space: each request is refused or logged or not known to be, and with room all goes on.

    Where it was a commit of the ledger that failed, the agent ends itself for that, and the next one goes on.
    """
    box = moved(world.box("counter", "pharmacy"), small_disk, "[spool]\nmin_free_bytes = 0\n")
    dispensed: list[str] = []
    unsure: set[str] = set()
    soon = {"WATCHDOG_USEC": "1000000"}
    with box.start(**soon) as agent:
        till = agent.till()
        other = fill(small_disk, 200_000)
        refused = 0
        last = None
        for number in range(400):
            last = till.ask_or_end({"scan": scan(number), "id": str(number)})
            if last is None:
                break  # a commit had failed, and there was room for what it proves the disk with
            if last["result"] == "dispensed":
                dispensed.append(f"S{number}")
            else:
                refused += 1
                unsure |= {f"S{number}"} if last["result"] == "unknown" else set()
        if last is not None:
            assert refused > 0
            assert until(lambda: any(event["event"] == "unhealthy" for event in agent.log))
            number = 999
        other.unlink()
        last = last and till.ask_or_end({"scan": scan(number), "id": str(number)})
        if last is None or last["result"] != "dispensed":
            assert agent.process.wait(60) == 3
            agent.kill()  # it has ended: its log is closed
    with box.start(**soon) as agent:
        again = agent.till().ask({"scan": scan(number), "id": str(number)})
        assert again["result"] == "dispensed"
        if last is not None and last["result"] != "unknown":
            assert again["repeated"] == (last["result"] == "dispensed")
        assert until(lambda: health(agent) == (200, {}))
        agent.stop()
    serials = [entry.content["serial"] for entry in box.entries("dispense")]
    assert [serial for serial in serials if serial not in unsure] == [*dispensed, f"S{number}"]
