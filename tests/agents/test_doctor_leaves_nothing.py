"""What the doctor leaves behind: nothing of a patient's, however it ends, and nothing at all after its next run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from boxes import Box, World
from doctoring import look
from medledger_agents.enrolment.copies import PREFIX, Copies, orderly_hangup
from medledger_agents.enrolment.findings import Verdict
from medledger_agents.inbox import Inbox, Received
from waiting import until

SECRET = b"MRN-4711^^^HOSP"


@pytest.fixture
def box(world: World) -> Box:
    """A box with a message of a patient's in its inbox."""
    box = world.box("bed-7", "bedside", gossip={"offline": True})
    with Inbox.open(box.home / "inbox.db") as inbox:
        inbox.store([Received("MON", "1", bytes(32), SECRET, 0)], after=-1)
    return box


def contents(directory: Path) -> bytes:
    """Every byte in the files of a directory."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_it_is_ended_in_the_middle(box: Box, tmp_path: Path, number: signal.Signals) -> None:
    """Nothing is left where it can clean up; nothing of the inbox ever; and the next doctor removes the rest."""
    place = tmp_path / "tmp"
    place.mkdir()
    environment = {**os.environ, "TMPDIR": str(place)}
    command = [sys.executable, "-m", "medledger", "agent", "doctor", "--config", str(box.config)]
    hearing = ["env", "--default-signal=HUP", *command]  # whatever the tests themselves run under
    process = subprocess.Popen(hearing, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(lambda: any(place.glob(f"{PREFIX}*/ledger.db")) or process.poll() is not None)
    process.send_signal(number)
    code = process.wait(60)
    assert SECRET not in contents(place)
    if number != signal.SIGKILL:
        assert code in (-number, 128 + number)
        assert list(place.iterdir()) == []
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, timeout=60)
    assert list(place.iterdir()) == []


def test_under_nohup_a_closed_terminal_ends_nothing() -> None:
    """Where SIGHUP is ignored it stays so; where it is not, the second one does not cut the cleaning short."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with orderly_hangup():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        cleaned: list[bool] = []
        with pytest.raises(SystemExit):
            hung_up_twice(cleaned)
        assert cleaned
    finally:
        signal.signal(signal.SIGHUP, before)


def hung_up_twice(cleaned: list[bool]) -> None:
    """While it works, and while it cleans up."""
    with orderly_hangup():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            cleaned.append(True)


def test_a_doctor_leaves_the_copies_of_another_that_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what nobody holds any more is removed, and only directories of its own making."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "another's").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)
    (tmp_path / f"{PREFIX}left").mkdir()
    (tmp_path / f"{PREFIX}left" / "ledger.db").touch()
    with Copies() as one, Copies():
        assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 3  # two at work, and the link
        database = tmp_path / "some.db"
        database.touch()
        assert one.look(database, lambda copy: copy.exists() and copy != database)
        assert contents(tmp_path / f"{PREFIX}link") == b""
    assert {path.name for path in tmp_path.iterdir()} == {"another's", "elsewhere", f"{PREFIX}link", "some.db"}
    assert (elsewhere / "file").exists()


def test_an_inbox_that_was_closed_is_read_where_it_lies(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written beside it, not even where it is too large to be copied."""
    before = {path.name: path.stat().st_mtime_ns for path in box.home.iterdir()}
    monkeypatch.setattr("medledger_agents.enrolment.copies.MAX_BYTES", 1)
    finding = look(box)["inbox"]
    assert finding.verdict is Verdict.WARNING
    assert "1 message not logged yet, none refused" in finding.text
    assert {path.name: path.stat().st_mtime_ns for path in box.home.iterdir()} == before


def test_an_inbox_that_was_cut_off_is_left_to_the_agent(box: Box, tmp_path: Path) -> None:
    """What lies in its write-ahead log only is not told from half of it: it is said that the agent will look."""
    path = box.home / "inbox.db"
    with Inbox.open(path) as inbox:
        inbox.store([Received("MON", "2", bytes([1]) * 32, SECRET, 0)], after=-1)
        cut = tmp_path / "cut"
        shutil.copytree(box.home, cut)
    for each in cut.glob("inbox.db*"):
        shutil.copy(each, box.home / each.name)
    finding = look(box)["inbox"]
    assert finding.verdict is Verdict.SKIPPED
    assert "was not closed" in finding.text


def test_a_running_agent_is_asked_what_waits(world: World) -> None:
    """It has its inbox open: the figure is its own."""
    box = world.box("bed-8", "bedside", gossip={"offline": True})
    with box.start() as agent:
        port = agent.wait_for("metrics")["port"]
        box.config.write_text(box.config.read_text().replace("[metrics]\nport = 0", f"[metrics]\nport = {port}"))
        assert "0 messages not logged yet." in look(box)["inbox"].text
        agent.stop()
