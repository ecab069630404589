"""HTTP at a pace: no answer takes longer than it may, from the first byte of its headers to the last of its body.

The standard library gives each read a time of its own, so that a server which sends a byte now and then could hold us
for ever. Here every read gets what is left of one deadline.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
import urllib.request
from functools import partial
from typing import Any

from medledger.limits import WEB_MIN_BYTES_PER_SECOND


class Pace:
    """How long one answer may take."""

    def __init__(self, stall: float, patience: float) -> None:
        self._stall = stall
        self._deadline = time.monotonic() + patience

    def allow(self, size: int) -> None:
        """So many bytes have come: those after them may take as long again."""
        self._deadline += size / WEB_MIN_BYTES_PER_SECOND

    def limit(self, connection: socket.socket) -> None:
        """Before each read. Raises `TimeoutError` when the time is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the server is too slow")
        connection.settimeout(min(self._stall, left))


class _Paced(io.RawIOBase):
    """What a connection gives, at its pace."""

    def __init__(self, raw: io.RawIOBase, connection: socket.socket, pace: Pace) -> None:
        self._raw = raw
        self._connection = connection
        self._pace = pace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._pace.limit(self._connection)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is read at a pace from its first byte on."""

    def __init__(self, pace: Pace, connection: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(connection, *args, **options)
        self.fp = io.BufferedReader(_Paced(self.fp.detach(), connection, pace))


class _Connection(http.client.HTTPConnection):
    def __init__(self, pace: Pace, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_class = partial(_Response, pace)  # type: ignore[assignment]


class _TlsConnection(http.client.HTTPSConnection):
    def __init__(self, pace: Pace, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.response_class = partial(_Response, pace)  # type: ignore[assignment]


class _Http(urllib.request.HTTPHandler):
    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Connection, self._pace), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_TlsConnection, self._pace), req)


def opener(pace: Pace) -> urllib.request.OpenerDirector:
    """Knows HTTP and HTTPS, and hands every other answer than the file back to us: no files, no redirects."""
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _Http(pace),
        _Https(pace),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        director.add_handler(handler)
    return director
