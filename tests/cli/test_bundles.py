"""Bundles and bulk sync on the command line: unpacked, over HTTP, verified; stopped and killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from brokers import Broker
from forge import Chain
from medledger import Identity, Ledger, make_request
from medledger.bundle import Progress, export_directory
from medledger.cli.bundling import progress_text
from medledger.cli.gossiping import _status_line
from medledger.cli.rate import Rate
from medledger.entry import encode_entry
from web_server import Hostile, hostile, serving
from web_server import head as answer_head

from .conftest import READING, Run

BLOCKS, SIZE = 300, 30_000  # of one feed: 9 MB
FEEDS = 3


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An unpacked bundle of 27 MB, with the ledger that it is of beside it (ward.db, ward.key)."""
    place = tmp_path_factory.mktemp("large")
    identity = Identity.load_or_create(place / "ward.key")
    with Ledger.create(place / "ward.db", identity, name="St. Anna", label="Hospital", roles=["hospital"]) as ledger:
        for number in range(FEEDS):
            author = Identity.generate()
            request = make_request(author, secret=bytes([number]) * 16, label=f"box {number}", roles=["bedside"])
            ledger.enrol(request)
            chain = Chain(author, ledger.id)
            for n in range(BLOCKS):
                content = {"device": "MON-7", "samples": [["8867-4", [60, 0], "/min"]]}
                filled = encode_entry("reading", content, time=n, subject=None, salt=bytes(16))
                chain.add([filled + bytes(SIZE - len(filled))])
            assert ledger.import_blocks(chain.raws).accepted == BLOCKS
        export_directory(ledger, place / "all")
    return place


def throttled(directory: Path, pause: float = 0.01) -> Callable[[socket.socket, str], None]:
    """An honest server on a slow line."""

    def answer(connection: socket.socket, path: str) -> None:
        data = (directory / path.lstrip("/")).read_bytes()
        connection.sendall(answer_head(Content_Length=len(data)))
        for at in range(0, len(data), 256 * 1024):
            connection.sendall(data[at : at + 256 * 1024])
            time.sleep(pause)

    return answer


def start(*arguments: object) -> subprocess.Popen[str]:
    """The program, to be stopped in the middle."""
    command = [sys.executable, "-m", "medledger", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until it holds; the process must not end before."""
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def segments(server: Hostile) -> list[str]:
    """The segments that a server was asked for."""
    return [path for path in server.asked if "segments" in path]


# --- the commands -----------------------------------------------------------------------------------------------------


def test_a_directory_is_brought_up_to_date(run: Run, ward: Path) -> None:
    """Each export tells how much of it was new; info, import and verify read the directory like a file."""
    first = run("bundle", "export", ward, "all", "--unpacked", "--json").json
    assert first["written"] == first["bytes"] > 0
    assert run("bundle", "export", ward, "all", "--unpacked", "--json").json["written"] == 0
    run("append", ward, "reading", READING)
    second = run("bundle", "export", ward, "all", "--unpacked", "--json").json
    assert 0 < second["written"] < second["bytes"]
    assert second["blocks"] == run("bundle", "info", "all", "--json").json["blocks"] == 3
    assert "of it new" in run("bundle", "export", ward, "all", "--unpacked").out
    run("bundle", "import", "new.db", "all", "--new")
    told = run("bundle", "verify", "all", "--json").json
    assert told["digest"] == second["digest"] == run("verify", "new.db", "--json").json["digest"]


def test_a_directory_of_something_else_is_left_alone(run: Run, ward: Path) -> None:
    """A slip of the keyboard writes nothing among other files."""
    Path("photos").mkdir()
    Path("photos/cat.jpg").touch()
    assert "something else" in run("bundle", "export", ward, "photos", "--unpacked", code=3).err
    assert "exists already" in run("bundle", "export", ward, "photos", code=3).err
    assert os.listdir("photos") == ["cat.jpg"]


def test_fetch_and_import_from_a_web_server(run: Run, ward: Path, here: Path) -> None:
    """A copy, a new replica, and what is new for both; fetch unpacks a file, too."""
    run("bundle", "export", ward, "www/all", "--unpacked", code=3)
    Path("www").mkdir()
    run("bundle", "export", ward, "www/all", "--unpacked")
    with serving(here / "www") as (url, _):
        told = run("bundle", "fetch", f"{url}/all", "copy", "--json").json
        assert (told["blocks"], told["fetched"]) == (2, told["bytes"])
        assert run("bundle", "import", "new.db", f"{url}/all/", "--new", "--json").json["accepted"] == 2
        run("append", ward, "reading", READING)
        run("bundle", "export", ward, "www/all", "--unpacked")
        told = run("bundle", "fetch", f"{url}/all", "copy", "--json").json
        assert 0 < told["fetched"] < told["bytes"]
        assert run("bundle", "import", "new.db", f"{url}/all", "--json").json["accepted"] == 1
        assert run("bundle", "info", f"{url}/all", "--json").json["blocks"] == 3
        assert "has no manifest.cbor" in run("bundle", "fetch", f"{url}/nothing", "x", code=1).err
    assert "could not be fetched" in run("bundle", "info", f"{url}/all", code=4).err
    assert "no address" in run("bundle", "info", "http://", code=2).err
    run("bundle", "export", ward, "all.bundle")
    assert "of it new" in run("bundle", "fetch", "all.bundle", "unpacked").out
    digests = {run("bundle", "verify", each, "--json").json["digest"] for each in ("unpacked", "copy", "all.bundle")}
    assert len(digests) == 1


def test_verify_tells_which_ledger_or_says_that_it_cannot(run: Run, ward: Path) -> None:
    """With the id it is the ledger that was meant, or the command ends with 1; without, it says so."""
    run("bundle", "export", ward, "all.bundle")
    whole = run("bundle", "info", "all.bundle", "--json").json["ledger_id"]
    for text in (whole, whole[:16], whole[:8].upper()):
        done = run("bundle", "verify", "all.bundle", "--ledger", text)
        assert done.out.startswith("Consistent. all.bundle: St. Anna")
        assert "--ledger" not in done.out
    assert "give the id you know with --ledger" in run("bundle", "verify", "all.bundle").out
    assert not run("bundle", "verify", "all.bundle", "--json").json["ledger_checked"]
    assert f"is of ledger {whole}" in run("bundle", "verify", "all.bundle", "--ledger", "00" * 32, code=1).err
    for text in ("00", "no id", whole + "00", whole[:9]):
        assert "is no ledger id" in run("bundle", "verify", "all.bundle", "--ledger", text, code=2).err


def test_verify_needs_no_ledger_and_no_key(run: Run, ward: Path) -> None:
    """Only the bundle is there; each signature is checked where that is asked for; nothing is left behind."""
    run("bundle", "export", ward, "all", "--unpacked")
    for path in Path().glob("ward*"):
        path.unlink()
    told = run("bundle", "verify", "all", "--every-signature", "--processes", "1", "--json").json
    assert (told["consistent"], told["blocks"], told["members"], told["own_signatures"]) == (True, 2, 1, True)
    assert "each block's own" in run("bundle", "verify", "all", "--every-signature", "--processes", "1").out
    assert os.listdir() == ["all"]


def test_verify_names_what_is_wrong_and_ends_with_1(run: Run, ward: Path) -> None:
    """What holds is told all the same; what cannot be read at all is an error like any other."""
    run("bundle", "export", ward, "all", "--unpacked")
    segment = next(Path("all/segments").iterdir())
    segment.write_bytes(segment.read_bytes()[:-1])
    done = run("bundle", "verify", "all", code=1)
    assert done.out.startswith("Not consistent.")
    assert f"Warning: segments/{segment.name} in the bundle is damaged: blocks 0 to 1 of" in done.err
    assert "/0: blocks 0 to 1 are missing." in done.err
    assert "2 things in the bundle are not as it says" in done.err
    told = run("bundle", "verify", "all", "--json", code=1).json
    assert (told["consistent"], told["blocks"]) == (False, 0)
    assert [problem["seq"] for problem in told["problems"]] == [None, 0]
    run("bundle", "verify", "nowhere", code=3)
    Path("note.txt").write_text("no bundle")
    run("bundle", "verify", "note.txt", code=1)


# --- stopped and killed -----------------------------------------------------------------------------------------------


def test_a_fetch_that_is_killed_goes_on(program: Run, here: Path, large: Path) -> None:
    """kill -9, and Ctrl-C: what was fetched is not asked for again; the copy is whole or has no manifest."""
    with hostile(throttled(large / "all")) as server:
        fetched: set[str] = set()
        for stop in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
            before = len(segments(server))
            process = start("bundle", "fetch", server.url, "copy")
            wait_for(lambda before=before: len(segments(server)) >= before + 2, process)  # type: ignore[misc]
            process.send_signal(stop)
            _, err = process.communicate()
            assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[stop]
            assert "Traceback" not in err
            assert not Path("copy/manifest.cbor").exists()
            assert not fetched & {Path(path).name for path in segments(server)[before:]}
            fetched = {path.name for path in Path("copy/segments").iterdir() if path.suffix == ""}
            assert stop is signal.SIGKILL or not list(Path("copy").rglob("*.partial"))
        program("bundle", "fetch", server.url, "copy")
        assert len(fetched) > 2
    assert program("bundle", "verify", "copy", "--json").json["blocks"] == 1 + FEEDS + FEEDS * BLOCKS
    assert sorted(os.listdir("copy")) == ["manifest.cbor", "segments"]


def test_an_import_over_http_that_is_killed_goes_on(program: Run, here: Path, large: Path) -> None:
    """kill -9 in the middle, twice: whole segments that were taken are not asked for again."""
    with hostile(throttled(large / "all")) as server:
        total = program("bundle", "info", server.url, "--json").json["blocks"]
        program("bundle", "export", _empty(large), "empty", "--unpacked")
        program("bundle", "import", "new.db", "empty", "--new")
        taken: list[str] = []
        for _ in range(2):
            before = len(segments(server))
            process = start("bundle", "import", "new.db", server.url)
            wait_for(lambda before=before: len(segments(server)) >= before + 2, process)  # type: ignore[misc]
            process.kill()
            process.communicate()
            taken += segments(server)[before:-1]  # when the next one is asked for, they are durable
        stored = program("verify", "new.db", "--json").json["blocks"]
        before = len(segments(server))
        told = program("bundle", "import", "new.db", server.url, "--json").json
        assert (told["accepted"], told["refused"]) == (total - stored, [])
        assert len(set(taken)) == len(taken) == 2
        assert not set(taken) & set(segments(server)[before:])
        assert stored > 100
    assert told["digest"] == program("bundle", "verify", large / "all", "--json").json["digest"]


def _empty(large: Path) -> str:
    """A replica of the same ledger that holds nothing."""
    with Ledger.open(large / "ward.db") as ledger:
        genesis = ledger.genesis.raw
    Ledger.replicate("empty.db", genesis).close()
    return "empty.db"


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_verification_that_is_stopped_leaves_nothing(
    here: Path, large: Path, monkeypatch: pytest.MonkeyPatch, stop: signal.Signals, code: int
) -> None:
    """Ctrl-C and SIGTERM remove the temporary replica; the process ends as one that the signal has ended."""
    scratch = here / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    process = start("bundle", "verify", large / "all")
    wait_for(lambda: any(scratch.glob("*/replica.db*")), process)
    process.send_signal(stop)
    _, err = process.communicate()
    assert process.returncode == code
    assert err.strip() == "Stopped. What was acknowledged is kept."
    assert list(scratch.iterdir()) == []


def test_a_sync_that_is_killed_goes_on(program: Run, here: Path, large: Path, broker: Broker) -> None:
    """kill -9 in the middle of 27 MB from two peers: the next sync brings the rest, and hardly a byte twice."""
    for name, key in (("one", large / "ward.key"), ("two", None)):
        Path(name).mkdir()
        if key is None:
            text = program("member", "request", "--key", f"{name}/own.key", "--role", "auditor").out
            reply = program("member", "approve", "one/own.db", "-", stdin=text).out
            program("join", f"{name}/own.db", "-", stdin=reply)
            program("bundle", "import", f"{name}/own.db", large / "all")
        else:
            for suffix in ("db", "key"):
                Path(f"{name}/own.{suffix}").write_bytes((large / f"ward.{suffix}").read_bytes())
            Path(f"{name}/own.key").chmod(0o600)
            program("recover", f"{name}/own.db", "--yes")
    Path("new").mkdir()
    text = program("member", "request", "--key", "new/own.key", "--role", "auditor").out
    reply = program("member", "approve", "one/own.db", "-", "--broker", broker.url, "--no-deliver", stdin=text).out
    program("join", "new/own.db", "-", stdin=reply)
    staying = [start("sync", f"{name}/own.db", "--broker", broker.url, "--stay") for name in ("one", "two")]
    try:
        process = start("sync", "new/own.db")
        status = Path("new/own.db.status.json")
        size = sum(path.stat().st_size for path in (large / "all" / "segments").iterdir())
        wait_for(lambda: _size("new") > size // 3, process)
        process.kill()
        process.communicate()
        stored = program("verify", "new/own.db", "--json").json
        told = program("sync", "new/own.db", "--json").json
        assert told["in_sync"]
        assert told["peers"] == 2
        assert stored["blocks"] > 100
        assert told["new_blocks"] == told["blocks"] - stored["blocks"]
        assert told["received_bytes"] < (size - stored["bytes"]) * 1.1 + 2**20
        assert told["seconds"] > 0
        assert not status.exists() or json.loads(status.read_text())
    finally:
        for each in staying:
            each.terminate()
            each.communicate()


def _size(directory: str) -> int:
    """Bytes in the files that are there now; one may be renamed meanwhile."""
    size = 0
    for path in Path(directory).iterdir():
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


# --- what a terminal shows --------------------------------------------------------------------------------------------


def test_progress_tells_rate_and_time_left() -> None:
    """By bytes where the bytes that are to come are known, else by blocks; what was kept has no part in the rate."""
    rate = Rate()
    for second in range(11):
        rate.add(float(second), 1000 * second, 2_000_000 * second)
    progress = Progress(total_blocks=30_000, total_bytes=60_000_000, blocks=10_000, bytes=20_000_000)
    text = progress_text(progress, rate).replace("\u202f", " ")
    assert text == "10 000 of 30 000 blocks, 20.0 MB of 60.0 MB, 1 000 blocks/s, 2.0 MB/s, 20 s left"
    progress = Progress(total_blocks=30_000, total_bytes=None, blocks=27_000, bytes=0)
    assert progress_text(progress, rate).endswith("3 s left")
    assert "left" not in progress_text(progress, Rate())


def test_a_rate_is_of_the_last_seconds() -> None:
    """It follows a change, survives a total that begins anew, and does not keep every sample."""
    rate = Rate()
    for step in range(1000):
        rate.add(step / 100, step, 10 * step)
    assert rate.blocks == pytest.approx(100, rel=0.05)
    for step in range(2000):
        rate.add(10 + step / 100, 1000, 10_000)
    assert rate.blocks == 0
    rate.add(31, 0, 0)
    rate.add(32, 50, 500)
    assert (rate.blocks, rate.bytes) == (50, 500)
    assert len(rate._samples) < 250


def test_a_sync_shows_rate_and_time_left_while_it_is_behind() -> None:
    """And what it holds when it is not."""
    status = {
        "broker": "mqtt://b:1883",
        "connected": True,
        "in_sync": False,
        "feeds_behind": 3,
        "peers": 2,
        "feeds": 5,
        "blocks": 4000,
        "blocks_behind": 6000,
    }
    rate = Rate()
    rate.add(0, 0, 0)
    rate.add(2, 4000, 1_200_000)
    text = _status_line(status, rate, 2.0).replace("\u202f", " ")
    assert text == (
        "mqtt://b:1883: 3 feeds behind, 2 peers, 4 000 of 10 000 blocks, 2 000 blocks/s, 600.0 kB/s, 3 s left"
    )
    status |= {"in_sync": True, "blocks_behind": 0, "feeds_behind": 0}
    assert _status_line(status, rate, 2.0).endswith("in sync, 2 peers, 4\u202f000 blocks of 5 feeds, 2 s")
    assert _status_line({"broker": "x", "connected": False}, rate, 0).endswith("connecting")
