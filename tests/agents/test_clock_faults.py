"""Agents whose wall clock is wrong, stands still or jumps: time decides nothing but what is said about time.

The processes are real; libfaketime fakes their wall clock (faked_clocks.py). What is shown in each case: everything
acknowledged is logged once and arrives, timers go on, no silence is found that was none, and nobody is given another
person's reading.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boxes import Agent, Box, World, oru
from brokers import Broker
from counter_world import scan
from faked_clocks import WallClock
from medledger import Ledger
from medledger.associations import Margins, standing
from medledger.records import Reading
from medledger.transport import Gossip
from medledger_agents.bedside.ward import logged_associations
from medledger_agents.subjects import Subjects
from waiting import until
from ward_messages import WARD, adt, now

CLOCKS = {
    "1970": "@1970-01-01 00:00:10",
    "ten years ahead": "+10y",
    "ten years behind": "-10y",
    "frozen": "2026-11-22 20:00:00",
    "frozen in 1970": "1970-01-01 00:00:00",
}
BEFORE_RELEASE = ("1970", "ten years behind", "frozen in 1970")
THIS_YEAR = datetime.now(UTC).year
YEARS = {
    "1970": 1970,
    "ten years ahead": THIS_YEAR + 10,
    "ten years behind": THIS_YEAR - 10,
    "frozen": 2026,
    "frozen in 1970": 1970,
}
STEPS = ("+1h", "+0", "-1h", "+0", "+2h", "-2h")
SIGNALS = {"stale_seconds": 1, "lost_seconds": 2}
WATCHDOG_USEC = 400_000


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    """The clock of this test's agents."""
    return WallClock(tmp_path)


@pytest.fixture
def alive(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end of NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        yield manager


def feeds(manager: socket.socket, times: int) -> None:
    """Wait until the watchdog has been fed so many times from now on."""
    manager.setblocking(False)
    try:
        while True:
            manager.recv(4096)
    except BlockingIOError:
        manager.settimeout(60)
    while times:
        times -= manager.recv(4096) == b"WATCHDOG=1"


def start(box: Box, clock: WallClock, tmp_path: Path) -> Agent:
    """The agent under this clock, watched as a service manager would."""
    watched = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(WATCHDOG_USEC)}
    return box.start(**clock.environment, **watched)


def hashes(ledger: Ledger, box: Box) -> Counter[bytes]:
    """How often the hash of each message stands on a replica."""
    return Counter(entry.content["raw"] for entry in ledger.entries("reading", author=box.identity.public_key))


def findings(box: Box) -> list[dict[str, Any]]:
    """What an auditor's command finds in the box's replica."""
    done = subprocess.run(
        [sys.executable, "-m", "medledger", "audit", "findings", str(box.home / "ledger.db"), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def silences(box: Box) -> list[dict[str, Any]]:
    """Those findings that name a silence."""
    return [each for each in findings(box) if each.get("kind") == "silent"]


def states(agent: Agent) -> list[str]:
    """What the agent has said of its device."""
    return [each["state"] for each in agent.log if each["event"] == "device"]


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_wrong_clock_loses_nothing_and_stalls_nothing(
    world: World,
    broker: Broker,
    wall_clock: WallClock,
    tmp_path: Path,
    alive: socket.socket,
    clock: str,
) -> None:
    """Logged once, heard at the hospital; the batch window, the watch over devices and the watchdog go on."""
    wall_clock.set(CLOCKS[clock])
    box = world.box("bed-7", "bedside", gossip={"broker": broker.url}, batch={"window_seconds": 0.2}, signals=SIGNALS)
    messages = [oru(number) for number in range(20)]
    with start(box, wall_clock, tmp_path) as agent, Gossip(world.hospital, broker.url):
        monitor = agent.monitor()
        for message in messages[:10]:
            assert monitor.ask(message)[0] == "AA"
        assert until(lambda: "lost" in states(agent), 20), "no timer of the wall clock's"
        monitor.send(*messages[10:])
        assert [monitor.receive()[0] for _ in messages[10:]] == ["AA"] * 10
        assert monitor.ask(messages[3])[0] == "AA", "a repetition is known whatever the time"
        feeds(alive, 3)
        expected = Counter({box.named(message): 1 for message in messages})
        assert until(lambda: hashes(world.hospital, box) == expected, 60)
        faults = {each["what"] for each in agent.log if each["event"] == "unhealthy"}
        assert ("clock" in faults) is (clock in BEFORE_RELEASE)
        agent.stop()
    assert hashes(world.hospital, box) == expected
    years = {datetime.fromtimestamp(entry.time / 1000, UTC).year for entry in box.entries("reading")}
    assert years == {YEARS[clock]}, "the clock was what it should be"
    assert silences(box) == []


def test_a_clock_that_jumps_in_mid_stream(
    world: World,
    broker: Broker,
    wall_clock: WallClock,
    tmp_path: Path,
    alive: socket.socket,
) -> None:
    """One hour and two, forwards and backwards, with messages waiting for their window and none acknowledged yet."""
    section = {"window_seconds": 0.2}
    box = world.box("bed-7", "bedside", gossip={"broker": broker.url}, batch=section, signals=SIGNALS)
    sent: list[bytes] = []
    with start(box, wall_clock, tmp_path) as agent, Gossip(world.hospital, broker.url):
        monitor = agent.monitor()
        for step in STEPS:
            some = [oru(len(sent) + number) for number in range(8)]
            monitor.send(*some[:4])
            wall_clock.set(step)
            monitor.send(*some[4:])
            assert [monitor.receive()[0] for _ in some] == ["AA"] * 8
            sent += some
            feeds(alive, 1)
        assert "lost" not in states(agent), "no jump is a silence"
        assert until(lambda: "lost" in states(agent), 20)
        assert monitor.ask(oru("last"))[0] == "AA"
        sent.append(oru("last"))
        expected = Counter({box.named(message): 1 for message in sent})
        assert until(lambda: hashes(world.hospital, box) == expected, 60)
        agent.stop()
    assert silences(box) == []


def test_a_jump_while_the_agent_was_away_is_said_to_be_a_claim(
    world: World,
    wall_clock: WallClock,
) -> None:
    """Killed, and on again with its clock an hour ahead: only the two clocks' claims say how long that was."""
    box = world.box("bed-7", "bedside", gossip={"offline": True}, signals=SIGNALS)
    with box.start(**wall_clock.environment) as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        agent.kill()
    wall_clock.set("+1h")
    with box.start(**wall_clock.environment) as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        assert agent.monitor().ask(oru(2))[0] == "AA"
        agent.stop()
    assert all(each["facts"]["measured"] is False for each in silences(box))
    assert len(box.entries("reading")) == 2


# --- whose a reading is ----------------------------------------------------------------------------------------------


def test_no_jump_gives_a_reading_to_another_patient(
    world: World,
    wall_clock: WallClock,
    rng: random.Random,
) -> None:
    """Two patients take turns in one bed while the box's clock jumps at random. Each reading's value says whose it is:
    it is that patient's, or nobody's with a reason; and while the clock was right, no reading stays nobody's.
    """
    box = world.box("bed", "bedside", beds={**WARD, "delay_seconds": 2})
    patients = ("P-4711", "P-4712")
    truth: dict[bytes, str] = {}
    certain: set[bytes] = set()
    with box.start(**wall_clock.environment) as agent:
        monitor, ward = agent.monitor(), agent.monitor()
        here = None
        for turn in range(40):
            right = rng.random() < 0.3
            wall_clock.set("+0" if right else rng.choice(STEPS))
            if here is None or rng.random() < 0.4:
                if here is not None:
                    assert ward.ask(adt(f"out{turn}", "A03", patient=here))[0] == "AA"
                here = rng.choice(patients)
                assert ward.ask(adt(f"in{turn}", "A01", patient=here))[0] == "AA"
            synchronised = rng.choice([None, 532226])
            message = now(turn, patient="", value=str(60 + patients.index(here)), sync=synchronised)
            assert monitor.ask(message)[0] == "AA"
            truth[box.named(message)] = here
        wall_clock.set("+0")
        time.sleep(3)  # longer than a clock's bound and a delay: the last patient is who it is
        message = now("end", patient="", value=str(60 + patients.index(here or "")), sync=None)
        assert monitor.ask(message)[0] == "AA"
        truth[box.named(message)] = here or ""
        certain.add(box.named(message))
        agent.stop()
    check(box, truth, certain)


def check(box: Box, truth: dict[bytes, str], certain: set[bytes]) -> None:
    """Each reading is its patient's or nobody's, as it was logged and by all that is known in the end."""
    subjects = Subjects.open(box.home / "subjects.key", "month")
    # Pseudonyms change with the month, and a jump may cross its end.
    days = [datetime.now(UTC) + timedelta(days=days) for days in (-1, 0, 1)]
    names = {
        subjects.subject(patient, "WARD", round(day.timestamp() * 1000)): patient
        for patient in set(truth.values())
        for day in days
    }
    with box.ledger() as ledger:
        known = logged_associations(ledger)
    readings = box.entries("reading")
    assert {entry.content["raw"] for entry in readings} == truth.keys()
    for entry in readings:
        raw = entry.content["raw"]
        assert entry.subject is None or names[entry.subject] == truth[raw]
        assert (entry.subject is None) == ("quarantine" in entry.content)
        assert raw not in certain or entry.subject is not None
        reading = Reading.from_content(entry.content, subject=entry.subject, time=entry.time)
        whose, _ = standing(reading, known, Margins(delay=2_000))
        assert whose is None or names[whose] == truth[raw]


# --- a pharmacy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_pharmacys_clock_decides_over_expiry_alone(
    world: World,
    wall_clock: WallClock,
    clock: str,
) -> None:
    """A clock from before this software cannot judge whether a pack is good, and says so. Ten years ahead every pack
    has expired: none is supplied, and what comes in goes into quarantine.
    """
    wall_clock.set(CLOCKS[clock])
    box = world.box("counter", "pharmacy", gossip={"offline": True})
    requests = [
        {"do": "dispense", "scan": scan(), "id": "1"},
        {"do": "receive", "scan": scan(serial="S2"), "id": "2"},
    ]
    with box.start(**wall_clock.environment) as agent:
        till = agent.till()
        supplied, received = [till.ask(request) for request in requests]
        assert [each["result"] for each in map(till.ask, requests)] == [supplied["result"], received["result"]]
        agent.stop()
    if clock in BEFORE_RELEASE:
        assert [each["code"] for each in (supplied, received)] == ["clock", "clock"]
    else:
        assert supplied.get("code", "dispensed") == ("expired" if "ahead" in clock else "dispensed")
        assert received["result"] == "received"
    entries = [entry.content for kind in ("dispense", "stock") for entry in box.entries(kind)]
    dispositions = [each["disposition"] for each in entries if each.get("step") == "holding"]
    assert dispositions == (["expired"] if "ahead" in clock else []), entries


def test_a_till_is_answered_once_while_the_clock_jumps(world: World, wall_clock: WallClock) -> None:
    """Each request is supplied once, and a repetition is one, whatever the clock does in between."""
    box = world.box("counter", "pharmacy", gossip={"offline": True})
    with box.start(**wall_clock.environment) as agent:
        till = agent.till()
        for number, step in enumerate(STEPS):
            request = {"do": "dispense", "scan": scan(serial=f"K{number}"), "id": f"r{number}"}
            assert till.ask(request)["result"] == "dispensed"
            wall_clock.set(step)
            again = till.ask(request)
            assert (again["result"], again["repeated"]) == ("dispensed", True)
        agent.stop()
    assert Counter(entry.content["serial"] for entry in box.entries("dispense")) == {
        f"K{number}": 1 for number in range(len(STEPS))
    }
