"""One MQTT connection that comes back: what paho is told, and what it is not trusted with.

Rules:

- MQTT 3.1.1, clean sessions, a client id with a random suffix: two boxes with one id throw each other out for ever.
- paho's thread only puts what it hears into the mailbox. It acknowledges at once: a broker's queue is no store of ours.
- The first connection either works or is an error that says why, where that is asked for. Later ones are tried again
  for ever, with pauses that grow and differ from box to box, so that a broker that comes back is not overrun.
- paho queues without bounds, in memory. So what is handed to it and not on the wire yet is counted, and whoever
  publishes waits while it is too much.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from medledger.errors import Fault, TransportError
from medledger.limits import CONNECT_SECONDS, OUTBOX_BYTES
from medledger.sync import Connected, Disconnected

from .address import BrokerAddress
from .mailbox import Mailbox

KEEPALIVE_SECONDS: Final = 30
IN_FLIGHT: Final = 100  # at QoS 1; with few, delayed acknowledgements stall the connection
STOP_SECONDS: Final = 0.7

log = logging.getLogger("medledger.transport")


class Connection:
    """A client of one broker."""

    def __init__(
        self,
        address: BrokerAddress,
        mailbox: Mailbox,
        *,
        client_id: str,
        tls: ssl.SSLContext | None,
        on_refusal: Callable[[str], None],
    ) -> None:
        self.address: Final = address
        self.up = False
        self._mailbox = mailbox
        self._on_refusal = on_refusal
        self._answered = threading.Event()
        self._refusal: str | None = None
        self._outbox: deque[tuple[MQTTMessageInfo, int]] = deque()
        self._outbox_bytes = 0
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{client_id[:14]}-{secrets.token_hex(4)}",  # 23 characters at most, which 3.1.1 guarantees
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        if address.username is not None:
            client.username_pw_set(address.username, address.password)
        if tls is not None:
            client.tls_set_context(tls)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_socket_open = _without_delay
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_subscribe = self._subscribed
        self._client: Client | None = client

    # --- life ---------------------------------------------------------------------------------------------------

    def open(self, *, must_connect: bool) -> None:
        """Connect, and stay connected. Raises `TransportError` where `must_connect` and that cannot be."""
        self._begin(must_connect=must_connect)
        if must_connect:
            self._await_answer()

    def close(self) -> None:
        """Say goodbye, and stop paho's thread, within about a second."""
        client, self._client = self._client, None
        if client is None:
            return
        client.disconnect()
        # paho joins its thread without a limit, and that may be in a connection attempt that takes its time.
        stopper = threading.Thread(target=client.loop_stop, name="medledger-gossip-stop", daemon=True)
        stopper.start()
        stopper.join(STOP_SECONDS)
        self.up = False
        # Undo the circle of references between paho's client and us: its sockets are closed with it.
        client.on_socket_open = client.on_connect = client.on_disconnect = None
        client.on_message = client.on_subscribe = None

    def _begin(self, *, must_connect: bool) -> None:
        client = self._client
        assert client is not None  # opened once, and before it is closed
        self._stagger()
        client.connect_async(self.address.host, self.address.port, KEEPALIVE_SECONDS)
        if must_connect:
            self._connect_now(client)
        client.loop_start()

    def _connect_now(self, client: Client) -> None:
        try:
            client.reconnect()
        except OSError as error:
            self.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                reason = f"its certificate is not trusted ({error.verify_message})"
            elif isinstance(error, ssl.SSLError):
                reason = f"no TLS with it ({error.reason or error})"
            else:
                reason = error.strerror or str(error)
            raise self._unreachable(reason) from error

    def _await_answer(self) -> None:
        if not self._answered.wait(CONNECT_SECONDS):
            self.close()
            raise self._unreachable("it does not answer as an MQTT broker")
        if self._refusal is not None:
            self.close()
            raise TransportError(
                f"the broker {self.address} refuses us: {self._refusal}",
                fault=Fault.CALLER,
                hint="Check user name, password and the broker's access rules.",
            )

    def _unreachable(self, reason: str) -> TransportError:
        return TransportError(
            f"the broker {self.address} cannot be reached: {reason}",
            hint="Check that it runs, its address and port, and that nothing in between blocks them.",
        )

    # --- out ----------------------------------------------------------------------------------------------------

    def subscribe(self, filters: list[tuple[str, int]]) -> None:
        """Subscribe; a refusal is told to `on_refusal`."""
        if self._client is not None:
            self._client.subscribe(filters)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> None:
        """Hand a message over, after waiting for room."""
        while self._outbox_bytes > OUTBOX_BYTES and self.up and not self._mailbox.closed:
            self._drain(0.1)
        client = self._client
        if client is None:
            return
        info = client.publish(topic, payload, qos, retain)
        self._outbox.append((info, len(payload)))
        self._outbox_bytes += len(payload)
        self._drain(0)

    def flush(self, seconds: float) -> None:
        """Wait until everything handed over is on the wire, and acknowledged where that is due."""
        deadline = time.monotonic() + seconds
        while self._outbox and self.up and (left := deadline - time.monotonic()) > 0:
            self._drain(left)

    def forget(self) -> None:
        """The connection is gone, and what was under way with it."""
        self._outbox.clear()
        self._outbox_bytes = 0

    def _drain(self, seconds: float) -> None:
        """Strike off what is done; wait for the oldest at most so long."""
        while self._outbox:
            info, size = self._outbox[0]
            if not _done(info, seconds):
                return
            seconds = 0
            self._outbox.popleft()
            self._outbox_bytes -= size

    # --- in: paho's thread --------------------------------------------------------------------------------------

    def _connected(
        self, _client: Client, _userdata: Any, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._refusal = str(code) if code.is_failure else None
        if self._refusal is None:
            self.up = True
            self._mailbox.put(Connected())
            log.info("connected to %s", self.address)
        elif self._answered.is_set():
            log.warning("the broker %s refuses us: %s", self.address, self._refusal)
        self._answered.set()

    def _disconnected(
        self, _client: Client, _userdata: Any, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if self.up:
            self.up = False
            self._mailbox.put(Disconnected())
            if code.is_failure:
                log.warning("lost the broker %s: %s", self.address, code)
        self._stagger()

    def _received(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # not one of ours
        self._mailbox.receive(topic, bytes(message.payload))

    def _subscribed(
        self, _client: Client, _userdata: Any, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if any(code.is_failure for code in codes):
            self._on_refusal(f"the broker {self.address} refuses a subscription: its access rules are too narrow")

    def _stagger(self) -> None:
        # paho doubles the pause from the smaller to the larger figure; both differ from box to box and time to time.
        if self._client is not None:
            self._client.reconnect_delay_set(random.uniform(0.2, 1), random.uniform(15, 30))  # type: ignore[arg-type]


def _without_delay(_client: Client, _userdata: Any, sock: Any) -> None:
    """Send small frames at once: waiting for an acknowledgement that is itself delayed costs 40 ms a frame."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


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
