"""Patients who come and go, through real sockets: ADT and readings to a process, and whose they are on its ledger."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxes import IDENTIFIERS, Box, World
from hl7_messages import recorded
from medledger.associations import Associations, Margins, standing
from medledger.errors import ConfigurationError
from medledger.records import Reading
from medledger_agents.bedside.adt import EVENTS, Location, movements
from medledger_agents.bedside.config import BedsideConfig
from medledger_agents.bedside.intake import Intake
from medledger_agents.bedside.moves import Beds, plan
from medledger_agents.bedside.patients import Patient
from medledger_agents.bedside.ward import Told, Unplaced, logged_associations
from medledger_agents.subjects import Subjects
from medledger_bridge.errors import Hl7Error
from medledger_bridge.hl7 import parse
from ward_messages import WARD, adt, now


def subjects_of(box: Box) -> dict[str, bytes]:
    """The pseudonyms of the tests' patients on this box."""
    found = Subjects.open(box.home / "subjects.key", "month")
    at = round(datetime.now(UTC).timestamp() * 1000)
    return {number: found.subject(number, "WARD", at) for number in ("P-4711", "P-4712")}


def whose(box: Box) -> list[Any]:
    """The subject or the reason of each reading, in the order of the feed."""
    return [
        each.subject or each.content["quarantine"]
        for each in sorted(box.entries("reading"), key=lambda e: (e.seq, e.index))
    ]


# --- the agent -------------------------------------------------------------------------------------------------------


def test_readings_follow_the_patients(world: World) -> None:
    """Admission, transfer and discharge decide; every message is acknowledged; nobody is named on the ledger."""
    box = world.box("bed", "bedside", beds=WARD)
    with box.start() as agent:
        monitor, ward = agent.monitor(), agent.monitor()
        assert monitor.ask(now(1))[0] == "AA"
        assert ward.ask(adt("a", "A01", at=-30)) == ("AA", "a", "")
        assert monitor.ask(now(2))[0] == "AA"
        assert ward.ask(adt("b", "A02", bed="ICU^1^B", prior="ICU^1^A", at=-20))[0] == "AA"
        assert monitor.ask(now(3))[0] == "AA"
        assert monitor.ask(now(4, sender="MON-8"))[0] == "AA"
        assert ward.ask(adt("c", "A03", bed="ICU^1^B", at=-10))[0] == "AA"
        assert monitor.ask(now(5, sender="MON-8"))[0] == "AA"
        assert monitor.ask(now(6, sender="MON-8", minutes=-15, sync=532226))[0] == "AA"
        agent.stop()
    anna = subjects_of(box)["P-4711"]
    assert whose(box) == ["unassociated", anna, "after-discharge", anna, "after-discharge", anna]
    for identifier in IDENTIFIERS:
        assert identifier not in box.stored_bytes()
        assert identifier not in agent.raw_log
    reasons = [entry.content["reason"] for entry in sorted(box.entries("association"), key=lambda e: (e.seq, e.index))]
    assert Counter(reasons) == {"admit": 1, "transfer": 2, "discharge": 1}
    assert all(len(entry.content["raw"]) == 32 for entry in box.entries("association"))


def test_a_reading_that_names_somebody_else_is_in_conflict(world: World) -> None:
    """PID-3 is a check: any of its numbers may agree, none may be missing where the message has several patients."""
    box = world.box("bed", "bedside", beds=WARD)
    with box.start() as agent:
        monitor = agent.monitor()
        assert monitor.ask(adt("a", "A01", at=-30))[0] == "AA"
        assert monitor.ask(now(1, patient="P-4712"))[0] == "AA"
        assert monitor.ask(now(2).replace(b"P-4711^^^WARD^MR", b"X-1^^^CLINIC^PI~P-4711"))[0] == "AA"
        assert monitor.ask(now(3, patient=""))[0] == "AA"
        assert monitor.ask(now(4).replace(b"OBR|", b"PID|||OTHER-2^^^WARD^MR\rOBR|"))[0] == "AA"
        agent.stop()
    anna = subjects_of(box)["P-4711"]
    assert whose(box) == ["conflict", anna, anna, "conflict"]


def test_associations_outlive_the_process(world: World) -> None:
    """After kill -9 the agent knows from its own ledger who is where."""
    box = world.box("bed", "bedside", beds=WARD)
    with box.start() as agent:
        assert agent.monitor().ask(adt("a", "A01", at=-30))[0] == "AA"
        agent.kill()
    with box.start() as agent:
        assert agent.monitor().ask(adt("a2", "A01", at=-30))[0] == "AA"
        assert agent.monitor().ask(now(1))[0] == "AA"
        agent.kill()
    anna = subjects_of(box)["P-4711"]
    assert whose(box) == [anna]
    assert len(box.entries("association")) == 1, "what is known is not said again"


@pytest.mark.parametrize(
    ("spoil", "code", "reason"),
    [
        ((b"EVN|", b"ZVN|"), "AE", "does not say when"),
        ((b"P-4711^^^WARD^MR", b""), "AE", "does not say who"),
        ((b"|ICU^1^A|", b"||"), "AE", "does not say where"),
        ((b"ADT^A01", b"ADT^A60"), "AR", "not an event"),
    ],
    ids=["when", "who", "where", "what"],
)
def test_what_cannot_be_used_is_kept_and_refused(
    world: World, spoil: tuple[bytes, bytes], code: str, reason: str
) -> None:
    """Refused by name; the bytes stay in the inbox with the reason; the id stays free for the right message."""
    import sqlite3

    box = world.box("bed", "bedside", beds=WARD)
    message = adt("a", "A01", at=-30)
    with box.start() as agent:
        monitor = agent.monitor()
        answer = monitor.ask(message.replace(*spoil))
        assert answer[:2] == (code, "a")
        assert reason in answer[2]
        assert monitor.ask(message)[0] == "AA"
        agent.stop()
    db = sqlite3.connect(box.home / "inbox.db")
    (raw, refused), (_, nothing) = db.execute("SELECT raw, refused FROM messages ORDER BY id").fetchall()
    db.close()
    assert raw == message.replace(*spoil)
    assert reason in refused
    assert nothing is None


def medledger(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "medledger", *arguments], capture_output=True, text=True, timeout=60, input=stdin
    )


def test_a_person_associates_and_assigns(world: World) -> None:
    """By hand, while the agent runs; what was in quarantine is somebody's by new entries, and stands as it was."""
    box = world.box("bed", "bedside", beds=WARD)
    config = ("--config", str(box.config))
    with box.start() as agent:
        assert stat.S_IMODE(os.stat(box.home / "bedside.sock").st_mode) == 0o600
        monitor = agent.monitor()
        assert monitor.ask(now(1, minutes=-30, sync=532226))[0] == "AA"
        done = medledger("agent", "associate", *config, "MON-7", "--patient", "P-4711")
        assert done.returncode == 0, done.stderr
        listed = medledger("agent", "quarantine", "list", *config)
        assert "unassociated" in listed.stdout, listed.stdout + listed.stderr
        assert "1 readings in quarantine" in listed.stdout
        first = listed.stdout.split()[1]
        assigned = ("agent", "quarantine", "assign", *config, "MON-7", "--from", first, "--until", first)
        done = medledger(*assigned, "--patient", "P-4712")
        assert done.returncode == 0, done.stderr
        assert "0 readings in quarantine" in medledger("agent", "quarantine", "list", *config).stdout
        assert medledger("agent", "associate", *config, "MON-7", "--nobody").returncode == 0
        network = b"MSH|^~\\&|medledger|by hand|||20260101||ZML^Z01|9|P|2.6\rPID|||P-4712^^^WARD^MR\rZML|MON-7\r"
        assert monitor.ask(network)[0] == "AR", "over the network nobody says anything by hand"
        agent.stop()
    assert not (box.home / "bedside.sock").exists()
    (entry,) = box.entries("reading")
    assert (entry.subject, entry.content["quarantine"]) == (None, "unassociated")
    reading = Reading.from_content(entry.content, subject=entry.subject, time=entry.time)
    with box.ledger() as ledger:
        known = logged_associations(ledger)
    assert standing(reading, known, Margins()) == (subjects_of(box)["P-4712"], None)
    assert "associated" in done.stdout or "assigned" in done.stdout
    assert medledger("agent", "associate", *config, "MON-7", "--nobody").returncode == 4, "no agent runs"


def test_a_late_discharge_takes_readings_back(world: World) -> None:
    """What was given to the old patient after the discharge, before it was known, is listed as nobody's."""
    box = world.box("bed", "bedside", beds=WARD)
    with box.start() as agent:
        monitor = agent.monitor()
        assert monitor.ask(adt("a", "A01", at=-60))[0] == "AA"
        assert monitor.ask(now(1, sync=532226))[0] == "AA"
        assert monitor.ask(adt("b", "A03", at=-30))[0] == "AA"
        listed = medledger("agent", "quarantine", "list", "--config", str(box.config))
        assert "after-discharge  (1 taken back)" in listed.stdout, listed.stdout + listed.stderr
        agent.stop()


# --- the messages ----------------------------------------------------------------------------------------------------


def read(*segments: str, zone: str | None = "Europe/Berlin") -> Any:
    """What a message says."""
    message = parse("\r".join(segments).encode())
    return movements(message, zone=None if zone is None else ZoneInfo(zone), issuer="HOSP")


MSH = "MSH|^~\\&|ADT|HOSP|||20260701120000||ADT^{}|1|P|2.5"
PID = "PID|||4711||Doe"
PV1 = "PV1||I|ICU^1^A^HOSP|||SURG^9"
UTC_TEN = 1_782_892_800_000  # 2026-07-01 08:00 UTC, 10:00 in Berlin


@pytest.mark.parametrize(
    ("event", "evn", "pv1", "expected"),
    [
        ("A01", "EVN||20260701100000", PV1, UTC_TEN),
        ("A01", "EVN||20260701100000+0200", PV1, UTC_TEN),
        ("A01", "EVN||20260701110000||||20260701100000", PV1, UTC_TEN),
        ("A01", "EVN||202607011000", PV1, UTC_TEN + 59_999),
        ("A03", "EVN||202607011000", PV1, UTC_TEN),
        ("A01", "EVN||20260701110000", PV1 + "|" * 38 + "20260701100000", UTC_TEN),
        ("A01", "EVN||||||20260701090000", PV1 + "|" * 38 + "20260701100000", UTC_TEN),
        ("A03", "EVN||||||20260701110000", PV1 + "|" * 39 + "20260701100000", UTC_TEN),
    ],
)
def test_when_something_happened(event: str, evn: str, pv1: str, expected: int) -> None:
    """EVN-6 before EVN-2, PV1-44 and PV1-45 with it; a beginning takes the later time and an end the earlier."""
    (found,) = read(MSH.format(event), evn, PID, pv1)
    assert (found.earliest if event == "A03" else found.at) == expected


def test_a_time_without_a_zone_is_no_time() -> None:
    """Unless the box has been told its zone."""
    with pytest.raises(Hl7Error, match="does not say when"):
        read(MSH.format("A01"), "EVN||20260701100000", PID, PV1, zone=None)


@pytest.mark.parametrize(("sent", "recorded"), [("20260701080000", "20260701070000"), ("", "20260701080000")])
def test_when_it_was_sent(sent: str, recorded: str) -> None:
    """MSH-7; else EVN-2, for it was recorded no later. What says neither is refused: it may be about a time to come."""
    text = f"{MSH.format('A01')}\rEVN||{{}}||||20260701090000\r{PID}\r{PV1}\r".replace("20260701120000", "{}")
    intake = Intake(Subjects(bytes(32), "year"), by_adt=True, zone=ZoneInfo("UTC"))
    taken = intake.take(text.format(sent, recorded).encode(), UTC_TEN)
    assert taken.delivery is not None
    (told,) = taken.delivery.records
    assert told.sent == UTC_TEN
    assert "does not say when it was sent" in intake.take(text.format("", "").encode(), UTC_TEN).reason


@pytest.mark.parametrize("event", EVENTS)
def test_who_and_where(event: str) -> None:
    """Each event's patient and places; a number without an issuer gets the configured one."""
    merge = ["MRG|4700^^^HOSP^MR"] if EVENTS[event] == "merge" else []
    second = ["PID|||4712||Roe", "PV1||I|SURG^9|||ICU^1^A"] if event == "A17" else []
    found = read(MSH.format(event), "EVN||20260701100000", PID, PV1, *merge, *second)
    here, before = Location("ICU", "1", "A"), Location("SURG", "9")
    assert found[0].patient == Patient("4711", "HOSP")
    if EVENTS[event] in ("discharge", "cancel admit"):
        assert (found[0].location, found[0].prior) == (None, here)
    else:
        assert (found[0].location, found[0].prior) == (here, before)
    assert found[0].merged == (Patient("4700", "HOSP") if merge else None)
    assert [each.patient.number for each in found[1:]] == (["4712"] if second else [])


def test_every_recorded_message_gives_readings_movements_or_a_reason(
    shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """Real messages through the unchanged path: nothing is invented, and what is refused is kept whole."""
    intake = Intake(Subjects(bytes(32), "month"), by_adt=True, zone=ZoneInfo("America/New_York"), issuer="HOSP")
    outcomes: Counter[str] = Counter()
    for name, raw in recorded(shared_data).items():
        taken = intake.take(raw, UTC_TEN)
        delivery = taken.delivery
        assert delivery is not None, name
        assert delivery.message.raw == raw
        message = parse(raw)
        if delivery.refused is not None:
            assert taken.code in ("AE", "AR"), name
            assert delivery.records == ()
            outcomes[f"{message.type} refused"] += 1
            continue
        for draft in delivery.records:
            if isinstance(draft, Told):
                for each in draft.movements:
                    assert each.patient.number in raw.decode(), name
                    assert each.location is None or each.location.ward in raw.decode()
            else:
                assert isinstance(draft, Unplaced), name
                assert draft.reading.raw == delivery.message.sha256 == intake.subjects.name(raw).hash
        outcomes[message.type] += 1
    assert outcomes["ORU"] >= 15
    assert outcomes["ADT"] >= 4
    assert sum(outcomes.values()) == len(recorded(shared_data)) > 60


FIELD = st.one_of(
    st.sampled_from(("", '""', "4711", "ICU^1^A", "A^^^B^MR~C", "00010101000000", "99991231235959", "20260701100000")),
    st.text(max_size=12),
)


@given(
    st.sampled_from([*EVENTS, "A60", ""]),
    st.lists(st.tuples(st.sampled_from(("EVN", "PID", "PV1", "MRG")), st.lists(FIELD, max_size=9)), max_size=6),
)
def test_whatever_a_ward_system_sends_has_an_answer(event: str, segments: list[tuple[str, list[str]]]) -> None:
    """Movements that can be planned, or a reason; never a fault of ours, never a reply that cannot be sent."""
    intake = Intake(Subjects(bytes(32), "month"), by_adt=True, zone=ZoneInfo("Pacific/Auckland"), issuer="HOSP")
    text = "\r".join(
        [f"MSH|^~\\&|ADT|H|||x||ADT^{event}|1|P|2.5", *("|".join((name, *fields)) for name, fields in segments)]
    )
    taken = intake.take(text.encode("utf-8", "replace"), UTC_TEN)
    assert taken.delivery is not None
    assert taken.acknowledgement(taken.code, taken.reason)
    known = Associations()
    for draft in taken.delivery.records:
        assert isinstance(draft, Told)
        for each in draft.movements:
            plan(
                each,
                known,
                Beds({"MON-7": Location("ICU", "1", "A")}),
                lambda who, _: bytes(15) + bytes([len(who.number) % 7]),
                UTC_TEN,
            )
    known.of("MON-7")


@pytest.mark.parametrize(
    "text",
    [
        '[beds]\nassociation = "adt"\ndevices = { "MON-7" = "" }\n',
        '[beds]\nassociation = "adt"\ndevices = { "" = "ICU" }\n',
        '[beds]\nassociation = "adt"\ndevices = { "MON-7" = 7 }\n',
        '[beds]\nassociation = "adt"\ndevices = { "MON-7" = "ICU\\u202e" }\n',
        '[beds]\nzone = "Berlin"\n',
        "[signals]\nstale_seconds = 300\n",
        '[mllp]\ntls_key_file = "a"\n[beds]\nzone = 1\n',
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, text: str) -> None:
    """By name, before anything is listened on."""
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        BedsideConfig.load(path)


def test_beds_need_adt(tmp_path: Path) -> None:
    """A table of beds that would count for nothing is refused."""
    path = tmp_path / "agent.toml"
    path.write_text('[beds]\ndevices = { "MON-7" = "ICU^1^A" }\n')
    with pytest.raises(ConfigurationError, match="association takes it from the messages"):
        BedsideConfig.load(path)
