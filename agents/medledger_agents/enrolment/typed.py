"""What a person pastes into a terminal while the program does something else.

A terminal by itself hands over lines, of at most 4,095 characters, and a reply may be longer. So each character is
taken as it comes, and nothing is echoed: the caller shows what there is. Ctrl-C works as always. A text is complete
when a line has ended and nothing more has come for a moment: what is copied from a mail comes in several lines.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
from types import TracebackType
from typing import Final, Self

from medledger.limits import MAX_JOIN_BYTES

QUIET_SECONDS: Final = 0.3
MAX_CHARS: Final = 4 * MAX_JOIN_BYTES


class Typed:
    """Standard input, while it is a terminal; elsewhere nothing ever comes."""

    def __init__(self) -> None:
        self._on = sys.stdin.isatty()
        self._settings: list[object] | None = None
        self._buffer = bytearray()
        self._last = 0.0

    def __enter__(self) -> Self:
        if self._on:
            self._settings = termios.tcgetattr(sys.stdin)
            changed = termios.tcgetattr(sys.stdin)
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, changed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._settings is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._settings)  # type: ignore[arg-type]  # as it came

    @property
    def pending(self) -> int:
        """Characters that have come and are no complete text yet."""
        return len(self._buffer)

    @property
    def start(self) -> str:
        """How they begin."""
        return self._buffer[:32].decode(errors="replace")

    def take(self, seconds: float) -> str | None:
        """The next complete text, after waiting at most so long; None where there is none yet."""
        if not self._on:
            time.sleep(seconds)
            return None
        deadline = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return self._complete()
            data = os.read(sys.stdin.fileno(), 4096)
            if not data:  # the terminal is gone
                self._on = False
                return None
            self._add(data)

    def _add(self, data: bytes) -> None:
        self._last = time.monotonic()
        for byte in data:
            if byte in (0x08, 0x7F):
                del self._buffer[-1:]
            elif byte == 0x15:  # Ctrl-U
                self._buffer.clear()
            elif len(self._buffer) < MAX_CHARS:
                self._buffer.append(byte)

    def _complete(self) -> str | None:
        ended = self._buffer.endswith((b"\n", b"\r"))
        if not ended or time.monotonic() - self._last < QUIET_SECONDS:
            return None
        text = self._buffer.decode(errors="replace").strip()
        self._buffer.clear()
        return text or None
