"""A device on a serial port, for asyncio: the port's bytes to the events of `link.host`, opened again when it is lost.

    port = SerialDevice("/dev/ttyUSB0")
    async with aclosing(port.events()) as events:
        async for event in events:
            match event:
                case Hello():
                    port.accept(highest_durable_counter(event.key))   # or port.refuse()
                case SignedBatch() | UnfitBatch():
                    commit(event)                                      # the second as it came, with its hash
                    port.acknowledge(event.counter)                    # only now may the device forget it
                case Duplicate(batch, known=False):
                    commit_if_it_differs(batch)
                    port.acknowledge(batch.counter)
                case Missing() | Refused() | Plugged() | Unplugged():
                    log(event)

Rules:

- The generator runs for ever, and keeps the port until it is closed: `aclosing` does so, however the loop is left.
- A port that is not there, or goes away, is tried again after `FIRST_PAUSE` seconds, then twice as many, at most
  `LAST_PAUSE`, and after `FIRST_PAUSE` again once it has been there for `STEADY`; the first failure of each outage is
  an `Unplugged`, a success a `Plugged`.
- Nothing waits but for bytes: no thread, no polling. While the driver handles an event, nothing is read, and the kernel
  holds the device back.
- All methods are called from the loop's thread.
"""

from __future__ import annotations

import asyncio
import os
import select
import termios
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from .errors import ExtraMissingError
from .link.host import Counts, Event, Link
from .serial_stream import read_some

BAUD: Final = 115_200
FIRST_PAUSE: Final = 0.5
LAST_PAUSE: Final = 30.0
STEADY: Final = 60.0
"""Seconds after which a port that is lost has not merely come and gone, as with a bad adapter."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """The port is open; the device has been asked who it is."""

    path: str


@dataclass(frozen=True, slots=True)
class Unplugged:
    """The port cannot be opened, or was lost. It is tried again until it is there."""

    path: str
    reason: str


class SerialDevice:
    """One port, whatever device is plugged into it."""

    def __init__(self, path: str, *, baud: int = BAUD, link: Link | None = None) -> None:
        _serial()  # a missing library is the operator's to mend, at once and not at the first outage
        self.path = path
        self.link = link or Link()
        self.quiet = monotonic_ms()
        """When the line was last seen with nothing on it, no byte and no half frame: what came since was said since."""
        self._baud = baud
        self._port: Any = None
        self._unsent = b""

    @property
    def counts(self) -> Counts:
        """Figures of the line; `link.noise` has those of what was no frame."""
        return self.link.counts

    def accept(self, durable: int) -> None:
        """See `Link.accept`; the device is told at once."""
        try:
            self.link.accept(durable)
        finally:
            self._flush()

    def refuse(self) -> None:
        """See `Link.refuse`."""
        self.link.refuse()
        self._flush()

    def acknowledge(self, counter: int) -> None:
        """See `Link.acknowledge`: after the commit, never before."""
        self.link.acknowledge(counter)
        self._flush()

    async def events(self) -> AsyncGenerator[Event | Plugged | Unplugged, None]:
        """What happens on the line, until the generator is closed."""
        pause, down, since = FIRST_PAUSE, False, monotonic_ms()
        try:
            while True:
                try:
                    self._open()
                    down, since = False, monotonic_ms()
                    yield Plugged(self.path)
                    self.link.opened()
                    self._flush()
                    while True:
                        for event in self.link.feed(await self._read()):
                            yield event
                        self._flush()
                except (OSError, termios.error) as error:  # pyserial's own errors are of the first kind
                    if not down and monotonic_ms() - since >= STEADY * 1000:
                        pause = FIRST_PAUSE
                    if not down:
                        yield Unplugged(self.path, str(error))
                    down = True
                self._close()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE)
        finally:
            self._close()

    def _open(self) -> None:
        self.quiet = monotonic_ms()  # what waited before, opening the port drops
        self._port = _serial().Serial(self.path, self._baud, timeout=0, exclusive=True)

    async def _read(self) -> bytes:
        """What came, at least one byte."""
        descriptor = self._port.fileno()
        if self.link.between and not _waits(descriptor):
            self.quiet = monotonic_ms()
        data = await read_some(descriptor)
        if not data:
            raise OSError("the device was unplugged")
        return data

    def _flush(self) -> None:
        """Send what the link has to say, as far as the line takes it; the rest when it takes more.

        Not through pyserial, whose write without a timeout spins while the line takes nothing.
        """
        if self._port is None:
            return
        loop, descriptor = asyncio.get_running_loop(), self._port.fileno()
        self._unsent = self._unsent or self.link.outgoing()
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(descriptor, self._unsent) :] or self.link.outgoing()
            loop.remove_writer(descriptor)
        except BlockingIOError:
            loop.add_writer(descriptor, self._flush)
        except OSError:
            self._unsent = b""  # the reader meets the same, and says so
            loop.remove_writer(descriptor)

    def _close(self) -> None:
        self._unsent = b""
        if self._port is not None:
            asyncio.get_running_loop().remove_writer(self._port.fileno())
            with suppress(OSError):
                self._port.close()
        self._port = None


def monotonic_ms() -> int:
    """Milliseconds that only go forward."""
    return time.monotonic_ns() // 1_000_000


def _waits(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _serial() -> Any:
    try:
        import serial
    except ImportError as error:
        raise ExtraMissingError(
            "serial ports need the library pyserial", hint='Install it with: pip install "medledger[serial]"'
        ) from error
    return serial
