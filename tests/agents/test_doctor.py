"""The doctor, as a whole, on who a box is, and on what it exchanges: made bad for real, found, and what to do said."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxes import Box, World, oru
from brokers import Broker
from doctoring import assert_bad, look, run
from medledger import Identity, Ledger, Reading
from medledger.transport import Gossip
from medledger_agents.enrolment import check_box
from medledger_agents.enrolment.doctor import examine
from medledger_agents.enrolment.findings import Finding, Verdict
from medledger_agents.inbox import Inbox, Received
from waiting import until


@pytest.fixture
def box(world: World) -> Box:
    """A box that is a member and has never run."""
    return world.box("bed-7", "bedside", gossip={"offline": True})


# --- the whole -----------------------------------------------------------------------------------------------------


def test_a_box_that_runs_is_well_and_is_left_as_it_is(world: World, broker: Broker) -> None:
    """Nothing is bad but what is this machine's; no file changes, the agent goes on, its log says nothing of it."""
    box = world.box("bed-7", "bedside", gossip={"broker": broker.url})
    with Gossip(world.hospital, broker.url), box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"

        def bad() -> set[str]:
            found = json.loads(run(box, "--json").stdout)["checks"]
            return {each["check"] for each in found if each["verdict"] in ("warning", "fault")}

        machines_own = {"synchronisation", "disk ledger", "room ledger", "service"}
        assert until(lambda: bad() <= machines_own, 30), bad()
        before = state_of(box)
        done = run(box, "--json")
        told = json.loads(done.stdout)
        assert done.returncode == told["exit_code"]
        assert state_of(box) == before
        verdicts = {each["check"]: each["verdict"] for each in told["checks"]}
        for check in (
            "configuration",
            "key",
            "enrolment",
            "state",
            "peers",
            "own blocks",
            f"broker {broker.url}",
        ):
            assert verdicts[check] == "ok", check
        assert verdicts["port mllp"] == verdicts["inbox"] == "skipped"  # the agent's, which has no known port here
        assert agent.monitor().ask(oru(2))[0] == "AA"
        agent.stop()


def state_of(box: Box) -> dict[str, tuple[int, int]]:
    """Size and time of each file, but the status that the agent itself writes."""
    return {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in box.home.iterdir()
        if ".status.json" not in path.name
    }


def test_exit_codes_say_how_bad_it_is(box: Box) -> None:
    """2 for a fault; less where there is none; --json says the same as the text."""
    done = run(box)
    told = json.loads(run(box, "--json").stdout)
    assert done.returncode == told["exit_code"] == 1  # it has not run yet
    assert told["verdict"] == "warning"
    assert "agent" in done.stdout
    assert "-> Start it: medledger agent bedside --config" in done.stdout
    for each in told["checks"]:
        assert (each["advice"] is None) == (each["verdict"] in ("ok", "skipped"))
    box.identity.path.chmod(0o644)  # type: ignore[union-attr]  # it has a file
    done = run(box)
    assert done.returncode == 2
    assert "fault    key" in done.stdout
    assert "chmod 600" in done.stdout


def test_colours_are_for_terminals(box: Box) -> None:
    """None in a pipe, some on a terminal, none there either with NO_COLOR."""
    assert "\x1b" not in run(box).stdout
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    for extra, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal, line = pty.openpty()
        subprocess.run(["stty", "cols", "80"], stdin=line, check=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "medledger", "agent", "doctor", "--config", box.config],
            stdin=line, stdout=line, stderr=line, env={**environment, **extra},
        )  # fmt: skip
        os.close(line)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:
                break
            shown += part
        process.wait(30)
        os.close(terminal)
        assert (b"\x1b[" in shown) is coloured
        if not coloured:
            assert max(map(len, shown.decode().splitlines())) <= 80


def test_a_configuration_that_is_wrong_is_the_only_finding(box: Box) -> None:
    """The key that is wrong is named; nothing is looked at by a configuration that is not understood."""
    box.config.write_text(box.config.read_text() + "[gosip]\n")
    (only,) = examine(box.config)
    assert_bad(only, Verdict.FAULT, "[gosip]", "Did you mean 'gossip'?")
    (missing,) = examine(box.home / "nowhere.toml")
    assert_bad(missing, Verdict.FAULT, "There is no configuration", "medledger agent setup")


def test_a_check_that_fails_stops_no_other(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a finding itself."""
    from medledger_agents.enrolment import doctor

    def broken(_case: object) -> Iterator[Finding]:
        raise ZeroDivisionError("a bug")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (broken, check_box.python))
    found = look(box)
    assert_bad(found["broken"], Verdict.FAULT, "ZeroDivisionError", "report")
    assert found["python"].verdict is Verdict.OK


# --- key and enrolment ---------------------------------------------------------------------------------------------


def test_keys_that_cannot_be_used(box: Box, world: World) -> None:
    """Missing, damaged, readable by others, protected, another box's: each is told from the others."""
    key = box.home / "box.key"
    kept = key.read_bytes()
    key.chmod(0o640)
    assert_bad(look(box)["key"], Verdict.FAULT, "0640", "chmod 600")
    key.unlink()
    assert_bad(look(box)["key"], Verdict.FAULT, "medledger agent setup")
    key.write_bytes(b"rubbish")
    key.chmod(0o600)
    assert_bad(look(box)["key"], Verdict.FAULT, "cannot be used")
    key.unlink()
    Identity.generate().save(key, "secret words")
    assert_bad(look(box)["key"], Verdict.FAULT, "passphrase")
    key.unlink()
    Identity.generate().save(key)
    assert_bad(look(box)["enrolment"], Verdict.FAULT, "not made with this key")
    key.write_bytes(kept)
    found = look(box)
    assert (found["key"].verdict, found["enrolment"].verdict) == (Verdict.OK, Verdict.OK)
    assert box.identity.fingerprint in found["key"].text


def test_files_of_several_users(box: Box) -> None:
    """Root made one of them, and the agent cannot read it; or the other way round."""
    if os.geteuid() != 0:
        pytest.skip("needs root, who gives files away")
    os.chown(box.home / "ledger.db", 65534, 65534)
    assert_bad(look(box)["owner"], Verdict.FAULT, "ledger.db belongs to another user", "chown")
    os.chown(box.home / "ledger.db", 0, 0)
    assert "owner" not in look(box)


def test_a_box_that_has_not_joined(tmp_path: Path) -> None:
    """Blank, then asked: what is next is a command that can be typed."""
    program = [sys.executable, "-m", "medledger", "agent", "setup", "--directory", str(tmp_path / "b")]
    subprocess.run([*program, "--kind", "bedside", "--no-wait"], check=True, capture_output=True, timeout=60)
    config = tmp_path / "b" / "agent.toml"
    found = {each.check: each for each in examine(config)}
    assert_bad(found["enrolment"], Verdict.WARNING, "no reply yet", f"--directory {tmp_path / 'b'}")
    (tmp_path / "b" / "box.key.request").unlink()
    found = {each.check: each for each in examine(config)}
    assert_bad(found["enrolment"], Verdict.FAULT, "in no ledger")


def test_an_enrolment_that_has_not_arrived(world: World) -> None:
    """The replica is there, and says nothing of this key yet."""
    box = world.box("bed-8", "bedside", enrolled=False)
    assert_bad(look(box)["enrolment"], Verdict.WARNING, "has not arrived")


def test_a_role_that_does_not_fit(world: World) -> None:
    """A pharmacy's configuration with a bedside box's enrolment."""
    box = world.box("bed-9", "bedside", gossip={"offline": True})
    pharmacy = Box(box.home, "pharmacy", box.identity, {"gossip": {"offline": True}})
    assert_bad(look(pharmacy)["enrolment"], Verdict.FAULT, "may not write a dispense", "as bedside")


def test_a_key_that_was_revoked(box: Box, world: World) -> None:
    """What it writes counts for nothing, and the way out is named."""
    world.hospital.revoke(box.identity.public_key, reason="lost")
    with box.ledger() as ledger:
        world.bring_up_to_date(ledger)
    assert_bad(look(box)["state"], Verdict.FAULT, "revoked", "--replace")


def test_a_key_that_forked(box: Box, world: World) -> None:
    """Two histories of one key."""
    with box.ledger() as ledger:
        ledger.append(Reading(device="M", samples=[("8867-4", "71", "/min")]))
    copy = box.home.parent / "cloned"
    shutil.copytree(box.home, copy)
    for home, value in ((box.home, "72"), (copy, "73")):
        identity = Identity.load(home / "box.key")
        with Ledger.open(home / "ledger.db", identity) as ledger:
            ledger.append(Reading(device="M", samples=[("8867-4", value, "/min")]))
    with Ledger.open(copy / "ledger.db", Identity.load(copy / "box.key")) as cloned, box.ledger() as ledger:
        ledger.import_blocks(cloned.release(box.identity.public_key, 0, 100))
        assert ledger.state == "forked"
    assert_bad(look(box)["state"], Verdict.FAULT, "two histories", "--replace")


def test_a_replica_that_was_restored(box: Box) -> None:
    """The witness beside the key knows of more than a backup holds."""
    with box.ledger() as ledger:
        ledger.append(Reading(device="M", samples=[("8867-4", "71", "/min")]))
        ledger.backup(box.home / "backup.db")
        ledger.append(Reading(device="M", samples=[("8867-4", "72", "/min")]))
        ledger.release(box.identity.public_key, 0, 10)
    os.replace(box.home / "backup.db", box.home / "ledger.db")
    assert_bad(look(box)["state"], Verdict.WARNING, "restored", "medledger recover")
    assert look(box)["key"].verdict is Verdict.OK


def test_a_replica_that_is_damaged(box: Box) -> None:
    """Not a database any more: said so, and the rest is looked at all the same."""
    (box.home / "ledger.db").write_bytes(b"rubbish" * 1000)
    found = look(box)
    assert found["enrolment"].verdict is Verdict.FAULT
    assert found["python"].verdict is Verdict.OK


# --- gossip and inbox -----------------------------------------------------------------------------------


def test_an_agent_without_peers_and_one_that_was_killed(world: World, broker: Broker) -> None:
    """Nobody answers: a warning. Killed: a fault, with what starts it. Stopped in an orderly way: a warning."""
    box = world.box("bed-7", "bedside", gossip={"broker": broker.url})
    with box.start() as agent:
        assert until(lambda: "no other replica" in look(box)["peers"].text)
        assert_bad(look(box)["peers"], Verdict.WARNING, "no other replica")
        agent.kill()
    assert_bad(look(box)["agent"], Verdict.FAULT, "has ended without closing", "medledger agent bedside --config")
    with box.start() as agent:
        agent.stop()
    assert_bad(look(box)["agent"], Verdict.WARNING, "was closed")


def test_blocks_that_nobody_else_holds(world: World, broker: Broker) -> None:
    """Those just written are on their way; those of eleven minutes ago are a warning."""
    box = world.box("bed-7", "bedside", gossip={"broker": broker.url})
    with box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        status = box.home / "ledger.db.status.json"

        def unconfirmed() -> int:
            return json.loads(status.read_text())["status"]["own_blocks_unconfirmed"] if status.exists() else 0

        assert until(lambda: unconfirmed() >= 1)
        finding = look(box)["own blocks"]
        assert finding.verdict is Verdict.OK
        assert "on its way" in finding.text
        content = json.loads(status.read_text())
        content["status"]["own_blocks_unconfirmed_seconds"] = 700.0
        agent.process.send_signal(19)  # SIGSTOP: it would write the file anew
        status.write_text(json.dumps(content))
        assert_bad(look(box)["own blocks"], Verdict.WARNING, "held by nobody else", "another replica")
        agent.process.send_signal(18)
        agent.stop()


def test_an_inbox_with_messages_that_wait(box: Box) -> None:
    """Read without being opened where it lies; its size against what is allowed; who may read it."""
    path = box.home / "inbox.db"
    with Inbox.open(path) as inbox:
        inbox.store([Received("MON", str(n), bytes([n]) * 32, b"raw", n) for n in range(3)], after=-1)
    assert_bad(look(box)["inbox"], Verdict.WARNING, "3 messages not logged", "Start the agent")
    path.chmod(0o644)
    assert_bad(look(box)["inbox"], Verdict.FAULT, "others can read it", "chmod 600")
    path.chmod(0o600)
    box.config.write_text(box.config.read_text() + "[spool]\nmax_bytes = 1000\n")
    assert any("max_bytes" in each.advice for each in examine(box.config))


def test_a_configuration_that_could_be_either_kinds(box: Box) -> None:
    """Without a section that only one kind has, it says as what it looked; --kind decides."""
    box.config.write_text("[gossip]\noffline = true\n[metrics]\nport = 0\n")
    assert "as bedside" in look(box)["kind"].text
    done = run(box, "--kind", "pharmacy", "--json")
    checks = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    assert "kind" not in checks
    assert "may not write a dispense" in checks["enrolment"]["text"]
