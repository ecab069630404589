"""Where a governor leaves the reply to a request, and the applicant finds it: one retained message on a broker.

Rules:

- The topic is `sync.topics.rendezvous`: a hash under the request's secret, which only the applicant and the governor
  know. The broker sees that somebody waits at a topic without meaning, and a text that nobody but the applicant opens.
- Whoever can read the broker's traffic may write there too. So nothing that comes is believed: it is handed out as text
  for `open_reply`, which refuses what was not made under the secret. A forger can be in the way; then the governor says
  it again, or the text is carried by hand.
- What was left counts as left when the broker has shown it to us: an acknowledgement promises nothing, and access rules
  drop publications without a word.
- The applicant removes it once the ledger has been joined. What is never fetched stays on the broker, sealed.
- It connects and comes back like gossip. One thread uses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from os import PathLike
from types import TracebackType
from typing import Final, Self

from medledger.errors import TransportError
from medledger.limits import MAX_JOIN_BYTES
from medledger.sync import Connected, Disconnected, Received
from medledger.sync.topics import rendezvous

from .access import Certificates, with_account
from .address import BrokerAddress
from .connection import Connection
from .mailbox import Mailbox
from .session import RIGHTS

MAX_TEXT_BYTES: Final = 2 * MAX_JOIN_BYTES  # base64 makes four of three
_STEP_SECONDS: Final = 0.2


class Rendezvous:
    """The meeting place of one request; `url` and what follows it as for `Gossip`."""

    def __init__(
        self,
        url: str | Iterable[str],
        feed: bytes,
        secret: bytes,
        *,
        username: str | None = None,
        password: str | None = None,
        ca: str | PathLike[str] | None = None,
        certificate: str | PathLike[str] | None = None,
        key: str | PathLike[str] | None = None,
        protocol: str = "3.1.1",
        on_complaint: Callable[[str, str], None] | None = None,
    ) -> None:
        addresses = with_account(BrokerAddress.parse_all(url), username, password)
        self.topic: Final = rendezvous(feed, secret)
        self._mailbox = Mailbox()
        self._found: list[bytes] = []
        self._failure: Exception | None = None
        self._connection = Connection(
            addresses,
            self._mailbox,
            protocol=protocol,
            client_id="medledger",
            tls=Certificates(ca, certificate, key).context(addresses),
            on_complaint=on_complaint or (lambda _text, _hint: None),
            on_fault=self._fail,
        )

    def open(self, *, must_connect: bool, seconds: float = 0) -> Self:
        """Connect, and stay connected. Raises `TransportError` where `must_connect` and no broker takes us."""
        self._connection.open(must_connect=must_connect, seconds=seconds)
        return self

    def close(self) -> None:
        """Leave the broker."""
        self._mailbox.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def broker(self) -> str:
        """The broker that we are connected to, or are trying, without its account."""
        return str(self._connection.address)

    @property
    def connected(self) -> bool:
        """Whether a broker has taken us."""
        return self._connection.up

    def texts(self, seconds: float) -> list[str]:
        """What was left there and not handed out yet, after waiting at most so long. Anybody may have left it."""
        if not self._found:
            self._take(seconds)
        found, self._found = self._found, []
        return [each.decode("ascii", "replace") for each in found if each]

    def leave(self, reply: str, seconds: float) -> None:
        """Leave a reply. Raises `TransportError` where no broker has shown it to be there within so many seconds."""
        self._say(reply.encode(), seconds)

    def clear(self, seconds: float) -> None:
        """Remove what is there. Raises `TransportError`, as `leave`."""
        self._say(b"", seconds)

    def _say(self, payload: bytes, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        said = False
        self._take(0)  # the news of a connection that stands
        while (left := deadline - time.monotonic()) > 0:
            if self._failure is not None:
                break
            if not said and self._connection.up:
                self._connection.subscribe([(self.topic, 1)])
                self._connection.publish(self.topic, payload, 1, retain=True)
                said = True
            if self._take(min(left, _STEP_SECONDS)):
                said = False  # another connection: what was under way may be lost
            if payload in self._found:
                self._found.clear()
                return
            self._found.clear()
        problem = "has not shown it to be there" if said else "cannot be reached"
        raise TransportError(
            f"the broker {self.broker} {problem}",
            hint=RIGHTS if said else "Check that it runs, its address and port, and that nothing blocks them.",
        )

    def _take(self, seconds: float) -> bool:
        """Note what has come, after waiting for it at most so long; whether the connection is a new one."""
        new = False
        for event in self._mailbox.take(seconds):
            if isinstance(event, Connected):
                self._connection.subscribe([(self.topic, 1)])
                new = True
            elif isinstance(event, Disconnected):
                self._connection.forget()
            elif isinstance(event, Received) and event.topic == self.topic and len(event.payload) <= MAX_TEXT_BYTES:
                self._found.append(event.payload)
        return new

    def _fail(self, error: Exception) -> None:
        self._failure = error
