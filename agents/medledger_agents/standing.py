"""Whether this box may write to the ledger: told when it begins and when it ends, and asked again when blocks come in.

A box whose enrolment has not arrived yet listens, refuses with that reason, and is ready as soon as it may write. What
makes it ready comes with blocks of others, which wake this part; that its own feed is whole is known from what peers
show, which nothing announces: until then it looks once a second. Nor does anything announce the proof that its feed has
forked: for that it looks every ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from medledger.importing import Advance
from medledger.keys import fingerprint
from medledger.ledger import READY, RECOVERING, Ledger

from . import logs
from .advice import CANNOT_WRITE, NOT_ENROLLED
from .health import HEALTH, Health

LOOK_SECONDS: Final = 1.0
STEADY_SECONDS: Final = 10.0
GATHER_SECONDS: Final = 0.1
"""Blocks come in bursts: one look for each."""


def hindrance(ledger: Ledger, entry_type: str) -> str | None:
    """Why this box cannot log entries of this type now, None where it can."""
    me, membership = ledger.me, ledger.membership
    assert me is not None  # an agent opens its ledger with a key
    if not membership.knows(me):
        return NOT_ENROLLED
    refusal = membership.refusal(me, membership.epoch.number, entry_type)
    return refusal if refusal is not None or ledger.state == READY else ledger.state


class Standing:
    """The part. `ready` is called in the event loop each time the box becomes able to write."""

    name = "standing"
    essential = True

    def __init__(self, ledger: Ledger, entry_type: str, ready: Callable[[], None], *, health: Health = HEALTH) -> None:
        self._ledger = ledger
        self._entry_type = entry_type
        self._ready = ready
        self._health = health
        self._changed = asyncio.Event()
        self._unwatch: Callable[[], None] | None = None

    async def start(self) -> None:
        """Watch what comes in."""
        loop = asyncio.get_running_loop()

        def came(advance: Advance) -> None:
            own = advance.feed == self._ledger.me
            logs.event(
                "blocks", level=logging.DEBUG, feed="own" if own else fingerprint(advance.feed), last=advance.last
            )
            if not own and not self._changed.is_set():
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._changed.set)

        self._unwatch = self._ledger.watch(came)

    async def run(self) -> None:
        """Tell each change."""
        told: str | None = "unknown"
        while True:
            self._changed.clear()
            why = await asyncio.to_thread(hindrance, self._ledger, self._entry_type)  # waits while a block is written
            if why != told:
                self._tell(why)
                told = why
            recovering = why == RECOVERING
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS if recovering else STEADY_SECONDS)
                await asyncio.sleep(GATHER_SECONDS)

    async def stop(self) -> None:
        """Watch no more."""
        if self._unwatch is not None:
            self._unwatch()

    def _tell(self, why: str | None) -> None:
        if why is None:
            logs.event("ready", may_write=self._entry_type)
            self._health.mended("standing")
            self._ready()
        else:
            logs.warning("not ready", reason=why)
            self._health.fault("standing", f"{CANNOT_WRITE}{why}")
