"""A counter whose register has to be made, which takes long on a large ledger: nobody waits for it, nobody is told
anything by half of a ledger, and a kill in the middle costs nothing of what was read.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from boxes import World
from counter_world import GTIN, Desk, scan
from medledger import Ledger
from medledger.records import Dispense, Recall, Stock
from medledger_agents.advice import on_fault
from medledger_agents.pharmacy import counter as counter_module
from medledger_agents.pharmacy.view import Budget, View
from waiting import until
from worlds import found, join, sync

PATIENCE = 10


def supplies(ledger: Ledger, many: int) -> None:
    """So many blocks with a supply each."""
    for number in range(many):
        ledger.append(Dispense(product=GTIN, quantity=1, unit="{pack}", serial=f"N{number}"))


@pytest.fixture
def slow(counter: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A counter behind which four times as much lies as a request waits for."""
    monkeypatch.setattr(counter_module, "PATIENCE", PATIENCE)
    supplies(counter.ledger, 4 * PATIENCE)
    return counter


def test_a_request_does_not_wait_for_a_whole_ledger(slow: Desk) -> None:
    """Each is refused, says how far it is, and is right once all is read: the serial number was supplied at the end."""
    last = scan(serial=f"N{4 * PATIENCE - 1}")
    for request in (
        {"do": "dispense", "scan": last},
        {"do": "stock"},
        {"do": "conflicts"},
        {"do": "verify", "scan": last},
    ):
        reply = slow.ask(**request)
        assert (reply["result"], reply["code"]) == ("refused", "not-ready")
        assert "% are read" in reply["reason"]
        assert reply["hint"]
    behind = slow.counter.behind
    assert behind is not None
    slow.ask("stock")
    assert slow.counter.behind == behind  # who asks again and again costs nothing
    while slow.counter.behind is not None:
        slow.counter.look(PATIENCE)
    assert slow.ask(scan=last)["code"] == "supplied-already"
    assert len(list(slow.ledger.entries("dispense"))) == 4 * PATIENCE


def test_a_request_that_is_sent_again_until_it_is_done(slow: Desk) -> None:
    """Under its id it is logged once, however often it was refused before."""
    replies = []
    for _ in range(60):
        replies.append(slow.ask(scan=scan(), id="1"))
        if slow.counter.behind is not None:
            slow.counter.look(1)
    results = [reply.get("code", reply["result"]) for reply in replies]
    ready = results.index("dispensed")
    assert ready > 0
    assert set(results[:ready]) == {"not-ready"}
    assert [reply["repeated"] for reply in replies[ready:]] == [False] + [True] * (59 - ready)
    assert sum(entry.content["serial"] == "S1" for entry in slow.ledger.entries("dispense")) == 1


def test_what_is_left_is_read_by_who_asks(slow: Desk) -> None:
    """So a counter is ready without anybody who reads in the background, and the last of it is not waited for."""
    slow.ask("stock")
    while slow.counter.behind is not None and slow.counter.behind.blocks - slow.counter.behind.read > PATIENCE:
        slow.counter.look(1)
    assert slow.ask("stock")["result"] == "stock"


def test_a_recall_of_what_was_supplied_for_years(founder: Ledger, slow: Desk) -> None:
    """It stops the very next pack. Which patients have one of those before is found bit by bit, and shown in parts."""
    while slow.counter.behind is not None or slow.ask("stock")["result"] == "refused":
        slow.counter.look(PATIENCE)
    founder.append(Recall(product=GTIN))
    sync(founder, slow.ledger)
    assert slow.ask(scan=scan())["code"] == "recalled"
    assert slow.ask("conflicts")["code"] == "not-ready"
    while slow.counter.behind is not None:
        slow.counter.look(PATIENCE)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(counter_module, "MAX_SHOWN", 3)
        shown = slow.ask("conflicts")
    assert (len(shown["conflicts"]), shown["more"]) == (3, 4 * PATIENCE - 3)
    assert slow.ask("stock")["conflicts"] == 4 * PATIENCE


KILLED = """
import os, signal, sys
from pathlib import Path
from medledger import Identity, Ledger
from medledger_agents.pharmacy import view as module
from medledger_agents.pharmacy.view import Budget, View

module.COMMIT_ENTRIES = 0
directory, left = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def enough(cost):
    global calls
    calls += 1
    if calls == left:
        os.kill(os.getpid(), signal.SIGKILL)
    return calls % 7 == 0  # the transactions before the last are committed

with Ledger.open(directory / "p.db", Identity.load(directory / "p.key")) as ledger:
    view = View(ledger, directory / "register.db")
    while True:
        view.catch_up(enough)
"""


def test_killed_while_the_register_is_made(tmp_path: Path, rng: random.Random) -> None:
    """kill -9 in the middle of a transaction, again and again: what was committed is not read again, no move of stock
    is counted twice, and the end is what it is without.
    """
    with found(tmp_path) as founder, join(founder, tmp_path, "p", "pharmacy") as mine:
        for number in range(60):
            mine.append(Stock(step="receiving", product=GTIN, quantity=2, unit="{tablet}"))
            mine.append(Dispense(product=GTIN, quantity=1, unit="{tablet}", serial=f"N{number}"))
        identity = mine.identity
    assert identity is not None
    read = []
    for _ in range(3):
        left = rng.randrange(15, 45)
        script = [sys.executable, "-c", KILLED, str(tmp_path), str(left)]
        ended = subprocess.run(script, capture_output=True, text=True, check=False)
        assert ended.returncode == -9, ended.stderr
        with Ledger.open(tmp_path / "p.db", identity) as mine:
            view = View(mine, tmp_path / "register.db")
            view.catch_up(Budget(1))
            assert view.behind is not None
            read.append(view.behind.read)
            view.close()
    assert read == sorted(set(read))  # each went on from where the one before it was
    with Ledger.open(tmp_path / "p.db", identity) as mine:
        view = View(mine, tmp_path / "register.db")
        view.catch_up()
        shelf = view.shelf(GTIN, "{tablet}")
        assert (shelf.received, shelf.supplied) == (120, 60)
        view.close()


def test_an_agent_says_that_it_reads(world: World) -> None:
    """Unwell until it is done, by the name of the register, with what to do about it; then it is well, and two tills at
    one counter, one of which hangs up before its reply, get one supply between them.
    """
    box = world.box("counter", "pharmacy", log={"level": "info"}, gossip={"offline": True})
    with box.ledger() as ledger:
        for at in range(4):
            packs = range(100 * at, 100 * at + 100)
            ledger.append(*(Dispense(product=GTIN, quantity=1, unit="{pack}", serial=f"N{n}") for n in packs))
    with box.start() as agent:
        told = [("unhealthy", "register"), ("healthy again", "register")]
        assert until(lambda: {(each["event"], each.get("what")) for each in agent.log} >= set(told))
        said = [(each["event"], each.get("what")) for each in agent.log]
        assert said.index(told[0]) < said.index(told[1])
        line = json.dumps({"scan": scan(), "id": "1"})
        hasty, patient = agent.till(), agent.till()
        hasty.socket.sendall(line.encode() + b"\n")
        hasty.close()
        replies = [patient.ask(line), agent.till().ask(line)]
        assert agent.till().ask(scan(serial="N399"))["code"] == "supplied-already"
        agent.stop()
    assert [reply["result"] for reply in replies] == ["dispensed"] * 2
    assert replies[0]["entry"] == replies[1]["entry"]
    assert sum(entry.content["serial"] == "S1" for entry in box.entries("dispense")) == 1
    assert "goes on by itself" in on_fault("register", "")
