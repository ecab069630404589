"""Bundles on a web server: what an honest one gives, and what no other can do to us."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from certificates import certificates, have_openssl
from medledger import Ledger
from medledger.bundle import (
    MANIFEST_NAME,
    Progress,
    Source,
    export_directory,
    fetch_bundle,
    read_manifest,
    verify_bundle,
)
from medledger.errors import CorruptError, MalformedError, MedledgerError, TransportError, UsageError
from medledger.limits import MAX_MANIFEST_BYTES
from medledger.transport.http_bundle import HttpBundle
from web_server import Answer, Hostile, head, hostile, serving
from worlds import found, join, reading, sync

STALL = 0.3  # how long a server may be silent in these tests
ANSWER = 1.0  # and how long it may take


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy; small segments; a server that is slower than 1 MB/s is too slow."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for module in ("segments", "exporting"):
        monkeypatch.setattr(f"medledger.bundle.{module}.BUNDLE_SEGMENT_BYTES", 4096)
    monkeypatch.setattr("medledger.transport.paced_http.WEB_MIN_BYTES_PER_SECOND", 1_000_000)


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with two feeds, in a bundle at `all`."""
    with found(tmp_path) as ledger, join(ledger, tmp_path, "box") as box:
        for n in range(40):
            box.append(reading(n))
        sync(box, ledger)
        export_directory(ledger, tmp_path / "all")
        yield ledger


def web(url: str, pauses: list[float] | None = None) -> HttpBundle:
    """A bundle of a server that we have little patience with."""
    noted: list[float] = [] if pauses is None else pauses
    return HttpBundle(url, stall_seconds=STALL, answer_seconds=ANSWER, sleep=noted.append)


def files_of(directory: Path) -> Answer:
    """Answers as an honest server does."""

    def answer(connection: socket.socket, path: str) -> None:
        try:
            data = (directory / path.lstrip("/")).read_bytes()
        except OSError:
            connection.sendall(head("404 Not Found", Content_Length=0))
            return
        connection.sendall(head(Content_Length=len(data)) + data)

    return answer


def read(source: Source, name: str = MANIFEST_NAME, size: int = 1000) -> bytes:
    """A file of a bundle."""
    return source.read(name, size, lambda _: None)


# --- an honest server -------------------------------------------------------------------------------------------------


def test_import_fetch_and_verify_over_http(founder: Ledger, tmp_path: Path) -> None:
    """All of it comes, once; what is held is not asked for again."""
    with serving(tmp_path) as (url, asked):
        with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
            report = replica.import_bundle(HttpBundle(f"{url}/all/"))
            assert (report.accepted, report.refused) == (42, [])
            assert replica.digest() == founder.digest()
            segments = [path for path in asked if "segments" in path]
            assert len(segments) == len(set(segments)) > 2
            asked.clear()
            assert replica.import_bundle(HttpBundle(f"{url}/all/{MANIFEST_NAME}")).duplicates == 42
            assert asked == [f"/all/{MANIFEST_NAME}"]
        fetch_bundle(HttpBundle(f"{url}/all"), tmp_path / "copy")
        assert verify_bundle(HttpBundle(f"{url}/all"), ledger_id=founder.id).digest == founder.digest()
        asked.clear()
        fetch_bundle(HttpBundle(f"{url}/copy"), tmp_path / "copy of copy")
        assert len(asked) == 1 + len(segments)


def test_a_bundle_that_grows_costs_what_is_new(founder: Ledger, tmp_path: Path) -> None:
    """The server's directory is brought up to date while a follower imports and another mirrors it."""
    with serving(tmp_path / "all") as (url, asked):
        with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
            for count in (0, 3, 40):
                for n in range(count):
                    founder.append(reading(n))
                export_directory(founder, tmp_path / "all")
                asked.clear()
                assert replica.import_bundle(HttpBundle(url)).refused == []
                new = len(asked) - 1
                fetch_bundle(HttpBundle(url), tmp_path / "copy")
                assert replica.digest() == founder.digest()
                assert new <= 2 + count // 10 or count == 0
        assert verify_bundle(HttpBundle(url)).problems == []


def test_a_fetch_that_was_cut_off_goes_on(founder: Ledger, tmp_path: Path) -> None:
    """A server that dies in the middle: what came is kept, by name, and not asked for again."""
    honest = files_of(tmp_path / "all")
    alive = 3

    def answer(connection: socket.socket, path: str) -> None:
        nonlocal alive
        alive -= 1
        if alive >= 0:
            honest(connection, path)

    with hostile(answer) as server:
        pauses: list[float] = []
        with pytest.raises(TransportError, match="could not be fetched"):
            fetch_bundle(web(server.url, pauses), tmp_path / "copy")
        assert pauses == [1.0, 2.0]
        assert not (tmp_path / "copy" / MANIFEST_NAME).exists()
        there = {path.name for path in (tmp_path / "copy" / "segments").iterdir()}
        assert len(there) == 2
        alive = 1000
        server.asked.clear()
        fetch_bundle(web(server.url), tmp_path / "copy")
        assert not there & {path.rpartition("/")[2] for path in server.asked}
    assert (tmp_path / "copy" / MANIFEST_NAME).read_bytes() == (tmp_path / "all" / MANIFEST_NAME).read_bytes()


@pytest.mark.parametrize("broken", [1, 2])
def test_a_broken_connection_and_a_busy_server_are_tried_again(founder: Ledger, tmp_path: Path, broken: int) -> None:
    """And what came in vain is not counted."""
    honest = files_of(tmp_path / "all")
    failures: dict[str, int] = {}

    def answer(connection: socket.socket, path: str) -> None:
        failures[path] = failures.get(path, 0) + 1
        if failures[path] == 1 and path.count("/") > 1:
            connection.sendall(head(Content_Length=1000) + b"some of it")
        elif failures[path] <= broken:
            connection.sendall(head("503 Service Unavailable", Content_Length=0))
        else:
            honest(connection, path)

    with hostile(answer) as server:
        told: list[int] = []
        progress: list[Progress] = []

        def notify(step: Progress) -> None:
            told.append(step.bytes)
            progress.append(step)

        manifest = fetch_bundle(web(server.url), tmp_path / "copy", notify)
    assert progress[-1].bytes == progress[-1].total_bytes == manifest.size_bytes
    assert max(told) <= manifest.size_bytes


def test_redirects_are_followed_to_other_web_addresses(founder: Ledger, tmp_path: Path) -> None:
    """To another path, another server, by a relative address; not in a circle."""
    with serving(tmp_path) as (url, _):

        def answer(connection: socket.socket, path: str) -> None:
            target = {"/a": "/b", "/circle": "/circle"}.get(path.rpartition("/")[0], f"{url}/all")
            if path.startswith("/segments") or path == f"/{MANIFEST_NAME}":
                target = f"{url}/all"
                connection.sendall(head("302 Found", Location=f"{target}{path}", Content_Length=10**12) + b"x" * 999)
            else:
                connection.sendall(head("301 Moved", Location=f"{target}/{path.rpartition('/')[2]}", Content_Length=0))

        with hostile(answer) as server:
            assert read_manifest(web(f"{server.url}/a")).genesis == founder.genesis.raw
            fetch_bundle(web(server.url), tmp_path / "copy")
            with pytest.raises(TransportError, match="redirected over"):
                read(web(f"{server.url}/circle"))
            assert server.asked.count(f"/circle/{MANIFEST_NAME}") == 6


# --- any other --------------------------------------------------------------------------------------------------------


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


def test_a_negative_length_is_no_length(founder: Ledger, tmp_path: Path) -> None:
    """What comes until the connection ends is the file, if its hash says so."""
    raw = (tmp_path / "all" / MANIFEST_NAME).read_bytes()
    with hostile(lambda connection, _: connection.sendall(head(Content_Length=-5) + raw)) as server:
        assert read(web(server.url), size=MAX_MANIFEST_BYTES) == raw


def segments_answer(directory: Path, segment: Callable[[bytes], bytes]) -> Answer:
    """An honest manifest, and segments as this function makes them."""
    honest = files_of(directory)

    def answer(connection: socket.socket, path: str) -> None:
        if "segments" in path:
            connection.sendall(segment((directory / path.lstrip("/")).read_bytes()))
        else:
            honest(connection, path)

    return answer


@pytest.mark.parametrize(
    ("segment", "error"),
    [
        (lambda data: head(Content_Length=len(data)) + data[:-1] + b"\0", CorruptError),
        (lambda data: head() + data[:-1], CorruptError),
        (lambda data: head(Content_Length=len(data) - 1) + data[:-1], CorruptError),
        (lambda data: head() + data + b"\0", MalformedError),
        (lambda _: head(Content_Length=0), CorruptError),
        (lambda _: head("404 Not Found", Content_Length=0), MalformedError),
    ],
)
def test_no_block_of_a_wrong_segment_is_looked_at(
    founder: Ledger, tmp_path: Path, segment: Callable[[bytes], bytes], error: type[MedledgerError]
) -> None:
    """Import and fetch refuse it and keep nothing of it; verify names it."""
    with hostile(segments_answer(tmp_path / "all", segment)) as server:
        with Ledger.replicate(tmp_path / "replica.db", founder.genesis.raw) as replica:
            with pytest.raises(error):
                replica.import_bundle(web(server.url))
            assert replica.frontier() == {}
        with pytest.raises(error):
            fetch_bundle(web(server.url), tmp_path / "copy")
        assert not list((tmp_path / "copy").rglob("*.*"))
        report = verify_bundle(web(server.url))
        assert len([problem for problem in report.problems if "segments/" in problem.what]) > 2
        assert report.blocks == 0


def test_a_manifest_of_anything_is_refused(tmp_path: Path) -> None:
    """A page of the server, rubbish, nothing; and one that is too long is not read."""
    for raw in (b"<html>not here</html>", b"", b"\x9f" * 50, b"\x84\x01"):
        with hostile(lambda connection, _, raw=raw: connection.sendall(head() + raw)) as server:  # type: ignore[misc]
            with pytest.raises(MalformedError):
                read_manifest(web(server.url))
            with pytest.raises(MalformedError):
                fetch_bundle(web(server.url), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


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
    with pytest.raises(UsageError):
        HttpBundle(url)


def test_an_address_may_hold_any_character(founder: Ledger, tmp_path: Path) -> None:
    """Spaces and letters of other scripts, escaped or not."""
    (tmp_path / "Station Süd").mkdir()
    (tmp_path / "all").rename(tmp_path / "Station Süd" / "all")
    with serving(tmp_path) as (url, _):
        for text in ("Station Süd", "Station%20S%C3%BCd"):
            assert read_manifest(HttpBundle(f"{url}/{text}/all")).genesis == founder.genesis.raw


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


def test_a_server_whose_certificate_is_not_trusted(tmp_path: Path) -> None:
    """It is refused at once; the error says how to trust it."""
    with tls_server(tmp_path, lambda connection, _: connection.sendall(head())) as server:
        with pytest.raises(TransportError, match="not trusted") as caught:
            read(web(server.url))
        assert "SSL_CERT_FILE" in (caught.value.hint or "")
        assert server.asked == []


def test_a_server_whose_certificate_is_trusted(
    founder: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTPS all is as over HTTP; and it never leads back to HTTP."""
    with tls_server(tmp_path, files_of(tmp_path / "all")) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        assert verify_bundle(web(server.url)).digest == founder.digest()
    downgrade = head("302 Found", Location="http://127.0.0.1:1/x", Content_Length=0)
    with (
        tls_server(tmp_path, lambda connection, _: connection.sendall(downgrade)) as server,
        pytest.raises(TransportError, match=r"not followed \(http\)"),
    ):
        read(web(server.url))
