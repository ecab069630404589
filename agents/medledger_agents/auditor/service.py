"""The life of an auditor's replica that is always there: it gossips, and tells systemd and the log how it stands.

- SIGTERM, SIGINT and SIGHUP end it, but for SIGHUP under nohup(1). Nothing is reloaded: a restart takes a second, and
  loses nothing.
- The broker may be away, at the start and for days. A mistake in the configuration ends it at once.
- The watchdog is fed when the ledger and the disk have had their turn. A disk that takes no write is a fault, which the
  log and systemd's status line name; it is tried for ever. What becomes of a ledger that took no commit, process.py
  knows. It is not opened again before there is room: a restart would make none.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from medledger.errors import ConfigurationError
from medledger.ledger import Ledger

from .. import logs
from ..config import SpoolSection
from ..gossiping import Gossiping
from ..health import HEALTH
from ..notify import UNWATCHED_SECONDS, Notifier, Watchdog, watchdog_seconds
from ..process import begin, end_worn, live, open_identity, unwell
from ..spool import Usage, refusal
from ..supervisor import Part, Supervisor
from .config import AuditorConfig

LOOK_SECONDS: Final = 1.0

PROBE: Final = ".probe"
"""A file beside the ledger, of one byte, that shows whether the disk takes writes."""


def run_auditor(config: AuditorConfig, path: Path, *, until_input_ends: bool = False) -> None:
    """Be an auditor's replica, configured by the file at `path`, until a signal. Raises a `MedledgerError`."""
    ignoring = begin()
    logs.start(config.log)
    identity = open_identity(config.ledger)
    with Ledger.open(config.ledger.path, identity) as ledger:
        logs.event("ledger open", feed=identity.fingerprint, state=ledger.state, ledger=ledger.id.hex()[:16])

        async def run() -> None:
            await Replica(config, path, ledger).live(ignoring, until_input_ends=until_input_ends)

        asyncio.run(run())
    logs.event("stopped")


class Telling:
    """The part that tells how gossip stands: when that changes, and every `report_minutes`."""

    name = "telling"
    essential = False

    def __init__(self, gossip: Gossiping, notifier: Notifier, minutes: int) -> None:
        self._gossip = gossip
        self._notifier = notifier
        self._minutes = minutes

    async def start(self) -> None:
        """Nothing is to be prepared."""

    async def run(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        told: str | None = None
        at = loop.time()
        while True:
            status = self._gossip.status()
            if status is not None:
                state = _state(status)
                due = self._minutes and loop.time() - at >= 60 * self._minutes
                if state != told or due:
                    told, at = state, loop.time()
                    logs.event("gossip", state=state, peers=status["peers"], blocks=status["blocks"])
                well = f"{state}, {status['peers']} peers, {status['blocks']} blocks"
                faults = HEALTH.faults()
                self._notifier.status(unwell(faults) if faults else well)
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        """Nothing is left behind."""


def _state(status: Mapping[str, Any]) -> str:
    if not status["connected"]:
        return "no broker"
    if not status["peers"]:
        return "no peers"
    return "in sync" if status["in_sync"] else "behind"


class Replica:
    """A replica's parts. Make it in a running event loop. Raises `ConfigurationError` where no broker is known."""

    def __init__(self, config: AuditorConfig, path: Path, ledger: Ledger) -> None:
        self._ledger = ledger
        self._notifier = Notifier.of(os.environ)
        urls = config.gossip.broker or ledger.broker
        if config.gossip.offline or urls is None:
            raise ConfigurationError(
                f"{path} leads to no broker: a replica that is alone has nothing to do", hint="Name one in [gossip]."
            )
        self._gossip = Gossiping(ledger, urls, config.gossip)
        self._telling = Telling(self._gossip, self._notifier, config.replica.report_minutes)
        seconds = watchdog_seconds(os.environ) or UNWATCHED_SECONDS
        parts: list[Part] = [self._gossip, self._telling, Watchdog(self._notifier, seconds, self._alive)]
        self._supervisor = Supervisor(parts, HEALTH)
        self._worn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def live(self, ignoring: bool, *, until_input_ends: bool = False) -> None:
        """Start, wait for the end, stop; `ignoring` says that SIGHUP is no end. Raises what gossip raised at its start,
        `PartFailedError`, or a `StoreError` where the ledger must be opened again.
        """
        await live(
            self._supervisor,
            self._notifier,
            worn=self._worn,
            hang_up=(lambda: None) if ignoring else None,
            until_input_ends=until_input_ends,
        )

    async def _alive(self) -> None:
        """Return when the ledger and the disk have had their turn."""
        if await asyncio.to_thread(self._touch) and self._ledger.failure is not None:
            end_worn(self._worn)

    def _touch(self) -> bool:
        """Whether the disk takes writes, and has room for more."""
        self._ledger.frontier()  # takes the store's lock
        trouble = _trouble(self._ledger.path)
        if trouble is None:
            HEALTH.mended("disk")
        else:
            HEALTH.fault("disk", trouble)
        return trouble is None


def _trouble(ledger: Path) -> str | None:
    """Why nothing more can be stored beside this ledger, None where all is well. It flushes a byte to the disk."""
    try:
        with ledger.with_name(f"{ledger.name}{PROBE}").open("wb", buffering=0) as file:
            file.write(b"\n")
            os.fsync(file.fileno())
        room = os.statvfs(ledger.parent)
    except OSError as error:
        return f"nothing can be written beside {ledger}: {error.strerror or error}"
    return refusal(SpoolSection(), Usage(inbox=0, unconfirmed=0, free=room.f_bavail * room.f_frsize))
