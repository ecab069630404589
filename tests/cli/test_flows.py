"""The whole way, with the real program: found, ask, approve, join, exchange, verify; by bundle and over a broker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from brokers import Broker, Electing
from medledger import Identity, Ledger
from medledger.bundle import encode_manifest, open_bundle, read_manifest
from medledger.transport import Gossip
from waiting import until

from .conftest import READING, Run

DISPENSE = '{"product": "09506000134352", "quantity": "30", "unit": "{tablet}"}'


def found(program: Run, *options: str) -> None:
    """A hospital's ledger and a pharmacy that has joined it, each in a directory of its own."""
    for name in ("hospital", "pharmacy"):
        Path(name).mkdir()
    program("init", "hospital/h.db", "--name", "Trial 7", "--label", "Hospital", "--role", "hospital", *options)
    program("append", "hospital/h.db", "reading", READING)
    text = program("member", "request", "--key", "pharmacy/p.key", "--label", "Pharmacy", "--role", "pharmacy").out
    reply = program("member", "approve", "hospital/h.db", "-", "--no-deliver", stdin=text).out
    program("join", "pharmacy/p.db", "-", stdin=reply)


def digest(program: Run, ledger: str) -> str:
    """The digest of a replica that verifies, each signature of it."""
    report = program("verify", ledger, "--every-signature", "--processes", "1", "--json").json
    assert report["verified"]
    assert report["own_signatures"] == report["blocks"]
    return str(report["digest"])


def test_without_any_network(program: Run, here: Path) -> None:
    """Bundles carry it all: both write, both hold the same, and an auditor without a key verifies it."""
    found(program)
    assert "medledger recover" in program("append", "pharmacy/p.db", "dispense", DISPENSE, code=1).err
    program("bundle", "export", "hospital/h.db", "out.bundle")
    program("bundle", "import", "pharmacy/p.db", "out.bundle")  # which says that nobody there has more of its feed
    program("append", "pharmacy/p.db", "dispense", DISPENSE)
    program("bundle", "export", "pharmacy/p.db", "back.bundle")
    told = program("bundle", "import", "hospital/h.db", "back.bundle", "--json").json
    assert (told["accepted"], told["duplicates"], told["refused"]) == (1, 3, [])
    ledger_id = program("bundle", "info", "back.bundle", "--json").json["ledger_id"]
    wrong = program("bundle", "import", "audit.db", "back.bundle", "--new", "--id", "00", code=2)
    assert f"the bundle is of ledger {ledger_id}" in wrong.err
    assert not Path("audit.db").exists()
    program("bundle", "import", "audit.db", "back.bundle", "--new", "--id", ledger_id[:16])
    assert len({digest(program, each) for each in ("hospital/h.db", "pharmacy/p.db", "audit.db")}) == 1
    assert program("fsck", "audit.db", "--json").json["indexes"]
    lines = program("log", "audit.db", "--json").lines
    assert [line["type"] for line in lines if not line["type"].startswith("gov.")] == ["reading", "dispense"]


def test_a_bundle_of_another_ledger_is_refused(program: Run, here: Path) -> None:
    """Nothing of it is taken."""
    found(program)
    program("init", "other.db", "--name", "Other")
    program("bundle", "export", "other.db", "other.bundle")
    assert "of another ledger" in program("bundle", "import", "hospital/h.db", "other.bundle", code=1).err
    assert "has no manifest" in program("bundle", "info", zip_of_nothing(), code=1).err


def zip_of_nothing() -> str:
    """A ZIP file that is no bundle."""
    with zipfile.ZipFile("empty.zip", "w") as archive:
        archive.writestr("hello", b"")
    return "empty.zip"


def test_a_bundle_with_a_bad_block_is_taken_but_for_it(program: Run, here: Path) -> None:
    """The command ends with 1, names the block, and has kept what came before."""
    program("init", "a.db", "--name", "A", "--label", "A", "--role", "hospital")
    program("append", "a.db", "reading", READING)
    program("bundle", "export", "a.db", "good.bundle")
    with open_bundle(Path("good.bundle")) as source:
        manifest = read_manifest(source)
        good = manifest.segments[0]
        segment = source.read(good.name, good.size, lambda _: None).replace(b"MON-7", b"MON-8")
    forged = replace(manifest, segments=(good._replace(hash=sha256(segment).digest()),))
    with zipfile.ZipFile("bad.bundle", "w") as archive:
        archive.writestr("manifest.cbor", encode_manifest(forged))
        archive.writestr(f"segments/{sha256(segment).digest().hex()}", segment)
    done = program("bundle", "import", "b.db", "bad.bundle", "--new", code=1)
    assert "Took 1 new block" in done.out
    assert "refused" in done.err
    told = program("bundle", "import", "b.db", "bad.bundle", "--json", code=1).json
    assert [error["seq"] for error in told["refused"]] == [1]


@contextmanager
def staying(ledger: str, broker: Broker, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A replica that stays on the broker until it is told to stop, which it does in an orderly way."""
    process = subprocess.Popen(
        [sys.executable, "-m", "medledger", "sync", ledger, "--broker", broker.url, "--stay", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_over_a_broker(program: Run, here: Path, broker: Broker) -> None:
    """The same over MQTT: a joined pharmacy syncs, writes, and syncs again; a service manager's stop is orderly."""
    found(program, "--broker", broker.url)
    with staying("hospital/h.db", broker) as hospital:
        told = program("sync", "pharmacy/p.db", "--json").json
        assert (told["in_sync"], told["new_blocks"], told["state"]) == (True, 3, "ready")
        program("append", "pharmacy/p.db", "dispense", DISPENSE)
        told = program("audit", "sync", "pharmacy/p.db", "--until-in-sync", "--json").json
        assert (told["in_sync"], told["own_blocks_unconfirmed"]) == (True, 0)
        locked = program("log", "hospital/h.db", code=3)
        assert "in use by another process" in locked.err
        hospital.send_signal(signal.SIGTERM)
        out, _ = hospital.communicate(timeout=60)
        assert hospital.returncode == 0
        assert "1 new block" in out
    assert digest(program, "hospital/h.db") == digest(program, "pharmacy/p.db") == told["digest"]


def test_a_sync_that_begins_amid_an_election(program: Run, here: Path, own_broker: Broker) -> None:
    """The broker is there and takes nobody yet: sync goes on trying, within its patience."""
    found(program, "--broker", own_broker.url)
    own_broker.kill()
    with Electing(own_broker.host, own_broker.port) as electing:
        program("sync", "hospital/h.db", "--patience", "1s", code=4)
        before = electing.visits
        syncs = [
            subprocess.Popen([sys.executable, "-m", "medledger", "sync", name, "--patience", "30s"])
            for name in ("hospital/h.db", "pharmacy/p.db")
        ]
        assert until(lambda: electing.visits > before + 4)
    own_broker.start()
    assert [each.wait(60) for each in syncs] == [0, 0]
    assert digest(program, "hospital/h.db") == digest(program, "pharmacy/p.db")


def test_an_alarm_stands_over_what_to_do_about_it(run: Run, ward: Path, broker: Broker) -> None:
    """Another process with the same key is on the broker, as after a card was cloned."""
    twin = Path("twin")
    twin.mkdir()
    for path in ward.parent.glob("ward.*"):
        shutil.copy(path, twin)
    identity = Identity.load(twin / "ward.key")
    with Ledger.open(twin / "ward.db", identity) as ledger, Gossip(ledger, broker.url):
        lines = run("sync", ward, "--broker", broker.url, "--for", "3s").err.splitlines()
    (at,) = (number for number, line in enumerate(lines) if "a frame of another process with this node's key" in line)
    assert lines[at].startswith("Warning: ")
    assert lines[at + 1].startswith("         Where two processes use this key, stop all but one")


def test_two_that_sync_at_once_both_end(program: Run, here: Path, broker: Broker) -> None:
    """Neither leaves before the other knows that its blocks have arrived."""
    found(program, "--broker", broker.url)
    other = subprocess.Popen([sys.executable, "-m", "medledger", "sync", "hospital/h.db", "--patience", "20s"])
    program("sync", "pharmacy/p.db", "--patience", "20s")
    assert other.wait(60) == 0
    assert digest(program, "hospital/h.db") == digest(program, "pharmacy/p.db")


def test_follow_prints_entries_as_they_arrive(program: Run, here: Path, broker: Broker) -> None:
    """Entry by entry, in JSON on stdout; how it ended goes to stderr."""
    found(program, "--broker", broker.url)
    with staying("pharmacy/p.db", broker, "--follow", "--json") as follower:
        program("sync", "hospital/h.db")
        program("append", "hospital/h.db", "reading", READING)
        program("sync", "hospital/h.db")
        follower.send_signal(signal.SIGINT)
        out, err = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert sum('"type": "reading"' in line for line in out.splitlines()) == 2
    assert "new blocks" in err


def test_nobody_there_is_a_network_error(program: Run, here: Path, broker: Broker) -> None:
    """After the patience asked for, with what to do; with --for it is no error to be alone."""
    found(program, "--broker", broker.url)
    done = program("sync", "hospital/h.db", "--patience", "1s", code=4)
    assert "nobody answered" in done.err
    told = program("sync", "hospital/h.db", "--for", "1s", "--json").json
    assert (told["in_sync"], told["peers"]) == (False, 0)


def test_a_restored_backup_recovers_by_a_sync(program: Run, here: Path, broker: Broker) -> None:
    """The old copy fetches its own feed back from a peer, and then writes again without a fork."""
    found(program, "--broker", broker.url)
    program("backup", "hospital/h.db", "old.db")
    program("append", "hospital/h.db", "reading", READING)
    with staying("pharmacy/p.db", broker):
        program("sync", "hospital/h.db")
        for path in Path("hospital").glob("h.db*"):
            path.unlink()
        Path("old.db").rename("hospital/h.db")
        assert "whether its key has signed more" in program("append", "hospital/h.db", "reading", READING, code=1).err
        assert program("sync", "hospital/h.db", "--json").json["state"] == "ready"
        program("append", "hospital/h.db", "reading", READING)
        assert program("sync", "hospital/h.db", "--json").json["forks"] == []


# --- stopped in the middle -------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_was_told(here: Path, program: Run) -> None:
    """An append of a stream that is stopped ends with 130; every block it told of is there."""
    program("init", "a.db", "--name", "A", "--label", "A", "--role", "hospital")
    command = [sys.executable, "-u", "-m", "medledger", "append", "a.db", "reading", "-", "--lines", "--json"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told = []
    for _ in range(3):
        process.stdin.write(f"{READING}\n")
        process.stdin.flush()
        told.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Stopped" in err
    assert program("verify", "a.db", "--json").json["blocks"] == 1 + len([line for line in told if line])


def test_a_reader_that_leaves_is_no_error_of_ours(here: Path, program: Run) -> None:
    """`medledger log | head` ends quietly."""
    program("init", "a.db", "--name", "A", "--label", "A", "--role", "hospital")
    many = "[" + ", ".join([READING] * 400) + "]"
    for _ in range(8):
        program("append", "a.db", "reading", "-", stdin=many)
    process = subprocess.Popen(
        [sys.executable, "-m", "medledger", "log", "a.db"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 141


@pytest.mark.parametrize("moment", [0.02, 0.2, 0.5])
def test_stopping_a_bundle_export_leaves_no_half_bundle(here: Path, program: Run, moment: float) -> None:
    """Whole, or not there; the ledger verifies afterwards."""
    program("init", "a.db", "--name", "A", "--label", "A", "--role", "hospital")
    program("append", "a.db", "reading", "-", stdin="[" + ", ".join([READING] * 700) + "]")
    process = subprocess.Popen(
        [sys.executable, "-m", "medledger", "bundle", "export", "a.db", "a.bundle"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert not any(name.endswith(".partial") for name in os.listdir())
    if Path("a.bundle").exists():
        program("bundle", "info", "a.bundle")
    program("verify", "a.db")
