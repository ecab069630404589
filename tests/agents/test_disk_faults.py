"""Disks that fail: a flush that is refused, a file system without a free name, writes that are cut off.

In each case: nothing is acknowledged that is not on the ledger afterwards, the agent says that it is unwell, and with a
disk that is well again all goes on, by the agent itself or by the process that takes its place.
"""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from boxes import Agent, Box, World, oru
from doctoring import assert_bad, look
from failing_syncs import FailingSyncs
from medledger_agents.enrolment.findings import Verdict
from waiting import until

SOON = {"WATCHDOG_USEC": "1000000", "NOTIFY_SOCKET": "/nowhere"}
STORE = 3


@pytest.fixture
def box(world: World) -> Box:
    """An enrolled bed."""
    return world.box("bed", "bedside", spool={"min_free_bytes": 0})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=64", "tmpfs", place]).returncode != 0
    ):
        pytest.skip("needs to mount a file system, which only root may")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


class DyingDisk:
    """A disk of its own with ext4 on it. `die` is an error that the kernel finds there: then it is read-only."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._image = place.with_suffix(".img")
        with self._image.open("wb") as image:
            image.truncate(32 * 1024 * 1024)
        tried("mkfs.ext4", "-q", self._image)
        self.place.mkdir()
        self.mount()
        try:
            (device,) = Path("/sys/fs/ext4").glob(Path(self.device).name)
            self._die = device / "trigger_fs_error"
            assert os.access(self._die, os.W_OK)
        except (ValueError, AssertionError):
            self.unmount()
            pytest.skip("needs a kernel that lets an error of ext4 be made")

    @property
    def device(self) -> str:
        """What it is mounted from."""
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        return next(fields[0] for fields in mounts if fields[1] == str(self.place))

    def mount(self) -> None:
        """As after a start of the machine."""
        tried("mount", "-o", "loop,errors=remount-ro", self._image, self.place)

    def unmount(self) -> None:
        """Let go of it."""
        subprocess.run(["umount", "-l", self.place], check=True)

    def die(self) -> None:
        """From now on nothing can be written."""
        self._die.write_text("a test")

    def repair(self) -> None:
        """As its owner does, or the next start."""
        self.unmount()
        assert until(lambda: subprocess.run(["e2fsck", "-fy", self._image], capture_output=True).returncode <= 1)
        self.mount()


def tried(*command: str | Path) -> None:
    """A command that only root may run, and not everywhere."""
    done = subprocess.run(command, capture_output=True, text=True) if shutil.which(command[0]) else None
    if done is None or done.returncode != 0:
        pytest.skip(f"needs a disk in a file: {command[0]}: {'not there' if done is None else done.stderr.strip()}")


@pytest.fixture
def dying_disk(tmp_path: Path) -> Iterator[DyingDisk]:
    """A disk that can be made to fail."""
    if os.geteuid() != 0:
        pytest.skip("needs to mount a file system, which only root may")
    disk = DyingDisk(tmp_path / "dying")
    yield disk
    disk.unmount()


def unwell(agent: Agent) -> bool:
    """Whether it has said so."""
    return any(event["event"] == "unhealthy" for event in agent.log)


def well_again(agent: Agent) -> bool:
    """Whether it has said that something is."""
    return any(event["event"] == "healthy again" for event in agent.log)


def codes(agent: Agent, numbers: range) -> dict[int, str]:
    """What became of these messages, whose value is their number."""
    monitor = agent.monitor()
    found = {number: monitor.ask(oru(number, value=str(number)))[0] for number in numbers}
    monitor.close()
    return found


@pytest.mark.parametrize("files", ["ledger.db", "inbox.db"])
def test_after_a_failed_flush_nothing_is_believed(box: Box, failing_syncs: FailingSyncs, files: str) -> None:
    """No acknowledgement while it fails; then the ledger is opened anew, which takes a new process, and all stands."""
    with box.start(**SOON, **failing_syncs.of(files)) as agent:
        before = codes(agent, range(1, 4))
        failing_syncs.begin()
        meanwhile = codes(agent, range(4, 8))
        assert until(lambda: unwell(agent))
        failing_syncs.end()
        if files == "inbox.db":
            assert set(codes(agent, range(4, 8)).values()) == {"AA"}
            agent.stop()
        else:
            assert agent.process.wait(20) == STORE, agent.raw_log.decode()
            agent.kill()  # it has ended: what is left is its log
            assert b"must be opened again" in agent.raw_log
    assert (set(before.values()), set(meanwhile.values())) == ({"AA"}, {"AE"})
    with box.start() as agent:
        again = codes(agent, range(1, 10))
        agent.stop()
    assert set(again.values()) == {"AA"}
    assert len(box.entries("reading")) == 9


def test_an_idle_box_finds_that_its_disk_fails(box: Box, failing_syncs: FailingSyncs) -> None:
    """Nobody sends anything: the watchdog's own look at the disk is a write, and a fault until it works."""
    with box.start(**SOON, **failing_syncs.of("inbox.db")) as agent:
        failing_syncs.begin()
        assert until(lambda: any(event.get("what") == "disk" and event["level"] == "error" for event in agent.log))
        failing_syncs.end()
        assert until(lambda: any(event.get("what") == "disk" and event["level"] == "info" for event in agent.log))
        agent.stop()


def test_a_disk_without_a_free_name_is_no_trouble(box: Box, disk: Path) -> None:
    """While it runs, an agent makes no new file: what else fills the disk with names does not stop it."""
    shutil.copytree(box.home, disk, dirs_exist_ok=True)
    box.home, box.config = disk, disk / "agent.toml"
    with box.start(**SOON) as agent:
        assert set(codes(agent, range(1, 3)).values()) == {"AA"}
        names = disk / "names"
        names.mkdir()
        with suppress(OSError):
            for number in itertools.count():
                (names / str(number)).touch()
        assert os.statvfs(disk).f_ffree == 0
        assert set(codes(agent, range(3, 5)).values()) == {"AA"}
        assert not unwell(agent)
        agent.stop()
    assert len(box.entries("reading")) == 4


@pytest.mark.parametrize("name", ["inbox.db", "ledger.db"])
def test_writes_that_are_cut_off_lose_nothing(box: Box, name: str) -> None:
    """A limit on the size of files, which takes no root: writes fail in their middle; each message is one or none."""
    with box.start(**SOON) as agent:
        assert set(codes(agent, range(1, 4)).values()) == {"AA"}
        size = (box.home / f"{name}-wal").stat().st_size
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (size + 6000, resource.RLIM_INFINITY))
        cut = codes(agent, range(4, 40))
        assert "AE" in cut.values()
        assert until(lambda: unwell(agent))
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: agent.process.poll() is not None or well_again(agent), 3)  # or ends, for a new start
        agent.kill()
    logged = len(box.entries("reading"))
    assert 3 + list(cut.values()).count("AA") <= logged <= 39
    with box.start() as agent:
        assert set(codes(agent, range(1, 40)).values()) == {"AA"}
        agent.stop()
    assert len(box.entries("reading")) == 39


def test_a_disk_that_turns_read_only_while_it_runs(box: Box, dying_disk: DyingDisk) -> None:
    """It refuses, stays, says so, and so does the doctor; it can be ended in order, and repaired all goes on."""
    shutil.copytree(box.home, dying_disk.place, dirs_exist_ok=True)
    subprocess.run(["sync", "-f", dying_disk.place], check=True)  # what was not flushed, the disk would forget
    box.home, box.config = dying_disk.place, dying_disk.place / "agent.toml"
    with box.start(**SOON) as agent:
        assert set(codes(agent, range(1, 4)).values()) == {"AA"}
        dying_disk.die()
        assert set(codes(agent, range(4, 7)).values()) == {"AE"}
        assert until(lambda: "disk" in {event.get("what") for event in agent.log if event["event"] == "unhealthy"})
        assert_bad(look(box)["room ledger"], Verdict.FAULT, "read-only", "dmesg")
        agent.stop()
    dying_disk.repair()
    with box.start(**SOON) as agent:
        assert set(codes(agent, range(1, 7)).values()) == {"AA"}
        agent.stop()
    assert len(box.entries("reading")) == 6
