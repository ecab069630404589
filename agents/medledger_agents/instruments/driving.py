"""Drives the instruments that are wired to this box: bytes to records, records to the ledger, and then the device told.

- Each instrument has a task of its own. One that fails is logged, shown as a fault and driven again after a pause: a
  broken cable harms no other instrument, and nothing that monitors send.
- A batch that a device signed is acknowledged to it when its entry is on this box's disk, and not before. What this box
  cannot log it does not acknowledge: the device keeps it, and says it again.
- A device that says another name than it is wired under is not read: somebody has plugged it in elsewhere, and its
  readings would be another patient's. One that nobody has enrolled is logged all the same, with a warning: the
  enrolment may be on its way, and until it is there the batches prove nothing.
- A retired key's batches are logged up to its last counter, which count, and refused beyond it. That is a fault
  as soon as the device's next batch would not count.
- A batch that no entry can hold is kept as it came, named on the ledger by its hash, and acknowledged: it holds up none
  behind it, and is not missing.
- Two different batches under one number are both logged: one key is in two devices, and that has to be seen.
- What a Bluetooth device may have stored is dated by its own clock alone, and else is of no known time.
- Bluetooth confirms a value before anybody could commit it: one that cannot be logged is lost to us, and counted. A
  meter's stored records are asked for again with the next connection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final

from medledger.device_keys import is_enrolled, last_counter
from medledger.errors import MedledgerError
from medledger.ledger import Ledger
from medledger_bridge import devices
from medledger_bridge.errors import BridgeError
from medledger_bridge.link.batch import SignedBatch, UnfitBatch
from medledger_bridge.link.host import Duplicate, Missing, Refused
from medledger_bridge.link.messages import Hello

from .. import logs
from ..health import HEALTH, Health
from ..inbox import Inbox, Received
from ..inboxfile import COUNTED
from ..recorder import Answer, Delivery
from .config import SIGNED, Wiring
from .dating import measured
from .envelope import Span, Taken, of_batch, of_unfit, of_values

PAUSE_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 2.0
"""How long a batch waits that could not be logged, before it is tried again."""

BREATH_SECONDS: Final = 0.5
"""How long nothing is read after a hello: looking its key up takes a while, and a device that says nothing else must
not keep the box from its monitors."""

FRESH_MS: Final = 2000
"""How old a value may be that comes over Bluetooth as it is measured, or over a serial line unsigned."""

Submit = Callable[[Delivery], Awaitable[Answer]]
Draft = Callable[[Taken], tuple[Any, ...]]


class Instruments:
    """All instruments of one box. `submit` logs a delivery, `draft` makes its drafts of what was measured."""

    def __init__(
        self,
        wired: Mapping[str, Wiring],
        ledger: Ledger,
        inbox: Inbox,
        *,
        submit: Submit,
        draft: Draft,
        health: Health = HEALTH,
    ) -> None:
        self._wired = wired
        self._ledger = ledger
        self._inbox = inbox
        self._submit = submit
        self._draft = draft
        self._health = health
        self._tasks: list[asyncio.Task[None]] = []
        self._number = 0
        self._logged: dict[bytes, int] = {}  # by key: the highest counter

    def start(self) -> None:
        """Begin to drive each of them."""
        for device, wiring in self._wired.items():
            self._tasks.append(asyncio.create_task(self._keep(device, wiring)))

    async def stop(self) -> None:
        """Take nothing more of any."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, device: str, wiring: Wiring) -> None:
        drive = self._signed if wiring.driver == SIGNED else self._read if wiring.port else self._hear
        while True:
            try:
                await drive(device, wiring)
                reason = "it ended"
            except MedledgerError as error:
                reason = f"{error}"
            except Exception as error:  # noqa: BLE001 - one instrument's fault must not end the others
                logs.unforeseen("instrument", error)
                reason = type(error).__name__
            self._fault(device, reason)
            await asyncio.sleep(PAUSE_SECONDS)

    # --- devices that sign ----------------------------------------------------------------------------------------

    async def _signed(self, device: str, wiring: Wiring) -> None:
        from medledger_bridge.serial_port import Plugged, SerialDevice, Unplugged, monotonic_ms

        port = SerialDevice(str(wiring.port), baud=wiring.baud)
        async with aclosing(port.events()) as events:
            async for event in events:
                match event:
                    case Hello():
                        self._greet(device, port, event)
                        await asyncio.sleep(BREATH_SECONDS)
                    case SignedBatch():
                        if self._counts(device, port, event):
                            at = _now()
                            await self._log_batch(event, at, measured(event, port.quiet, monotonic_ms(), at))
                            port.acknowledge(event.counter)
                    case UnfitBatch():
                        if self._counts(device, port, event):
                            await self._log_batch(event, _now(), None)
                            port.acknowledge(event.counter)
                    case Duplicate(batch, known=False):
                        if self._counts(device, port, batch):
                            await self._log_batch(batch, _now(), None)
                            port.acknowledge(batch.counter)
                    case Missing(1, last):
                        logs.event("instrument was in use before it came here", device=device, batches=last)
                    case Missing(first, last):
                        logs.warning("batches are missing", device=device, first=first, last=last)
                    case Refused():
                        logs.warning("frame refused", device=device, reason=event.reason)
                    case Plugged():
                        self._mended(device)
                        logs.event("instrument plugged in", device=device)
                    case Unplugged():
                        self._fault(device, "it is not plugged in")

    def _greet(self, device: str, port: Any, hello: Hello) -> None:
        """Take its batches, or say why not."""
        why = self._hindrance(device, hello)
        if why is not None:
            port.refuse()
            self._fault(device, why)
            return
        port.accept(self._durable(hello.key))
        last = last_counter(self._ledger, hello.key)
        if hello.next > last:
            self._fault(device, _retired(last))
        else:
            self._mended(device)
        enrolled = is_enrolled(self._ledger, hello.key)
        tell = logs.event if enrolled else logs.warning
        tell(
            "instrument greeted" if enrolled else "instrument is not enrolled",
            device=device,
            key=hello.key.hex(),
            firmware=hello.firmware,
            dropped=hello.dropped,
        )

    def _hindrance(self, device: str, hello: Hello) -> str | None:
        if hello.device != device:
            return f"another device is plugged in there: {hello.device}"
        last = last_counter(self._ledger, hello.key)
        return _retired(last) if hello.oldest > last else None

    def _counts(self, device: str, port: Any, batch: SignedBatch | UnfitBatch) -> bool:
        """Whether its key was not retired before it; else nothing more is taken until the device's next hello."""
        last = last_counter(self._ledger, batch.key)
        if batch.counter > last:
            port.refuse()
            self._fault(device, _retired(last))
        return batch.counter <= last

    def _durable(self, key: bytes) -> int:
        """The highest counter of that key that this box has logged.

        What others logged under higher ones need not be what this device holds: its key may have been copied, and what
        is acknowledged it forgets. A batch that two boxes log is one batch to every reader.
        """
        return self._logged.get(key) or self._inbox.highest_logged(_sender(key))

    async def _log_batch(self, batch: SignedBatch | UnfitBatch, at: int, span: Span | None) -> None:
        """Return when it is on the disk; while it cannot be, the device waits. It came in at `at` (UTC ms)."""
        taken = of_batch(batch.to_record(), at, span) if isinstance(batch, SignedBatch) else of_unfit(batch, at)
        message_id = str(batch.counter)
        waited = False
        while True:
            answer = await self._log(_sender(batch.key), message_id, taken)
            if answer.conflict:
                logs.warning("two batches under one number", device=batch.device, counter=batch.counter)
                # by all that is kept of it: of a signature the device can choose the first half
                message_id = f"{batch.counter} {sha256(taken.raw).hexdigest()[:32]}"
            elif answer.refused is None:
                logs.event(
                    "batch logged", level=logging.DEBUG, device=batch.device, counter=batch.counter, block=answer.block
                )
                if waited:
                    self._mended(batch.device)
                self._judge(batch)
                self._logged[batch.key] = max(batch.counter, self._durable(batch.key))
                return
            else:
                waited = True
                self._fault(batch.device, f"nothing of it can be logged: {answer.refused}")
                await asyncio.sleep(AGAIN_SECONDS)

    def _judge(self, batch: SignedBatch | UnfitBatch) -> None:
        """Say what is wrong with a batch that was kept, until one comes with which nothing is."""
        about = f"instrument {batch.device} batches"
        if isinstance(batch, SignedBatch):
            self._health.mended(about)
        else:
            logs.warning("batch kept, and not read", device=batch.device, counter=batch.counter, reason=batch.problem)
            self._health.fault(about, "what it signs does not conform: it is kept here, and nobody can read it")

    # --- devices that do not --------------------------------------------------------------------------------------

    async def _read(self, device: str, wiring: Wiring) -> None:
        """A stream of bytes from a serial port."""
        from medledger_bridge.serial_stream import stream

        driver = devices.new_driver(wiring.driver, device, **wiring.options)
        async with aclosing(stream(str(wiring.port), wiring.baud)) as pieces:
            async for data in pieces:
                self._mended(device)
                at = _now()
                await self._take(driver, device, "", at, data, (at - FRESH_MS, at))

    async def _hear(self, device: str, wiring: Wiring) -> None:
        """Values over Bluetooth."""
        from medledger_bridge.ble.central import Device, Link, listen

        driver: Any = devices.new_driver(wiring.driver, device, **wiring.options)
        async with aclosing(listen([Device(wiring.address or "", driver)], now=_now)) as events:
            async for event in events:
                if isinstance(event, Link):
                    if event.up:
                        self._mended(device)
                        logs.event("instrument in reach", device=device)
                    else:
                        self._fault(device, event.reason)
                        logs.event("instrument out of reach", device=device, reason=event.reason)
                else:
                    span = (event.at - FRESH_MS, event.at) if driver.at_once(event.channel) else None
                    known = driver.numbered(event.channel)
                    taken = await self._take(driver, device, event.channel, event.at, event.data, span, known=known)
                    if known and not taken:
                        raise BridgeError("a stored record could not be logged: all are asked for again")

    async def _take(
        self, driver: Any, device: str, channel: str, at: int, data: bytes, span: Span | None, *, known: bool = False
    ) -> bool:
        """Log a value; whether nothing of it is lost. `known`: the same bytes are the same value whenever they come."""
        try:
            records = devices.feed(driver, data, at, channel)
            if not records:
                return True
            taken = of_values(device, channel, at, data, records, span)
        except MedledgerError as error:
            logs.warning("value not read", device=device, bytes=len(data), reason=type(error).__name__)
            return True  # it will not be read the next time
        self._number += 1
        message_id = sha256(taken.raw).hexdigest() if known else f"{at}.{self._number}"
        answer = await self._log(f"{driver.NAME}:{device}", message_id, taken)
        if answer.refused is not None:
            self._fault(device, f"a value was lost: {answer.refused}")
        return answer.refused is None

    # --- what both have in common ---------------------------------------------------------------------------------

    async def _log(self, sender: str, message_id: str, taken: Taken) -> Answer:
        received = Received(sender, message_id, sha256(taken.raw).digest(), taken.raw, _now())
        return await self._submit(Delivery(received, self._draft(taken)))

    def _fault(self, device: str, reason: str) -> None:
        self._health.fault(f"instrument {device}", reason)

    def _mended(self, device: str) -> None:
        self._health.mended(f"instrument {device}")


def _retired(last: int) -> str:
    return f"its key was retired after batch {last}"


def _sender(key: bytes) -> str:
    return f"{COUNTED}{key.hex()}"


def _now() -> int:
    return time.time_ns() // 1_000_000
