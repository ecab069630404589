"""Gossip: a ledger that converges with its peers in the background, over an MQTT broker.

Rules:

- One thread runs the gossip machine and everything it touches; other threads only leave notes in its mailbox. That of
  the connection asks for a last will before each attempt, when the machine is not at work.
- What leaves is what the machine says, which is what the ledger has released: persisted, and known to the witness.
- The ledger outlives the broker. Without one everything goes on but gossip; when one comes back, so does gossip.
- Nothing that the network or the disk does ends the thread. Should a fault of our own do so, that is an alarm, is
  logged, and stands in `status()`.
- `close` publishes what was appended last and takes less than two seconds, whatever state the network is in.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from medledger import statusfile
from medledger.errors import UsageError
from medledger.importing import Advance
from medledger.ledger import Ledger
from medledger.limits import KEEPALIVE_SECONDS
from medledger.sync import Alarm, Connected, Disconnected, Effect, Event, Node, Publish, Subscribe, Tick, WakeAt
from medledger.sync.alarms import AlarmLog
from medledger.transport_key import TransportKey

from .access import Certificates, with_account
from .address import BrokerAddress
from .connection import Connection
from .mailbox import Mailbox
from .reporting import Reporter
from .session import VERSIONS

FLUSH_SECONDS: Final = 0.6
JOIN_SECONDS: Final = 1.2
MAX_KEEPALIVE_SECONDS: Final = 65_535  # what MQTT can say
SNAPSHOT_SECONDS: Final = 0.1

log = logging.getLogger("medledger.transport")


class Gossip:
    """Keeps `ledger` converging with its peers from `start` to `close`, or while used as a context manager.

    `url` is mqtt:// or mqtts://, or several of them, of which one at a time is used, in turn. `username` and `password`
    override what the URLs say; a password alone is that of the URLs' users. `ca` is a file of certificates to trust
    instead of the system's, `certificate` and `key` are ours for a broker that asks: they are refused where a URL is
    mqtt://. `protocol` is "3.1.1", or "5" for the hints that a broker of that version gives; to one that does not speak
    it we speak 3.1.1. A broker that has fallen silent is left after one to two times `keepalive` seconds. `on_alarm` is
    called, in a thread of gossip's, with an `Alarm`: one sentence for people, `text`, and `hint`, what to do. With
    `must_connect=False` a broker that is not there at the start is waited for; else `connect_seconds` is how long one
    is that is there and does not take us yet, as in a cluster that elects its leader. With `status_file` the status is
    kept in a file beside the ledger, or where that says, for `medledger net status` and other programs (see
    `statusfile`).
    """

    def __init__(
        self,
        ledger: Ledger,
        url: str | Iterable[str],
        *,
        username: str | None = None,
        password: str | None = None,
        ca: str | PathLike[str] | None = None,
        certificate: str | PathLike[str] | None = None,
        key: str | PathLike[str] | None = None,
        protocol: str = "3.1.1",
        client_id: str = "medledger",
        keepalive: int = KEEPALIVE_SECONDS,
        on_alarm: Callable[[Alarm], None] | None = None,
        must_connect: bool = True,
        connect_seconds: float = 0,
        status_file: bool | str | PathLike[str] = False,
    ) -> None:
        addresses = with_account(BrokerAddress.parse_all(url), username, password)
        if protocol not in VERSIONS:
            raise UsageError(f"there is no MQTT {protocol!r} here", hint=f"Choose one of: {', '.join(VERSIONS)}.")
        if not 1 <= keepalive <= MAX_KEEPALIVE_SECONDS:
            raise UsageError(f"keepalive is 1 to {MAX_KEEPALIVE_SECONDS} seconds, not {keepalive}")
        self._ledger = ledger
        self._on_alarm = on_alarm
        self._must_connect = must_connect
        self._connect_seconds = connect_seconds
        self._mailbox = Mailbox()
        self._connection = Connection(
            addresses,
            self._mailbox,
            protocol=protocol,
            client_id=client_id,
            tls=Certificates(ca, certificate, key).context(addresses),
            on_complaint=self._raise_alarm,
            on_fault=self._fail,
            make_will=self._make_will,
            keepalive=keepalive,
        )
        randomness = random.SystemRandom()
        self._node = Node(
            ledger,
            rng=randomness,
            boot_id=randomness.randbytes(8),
            now=time.monotonic(),
        )
        path = statusfile.place(ledger.path) if status_file is True else Path(status_file) if status_file else None
        self._reporter = Reporter(ledger, path)
        self._machine = threading.Lock()  # held by whoever uses the node
        self._wake = time.monotonic()
        self._changed = threading.Condition()
        self._snapshot: dict[str, Any] = self._node.status(time.monotonic())
        self._snapshot_at = time.monotonic()
        self._look = float("inf")  # when to, should nothing happen before
        self._connected_at: float | None = None
        self._alarms = AlarmLog()
        self._last_alarm: str | None = None
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._work, name="medledger-gossip", daemon=True)
        self._unwatch: Callable[[], None] | None = None

    # --- for the program ----------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Connect and begin. Raises `TransportError` where no broker can be reached and one must be."""
        if self._unwatch is not None:
            raise UsageError("gossip has been started already")
        self._connection.open(must_connect=self._must_connect, seconds=self._connect_seconds)
        unwatch = self._ledger.watch(self._advanced)
        self._thread.start()
        self._unwatch = unwatch  # from now on there is something to close, for whichever thread does
        return self

    def close(self) -> None:
        """Publish what is left to publish and stop. The ledger stays open."""
        if self._unwatch is None or self._mailbox.closed:
            return
        self._unwatch()
        self._mailbox.close()
        if threading.current_thread() is not self._thread:  # an alarm may be what makes the program close us
            self._thread.join(JOIN_SECONDS)
        self._reporter.end(self.status(), "closed")
        self._connection.close()
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_in_sync(self, timeout: float) -> bool:
        """Wait until we hold all that our peers have shown since we connected; false where that takes too long.

        There must be a peer: a node that nobody answers is not in sync with anything.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._over or self._snapshot["in_sync"], timeout) and not self._over

    def status(self) -> dict[str, Any]:
        """What is going on, for people and programs: what `medledger.sync.picture` says, and what is only known here.

        broker, brokers, protocol   where we are, or try to be, connected; all that were named; which MQTT
        connected           we are; connected_seconds: since when
        taken_seconds       how old the rest of this is
        key_generation      of the transport key in use; key_held: it has arrived, and is what we speak under
        alarms              those of the connection too; last_alarm: the newest one's text
        dropped_frames      frames that came faster than they could be handled
        failure             a fault of our own that has ended gossip
        """
        now = time.monotonic()
        rotation = self._ledger.membership.transport.current
        return {
            "broker": str(self._connection.address),
            "brokers": [str(each) for each in self._connection.addresses],
            "protocol": self._connection.protocol,
            "connected": self._connection.up,
            "connected_seconds": None if self._connected_at is None else round(now - self._connected_at, 3),
            **self._snapshot,
            "taken_seconds": round(now - self._snapshot_at, 3),
            "key_generation": 0 if rotation is None else rotation.generation,
            "key_held": rotation is None or TransportKey.id_of(rotation.key).hex() == self._snapshot["transport_key"],
            "alarms": self._alarms.data(now),
            "dropped_frames": self._mailbox.dropped,
            "last_alarm": self._last_alarm,
            "failure": self._failure,
        }

    # --- the worker ---------------------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self._mailbox.closed or self._failure is not None

    def _work(self) -> None:
        try:
            while not self._mailbox.closed:
                self._step(min(self._wake, self._look, self._reporter.next) - time.monotonic())
            self._step(0)  # what was appended last
            self._connection.flush(FLUSH_SECONDS)
        except Exception as error:
            log.exception("gossip has stopped")
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """A thread of ours has ended on a fault of our own."""
        self._failure = f"{type(error).__name__}: {error}"
        self._raise_alarm(f"gossip has stopped on a fault of its own: {self._failure}", "Please report this.")
        self._reporter.end(self.status(), "failed")
        with self._changed:
            self._changed.notify_all()

    def _step(self, timeout: float) -> None:
        """Handle what has come, then what time has made due."""
        events = self._mailbox.take(timeout)
        for event in events:
            if isinstance(event, Disconnected):
                self._connection.forget()
                self._connected_at = None
            elif isinstance(event, Connected):
                self._connected_at = time.monotonic()
            self._carry_out(self._handle(event))
        now = time.monotonic()
        if now >= self._wake or self._mailbox.closed:
            self._carry_out(self._handle(Tick()))
        self._show(idle=not events)

    def _handle(self, event: Event) -> list[Effect]:
        with self._machine:
            return self._node.handle(event, time.monotonic())

    def _make_will(self) -> Publish | None:
        """Called by the connection's thread before each attempt. A will is a hint: without one it goes on, too."""
        try:
            with self._machine:
                return self._node.will()
        except Exception:
            log.exception("there is no last will for this connection")
            return None

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Publish):
                self._connection.publish(effect.topic, effect.payload, effect.qos, retain=effect.retain)
            elif isinstance(effect, WakeAt):
                self._wake = effect.time
            elif isinstance(effect, Subscribe):
                self._connection.subscribe(list(effect.filters))
            elif isinstance(effect, Alarm):
                self._raise_alarm(effect.text, effect.hint)

    def _show(self, *, idle: bool) -> None:
        """Renew what `status` and `wait_in_sync` see: at once when we fall out of sync or into it, else a moment later,
        when the frames of a burst are handled, here and by whoever shares the processor.
        """
        now = time.monotonic()
        in_sync = self._node.connected and self._node.in_sync(now)
        if idle or in_sync != self._snapshot["in_sync"] or now >= self._look:
            with self._changed:
                self._snapshot = self._node.status(now)
                self._snapshot_at = now
                self._changed.notify_all()
            self._look = float("inf")
            self._reporter.show(self.status())
        elif self._look == float("inf"):
            self._look = now + SNAPSHOT_SECONDS

    def _raise_alarm(self, text: str, hint: str = "") -> None:
        self._last_alarm = text
        alarm = Alarm(text, hint)
        self._alarms.add(alarm, time.monotonic())
        log.warning("%s", alarm)
        if self._on_alarm is not None:
            try:
                self._on_alarm(alarm)
            except Exception:
                log.exception("the alarm callback raised")

    def _advanced(self, advance: Advance) -> None:
        """Called by whichever thread has written to the ledger. What gossip itself has imported it knows."""
        if threading.current_thread() is not self._thread:
            self._mailbox.advanced(advance.feed, advance.first, advance.last)
