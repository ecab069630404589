"""The host's end of the line: bytes in; events, and bytes to send, out. No I/O, no clock.

Rules:

- Nothing of a device counts before its HELLO has come and the driver has called `accept` with the highest counter that
  is durable for its key. Until then batches are left with the device, which says them again. That begins anew with
  another name or key, and when the line is opened again: a frame that has waited for that is older than it says.
- Batches come out in the order of their counters, each once. A batch whose predecessor is missing on the line is not
  taken: the host asks for the predecessor. One whose predecessor the device no longer keeps is taken, and what is lost
  is named in a `Missing` before it; the claim is bound by the signed counter, so a line that lies cannot name more.
- A batch that came before is a `Duplicate`. One that this link delivered, byte for byte, is acknowledged again by
  itself. Any other is left to the driver, who compares it with what was stored, keeps it where it differs (one key, two
  devices), and only then calls `acknowledge`.
- `acknowledge` is called when the ledger's commit has returned, never before.
- An `UnfitBatch` takes its place among the others: it is kept as it came, acknowledged, and blocks none behind it.
- Whatever is refused has a `Refused` with its reason. Noise is counted in `noise` and answered with nothing.
- Memory is bounded whatever the line says: one packet, three frames to send, the signatures of `REMEMBERED` batches.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from medledger.errors import UsageError

from ..errors import LinkBatchError, LinkBodyError, LinkRollbackError
from . import batch as batches
from .batch import SignedBatch, UnfitBatch
from .frames import VERSION, Deframer, Frame, Noise, wrap
from .messages import ACK, ASK, BATCH, EMPTY, ERROR, HELLO, HOST_KINDS, Ack, Hello, Refusal

REMEMBERED: Final = 1024
"""Batches delivered, whose signatures are kept to tell a repetition from a second device: more than a ring holds."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The device will never say these batches: its full ring dropped them, or it lost them with its power."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A batch whose counter was passed before. `known`: this link delivered the very same."""

    batch: SignedBatch | UnfitBatch
    known: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame whose CRC is right was not taken; `reason` is one of `messages.REASONS`."""

    reason: str
    detail: str


Event = Hello | SignedBatch | UnfitBatch | Missing | Duplicate | Refused
"""What `feed` gives."""


@dataclass(slots=True)
class Counts:
    """Figures of one line since it was opened."""

    frames: int = 0
    lost: int = 0  # frames that the sequence numbers say were sent and that did not come
    early: int = 0  # batches before `accept`
    ahead: int = 0  # batches left with the device because one before them was missing on the line
    duplicates: int = 0
    refused: int = 0
    echoes: int = 0  # our own frames: the line is looped back


class Link:
    """One line's host."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.counts = Counts()
        self._deframer = Deframer()
        self._accepted = False
        self._expected = 1  # counter of the next batch
        self._durable = 0
        self._delivered: OrderedDict[int, bytes] = OrderedDict()
        self._device_sequence: int | None = None
        self._sequence = 0
        self._gone_back = False  # the device's next counter, as its hello said it, had come already
        self._early = False  # batches came between the hello and `accept`
        self._asked_back = 0  # the expected counter that the device was last asked to go back to
        self._pending: dict[int, Ack | Refusal | None] = {}  # by kind: only the latest of each matters

    @property
    def noise(self) -> Noise:
        """What came and was no frame."""
        return self._deframer.noise

    @property
    def between(self) -> bool:
        """Whether no frame is half here."""
        return self._deframer.kept == 0

    @property
    def accepted(self) -> bool:
        """Whether batches of the device that said hello are taken."""
        return self._accepted

    def opened(self) -> None:
        """The line was opened, or opened again: forget half a frame and ask the device who it is."""
        self._deframer.restart()
        self._device_sequence = None
        self._accepted, self._early, self._asked_back = False, False, 0
        self._pending.clear()
        self._pending[ASK] = None

    def feed(self, data: bytes) -> list[Event]:
        """What `data` completes, in order."""
        events: list[Event] = []
        for frame in self._deframer.feed(data):
            self.counts.frames += 1
            try:
                self._frame(frame, events)
            except LinkBodyError as error:
                self._refuse(frame, "body", str(error), events)
            except LinkBatchError as error:
                self._refuse(frame, "batch", str(error), events)
        return events

    def accept(self, durable: int) -> None:
        """Take batches of the device that said hello from `durable` + 1 on; 0 for one never heard before.

        `durable` is the highest counter that the ledger holds under the device's key. Raises LinkRollbackError when
        the device's next counter is not beyond it, and UsageError before a hello.
        """
        if self.hello is None:
            raise UsageError("there is no device to accept before its hello")
        # A batch that was sealed after the hello may have come out since, so the hello was judged when it came.
        if self._gone_back or self.hello.next <= durable:
            self._rolled_back()
            raise LinkRollbackError(
                f"the next batch of {self.hello.device} is {self.hello.next}, and a later one is known",
                hint="Its memory was reset or its key copied: retire the key and enrol the device under a new one.",
            )
        self._durable = max(self._durable, durable)
        self._expected = max(self._expected, durable + 1)
        self._accepted = True
        self._pending.pop(ERROR, None)
        self._acknowledge()
        if self._early:  # they are gone: without this the device would say them again when its timer expires
            self._early = False
            self._pending[ERROR] = Refusal(0, "order", self._expected)

    def refuse(self) -> None:
        """Take nothing of the device that said hello: its key is not enrolled, or retired. It keeps what it has."""
        self._accepted = False
        self._pending[ERROR] = Refusal(0, "refused", 0)

    def acknowledge(self, counter: int) -> None:
        """Every batch up to `counter` that came out is durable: its entry is committed."""
        if counter >= self._expected or self.hello is None:
            raise UsageError(f"batch {counter} has not come out of this link and cannot be acknowledged")
        self._durable = max(self._durable, counter)
        self._acknowledge()

    def outgoing(self) -> bytes:
        """The bytes to send now; each is given once. At most one frame of each kind waits, whatever happens."""
        out = bytearray()
        for kind, message in self._pending.items():
            out += wrap(kind, self._sequence, EMPTY if message is None else message.encode())
            self._sequence = (self._sequence + 1) & 0xFFFF
        self._pending.clear()
        return bytes(out)

    def _frame(self, frame: Frame, events: list[Event]) -> None:
        if frame.version != VERSION:
            self._refuse(frame, "version", f"version {frame.version}; this host speaks {VERSION}", events)
        elif frame.kind in HOST_KINDS:
            self.counts.echoes += 1
        elif frame.kind == HELLO:
            self._hello(frame, Hello.decode(frame.body), events)
        elif frame.kind == BATCH:
            self._count(frame)
            self._batch(frame, events)
        else:
            self._count(frame)
            self._refuse(frame, "kind", f"kind {frame.kind}", events)

    def _count(self, frame: Frame) -> None:
        """Count the frames that should have come before this one."""
        if self._device_sequence is not None:
            ahead = (frame.sequence - self._device_sequence - 1) & 0xFFFF
            if ahead < 0x8000:  # beyond, it is an old frame and none is lost
                self.counts.lost += ahead
        self._device_sequence = frame.sequence

    def _hello(self, frame: Frame, hello: Hello, events: list[Event]) -> None:
        before, self.hello = self.hello, hello
        if before is None or before.boot != hello.boot:
            self._device_sequence = None  # a device numbers its frames from its start
        self._count(frame)
        if before is None or (before.device, before.key) != (hello.device, hello.key):
            self._accepted, self._early = False, False  # whoever this is, the driver has to accept it first
        if before is None or before.key != hello.key:
            self._durable, self._expected = 0, 1
            self._delivered.clear()
            self._pending.pop(ACK, None)
        events.append(hello)
        self._asked_back = 0
        self._gone_back = hello.next < self._expected
        if self._gone_back:
            self._rolled_back()
            self.counts.refused += 1
            events.append(Refused("rolled-back", f"its next batch is {hello.next}, and {self._expected - 1} is known"))
        elif self._accepted:
            self._acknowledge()

    def _rolled_back(self) -> None:
        self._accepted = False
        self._pending.pop(ACK, None)
        self._pending[ERROR] = Refusal(0, "rolled-back", 0)

    def _batch(self, frame: Frame, events: list[Event]) -> None:
        if self.hello is None:
            self._pending[ASK] = None
        if self.hello is None or not self._accepted:
            self.counts.early += 1
            self._early = self.hello is not None
            return
        oldest, batch = batches.decode(frame.body)
        if (batch.device, batch.key) != (self.hello.device, self.hello.key):
            self._refuse(frame, "key", f"batch {batch.counter} names another device or key than the hello", events)
            return
        if batch.counter < self._expected:
            self._duplicate(batch, events)
        elif oldest <= self._expected < batch.counter:
            self.counts.ahead += 1
            self._go_back(frame, self._expected)
        else:
            self._take(frame, oldest, batch, events)

    def _take(self, frame: Frame, oldest: int, batch: SignedBatch | UnfitBatch, events: list[Event]) -> None:
        if oldest > self._expected:
            events.append(Missing(self._expected, oldest - 1))
            self._expected = oldest
            if batch.counter > oldest:
                self.counts.ahead += 1
                self._go_back(frame, oldest)
                return
        events.append(batch)
        self._expected = batch.counter + 1
        self._delivered[batch.counter] = batch.signature
        if len(self._delivered) > REMEMBERED:
            self._delivered.popitem(last=False)

    def _duplicate(self, batch: SignedBatch | UnfitBatch, events: list[Event]) -> None:
        self.counts.duplicates += 1
        known = self._delivered.get(batch.counter) == batch.signature
        events.append(Duplicate(batch, known))
        if known:
            self._acknowledge()

    def _go_back(self, frame: Frame, counter: int) -> None:
        """Once for each gap: should this be lost, the device's own timer brings it back."""
        if self._asked_back != counter:
            self._asked_back = counter
            self._pending[ERROR] = Refusal(frame.sequence, "order", counter)

    def _acknowledge(self) -> None:
        if self.hello is not None and self._accepted:
            self._pending[ACK] = Ack(self.hello.boot, self._durable)

    def _refuse(self, frame: Frame, reason: str, detail: str, events: list[Event]) -> None:
        self.counts.refused += 1
        self._pending[ERROR] = Refusal(frame.sequence, reason, self._expected if self._accepted else 0)
        events.append(Refused(reason, detail))
