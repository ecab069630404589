"""EPCIS documents as delivery notes: which packs were sent, held against what is scanned in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxes import World
from medledger_agents.pharmacy.epcis import NoteError, gtin_of, read_note

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def document(*events: dict[str, Any]) -> bytes:
    """A document with these events."""
    return json.dumps({"type": "EPCISDocument", "epcisBody": {"eventList": list(events)}}).encode()


def shipped(*names: str, **more: Any) -> dict[str, Any]:
    """A shipping event of these instances."""
    return {"type": "ObjectEvent", "action": "OBSERVE", "bizStep": "shipping", "epcList": list(names), **more}


def test_real_documents_are_notes_or_refused(shared_data: Callable[[str], Path]) -> None:
    """GS1's and OpenEPCIS's own: each is a note with its packs, or no note; the packs of the standard's example."""
    folder = shared_data("07-gs1-epcis")
    notes = {}
    for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.jsonld")]):
        try:
            notes[path.name] = read_note(path.read_bytes())
        except NoteError:
            continue
    assert len(notes) == 11
    example = notes["Example_9.6.1-ObjectEvent.jsonld"]
    assert set(example.packs) == {("10614141073464", "2017"), ("10614141073464", "2018")}
    raw = (folder / "epcis" / "Example_9.6.1-ObjectEvent.jsonld").read_bytes()
    assert example.document == sha256(raw).digest()
    corrected = notes["Example_9.6.1-ObjectEvent-with-error-declaration.jsonld"]
    assert set(corrected.packs) == {("10614141073464", "2018")}  # the event with 2017 was declared an error


def test_both_forms_of_an_instance_are_one_pack() -> None:
    """A URN and a Digital Link of the same pack, with the lot and expiry of the event."""
    urn = shipped(
        "urn:epc:id:sgtin:0614141.107346.A%2F1",
        ilmd={"cbvmda:lotNumber": "L7", "cbvmda:itemExpirationDate": "2028-03-31T00:00:00Z"},
    )
    note = read_note(document(urn, shipped("urn:epc:id:sscc:0614141.1234567890")))
    (pack,) = note.packs.values()
    assert pack.expected() == {"product": "10614141073464", "serial": "A/1", "lot": "L7", "expiry": "2028-03-31"}
    assert note.others == 1
    link = read_note(document(shipped("https://id.gs1.org/01/10614141073464/21/A%2F1")))
    assert set(link.packs) == set(note.packs)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b"\xff",
        document(),
        document(shipped()),
        document(shipped("urn:epc:id:sgtin:061414.107346.1")),
        document(shipped("urn:epc:id:sgtin:0614141.107346." + "1" * 21)),
        document(shipped("https://id.gs1.org/01/10614141073465/21/1")),
        document({"bizStep": "shipping", "epcList": "x"}),
        document(
            shipped("urn:epc:id:sgtin:0614141.107346.1"),
            shipped("urn:epc:id:sgtin:0614141.107346.1", ilmd={"lotNumber": "L"}),
        ),
    ],
)
def test_what_is_no_note_is_refused(data: bytes) -> None:
    """Nothing is read into it."""
    with pytest.raises(NoteError):
        read_note(data)


@given(st.one_of(st.binary(max_size=100), JSON.map(lambda found: json.dumps(found).encode()), JSON.map(
    lambda found: document(shipped("urn:epc:id:sgtin:0614141.107346.1", ilmd=found))
)))  # fmt: skip
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    """No other error comes out."""
    try:
        assert read_note(data).packs
    except NoteError:
        return


def test_the_gtin_of_the_standard() -> None:
    """The example of the Tag Data Standard."""
    assert gtin_of("0614141", "712345") == "70614141123451"


def test_a_delivery_is_held_against_its_note(world: World, tmp_path: Path) -> None:
    """What is on the note is received; what is not goes into quarantine; what was not scanned is said."""
    (tmp_path / "note.json").write_bytes(
        document(shipped(*(f"urn:epc:id:sgtin:0614141.107346.{serial}" for serial in ("2017", "2018"))))
    )
    box = world.box("counter", "pharmacy")
    lines = [f"receive (01)10614141073464(17)280331(10)L1(21){serial}" for serial in ("2017", "666")]
    with box.start() as agent:
        command = [sys.executable, "-m", "medledger", "agent", "counter", "--to", f"127.0.0.1:{agent.port}"]
        done = subprocess.run(
            [*command, "--note", str(tmp_path / "note.json")],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            timeout=60,
        )
        agent.stop()
    first, second = [line for line in done.stdout.splitlines() if not line.startswith("  ")]
    assert "QUARANTINE" not in first
    assert "into QUARANTINE: serial is not the one on the note" in second
    assert done.stderr.strip() == "NOT SCANNED: 10614141073464, serial 2018"
    steps = [(entry.content["step"], entry.content["serial"]) for entry in box.entries("stock")]
    assert sorted(steps) == [("holding", "666"), ("receiving", "2017"), ("receiving", "666")]
    assert len(box.entries("stock")[0].content["document"]) == 32
