"""Every recorded HL7 message through a real agent's socket, in both ways of telling whose a reading is.

Each is answered as docs/bedside.md says, kept byte for byte, and says nothing about its patient on the ledger.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from boxes import World
from hl7_messages import recorded

MOVEMENTS = ("A01", "A02", "A03", "A04", "A06", "A07", "A08", "A11", "A12", "A13", "A17", "A18", "A34", "A39", "A40")
"""The events of docs/bedside.md."""


def rows(raw: bytes, name: bytes) -> list[list[bytes]]:
    """The fields of a message's segments of that name, read in the plainest way there is."""
    separator = raw[3:4]
    return [line.split(separator) for line in re.split(rb"[\r\n]+", raw) if line.startswith(name + separator)]


def kind(raw: bytes) -> tuple[str, str]:
    """A message's type and event, as MSH-9 says."""
    msh = rows(raw, b"MSH")[0]
    parts = msh[8].decode().split(msh[1][:1].decode())
    return parts[0], parts[1] if len(parts) > 1 else ""


def places(messages: list[bytes]) -> dict[str, str]:
    """A device for each bed that the messages name."""
    found = {
        b"^".join([*row[3].split(b"^"), b"", b""][:3]).decode()
        for raw in messages
        for row in rows(raw, b"PV1")
        if len(row) > 3 and row[3].split(b"^")[0] and len(row[3]) < 60
    }
    return {f"DEV-{number}": place for number, place in enumerate(sorted(found))}


def named(messages: list[bytes]) -> set[bytes]:
    """Words and numbers of these messages' PID and NK1 that stand nowhere else in them."""

    def words(fields: list[bytes]) -> set[bytes]:
        return {word for field in fields for word in re.findall(rb"[\w\x80-\xff-]{5,}", field)}

    theirs, others = set[bytes](), set[bytes]()
    for raw in messages:
        for line in re.split(rb"[\r\n]+", raw):
            if line[:3] in (b"PID", b"NK1"):
                theirs |= words(line.split(line[3:4])[2:])
            else:
                others |= words([line])
    return theirs - others


@pytest.mark.parametrize("association", ["message", "adt"])
def test_every_recorded_message_is_answered_and_kept(
    world: World, shared_data: Callable[[str], Path], association: str
) -> None:
    """In one batch after the other on one connection, and each again on the next, where every answer is the same."""
    messages = list(dict.fromkeys(recorded(shared_data).values()))
    beds: dict[str, Any] = {"association": association, "zone": "America/New_York", "issuer": "HOSP"}
    if association == "adt":
        beds["devices"] = places(messages)
        assert len(beds["devices"]) > 5
    box = world.box("bed", "bedside", beds=beds, mllp={"max_message_bytes": 1024 * 1024}, log={"level": "info"})
    with box.start() as agent:
        monitor = agent.monitor()
        answers = [monitor.ask(raw) for raw in messages]
        again = agent.monitor()
        for raw, answer in zip(messages, answers, strict=True):
            assert again.ask(raw)[0] == answer[0]
        agent.stop()
    codes = Counter[str]()
    for raw, (code, number, reason) in zip(messages, answers, strict=True):
        type, event = kind(raw)
        codes[f"{type} {code}"] += 1
        assert number.encode() == rows(raw, b"MSH")[0][9]
        assert (code == "AA") == (reason == "")
        if type == "ORU":
            assert code in ("AA", "AE"), reason
        elif type == "ADT" and association == "adt" and event in MOVEMENTS:
            assert code in ("AA", "AE"), (event, reason)
        else:
            assert code == "AR", (type, event, reason)
    assert codes["ORU AA"] >= 15, codes
    assert (codes["ADT AA"] >= 4) is (association == "adt"), codes
    logged = Counter(entry.content["raw"] for entry in box.entries("reading"))
    observed = {
        box.named(raw)
        for raw, (code, *_) in zip(messages, answers, strict=True)
        if code == "AA" and kind(raw)[0] == "ORU"
    }
    assert logged.keys() == observed
    with closing(sqlite3.connect(box.home / "inbox.db")) as inbox:
        kept = Counter(raw for (raw,) in inbox.execute("SELECT raw FROM messages"))
    unkept = [raw for raw, (_, _, reason) in zip(messages, answers, strict=True) if "was used for another" in reason]
    assert kept == dict.fromkeys((raw for raw in messages if raw not in unkept), 1)
    identifying = named(messages)
    assert len(identifying) > 150
    stored = box.stored_bytes()
    assert [word for word in sorted(identifying) if word in stored] == []
    assert [word for word in sorted(identifying) if word in agent.raw_log] == []
