"""The life of an agent: it opens its replica, key and inbox, listens, gossips, and ends when it is told to.

- SIGTERM and SIGINT end it: what was taken is recorded and acknowledged, own blocks are published as far as the broker
  takes them, the files are closed. Should anything hang, the process ends after `GRACE_SECONDS` all the same, which
  loses nothing: what is not on the disk was not acknowledged.
- The broker may be away, at the start and for days: readings are logged all the same, and gossip catches up.
- A box whose enrolment has not arrived yet listens, refuses with that reason, and logs when it may write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from medledger.errors import ConfigurationError
from medledger.importing import Advance
from medledger.keys import Identity, fingerprint
from medledger.ledger import READY, Ledger

from . import logs
from .bedside.config import BedsideConfig
from .bedside.service import Bedside
from .config import AgentConfig, GossipSection, LedgerSection
from .inbox import Inbox
from .pharmacy.config import PharmacyConfig
from .subjects import Subjects

GRACE_SECONDS: Final = 4.5
"""From the signal to the end, whatever hangs."""

READY_POLL_SECONDS: Final = 0.25
"""How often a box that may not write yet looks whether it may."""

HUNG: Final = 70
"""Exit code after a shutdown that had to be cut short."""


class Service(Protocol):
    """What an agent does besides living."""

    async def start(self) -> None:
        """Begin to listen."""
        ...

    async def stop(self) -> None:
        """Finish what was taken, and end."""
        ...


Make = Callable[[Ledger, Inbox, Subjects], Service]


def run_bedside(config: BedsideConfig, *, until_input_ends: bool = False) -> None:
    """Be a bedside agent until a signal. Raises a `MedledgerError` when it cannot start."""
    _run(config, lambda *parts: Bedside(config, *parts), "reading", until_input_ends=until_input_ends)


def run_pharmacy(config: PharmacyConfig, *, until_input_ends: bool = False) -> None:
    """Be a pharmacy agent until a signal. Raises a `MedledgerError` when it cannot start."""
    from .pharmacy.service import Pharmacy  # brings biip, which a bedside box need not load

    _run(config, lambda *parts: Pharmacy(config, *parts), "dispense", until_input_ends=until_input_ends)


def _run(config: AgentConfig, make: Make, entry_type: str, *, until_input_ends: bool) -> None:
    logs.start(config.log)
    subjects = Subjects.open(config.subjects.secret_file, config.subjects.period)
    identity = _identity(config.ledger)
    with (
        Ledger.open(config.ledger.path, identity) as ledger,
        Inbox.open(config.inbox.path, keep_id_hours=config.inbox.duplicate_hours) as inbox,
    ):
        logs.event("ledger open", feed=identity.fingerprint, state=ledger.state, ledger=ledger.id.hex()[:16])
        with _tracing(ledger), _gossip(ledger, config.gossip):
            announced = partial(_announce, ledger, entry_type)
            asyncio.run(_serve(make(ledger, inbox, subjects), announced, until_input_ends=until_input_ends))
    logs.event("stopped")


async def _serve(
    service: Service, announced: Callable[[], Coroutine[Any, Any, None]], *, until_input_ends: bool
) -> None:
    """Start, wait for the end, stop."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    loop.set_exception_handler(_unhandled)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if until_input_ends:
        threading.Thread(target=_await_end_of_input, daemon=True).start()
    await service.start()
    announcing = asyncio.create_task(announced())
    await stopping.wait()
    announcing.cancel()
    logs.event("stopping")
    _end_after(GRACE_SECONDS)
    await service.stop()


def _end_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os._exit, (HUNG,))
    timer.daemon = True
    timer.start()


def _await_end_of_input() -> None:
    """End with whoever holds the other end of our standard input, however that one ends."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """asyncio's own report would quote whatever the exception quotes."""
    error = context.get("exception")
    if error is not None:
        logs.unforeseen("event loop", error)


# --- what an agent opens ----------------------------------------------------------------------------------------


def _identity(section: LedgerSection) -> Identity:
    passphrase = None if section.passphrase_file is None else _first_line(section.passphrase_file, "passphrase_file")
    return Identity.load(section.key, passphrase)


def _first_line(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file {path} cannot be read: {error}", hint=f"Check {key}.") from error


@contextmanager
def _gossip(ledger: Ledger, section: GossipSection) -> Iterator[None]:
    """Gossip with the configured broker, or the one that the join reply named, if there is any."""
    url = section.broker or ledger.broker
    if section.offline or url is None:
        logs.event("offline", reason="configured" if section.offline else "no broker is known")
        yield
        return
    from medledger.transport import Gossip

    password = None if section.password_file is None else _first_line(section.password_file, "password_file")
    with Gossip(
        ledger,
        url,
        username=section.username,
        password=password,
        ca=section.ca_file,
        certificate=section.certificate_file,
        key=section.certificate_key_file,
        protocol=section.protocol,
        must_connect=False,
        status_file=True,
    ):
        yield


@contextmanager
def _tracing(ledger: Ledger) -> Iterator[None]:
    """Log what comes into the replica, for whoever looks closely."""

    def look(advance: Advance) -> None:
        feed = "own" if advance.feed == ledger.me else fingerprint(advance.feed)
        logs.event("blocks", level=logging.DEBUG, feed=feed, last=advance.last)

    unwatch = ledger.watch(look)
    try:
        yield
    finally:
        unwatch()


async def _announce(ledger: Ledger, entry_type: str) -> None:
    """Log when this box may write: at the start, or when its enrolment and its own feed have come from its peers."""
    why = _hindrance(ledger, entry_type)
    if why is not None:
        logs.warning("not ready", reason=why)
    while _hindrance(ledger, entry_type) is not None:
        await asyncio.sleep(READY_POLL_SECONDS)
    logs.event("ready", may_write=entry_type)


def _hindrance(ledger: Ledger, entry_type: str) -> str | None:
    """Why this box cannot log yet."""
    me, membership = ledger.me, ledger.membership
    assert me is not None  # an agent opens its ledger with a key
    if not membership.knows(me):
        return "its enrolment has not arrived"
    refusal = membership.refusal(me, membership.epoch.number, entry_type)
    return refusal if refusal is not None or ledger.state == READY else ledger.state
