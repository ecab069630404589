"""Watches the devices of a running agent: the timer and the ledger around signals.py.

- One timer stands at the next silence that means something; nothing is polled.
- What is said goes on the ledger in the recorder's thread, among the readings. Where that fails, the log says so, and
  the readings' own refusals say the rest.
- After a start the promises on the ledger that still hold say which devices are watched: one that fell silent while the
  agent was away is noticed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from medledger.errors import MedledgerError
from medledger.ledger import Ledger
from medledger.records import Cadence, Record

from .. import logs
from ..batcher import Batcher
from ..recorder import Recorder
from .config import SignalsSection
from .signals import Signals, promised


class Watching:
    """One agent's watch over its devices; does nothing where none is configured."""

    def __init__(self, section: SignalsSection, ledger: Ledger, recorder: Recorder, batcher: Batcher) -> None:
        self._section = section
        self._ledger = ledger
        self._recorder = recorder
        self._batcher = batcher
        self._signals: Signals | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._saying: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Go on with what the last run promised."""
        if self._section.stale_seconds is None:
            return
        self._signals = Signals(
            self._section.stale_seconds * 1000,
            self._section.lost_seconds * 1000,
            promised=promised(self._cadences()),
            now=_now(),
        )
        self._wait()

    def _cadences(self) -> Iterable[Cadence]:
        found = self._ledger.entries("cadence", author=self._ledger.me)
        for each in sorted(found, key=lambda each: (each.seq, each.index)):
            yield Cadence.from_content(each.content)

    def logged(self, devices: Iterable[str], departed: Iterable[str]) -> None:
        """These devices said something that is on the disk; the patients of those have left."""
        if self._signals is None:
            return
        said = [record for device in sorted(devices) for record in self._signals.heard(device, _now())]
        said += [record for device in departed for record in self._signals.ended(device)]
        self._say(said)
        self._wait()

    async def stop(self) -> None:
        """Nothing is expected any more: an orderly end."""
        if self._timer is not None:
            self._timer.cancel()
        if self._signals is not None:
            self._say(self._signals.end())
            self._signals = None
        while self._saying:
            await asyncio.wait(self._saying)

    def _wait(self) -> None:
        """Set the timer to the next silence, unless it stands before it already."""
        assert self._signals is not None  # asked by those who have looked
        due = self._signals.due()
        loop = asyncio.get_running_loop()
        if self._timer is not None and not self._timer.cancelled():
            if due is not None and self._timer.when() <= loop.time() + max(0, due - _now()) / 1000:
                return  # it comes early, finds nothing, and is set again: no timer is moved for every reading
            self._timer.cancel()
        self._timer = None if due is None else loop.call_later(max(0, due - _now()) / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._signals is not None:
            said = self._signals.tick(_now())
            self._say(said)
            self._wait()

    def _say(self, records: list[Record]) -> None:
        if records:
            task = asyncio.create_task(self._log(records))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _log(self, records: list[Record]) -> None:
        def note() -> None:
            try:
                self._recorder.note(records)
                for record in records:
                    promise = "promised" if getattr(record, "interval", None) else "not promised"
                    logs.event("device", state=getattr(record, "state", promise))
            except MedledgerError as error:
                logs.warning("a device's state cannot be logged", reason=str(error))

        await self._batcher.aside(note)


def _now() -> int:
    """ms of a clock that never goes back."""
    return time.monotonic_ns() // 1_000_000
