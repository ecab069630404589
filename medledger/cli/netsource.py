"""Where `net status` and `net watch` take their pictures from: the status file of whoever gossips, or our own gossip.

Gossiping ourselves is a sync like any other: what arrives meanwhile is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from medledger import statusfile
from medledger.errors import InUseError, StoreError, TransportError, UsageError

from . import cells, gossiping, netdata, netscreen, nettext
from .gossiping import Way
from .meter import Meter
from .netdata import Picture
from .opening import signing
from .stopping import Stopped

POLL_SECONDS: Final = 0.1
SETTLED_SECONDS: Final = 1.0
"""How long all has to be well before a look that need not be longer ends."""


Take = Callable[[], Picture]


@dataclass(frozen=True, slots=True)
class Request:
    """Which ledger, with which key, and how to gossip where nobody does."""

    ledger: Path
    key: Path | None
    way: Way


def current(ledger: Path) -> Picture | None:
    """The picture in the status file, of which all can be shown. Raises `StoreError`.

    Whoever gossips may be of another version than we are, and its picture lack something or have it in another form.
    """
    try:
        picture = netdata.from_file(ledger)
        if picture is not None:
            meter = Meter()
            meter.look(picture)
            nettext.lines(picture)
            netscreen.draw(picture, meter, 80, 24, clock="", glyphs=cells.ASCII)
            netdata.for_programs(picture)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise StoreError(
            f"{statusfile.place(ledger)} is not of the form that this version of medledger writes",
            hint="Use the same version as the program that gossips, or remove the file where none does.",
        ) from error
    return picture


def last(ledger: Path) -> Picture | None:
    """The same. Raises `StoreError` where there is no ledger either."""
    picture = current(ledger)
    if picture is None and not ledger.is_file():
        raise StoreError(f"there is no ledger at {ledger}", hint="Create one with `medledger init`, or join one.")
    return picture


@contextmanager
def ourselves(request: Request, *, status_file: bool) -> Iterator[Take]:
    """Gossip while this is open. Raises what opening a ledger and reaching a broker raise."""
    try:
        with signing(request.ledger, request.key) as ledger:
            try:
                running = gossiping.gossip(
                    ledger, request.way, on_alarm=lambda _: None, must_connect=True, status_file=status_file
                )
            except UsageError as error:
                raise UsageError(f"nobody gossips for {request.ledger}, and {error}", hint=error.hint) from error
            with running:
                yield lambda: netdata.own(ledger, running)
    except InUseError as error:
        raise InUseError(
            f"{request.ledger} is in use by another process, which shows no status",
            hint=f"It keeps no {statusfile.place(request.ledger).name}, or a stale one: see that it gossips.",
        ) from error


def look(take: Take, seconds: float, stopped: Stopped) -> Picture:
    """Let gossip go on until all is well for a moment, or for so long; the picture then."""
    started = time.monotonic()
    settled: float | None = None
    while True:
        picture, now = take(), time.monotonic()
        if picture.status["failure"] is not None:
            raise TransportError(f"gossip has stopped: {picture.status['failure']}", hint="Please report this.")
        settled = (settled or now) if picture.settled else None
        if (settled is not None and now - settled >= SETTLED_SECONDS) or now - started >= seconds:
            return picture
        if stopped.wait(POLL_SECONDS):
            return picture
