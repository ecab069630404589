"""A device on a wire that means the box ill: hellos without end, batches made to be taken for one another."""

from __future__ import annotations

import asyncio
import os
import select
import tty
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from devices import Instrument
from medledger import cbor
from medledger_agents.bedside.intake import wired
from medledger_agents.inbox import Inbox
from medledger_agents.inboxfile import COUNTED
from medledger_agents.instruments import driving
from medledger_agents.instruments.config import SIGNED, Wiring
from medledger_agents.recorder import Answer, Delivery, Recorder
from medledger_bridge.link.batch import FIELDS
from medledger_bridge.link.frames import Deframer, wrap
from medledger_bridge.link.messages import ACK, ASK, BATCH, HELLO, Hello
from worlds import found


def test_after_each_hello_others_have_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait on the line, the next is looked at when the pause has passed: here, never."""
    greeted: list[Hello] = []
    monkeypatch.setattr(driving, "BREATH_SECONDS", 3600)
    monkeypatch.setattr(driving.Instruments, "_greet", lambda _, __, ___, hello: greeted.append(hello))
    main, side = os.openpty()
    tty.setraw(side)
    said = Hello("PO-1", bytes(32), bytes(8), 1, 1, 0, "reference", "1.0")

    async def run() -> None:
        nothing: Any = None
        wiring = Wiring(SIGNED, Path(os.ttyname(side)), None, 115_200, {})
        with closing(found(tmp_path)) as ledger, Inbox.open(tmp_path / "inbox.db") as inbox:
            box = driving.Instruments({"PO-1": wiring}, ledger, inbox, submit=nothing, draft=wired)
            box.start()
            while not greeted:
                os.write(main, 4 * wrap(HELLO, 0, said.encode()))
                await asyncio.sleep(0.01)
            for _ in range(1000):
                await asyncio.sleep(0)
            await box.stop()

    try:
        asyncio.run(asyncio.wait_for(run(), 30))
    finally:
        os.close(main)
        os.close(side)
    assert greeted == [said]


def test_batches_whose_signatures_begin_alike_are_all_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds the key chooses the first half of a signature: three batches under one number are three all the same,
    and the box goes on with what comes behind them.
    """
    monkeypatch.setattr(driving, "BREATH_SECONDS", 0)
    oximeter = Instrument("PO-1")
    one = [oximeter.batch(rate, counter=1) for rate in (71, 72, 73)]
    contents = [{**each.to_content(), "signature": oximeter.signed_at_random(each, bytes(63) + b"\1")} for each in one]
    contents.append(oximeter.batch(74, counter=2).to_content())
    said = [
        wrap(BATCH, number, cbor.encode([1, 0, [each[name] for name in FIELDS]]))
        for number, each in enumerate(contents, 1)
    ]
    hello = wrap(HELLO, 0, Hello("PO-1", oximeter.key, bytes(8), 3, 1, 0, "reference", "1.0").encode())
    main, side = os.openpty()
    tty.setraw(side)
    heard = Deframer()

    async def run() -> list[int]:
        wiring = Wiring(SIGNED, Path(os.ttyname(side)), None, 115_200, {})
        with closing(found(tmp_path)) as ledger, Inbox.open(tmp_path / "inbox.db") as inbox:
            recorder = Recorder(ledger, inbox, lambda *_: (), max_entries=100)

            async def submit(delivery: Delivery) -> Answer:
                await asyncio.sleep(0)
                return recorder.record([delivery])[0]

            box = driving.Instruments({"PO-1": wiring}, ledger, inbox, submit=submit, draft=lambda taken: taken.records)
            box.start()
            kinds = {ASK}
            while ACK not in kinds:
                if select.select([main], [], [], 0)[0]:
                    kinds = {frame.kind for frame in heard.feed(os.read(main, 4096))}
                    os.write(main, hello if ASK in kinds else b"")
                await asyncio.sleep(0.01)
            os.write(main, b"".join(said))
            try:
                while inbox.highest_logged(f"{COUNTED}{oximeter.key.hex()}") < 2:
                    await asyncio.sleep(0.01)
            finally:
                await box.stop()
            return [entry.content["counter"] for entry in ledger.entries("device.batch")]

    try:
        logged = asyncio.run(asyncio.wait_for(run(), 30))
    finally:
        os.close(main)
        os.close(side)
    assert sorted(logged) == [1, 1, 1, 2]
