"""The bedside agent: monitors connect and send HL7 v2 messages (MLLP); their readings go on the ledger.

- `MSA|AA` is sent when the readings are durable on this box, never before. Whatever cannot be logged gets AE or AR with
  the reason, and stays with its sender.
- Acknowledgements go out in the order of the messages, whether these came one by one or many in a packet.
- Everything is bounded: connections, the length of a message, messages and bytes that wait. Whoever sends faster than
  the disk takes is not read from until there is room.
- With TLS in the configuration the port takes TLS only (tls.py). What people say by hand comes through a socket of its
  own, a file beside the ledger that only its owner can use.
- Devices are watched by what was logged of them (signals.py): a timer stands at the next silence that means something.
- Bytes that are no MLLP end their connection, after the messages before them are acknowledged. So does a sender that
  stops in the middle of a message.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from zoneinfo import ZoneInfo

from medledger.associations import Margins
from medledger.errors import MedledgerError, TransportError
from medledger.ledger import Ledger
from medledger_bridge.errors import MllpError
from medledger_bridge.mllp import Framer, wrap

from .. import logs
from ..batcher import Batcher
from ..inbox import Inbox
from ..instruments.driving import Instruments
from ..recorder import Answer, Delivery, Recorder
from ..subjects import Subjects
from . import hand
from .config import BedsideConfig
from .intake import ACCEPTED, ERROR, Intake, Taken, devices_of, wired
from .moves import Beds
from .quarantine import runs_in
from .tls import HANDSHAKE_SECONDS, HELLO, explain, server_context
from .ward import Ward
from .watching import Watching

CHUNK_BYTES: Final = 64 * 1024
PENDING_MESSAGES: Final = 64
"""Messages of one connection that wait for their acknowledgement."""

LOOK_SECONDS: Final = 1.0
STOP_SECONDS: Final = 2.0
"""How long connections get to receive their last acknowledgements when the agent stops."""

KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 4))
"""A monitor that was switched off is noticed within two and a half minutes, and frees its connection."""

ENCRYPTED: Final = "the sender speaks TLS, and this port takes plain text: set tls_certificate_file, or switch TLS off"

Reply = tuple[Taken, asyncio.Future[Answer] | None]
"""A message, and what becomes of it; None where nothing does."""


class Bedside:
    """Serves monitors until `stop`."""

    def __init__(self, config: BedsideConfig, ledger: Ledger, inbox: Inbox, subjects: Subjects) -> None:
        beds = config.beds
        self._settings = config.mllp
        self._tls = server_context(config.mllp)
        self._local = config.ledger.path.parent / hand.SOCKET_NAME
        self._intake = Intake(
            subjects, beds.association == "adt", None if beds.zone is None else ZoneInfo(beds.zone), beds.issuer or ""
        )
        self._ledger = ledger
        self._margins = Margins(round(beds.clock_seconds * 1000), round(beds.delay_seconds * 1000))
        self._ward = Ward(ledger, subjects, Beds(beds.devices or {}), self._margins)
        self._recorder = Recorder(
            ledger,
            inbox,
            self._intake.read,
            max_entries=config.batch.max_entries,
            decide=self._ward.decide,
            undo=self._ward.undo,
        )
        self._batcher = Batcher(
            self._recorder.record,
            self._recorder.rest,
            self._told,
            window=config.batch.window_seconds,
            max_entries=config.batch.max_entries,
        )
        self._watching = Watching(config.signals, ledger, self._recorder, self._batcher)
        self._instruments = Instruments(
            config.instruments.devices or {}, ledger, inbox, submit=self._deliver, draft=wired
        )
        self._server: asyncio.Server | None = None
        self._by_hand: asyncio.Server | None = None
        self._recording: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Settle what the last run left, and listen. Raises `TransportError` when the port cannot be had."""
        try:
            await asyncio.to_thread(self._prepare)
        except MedledgerError as error:  # as long as it lasts, each message hears of it
            logs.warning("unfinished messages wait", reason=str(error))
        try:
            self._server = await asyncio.start_server(
                self._connected, self._settings.host, self._settings.port, limit=CHUNK_BYTES
            )
        except OSError as error:
            raise TransportError(
                f"cannot listen on {self._settings.host}:{self._settings.port}: {error.strerror or error}",
                hint="Is another agent running? Choose another port in [mllp].",
            ) from error
        self._recording = asyncio.create_task(self._batcher.run())
        self._watching.start()
        self._instruments.start()
        if self._intake.by_adt:
            self._by_hand = await self._listen_by_hand()
            self._looking = asyncio.create_task(self._look())
        host, port = self._server.sockets[0].getsockname()[:2]
        logs.event("listening", protocol="mllp" if self._tls is None else "mllps", host=host, port=port)

    def _prepare(self) -> None:
        """What the last run left open, and what a new table of beds means."""
        self._recorder.settle()
        if self._intake.by_adt:
            self._recorder.note(self._ward.reconcile(_now()))

    async def _look(self) -> None:
        """Notice that the clock was set while nobody sends anything: what comes in after it has a time again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._batcher.aside(self._ward.look)

    async def _listen_by_hand(self) -> asyncio.Server | None:
        """Our own socket. Without it the agent works all the same, and says so."""
        with suppress(OSError):
            self._local.unlink()
        before = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(self._connected_by_hand, self._local, limit=CHUNK_BYTES)
        except OSError as error:
            logs.warning("nothing can be said by hand", reason=str(error.strerror or error))
            return None
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Take nothing more, record what was taken, acknowledge it, and end."""
        assert self._server is not None  # it was started
        assert self._recording is not None
        self._server.close()
        if self._by_hand is not None:
            self._by_hand.close()
            self._local.unlink(missing_ok=True)
        if self._looking is not None:
            self._looking.cancel()
        await self._instruments.stop()
        await self._watching.stop()
        self._batcher.close()
        await self._recording
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=STOP_SECONDS)
            for connection in late:
                connection.cancel()

    async def run(self) -> None:
        """Until `stop`; it returns or raises before only where recording has failed."""
        assert self._recording is not None  # it was started
        await asyncio.shield(self._recording)

    async def beat(self) -> None:
        """Return when the recorder's thread has had its turn."""
        await self._batcher.beat()

    def reload(self, config: BedsideConfig) -> None:
        """Go on with this configuration: only live keys differ."""
        try:
            tls = server_context(config.mllp)
            if (tls is None) is (self._tls is None):  # whether there is TLS at all takes a restart
                self._tls = tls
        except MedledgerError as error:
            logs.warning("certificate not reloaded", reason=str(error), hint=error.hint)
        self._settings = config.mllp
        self._recorder.max_entries = config.batch.max_entries
        self._batcher.adjust(window=config.batch.window_seconds, max_entries=config.batch.max_entries)

    # --- one connection -----------------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer, _peer(writer), local=False)

    async def _connected_by_hand(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer, "this box", local=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str, *, local: bool
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # a coroutine runs in one
        if len(self._connections) >= self._settings.max_connections:
            logs.warning("connection turned away", peer=peer, limit=self._settings.max_connections)
            writer.close()
            return
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        logs.event("connected", peer=peer)
        try:
            if not local:
                _keep_alive(writer)
                await self._greet(writer, peer)
            await self._converse(reader, writer, peer, local=local)
        except (OSError, asyncio.CancelledError):
            pass  # the peer has gone, or we stop: what it was not told, it sends again
        except Exception as error:  # noqa: BLE001 - one connection's fault must not end the agent
            logs.unforeseen("connection", error)
        finally:
            writer.close()
            logs.event("disconnected", peer=peer)

    async def _greet(self, writer: asyncio.StreamWriter, peer: str) -> None:
        """The TLS handshake, where there is TLS. Raises `OSError`, after saying what was wrong."""
        if self._tls is None:
            return
        try:
            await writer.start_tls(self._tls, ssl_handshake_timeout=HANDSHAKE_SECONDS)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            logs.warning("no TLS: connection closed", peer=peer, reason=explain(error))
            raise

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str, *, local: bool
    ) -> None:
        """Read messages until the peer or the agent ends; meanwhile reply to them in their order."""
        replies: asyncio.Queue[Reply | None] = asyncio.Queue(PENDING_MESSAGES)
        replying = asyncio.create_task(self._reply(replies, writer, peer))
        reading = asyncio.create_task(self._read(reader, replies, peer, local=local))
        assert self._recording is not None  # connections come after start
        try:
            await asyncio.wait({reading, replying, self._recording}, return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            await asyncio.wait({reading})
            if not replying.done():
                ending = asyncio.create_task(replies.put(None))  # waits where the queue is full
                await asyncio.wait({ending, replying}, return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
            await replying
            with suppress(asyncio.CancelledError):
                await reading  # a fault of ours in the middle of it
        finally:
            reading.cancel()
            replying.cancel()

    async def _read(
        self, reader: asyncio.StreamReader, replies: asyncio.Queue[Reply | None], peer: str, *, local: bool
    ) -> None:
        framer = Framer(max_message=self._settings.max_message_bytes)
        first = True
        try:
            while data := await self._receive(reader, framer):
                if first and data.startswith(HELLO):
                    logs.warning("not MLLP: connection closed", peer=peer, reason=ENCRYPTED)
                    return
                first = False
                for raw in framer.feed(data):
                    await self._accept(raw, replies, local=local)
            framer.close()
        except MllpError as error:
            for raw in error.messages:
                await self._accept(raw, replies, local=local)
            logs.warning("not MLLP: connection closed", peer=peer, reason=str(error))

    async def _receive(self, reader: asyncio.StreamReader, framer: Framer) -> bytes:
        """The next bytes, empty at the end. A pause is fine between messages; inside one it raises `MllpError`."""
        while True:
            try:
                return await asyncio.wait_for(reader.read(CHUNK_BYTES), self._settings.stall_seconds)
            except TimeoutError:
                framer.close()

    async def _accept(self, raw: bytes, replies: asyncio.Queue[Reply | None], *, local: bool) -> None:
        """Hand a message over; its reply takes its place in the queue. Waits while there is no room."""
        await self._batcher.room(len(raw))
        taken = self._intake.take(raw, _now(), local=local)
        kept = taken.delivery
        if taken.code != ACCEPTED:
            name = None if kept is None else kept.message.sha256.hex()[:16]
            logs.warning("message refused", code=taken.code, message=name, where="intake")
        await replies.put((taken.envelope_only(), None if kept is None else self._batcher.submit(kept)))

    async def _reply(self, replies: asyncio.Queue[Reply | None], writer: asyncio.StreamWriter, peer: str) -> None:
        """Send acknowledgements in the order of their messages, until None; those that are due together, together."""
        due = b""
        while True:
            if due and replies.empty():
                due = await self._send(due, writer, peer)
            reply = await replies.get()
            if due and (reply is None or not _is_due(*reply)):
                due = await self._send(due, writer, peer)
            if reply is None:
                return
            due += wrap(await self._acknowledgement(*reply))

    async def _acknowledgement(self, taken: Taken, answer: asyncio.Future[Answer] | None) -> bytes:
        """What the sender of a message is told, once what was logged of it is durable."""
        if taken.asked is not None:
            return taken.acknowledgement(ACCEPTED) + await self._quarantined(taken.asked)
        refused = taken.reason if answer is None else (await answer).refused
        if refused is None:
            return taken.acknowledgement(ACCEPTED)
        return taken.acknowledgement(taken.code if refused == taken.reason else ERROR, refused)

    async def _send(self, due: bytes, writer: asyncio.StreamWriter, peer: str) -> bytes:
        """Nothing is due any more. Who does not read its acknowledgements loses its place: `ConnectionError`."""
        writer.write(due)
        try:
            async with asyncio.timeout(self._settings.stall_seconds):
                await writer.drain()
        except TimeoutError:
            logs.warning("acknowledgements are not read: connection closed", peer=peer)
            writer.transport.abort()  # what it was not told, it sends again
            raise ConnectionAbortedError from None
        return b""

    def _told(self, said: Sequence[tuple[Delivery, Answer]]) -> None:
        """What became of a batch."""
        for delivery, answer in said:
            name = delivery.message.sha256.hex()[:16]
            if answer.refused is not None:
                if answer.refused != delivery.refused:  # that was said when it came in
                    logs.warning("message refused", code=ERROR, message=name, where="ledger")
                continue
            logs.event(
                "message repeated" if answer.repeated else "message logged",
                level=logging.DEBUG,
                message=name,
                block=answer.block,
                readings=len(delivery.records),
                alarm=delivery.urgent,
            )
        logged = [delivery.records for delivery, answer in said if answer.refused is None and not answer.repeated]
        if logged:
            self._watching.logged(devices_of([draft for drafts in logged for draft in drafts]), self._ward.departed())

    async def _deliver(self, delivery: Delivery) -> Answer:
        """What an instrument of this box measured: the answer, when it is durable or refused."""
        await self._batcher.room(len(delivery.message.raw))
        return await self._batcher.submit(delivery)

    async def _quarantined(self, hours: int) -> bytes:
        """What a person asks for through our own socket."""
        since = _now() - hours * 3_600_000
        found = await self._batcher.aside(lambda: runs_in(self._ledger, since, self._margins))
        return hand.answer(found or [])


def _now() -> int:
    """UTC ms, by this box's clock."""
    return time.time_ns() // 1_000_000


def _is_due(taken: Taken, answer: asyncio.Future[Answer] | None) -> bool:
    """Whether the reply to a message waits for nothing any more."""
    return taken.asked is None if answer is None else answer.done() and not answer.cancelled()


def _peer(writer: asyncio.StreamWriter) -> str:
    found = writer.get_extra_info("peername")
    return "unknown" if found is None else f"{found[0]}:{found[1]}"


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
