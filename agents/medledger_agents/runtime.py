"""The life of an agent: it opens its replica, key and inbox, and keeps its parts alive until it is told to end.

- How it is told, and what becomes of an end that hangs, or of a ledger that took no commit, process.py knows. What was
  taken is recorded and acknowledged first, own blocks are published as far as the broker takes them, the files are
  closed.
- SIGHUP reads the configuration again: see reload.py. Before the agent listens, it does so as soon as it does.
- The broker may be away, at the start and for days: readings are logged all the same, and gossip catches up.
- What it does besides, its *parts*, is kept alive by supervisor.py. Where that is in vain the process ends in error.
- The order in which parts stop is the opposite of that in which they start: the listener first, gossip last, so that
  what was logged last still leaves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from medledger.errors import MedledgerError
from medledger.ledger import Ledger

from . import logs
from .bedside.config import BedsideConfig
from .bedside.service import Bedside
from .config import AgentConfig
from .exposition import render
from .figures import Sources, figures
from .gossiping import Gossiping
from .health import HEALTH
from .housekeeping import Housekeeping
from .inbox import Inbox
from .meters import METERS
from .notify import UNWATCHED_SECONDS, Notifier, Watchdog, watchdog_seconds
from .pharmacy.config import PharmacyConfig
from .process import begin, end_worn, live, open_identity, unwell
from .reload import Reloader, changes, merged
from .report import Report
from .scrape import Scrape
from .spool import Spool
from .standing import Standing
from .subjects import Subjects
from .supervisor import Part, Supervisor

C = TypeVar("C", bound=AgentConfig)


class Service(Protocol):
    """What an agent does besides living. May be `Running`, `Beating` and `Reloading` as well."""

    async def start(self) -> None:
        """Begin to listen."""
        ...

    async def stop(self) -> None:
        """Finish what was taken, and end."""
        ...


@runtime_checkable
class Running(Protocol):
    """A service that knows when it has failed."""

    async def run(self) -> None:
        """Go on until something fails."""
        ...


@runtime_checkable
class Beating(Protocol):
    """A service with a thread that records."""

    async def beat(self) -> None:
        """Return when that thread has had its turn."""
        ...


@runtime_checkable
class Reloading(Protocol):
    """A service with live keys."""

    def reload(self, config: Any) -> None:
        """Go on with this configuration: only live keys differ."""
        ...


Make = Callable[[C, Ledger, Inbox, Subjects], Service]


def run_bedside(config: BedsideConfig, path: Path, *, until_input_ends: bool = False) -> None:
    """Be a bedside agent, configured by the file at `path`, until a signal. Raises a `MedledgerError`."""
    _run(config, path, Bedside, "reading", until_input_ends=until_input_ends)


def run_pharmacy(config: PharmacyConfig, path: Path, *, until_input_ends: bool = False) -> None:
    """Be a pharmacy agent, configured by the file at `path`, until a signal. Raises a `MedledgerError`."""
    from .pharmacy.service import Pharmacy  # brings biip, which a bedside box need not load

    _run(config, path, Pharmacy, "dispense", until_input_ends=until_input_ends)


def _run(config: C, path: Path, make: Make[C], entry_type: str, *, until_input_ends: bool) -> None:
    begin()
    logs.start(config.log)
    subjects = Subjects.open(config.subjects.secret_file, config.subjects.period)
    identity = open_identity(config.ledger)
    with (
        Ledger.open(config.ledger.path, identity) as ledger,
        Inbox.open(config.inbox.path, keep_id_hours=config.inbox.duplicate_hours) as inbox,
    ):
        logs.event("ledger open", feed=identity.fingerprint, state=ledger.state, ledger=ledger.id.hex()[:16])

        async def run() -> None:
            await Agent(config, path, make, entry_type, ledger, inbox, subjects).live(until_input_ends=until_input_ends)

        asyncio.run(run())
    logs.event("stopped")


class _Listener:
    """A service as a part: each start makes a new one, with the configuration in force."""

    name = "listener"
    essential = True

    def __init__(self, make: Callable[[], Service]) -> None:
        self._make = make
        self.service: Any = None

    async def start(self) -> None:
        service = self._make()
        await service.start()
        self.service = service

    async def run(self) -> None:
        if isinstance(self.service, Running):
            await self.service.run()
        else:
            await asyncio.Event().wait()

    async def stop(self) -> None:
        service, self.service = self.service, None
        if service is not None:
            await service.stop()


class Agent:
    """One agent's parts, and what they have to do with each other. Make it in a running event loop."""

    def __init__(
        self,
        config: C,
        path: Path,
        make: Make[C],
        entry_type: str,
        ledger: Ledger,
        inbox: Inbox,
        subjects: Subjects,
    ) -> None:
        self._config: Any = config
        self._path = path
        self._ledger = ledger
        self._inbox = inbox
        self._notifier = Notifier.of(os.environ)
        self._gossip = self._gossiping()
        self._spool = Spool(config.spool, inbox, ledger.path, self._unconfirmed)
        inbox.gate = self._spool.gate
        self._report = Report(ledger, config, path.parent)
        self._listener = _Listener(lambda: make(self._config, ledger, inbox, subjects))
        self._housekeeping = Housekeeping(config.inbox, inbox, self._spool, self._confirmed, self._show)
        self._watchdog_seconds = watchdog_seconds(os.environ) or UNWATCHED_SECONDS
        parts: list[Part] = [
            *([self._gossip] if self._gossip else []),
            self._report,
            self._listener,
            Standing(ledger, entry_type, self._report.ready),
            self._housekeeping,
            Watchdog(self._notifier, self._watchdog_seconds, self._alive),
        ]
        if config.metrics.enabled:
            parts.append(Scrape(config.metrics, self._page))
        self._reloader = Reloader(self._notifier, self._reload)
        parts.append(self._reloader)  # the last: nothing is reloaded, nor READY, before all have started
        self._supervisor = Supervisor(parts, HEALTH)
        self._worn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def live(self, *, until_input_ends: bool = False) -> None:
        """Start, wait for the end, stop. Raises what an essential part raised, `PartFailedError`, or a `StoreError`
        where the ledger must be opened again.
        """
        HEALTH.watch(self._show)
        await live(
            self._supervisor,
            self._notifier,
            worn=self._worn,
            hang_up=self._reloader.ask,
            until_input_ends=until_input_ends,
        )

    # --- what the parts ask ---------------------------------------------------------------------------------------

    def _gossiping(self) -> Gossiping | None:
        section = self._config.gossip
        urls = section.broker or self._ledger.broker
        if section.offline or urls is None:
            logs.event("offline", reason="configured" if section.offline else "no broker is known")
            return None
        return Gossiping(self._ledger, urls, section)

    def _status(self) -> Any:
        return None if self._gossip is None else self._gossip.status()

    def _own_blocks(self) -> int:
        me = self._ledger.me
        head = None if me is None else self._ledger.head(me)
        return 0 if head is None else head.seq + 1

    def _confirmed(self) -> int:
        status = self._status()
        return 0 if status is None else status["own_blocks"] - status["own_blocks_unconfirmed"]

    def _unconfirmed(self) -> tuple[int, int]:
        blocks = sum(head.seq + 1 for head in self._ledger.frontier().values())
        return max(0, self._own_blocks() - self._confirmed()), blocks

    async def _alive(self) -> None:
        """Return when the recorder's thread, the ledger and the disk have all had their turn."""
        service = self._listener.service
        if isinstance(service, Beating):
            await service.beat()
        if not await asyncio.to_thread(self._touch):
            end_worn(self._worn)

    def _touch(self) -> bool:
        """False where only a new process can go on: the ledger is to be opened again, and the disk is well."""
        try:
            self._own_blocks()  # takes the store's lock
            self._inbox.prove(self._watchdog_seconds / 2)
        except MedledgerError as error:  # it fails, and does not hang: a restart would not help
            HEALTH.fault("disk", str(error))
            return True
        HEALTH.mended("disk")
        return self._ledger.failure is None or self._spool.gate() is not None

    def _page(self) -> bytes:
        sources = Sources(self._ledger, self._inbox, self._spool, self._status(), HEALTH.faults())
        return render(METERS, figures(sources))

    def _show(self) -> None:
        """One line for `systemctl status`, in any thread. With a fault nothing is asked: it may be what hangs."""
        faults = HEALTH.faults()
        if faults:
            self._notifier.status(unwell(faults))
            return
        status = self._status()
        peers = "offline" if status is None else f"{status['peers']} peers" if status["connected"] else "no broker"
        waiting = "" if status is None else f", {status['own_blocks_unconfirmed']} own blocks unconfirmed"
        self._notifier.status(f"well, {peers}{waiting}")

    # --- reload ---------------------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        """Read the configuration again. What is wrong with it is logged, and changes nothing."""
        try:
            new = await asyncio.to_thread(type(self._config).load, self._path)
        except MedledgerError as error:
            METERS.count("reloads", "invalid")
            logs.warning("configuration not reloaded", reason=str(error), hint=error.hint)
            return
        found = changes(self._config, new)
        refused = [change.name for change in found if not change.live]
        for name in refused:
            logs.warning("needs a restart", key=name)
        self._apply(merged(self._config, new))
        METERS.count("reloads", "refused" if refused else "changed")
        logs.event("configuration reloaded", changed=len(found) - len(refused), refused=len(refused))

    def _apply(self, config: Any) -> None:
        self._config = config
        logs.start(config.log)
        self._inbox.keep_id_ms = config.inbox.duplicate_hours * 3_600_000
        self._spool.section = config.spool
        self._housekeeping.section = config.inbox
        self._report.reload(config)
        if isinstance(self._listener.service, Reloading):
            self._listener.service.reload(config)
