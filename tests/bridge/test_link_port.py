"""A device on a pseudo-terminal, driven through asyncio: heard, acknowledged, lost and found again."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from devices_on_lines import KEY, device, measure, plugged
from medledger_bridge import serial_port
from medledger_bridge.errors import ExtraMissingError
from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.messages import Hello
from medledger_bridge.serial_port import Plugged, SerialDevice, Unplugged
from medledger_bridge.serial_stream import PortError, stream

SECONDS = 30


def run(story: Callable[[], Any]) -> None:
    """Run a story, which must end."""

    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await story()

    asyncio.run(bounded())


async def heard(events: AsyncIterator[Any], kind: type, port: SerialDevice | None = None) -> Any:
    """The next event of a kind; on the way, every device is accepted that says hello."""
    async for event in events:
        if isinstance(event, Hello) and port is not None and not port.link.accepted:
            port.accept(0)
        if isinstance(event, kind):
            return event
    raise AssertionError("the events ended")


def test_a_device_is_heard_and_forgets_what_is_acknowledged(tmp_path: Path) -> None:
    """From the port's path to the device's empty ring."""
    instrument = device()
    measure(instrument, 20)

    async def story() -> None:
        port = SerialDevice(str(tmp_path / "port"))
        async with aclosing(port.events()) as events:
            assert await anext(events) == Plugged(str(tmp_path / "port"))
            assert (await heard(events, Hello, port)).key == KEY
            for counter in range(1, 21):
                batch = await heard(events, SignedBatch, port)
                assert batch.counter == counter
                port.acknowledge(counter)
            while not instrument.idle:
                await asyncio.sleep(0.01)
        assert port.counts.refused == 0

    with plugged(instrument, tmp_path / "port"):
        run(story)


def test_a_port_that_goes_away_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unplugged is said once for an outage; what was not acknowledged comes after it."""
    monkeypatch.setattr(serial_port, "FIRST_PAUSE", 0.01)
    instrument = device()
    measure(instrument, 3)

    async def story() -> None:
        port = SerialDevice(str(tmp_path / "port"))
        async with aclosing(port.events()) as events:
            missing = await anext(events)
            assert isinstance(missing, Unplugged)
            with plugged(instrument, tmp_path / "port"):
                assert isinstance(await anext(events), Plugged)
                for counter in (1, 2, 3):
                    assert (await heard(events, SignedBatch, port)).counter == counter
                port.acknowledge(2)
                while instrument.oldest < 3:
                    await asyncio.sleep(0.01)
            assert isinstance(await heard(events, Unplugged, port), Unplugged)
            again = device(counter=3, boot=b"boot-id2")
            measure(again, 1)
            with plugged(again, tmp_path / "port"):
                assert isinstance(await anext(events), Plugged)
                assert (await heard(events, SignedBatch, port)).counter == 4

    run(story)


def test_a_port_that_is_lost_while_it_is_opened_is_unplugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal's own error, which is no OSError, is the port's, for both kinds of device; it is tried again."""
    monkeypatch.setattr(serial_port, "FIRST_PAUSE", 0.01)
    flush = termios.tcflush

    def gone(*_: int) -> None:
        raise termios.error(5, "Input/output error")

    async def story() -> None:
        monkeypatch.setattr(termios, "tcflush", gone)
        async with aclosing(stream(str(tmp_path / "port"), 115_200)) as pieces:
            with pytest.raises(PortError, match="Input/output error"):
                await anext(pieces)
        async with aclosing(SerialDevice(str(tmp_path / "port")).events()) as events:
            lost = await anext(events)
            assert isinstance(lost, Unplugged)
            assert "Input/output error" in lost.reason
            monkeypatch.setattr(termios, "tcflush", flush)
            assert isinstance(await anext(events), Plugged)

    with plugged(device(), tmp_path / "port"):
        run(story)


def test_a_stream_gives_every_byte_however_slowly_it_is_taken(tmp_path: Path) -> None:
    """A device that only talks: no byte is lost, nothing ends while it is there, and its end is said."""
    main, side = os.openpty()
    (tmp_path / "port").symlink_to(os.ttyname(side))
    sent = [b"%d\n" % number for number in range(200)]

    async def story() -> None:
        taken = b""
        async with aclosing(stream(str(tmp_path / "port"), 115_200)) as pieces:
            for line in sent:  # each comes while it is waited for, and the port is open by then
                asyncio.get_running_loop().call_later(0.002, os.write, main, line)
                taken += await anext(pieces)
                await asyncio.sleep(0.001)  # what is done with it takes a while
            assert taken == b"".join(sent)
            os.close(side)
            os.close(main)
            with pytest.raises(PortError, match="unplugged"):
                await anext(pieces)

    run(story)


def test_an_adapter_that_comes_and_goes_is_tried_less_and_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has stayed for a while: what happens on it is told at that pace, and not each half second."""
    master, side = os.openpty()
    sleep, read, pauses = asyncio.sleep, os.read, list[float]()
    now = [0]

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    def unplugged(descriptor: int, size: int) -> bytes:
        read(descriptor, size)
        return b""

    async def story() -> None:
        port = SerialDevice(os.ttyname(side))
        async with aclosing(port.events()) as events:
            for stayed in (*[1] * 8, serial_port.STEADY, 1):
                assert isinstance(await anext(events), Plugged)
                now[0] += int(stayed * 1000)
                os.write(master, b"x")
                assert isinstance(await anext(events), Unplugged)
            assert isinstance(await anext(events), Plugged)

    monkeypatch.setattr(serial_port.asyncio, "sleep", pause)
    monkeypatch.setattr(serial_port.os, "read", unplugged)
    monkeypatch.setattr(serial_port, "monotonic_ms", lambda: now[0])
    run(story)
    monkeypatch.undo()
    os.close(master)
    os.close(side)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5, 1]


def test_a_port_serves_one_program(tmp_path: Path) -> None:
    """Two agents on one line would each hear half of it."""

    async def story() -> None:
        first, second = SerialDevice(str(tmp_path / "port")), SerialDevice(str(tmp_path / "port"))
        async with aclosing(first.events()) as events, aclosing(second.events()) as others:
            assert isinstance(await anext(events), Plugged)
            assert isinstance(await anext(others), Unplugged)

    with plugged(device(), tmp_path / "port"):
        run(story)


def test_a_line_that_takes_nothing_does_not_stop_the_host(tmp_path: Path) -> None:
    """Replies wait, bounded, while the device does not read; what it says is heard all the same."""
    master, side = os.openpty()

    async def story() -> None:
        port = SerialDevice(os.ttyname(side))
        instrument = device()
        measure(instrument, 1)
        async with aclosing(port.events()) as events:
            assert isinstance(await anext(events), Plugged)
            os.write(master, instrument.send(0))
            assert isinstance(await heard(events, Hello, port), Hello)
            for _ in range(5000):  # more than any line buffers
                port.acknowledge(0)
            os.write(master, instrument.send(0))
            assert isinstance(await heard(events, SignedBatch, port), SignedBatch)

    run(story)
    os.close(master)
    os.close(side)


def test_without_pyserial_the_port_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not at the first outage."""
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ExtraMissingError) as caught:
        SerialDevice("/dev/ttyS0")
    assert caught.value.hint is not None
    assert "medledger[serial]" in caught.value.hint
