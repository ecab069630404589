"""The units under a real systemd: started, hardened, reloaded, killed, hung, with credentials, with a dynamic user.

The machine is made of namespaces (real_systemd.py). Where there can be none, these tests are skipped with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boxes import World
from medledger import Identity
from real_systemd import AGENT, PYTHON, ROOT, UNITS, Machine, missing
from waiting import until

UNIT = "medledger-bedside.service"
HOME = "/var/lib/medledger"
SOON = "[Service]\nRestartSec=100ms\n"
WATCHED = SOON + "WatchdogSec=2\nTimeoutAbortSec=500ms\n"
ASK = "import sys; from boxes import Monitor, oru; print(Monitor(2575).ask(oru(int(sys.argv[1])))[0])"
HEALTH = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:9575/health').read().decode())"
SETTINGS = """
[mllp]
port = 2575
[batch]
window_seconds = 0
[metrics]
port = 9575
[log]
format = "journal"
"""

reason = missing()
pytestmark = pytest.mark.skipif(reason is not None, reason=reason or "it is possible")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """It runs, and has the units' user."""
    place = tmp_path_factory.mktemp("machine") / "place"
    place.mkdir()
    with Machine(place) as made:
        made.boot(*sorted((ROOT / "agents" / "systemd").glob("*.service")))
        made.run("systemd-sysusers", "/opt/medledger/source/agents/systemd/medledger.sysusers")
        yield made


class Service:
    """The bedside unit on that machine, with a box in its state directory."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def begin(self, dropin: str = "") -> None:
        """Start it; returns when systemd takes it for started."""
        place = self.machine.files / UNITS[1:] / f"{UNIT}.d"
        place.mkdir()
        (place / "trial.conf").write_text(dropin)
        self.machine.run("systemctl", "daemon-reload")
        code, said = self.machine.tried("systemctl", "start", UNIT)
        assert code == 0, (said, self.log())

    @property
    def pid(self) -> str:
        """Of the agent, as this machine numbers it; 0 where there is none."""
        return self.machine.shown(UNIT, "MainPID")

    @property
    def state(self) -> str:
        """`running`, and others."""
        return self.machine.shown(UNIT, "SubState")

    def log(self) -> str:
        """What journald has of it."""
        return self.machine.run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT)

    def ask(self, number: int) -> str:
        """Send a monitor's message: MSA-1."""
        return self.machine.run(PYTHON, "-c", ASK, str(number))

    def restarted(self, before: str) -> bool:
        """Whether another process runs by now, and systemd takes it for started."""
        return until(lambda: self.pid not in ("0", before) and self.state == "running", 40)


@pytest.fixture
def service(machine: Machine, world: World) -> Iterator[Service]:
    """Not started yet; what it leaves behind goes with the test."""
    box = world.box("bed", "bedside")
    home = machine.files / HOME[1:]
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(box.home, home)
    (home / "agent.toml").write_text(SETTINGS)
    machine.run("chown", "-R", "medledger:medledger", HOME)
    yield Service(machine)
    machine.run("systemctl", "stop", UNIT)
    machine.tried("systemctl", "reset-failed", UNIT)
    machine.run("rm", "-rf", f"{UNITS}/{UNIT}.d", HOME, "/var/lib/private/medledger")


def test_it_is_started_when_it_listens_and_ends_in_order(service: Service) -> None:
    """`systemctl start` returns, and the next message is taken; the status line says how it is; a stop is a success."""
    service.begin()
    assert service.ask(1) == "AA"
    assert (service.state, service.machine.shown(UNIT, "NRestarts")) == ("running", "0")
    assert until(lambda: service.machine.shown(UNIT, "StatusText").startswith("well, offline"))
    assert '"healthy": true' in service.machine.run(PYTHON, "-c", HEALTH)
    service.machine.run("systemctl", "stop", UNIT)
    assert service.machine.shown(UNIT, "Result") == "success"
    assert service.log().endswith("Stopped medledger-bedside.service - medledger bedside agent (HL7 v2 over MLLP).")


def test_it_can_do_nothing_but_its_work(service: Service) -> None:
    """Own user, no capability, a filter of system calls, a file system that is read-only but for its directory."""
    service.begin()
    status = dict(
        line.split(":\t", 1) for line in service.machine.run("cat", f"/proc/{service.pid}/status").splitlines()
    )
    uid = service.machine.run("id", "-u", "medledger")
    assert set(status["Uid"].split()) == {uid} != {"0"}
    assert {int(status[f"Cap{each}"], 16) for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert service.machine.run("stat", "-c", "%a %U", HOME) == "700 medledger"
    inside = ("nsenter", "-t", service.pid, "-m", "touch")
    for name in ("/etc/planted", "/usr/planted", "/opt/medledger/planted"):
        code, said = service.machine.tried(*inside, name)
        assert code != 0, name
        assert "Read-only" in said
    assert service.machine.tried(*inside, str(Path("/root", "planted")))[0] != 0
    assert service.machine.tried(*inside, f"{HOME}/written")[0] == 0


def test_journald_has_priorities_and_no_patient(service: Service) -> None:
    """Each line has its own priority, of the prefix; nothing of the message is in the journal."""
    service.begin()
    service.machine.run(PYTHON, "-c", ASK.replace("oru(int(sys.argv[1]))", "b'no HL7: Testperson'"), "1")
    assert service.ask(1) == "AA"
    told = service.machine.run("journalctl", "--no-pager", "-o", "json", "-u", UNIT)
    lines = [(each["PRIORITY"], each["MESSAGE"]) for each in map(json.loads, told.splitlines())]
    assert ("6", "ready may_write=reading") in lines
    assert any(priority == "4" and text.startswith("message refused") for priority, text in lines)
    assert "Testperson" not in told


def test_a_reload_goes_through_systemd(service: Service) -> None:
    """A good file and a broken one: the unit runs on as the same process, and the journal has the reason."""
    service.begin()
    before = service.pid
    config = service.machine.files / HOME[1:] / "agent.toml"
    for text, said in (
        (SETTINGS + "[spool]\nhours = 7\n", "configuration reloaded changed=1"),
        ("x =", "not reloaded"),
    ):
        config.write_text(text)
        service.machine.run("systemctl", "reload", UNIT)
        assert until(lambda said=said: said in service.log()), service.log()
    assert (service.pid, service.state) == (before, "running")
    assert service.ask(1) == "AA"


def test_a_killed_agent_is_started_again(service: Service) -> None:
    """SIGKILL, and SIGABRT as the watchdog sends it: then the journal shows where the threads were, and no value."""
    service.begin(SOON)
    assert service.ask(1) == "AA"
    for number, kill in ((1, "-KILL"), (2, "-ABRT")):
        before = service.pid
        service.machine.run("kill", kill, before)
        assert service.restarted(before), service.log()
        assert service.machine.shown(UNIT, "NRestarts") == str(number)
    assert service.ask(1) == "AA"
    assert "Fatal Python error: Aborted" in service.log()
    assert "in live" in service.log() or "in _run" in service.log()


def test_the_watchdog_ends_what_hangs(service: Service) -> None:
    """A stopped process feeds no watchdog: systemd ends it and starts another; one that is well is left alone."""
    service.begin(WATCHED)
    before = service.pid
    assert service.ask(1) == "AA"
    service.machine.run("kill", "-STOP", before)
    assert service.restarted(before), service.log()
    assert "Watchdog timeout" in service.log()
    assert service.ask(2) == "AA"
    assert service.machine.shown(UNIT, "NRestarts") == "1"


def test_secrets_come_as_credentials(service: Service) -> None:
    """LoadCredential= of a file that the user cannot read: the passphrase opens the key, and is in no environment."""
    home = service.machine.files / HOME[1:]
    identity = Identity.load(home / "box.key")
    (home / "box.key").unlink()
    identity.save(home / "box.key", "correct horse")
    service.machine.run("chown", "medledger:medledger", f"{HOME}/box.key")
    secret = service.machine.files / "etc/medledger-passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(0o600)
    (home / "agent.toml").write_text(SETTINGS + '[ledger]\npassphrase_file = "$CREDENTIALS_DIRECTORY/passphrase"\n')
    service.begin("[Service]\nLoadCredential=passphrase:/etc/medledger-passphrase\n")
    assert service.ask(1) == "AA"
    assert "correct horse" not in service.machine.run("cat", f"/proc/{service.pid}/environ")


def test_a_user_of_the_moment_will_do(service: Service) -> None:
    """DynamicUser= with the same StateDirectory=: systemd hands the box's files over to it."""
    service.begin("[Service]\nUser=\nGroup=\nDynamicUser=yes\n")
    assert service.ask(1) == "AA"
    assert Path(service.machine.run("readlink", "-f", HOME)) == Path("/var/lib/private/medledger")
    owner = service.machine.run("stat", "-c", "%u", f"{HOME}/box.key")
    assert owner not in ("0", service.machine.run("id", "-u", "medledger"))


def test_a_person_on_the_box_sees_how_it_is(service: Service) -> None:
    """`agent status` as the units' user, while it runs."""
    service.begin()
    code, said = service.machine.tried(
        "setpriv",
        "--reuid=medledger",
        "--regid=medledger",
        "--clear-groups",
        AGENT,
        "agent",
        "status",
        "--config",
        f"{HOME}/agent.toml",
    )
    assert (code, "bedside agent" in said, ": well" in said) == (0, True, True), said


def test_a_pharmacy_is_started_too(machine: Machine, world: World) -> None:
    """The other unit, with what it needs besides: it listens when systemd takes it for started."""
    unit = "medledger-pharmacy.service"
    home = machine.files / HOME[1:]
    shutil.copytree(world.box("till", "pharmacy").home, home)
    (home / "agent.toml").write_text('[log]\nformat = "journal"\n')
    machine.run("chown", "-R", "medledger:medledger", HOME)
    try:
        machine.run("systemctl", "start", unit)
        ask = "import sys; from boxes import Till; print(Till(2576).ask(']d201095060001343521728033121S1')['result'])"
        assert machine.run(PYTHON, "-c", ask) == "dispensed"
        machine.run("systemctl", "stop", unit)
        assert machine.shown(unit, "Result") == "success"
    finally:
        machine.tried("systemctl", "kill", "-s", "KILL", unit)
        machine.run("rm", "-rf", HOME)


def test_an_auditor_is_started_too(machine: Machine, world: World) -> None:
    """It is up without a broker, and its status line says so; a stop is a success; what cannot start is tried on."""
    unit = "medledger-auditor.service"
    home = machine.files / HOME[1:]
    shutil.copytree(world.box("replica", "bedside").home, home)  # it writes nothing, whatever its role
    (home / "agent.toml").write_text('[gossip]\nbroker = "mqtt://127.0.0.1:1"\n[log]\nformat = "journal"\n')
    machine.run("chown", "-R", "medledger:medledger", HOME)
    try:
        machine.run("systemctl", "start", unit)
        assert until(lambda: machine.shown(unit, "StatusText").startswith("no broker, 0 peers"))
        assert machine.run("stat", "-c", "%U", f"{HOME}/ledger.db.probe") == "medledger"
        machine.run("systemctl", "stop", unit)
        assert machine.shown(unit, "Result") == "success"
        (home / "ledger.db").write_bytes(b"")
        machine.tried("systemctl", "start", unit)
        assert until(lambda: machine.shown(unit, "SubState") == "auto-restart")  # after a pause: no tight loop
        assert "is not a medledger ledger" in machine.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)
    finally:
        machine.tried("systemctl", "stop", unit)
        machine.tried("systemctl", "reset-failed", unit)
        machine.run("rm", "-rf", HOME)


def test_root_that_may_not_mount_is_no_failure() -> None:
    """Where root is forbidden namespaces and mounts, as in a container, there is no such machine, and it says why."""
    bare = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    ask = [sys.executable, "-c", "from real_systemd import missing; print(missing())"]
    path = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    said = subprocess.run([*bare, *ask], env=path, capture_output=True, text=True, check=True).stdout
    assert said.startswith("a machine for systemd needs namespaces and mounts: unshare: ")
