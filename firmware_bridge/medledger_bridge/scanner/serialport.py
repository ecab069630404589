"""The serial port of a scanner, through pyserial. What its bytes mean stands in `lines`."""

from __future__ import annotations

import termios
from typing import Final

from medledger.errors import UsageError

from ..errors import ExtraMissingError

DEFAULT_BAUD: Final = 9600


class SerialPort:
    """An open serial port, ours alone, 8 bits without parity. Raises `UsageError` where it cannot be had."""

    def __init__(self, path: str, *, baud: int = DEFAULT_BAUD) -> None:
        try:
            import serial
        except ImportError as error:
            raise ExtraMissingError(
                "a serial scanner needs the package pyserial", hint="Install it with: pip install 'medledger[serial]'"
            ) from error
        try:
            self._port = serial.Serial(path, baud, exclusive=True)
        except (OSError, termios.error, ValueError) as error:  # pyserial's own errors are of the first kind
            raise UsageError(
                f"the serial port {path} cannot be opened: {error}",
                hint="The user must be in the group `dialout`, and no other program may have the port open.",
            ) from error
        self.name = path

    def fileno(self) -> int:
        """The descriptor, for `select`."""
        return int(self._port.fileno())

    def read(self) -> bytes:
        """Some bytes, waiting for the first; none when the port is gone."""
        try:
            return bytes(self._port.read(self._port.in_waiting or 1))
        except (OSError, termios.error):
            return b""

    def close(self) -> None:
        """Let go of the port."""
        self._port.close()
