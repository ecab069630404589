"""Answers of a web server that are no file of a bundle: slow, endless, wrong, or no HTTP at all."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medledger.bundle import MANIFEST_NAME
from medledger.errors import MalformedError, MedledgerError, TransportError, UsageError
from medledger.transport.http_bundle import HttpBundle
from web_server import ANSWER, STALL, Hostile, direct, head, hostile, read, tls_server, web


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, little patience."""
    direct(monkeypatch)


def forever(connection: socket.socket, server: list[Hostile], piece: bytes, pause: float) -> None:
    """Goes on until the test is over."""
    while not server[0].over.wait(pause):
        connection.sendall(piece)


def silent(connection: socket.socket, server: list[Hostile]) -> None:
    """Says nothing."""
    forever(connection, server, b"", 0.05)


def silent_in_the_middle(connection: socket.socket, server: list[Hostile]) -> None:
    """Begins, and then says nothing."""
    connection.sendall(head(Content_Length=900) + b"begun")
    silent(connection, server)


def trickling_headers(connection: socket.socket, server: list[Hostile]) -> None:
    """A header that comes byte by byte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    forever(connection, server, b"x", 0.05)


def trickling_status(connection: socket.socket, server: list[Hostile]) -> None:
    """A first line that comes byte by byte."""
    forever(connection, server, b"H", 0.05)


def continuing(connection: socket.socket, server: list[Hostile]) -> None:
    """Provisional answers without end."""
    forever(connection, server, b"HTTP/1.1 100 Continue\r\n\r\n", 0.02)


def trickling_body(connection: socket.socket, server: list[Hostile]) -> None:
    """Each byte in time for the next."""
    connection.sendall(head(Content_Length=900))
    forever(connection, server, b"x", 0.05)


def trickling_trailers(connection: socket.socket, server: list[Hostile]) -> None:
    """Trailers of a chunked answer without end."""
    connection.sendall(head(Transfer_Encoding="chunked") + b"1\r\nx\r\n0\r\n")
    forever(connection, server, b"X-More: and more\r\n", 0.05)


@pytest.mark.parametrize(
    "behaviour",
    [
        silent,
        silent_in_the_middle,
        trickling_headers,
        trickling_status,
        continuing,
        trickling_body,
        trickling_trailers,
    ],
    ids=lambda each: each.__name__,
)
def test_a_server_that_takes_its_time_is_given_up(behaviour: Callable[[socket.socket, list[Hostile]], None]) -> None:
    """Whatever it does slowly: three attempts of a known length, and an error that says to try again."""
    servers: list[Hostile] = []
    with hostile(lambda connection, _: behaviour(connection, servers)) as server:
        servers.append(server)
        started = time.monotonic()
        with pytest.raises(TransportError, match="silent or too slow") as caught:
            read(web(server.url))
        assert caught.value.hint
        assert time.monotonic() - started < 3 * (ANSWER + STALL) + 20  # the machine may be busy; it does not hang
        assert len(server.asked) == 3


def endless_body(connection: socket.socket, over: Callable[[], bool]) -> None:
    """More and more, as fast as it can, and no length."""
    connection.sendall(head())
    while not over():
        connection.sendall(bytes(65536))


def endless_chunks(connection: socket.socket, over: Callable[[], bool]) -> None:
    """The same, in chunks."""
    connection.sendall(head(Transfer_Encoding="chunked"))
    while not over():
        connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


@pytest.mark.parametrize("behaviour", [endless_body, endless_chunks], ids=lambda each: each.__name__)
def test_nothing_is_read_beyond_the_size_of_the_file(behaviour: Callable[[socket.socket, object], None]) -> None:
    """One byte more, and it is refused, at once."""
    counted: list[int] = []
    with hostile(lambda connection, _: behaviour(connection, server.over.is_set)) as server:
        with pytest.raises(MalformedError, match="longer than 1000"):
            web(server.url).read(MANIFEST_NAME, 1000, counted.append)
        assert len(server.asked) == 1
    assert sum(counted) == 0
    assert max(counted) <= 1001


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (head(Content_Length=10**15) + b"x", MalformedError, "longer than 1000"),
        (head(Content_Length=1001) + bytes(1001), MalformedError, "longer than 1000"),
        (head(Content_Length=500) + bytes(499), TransportError, "cut off"),
        (head(Transfer_Encoding="chunked") + b"5\r\nab", TransportError, "could not be fetched"),
        (head(Transfer_Encoding="chunked") + b"zz\r\nab", TransportError, "could not be fetched"),
        (head(Content_Length=3, Content_Encoding="gzip") + b"abc", MalformedError, "encoded"),
        (head("206 Partial Content", Content_Length=3) + b"abc", TransportError, "206"),
        (head("204 No Content"), TransportError, "204"),
        (head("404 Not Found", Content_Length=0), MalformedError, "has no manifest.cbor"),
        (head("410 Gone", Content_Length=0), MalformedError, "has no manifest.cbor"),
        (head("403 Forbidden", Content_Length=10**12) + b"x", TransportError, "403"),
        (head("500 Oh", Content_Length=0), TransportError, "500"),
        (head("302 Found"), TransportError, "302"),
        (head("302 Found", Location="file:///etc/passwd"), TransportError, r"not followed \(file\)"),
        (head("302 Found", Location="ftp://127.0.0.1/x"), TransportError, r"not followed \(ftp\)"),
        (head("301 Found", Location="data:text/plain,x"), TransportError, r"not followed \(data\)"),
        (head("307 Found", Location="http://[::1"), TransportError, "not followed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", TransportError, "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", TransportError, "could not be fetched"),
        (b"SSH-2.0-OpenSSH\r\n", TransportError, "could not be fetched"),
        (b"HTTP/1.1 abc\r\n\r\n", TransportError, "could not be fetched"),
        (b"", TransportError, "could not be fetched"),
        (b"\0\xff" * 4000, TransportError, "could not be fetched"),
    ],
)
def test_what_is_no_file_is_refused(answer: bytes, error: type[MedledgerError], says: str) -> None:
    """With the reason, and an error of our family, whatever the server writes."""
    with hostile(lambda connection, _: connection.sendall(answer)) as server, pytest.raises(error, match=says):
        read(web(server.url))


def test_no_bytes_make_anything_but_our_errors(tmp_path: Path, rng: random.Random) -> None:
    """Changed, inserted and lost bytes in answers of every kind."""
    answers = [
        head(Content_Length=20) + bytes(20),
        head(Transfer_Encoding="chunked") + b"14\r\n" + bytes(20) + b"\r\n0\r\n\r\n",
        head("302 Found", Location="/x/y?z#w"),
        head("302 Found", Location="http://[::1]:1/x"),
        head("503 Busy", Content_Length=0),
    ]
    current = b""
    with hostile(lambda connection, _: connection.sendall(current)) as server:
        for _ in range(150):
            data = bytearray(rng.choice(answers))
            for _ in range(rng.randrange(1, 5)):
                at = rng.randrange(len(data))
                data[at : at + rng.randrange(3)] = rng.choice([b"", b"\r\n", b":", b"\0", rng.randbytes(1), b"9" * 30])
            current = bytes(data)
            with contextlib.suppress(MedledgerError):
                read(web(server.url))


def test_a_dead_server_and_a_name_that_nobody_has() -> None:
    """Network errors, as such."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(TransportError, match="refused"):
        read(web(f"http://127.0.0.1:{port}"))
    with pytest.raises(TransportError):
        read(web("http://host.invalid"))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "file:///etc/passwd",
        "http://",
        "http:///x",
        "https://[::1",
        "http://host:port/",
        "http://host:0/",
        "http://user:password@host/",
        "http://host/?query",
        "http://host/#fragment",
        "ledger.example",
    ],
)
def test_what_is_no_address_of_a_web_server(url: str) -> None:
    """A mistake of the caller's: nothing is asked."""
    with pytest.raises(UsageError) as caught:
        HttpBundle(url)
    assert "password" not in str(caught.value)


def test_a_server_whose_certificate_is_not_trusted(tmp_path: Path) -> None:
    """It is refused at once; the error says how to trust it."""
    with tls_server(tmp_path, lambda connection, _: connection.sendall(head())) as server:
        with pytest.raises(TransportError, match="not trusted") as caught:
            read(web(server.url))
        assert "SSL_CERT_FILE" in (caught.value.hint or "")
        assert server.asked == []
