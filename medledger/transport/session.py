"""One MQTT connection to one broker, from first packet to last: what paho is told, and what it is not trusted with.

Rules:

- A session is used once. The next connection is another session with a client id, a will and a queue of its own:
  nothing that an old broker left half done is carried to a new one.
- paho brings packets, keepalive and callbacks. Sockets are waited for here, in the one thread that calls `connect` and
  `turn`, so that it is known when a connection has ended. Other threads only publish and subscribe.
- paho gathers a packet of up to 256 MB in memory before it asks anybody. What no frame of ours can hold is cut off
  while it comes in; what is left of the frame is refused like any other that somebody made up.
- MQTT 3.1.1 says all that gossip needs. MQTT 5 adds hints: a broker that names its limits is not sent what is beyond
  them, and one that refuses a publication says so.
- Clean sessions, and a client id with a random suffix: two boxes with one id throw each other out for ever.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from medledger.errors import Fault, TransportError
from medledger.limits import CONNECT_SECONDS
from medledger.sync import Publish
from medledger.sync.frames import MAX_BYTES

from .address import BrokerAddress
from .bell import Bell
from .echo import Echo
from .subscriptions import Subscriptions

VERSIONS: Final = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}
IN_FLIGHT: Final = 100  # at QoS 1; with few, delayed acknowledgements stall the connection
LARGEST_PACKET: Final = max(MAX_BYTES.values()) + 256  # with its topic and the rest of a publication
READ_BYTES: Final = 256 * 1024  # at a time
TURN_SECONDS: Final = 1.0  # how often keepalive is looked at
GOODBYE_SECONDS: Final = 0.4
ACCOUNT: Final = frozenset((0x86, 0x87, 0x8A, 0x8C))  # bad user name or password, not authorised, banned, bad method
UNSUPPORTED_VERSION: Final = 0x84
UNSPECIFIED: Final = 0x80
RIGHTS: Final = "Let this account publish and subscribe to everything below ml/1/ in the broker's access rules."

log = logging.getLogger("medledger.transport")


LOOK: Final = "Check that it runs, its address and port, and that nothing in between blocks them."
TRUST: Final = (
    "Name the authority that signed it (--ca, or ca_file in [gossip]), address it by a name in it, and check this "
    "machine's clock."
)
NO_TLS: Final = (
    "Check address and port (mqtts:// or mqtt://), and, where it asks for one, our certificate (--certificate, or "
    "certificate_file in [gossip])."
)


class NoSessionError(TransportError):
    """This attempt came to nothing. `version`: the broker may not speak the version of MQTT that was tried. `passing`:
    something is there, and may take us in a moment, as a cluster does that elects its leader.
    """

    def __init__(
        self,
        message: str,
        *,
        version: bool = False,
        passing: bool = False,
        fault: Fault | None = None,
        hint: str,
    ) -> None:
        super().__init__(message, fault=fault, hint=hint)
        self.version = version
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Ask:
    """What is the same for every session of a node."""

    client_id: str
    tls: ssl.SSLContext | None
    keepalive: int
    bell: Bell
    received: Callable[[str, bytes], None]
    complain: Callable[[str, str], None]  # what is wrong, and what to do about it
    closing: Callable[[], bool]


class _Client(Client):
    """paho's client, which reads as much of a packet as there is, and keeps it all."""

    def _sock_recv(self, bufsize: int) -> bytes:
        coming = self._in_packet["packet"]
        if len(coming) > LARGEST_PACKET:
            del coming[LARGEST_PACKET:]
        return super()._sock_recv(min(bufsize, READ_BYTES))


class Session:
    """A connection to the broker at `address`, with MQTT `protocol` ("3.1.1" or "5")."""

    def __init__(self, address: BrokerAddress, protocol: str, ask: Ask, will: Publish | None) -> None:
        self.address: Final = address
        self.protocol: Final = protocol
        self.lost: str | None = None
        self._given_up: str | None = None
        self.receive_maximum: int | None = None  # publications at QoS 1 that may wait for an answer, if it says
        self._largest: int | None = None
        self._retains = True
        self._qos = 1
        self._ask = ask
        self._answer: ReasonCode | None = None
        self._echo = Echo()
        self._thread: int | None = None
        self._client = self._make(will)
        self._subscriptions = Subscriptions(self._client)

    def _make(self, will: Publish | None) -> Client:
        five = self.protocol == "5"
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{self._ask.client_id[:14]}-{secrets.token_hex(4)}",  # 23 characters, which 3.1.1 guarantees
            clean_session=None if five else True,
            protocol=VERSIONS[self.protocol],
            reconnect_on_failure=False,  # or paho would go on with MQTT 3.1 by itself where 3.1.1 is refused
        )
        if self.address.username is not None:
            client.username_pw_set(self.address.username, self.address.password)
        if self.address.tls and self._ask.tls is not None:
            client.tls_set_context(self._ask.tls)
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.connect_timeout = CONNECT_SECONDS
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_socket_open = _without_delay
        client.on_socket_register_write = self._wants_to_write
        client.on_connect = self._answered
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_subscribe = self._subscribed
        if five:
            client.on_publish = self._published
        return client

    # --- the thread of the connection ---------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect, and wait until the broker takes us. Raises `NoSessionError`."""
        self._thread = threading.get_ident()
        try:
            if self.protocol == "5":
                hints = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                hints.SessionExpiryInterval = 0
                hints.MaximumPacketSize = LARGEST_PACKET
                self._client.connect(
                    self.address.host, self.address.port, self._ask.keepalive, clean_start=True, properties=hints
                )
            else:
                self._client.connect(self.address.host, self.address.port, self._ask.keepalive)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
            raise self._unreachable(_why(error), hint=_next(error, tls=self.address.tls)) from error
        deadline = time.monotonic() + CONNECT_SECONDS
        while self._answer is None:
            left = deadline - time.monotonic()
            if left <= 0 or self._ask.closing():
                raise self._unreachable("it does not answer as an MQTT broker", silent=True)
            if not self.turn(left) and self._answer is None:
                asks = " (does it ask for a certificate of ours?)" if self.address.tls else ""
                hint = NO_TLS if asks else LOOK
                raise self._unreachable(
                    f"it hangs up instead of answering as an MQTT broker{asks}", silent=True, hint=hint
                )
        self._heed_refusal(self._answer)

    def _heed_refusal(self, answer: ReasonCode) -> None:
        if answer.is_failure:
            account = answer.value in ACCOUNT
            raise NoSessionError(
                f"the broker {self.address} refuses us: {answer}",
                version=answer.value == UNSUPPORTED_VERSION,
                passing=not account and answer.value != UNSUPPORTED_VERSION,
                fault=Fault.CALLER if account else Fault.NOBODY,
                hint="Check user name, password and the broker's access rules." if account else "Look at its log.",
            )

    def _unreachable(self, reason: str, *, silent: bool = False, hint: str = LOOK) -> NoSessionError:
        return NoSessionError(
            f"the broker {self.address} cannot be reached: {reason}",
            version=silent,
            passing=silent,
            hint=hint,
        )

    def turn(self, seconds: float = TURN_SECONDS) -> bool:
        """Wait for something to do, and do it; false when the connection has ended."""
        client = self._client
        sock: Any = client.socket()
        if sock is None:
            return False
        if self._given_up is not None:
            self.lost = self._given_up
            return False
        held = hasattr(sock, "pending") and sock.pending()  # TLS may hold bytes that the socket no longer shows
        readable = self._wait(sock, 0 if held else min(seconds, TURN_SECONDS)) or held
        try:
            code = self._work(readable=readable)
        except Exception as error:  # paho does not foresee everything that can stand in a packet
            log.warning("the broker %s sends what the MQTT client cannot read", self.address, exc_info=error)
            self.lost = f"it sends what cannot be read ({type(error).__name__})"
            return False
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
            self.lost = self.lost or "the connection broke"
            return False
        now = time.monotonic()
        if self._subscriptions.due(now):
            self._ask.complain(f"the broker {self.address} refuses a subscription", RIGHTS)
        if self._echo.missing(now):
            self._ask.complain(f"the broker {self.address} takes what we publish and does not deliver it", RIGHTS)
        return True

    def _work(self, *, readable: bool) -> MQTTErrorCode:
        client = self._client
        code = client.loop_read() if readable else MQTTErrorCode.MQTT_ERR_SUCCESS
        if code == MQTTErrorCode.MQTT_ERR_SUCCESS and client.want_write():
            code = client.loop_write()
        return client.loop_misc() if code == MQTTErrorCode.MQTT_ERR_SUCCESS else code

    def _wait(self, sock: Any, seconds: float) -> bool:
        """Until the socket or another thread has something, at most so long. Whether there is something to read."""
        poll = select.poll()  # made for each wait: cheap beside a packet, and right whatever paho did to its socket
        poll.register(sock, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        bell = self._ask.bell
        poll.register(bell, select.POLLIN)
        ready = dict(poll.poll(seconds * 1000))
        if ready.pop(bell.fileno(), 0):
            bell.heard()
        return any(events & ~select.POLLOUT for events in ready.values())

    def say_goodbye(self) -> None:
        """End in good order, so that the will is not published, unless that takes too long."""
        deadline = time.monotonic() + GOODBYE_SECONDS
        self._client.disconnect()
        while self.turn(0.05) and time.monotonic() < deadline:
            pass

    def discard(self) -> None:
        """Close the socket, whatever state it is in, and undo the circle of references between paho's client and us."""
        client = self._client
        client.on_socket_register_write = _nothing  # with none, paho would write in the thread that publishes
        client.on_socket_open = client.on_connect = client.on_disconnect = None
        client.on_message = client.on_subscribe = client.on_publish = None
        sock = client.socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    # --- any thread ---------------------------------------------------------------------------------------------

    def subscribe(self, filters: list[tuple[str, int]]) -> None:
        """Subscribe to these and to nothing else; where the broker goes on refusing, that is complained about."""
        self._subscriptions.want(filters, time.monotonic())

    def give_up(self, reason: str) -> None:
        """Have the connection end, and say why."""
        self._given_up = reason
        self._ask.bell.ring()

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool) -> MQTTMessageInfo | None:
        """Hand a message to paho. None where the broker has said that it takes none of that size."""
        if self._largest is not None and len(topic) + len(payload) + 16 > self._largest:
            return None
        self._echo.published(topic, payload, time.monotonic())
        return self._client.publish(topic, payload, min(qos, self._qos), retain and self._retains)

    # --- called by paho, in the thread of the connection --------------------------------------------------------

    def _wants_to_write(self, _client: Client, _userdata: Any, _sock: Any) -> None:
        if threading.get_ident() != self._thread:  # in its own, a turn looks at what there is to write
            self._ask.bell.ring()

    def _answered(
        self, _client: Client, _userdata: Any, _flags: ConnectFlags, code: ReasonCode, hints: Properties | None
    ) -> None:
        self._answer = code
        if self.protocol != "5" or code.is_failure:
            return
        self._qos = min(1, getattr(hints, "MaximumQoS", 1))
        self._retains = bool(getattr(hints, "RetainAvailable", 1))
        self.receive_maximum = getattr(hints, "ReceiveMaximum", None)
        self._largest = getattr(hints, "MaximumPacketSize", None)
        if self._largest is not None and self._largest < LARGEST_PACKET:
            self._ask.complain(
                f"the broker {self.address} takes no packet over {self._largest} bytes; gossip needs {LARGEST_PACKET}",
                "Raise the broker's limit: larger frames are not sent to it.",
            )

    def _disconnected(
        self, _client: Client, _userdata: Any, flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        unsaid = code.value == UNSPECIFIED and not flags.is_disconnect_packet_from_server
        self.lost = "the connection broke" if unsaid else str(code)

    def _received(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # not one of ours
        payload = bytes(message.payload)
        self._echo.received(topic, payload)
        self._ask.received(topic, payload)

    def _subscribed(
        self, _client: Client, _userdata: Any, mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        granted = self._subscriptions.answered(mid, [not code.is_failure for code in codes], time.monotonic())
        self._echo.subscribed(granted)

    def _published(
        self, _client: Client, _userdata: Any, _mid: int, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._ask.complain(f"the broker {self.address} refuses what we publish: {code}", RIGHTS)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it ({error.reason or error})"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def _next(error: Exception, *, tls: bool) -> str:
    """What to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return TRUST
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        return NO_TLS
    return LOOK


def _nothing(_client: Client, _userdata: Any, _sock: Any) -> None:
    """The session is over."""


def _without_delay(_client: Client, _userdata: Any, sock: Any) -> None:
    """Send small frames at once: waiting for an acknowledgement that is itself delayed costs 40 ms a frame."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
