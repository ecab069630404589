"""What the driver of an instrument does with the port, in the test's own process: the instrument is a simulated one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from serial import Serial, SerialException

from boxes import World
from devices_on_lines import KEY, device, measure, plugged
from medledger import DeviceRetire
from medledger_agents.bedside.intake import wired
from medledger_agents.health import Health
from medledger_agents.inbox import Inbox
from medledger_agents.instruments import driving
from medledger_agents.instruments.config import Wiring
from medledger_agents.instruments.driving import Instruments
from medledger_agents.recorder import Answer, Delivery

SECONDS = 30
TURN_MS = 3_600_000


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


def test_what_counts_of_a_retired_key_is_read_and_nothing_beyond(world: World, tmp_path: Path) -> None:
    """The device went on after its last counter: it keeps the rest, and the fault is shown from its hello on."""
    health, port = Health(), tmp_path / "port"
    world.hospital.append(DeviceRetire(key=KEY, last=3))
    logged: list[str] = []
    shown: list[dict[str, str]] = []

    async def log(delivery: Delivery) -> Answer:
        logged.append(delivery.message.message_id)
        shown.append(dict(health.faults()))
        return Answer(1)

    async def story(inbox: Inbox) -> None:
        wiring = {"SIM-1": Wiring("signed", port, None, 115_200, {})}
        instruments = Instruments(wiring, world.hospital, inbox, submit=log, draft=wired, health=health)
        first, again = device(), device(counter=9, boot=b"boot-id2")
        measure(first, 5)
        measure(again, 2)
        with plugged(first, port) as plug_in:
            instruments.start()
            while first.oldest != 4 or "refused" not in first.refusals:
                await asyncio.sleep(0.01)
            plug_in(again)
            while "refused" not in again.refusals:
                await asyncio.sleep(0.01)
            await instruments.stop()
        assert (first.oldest, again.oldest) == (4, 10)

    with Inbox.open(tmp_path / "inbox.db") as inbox:
        asyncio.run(asyncio.wait_for(story(inbox), SECONDS))
    assert logged == ["1", "2", "3"]
    assert health.faults() == {"instrument SIM-1": "its key was retired after batch 3"}
    assert all(each == health.faults() for each in shown)


def test_a_key_that_is_retired_while_its_device_is_read_is_refused_then(world: World, tmp_path: Path) -> None:
    """The retirement comes when two batches are logged: nothing behind its counter is, without a new hello."""
    health, port = Health(), tmp_path / "port"
    logged: list[str] = []

    async def log(delivery: Delivery) -> Answer:
        logged.append(delivery.message.message_id)
        if len(logged) == 2:
            world.hospital.append(DeviceRetire(key=KEY, last=3))
        return Answer(1)

    async def story(inbox: Inbox) -> None:
        wiring = {"SIM-1": Wiring("signed", port, None, 115_200, {})}
        instruments = Instruments(wiring, world.hospital, inbox, submit=log, draft=wired, health=health)
        instrument = device()
        measure(instrument, 5)
        with plugged(instrument, port):
            instruments.start()
            while "refused" not in instrument.refusals:
                await asyncio.sleep(0.01)
            await instruments.stop()
        assert instrument.oldest == 4

    with Inbox.open(tmp_path / "inbox.db") as inbox:
        asyncio.run(asyncio.wait_for(story(inbox), SECONDS))
    assert logged == ["1", "2", "3"]
    assert health.faults() == {"instrument SIM-1": "its key was retired after batch 3"}


def test_a_retired_key_of_which_nothing_that_counts_is_left_is_refused_at_once(world: World, tmp_path: Path) -> None:
    """Its device's memory holds later batches alone: they are refused, and its next hello, too."""
    health, port = Health(), tmp_path / "port"
    world.hospital.append(DeviceRetire(key=KEY, last=3))

    async def log(_: Delivery) -> Answer:
        raise AssertionError("nothing of it counts")

    async def story(inbox: Inbox) -> None:
        wiring = {"SIM-1": Wiring("signed", port, None, 115_200, {})}
        instruments = Instruments(wiring, world.hospital, inbox, submit=log, draft=wired, health=health)
        instrument, again = device(counter=7), device(counter=9, boot=b"boot-id2")
        measure(instrument, 2)
        with plugged(instrument, port) as plug_in:
            instruments.start()
            while "refused" not in instrument.refusals:
                await asyncio.sleep(0.01)
            plug_in(again)
            while "refused" not in again.refusals:
                await asyncio.sleep(0.01)
            await instruments.stop()

    with Inbox.open(tmp_path / "inbox.db") as inbox:
        asyncio.run(asyncio.wait_for(story(inbox), SECONDS))
    assert health.faults() == {"instrument SIM-1": "its key was retired after batch 3"}


def test_a_device_that_two_boxes_take_turns_with_is_logged_whole(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Carried from bed to bed and back: each batch is with one of them, and nobody is at fault."""
    monkeypatch.setattr(driving, "BREATH_SECONDS", 0)
    port, instrument = tmp_path / "port", device()
    logged: dict[str, list[int]] = {"bed-7": [], "bed-8": []}
    healths = {name: Health() for name in logged}

    def log(name: str) -> Callable[[Delivery], Awaitable[Answer]]:
        async def submit(delivery: Delivery) -> Answer:
            logged[name].append(int(delivery.message.message_id))
            return Answer(1)

        return submit

    async def story(inboxes: dict[str, Inbox]) -> None:
        wiring = {"SIM-1": Wiring("signed", port, None, 115_200, {})}
        boxes = {
            name: Instruments(wiring, world.hospital, inbox, submit=log(name), draft=wired, health=healths[name])
            for name, inbox in inboxes.items()
        }
        for turn, name in enumerate(["bed-7", "bed-8", "bed-7"]):
            measure(instrument, 3, turn * TURN_MS)
            with plugged(instrument, port, uptime=turn * TURN_MS):
                boxes[name].start()
                while not instrument.idle:
                    await asyncio.sleep(0.01)
                await boxes[name].stop()

    with Inbox.open(tmp_path / "7.db") as seven, Inbox.open(tmp_path / "8.db") as eight:
        asyncio.run(asyncio.wait_for(story({"bed-7": seven, "bed-8": eight}), SECONDS))
    assert logged == {"bed-7": [1, 2, 3, 7, 8, 9], "bed-8": [4, 5, 6]}
    assert [health.faults() for health in healths.values()] == [{}, {}]
