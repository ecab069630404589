"""Where a scanner's bytes come from: an input device, a serial port, or standard input.

A terminal shows nothing of what is typed into it meanwhile, and is put back afterwards.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import click


class Source(Protocol):
    """Where a scanner's bytes come from."""

    name: str

    def fileno(self) -> int:
        """The descriptor, for `select`."""

    def read(self) -> bytes:
        """Some bytes, waiting for the first; none at the end."""

    def close(self) -> None:
        """Let go of it."""


class _StandardInput:
    """Characters typed into this terminal, or piped in."""

    name = "standard input"

    def fileno(self) -> int:
        return sys.stdin.fileno()

    def read(self) -> bytes:
        return os.read(self.fileno(), 4096)

    def close(self) -> None:
        """It stays open."""


@contextmanager
def source(device: Path | None, serial: str | None, baud: int) -> Iterator[Source]:
    """The device, the serial port or standard input, for as long as the context lasts. Raises `UsageError`."""
    if device is not None and serial is not None:
        raise click.UsageError("--device and --serial exclude one another.")
    found: Source
    restore: Callable[[], None] = _nothing
    if device is not None:
        from medledger_bridge.scanner.evdev import InputDevice

        found = InputDevice(device)
    elif serial is not None:
        from medledger_bridge.scanner.serialport import SerialPort

        found = SerialPort(serial, baud=baud)
    else:
        found = _StandardInput()
        restore = _unechoed(found.fileno())
    try:
        yield found
    finally:
        restore()
        found.close()


def _nothing() -> None:
    """Put nothing back."""


def _unechoed(descriptor: int) -> Callable[[], None]:
    """Let a terminal give each character at once and show none; returns what puts it back."""
    if not os.isatty(descriptor):
        return _nothing
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    return lambda: termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
