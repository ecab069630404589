"""Watching gossip live: a screen that is drawn anew each second, or a line for each change where there is no terminal.

Rules:

- The screen is the terminal's second one: what stood on the first is there again at the end, however that comes.
- A frame is written at once and over the last one, each line to its end: nothing flickers, nothing is left.
- Ctrl-C, SIGTERM and the key q are the way out, and no error.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

import click

from . import cells, netdata, netscreen
from .meter import Meter
from .netdata import Picture
from .output import count_text, emit, say, style, time_text

SECONDS: Final = 1.0
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K", "\x1b[J"

Take = Callable[[], Picture | None]


def watch(take: Take, stopped: threading.Event, *, seconds: float | None, as_json: bool) -> Picture | None:
    """Show pictures until stopped, for so long where that is given; the last one. Ctrl-C is an end like any other."""
    live = not as_json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    until = float("inf") if seconds is None else time.monotonic() + seconds
    picture: Picture | None = None
    with suppress(KeyboardInterrupt), _screen() if live else _lines(as_json=as_json) as (show, wait):
        while not stopped.is_set():
            picture = take() or picture
            if picture is not None:
                show(picture)
            left = until - time.monotonic()
            if left <= 0 or wait(min(SECONDS, left), stopped):
                break
    return picture


Show = Callable[[Picture], None]
Wait = Callable[[float, threading.Event], bool]


# --- on a terminal ---------------------------------------------------------------------------------------------------


@contextmanager
def _screen() -> Iterator[tuple[Show, Wait]]:
    """Draws pictures over each other."""
    meter = Meter()
    glyphs = cells.UNICODE if _can_draw(cells.UNICODE) else cells.ASCII

    def show(picture: Picture) -> None:
        meter.look(picture)
        columns, lines = shutil.get_terminal_size()
        clock = datetime.now().astimezone().strftime("%H:%M:%S")
        drawn = netscreen.draw(picture, meter, columns, lines, clock=clock, glyphs=glyphs)
        text = "\r\n".join(cells.render(line, columns) + _LINE_END for line in drawn)
        _write(f"{_HOME}{text}{_REST}")

    with _keyboard() as wait:
        _write(_ENTER)
        try:
            yield show, wait
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

    def wait(seconds: float, stopped: threading.Event) -> bool:
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


def _can_draw(glyphs: cells.Glyphs) -> bool:
    try:
        f"{glyphs}{cells.ELLIPSIS}".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "ascii"
    click.echo(text.encode(encoding, "replace").decode(encoding), nl=False, color=True)
    sys.stdout.flush()


# --- elsewhere -------------------------------------------------------------------------------------------------------


@contextmanager
def _lines(*, as_json: bool) -> Iterator[tuple[Show, Wait]]:
    """Prints a line for each picture that differs from the last."""
    meter = Meter()
    last: list[object] = [None]

    def show(picture: Picture) -> None:
        meter.look(picture)
        gist = _gist(picture)
        if gist != last[0]:
            last[0] = gist
            if as_json:
                emit(netdata.for_programs(picture))
            else:
                say(_line(picture, meter))
            sys.stdout.flush()

    yield show, lambda seconds, stopped: stopped.wait(seconds)


def _gist(picture: Picture) -> Any:
    traffic = picture.status["traffic"]
    return picture.health, picture.why, traffic["in"]["frames"], traffic["out"]["frames"], len(picture.alarms)


def _line(picture: Picture, meter: Meter) -> str:
    status = picture.status
    rate_in, rate_out = (netscreen.rate_text(rate) for rate in meter.rates[-1])
    return "  ".join(
        (
            time_text(int(time.time() * 1000)),
            style(picture.health.value, bold=True),
            f"{count_text(status['blocks'], 'block')} of {count_text(status['feeds'], 'feed')}",
            count_text(status["peers"], "peer"),
            f"in {rate_in}, out {rate_out}",
            picture.why,
        )
    )
