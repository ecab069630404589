"""Watching gossip live: on a terminal a screen that is drawn anew each second, elsewhere a line for each change."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from . import netdata, netscreen, terminal
from .meter import Meter
from .netdata import Picture
from .output import count_text, emit, say, style, time_text
from .stopping import Stopped
from .terminal import SECONDS, Wait

Take = Callable[[], Picture | None]


def watch(take: Take, stopped: Stopped, *, seconds: float | None, as_json: bool) -> Picture | None:
    """Show pictures until stopped, for so long where that is given; the last one. Ctrl-C is an end like any other."""
    live = not as_json and terminal.is_there()
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


# --- on a terminal ---------------------------------------------------------------------------------------------------


@contextmanager
def _screen() -> Iterator[tuple[Show, Wait]]:
    """Draws pictures over each other."""
    meter = Meter()
    with terminal.screen() as screen:

        def show(picture: Picture) -> None:
            meter.look(picture)
            columns, lines = screen.size()
            clock = datetime.now().astimezone().strftime("%H:%M:%S")
            screen.show(netscreen.draw(picture, meter, columns, lines, clock=clock, glyphs=screen.glyphs))

        yield show, screen.wait


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
