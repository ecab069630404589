"""Keeps an agent's parts alive: a part that fails is logged, counted and started again; none is ever silently dead.

Rules:

- A part fails when its `run` ends, in whatever way, before it was told to stop, or when a later `start` raises. It is
  stopped, and started again after 1, 2, 4 ... 60 seconds; `STABLE_SECONDS` without a failure begin the count anew.
- From a failure until it has run for so long again, the part makes the agent unhealthy.
- A part that is essential and has failed `MAX_FAILURES` times in a row ends the agent: `failed` raises, the process
  ends with an error, and systemd starts it anew. A part that is not goes on being tried: its want harms no reading.
- What an essential part raises when the agent starts is raised by `start`: a mistake in the configuration is then seen
  by whoever made it.
- Failures are logged by type and place: an exception's text may quote what it choked on. Only errors that are about
  this box itself (`ABOUT_THE_BOX`) are logged with their text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from medledger.errors import ConfigurationError, MedledgerError, StoreError, TransportError

from . import logs
from .health import Health
from .meters import METERS, Meters

MAX_FAILURES: Final = 8
"""In a row; with the pauses between, about two minutes."""

FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 60.0
MAX_DOUBLINGS: Final = 32
STABLE_SECONDS: Final = 60.0
ABOUT_THE_BOX: Final = (ConfigurationError, StoreError, TransportError)


class PartFailedError(MedledgerError):
    """A part of the agent cannot be kept alive: a fresh process may do better."""


class Part(Protocol):
    """Something that an agent does all the time. After `stop`, `start` begins anew."""

    @property
    def name(self) -> str:
        """What it is called in the log and in metrics."""
        ...

    @property
    def essential(self) -> bool:
        """Whether the agent is of no use without it."""
        ...

    async def start(self) -> None:
        """Begin; return when it works."""
        ...

    async def run(self) -> None:
        """Go on until something fails; cancelled before `stop`."""
        ...

    async def stop(self) -> None:
        """Finish what was taken, and end. Called after each `start` that returned."""
        ...


class Supervisor:
    """Starts parts in their order, keeps them alive, and stops them in the opposite order."""

    def __init__(
        self,
        parts: Sequence[Part],
        health: Health,
        *,
        meters: Meters = METERS,
        first_pause: float = FIRST_PAUSE_SECONDS,
        stable: float = STABLE_SECONDS,
        max_failures: int = MAX_FAILURES,
    ) -> None:
        self._parts = list(parts)
        self._health = health
        self._meters = meters
        self._first_pause = first_pause
        self._stable = stable
        self._max_failures = max_failures
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._running: set[str] = set()
        self._given_up: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Start every part. Raises what an essential one raises; those before it are then stopped."""
        self._given_up = asyncio.get_running_loop().create_future()
        for part in self._parts:
            failed = False
            try:
                await part.start()
                self._running.add(part.name)
            except Exception as error:
                if part.essential:
                    await self.stop()
                    raise
                self._note(part, error, 1)
                failed = True
            self._keepers[part.name] = asyncio.create_task(self._keep(part, failures=int(failed)))

    async def failed(self) -> None:
        """Wait until a part cannot be kept alive; raises `PartFailedError` then."""
        assert self._given_up is not None  # it was started
        await asyncio.shield(self._given_up)

    async def stop(self) -> None:
        """Stop every part that runs, the last first."""
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        self._keepers.clear()
        for part in reversed(self._parts):
            if part.name in self._running:
                await self._end(part)

    async def _keep(self, part: Part, failures: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            error: BaseException | None = None
            try:
                if part.name not in self._running:
                    await asyncio.sleep(self._pause(failures))
                    await part.start()
                    self._running.add(part.name)
                    logs.event("part started again", part=part.name)
                    since = loop.time()
                await self._run(part)
            except Exception as caught:  # noqa: BLE001 - whatever it is, the part is dead and must live
                error = caught
            failures = 1 if loop.time() - since >= self._stable and part.name in self._running else failures + 1
            self._note(part, error, failures)
            if part.name in self._running:
                await self._end(part)
            if part.essential and failures >= self._max_failures:
                self._give_up(part)
                return

    def _pause(self, failures: int) -> float:
        """Seconds before the next start. Failures may go on for years: the power is bounded before it is taken."""
        return min(MAX_PAUSE_SECONDS, self._first_pause * 2.0 ** min(failures - 1, MAX_DOUBLINGS))

    async def _run(self, part: Part) -> None:
        """Run it; once it has run for long enough, it is well again."""
        mended = asyncio.get_running_loop().call_later(self._stable, self._health.mended, f"part {part.name}")
        try:
            await part.run()
        finally:
            mended.cancel()

    async def _end(self, part: Part) -> None:
        self._running.discard(part.name)
        try:
            await part.stop()
        except Exception as error:  # noqa: BLE001 - the other parts are to be stopped all the same
            logs.unforeseen(f"stopping {part.name}", error)

    def _note(self, part: Part, error: BaseException | None, failures: int) -> None:
        self._meters.count("failures", part.name)
        told = isinstance(error, ABOUT_THE_BOX)
        if error is not None and not told:
            logs.unforeseen(part.name, error)
        reason = "it ended" if error is None else str(error) if told else type(error).__name__
        logs.warning("part failed", part=part.name, reason=reason, failures=failures)
        self._health.fault(f"part {part.name}", f"it fails, and is started again: {reason}")

    def _give_up(self, part: Part) -> None:
        assert self._given_up is not None  # it was started
        with suppress(asyncio.InvalidStateError):  # another part has failed before
            self._given_up.set_exception(
                PartFailedError(
                    f"{part.name} failed {self._max_failures} times in a row",
                    hint="The log names each failure. The process ends so that it is started anew.",
                )
            )
