"""The pharmacy agent: the counter's software connects on this box and sends requests, one a line; so do replies come.

What a request may hold and what is done with it stands in counter.py. Requests are handled one at a time, in their
order, because two tills must not race for a pack.

A line that is too long ends its connection. So does a line without an end: of a scan that was cut off, what came may be
another pack's. And so does a request of HTTP: any page that a browser on this box shows can make it send one here, with
requests of ours as its body.

What hangs holds its place no longer than `stall_seconds`: a line has to end within that time from its first byte on,
and a reply has to be read. Between lines a till may wait as long as it likes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from medledger.errors import MedledgerError, TransportError
from medledger.importing import Advance
from medledger.ledger import Ledger

from .. import logs
from ..health import HEALTH
from ..inbox import Inbox
from ..recorder import Recorder
from ..subjects import Subjects
from .config import PharmacyConfig
from .counter import MAX_ENTRIES, Counter, how_far, interrupted
from .requests import MAX_LINE_BYTES, RefusedError, malformed
from .scans import scan_reader

LOOK_SECONDS: Final = 1.0
"""The least time between two looks at what other pharmacies did."""

LOOK_ENTRIES: Final = 200
"""How much one look takes, about a fifth of a second. Where there is more to read, the next comes at once, behind the
requests that wait.
"""

STOP_SECONDS: Final = 2.0
"""How long a request under way gets when the agent stops."""

_END: Final = re.compile(rb"[\r\n]")
_HTTP: Final = re.compile(rb"[A-Z]+ \S* HTTP/[0-9.]+")


class Pharmacy:
    """Serves the counter until `stop`."""

    def __init__(self, config: PharmacyConfig, ledger: Ledger, inbox: Inbox, subjects: Subjects) -> None:
        self._settings = config.scanner
        self._ledger = ledger
        self._recorder = Recorder(ledger, inbox, interrupted, max_entries=MAX_ENTRIES)
        reading = scan_reader(config.scanner)
        self._counter = Counter(ledger, inbox, config.dispensing, self._recorder, subjects, read_scan=reading)
        self._worker = ThreadPoolExecutor(1, "counter")
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._more = asyncio.Event()  # there is, or may be, something to read
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Settle what the last run left, and listen. Raises `TransportError` when the port cannot be had."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._loop.run_in_executor(self._worker, self._recorder.settle)
        except MedledgerError as error:  # as long as it lasts, each request hears of it
            logs.warning("unfinished requests wait", reason=str(error))
        try:
            self._server = await asyncio.start_server(
                self._connected, self._settings.host, self._settings.port, limit=MAX_LINE_BYTES
            )
        except OSError as error:
            raise TransportError(
                f"cannot listen on {self._settings.host}:{self._settings.port}: {error.strerror or error}",
                hint="Is another agent running? Choose another port in [scanner].",
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        logs.event("listening", protocol="scans", host=host, port=port)

    async def run(self) -> None:
        """Look at what other pharmacies did, as it comes: a conflict is said when it is found, not at the next scan."""
        loop = asyncio.get_running_loop()
        self._more.set()  # what came while this box was off

        def note(advance: Advance) -> None:
            if advance.feed != self._ledger.me:
                loop.call_soon_threadsafe(self._more.set)

        unwatch = self._ledger.watch(note)
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                while await loop.run_in_executor(self._worker, self._look):
                    pass
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            unwatch()

    def _look(self) -> bool:
        """Read for a moment; whether there is more."""
        try:
            self._counter.look(LOOK_ENTRIES)
        except MedledgerError as error:
            logs.warning("what came cannot be read", reason=str(error))
            return False
        behind = self._counter.behind
        if behind is not None and behind.reading:
            HEALTH.fault("register", f"requests are refused while the ledger is read: {how_far(behind)}")
        else:
            HEALTH.mended("register")
        return behind is not None

    def _handle(self, line: bytes) -> dict[str, Any]:
        reply = self._counter.handle(line)
        if self._counter.behind is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._more.set)
        return reply

    async def stop(self) -> None:
        """Finish the requests under way, and end."""
        assert self._server is not None  # it was started
        self._server.close()
        self._stopping.set()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=STOP_SECONDS)
            for connection in late:
                connection.cancel()
        self._worker.shutdown()
        self._counter.close()

    async def beat(self) -> None:
        """Return when the counter's thread has had its turn."""
        await asyncio.get_running_loop().run_in_executor(self._worker, lambda: None)

    def reload(self, config: PharmacyConfig) -> None:
        """Go on with this configuration: only live keys differ."""
        self._counter.settings = config.dispensing

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        if len(self._connections) >= self._settings.max_connections:
            logs.warning("connection turned away", limit=self._settings.max_connections)
            writer.close()
            return
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the peer has gone, or we stop
        except Exception as error:  # noqa: BLE001 - one connection's fault must not end the agent
            logs.unforeseen("connection", error)
        finally:
            await _hang_up(writer, self._settings.stall_seconds)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        patience = self._settings.stall_seconds
        stopping = asyncio.create_task(self._stopping.wait())
        lines = _lines(reader, patience)
        try:
            while not stopping.done():
                reading = asyncio.create_task(anext(lines, None))
                await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    return
                line = reading.result()
                if line is None:
                    return
                await _answer(writer, await loop.run_in_executor(self._worker, self._handle, line), patience)
        except RefusedError as error:
            logs.warning("connection closed", code=error.code)
            await _answer(writer, {"result": "refused", "code": error.code, "reason": str(error)}, patience)
        finally:
            stopping.cancel()


async def _answer(writer: asyncio.StreamWriter, reply: Mapping[str, Any], patience: float) -> None:
    """Send a reply. Raises `OSError` where nobody reads it: what was logged stands, and is told again under its id."""
    writer.write(json.dumps(reply, ensure_ascii=False).encode() + b"\n")
    try:
        async with asyncio.timeout(patience):
            await writer.drain()
    except TimeoutError:
        logs.warning("replies are not read: connection closed")
        writer.transport.abort()
        raise


async def _hang_up(writer: asyncio.StreamWriter, patience: float) -> None:
    """Close when what was written has left, or when nobody takes it."""
    writer.close()
    try:
        async with asyncio.timeout(patience):
            await writer.wait_closed()
    except OSError:  # a `TimeoutError` is one
        writer.transport.abort()


async def _lines(reader: asyncio.StreamReader, patience: float) -> AsyncGenerator[bytes, None]:
    """The lines that are not blank, each ended by LF or CR. Raises `RefusedError` for what ends the connection."""
    loop = asyncio.get_running_loop()
    rest, until = b"", None
    while len(rest) <= MAX_LINE_BYTES and (found := await _read(reader, until)):
        *lines, rest = _END.split(rest + found)
        for line in lines:
            if len(line) > MAX_LINE_BYTES:
                raise malformed("the line is too long")
            if _HTTP.fullmatch(line):
                raise malformed("this is not a web server")
            if line.strip():
                yield line
        if lines or until is None:  # the time of a line counts from its first byte
            until = loop.time() + patience if rest else None
    if len(rest) > MAX_LINE_BYTES:
        raise malformed("the line is too long")
    if rest.strip():
        raise malformed("the last line has no end: it may have been cut off")


async def _read(reader: asyncio.StreamReader, until: float | None) -> bytes:
    """The next bytes, empty at the end. Raises `RefusedError` where none come until then, by the loop's clock."""
    try:
        async with asyncio.timeout_at(until):
            return await reader.read(MAX_LINE_BYTES)
    except TimeoutError as error:
        raise RefusedError("stalled", "the line was begun and not ended: send it again, whole") from error
