"""The systemd units: what systemd says of them, and that an agent needs nothing that they forbid.

Nothing is started here, so that this runs wherever systemd's tools are: systemd's own checks of the files, every system
call of a whole life held against the filter, and memory that is never both written and executed. A real systemd starts
the units in test_real_systemd.py.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from boxes import World
from brokers import Broker
from waiting import until

SYSTEMD = Path(__file__).resolve().parents[2] / "agents" / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
MOST_EXPOSED = 2.0
PR_SET_MDWE = 65
SCAN = "]d2010950600013435217280331" + "21S1"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def settings(unit: Path) -> dict[str, list[str]]:
    """What a unit's [Service] says: each key with its values, for a key may stand there more than once."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_the_agent_and_feeds_the_watchdog(unit: Path) -> None:
    """It says what the agent keeps: notify, reload by SIGHUP (not an auditor), a watchdog, a restart, not tightly."""
    parser = RawConfigParser(strict=False)
    parser.read(unit)
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
    found = settings(unit)
    (start,) = found["ExecStart"]
    kinds = "bedside|pharmacy|auditor"
    assert re.fullmatch(rf"/\S+/medledger agent ({kinds}) --config /var/lib/medledger/agent.toml", start)
    assert unit.stem == f"medledger-{start.split()[2]}"
    assert found["Type"] == ["notify"]
    assert found.get("ExecReload") == (None if "auditor" in unit.stem else ["/bin/kill -HUP $MAINPID"])
    assert found["Restart"] == ["on-failure"]
    assert int(found["RestartSec"][0]) >= 10  # a start costs a small box seconds
    assert int(found["WatchdogSec"][0]) >= 30
    assert found["User"] == ["medledger"]
    assert found["CapabilityBoundingSet"] == [""]
    assert (SYSTEMD / "medledger.sysusers").read_text().splitlines()[-1].startswith("u medledger ")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_knows_every_line(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program is where the unit expects it."""
    there = tmp_path / unit.name
    there.write_text(unit.read_text().replace("/opt/medledger/bin/medledger", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", there], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_hardened(unit: Path) -> None:
    """The exposure that `systemd-analyze security` reckons is what docs/agents.md says, or less."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit], capture_output=True, text=True, timeout=60
    )
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None, done.stdout + done.stderr
    assert float(exposure[1]) <= MOST_EXPOSED


def allowed(unit: Path) -> set[str]:
    """The system calls that a unit's filter lets through."""
    found: set[str] = set()
    for value in settings(unit)["SystemCallFilter"]:
        words = value.removeprefix("~").split()
        names = {call for word in words for call in (calls(word) if word.startswith("@") else {word})}
        found = found - names if value.startswith("~") else found | names
    return found


def calls(group: str) -> set[str]:
    """The system calls of a group, as this machine's systemd has it."""
    listing = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = {line.strip() for line in listing.stdout.splitlines()[1:] if line.strip() and "#" not in line}
    return {call for name in names for call in (calls(name) if name.startswith("@") else {name})}


@needs_systemd
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("role", ["bedside", "pharmacy"])
def test_an_agent_needs_no_system_call_that_its_unit_forbids(world: World, broker: Broker, role: str) -> None:
    """A whole life with a broker, metrics and an orderly end, traced: every call is one that the filter has."""
    box = world.box("box", role, gossip={"broker": broker.url})
    trace = box.home / "trace"
    command = [sys.executable, "-m", "medledger", "agent", role, "--config", str(box.config)]
    life = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", trace, *command, "--until-input-ends"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert life.stderr is not None
        for line in life.stderr:
            if b'"metrics"' in line:
                break
        assert until(lambda: b"sendto" in trace.read_bytes() or b"sendmsg" in trace.read_bytes())
        assert life.stdin is not None
        life.stdin.close()
        assert life.wait(30) == 0
    finally:
        life.kill()
        life.wait()
        assert life.stderr is not None
        life.stderr.close()
    made = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)", trace.read_text(errors="replace"), re.MULTILINE))
    assert "fdatasync" in made or "fsync" in made
    if os.geteuid() == 0:
        made.discard("fchown")  # SQLite gives its files to the database's owner, where it may; the unit's user may not
    assert made - allowed(SYSTEMD / f"medledger-{role}.service") == set()


@pytest.mark.parametrize("role", ["bedside", "pharmacy"])
def test_an_agent_runs_with_memory_that_is_never_written_and_executed(world: World, role: str) -> None:
    """As under MemoryDenyWriteExecute=, which the kernel itself offers to a process and what it executes."""
    box = world.box("box", role)
    script = (
        "import ctypes, os, sys\n"
        f"if ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0): sys.exit(77)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    if ctypes.CDLL(None).prctl(PR_SET_MDWE + 1, 0, 0, 0, 0) < 0:  # PR_GET_MDWE
        pytest.skip("this kernel cannot deny it (Linux 6.3)")
    command = ["-m", "medledger", "agent", role, "--config", str(box.config), "--until-input-ends"]
    life = subprocess.Popen(
        [sys.executable, "-c", script, *command],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert life.stderr is not None
    assert life.stdin is not None
    seen = []
    for line in life.stderr:
        seen.append(line)
        if '"metrics"' in line:
            break
    life.stdin.close()
    seen += life.stderr.readlines()
    assert life.wait(30) == 0, seen
    life.stderr.close()
    assert '"internal error"' not in "".join(seen)
