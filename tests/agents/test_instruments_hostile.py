"""A device on a wire that says hello without end: the box has other things to do."""

from __future__ import annotations

import asyncio
import os
import tty
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from medledger_agents.bedside.intake import wired
from medledger_agents.inbox import Inbox
from medledger_agents.instruments import driving
from medledger_agents.instruments.config import SIGNED, Wiring
from medledger_bridge.link.frames import wrap
from medledger_bridge.link.messages import HELLO, Hello
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
