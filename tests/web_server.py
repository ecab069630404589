"""A web server in a thread, for tests: the honest one of the standard library, or one that answers what it is told.

And a reader of bundles that has little patience with it.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from certificates import certificates, have_openssl
from medledger.bundle import MANIFEST_NAME, Source
from medledger.transport.http_bundle import HttpBundle

STALL = 0.3  # how long a server may be silent
ANSWER = 1.0  # and how long it may take

Answer = Callable[[socket.socket, str], None]
"""Writes the answer for a path to the connection, which is closed then."""


class _Quiet(SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """An honest server of a directory: its address, and the paths that it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (_Quiet,), {"asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(directory)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hostile:
    """A server that gives each connection to a function. `over` ends answers that would go on for ever."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()
        self._answer = answer
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        self.port = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End all answers, and wait for them."""
        self.over.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self._threads.append(threading.Thread(target=self._talk, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (part := connection.recv(4096)):
                    request += part
                path = request.split(b" ")[1].decode()
                self.asked.append(path)
                self._answer(connection, path)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)  # the other side closes first, so that what was sent arrives


@contextmanager
def hostile(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Such a server, while it is needed."""
    server = Hostile(answer, tls)
    try:
        yield server
    finally:
        server.close()


def head(status: str = "200 OK", **fields: object) -> bytes:
    """The beginning of an answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask servers themselves, no proxy; and a server that gives less than 1 MB/s is too slow."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr("medledger.transport.paced_http.WEB_MIN_BYTES_PER_SECOND", 1_000_000)


def web(url: str, pauses: list[float] | None = None) -> HttpBundle:
    """A bundle of a server that we have little patience with."""
    noted: list[float] = [] if pauses is None else pauses
    return HttpBundle(url, stall_seconds=STALL, answer_seconds=ANSWER, sleep=noted.append)


def read(source: Source, name: str = MANIFEST_NAME, size: int = 1000) -> bytes:
    """A file of a bundle."""
    return source.read(name, size, lambda _: None)


@contextmanager
def tls_server(directory: Path, answer: Answer) -> Iterator[Hostile]:
    """A server with a certificate of the tests' own authority."""
    if not have_openssl():
        pytest.skip("no openssl to make certificates with")
    if not (directory / "web.crt").exists():
        certificates(directory, "web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "web.crt", directory / "web.key")
    with hostile(answer, context) as server:
        yield server
