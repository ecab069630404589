"""Gathers messages into batches: one commit for all that come within a window, none later than its window allows.

- A batch is due when its first message has waited for the window, when one of its messages is urgent, or when it holds
  enough records. What arrives while a batch is being recorded makes the next one.
- Recording blocks on the disk, so it runs in a thread of its own, one batch after the other.
- What waits is bounded in bytes: `room` makes those who bring more wait, and they stop reading from their sockets.
- What became of a batch is told once for all of it (`told`), whether or not somebody still waits for its answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from . import logs
from .recorder import Answer, Delivery

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""Raw messages that wait for their commit, over all connections."""

T = TypeVar("T")
Record = Callable[[Sequence[Delivery]], Sequence[Answer]]
Told = Callable[[Sequence[tuple[Delivery, Answer]]], None]


class Batcher:
    """Between the connections and the recorder. `rest` is called, in the recorder's thread, when nothing waits."""

    def __init__(
        self, record: Record, rest: Callable[[], None], told: Told, *, window: float, max_entries: int
    ) -> None:
        self._record = record
        self._rest = rest
        self._told = told
        self._window = window
        self._max_entries = max_entries
        self._waiting: list[tuple[Delivery, asyncio.Future[Answer]]] = []
        self._entries = 0
        self._urgent = False
        self._since = 0.0
        self._bytes = 0
        self._crowded = 0  # how many wait for room
        self._closing = False
        self._ended = False
        self._changed = asyncio.Event()
        self._room = asyncio.Condition()
        self._worker = ThreadPoolExecutor(1, "recorder")

    def adjust(self, *, window: float, max_entries: int) -> None:
        """Gather the following batches in another way."""
        self._window = window
        self._max_entries = max_entries
        self._changed.set()

    async def beat(self) -> None:
        """Return when the recorder's thread has had its turn: it is there, and does not hang."""
        with suppress(RuntimeError):  # it has ended in an orderly way
            await asyncio.get_running_loop().run_in_executor(self._worker, _nothing)

    async def room(self, size: int) -> None:
        """Wait until a message of that many bytes may be submitted, and submit it before waiting for anything else.

        A message always may when nothing else waits.
        """
        if self._fits(size):
            return
        self._crowded += 1
        try:
            async with self._room:
                await self._room.wait_for(lambda: self._fits(size))
        finally:
            self._crowded -= 1

    def _fits(self, size: int) -> bool:
        return self._bytes == 0 or self._bytes + size <= MAX_WAITING_BYTES

    def submit(self, delivery: Delivery) -> asyncio.Future[Answer]:
        """Queue a message; the answer comes when it is durable, or refused. After the end it is cancelled."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._since = loop.time()
        answer: asyncio.Future[Answer] = loop.create_future()
        if self._ended:
            answer.cancel()
            return answer
        self._waiting.append((delivery, answer))
        self._bytes += len(delivery.message.raw)
        self._entries += len(delivery.records)
        self._urgent |= delivery.urgent
        self._changed.set()
        return answer

    def close(self) -> None:
        """Record what waits at once, then end `run`."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """Record batches until `close`."""
        try:
            while not (self._closing and not self._waiting):
                await self._due()
                batch = self._next()
                if batch:
                    await self._settle(batch)
                    if not self._waiting:
                        await self.aside(self._rest)
        finally:
            self._ended = True
            self._worker.shutdown()

    async def _due(self) -> None:
        """Wait until a batch is due, or nothing more will come."""
        loop = asyncio.get_running_loop()
        while not self._closing:
            self._changed.clear()
            left = None
            if self._waiting:
                left = self._since + self._window - loop.time()
                if self._urgent or self._entries >= self._max_entries or left <= 0:
                    return
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return

    def _next(self) -> list[tuple[Delivery, asyncio.Future[Answer]]]:
        batch, self._waiting = self._waiting, []
        self._entries, self._urgent = 0, False
        return batch

    async def _settle(self, batch: list[tuple[Delivery, asyncio.Future[Answer]]]) -> None:
        deliveries = [delivery for delivery, _ in batch]
        answers = await self.aside(lambda: self._record(deliveries))
        if answers is None:
            answers = [Answer(None, "an internal error of the receiver")] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():  # a connection that has gone does not wait for it
                future.set_result(answer)
        try:
            self._told(list(zip(deliveries, answers, strict=True)))
        except Exception as error:  # noqa: BLE001 - what is recorded is recorded
            logs.unforeseen("recorder", error)
        self._bytes -= sum(len(delivery.message.raw) for delivery in deliveries)
        if self._crowded:
            async with self._room:
                self._room.notify_all()

    async def aside(self, work: Callable[[], T]) -> T | None:
        """Run in the recorder's thread; None after a fault of ours, which is logged."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work)
        except Exception as error:  # noqa: BLE001 - the agent goes on: a message is not acknowledged, and sent again
            logs.unforeseen("recorder", error)
            return None


def _nothing() -> None:
    pass
