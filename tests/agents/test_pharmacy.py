"""The pharmacy agent: a scan is logged before the pack is handed over, and what must not be supplied is refused."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxes import Box, World
from medledger import Identity, Ledger
from medledger.clock import RELEASED
from medledger.merkle import leaf_hash
from medledger_agents.inbox import Inbox
from medledger_agents.pharmacy.config import DispensingSection, ScannerSection
from medledger_agents.pharmacy.counter import MAX_ENTRIES, Counter, interrupted
from medledger_agents.pharmacy.requests import OPERATIONS
from medledger_agents.pharmacy.scans import scan_reader
from medledger_agents.recorder import Recorder
from medledger_agents.subjects import Subjects

GS = "\x1d"
GTIN = "09520123456016"
ZONE = timezone(timedelta(hours=2))
NOON = datetime(2027, 3, 15, 12, tzinfo=ZONE)


def scan(*, gtin: str = GTIN, expiry: str | None = "280331", lot: str = "L1", serial: str = "S1") -> str:
    """A DataMatrix as a scanner sends it."""
    return f"]d201{gtin}{f'17{expiry}' if expiry else ''}10{lot}{GS}21{serial}"


@pytest.fixture
def box(world: World) -> Box:
    """An enrolled pharmacy."""
    return world.box("counter", "pharmacy")


# --- through real sockets --------------------------------------------------------------------------------------------


def test_a_pack_is_dispensed(box: Box) -> None:
    """The reply says what was logged and where; the entry carries pseudonyms and the request's hash."""
    request = {
        "scan": scan(),
        "quantity": "20",
        "unit": "{tablet}",
        "prescription": "RX-17",
        "subject": "P-4711",
        "id": "till-1",
    }
    with box.start() as agent:
        reply = agent.till().ask(request)
        agent.stop()
    (entry,) = box.entries("dispense")
    assert reply.pop("as_of")[:4] == str(datetime.now(UTC).year)  # the hospital's newest block
    assert reply.pop("entry") == leaf_hash(entry.entry.raw).hex()
    assert reply == {
        "result": "dispensed",
        "product": GTIN,
        "lot": "L1",
        "expiry": "2028-03-31",
        "serial": "S1",
        "quantity": "20",
        "unit": "{tablet}",
        "block": entry.seq,
        "repeated": False,
        "id": "till-1",
    }
    assert entry.content["quantity"] == [20, 0]
    assert entry.content["raw"] == box.named(json.dumps(request))
    # Whoever has the ledger can try all numbers: a bare hash of the request would tell which is right.
    assert entry.content["raw"] != sha256(json.dumps(request).encode()).digest()
    assert len(entry.subject) == len(entry.content["prescription"]) == 16
    for word in (b"P-4711", b"RX-17", b"till-1"):
        assert word not in box.stored_bytes()
        assert word not in agent.raw_log


def test_a_bare_scan_is_enough(box: Box) -> None:
    """What a scanner types, with or without a carriage return, dispenses one pack to nobody in particular."""
    with box.start() as agent:
        till = agent.till()
        replies = [till.ask(scan(serial=serial)) for serial in ("S1", "S2\r")]
        agent.stop()
    assert [(reply["result"], reply["quantity"], reply["unit"]) for reply in replies] == [
        ("dispensed", "1", "{pack}")
    ] * 2
    assert [entry.subject for entry in box.entries("dispense")] == [None, None]


def test_what_is_dispensed_survives_at_once(box: Box) -> None:
    """The moment the reply is read, the machine may go off."""
    with box.start() as agent:
        till = agent.till()
        replies = [till.ask(scan(serial=f"S{number}")) for number in range(5)]
        agent.kill()
    assert {reply["result"] for reply in replies} == {"dispensed"}
    assert {entry.content["serial"] for entry in box.entries("dispense")} == {f"S{number}" for number in range(5)}


def test_expired_stock_is_refused(box: Box) -> None:
    """Visibly, with the date and what to do; a reason does not help where the pharmacy has not allowed it."""
    with box.start() as agent:
        till = agent.till()
        reply = till.ask(scan(expiry="200131"))
        again = till.ask({"scan": scan(expiry="200131"), "override": "patient insists"})
        assert till.ask(scan())["result"] == "dispensed"
        agent.stop()
    assert reply["result"] == "refused"
    assert reply["code"] == again["code"] == "expired"
    assert "2020-01-31" in reply["reason"]
    assert len(box.entries("dispense")) == 1


def test_a_request_sent_again_is_logged_once(box: Box) -> None:
    """With an id, a lost reply costs nothing: also after a restart. The same id for something else is refused."""
    request = {"scan": scan(), "id": "till-1-17"}
    with box.start() as agent:
        first, again = agent.till().ask(request), agent.till().ask(request)
        agent.stop()
    with box.start() as agent:
        later = agent.till().ask(request)
        other = agent.till().ask({**request, "quantity": 2})
        agent.stop()
    assert [first["repeated"], again["repeated"], later["repeated"]] == [False, True, True]
    assert (other["result"], other["code"]) == ("refused", "conflict")
    (entry,) = box.entries("dispense")
    assert {reply["block"] for reply in (first, again, later)} == {entry.seq}


def test_two_tills_take_turns(box: Box) -> None:
    """Requests of several connections are each answered on their own, and all are logged."""
    with box.start() as agent:
        results: list[dict[str, Any]] = []

        def work(name: str) -> None:
            till = agent.till()
            results.extend(till.ask(scan(serial=f"{name}{number}")) for number in range(10))

        tills = [threading.Thread(target=work, args=(name,)) for name in "AB"]
        for till in tills:
            till.start()
        for till in tills:
            till.join()
        agent.stop()
    assert sorted(reply["block"] for reply in results) == [entry.seq for entry in box.entries("dispense")]
    assert len(results) == 20


def test_a_line_that_is_too_long_ends_its_connection(box: Box) -> None:
    """It is refused, and a new connection works."""
    with box.start() as agent:
        till = agent.till()
        assert till.ask("x" * 20_000)["code"] == "malformed"
        assert agent.till().ask(scan())["result"] == "dispensed"
        agent.stop()


def test_it_ends_cleanly_with_tills_connected(box: Box) -> None:
    """SIGTERM with an idle connection and half a line does not wait for them."""
    with box.start() as agent:
        idle, half = agent.till(), agent.till()
        assert idle.ask(scan())["result"] == "dispensed"
        half.socket.sendall(b'{"scan": ')
        time.sleep(0.2)
        agent.stop()
    with box.ledger() as ledger:
        ledger.fsck()


def test_a_box_that_is_not_enrolled_dispenses_nothing(world: World) -> None:
    """The reply is a refusal that says why."""
    with world.box("new", "pharmacy", enrolled=False).start() as agent:
        reply = agent.till().ask(scan())
        assert (reply["result"], reply["code"]) == ("refused", "not-logged")
        assert "not enrolled" in reply["reason"]
        agent.stop()


def test_an_interrupted_request_is_not_dispensed_afterwards(box: Box) -> None:
    """Kept and not answered before a crash: nobody was told to hand the pack over, so it is not logged on restart."""
    line = scan().encode()
    with box.start() as agent:
        agent.stop()
    db = sqlite3.connect(box.home / "inbox.db")
    with db:
        db.execute(
            "INSERT INTO messages (sender, message_id, sha256, raw, received, after)"
            " VALUES ('counter', 'x', ?, ?, 0, -1)",
            (box.named(scan()), line),
        )
    db.close()
    with box.start() as agent:
        agent.stop()
    assert box.entries("dispense") == []
    db = sqlite3.connect(box.home / "inbox.db")
    assert db.execute("SELECT refused FROM messages").fetchall() == [("interrupted before it was logged",)]
    db.close()


def test_real_barcodes_are_dispensed_or_refused(box: Box, shared_data: Callable[[str], Path]) -> None:
    """GS1's own cases, as scans: dates are judged as GS1 judges them, and the ledger holds what the replies say."""
    folder = shared_data("07-gs1-epcis/vectors")
    dates = [case for case in json.loads((folder / "gs1-linters.json").read_text()) if case["linter"] == "yymmd0"]
    others = [case["bracketed"] for case in json.loads((folder / "gs1-parse-bracketed-ai.json").read_text())]
    assert (len(dates), len(others)) == (61, 27)
    with box.start() as agent:
        till = agent.till()
        replies = [till.ask(f"]d201{GTIN}17{case['value']}") for case in dates]
        replies_to_others = [till.ask({"scan": each, "override": "test", "operator": "7"}) for each in others]
        agent.stop()
    for case, reply in zip(dates, replies, strict=True):
        assert (reply["result"] == "dispensed" or reply["code"] == "expired") == case["ok"], case
    dispensed = [reply["product"] for reply in (*replies, *replies_to_others) if reply["result"] == "dispensed"]
    assert dispensed
    assert sorted(entry.content["product"] for entry in box.entries("dispense")) == sorted(dispensed)


# --- the counter, with a clock of the test's -------------------------------------------------------------------------


@contextmanager
def counter(directory: Path, now: datetime = NOON, **settings: Any) -> Iterator[tuple[Counter, Ledger]]:
    """A counter at that time, on a ledger of its own."""
    founder = Identity.load_or_create(directory / "pharmacy.key")
    with (
        Ledger.create(directory / "ledger.db", founder, name="Test", roles=["pharmacy"]) as ledger,
        Inbox.open(directory / "inbox.db") as inbox,
    ):
        recorder = Recorder(ledger, inbox, interrupted, max_entries=MAX_ENTRIES)
        subjects = Subjects(b"s" * 32, "month")
        reading = scan_reader(ScannerSection())
        section = DispensingSection(**settings)
        made = Counter(ledger, inbox, section, recorder, subjects, read_scan=reading, clock=lambda: now)
        yield made, ledger
        made.close()


@pytest.mark.parametrize(
    ("expiry", "result"),
    [
        ("270314", "refused"),
        ("270315", "dispensed"),
        ("270300", "dispensed"),
        ("270200", "refused"),
        ("270316", "dispensed"),
    ],
    ids=["yesterday", "today", "this month", "last month", "tomorrow"],
)
def test_a_pack_is_good_through_its_last_day(tmp_path: Path, expiry: str, result: str) -> None:
    """By the calendar of the place; day 00 is the month's last."""
    with counter(tmp_path) as (desk, _):
        assert desk.handle(scan(expiry=expiry).encode())["result"] == result


def test_the_day_is_that_of_the_place(tmp_path: Path) -> None:
    """Shortly after midnight in the pharmacy, while it is still yesterday in Greenwich, yesterday's pack is expired."""
    with counter(tmp_path, datetime(2027, 3, 16, 0, 30, tzinfo=ZONE)) as (desk, _):
        assert desk.handle(scan(expiry="270315").encode())["code"] == "expired"


@pytest.mark.parametrize("year", [1970, 2000, 2025])
def test_a_clock_that_cannot_be_right_dispenses_nothing(tmp_path: Path, year: int) -> None:
    """Before the software existed: the reply says that it is the clock."""
    with counter(tmp_path, NOON.replace(year=year)) as (desk, ledger):
        reply = desk.handle(scan(expiry="990101").encode())
        assert (reply["result"], reply["code"]) == ("refused", "clock")
        assert f"{year}-03-15" in reply["reason"]
        assert list(ledger.entries("dispense")) == []


@pytest.mark.parametrize(("early", "code"), [(1, "clock"), (0, None)])
def test_a_clock_is_believed_from_one_time_on(tmp_path: Path, early: int, code: str | None) -> None:
    """From the millisecond on from which the findings believe it, too."""
    with counter(tmp_path, datetime.fromtimestamp((RELEASED - early) / 1000, UTC)) as (desk, _):
        assert desk.handle(scan().encode()).get("code") == code


def test_an_override_is_recorded_where_it_is_allowed(tmp_path: Path) -> None:
    """A pharmacy may allow expired stock with a reason, and the reason is on the ledger."""
    with counter(tmp_path, allow_expired=True) as (desk, ledger):
        assert desk.handle(scan(expiry="270101").encode())["code"] == "expired"
        request = {"scan": scan(expiry="270101"), "override": "no other stock, prescriber agreed", "operator": "7"}
        assert desk.handle(json.dumps(request).encode())["result"] == "dispensed"
        (entry,) = ledger.entries("dispense")
        assert entry.content["override"] == "no other stock, prescriber agreed"


def test_a_scan_without_expiry_needs_a_reason(tmp_path: Path) -> None:
    """What cannot be judged is not supplied unless somebody says why."""
    with counter(tmp_path) as (desk, _):
        assert desk.handle(scan(expiry=None).encode())["code"] == "no-expiry"
        request = {"scan": scan(expiry=None), "override": "read from the pack: 2028-01", "operator": "7"}
        assert desk.handle(json.dumps(request).encode())["result"] == "dispensed"


@pytest.mark.parametrize(
    ("line", "code", "named"),
    [
        (f"]d201{GTIN[:-1]}717280331".encode(), "scan", "check digit"),
        (f"]d201{GTIN}10LOT17280331".encode(), "scan", "may hold others"),
        (b"9520123456016", "scan", "may be a GTIN or elements"),
        (b"hello", "scan", "GS1"),
        (b"\xff\xfe", "malformed", "UTF-8"),
        (b'{"scan": "]d2"', "malformed", "JSON"),
        (b'{"scan": "x", "patient": "Erika"}', "malformed", "'patient'"),
        (b'{"scan": "x", "quantity": 1.5}', "malformed", "JSON"),
        (b'{"scan": "x", "quantity": true}', "malformed", "quantity"),
        (b'{"scan": 7}', "malformed", "scan"),
        (b'{"quantity": "1"}', "malformed", "no scan"),
        (b"{}", "malformed", "no scan"),
        (json.dumps({"scan": scan(), "quantity": "0"}).encode(), "malformed", "quantity"),
        (json.dumps({"scan": scan(), "quantity": "-1"}).encode(), "malformed", "quantity"),
        (json.dumps({"scan": scan(), "quantity": "many"}).encode(), "malformed", "not a decimal"),
        (json.dumps({"scan": scan(), "unit": "two words"}).encode(), "malformed", "unit"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, line: bytes, code: str, named: str) -> None:
    """Each fault has its code and its reason, and nothing is logged."""
    with counter(tmp_path) as (desk, ledger):
        reply = desk.handle(line)
        assert (reply["result"], reply["code"]) == ("refused", code)
        assert named in reply["reason"]
        assert list(ledger.entries("dispense")) == []


def test_any_line_is_answered(tmp_path: Path) -> None:
    """Whatever comes, the reply is one JSON object, and what it says was dispensed is what is on the ledger."""
    counts = {"dispensed": 0, "refused": 0}
    values = st.one_of(
        st.text(max_size=8), st.integers(-5, 5), st.booleans(), st.none(), st.lists(st.text(), max_size=2)
    )
    keys = {key for each in OPERATIONS.values() for key in (*each.needs, *each.may)}
    requests = st.dictionaries(st.sampled_from([*sorted(keys), "do", "other"]), values, max_size=4)
    lines = st.one_of(
        st.binary(max_size=60),
        requests.map(lambda request: json.dumps(request).encode()),
        requests.map(lambda request: json.dumps({**request, "scan": scan()}).encode()),
    )
    with counter(tmp_path) as (desk, ledger):

        @given(lines)
        def answer(line: bytes) -> None:
            reply = desk.handle(line)
            json.dumps(reply)
            if not reply.get("repeated"):
                counts[reply["result"]] += 1

        answer()
        assert len(list(ledger.entries("dispense"))) == counts["dispensed"]
        assert counts["refused"]
