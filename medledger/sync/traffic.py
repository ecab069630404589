"""What travels: frames and bytes, in and out, by kind and by channel; and when the last beacons did.

Rules:

- Every frame counts once, with the bytes of its payload: what a broker carries for us is that, and topics and MQTT's
  own heads on top.
- Out, a frame counts under its kind. In, under the kind it said once it has passed the gate; else as `repeated` (seen
  before, such as our own frames that a broker sends back) or `refused`.
- A signed frame counts for the peer that sent it, or that it was sent to, too. Live blocks and proofs are nobody's:
  anybody may pass them on.
- On the way of a frame there are additions and nothing else; sums are made when somebody looks.
"""

from __future__ import annotations

from typing import Any, Final

from .messages import Kind, Message
from .peers import Peer
from .topics import Channel

REPEATED: Final = "repeated"
REFUSED: Final = "refused"
ELSEWHERE: Final = "elsewhere"
"""The channel of a frame that came on a topic that is none of a ledger's."""

_CHANNELS: Final = {channel.value: channel.name.lower() for channel in Channel}
_KINDS: Final = {kind: kind.name.lower() for kind in Kind}


class Tally:
    """A number of frames, and of the bytes in them."""

    __slots__ = ("bytes", "frames")

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0

    def add(self, frames: int, size: int) -> None:
        """Count these, too."""
        self.frames += frames
        self.bytes += size

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return {"frames": self.frames, "bytes": self.bytes}


class Traffic:
    """The traffic of one node since it started. Times are those handed to the machine."""

    def __init__(self) -> None:
        self._in: dict[tuple[str, str], Tally] = {}  # by channel and kind: at most all of these
        self._out: dict[tuple[str, str], Tally] = {}
        self.beacon_sent_at: float | None = None
        self.beacon_heard_at: float | None = None

    def admitted(self, topic: str, message: Message, size: int, peer: Peer | None) -> None:
        """A frame that passed the gate."""
        _count(self._in, topic, _KINDS[message.KIND], size)
        if peer is not None:
            peer.frames_in += 1
            peer.bytes_in += size

    def dropped(self, topic: str, why: str, size: int) -> None:
        """A frame that did not: `REPEATED` or `REFUSED`."""
        _count(self._in, topic, why, size)

    def sent(self, topic: str, message: Message, size: int, peer: Peer | None) -> None:
        """A frame of ours, to one peer or to all."""
        _count(self._out, topic, _KINDS[message.KIND], size)
        if peer is not None:
            peer.frames_out += 1
            peer.bytes_out += size

    def data(self) -> dict[str, Any]:
        """`in` and `out`, each with frames and bytes, and the same by kind and by channel."""
        return {"in": _summed(self._in), "out": _summed(self._out)}


def _count(tallies: dict[tuple[str, str], Tally], topic: str, kind: str, size: int) -> None:
    parts = topic.split("/", 4)  # ml / version / ledger / channel
    key = (_CHANNELS.get(parts[3], ELSEWHERE) if len(parts) > 3 else ELSEWHERE, kind)
    tally = tallies.get(key)
    if tally is None:
        tally = tallies[key] = Tally()
    tally.frames += 1
    tally.bytes += size


def _summed(tallies: dict[tuple[str, str], Tally]) -> dict[str, Any]:
    total = Tally()
    channels: dict[str, Tally] = {}
    kinds: dict[str, Tally] = {}
    for (channel, kind), tally in sorted(tallies.items()):
        for each in (total, channels.setdefault(channel, Tally()), kinds.setdefault(kind, Tally())):
            each.add(tally.frames, tally.bytes)
    return {
        **total.data(),
        "kinds": {name: tally.data() for name, tally in kinds.items()},
        "channels": {name: tally.data() for name, tally in channels.items()},
    }
