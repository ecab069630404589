"""The auditor's replica: set up like any box, kept in step as a service or synced by hand; it writes nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner

from brokers import Broker
from failing_syncs import FailingSyncs
from medledger import Ledger, Reading
from medledger.cli.root import medledger
from medledger.errors import MembershipError
from medledger_agents.auditor.config import AuditorConfig
from medledger_agents.enrolment import home
from setups import Hospital, NewBox, command, program
from waiting import until

READING = json.dumps({"device": "MON-7", "samples": [["8867-4", "72", "/min"]]})
STORE = 3


@pytest.fixture
def hospital(broker: Broker, tmp_path: Path) -> Hospital:
    """A ledger with a reading in it."""
    made = Hospital.found(tmp_path / "hospital", broker.url)
    command("append", made.ledger, "reading", READING)
    return made


@pytest.fixture
def auditor(hospital: Hospital, broker: Broker, tmp_path: Path) -> NewBox:
    """An auditor's box that has joined."""
    box = NewBox(tmp_path / "audit", "auditor")
    with box.setup("--label", "Auditor", "--broker", broker.url) as setup:
        assert hospital.approve(setup.until_asked())["arrived"]
        assert setup.enrolled()["roles"] == ["auditor"]
    return box


@contextmanager
def kept(box: NewBox, log: str = "plain", **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Its service."""
    box.config.write_text(box.config.read_text().replace('format = "plain"', f'format = "{log}"'))
    process = subprocess.Popen(
        [sys.executable, "-m", "medledger", "agent", "auditor", "--config", box.config],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def status(box: NewBox) -> dict[str, Any]:
    """What `agent status` says for programs, with its exit code."""
    done = CliRunner().invoke(medledger, ["agent", "status", "--config", str(box.config), "--json"])
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == told["exit_code"]
    return told


def test_one_command_and_one_approval_make_an_auditor(auditor: NewBox, hospital: Hospital) -> None:
    """It has all that the hospital wrote, and needs neither an inbox nor a secret for pseudonyms."""
    with hospital.staying():
        assert json.loads(program("audit", "sync", auditor.ledger, "--json").stdout)["in_sync"]
    with Ledger.open(auditor.ledger, auditor.identity()) as replica:
        assert [entry.content["device"] for entry in replica.entries("reading")] == ["MON-7"]
        with pytest.raises(MembershipError, match="may not write 'reading'"):
            replica.append(Reading(device="MADE-UP", samples=[("8867-4", "1", "/min")]))
    assert not {path.name for path in auditor.home.iterdir()} & {"inbox.db", "subjects.key"}
    assert isinstance(home.KINDS["auditor"].load(auditor.config), AuditorConfig)


def test_its_service_keeps_it_in_step_and_says_how_it_stands(auditor: NewBox, hospital: Hospital) -> None:
    """What is written while it runs arrives; status and doctor say that it is well, and afterwards that it is off."""
    assert status(auditor)["health"] == "not running"
    with kept(auditor, "json") as process, hospital.staying():
        assert until(lambda: status(auditor)["health"] == "in sync", 30)
        checks = json.loads(
            subprocess.run(
                [sys.executable, "-m", "medledger", "agent", "doctor", "--config", auditor.config, "--json"],
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout
        )["checks"]
        verdicts = {each["check"]: each["verdict"] for each in checks}
        assert verdicts["enrolment"] == verdicts["agent"] == verdicts["peers"] == "ok"
        assert not {"inbox", "disk inbox", "check failed"} & verdicts.keys()
        assert "The check itself failed" not in str(checks)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    states = [event["state"] for line in log.splitlines() if (event := json.loads(line))["event"] == "gossip"]
    assert states[-1] == "in sync"
    assert len(states) == len([each for at, each in enumerate(states) if at == 0 or each != states[at - 1]])
    assert status(auditor)["health"] == "not running"


def test_a_disk_that_fails_is_a_fault_and_its_service_stays(
    auditor: NewBox, hospital: Hospital, failing_syncs: FailingSyncs
) -> None:
    """While no flush works, it says so and goes on. Once the disk is well it ends: the ledger is to be opened again."""
    soon = {"WATCHDOG_USEC": "200000", "NOTIFY_SOCKET": "/nowhere"}
    with kept(auditor, "json", **soon, **failing_syncs.of(auditor.ledger.name)) as process:
        assert process.stderr is not None
        heard(process.stderr, "state", "no peers")
        failing_syncs.begin()
        heard(process.stderr, "what", "disk")
        command("append", hospital.ledger, "reading", READING)
        with hospital.staying():
            assert until(lambda: "blocks cannot be stored" in str(status(auditor)), 30)
            assert status(auditor)["health"] == "alarm"
            assert process.poll() is None
            failing_syncs.end()
            _, log = process.communicate(timeout=30)
        assert process.returncode == STORE, log
        assert "must be opened again" in log
        assert "part failed" not in log
    with Ledger.open(auditor.ledger, auditor.identity()) as replica:
        assert replica.failure is None


def heard(log: IO[str], key: str, value: str) -> None:
    """Read on until an event says this."""
    said = []
    for line in log:
        said.append(line)
        if json.loads(line).get(key) == value:
            return
    raise AssertionError("".join(said))


def test_a_replica_without_a_broker_has_nothing_to_do(auditor: NewBox) -> None:
    """That is a mistake in its configuration, and said at once."""
    auditor.config.write_text(auditor.config.read_text().replace("offline = false", "offline = true"))
    with kept(auditor) as process:
        _, log = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "Name one in [gossip]" in log


def test_a_box_that_has_not_joined_yet(tmp_path: Path) -> None:
    """Its status is not running, with what is next."""
    box = NewBox(tmp_path / "audit", "auditor")
    with box.setup("--no-wait") as setup:
        setup.until_asked()
        setup.end()
    told = status(box)
    assert (told["health"], "medledger agent setup" in told["why"]) == ("not running", True)
    assert "has not joined" in program("agent", "status", "--config", box.config, code=7).stdout


def test_the_end_of_setup_says_how_to_read_it(auditor: NewBox) -> None:
    """By hand, logged in as the box itself is, or kept in step; not with a command that it has no use for."""
    login = {"username": "auditor", "password_file": "secret", "certificate_file": "a.crt"}
    text = auditor.config.read_text()
    for name, value in login.items():
        text, count = re.subn(f"^#?{name} = .*$", f'{name} = "{value}"', text, flags=re.MULTILINE)
        assert count == 1
    auditor.config.write_text(text)
    (auditor.home / "secret").write_text("opensesame\n")
    (auditor.home / "secret").chmod(0o600)
    done = program("agent", "setup", "--directory", auditor.home, "--yes")
    by_hand = f"medledger audit sync {auditor.ledger} --username auditor --certificate {auditor.home / 'a.crt'}\n"
    assert f'MEDLEDGER_BROKER_PASSWORD="$(head -n 1 {auditor.home / "secret"})" {by_hand}' in done.stdout
    assert f"medledger agent auditor --config {auditor.config}" in done.stdout
