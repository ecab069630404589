"""The device's end of the line: readings, and bytes from the host, in; frames out. No I/O, no clock.

Rules (docs/serial-link.md; the firmware's `device.c` is the same machine, and a test compares their bytes):

- Readings gather in the open batch. Sealing gives it the next counter, which is persisted *before* anything is sent
  under it: whatever happens, no counter is used for two batches.
- Each transmission of a batch says how long ago it was sealed.
- Sealed batches stay in a ring until the host acknowledges them. A full ring drops its oldest, which the host sees in
  `oldest` and `dropped`, and everybody in the counter that is missing for ever.
- At most `WINDOW` batches are under way. When nothing is acknowledged for a while, all that is kept is said again from
  the oldest on, after a hello; the while doubles from `FIRST_TIMEOUT_MS` to `LAST_TIMEOUT_MS`.
- Bytes of the host are hostile: what is no frame, too long, for another boot or out of range changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from medledger import cbor
from medledger.errors import UsageError
from medledger.limits import MAX_COUNTER
from medledger.records import batch_message

from ..errors import LinkBodyError
from .batch import SignedBatch
from .batch import encode as encode_batch
from .frames import VERSION, Deframer, Frame, wrap
from .messages import ACK, ASK, BATCH, EMPTY, ERROR, HELLO, Ack, Hello, Refusal

RING: Final = 32
WINDOW: Final = 8
FIRST_TIMEOUT_MS: Final = 1_000
LAST_TIMEOUT_MS: Final = 32_000
MAX_READINGS: Final = 16
READINGS_BYTES: Final = 3072
SIGNATURE_BYTES: Final = 64


class Device:
    """One boot of one device. `save` makes a counter durable, and is called before the batch can be sent."""

    def __init__(
        self,
        seed: bytes,
        *,
        device: str,
        boot: bytes,
        counter: int,
        save: Callable[[int], None],
        model: str = "medledger reference",
        firmware: str = "1.0",
        calibrated: int | None = None,
        readings: int = 10,
    ) -> None:
        self.key, self._secret = crypto_sign_seed_keypair(seed)
        self.counter = counter  # of the batch sealed last
        self.dropped = 0
        self.refusals: list[str] = []  # the host's reasons, the last few
        self._name, self._boot, self._save, self._per_batch = device, boot, save, min(readings, MAX_READINGS)
        self._model, self._firmware, self._calibrated = model, firmware, calibrated
        self._open: list[list[Any]] = []
        self._open_bytes = 0
        self._ring: OrderedDict[int, SignedBatch] = OrderedDict()
        self._deframer = Deframer()
        self._sequence = 0
        self._say_hello = True
        self._next_to_send = counter + 1
        self._timeout = FIRST_TIMEOUT_MS
        self._deadline: int | None = None  # when what is under way is said again

    @property
    def oldest(self) -> int:
        """The lowest counter that is kept; the next one where none is."""
        return next(iter(self._ring), self.counter + 1)

    @property
    def idle(self) -> bool:
        """Whether all that was measured is acknowledged."""
        return not self._ring and not self._open

    def measure(self, now: int, samples: Sequence[Any]) -> None:
        """Add one reading, taken at `now` ms since the boot; a batch that is full with it, or before it, is sealed."""
        reading = [now, list(samples)]
        size = len(cbor.encode(reading))
        if self._open_bytes + size > READINGS_BYTES or len(self._open) >= self._per_batch:
            self.seal(now)
        self._open.append(reading)
        self._open_bytes += size
        if len(self._open) >= self._per_batch:
            self.seal(now)

    def seal(self, now: int) -> None:
        """End the open batch, if it holds anything. Raises UsageError after the last counter."""
        if not self._open:
            return
        counter = self.counter + 1
        if counter > MAX_COUNTER:
            raise UsageError("the last counter of this key is used up", hint="Give the device a new key.")
        self._save(counter)
        fields: dict[str, Any] = {
            "device": self._name,
            "key": self.key,
            "boot": self._boot,
            "counter": counter,
            "uptime": now,
            "readings": self._open,
        }
        signature = crypto_sign(batch_message(**fields), self._secret)[:SIGNATURE_BYTES]
        if len(self._ring) == RING:
            self._ring.popitem(last=False)
            self.dropped += 1
        self._ring[counter] = SignedBatch(**fields, signature=signature)
        self.counter, self._open, self._open_bytes = counter, [], 0
        self._next_to_send = max(self._next_to_send, self.oldest)

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes of the host."""
        for frame in self._deframer.feed(data):
            try:
                self._frame(frame, now)
            except LinkBodyError:
                continue  # a host that errs is heard again when it does not

    def acknowledged(self, counter: int, now: int) -> None:
        """Every batch up to `counter` is durable with the host. A counter that is not kept changes nothing."""
        if not self.oldest <= counter <= self.counter:
            return
        while self._ring and self.oldest <= counter:
            self._ring.popitem(last=False)
        self._next_to_send = max(self._next_to_send, self.oldest)
        self._timeout = FIRST_TIMEOUT_MS
        self._deadline = now + self._timeout if self._next_to_send > self.oldest else None

    def send(self, now: int) -> bytes:
        """The next frame to send, or nothing. Call again when it has been written."""
        if self._deadline is not None and now >= self._deadline:
            self._timeout = min(2 * self._timeout, LAST_TIMEOUT_MS)
            self._go_back(self.oldest)
            self._say_hello = True
        if self._say_hello:
            self._say_hello = False
            return self._wrap(HELLO, self.hello().encode())
        counter = self._next_to_send
        if counter > self.counter or counter - self.oldest >= WINDOW:
            return b""
        self._next_to_send += 1
        if self._deadline is None:
            self._deadline = now + self._timeout
        batch = self._ring[counter]
        return self._wrap(BATCH, encode_batch(self.oldest, replace(batch, age=now - batch.uptime)))

    @property
    def deadline(self) -> int | None:
        """When `send` has something to say again, ms since the boot, should the host stay silent."""
        return self._deadline

    def hello(self) -> Hello:
        """What the device says of itself."""
        return Hello(
            self._name,
            self.key,
            self._boot,
            self.counter + 1,
            self.oldest,
            self.dropped,
            self._model,
            self._firmware,
            self._calibrated,
        )

    def _frame(self, frame: Frame, now: int) -> None:
        if frame.version != VERSION:
            return
        if frame.kind == ACK:
            ack = Ack.decode(frame.body)
            if ack.boot == self._boot:
                self.acknowledged(ack.counter, now)
        elif frame.kind == ASK and frame.body == EMPTY:
            self._say_hello = True
            self._timeout = FIRST_TIMEOUT_MS
            self._go_back(self.oldest)
        elif frame.kind == ERROR:
            refusal = Refusal.decode(frame.body)
            self.refusals = [*self.refusals[-7:], refusal.reason]
            if refusal.reason == "order" and self.oldest <= refusal.counter < self._next_to_send:
                self._go_back(refusal.counter)

    def _go_back(self, counter: int) -> None:
        """Say everything again from `counter` on; the timer starts anew with the first."""
        self._next_to_send = counter
        self._deadline = None

    def _wrap(self, kind: int, content: bytes) -> bytes:
        frame = wrap(kind, self._sequence, content)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return frame
