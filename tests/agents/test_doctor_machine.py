"""The doctor on the machine: clocks, disks, ports and the service, each made bad for real where that can be had."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from boxes import Box, World
from brokers import free_port
from doctoring import assert_bad, look
from medledger import Reading
from medledger_agents.enrolment import check_box, check_disk
from medledger_agents.enrolment.doctor import MOUNTS, now
from medledger_agents.enrolment.findings import Verdict


@pytest.fixture
def box(world: World) -> Box:
    """A box that is a member and has never run."""
    return world.box("bed-7", "bedside", gossip={"offline": True})


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


# --- ports and service ------------------------------------------------------------------------------------------


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
    """Failed, about to be tried again, stopped, not enabled, restarted, well: by what `systemctl show` prints."""
    from medledger_agents.enrolment import ending

    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(check_box, "SYSTEMD", tmp_path)
    assert look(box)["service"].verdict is Verdict.SKIPPED
    monkeypatch.setattr(ending, "UNITS", (tmp_path,))
    for active, enabled, restarts, verdict, said in (
        ("failed", "enabled", 0, Verdict.FAULT, "journalctl -u medledger-bedside.service"),
        ("activating\\nSubState=auto-restart", "enabled", 3, Verdict.FAULT, "ends again and again"),
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
