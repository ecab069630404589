"""Bundles on a web server: what an honest one gives, and what no other can do to us."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles import small_segments
from medledger import Ledger
from medledger.bundle import (
    MANIFEST_NAME,
    Progress,
    export_directory,
    fetch_bundle,
    read_manifest,
    verify_bundle,
)
from medledger.errors import CorruptError, MalformedError, MedledgerError, TransportError
from medledger.limits import MAX_MANIFEST_BYTES
from medledger.transport.http_bundle import HttpBundle
from web_server import Answer, direct, head, hostile, read, serving, tls_server, web
from worlds import found, join, reading, sync


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, small segments, little patience."""
    direct(monkeypatch)
    small_segments(monkeypatch)


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """A governor's replica with two feeds, in a bundle at `all`."""
    with found(tmp_path) as ledger, join(ledger, tmp_path, "box") as box:
        for n in range(40):
            box.append(reading(n))
        sync(box, ledger)
        export_directory(ledger, tmp_path / "all")
        yield ledger


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


def test_an_address_may_hold_any_character(founder: Ledger, tmp_path: Path) -> None:
    """Spaces and letters of other scripts, escaped or not."""
    (tmp_path / "Station Süd").mkdir()
    (tmp_path / "all").rename(tmp_path / "Station Süd" / "all")
    with serving(tmp_path) as (url, _):
        for text in ("Station Süd", "Station%20S%C3%BCd"):
            assert read_manifest(HttpBundle(f"{url}/{text}/all")).genesis == founder.genesis.raw


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
