"""Where a broker is and how to greet it, read from a URL.

`mqtt://[user[:password]@]host[:port]`, or `mqtts://` for TLS; the ports default to 1883 and 8883. User and password are
percent-decoded. Nothing else may stand in the URL: a path or a query would be silently ignored, and is refused instead.

Where one broker may be named, several may: as a list, or as one text with blanks between them. They are tried in that
order, one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from medledger.errors import Fault, TransportError
from medledger.limits import MAX_BROKERS

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_HARMLESS: Final = re.compile(
    r"[0-9]+(/.*)?|/.*", re.DOTALL
)  # after the last colon: a port, or what stands after mqtt:


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker, and the account to use there."""

    host: str
    port: int
    tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL. Raises `TransportError` (fault: caller) that says what is wrong with it."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise _bad(url, "host and port cannot be told apart") from None
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise _bad(url, "its port is no number from 1 to 65535")
        if parts.scheme not in PORTS:
            raise _bad(url, "it does not begin with mqtt:// or mqtts://")
        if not parts.hostname:
            raise _bad(url, "it names no host")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise _bad(url, "nothing may follow host and port")
        return cls(
            parts.hostname,
            PORTS[parts.scheme] if port is None else port,
            parts.scheme == "mqtts",
            None if parts.username is None else unquote(parts.username),
            None if parts.password is None else unquote(parts.password),
        )

    @classmethod
    def parse_all(cls, urls: str | Iterable[str]) -> tuple[Self, ...]:
        """Read one URL or several. Raises `TransportError` about the first bad one, or where there are none."""
        texts = [urls] if isinstance(urls, str) else list(urls)
        found = tuple([cls.parse(url) for text in texts for url in text.split() or [text]])
        if not 0 < len(found) <= MAX_BROKERS:
            raise TransportError(
                f"{len(found)} brokers are named: it takes 1 to {MAX_BROKERS}",
                fault=Fault.CALLER,
                hint="Name the nearest.",
            )
        return found

    def __str__(self) -> str:
        """The URL without the account, fit for logs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def _bad(url: str, reason: str) -> TransportError:
    return TransportError(
        f"{_without_account(url)!r} is not the address of a broker: {reason}",
        fault=Fault.CALLER,
        hint="Write it like mqtt://broker.example:1883 or mqtts://user:password@broker.example:8883. In a user and a "
        "password, %-encode what is neither letter nor digit.",
    )


def _without_account(url: str) -> str:
    """What of a bad address may stand in an error: nothing that is, or may be, a password.

    A password with a blank, `/`, `#` or `?` in it breaks the address in two, and its start looks like a port.
    """
    shown = url.rpartition("@")[2]
    start, colon, last = shown.rpartition(":")
    return f"{start}:..." if colon and not _HARMLESS.fullmatch(last) else shown
