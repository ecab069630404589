"""What the driver of an instrument does with the port, in the test's own process: the instrument is a simulated one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from serial import Serial, SerialException

from boxes import World
from devices_on_lines import device, measure, plugged
from medledger_agents.bedside.intake import wired
from medledger_agents.health import Health
from medledger_agents.inbox import Inbox
from medledger_agents.instruments import driving
from medledger_agents.instruments.config import Wiring
from medledger_agents.instruments.driving import Instruments
from medledger_agents.recorder import Answer, Delivery

SECONDS = 30


def is_free(port: Path) -> bool:
    """Whether another program could open it now."""
    try:
        Serial(str(port), exclusive=True).close()
    except SerialException:
        return False
    return True


def test_a_device_that_went_back_leaves_the_port_to_the_right_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, the port is free when that is told, and the device that is plugged in instead is read."""
    monkeypatch.setattr(driving, "PAUSE_SECONDS", 0.01)
    health, port = Health(), tmp_path / "port"
    free: list[bool] = []
    logged: list[str] = []

    def told() -> None:
        if any("a later one is known" in reason for reason in health.faults().values()):
            free.append(is_free(port))

    async def log(delivery: Delivery) -> Answer:
        logged.append(delivery.message.message_id)
        return Answer(1)

    async def story(inbox: Inbox) -> None:
        wiring = {"SIM-1": Wiring("signed", port, None, 115_200, {})}
        instruments = Instruments(wiring, world.hospital, inbox, submit=log, draft=wired, health=health)
        first, back, right = device(), device(counter=2, boot=b"boot-id2"), device(counter=5, boot=b"boot-id3")
        measure(first, 5)
        measure(right, 1)
        with plugged(first, port) as plug_in:
            instruments.start()
            while not first.idle:
                await asyncio.sleep(0.01)
            plug_in(back)
            while not free:
                await asyncio.sleep(0.01)
            plug_in(right)
            while not right.idle:
                await asyncio.sleep(0.01)
            await instruments.stop()

    health.watch(told)
    with Inbox.open(tmp_path / "inbox.db") as inbox:
        asyncio.run(asyncio.wait_for(story(inbox), SECONDS))
    assert all(free)
    assert logged == ["1", "2", "3", "4", "5", "6"]
    assert health.faults() == {}
