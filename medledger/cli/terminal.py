"""A terminal's whole screen for a view that is drawn anew each second.

Rules:

- The screen is the terminal's second one: what stood on the first is there again at the end, however that comes.
- A frame is written at once and over the last one: nothing flickers, nothing is left. A line is emptied before it is
  written: after its last column is, what empties the rest of it takes that column away.
- Ctrl-C, SIGTERM and the key q are the way out, and no error.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import click

from . import cells
from .cells import Glyphs, Line
from .output import LENIENT
from .stopping import Stopped

SECONDS: Final = 1.0
"""How often a view is drawn."""

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _BLANK, _BELOW = "\x1b[H", "\x1b[2K", "\r\n\x1b[J"

Wait = Callable[[float, Stopped], bool]
"""Waits for so many seconds; whether the view is to end."""


class Screen(NamedTuple):
    """What a view draws with, and what it waits with between two frames."""

    glyphs: Glyphs
    wait: Wait

    @staticmethod
    def size() -> tuple[int, int]:
        """Columns and lines, as they are now."""
        return shutil.get_terminal_size()

    def show(self, lines: Sequence[Line]) -> None:
        """Draw a frame over the last one."""
        columns, height = self.size()
        text = "\r\n".join(_BLANK + cells.render(line, columns) for line in lines)
        _write(f"{_HOME}{text}{_BELOW if len(lines) < height else ''}")


def is_there() -> bool:
    """Whether stdout is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def screen() -> Iterator[Screen]:
    """The whole screen, until the end."""
    with _keyboard() as wait:
        _write(_ENTER)
        try:
            yield Screen(cells.UNICODE if _can_draw(cells.UNICODE) else cells.ASCII, wait)
        finally:
            _write(_LEAVE)


@contextmanager
def _keyboard() -> Iterator[Wait]:
    """Waits for the key q as well, where there is a keyboard."""
    if not sys.stdin.isatty():
        yield lambda seconds, stopped: stopped.wait(seconds)
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def wait(seconds: float, stopped: Stopped) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not stopped.is_set():
            if select.select([number], [], [], min(left, 0.2))[0] and os.read(number, 64) in (b"q", b"Q", b""):
                return True
        return stopped.is_set()

    tty.setcbreak(number)
    try:
        yield wait
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _can_draw(glyphs: Glyphs) -> bool:
    try:
        f"{glyphs}{cells.ELLIPSIS}".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "ascii"
    click.echo(text.encode(encoding, LENIENT).decode(encoding), nl=False, color=True)
    sys.stdout.flush()
