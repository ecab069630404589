"""What the tests of rotations over gossip share: an ear for everything that travels, and when all are alike."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from gossip_network import Station
from ledger_world import World
from medledger import Ledger
from medledger.errors import FrameError
from medledger.limits import BEACON_MAX_SECONDS
from medledger.sync import Publish
from medledger.sync.envelopes import disclose
from medledger.sync.frames import Codec
from medledger.sync.messages import Envelope, Message
from medledger.sync.topics import Topics


class Tap:
    """Somebody who hears everything that is published, with a member's keys.

    `moved` has the time at which each station was first heard with another key than that member's best.
    """

    def __init__(self, world: World, spy: Ledger) -> None:
        self._world = world
        self._spy = spy
        self.frames: list[tuple[float, Station, Publish]] = []
        self.moved: dict[str, float] = {}
        world.net.on_publish = self._hear

    def _hear(self, station: Station, effect: Publish) -> None:
        self.frames.append((self._world.net.now, station, effect))
        if station.replica.transport_key != self._spy.transport_key:
            self.moved.setdefault(station.name, self._world.net.now)

    def read(self, *, moved: bool = False) -> list[tuple[str, Message]]:
        """What opens of all that was heard: (who said it, what); if `moved`, since each of them had another key."""
        found = []
        for at, station, effect in self.frames:
            if moved and at <= self.moved.get(station.name, float("inf")):
                continue
            message = self._open(effect)
            if isinstance(message, Envelope) and self._spy.identity is not None:
                with suppress(FrameError):
                    message = disclose(message, self._spy.identity.unseal)
            if message is not None:
                found.append((station.name, message))
        return found

    def _open(self, effect: Publish) -> Message | None:
        for key in self._spy.transport_keys:
            address = Topics(self._spy.id, key.key).read(effect.topic)
            if address is not None:
                try:
                    codec = Codec(self._spy.id, key, Random(0))
                    return codec.open(effect.topic, address.channel, effect.payload).message
                except FrameError:
                    continue
        return None


def feed_of(ledger: Ledger) -> bytes:
    """A member's own feed."""
    assert ledger.me is not None
    return ledger.me


def one_key(*ledgers: Ledger) -> bool:
    """Whether all speak under the same key."""
    return len({ledger.transport_key for ledger in ledgers}) == 1


def settle(world: World, *names: str, seconds: float = 3 * BEACON_MAX_SECONDS) -> float:
    """Let these hold the same, under one key; how long that took."""
    before: float = world.net.now
    ledgers = [world.stations[name].replica for name in names]

    def alike() -> bool:
        return one_key(*ledgers) and len({ledger.digest() for ledger in ledgers}) == 1

    assert world.net.run(seconds, until=alike), f"seed {world.net.seed}: not alike after {seconds} s"
    return float(world.net.now - before)
