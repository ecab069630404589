"""What goes into the gossip machine and what comes out of it.

Rules:

- The machine does nothing by itself: each event is handed in with the time, and the effects that come back are carried
  out by whoever runs it, in order.
- `WakeAt` replaces every earlier one: hand in a `Tick` then, after the events that are waiting already. A time that
  has passed means as soon as these are handled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Connected:
    """A broker has taken us, with a clean session: nothing is subscribed."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The broker is gone. What was published and not confirmed may be lost."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a subscription, from anybody who can write to the broker."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """The replica holds new blocks of a feed, durably: the program wrote or imported them."""

    feed: bytes
    first: int
    last: int


Event: TypeAlias = Connected | Disconnected | Received | Tick | Advanced


@dataclass(frozen=True, slots=True)
class Subscribe:
    """All topic filters that are wanted from now on, with the quality of service of each. Others are given up."""

    filters: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """A sealed frame. What it holds of our own blocks has passed `Replica.release`."""

    topic: str
    payload: bytes
    qos: int
    retain: bool = False


@dataclass(frozen=True, slots=True)
class WakeAt:
    """When the next `Tick` is due."""

    time: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person should look at, in one sentence, and what to do about it where that is known."""

    text: str
    hint: str = ""

    def __str__(self) -> str:
        """Both on one line, as for a log."""
        return f"{self.text}. {self.hint}" if self.hint else self.text


Effect: TypeAlias = Subscribe | Publish | WakeAt | Alarm
