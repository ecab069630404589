"""Whether a device's signal is there: live, stale or lost. A state machine that writes records; time is passed in.

    heard                        -> live; the first time, a promise (`cadence`) that the ledger will say how it goes on
    silent for `stale`           -> stale
    silent for `lost`            -> lost; the promise ends, for no more is to be expected
    heard again                  -> live, and a promise again where it had ended
    end of the association, stop -> no state any more; the promise ends

- A state is said once, when it begins. The last value is never repeated.
- The promise is kept by readings and states alike: between two of them lie at most `lost` ms. Where the ledger holds
  neither for longer than that, it was the agent that was silent, or somebody withheld what it said.
- Nothing here waits or looks at a clock: `due` says when `tick` has something to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from medledger.records import Cadence, DeviceStatus, Record

LIVE: Final = "live"
STALE: Final = "stale"
LOST: Final = "lost"
MAX_WATCHED: Final = 1024
"""Devices that one agent watches; names come from outside, and more than that are no ward."""


@dataclass(slots=True)
class _Watch:
    state: str
    heard: int  # ms, of the clock that is passed in


class Signals:
    """The devices of one agent. All times are ms of one clock that never goes back."""

    def __init__(self, stale: int, lost: int, *, promised: Iterable[str] = (), now: int = 0) -> None:
        self._silence: Mapping[str, int] = {LIVE: stale, STALE: lost}
        self._interval = lost
        self._watches = {device: _Watch(LIVE, now) for device in promised}

    def heard(self, device: str, now: int) -> list[Record]:
        """The device said something."""
        watch = self._watches.get(device)
        if watch is None and len(self._watches) >= MAX_WATCHED:
            return []
        if watch is None:
            self._watches[device] = _Watch(LIVE, now)
            return [Cadence(device=device, interval=self._interval)]
        before, watch.state, watch.heard = watch.state, LIVE, now
        if before == LIVE:
            return []
        said: list[Record] = [DeviceStatus(device=device, state=LIVE)]
        return [*said, Cadence(device=device, interval=self._interval)] if before == LOST else said

    def tick(self, now: int) -> list[Record]:
        """What silence means by now."""
        said: list[Record] = []
        for device, watch in self._watches.items():
            while watch.state in self._silence and now - watch.heard >= self._silence[watch.state]:
                watch.state = STALE if watch.state == LIVE else LOST
                said.append(DeviceStatus(device=device, state=watch.state))
                if watch.state == LOST:
                    said.append(Cadence(device=device))
        return said

    def due(self) -> int | None:
        """When `tick` is to be called at the latest; None when there is nothing to wait for."""
        return min(
            (each.heard + self._silence[each.state] for each in self._watches.values() if each.state in self._silence),
            default=None,
        )

    def ended(self, device: str) -> list[Record]:
        """Nothing is expected of the device any more."""
        watch = self._watches.pop(device, None)
        return [] if watch is None or watch.state == LOST else [Cadence(device=device)]

    def end(self) -> list[Record]:
        """Nothing is expected of any."""
        return [record for device in list(self._watches) for record in self.ended(device)]


def promised(entries: Iterable[Cadence]) -> list[str]:
    """The devices about which a promise holds, from an author's `cadence` entries in their order."""
    found: dict[str, int | None] = {}
    for entry in entries:
        if entry.device is not None:
            found[entry.device] = entry.interval
    return sorted(device for device, interval in found.items() if interval is not None)
