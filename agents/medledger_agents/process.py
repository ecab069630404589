"""The process that a box's service lives in: its key, its signals, its end.

- SIGTERM and SIGINT end it: its parts stop, the last started first. Should anything hang, also before it is ready, the
  process ends after `GRACE_SECONDS` all the same, which loses nothing: what is not on the disk was not acknowledged.
  The log then shows where it hung.
- SIGHUP is the service's own. Before there is a loop that hears it, it does nothing.
- Where a commit of the ledger fails, nobody knows what the disk holds, and the ledger takes nothing until it is opened
  again. The process stays, takes nothing and says so; once the disk takes writes again it ends in error (`end_worn`),
  and the next one opens the ledger.
- SIGABRT, which systemd's watchdog sends, writes where each thread is (function and line, no value) before the end.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from medledger.errors import StoreError
from medledger.keys import Identity

from . import logs
from .config import LedgerSection
from .notify import Notifier
from .settings import first_line
from .supervisor import Supervisor

GRACE_SECONDS: Final = 4.5
"""From the signal to the end, whatever hangs."""

LAST_WORDS_SECONDS: Final = 0.5
"""How long it may then take to say where it hung."""

HUNG: Final = 70
"""Exit code after a shutdown that had to be cut short."""


def begin() -> bool:
    """The first thing that a service does; whether SIGHUP is to be ignored for good, as nohup(1) asks."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a loop that hears it: it must not end it
    if sys.stderr is not None:
        faulthandler.enable()
    return before is signal.SIG_IGN


def open_identity(section: LedgerSection) -> Identity:
    """The box's own key. Raises `KeyFileError`, `ConfigurationError`."""
    return Identity.load(section.key, first_line(section.passphrase_file, "passphrase_file"))


def end_worn(worn: asyncio.Future[None]) -> None:
    """Have `live` end: the ledger took no commit, the disk is well, and only a new process can go on."""
    if not worn.done():
        reason = "the ledger took no commit, and must be opened again, now that the disk is well"
        worn.set_exception(StoreError(reason, hint="The process ends so that it is started anew."))


def unwell(faults: Mapping[str, str]) -> str:
    """A service's status line where something is wrong with it."""
    return "unhealthy: " + "; ".join(f"{what}: {why}" for what, why in faults.items())


async def live(
    supervisor: Supervisor,
    notifier: Notifier,
    *,
    worn: asyncio.Future[None],
    hang_up: Callable[[], None] | None = None,
    until_input_ends: bool,
) -> None:
    """Start, wait for the end, stop. SIGHUP calls `hang_up`; where there is none it is an end like any other.

    With `until_input_ends` it also ends with whoever holds the other end of standard input, and it ends when `worn`
    is done: then only a new process can go on. Raises what an essential part or `worn` raised, or a `PartFailedError`.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.set_exception_handler(_unhandled)

    def end() -> None:
        stopping.set()
        _end_after_grace()  # here, and not where the end begins: the start may hang, too

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, hang_up or end)
    if until_input_ends:
        _end_with_input()
    await supervisor.start()
    notifier.ready()
    ends: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(stopping.wait()),
        asyncio.ensure_future(supervisor.failed()),
        worn,
    ]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    logs.event("stopping")
    notifier.stopping()
    _end_after_grace()
    await supervisor.stop()
    for each in ends:
        if each.done():
            each.result()
        each.cancel()


def _end_after_grace() -> None:
    """End this process after `GRACE_SECONDS`, whatever hangs."""
    _timer(GRACE_SECONDS, _cut_short)


def _cut_short() -> None:
    _timer(LAST_WORDS_SECONDS, lambda: os._exit(HUNG))  # the log may be what hangs
    logs.event("stopping was cut short", level=logging.ERROR, after_seconds=GRACE_SECONDS)
    if faulthandler.is_enabled():
        faulthandler.dump_traceback()
    os._exit(HUNG)


def _timer(seconds: float, act: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def _end_with_input() -> None:
    """End with whoever holds the other end of our standard input, however that one ends."""
    threading.Thread(target=_await_end_of_input, daemon=True).start()


def _await_end_of_input() -> None:
    with suppress(OSError):  # a terminal that is gone
        while os.read(sys.stdin.fileno(), 4096):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own report would quote whatever the exception quotes. Its message is one of its own sentences."""
    error = context.get("exception")
    if error is not None:
        logs.unforeseen("event loop", error)
    else:
        logs.event("internal error", level=logging.ERROR, where="event loop", kind=context.get("message"))
