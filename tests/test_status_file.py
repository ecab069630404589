"""The status file: what gossip shows beside the ledger, from its first word to its last, or to a death without one."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Broker
from medledger import Ledger, statusfile
from medledger.errors import StoreError
from medledger.limits import MAX_STATUS_BYTES, STATUS_SILENT_SECONDS
from medledger.statusfile import Life
from medledger.sync.topics import Topics
from medledger.transport import Gossip
from waiting import until
from worlds import found, join, reading

SECONDS = 20.0


def read(ledger: Ledger) -> statusfile.Found:
    """A ledger's status file."""
    seen = statusfile.read(statusfile.place(ledger.path))
    assert seen is not None
    return seen


# --- what it says ----------------------------------------------------------------------------------------------------


def test_bytes_are_those_that_a_client_of_the_broker_sees(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """What two nodes sent is what a third client hears; what each received is what was published for it meanwhile."""
    founder = stack.enter_context(found(tmp_path))
    ward = stack.enter_context(join(founder, tmp_path, "ward"))
    key = founder.transport_key
    assert key is not None
    topics = Topics(founder.id, key.key)
    heard: list[tuple[str, int]] = []
    listen(broker, topics.beacons.rpartition("/")[0] + "/#", heard, stack)
    for rate in range(30):
        ward.append(reading(rate))
    nodes = {ledger: stack.enter_context(Gossip(ledger, broker.url, status_file=True)) for ledger in (founder, ward)}
    assert all(node.wait_in_sync(SECONDS) for node in nodes.values())
    for rate in range(20):
        founder.append(reading(rate))

    def size(ledger: Ledger, way: str) -> int:
        number: int = read(ledger).document["status"]["traffic"][way]["bytes"]
        return number

    def expected(ledger: Ledger) -> int:
        assert ledger.me is not None
        others = {topics.inbox(each.me) for each in nodes if each is not ledger and each.me is not None}
        return sum(size for topic, size in heard if topic not in others)

    assert until(lambda: size(founder, "out") + size(ward, "out") == sum(size for _, size in heard))
    # The founder was there before the other: it was sent every frame of all topics that it listens to, its own too.
    assert until(lambda: size(founder, "in") == expected(founder))
    assert 0 < size(ward, "in") <= expected(ward)


def listen(broker: Broker, topic: str, heard: list[tuple[str, int]], stack: ExitStack) -> None:
    """A client of the broker that notes the size of everything."""
    client = Client(CallbackAPIVersion.VERSION2)
    ready: list[bool] = []
    client.on_message = lambda _client, _data, message: heard.append((message.topic, len(message.payload)))
    client.on_subscribe = lambda *_: ready.append(True)
    client.connect(broker.host, broker.port)
    client.loop_start()
    stack.callback(client.loop_stop)
    stack.callback(client.disconnect)
    client.subscribe(topic, 1)
    assert until(lambda: bool(ready))


def test_it_is_renewed_while_gossip_goes_on_and_says_when_it_ends(
    tmp_path: Path, broker: Broker, stack: ExitStack
) -> None:
    """For its owner alone, whole at each moment, with the labels of those it names; at the end it says `closed`."""
    founder = stack.enter_context(found(tmp_path))
    ward = stack.enter_context(join(founder, tmp_path, "ward"))
    other = stack.enter_context(Gossip(founder, broker.url))
    account = broker.url.replace("//", "//ward:a-secret@")
    gossip = stack.enter_context(Gossip(ward, account, status_file=True))
    assert gossip.wait_in_sync(SECONDS)
    path = statusfile.place(ward.path)
    assert path.name == "ward.db.status.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert until(lambda: read(ward).document["status"]["in_sync"])
    ward.append(reading(1))
    blocks = sum(head.seq + 1 for head in ward.frontier().values())
    assert until(lambda: read(ward).document["status"]["blocks"] == blocks)
    assert until(lambda: read(ward).document["status"]["own_blocks_unconfirmed"] == 0)
    seen = read(ward)
    assert (seen.life, seen.pid) == (Life.RUNNING, os.getpid())
    assert seen.seconds < 20
    assert seen.document["schema"] == 1
    assert seen.document["ledger"] == {"id": ward.id.hex(), "name": "Test ledger"}
    assert abs(seen.document["written"] / 1000 - time.time()) < 20
    assert founder.me is not None
    assert seen.document["labels"][founder.me.hex()] == "founder"
    assert "a-secret" not in path.read_text()
    status = seen.document["status"]
    assert status["connected"]
    assert status["connected_seconds"] is not None
    assert (status["broker"], status["brokers"]) == (broker.url, [broker.url])
    assert (status["key_generation"], status["key_held"]) == (0, True)
    gossip.close()
    seen = read(ward)
    assert seen.life is Life.CLOSED
    assert seen.document["status"]["blocks"] == blocks
    assert [each.name for each in tmp_path.glob("*.status.json*")] == [path.name]
    assert other.status()["failure"] is None


def test_without_it_there_is_no_file(tmp_path: Path, broker: Broker, stack: ExitStack) -> None:
    """A program that does not ask for it gets none; one may name another place."""
    founder = stack.enter_context(found(tmp_path))
    with Gossip(founder, broker.url):
        pass
    assert list(tmp_path.glob("*.status.json*")) == []
    elsewhere = tmp_path / "elsewhere.json"
    with Gossip(founder, broker.url, status_file=elsewhere):
        assert until(elsewhere.exists)
    seen = statusfile.read(elsewhere)
    assert seen is not None
    assert seen.life is Life.CLOSED


def test_a_file_that_cannot_be_written_disturbs_nobody(
    tmp_path: Path, broker: Broker, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and gossip goes on."""
    founder = stack.enter_context(found(tmp_path))
    ward = stack.enter_context(join(founder, tmp_path, "ward"))
    stack.enter_context(Gossip(founder, broker.url))
    with caplog.at_level(logging.WARNING, "medledger.transport"):
        gossip = stack.enter_context(Gossip(ward, broker.url, status_file=tmp_path / "absent" / "status.json"))
        assert gossip.wait_in_sync(SECONDS)
        for rate in range(3):
            ward.append(reading(rate))
        assert until(lambda: founder.digest() == ward.digest())
        gossip.close()
    assert gossip.status()["failure"] is None
    assert sum("cannot be written" in line for line in caplog.messages) == 1


def test_a_fault_of_gossip_s_own_is_the_last_word(
    tmp_path: Path, broker: Broker, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file says `failed`, and why; closing afterwards does not gloss over it."""
    founder = stack.enter_context(found(tmp_path))
    gossip = Gossip(founder, broker.url, status_file=True)

    def break_down(now: float) -> bool:
        raise RuntimeError(f"a fault at {now:.0f}")

    monkeypatch.setattr(gossip._node, "in_sync", break_down)
    with gossip:
        assert until(lambda: gossip.status()["failure"] is not None)
        assert until(statusfile.place(founder.path).exists)  # a fault before the first picture: it is the first
        assert until(lambda: read(founder).life is Life.FAILED)
    seen = read(founder)
    assert seen.life is Life.FAILED
    assert "a fault at" in seen.document["status"]["failure"]
    assert seen.document["status"]["alarms"][0]["hint"] == "Please report this."


# --- what is left of who was killed -----------------------------------------------------------------------------------


def test_a_killed_process_leaves_a_file_that_is_known_for_what_it_is(
    tmp_path: Path, broker: Broker, stack: ExitStack
) -> None:
    """Running while it lives; gone at once after kill -9, though the file says nothing of an end; then closed again."""
    found(tmp_path, "ward").close()
    path = tmp_path / "ward.db"
    command = [sys.executable, "-m", "medledger", "sync", str(path), "--broker", broker.url, "--stay"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert until(lambda: statusfile.read(statusfile.place(path)) is not None)
            seen = statusfile.read(statusfile.place(path))
            assert seen is not None
            assert (seen.life, seen.pid) == (Life.RUNNING, process.pid)
        finally:
            process.send_signal(signal.SIGKILL)
    seen = statusfile.read(statusfile.place(path))
    assert seen is not None
    assert (seen.life, seen.document["ended"]) == (Life.GONE, None)
    ledger = stack.enter_context(Ledger.open(path, _identity(tmp_path)))
    with Gossip(ledger, broker.url, status_file=True):
        assert until(lambda: read(ledger).life is Life.RUNNING)
    assert read(ledger).life is Life.CLOSED


def _identity(directory: Path) -> Any:
    from medledger import Identity

    return Identity.load(directory / "ward.key")


# --- reading it ------------------------------------------------------------------------------------------------------

STATUS = {"feed": "ab" * 32, "peer_list": [], "lagging_feeds": []}


def written(path: Path, *, ended: str | None = None, **process: Any) -> statusfile.Found:
    """A file of this process, changed, and read."""
    content = statusfile.document(STATUS, ledger_id=bytes(32), name="Ward", members={}, ended=ended)
    content["process"].update(process)
    statusfile.write(path, content)
    seen = statusfile.read(path)
    assert seen is not None
    return seen


def test_who_wrote_it_shows_in_process_machine_and_age(tmp_path: Path) -> None:
    """Another boot, a number that nobody has, silence, an end: each is told apart, whatever the wall clock says."""
    path = tmp_path / "status.json"
    now = time.monotonic_ns() // 1_000_000
    nobody = _free_pid()
    assert written(path).life is Life.RUNNING
    assert written(path, pid=nobody).life is Life.GONE
    assert written(path, machine="another boot").life is Life.GONE
    assert written(path, monotonic_ms=now - int(STATUS_SILENT_SECONDS * 1000) - 1000).life is Life.SILENT
    assert written(path, ended="closed", pid=nobody).life is Life.CLOSED
    assert written(path, ended="failed").life is Life.FAILED
    assert written(path, ended="failed", pid=nobody).life is Life.GONE
    # In a container its number means another process here, or none: then only the age can tell.
    assert written(path, pid=nobody, namespace="pid:[1]").life is Life.RUNNING
    content = json.loads(path.read_text())
    content["written"] -= 10 * 365 * 86_400_000
    statusfile.write(path, content)
    seen = statusfile.read(path)
    assert seen is not None
    assert (seen.life, seen.seconds < 10) == (Life.RUNNING, True)


def _free_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    return ended.pid


def test_what_is_no_status_file_is_an_error(tmp_path: Path) -> None:
    """Named with the file and what to do; a file that is not there is none."""
    path = tmp_path / "status.json"
    assert statusfile.read(path) is None
    good = statusfile.document(STATUS, ledger_id=bytes(32), name="Ward", members={}, ended=None)
    broken: list[bytes] = [b"", b"{", b"[]", b"null", b"7", b'{"schema": 1}', b"\xff", b"[" * 100_000]
    broken += [json.dumps({**good, "process": {**good["process"], "pid": pid}}).encode() for pid in (0, -1, "7", 2**40)]
    broken += [json.dumps({**good, name: []}).encode() for name in ("process", "status", "labels", "ledger")]
    broken += [b" " * (MAX_STATUS_BYTES + 1)]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(StoreError, match="is not a status file") as caught:
            statusfile.read(path)
        assert caught.value.hint
    path.write_text(json.dumps({**good, "schema": 2}))
    with pytest.raises(StoreError, match="another version"):
        statusfile.read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        statusfile.read(path)


def test_a_leftover_of_a_crash_is_in_nobody_s_way(tmp_path: Path) -> None:
    """A temporary file, whole or not, of a process that was killed between writing and naming it."""
    path = tmp_path / "status.json"
    (tmp_path / "status.json.tmp").write_text("{")
    assert written(path).life is Life.RUNNING
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]
