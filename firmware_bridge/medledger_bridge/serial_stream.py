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
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    try:
        port = serial.Serial(path, baud, timeout=0, exclusive=True)
    except (OSError, termios.error) as error:  # pyserial's own errors are of the first kind
        raise PortError(f"the port {path} cannot be opened: {error}", hint="Is the device plugged in there?") from error
    descriptor = port.fileno()
    try:
        loop.add_reader(descriptor, arrived.set)
        while True:
            await arrived.wait()
            arrived.clear()
            with suppress(BlockingIOError):
                data = os.read(descriptor, READ_BYTES)
                if not data:
                    raise PortError(f"the device on {path} was unplugged")
                yield data
    except OSError as error:
        raise PortError(f"the device on {path} was unplugged: {error}") from error
    finally:
        loop.remove_reader(descriptor)
        with suppress(OSError):
            port.close()
