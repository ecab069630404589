"""A device that signs what no entry can hold: nothing of it is lost, and nothing behind it waits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from boxes import World
from devices_on_lines import KEY, SEED, UNFIT, device, frames, measure, plugged, signed
from medledger import DeviceEnrol, cbor
from medledger.devices import SIGNED
from medledger.findings import find
from medledger.records import DeviceStatus, batch_message
from medledger_agents.bedside.intake import Intake
from medledger_agents.inbox import Inbox, Received
from medledger_agents.inboxfile import COUNTED
from medledger_agents.instruments import envelope
from medledger_agents.recorder import Delivery, Recorder
from medledger_agents.subjects import Subjects
from medledger_bridge.link.batch import FIELDS, UnfitBatch, decode
from medledger_bridge.link.frames import Deframer
from medledger_bridge.link.messages import BATCH
from waiting import until
from worlds import found, sync

SECONDS = 30
NAMED = [["8867-4", None, "/min", {"Zacharias Testperson\x1b[2J": 1}]]
OTHERS = [None, {"a": 1}, [[["x"]]] * 33, [["8867-4", [1, 300], "/min"]], [[1, 2, 3, 4, 5, 6]], [b"raw"]]
SENDER = f"{COUNTED}{KEY.hex()}"


def unfit() -> UnfitBatch:
    """The second batch of a device, as it came."""
    instrument = device(counter=1)
    instrument.measure(0, UNFIT)
    [body] = [frame.body for frame in Deframer().feed(b"".join(frames(instrument))) if frame.kind == BATCH]
    _, batch = decode(body)
    assert isinstance(batch, UnfitBatch)
    return batch


@pytest.mark.parametrize("samples", [NAMED, *OTHERS])
def test_nothing_that_the_device_wrote_is_said_of_it(samples: Any) -> None:
    """Neither on the ledger nor in the log, which are for everybody: the place, and what must stand there."""
    content = {**signed(1).content(), "readings": [[1, samples]]}
    message = batch_message(**{name: content[name] for name in SIGNED})
    content["signature"] = crypto_sign(message, crypto_sign_seed_keypair(SEED)[1])[:64]
    _, batch = decode(cbor.encode([1, 0, [content[name] for name in FIELDS]]))
    assert isinstance(batch, UnfitBatch)
    [status] = envelope.of_unfit(batch, 5).records
    assert isinstance(status, DeviceStatus)
    for said in (batch.problem, status.detail or ""):
        assert "content.readings[0][1]" in said
        assert said.isprintable()
        assert "Zach" not in said


def test_a_batch_that_no_entry_can_hold_is_kept_and_holds_up_none(world: World, tmp_path: Path) -> None:
    """Its bytes are with the box, their hash under its number is with everybody, and the device need not keep it."""
    world.hospital.append(DeviceEnrol(device="SIM-1", key=KEY))
    port, instrument = tmp_path / "port", device()
    for _ in range(2):
        measure(instrument, 1)
        instrument.measure(0, UNFIT)
    wiring = {"devices": {"SIM-1": {"driver": "signed", "port": str(port)}}}
    box = world.box("bed-7", "bedside", instruments=wiring, gossip={"offline": True})
    with plugged(instrument, port), box.start() as agent:
        assert until(lambda: instrument.idle, SECONDS)
        said = agent.wait_for("batch kept, and not read")
    assert (said["counter"], "must" in said["reason"]) == (2, True)
    with box.ledger() as ledger:
        sync(ledger, world.hospital)
    assert [each.content["counter"] for each in world.hospital.entries("device.batch")] == [1, 3]
    kept = [each.content for each in world.hospital.entries("device.status") if "counter" in each.content]
    assert [each["counter"] for each in kept] == [2, 4]
    assert {(each["key"], each["state"]) for each in kept} == {(KEY, "fault")}
    assert [each.kind for each in find(world.hospital)] == ["kept batches"]
    with closing(sqlite3.connect(box.home / "inbox.db")) as db:
        bytes_kept = [raw for (raw,) in db.execute("SELECT raw FROM messages ORDER BY id") if b"beats a minute" in raw]
    assert [sha256(raw).digest() for raw in bytes_kept] == [each["raw"] for each in kept]
    [again] = envelope.opened(bytes_kept[0], 7).records  # after a crash it comes to the same
    assert again.to_content() == kept[0]
    with Inbox.open(box.home / "inbox.db") as inbox:
        assert inbox.highest_logged(SENDER) == 4


@pytest.mark.parametrize("logged", [False, True], ids=["kept", "logged"])
def test_a_power_cut_before_the_acknowledgement_neither_loses_nor_doubles_it(tmp_path: Path, logged: bool) -> None:
    """The device says it again: it is on the ledger once, under the name that it had before."""
    taken = envelope.of_unfit(unfit(), 5)
    message = Received(SENDER, "2", sha256(taken.raw).digest(), taken.raw, 5)
    intake = Intake(Subjects(bytes(32), "month"))
    with closing(found(tmp_path)) as ledger:
        with Inbox.open(tmp_path / "inbox.db") as inbox:
            inbox.store([message], after=-1)
            if logged:
                ledger.append(*taken.records)
        with Inbox.open(tmp_path / "inbox.db") as inbox:
            recorder = Recorder(ledger, inbox, intake.read, max_entries=9)
            assert recorder.settle() == 1
            [answer] = recorder.record([Delivery(message, envelope.of_unfit(unfit(), 9).records)])
            assert (answer.refused, answer.repeated, inbox.highest_logged(SENDER)) == (None, True, 2)
        [entry] = ledger.entries("device.status")
        assert (entry.content["counter"], entry.content["raw"], entry.time) == (2, message.sha256, 5)


def test_the_bytes_that_nothing_else_has_stay(tmp_path: Path) -> None:
    """Whatever `keep_days` says: what a device signed stands in its entry, and what no entry can hold only here."""
    fit = envelope.of_batch(signed(1).to_record(), 5, None)
    both = [fit.raw, envelope.of_unfit(unfit(), 5).raw]
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        kept = [Received(SENDER, str(number), sha256(raw).digest(), raw, 5) for number, raw in enumerate(both, 1)]
        for place in inbox.store(kept, after=-1):
            inbox.mark_logged([place.id], 0)
        assert inbox.remove(received_before=9, confirmed=None, now=9) == 1
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as db:
        assert [raw for (raw,) in db.execute("SELECT raw FROM messages ORDER BY id")] == [b"", both[1]]
