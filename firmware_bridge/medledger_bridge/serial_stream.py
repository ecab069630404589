"""The bytes of a serial port, for asyncio: for devices that only ever talk. One that is answered: serial_port.py."""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from medledger.errors import Fault, MedledgerError

from .errors import ExtraMissingError

READ_BYTES: Final = 16 * 1024


class PortError(MedledgerError):
    """A serial port cannot be opened, or was lost."""

    fault = Fault.NOBODY


async def stream(path: str, baud: int) -> AsyncGenerator[bytes, None]:
    """What comes in, in pieces of any size, until the port is lost. Raises PortError, and ExtraMissingError at once."""
    try:
        import serial
    except ImportError as error:
        raise ExtraMissingError(
            "serial ports need the library pyserial", hint='Install it with: pip install "medledger[serial]"'
        ) from error
    try:
        port = serial.Serial(path, baud, timeout=0, exclusive=True)
    except (OSError, termios.error) as error:  # pyserial's own errors are of the first kind
        raise PortError(f"the port {path} cannot be opened: {error}", hint="Is the device plugged in there?") from error
    descriptor = port.fileno()
    try:
        while data := await read_some(descriptor):
            yield data
        raise PortError(f"the device on {path} was unplugged")
    except OSError as error:
        raise PortError(f"the device on {path} was unplugged: {error}") from error
    finally:
        with suppress(OSError):
            port.close()


async def read_some(descriptor: int) -> bytes:
    """What came, at least one byte; none when the line has hung up.

    pyserial lets a read end at once, so that no bytes may mean that there are none yet. It is therefore read exactly
    once for each time that the loop found something to read, and nobody listens in between: a call of the loop's that
    is left over from before would look like the end of the line.
    """
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, arrived.set)
    try:
        await arrived.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, READ_BYTES)
