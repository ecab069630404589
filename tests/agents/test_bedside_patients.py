"""What the bedside agent does with patients' data: pseudonyms on the ledger, raw messages in the inbox, no more."""

from __future__ import annotations

import sqlite3
import stat
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from boxes import IDENTIFIERS, World, oru
from medledger_bridge.hl7 import parse, readings


def test_no_identifier_reaches_the_ledger_or_the_log(world: World) -> None:
    """Names, numbers, dates and addresses are in the inbox, and in no byte of the ledger's files or of the log."""
    box = world.box("bed", "bedside")
    with box.start() as agent:
        monitor = agent.monitor()
        for number in range(20):
            monitor.ask(oru(number))
        monitor.ask(oru(3, value="99"))
        monitor.ask(oru(21).replace(b"ORU^R01", b"ADT^A01"))
        while_open = box.stored_bytes()
        agent.stop()
    assert agent.raw_log
    for identifier in IDENTIFIERS:
        assert identifier not in while_open
        assert identifier not in box.stored_bytes()
        assert identifier not in agent.raw_log
        assert identifier in b"".join(path.read_bytes() for path in box.home.glob("inbox.db*"))


def test_a_patient_has_one_pseudonym(world: World) -> None:
    """The same number gives the same subject, another another, none gives null; the secret is the box's own."""
    box = world.box("bed", "bedside", subjects={"period": "year"})
    with box.start() as agent:
        monitor = agent.monitor()
        for number, patient in enumerate(("A-1", "A-1", "B-2", "")):
            assert monitor.ask(oru(number, patient=patient))[0] == "AA"
        agent.stop()
    first, second, other, nobody = [entry.subject for entry in sorted(box.entries("reading"), key=lambda e: e.seq)]
    assert first == second != other
    assert len(first) == 16
    assert nobody is None
    assert stat.S_IMODE((box.home / "subjects.key").stat().st_mode) == 0o600


def test_two_patients_in_a_message_are_nobody(world: World) -> None:
    """A message that names two patients cannot be given to one of them."""
    box = world.box("bed", "bedside")
    message = oru(1).replace(b"OBR|", b"PID|||OTHER-2^^^WARD^MR\rOBR|")
    with box.start() as agent:
        assert agent.monitor().ask(message)[0] == "AA"
        agent.stop()
    assert [entry.subject for entry in box.entries("reading")] == [None]


def test_the_raw_message_stays_in_the_inbox(world: World) -> None:
    """Byte for byte, with the salt by which the ledger names it and the block that holds its readings, in a file that
    only its owner can read. Its name cannot be found by trying all patients' numbers.
    """
    box = world.box("bed", "bedside")
    with box.start() as agent:
        agent.monitor().ask(oru(1))
        agent.stop()
    path = box.home / "inbox.db"
    db = sqlite3.connect(path)
    rows = db.execute("SELECT raw, sha256, sender, message_id, block, refused FROM messages").fetchall()
    ((salt,),) = db.execute("SELECT salt FROM messages").fetchall()
    db.close()
    (entry,) = box.entries("reading")
    assert rows == [(oru(1), entry.content["raw"], "MON-7|WARD3", "1", entry.seq, None)]
    assert len(salt) == 16
    assert sha256(salt + oru(1)).digest() == entry.content["raw"] != sha256(oru(1)).digest()
    assert sha256(oru(1)).digest() not in box.stored_bytes()
    assert salt not in box.stored_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_real_messages_go_through_unchanged(world: World, shared_data: Callable[[str], Path]) -> None:
    """Each recorded message gets the answer that its content calls for; each one accepted is on the ledger, whole."""
    paths = sorted(path for path in shared_data("05-hl7v2").rglob("*.hl7*"))
    assert len(paths) > 60
    box = world.box("bed", "bedside")
    expected: Counter[bytes] = Counter()
    codes: Counter[str] = Counter()
    known: dict[tuple[str, str], bytes] = {}
    with box.start() as agent:
        for path in paths:
            raw = path.read_bytes()
            message = parse(raw)
            found = readings(message) if message.type == "ORU" else []
            first = known.setdefault(message.duplicate_key, raw) if found else raw
            monitor = agent.monitor()  # samples of one publisher share ids, some share bytes
            code, number, _ = monitor.ask(raw)
            monitor.close()
            codes[code] += 1
            assert code == ("AR" if message.type != "ORU" else "AA" if found and first == raw else "AE"), path
            assert number == message.message_id
            if code == "AA":
                expected[box.named(raw)] = len(found)
        agent.stop()
    assert Counter(entry.content["raw"] for entry in box.entries("reading")) == expected
    assert codes["AA"] >= 15
    people = {
        text.encode()
        for path in paths
        for message in [parse(path.read_bytes())]
        for segment in message.segments
        if message.part(segment, 0) == "PID"
        for field in (3, 5)
        for text in message.leaves(segment, field, 1)
        if len(text) > 4
    }
    assert len(people) > 20
    assert [word for word in people if word in box.stored_bytes() or word in agent.raw_log] == []
