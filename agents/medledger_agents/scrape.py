"""The port for Prometheus and for health checks: HTTP/1.1 as far as GET of two pages needs it.

- `/metrics` is the page of exposition.py; `/health` is 200 or 503 and a JSON object that names each fault.
- Whoever connects can do no harm: at most `MAX_CONNECTIONS` at a time, `MAX_HEAD_BYTES` of request, `DEADLINE_SECONDS`
  from the connection to the end of the answer. One request a connection, which is then closed. What is not HTTP is
  closed without an answer.
- `/health` is answered from memory. `/metrics` asks the database in a thread, and gives up at the deadline: a disk that
  hangs shows in /health, and hangs nothing here. All who ask while a page is made get that page, so that it takes one
  thread at most, also from a disk that never answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final

from medledger.errors import MedledgerError, TransportError

from . import logs
from .config import MetricsSection
from .exposition import CONTENT_TYPE
from .health import HEALTH, Health

MAX_CONNECTIONS: Final = 8
MAX_HEAD_BYTES: Final = 8 * 1024
DEADLINE_SECONDS: Final = 5.0
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Unavailable"}

Reply = tuple[int, str, bytes]
"""Status, content type, body."""


class Scrape:
    """The part. `page` makes the text of /metrics, in a thread."""

    name = "metrics"
    essential = False

    def __init__(
        self,
        section: MetricsSection,
        page: Callable[[], bytes],
        *,
        health: Health = HEALTH,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        self._section = section
        self._page = page
        self._health = health
        self._deadline = deadline
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._making: asyncio.Future[bytes] | None = None

    async def start(self) -> None:
        """Listen. Raises `TransportError` when the port cannot be had."""
        try:
            self._server = await asyncio.start_server(
                self._connected, self._section.host, self._section.port, limit=MAX_HEAD_BYTES
            )
        except OSError as error:
            raise TransportError(
                f"cannot listen on {self._section.host}:{self._section.port}: {error.strerror or error}",
                hint="Is another agent running? Choose another port in [metrics].",
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        logs.event("metrics", host=host, port=port)

    async def run(self) -> None:
        """Serve for ever."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Listen no more."""
        assert self._server is not None  # it was started
        self._server.close()
        for connection in self._connections:
            connection.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            async with asyncio.timeout(self._deadline):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head)
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                    f"Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                )
                writer.write(b"" if head.startswith(b"HEAD ") else body)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001 - one request's fault must not end the agent
            logs.unforeseen("metrics", error)
            writer.transport.abort()

    async def _answer(self, head: bytes) -> Reply:
        parts = head.partition(b"\r\n")[0].split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            return 400, "text/plain", b"this is not HTTP/1.1\n"
        method, target, _ = parts
        path = target.partition(b"?")[0]
        if path not in (b"/metrics", b"/health"):
            return 404, "text/plain", b"/metrics or /health\n"
        if method not in (b"GET", b"HEAD"):
            return 405, "text/plain", b"GET or HEAD\n"
        if path == b"/health":
            return self._healthy()
        try:
            return 200, CONTENT_TYPE, await self._made()
        except MedledgerError as error:
            return 503, "text/plain", f"{error}. {error.hint or ''}\n".encode()

    async def _made(self) -> bytes:
        """The page that is being made, or a new one. Who gives up waiting for it does not end it for others."""
        if self._making is None or self._making.done():
            self._making = asyncio.ensure_future(asyncio.to_thread(self._page))
            self._making.add_done_callback(_heard)
        return await asyncio.shield(self._making)

    def _healthy(self) -> Reply:
        faults = self._health.faults()
        body = json.dumps({"healthy": not faults, "faults": faults}).encode() + b"\n"
        return 503 if faults else 200, "application/json", body


def _heard(made: asyncio.Future[bytes]) -> None:
    """Nobody may be left who waits for it: asyncio must not complain of an error that nobody took."""
    if not made.cancelled():
        made.exception()
