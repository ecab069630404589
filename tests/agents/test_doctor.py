"""The doctor: each thing that it looks at made bad for real, found, and said what to do about; and well when it is."""

from __future__ import annotations

import gc
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from boxes import Box, World, oru
from brokers import Broker, Mosquitto, free_port
from certificates import certificates, dated_certificate, have_openssl
from medledger import Identity, Ledger, Reading, make_request
from medledger.transport import Gossip
from medledger_agents.enrolment import check_box, check_disk
from medledger_agents.enrolment.doctor import MOUNTS, examine, now
from medledger_agents.enrolment.findings import Finding, Verdict
from medledger_agents.inbox import Inbox, Received
from waiting import until

NOWHERE = "mqtt://127.0.0.1:1"
OPENSSL = pytest.mark.skipif(not have_openssl(), reason="needs openssl")


def look(box: Box, **how: Any) -> dict[str, Finding]:
    """The findings by what was looked at; where there are several, the worst."""
    found: dict[str, Finding] = {}
    for each in examine(box.config, **how):
        if each.check not in found or each.verdict.exit > found[each.check].verdict.exit:
            found[each.check] = each
    return found


def assert_bad(finding: Finding, verdict: Verdict, *said: str) -> None:
    """A finding of that kind, which says this, and what to do."""
    assert finding.verdict is verdict, finding
    for text in said:
        assert text in f"{finding.text} {finding.advice}", finding
    assert finding.advice
    assert finding.text.endswith(".")


def run(box: Box, *options: str) -> subprocess.CompletedProcess[str]:
    """The real program."""
    return subprocess.run(
        [sys.executable, "-m", "medledger", "agent", "doctor", "--config", str(box.config), *options],
        capture_output=True,
        text=True,
        timeout=60,
    )


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
            "inbox",
        ):
            assert verdicts[check] == "ok", check
        assert verdicts["port mllp"] == "skipped"
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
    assert_bad(missing, Verdict.FAULT, "cannot be read")


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


# --- clock -----------------------------------------------------------------------------------------------------------


def test_clocks_that_cannot_be_right(box: Box, world: World) -> None:
    """1970, before what was written here, behind what others wrote; and right."""
    found = look(box, clock=lambda: 86_400_000)
    assert_bad(found["clock"], Verdict.FAULT, "1970-01-02", "timedatectl")
    assert_bad(found["clock there"], Verdict.WARNING, "Hospital", "ahead of this box's clock")
    with box.ledger() as ledger:
        ledger.append(Reading(device="M", samples=[("8867-4", "71", "/min")]))
    found = look(box, clock=lambda: now() - 3_600_000)
    assert_bad(found["clock here"], Verdict.WARNING, "set back")
    assert found["clock"].verdict is Verdict.OK
    found = look(box)
    assert "clock here" not in found
    assert found["clock there"].verdict is Verdict.OK


def test_a_clock_that_nothing_keeps_right(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says whether it is synchronised, or cannot be asked."""
    for disciplined, verdict in ((True, Verdict.OK), (False, Verdict.WARNING), (None, Verdict.SKIPPED)):
        monkeypatch.setattr(check_box, "_synchronised", lambda said=disciplined: said)
        assert look(box)["synchronisation"].verdict is verdict
    monkeypatch.undo()
    assert check_box._synchronised() in (True, False, None)


# --- disks -----------------------------------------------------------------------------------------------------------


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """A file system in memory."""
    directory.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], capture_output=True)
    if done.returncode != 0:
        pytest.skip("needs the right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def test_a_disk_in_memory_that_fills_up(world: World, tmp_path: Path) -> None:
    """All of it is gone after a restart; and when it is full, nothing is acknowledged; inodes count too."""
    with mounted(tmp_path / "memory", "size=80m,nr_inodes=2000"):
        box = world.box("memory/bed-7", "bedside", gossip={"offline": True})
        found = look(box)
        assert_bad(found["disk ledger"], Verdict.FAULT, "tmpfs", "gone after a restart")
        assert_bad(found["room ledger"], Verdict.WARNING, "only")
        with (tmp_path / "memory" / "ballast").open("wb") as file:
            file.write(bytes(40_000_000))
        assert_bad(look(box)["room ledger"], Verdict.FAULT, "wants", "nothing is acknowledged")
        (tmp_path / "memory" / "ballast").unlink()
        for number in range(1500):
            (tmp_path / "memory" / str(number)).touch()
        assert_bad(look(box)["room ledger"], Verdict.FAULT, "inodes")


def test_a_disk_that_is_mounted_read_only(world: World, tmp_path: Path) -> None:
    """As Linux does with a disk after an error."""
    with mounted(tmp_path / "memory", "size=200m"):
        box = world.box("memory/bed-7", "bedside", gossip={"offline": True})
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "memory"], check=True)
        found = look(box)
        assert_bad(found["room ledger"], Verdict.FAULT, "read-only", "dmesg")
        assert found["enrolment"].verdict is Verdict.OK


def test_what_mounts_say(box: Box, tmp_path: Path) -> None:
    """Kinds of file systems and options that do not keep what was flushed, in the form that Linux writes."""
    line = "36 35 98:0 / {point} rw,noatime master:1 - {kind} {source} rw,{options}\n"
    point = str(box.home).replace(" ", "\\040")
    for kind, source, options, verdict, said in (
        ("ext4", "/dev/mmcblk0p2", "commit=5", Verdict.OK, "SD card"),
        ("ext4", "/dev/sda1", "errors=remount-ro", Verdict.OK, "/dev/sda1 (ext4)"),
        ("ext4", "/dev/sda1", "nobarrier", Verdict.FAULT, "nobarrier"),
        ("ext4", "/dev/sda1", "barrier=0,data=ordered", Verdict.FAULT, "barrier=0"),
        ("overlay", "overlay", "lowerdir=/a", Verdict.WARNING, "container"),
        ("vfat", "/dev/sda1", "umask=000", Verdict.WARNING, "permissions"),
        ("nfs4", "server:/x", "vers=4", Verdict.WARNING, "another machine"),
    ):
        table = tmp_path / "mountinfo"
        below = line.format(point="/", kind="ext4", source="/dev/root", options="x")
        table.write_text(f"{below}rubbish\n{line.format(point=point, kind=kind, source=source, options=options)}")
        finding = look(box, mounts=table)["disk ledger"]
        assert finding.verdict is verdict, finding
        assert said in finding.text
    assert look(box, mounts=tmp_path / "nowhere")["disk ledger"].verdict is Verdict.SKIPPED
    spaced = check_disk.Mount.read(line.format(point="/with\\040blank", kind="xfs", source="/dev/x", options="y"))
    assert spaced is not None
    assert spaced.point == "/with blank"
    assert check_disk.Mount.read("") is None
    assert look(box, mounts=MOUNTS)["disk ledger"].text != ""


# --- brokers and certificates ----------------------------------------------------------------------------------------


def test_brokers_that_cannot_be_reached(world: World, own_broker: Broker) -> None:
    """No such name, nobody listens, somebody else listens, nothing configured: the first step that fails is named."""
    box = world.box("bed-7", "bedside", gossip={"broker": ["mqtt://nowhere.invalid", NOWHERE, own_broker.url]})
    found = look(box)
    assert_bad(found["broker mqtt://nowhere.invalid:1883"], Verdict.FAULT, "has no address", "DNS")
    assert_bad(found[f"broker {NOWHERE}"], Verdict.FAULT, "cannot be reached", "refused")
    assert found[f"broker {own_broker.url}"].verdict is Verdict.OK
    own_broker.kill()
    assert look(box)[f"broker {own_broker.url}"].verdict is Verdict.FAULT
    alone = world.box("bed-8", "bedside")
    assert_bad(look(alone)["broker"], Verdict.WARNING, "No broker is known")


def test_a_broker_that_the_reply_named(world: World, broker: Broker, tmp_path: Path) -> None:
    """It stands in the replica, sealed: the doctor reads it there."""
    identity = Identity.load_or_create(tmp_path / "box.key")
    reply = world.hospital.enrol(make_request(identity, secret=bytes(16), roles=["bedside"]), broker=broker.url)
    Ledger.join(tmp_path / "ledger.db", identity, reply, bytes(16)).close()
    (tmp_path / "agent.toml").write_text("[mllp]\nport = 0\n")
    found = {each.check: each for each in examine(tmp_path / "agent.toml")}
    assert found[f"broker {broker.url}"].verdict is Verdict.OK


def test_an_account_that_is_refused(world: World, mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """Connected, and turned away: whose fault that is."""
    subprocess.run(["mosquitto_passwd", "-c", "-b", tmp_path / "users", "bed-7", "right"], check=False)
    if not (tmp_path / "users").exists():
        pytest.skip("needs mosquitto_passwd")
    os.chmod(tmp_path / "users", 0o644)
    broker = mosquitto("allow_anonymous false", f"password_file {tmp_path / 'users'}")
    (tmp_path / "password").write_text("wrong\n")
    box = world.box(
        "bed-7", "bedside",
        gossip={"broker": broker.url, "username": "bed-7", "password_file": str(tmp_path / "password")},
    )  # fmt: skip
    found = look(box)
    assert_bad(found[f"broker {broker.url}"], Verdict.FAULT, "refuses us", "password")
    assert_bad(found["secrets"], Verdict.WARNING, "others can read", "chmod 600")
    (tmp_path / "password").write_text("right\n")
    (tmp_path / "password").chmod(0o600)
    found = look(box)
    assert found[f"broker {broker.url}"].verdict is Verdict.OK
    assert "secrets" not in found


@OPENSSL
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_certificates_of_the_broker(world: World, mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    """Expired, not valid yet, ending soon, of nobody that is trusted, and no TLS at all; each on a real connection."""
    certificates(tmp_path, "good")
    year = datetime.now(UTC).year
    dated_certificate(tmp_path, "old", "20200101000000Z", "20210101000000Z")
    dated_certificate(tmp_path, "early", f"{year + 5}0101000000Z", f"{year + 6}0101000000Z")
    dated_certificate(tmp_path, "long", "20200101000000Z", f"{year + 6}0101000000Z")

    def serve(name: str) -> Mosquitto:
        files = (("certfile", f"{name}.crt"), ("keyfile", f"{name}.key"), ("cafile", "ca.crt"))
        return mosquitto("allow_anonymous true", *(f"{what} {tmp_path}/{file}" for what, file in files))

    ca = str(tmp_path / "ca.crt")
    for number, (name, verdict, said) in enumerate(
        (
            ("old", Verdict.FAULT, "has expired"),
            ("early", Verdict.FAULT, "not valid yet"),
            ("good", Verdict.OK, "takes us"),
            ("long", Verdict.OK, "takes us"),
        )
    ):
        broker = serve(name)
        box = world.box(f"bed-{number}", "bedside", gossip={"broker": broker.url, "ca_file": ca})
        finding = look(box)[f"broker {broker.url}"]
        assert finding.verdict is verdict, finding
        assert said in finding.text
        if name == "good":  # for a day
            assert_bad(look(box)[f"broker {broker.url} certificate"], Verdict.WARNING, "expires in")
            distrusting = world.box("bed-x", "bedside", gossip={"broker": broker.url})
            assert_bad(look(distrusting)[f"broker {broker.url}"], Verdict.FAULT, "not trusted", "ca_file")
    assert look(box)[f"broker {broker.url} certificate"].verdict is Verdict.OK
    plain = mosquitto()
    box = world.box("bed-y", "bedside", gossip={"broker": plain.url.replace("mqtt:", "mqtts:")})
    finding = look(box)[f"broker {plain.url.replace('mqtt:', 'mqtts:')}"]
    assert_bad(finding, Verdict.FAULT)
    gc.collect()


@OPENSSL
def test_certificates_of_the_box(world: World, tmp_path: Path) -> None:
    """Expired, ending soon, good, not of its key, missing: read without a broker that would look at them."""
    certificates(tmp_path, "soon")
    dated_certificate(tmp_path, "old", "20200101000000Z", "20210101000000Z")
    dated_certificate(tmp_path, "long", "20200101000000Z", f"{datetime.now(UTC).year + 6}0101000000Z")
    for number, (crt, key, verdict, said) in enumerate(
        (
            ("old.crt", "old.key", Verdict.FAULT, "has expired"),
            ("soon.crt", "soon.key", Verdict.WARNING, "expires in"),
            ("long.crt", "long.key", Verdict.OK, "is good for"),
            ("long.crt", "old.key", Verdict.FAULT, "cannot be used"),
            ("none.crt", "old.key", Verdict.FAULT, "cannot be used"),
        )
    ):
        files = {"certificate_file": str(tmp_path / crt), "certificate_key_file": str(tmp_path / key)}
        box = world.box(f"bed-{number}", "bedside", gossip={"broker": "mqtts://127.0.0.1:1", **files})
        finding = look(box)["certificate"]
        assert finding.verdict is verdict, finding
        assert said in finding.text


# --- gossip, inbox, ports, service -----------------------------------------------------------------------------------


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


def test_ports_that_somebody_has(world: World) -> None:
    """Each address that the configuration listens on is tried, unless the agent has it already."""
    port = free_port("127.0.0.1")
    box = world.box("bed-7", "bedside", gossip={"offline": True}, mllp={"port": port})
    with socket.create_server(("127.0.0.1", port)):
        assert_bad(look(box)["port mllp"], Verdict.FAULT, str(port), "ss -ltnp")
    assert look(box)["port mllp"].verdict is Verdict.OK
    elsewhere = world.box("bed-8", "bedside", gossip={"offline": True}, mllp={"host": "192.0.2.1"})
    assert_bad(look(elsewhere)["port mllp"], Verdict.FAULT, "192.0.2.1")


def test_what_systemd_says_of_the_unit(box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Failed, stopped, not enabled, restarted, well: by what `systemctl show` prints."""
    from medledger_agents.enrolment import ending

    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(check_box, "SYSTEMD", tmp_path)
    assert look(box)["service"].verdict is Verdict.SKIPPED
    monkeypatch.setattr(ending, "UNITS", (tmp_path,))
    for active, enabled, restarts, verdict, said in (
        ("failed", "enabled", 0, Verdict.FAULT, "journalctl -u medledger-bedside.service"),
        ("inactive", "enabled", 0, Verdict.WARNING, "systemctl enable --now"),
        ("active", "disabled", 0, Verdict.WARNING, "will not after a restart"),
        ("active", "enabled", 3, Verdict.WARNING, "restarted 3 times"),
        ("active", "enabled", 0, Verdict.OK, "runs"),
    ):
        (tmp_path / "medledger-bedside.service").write_text(f"ExecStart=medledger --config {box.config}\n")
        lines = f"ActiveState={active}\\nUnitFileState={enabled}\\nNRestarts={restarts}\\n"
        program.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
        program.chmod(0o755)
        finding = look(box)["service"]
        assert finding.verdict is verdict, finding
        assert said in f"{finding.text} {finding.advice}"
