"""Gossip as a part of an agent: with the configured broker, or the one that the join reply named."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from medledger.errors import TransportError
from medledger.ledger import Ledger

from .config import GossipSection
from .health import HEALTH
from .settings import first_line

LOOK_SECONDS: Final = 15.0
"""How often it is looked whether anybody answers."""

if TYPE_CHECKING:
    from medledger.sync import Alarm
    from medledger.transport import Gossip


class Gossiping:
    """The part. The broker may be away, at the start and for days."""

    name = "gossip"
    essential = True

    def __init__(self, ledger: Ledger, urls: tuple[str, ...] | str, section: GossipSection) -> None:
        self._ledger = ledger
        self._urls = urls
        self._section = section
        self._gossip: Gossip | None = None
        self._alarmed = asyncio.Event()

    def status(self) -> Mapping[str, Any] | None:
        """See `Gossip.status`; None while there is none."""
        return None if self._gossip is None else self._gossip.status()

    async def start(self) -> None:
        """Begin to gossip. Raises `ConfigurationError` and `TransportError` for what can only be a mistake."""
        self._alarmed.clear()
        loop = asyncio.get_running_loop()

        def alarmed(_alarm: Alarm) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._alarmed.set)

        def begin() -> Gossip:
            from medledger.transport import Gossip  # brings paho, which a box without a broker does without

            section = self._section
            file = section.password_file
            return Gossip(
                self._ledger,
                self._urls,
                username=section.username,
                password=None if file is None else first_line(file, "password_file"),
                ca=section.ca_file,
                certificate=section.certificate_file,
                key=section.certificate_key_file,
                protocol=section.protocol,
                must_connect=False,
                on_alarm=alarmed,
                status_file=True,
            ).start()

        self._gossip = await asyncio.to_thread(begin)

    async def run(self) -> None:
        """Wait until a fault of its own has ended gossip; raises `TransportError` then."""
        assert self._gossip is not None  # it was started
        from medledger.cli.netdata import UNANSWERED, unanswered

        while (status := self._gossip.status())["failure"] is None:
            if unanswered(status):
                HEALTH.fault("peers", UNANSWERED)
            else:
                HEALTH.mended("peers")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._alarmed.wait(), LOOK_SECONDS)
            self._alarmed.clear()
        raise TransportError("gossip has stopped on a fault of its own", hint="Please report this; the log says more.")

    async def stop(self) -> None:
        """Publish what is left to publish, and end."""
        gossip, self._gossip = self._gossip, None
        if gossip is not None:
            await asyncio.to_thread(gossip.close)
