"""What a till is told where the disk fails while its request is written: never that it is not logged where it may be;
and under its id it stands on the ledger once in the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from counter_world import GTIN, Desk, scan
from failing_syncs import FailingSyncs
from medledger import Identity, Ledger
from medledger.errors import StoreError
from medledger.records import Stock
from medledger_agents.inbox import Inbox
from medledger_agents.pharmacy.till import say
from medledger_agents.pharmacy.view import View
from worlds import found, join

TESTS = Path(__file__).resolve().parent.parent
ASKED = """
import json, os, sys
from pathlib import Path
from counter_world import Desk
from medledger import Identity, Ledger
from medledger_agents.inbox import Inbox

directory, flag = Path(sys.argv[1]), Path(sys.argv[2])
sound, failing = json.loads(sys.argv[3])
ledger = Ledger.open(directory / "p.db", Identity.load(directory / "p.key"))
desk = Desk(ledger, Inbox.open(directory / "inbox.db"))
replies = [desk.ask(**request) for request in sound]
flag.touch()
replies += [desk.ask(**request) for request in failing]
print(json.dumps(replies), flush=True)
os._exit(0)  # as a kill: nothing is closed
"""


def replies_of(
    files: str, failing: FailingSyncs, place: Path, sound: list[Any], asked: list[Any]
) -> list[dict[str, Any]]:
    """The replies of a counter in a process of its own, to requests while all is sound, and then while flushes fail."""
    environment = failing.of(files)
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    script = [sys.executable, "-c", ASKED, str(place), environment["FAIL_SYNCS_WHILE"], json.dumps([sound, asked])]
    ended = subprocess.run(
        script, env={**os.environ, **environment, "PYTHONPATH": path}, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    failing.end()
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


@contextmanager
def next_process(place: Path) -> Iterator[Desk]:
    """The counter, opened again on a disk that is well."""
    identity = Identity.load(place / "p.key")
    with Ledger.open(place / "p.db", identity) as ledger, Inbox.open(place / "inbox.db") as inbox:
        made = Desk(ledger, inbox)
        yield made
        made.counter.close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a pharmacy's ledger lies."""
    with found(tmp_path) as founder:
        join(founder, tmp_path, "p", "pharmacy").close()
    return tmp_path


def test_a_commit_that_failed(place: Path, failing_syncs: FailingSyncs) -> None:
    """The request whose flush failed is `unknown`, again and again; the next one cannot be begun, and is not logged. In
    the next process each is on the ledger once, under its id, and stock is right.
    """
    receipt = {"do": "receive", "scan": scan(serial=""), "quantity": "9"}
    first, second = {"scan": scan(serial="S1"), "id": "1"}, {"scan": scan(serial="S2"), "id": "2"}
    replies = replies_of("p.db", failing_syncs, place, [receipt], [first, first, second, first])
    assert replies[0]["result"] == "received"
    for reply in (replies[1], replies[2], replies[4]):
        assert (reply["result"], reply["id"]) == ("unknown", "1")
        assert "same id" in reply["hint"]
    assert (replies[3]["result"], replies[3]["code"]) == ("refused", "not-logged")
    with next_process(place) as counter:
        again = [counter.ask(**request) for request in (first, second, first)]
        assert [reply["result"] for reply in again] == ["dispensed"] * 3
        assert again[0]["entry"] == again[2]["entry"]
        assert [reply["repeated"] for reply in again[1:]] == [False, True]
        assert [entry.content.get("serial") for entry in counter.ledger.entries("dispense")] == ["S1", "S2"]
        (shelf,) = counter.ask("stock", product=GTIN)["shelves"]
        assert (shelf["received"], shelf["supplied"]) == ("9", "2")


def test_a_commit_that_failed_for_who_gave_no_id(place: Path, failing_syncs: FailingSyncs) -> None:
    """It cannot be asked for again: the till is told to look."""
    _, reply = replies_of("p.db", failing_syncs, place, [{"do": "stock"}], [{"scan": scan()}])
    assert reply["result"] == "unknown"
    assert reply["hint"].startswith("Look at stock")
    assert say(reply).startswith("UNKNOWN: whether it is logged is not known")


def test_an_inbox_that_takes_nothing(place: Path, failing_syncs: FailingSyncs) -> None:
    """Before the ledger is written nothing can be on it: it is refused, and logged once when it is sent again."""
    requests = [{"scan": scan(serial=serial), "id": serial} for serial in ("S0", "S1")]
    replies = replies_of("inbox.db", failing_syncs, place, requests[:1], requests[1:])
    assert [reply.get("code", reply["result"]) for reply in replies] == ["dispensed", "not-logged"]
    with next_process(place) as counter:
        assert counter.ask(**requests[1])["repeated"] is False
        assert [entry.content["serial"] for entry in counter.ledger.entries("dispense")] == ["S0", "S1"]


def test_a_repetition_while_nothing_can_be_looked_up(counter: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was logged is not said to be not logged because the register cannot be read just now; a request that never
    came before, or that logs nothing, is refused.
    """
    assert counter.ask(scan=scan(), id="1")["result"] == "dispensed"
    counter.ledger.append(Stock(step="receiving", product=GTIN, quantity=1, unit="{pack}"))

    def full(*_args: object, **_named: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(View, "catch_up", full)
        unsure = counter.ask(scan=scan(), id="1")
        others = [counter.ask(scan=scan(), id="2"), counter.ask("stock", id="1"), counter.ask(scan=scan())]
    assert (unsure["result"], unsure["reason"]) == ("unknown", "the disk is full")
    assert {(reply["result"], reply["code"]) for reply in others} == {("refused", "not-logged")}
    assert counter.ask(scan=scan(), id="1")["repeated"] is True
    assert len(list(counter.ledger.entries("dispense"))) == 1
