"""A connection that comes back: to one broker at a time, of those that were named.

Rules:

- One thread connects, reads and writes; what it hears goes into the mailbox. It acknowledges at once: a broker's queue
  is no store of ours.
- The brokers are tried in turn (`turns`), never two at once: the next session begins when the last one has ended. With
  `must_connect` the first round either leads to a connection or is an error that says why; where a broker is there and
  does not take us yet, that holds for all rounds of some seconds. Otherwise, and after that, it goes on for ever.
- A broker that refuses MQTT 5, or does not answer to it, is greeted with 3.1.1 in the same attempt, and from then on.
- What is handed to paho and not on the wire yet is counted, and whoever publishes waits while it is too much: paho
  itself would queue without bounds, in memory.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from paho.mqtt.client import MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode

from medledger.errors import Fault, TransportError
from medledger.limits import ALARM_REPEAT_SECONDS, KEEPALIVE_SECONDS, OUTBOX_BYTES, STALL_SECONDS
from medledger.sync import Connected, Disconnected, Publish

from .address import BrokerAddress
from .bell import Bell
from .mailbox import Mailbox
from .session import Ask, NoSessionError, Session
from .turns import Turns

STOP_SECONDS: Final = 0.7

log = logging.getLogger("medledger.transport")


class Connection:
    """A client of one of several brokers."""

    def __init__(
        self,
        addresses: Sequence[BrokerAddress],
        mailbox: Mailbox,
        *,
        protocol: str = "3.1.1",
        client_id: str,
        tls: ssl.SSLContext | None,
        on_complaint: Callable[[str, str], None],
        on_fault: Callable[[Exception], None],
        make_will: Callable[[], Publish | None] | None = None,
        keepalive: int = KEEPALIVE_SECONDS,
    ) -> None:
        self.addresses: Final = tuple(dict.fromkeys(addresses))
        self.up = False
        self._protocol = protocol
        self._mailbox = mailbox
        self._on_complaint = on_complaint
        self._on_fault = on_fault
        self._complaints: dict[str, float] = {}
        self._make_will = make_will
        self._turns = Turns(len(self.addresses), random.SystemRandom())
        self._only_311: set[BrokerAddress] = set()
        self._failures: dict[BrokerAddress, NoSessionError] = {}
        self._session: Session | None = None
        self._closing = threading.Event()
        self._settled = threading.Event()  # we wait for the first round no longer
        self._patient_until = 0.0
        self._hopeful = False  # a broker was there, and did not take us yet
        self._bell = Bell()
        self._ask = Ask(client_id, tls, keepalive, self._bell, mailbox.receive, self._complain, self._closing.is_set)
        self._outbox: deque[tuple[MQTTMessageInfo, int, int]] = deque()
        self._outbox_bytes = 0
        self._unanswered = 0  # of these, at QoS 1
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> BrokerAddress:
        """The broker that we are connected to, or are trying."""
        return self.addresses[self._turns.index]

    @property
    def protocol(self) -> str | None:
        """The version of MQTT that is spoken now."""
        session = self._session
        return None if session is None else session.protocol

    # --- life ---------------------------------------------------------------------------------------------------

    def open(self, *, must_connect: bool, seconds: float = 0) -> None:
        """Connect, and stay connected. Raises `TransportError` where `must_connect` and no broker takes us: at once, or
        within so many seconds where one is there that may in a moment.
        """
        self._patient_until = time.monotonic() + seconds
        if not must_connect:
            self._settled.set()
        self._bell.open()
        self._thread = threading.Thread(target=self._live, name="medledger-mqtt", daemon=True)
        self._thread.start()
        try:
            self._settled.wait()
        except BaseException:  # Ctrl-C while we wait: leave no thread behind that goes on trying
            self.close()
            raise
        if must_connect and len(self._failures) == len(self.addresses):
            self.close()
            raise _no_broker([self._failures[address] for address in self.addresses])

    def close(self) -> None:
        """Say goodbye and end the thread, within about a second."""
        self._closing.set()
        self._bell.ring()
        if self._thread is not None and self._thread is not threading.current_thread():
            # It may be in a connection attempt that takes its time: then it is left to end by itself.
            self._thread.join(STOP_SECONDS)
        self.up = False

    def _live(self) -> None:
        """The thread of the connection."""
        try:
            while not self._closing.is_set():
                session = self._attempt(self.address)
                lasted = 0.0 if session is None else self._stay(session)
                pause = self._turns.next(lasted)
                if not self._settled.is_set() and self._turns.rounds and not self._may_come():
                    return  # each was tried, without a pause at first, while the program waits for the outcome
                if self._settled.is_set() or self._turns.rounds:
                    self._closing.wait(pause)
        except Exception as error:
            log.exception("the connection has ended")
            self._on_fault(error)
        finally:
            self._settled.set()
            self._bell.close()

    def _may_come(self) -> bool:
        """Whether a broker that does not take us may do so in the time that there is."""
        return self._hopeful and time.monotonic() < self._patient_until

    def _attempt(self, address: BrokerAddress) -> Session | None:
        """One broker's turn: a session that it has taken, or None."""
        protocol = "3.1.1" if address in self._only_311 else self._protocol
        try:
            return self._greet(address, protocol)
        except NoSessionError as problem:
            failure = problem
        if failure.version and protocol != "3.1.1" and not self._closing.is_set():
            try:
                session = self._greet(address, "3.1.1")
            except NoSessionError as problem:
                failure = problem
            else:
                self._only_311.add(address)
                log.info("the broker %s does not speak MQTT %s: using 3.1.1", address, protocol)
                return session
        if not self._closing.is_set():
            self._report(address, failure)
        return None

    def _greet(self, address: BrokerAddress, protocol: str) -> Session:
        session = Session(address, protocol, self._ask, None if self._make_will is None else self._make_will())
        try:
            session.connect()
        except BaseException:
            session.discard()
            raise
        return session

    def _report(self, address: BrokerAddress, failure: NoSessionError) -> None:
        """Once for each outage, not for each attempt; to people at once, where only they can mend it."""
        for error in (failure, failure.__cause__):
            if error is not None:
                error.__traceback__ = None  # it would keep the sockets of this attempt open
        known = self._failures.get(address)
        self._failures[address] = failure
        self._hopeful |= failure.passing
        if known is None or str(known) != str(failure):
            log.warning("%s", failure)
        if failure.fault is Fault.CALLER and self._settled.is_set():
            self._complain(str(failure), failure.hint or "")

    def _stay(self, session: Session) -> float:
        """Be connected, for as long as it lasts; how long that was."""
        since = time.monotonic()
        self._failures.clear()
        self._session = session
        self.up = True
        self._mailbox.put(Connected())
        log.info("connected to %s", session.address)
        self._settled.set()
        try:
            while not self._closing.is_set() and session.turn():
                pass
            if self._closing.is_set():
                session.say_goodbye()
            else:
                log.warning("lost the broker %s: %s", session.address, session.lost)
        finally:
            self.up = False
            self._session = None
            self._mailbox.put(Disconnected())
            session.discard()
        return time.monotonic() - since

    def _complain(self, text: str, hint: str) -> None:
        """Tell people, but not the same thing again and again."""
        now = time.monotonic()
        if now - self._complaints.get(text, -ALARM_REPEAT_SECONDS) < ALARM_REPEAT_SECONDS:
            return
        self._complaints[text] = now
        self._on_complaint(text, hint)

    # --- out: the thread of gossip ------------------------------------------------------------------------------

    def subscribe(self, filters: list[tuple[str, int]]) -> None:
        """Subscribe to these and to nothing else; a refusal is complained about."""
        session = self._session
        if session is not None:
            session.subscribe(filters)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Hand a message over, after waiting for room."""
        session = self._session
        if session is None:
            return  # gossip says it again to whoever asks
        if not self._wait_for_room(session, qos):
            return
        info = session.publish(topic, payload, qos, retain=retain)
        if info is None:
            return
        self._outbox.append((info, len(payload), qos))
        self._outbox_bytes += len(payload)
        self._unanswered += qos
        self._drain(0)

    def _wait_for_room(self, session: Session, qos: int) -> bool:
        """Until paho holds less; false where the broker took nothing for so long that the next one is to be tried."""
        most = session.receive_maximum
        held, since = len(self._outbox), time.monotonic()
        while self._outbox_bytes > OUTBOX_BYTES or (qos and most is not None and self._unanswered >= most):
            if not self.up or self._mailbox.closed:
                break
            self._drain(0.1)
            if len(self._outbox) < held:
                held, since = len(self._outbox), time.monotonic()
            elif time.monotonic() - since >= STALL_SECONDS:
                session.give_up(f"it took nothing of ours for {STALL_SECONDS:.0f} s")
                return False
        return True

    def flush(self, seconds: float) -> None:
        """Wait until everything handed over is on the wire, and acknowledged where that is due."""
        deadline = time.monotonic() + seconds
        while self._outbox and self.up and (left := deadline - time.monotonic()) > 0:
            self._drain(left)

    def forget(self) -> None:
        """The connection is gone, and what was under way with it."""
        self._outbox.clear()
        self._outbox_bytes = self._unanswered = 0

    def _drain(self, seconds: float) -> None:
        """Strike off what is done; wait for the oldest at most so long."""
        while self._outbox:
            info, size, qos = self._outbox[0]
            if not _done(info, seconds):
                return
            seconds = 0
            self._outbox.popleft()
            self._outbox_bytes -= size
            self._unanswered -= qos


def _done(info: MQTTMessageInfo, seconds: float) -> bool:
    """Whether nothing more is to be expected of a message, after waiting for it at most so long."""
    if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
        return True  # paho would not take it: gossip heals that
    try:
        if seconds > 0:
            info.wait_for_publish(seconds)
        return info.is_published()
    except (RuntimeError, ValueError):
        return True


def _no_broker(failures: list[NoSessionError]) -> TransportError:
    """Why the first round came to nothing."""
    if len(failures) == 1:
        return failures[0]
    faults = {failure.fault for failure in failures}
    return TransportError(
        f"none of {len(failures)} brokers can be used: {'; '.join(map(str, failures))}",
        fault=faults.pop() if len(faults) == 1 else Fault.NOBODY,
        hint=failures[0].hint,
    )
