"""The till for people, and the witness' command, against a real agent: what is typed, what is seen."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from boxes import Agent, Box, World
from counter_world import GTIN
from medledger import Identity, make_request
from medledger.errors import UsageError
from medledger.records import Stock
from medledger_agents.pharmacy.requests import OPERATIONS
from medledger_agents.pharmacy.statement import read_statement
from medledger_agents.pharmacy.till import parse, say

PACK = f"(01){GTIN}(17)280331(10)L1(21)S1"


def run(agent: Agent, *words: str, typed: str = "") -> tuple[int, str, str]:
    """`medledger agent ...` in a process of its own: exit code, output, errors."""
    command = [sys.executable, "-m", "medledger", "agent", words[0], "--to", f"127.0.0.1:{agent.port}", *words[1:]]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def box(world: World) -> Box:
    """An enrolled pharmacy."""
    return world.box("counter", "pharmacy")


def test_the_stock_of_a_large_pharmacy_is_shown(box: Box) -> None:
    """8,000 products are one reply of more than a megabyte."""
    bodies = (f"{number:013d}" for number in range(8_000))
    gtins = [f"{body}{-(sum(map(int, body[1::2])) + 3 * sum(map(int, body[::2]))) % 10}" for body in bodies]
    with box.ledger() as ledger:
        for at in range(0, len(gtins), 200):
            part = gtins[at : at + 200]
            ledger.append(*(Stock(step="receiving", product=gtin, quantity=1, unit="{pack}") for gtin in part))
    with box.start() as agent:
        code, out, _ = run(agent, "counter", "stock")
        agent.stop()
    assert code == 0
    assert sum(line.endswith("1 {pack} to supply, 0 held") for line in out.splitlines()) == len(gtins)


def test_a_day_at_the_till(box: Box) -> None:
    """Lines in, sentences out; a refusal is the exit code, too."""
    lines = [
        f"receive {PACK}",
        f"verify {PACK}",
        PACK,
        PACK,
        f"undo {PACK} reason='wrong strength'",
        "stock",
        "nonsense=1",
    ]
    with box.start() as agent:
        code, out, _ = run(agent, "counter", typed="\n".join(lines))
        assert code == 1
        told = [line for line in out.splitlines() if not line.startswith("  ")]
        assert told[0].startswith(f"RECEIVED: 1 {{pack}}, {GTIN}, lot L1, serial S1, expiry 2028-03-31 (block ")
        assert told[1].startswith("Can be supplied: 1 {pack}")
        assert told[2].startswith("DISPENSED: 1 {pack}")
        assert told[3].startswith("REFUSED (supplied-already): serial S1")
        assert told[4].startswith("UNDONE: 1 {pack}")
        assert told[5] == f"{GTIN}: 1 {{pack}} to supply, 0 held"
        assert told[6].startswith("REFUSED (scan)")
        code, out, _ = run(agent, "counter", "--json", "conflicts")
        assert (code, json.loads(out)["conflicts"]) == (0, [])
        agent.stop()
    assert box.entries("dispense.return")[0].content["reason"] == "wrong strength"


def test_what_there_is_can_be_asked_for(box: Box) -> None:
    """`help` names each operation and what it takes, and sends nothing; blank lines are passed over."""
    with box.start() as agent:
        code, out, err = run(agent, "counter", typed=f"help\n\n?\nverify {PACK}\n")
        agent.stop()
    assert code == 0
    assert out.splitlines()[0].startswith("Can be supplied")
    assert err.count("Destroy it. Of a controlled drug this takes a witness.") == 2
    for name, operation in OPERATIONS.items():
        assert name == "witness" or f" {name} " in err or f" {name}\n" in err
        assert all(f"[{key}=]" in err for key in operation.may if key != "id")


def test_something_else_answers_there() -> None:
    """A line that is no reply of a pharmacy agent is said to be none."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b'["hello"]\n')

        answering = threading.Thread(target=answer)
        answering.start()
        command = [
            sys.executable,
            "-m",
            "medledger",
            "agent",
            "counter",
            "--to",
            f"127.0.0.1:{server.getsockname()[1]}",
        ]
        done = subprocess.run([*command, "stock"], capture_output=True, text=True, timeout=60)
        answering.join()
    assert done.returncode != 0
    assert "no pharmacy agent" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"result": "balance", "known": False, "dispensed": "0", "unit": "", "supplies": 0}, "nothing was supplied"),
        ({"result": "balance", "known": False, "dispensed": "5", "unit": "mL", "supplies": 1}, "5 mL were supplied"),
        ({"result": "verified", "product": GTIN, "remaining": "5"}, "5 remain on the prescription"),
        ({"result": "witness-needed", "product": GTIN}, "nothing is logged before that"),
        ({"result": "conflicts", "conflicts": [], "as_of": None}, "Nobody else was heard yet"),
    ],
)
def test_what_a_person_reads(reply: dict[str, object], said: str) -> None:
    """Sentences, not fields."""
    assert said in say(reply)


def test_the_second_person_signs_what_they_read(world: World, box: Box, tmp_path: Path) -> None:
    """The counter shows what to run; the witness sees the sentence, signs with a key of their own, and it is logged."""
    colleague = Identity.load_or_create(tmp_path / "colleague.key")
    reply = make_request(colleague, secret=os.urandom(16), label="Colleague", roles=["witness"])
    world.hospital.enrol(reply)
    with box.ledger() as ledger:
        world.bring_up_to_date(ledger)
    with box.start() as agent:
        run(agent, "counter", f"receive {PACK} schedule=II")
        code, out, _ = run(agent, "counter", f"waste {PACK} reason=broken")
        assert (code, out.splitlines()[0][:21]) == (0, "A WITNESS HAS TO SIGN")
        asked = out.split("medledger agent witness ")[1].split()
        request_id, statement = asked[-2:]
        key = str(tmp_path / "colleague.key")
        code, out, _ = run(agent, "witness", "--key", key, request_id, statement)
        assert code != 0  # nobody said yes
        assert f"You witness: destroy 1 {{pack}} of {GTIN}, lot L1, serial S1" in out
        code, out, _ = run(agent, "witness", "--key", str(box.home / "box.key"), "--yes", request_id, statement)
        assert (code, "two people" in out) == (1, True)
        code, out, _ = run(agent, "witness", "--key", key, "--yes", request_id, statement)
        assert code == 0, out
        assert "WASTED" in out
        agent.stop()
    (wasted,) = [each for each in box.entries("stock") if each.content["step"] == "destroying"]
    assert wasted.content["witness"][0] == colleague.public_key


def test_a_recall_notice_is_taken_or_explained(box: Box, tmp_path: Path) -> None:
    """One entry for each product; what is ambiguous is said, and nothing is recalled."""
    fields = {"product-type": "Drugs", "product-description": "NDC 0024-0590-10", "code-info": "Lot A1"}
    (tmp_path / "good.json").write_text(json.dumps(fields))
    (tmp_path / "bad.json").write_text(json.dumps({**fields, "product-description": "NDC 00591-0369-01"}))
    with box.start() as agent:
        code, out, _ = run(agent, "counter", "--recall", str(tmp_path / "good.json"))
        assert (code, out.startswith("RECALLED: 00300240590102")) == (0, True)
        code, _, err = run(agent, "counter", "--recall", str(tmp_path / "bad.json"))
        assert code != 0
        assert "may be 00300591036915 or" in err
        assert "Traceback" not in err
        agent.stop()
    (entry,) = box.entries("recall")
    assert entry.content["lots"] == ["A1"]


def test_nobody_there_is_said(tmp_path: Path) -> None:
    """Without an agent at that port, one sentence and what to do."""
    command = [sys.executable, "-m", "medledger", "agent", "counter", "--to", "127.0.0.1:1", "stock"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "no pharmacy agent answers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "request_fields"),
    [
        ("]d201x<GS>21y", {"do": "dispense", "scan": "]d201x\x1d21y"}),
        ("waste ]d2x reason='a b' held=true", {"do": "waste", "scan": "]d2x", "reason": "a b", "held": True}),
        ("balance rx:00", {"do": "balance", "prescription": "rx:00"}),
        ("stock", {"do": "stock"}),
        (f"undo {'ab' * 32}", {"do": "undo", "supply": "ab" * 32}),
        ("recall 123 lots=A,B", {"do": "recall", "product": "123", "lots": ["A", "B"]}),
        ('{"do": "stock"}', {"do": "stock"}),
        ("stock product=1", {"do": "stock", "product": "1"}),
    ],
)
def test_what_is_typed_is_a_request(line: str, request_fields: dict[str, object]) -> None:
    """A scan, an operation with its keys, or JSON."""
    assert parse(line) == request_fields


@pytest.mark.parametrize("line", ["waste x reason", "waste x reason='a", "{", "[]"[:0] + "{]"])
def test_what_cannot_be_read_is_said(line: str) -> None:
    """One of our errors."""
    with pytest.raises(UsageError):
        parse(line)


@pytest.mark.parametrize("text", ["", "zz", "00", "80", "8778", (b"\x87" + b"\x00" * 7).hex()])
def test_only_statements_are_signed(text: str) -> None:
    """Nobody can get another signature out of a witness: a block, a request, or nothing at all."""
    with pytest.raises(UsageError):
        read_statement(text)
