"""A machine of its own that a real systemd runs as its first process, for tests of the units.

It is made of namespaces (unshare(1)): processes, mounts, network, host name and control groups are its own. Its files
are this machine's under an overlay in memory, which ends with it; nothing is written below it. It has no units but
those that a test gives it and the few that these ask for: nothing of this machine is started, mounted or set.

Needs root that may do all this, cgroup2, overlayfs and systemd; `missing` tries, and says what is not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from waiting import until

SYSTEMD: Final = Path("/lib/systemd/systemd")
ROOT: Final = Path(__file__).resolve().parents[1]
UNITS: Final = "/run/trial"
TARGETS: Final = ("sysinit", "basic", "shutdown", "network-online", "time-sync", "multi-user", "sockets", "trial")
JOURNALD: Final = ("systemd-journald.service", "systemd-journald.socket")
AGENT: Final = "/opt/medledger/bin/medledger"
PYTHON: Final = "/opt/medledger/bin/python"
SITE: Final = "/opt/medledger/site"
MOUNTS: Final = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$PLACE"
mkdir "$PLACE/changes" "$PLACE/work" "$PLACE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$PLACE/changes,workdir=$PLACE/work" "$PLACE/root"
cd "$PLACE/root"
mkdir -p opt/python opt/medledger/source opt/medledger/site opt/medledger/bin opt/outside
mount --bind "$PYTHON" opt/python
mount --bind "$SOURCE" opt/medledger/source
mount --bind "$SITE" opt/medledger/site
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
"""
BOOT: Final = (
    MOUNTS
    + """
cd "$PLACE/root"
pivot_root . opt/outside
exec chroot . /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  SYSTEMD_UNIT_PATH=%(units)s SYSTEMD_GENERATOR_PATH=/run/none \
  sh -c 'umount -l /opt/outside
    mount --make-rshared /
    while [ ! -e /run/go ]; do sleep 0.05; done
    exec %(systemd)s --system --unit=trial.target --log-target=journal'
"""
)


def missing() -> str | None:
    """Why there can be no such machine here, None where there can."""
    if os.geteuid() != 0:
        return "only root can make a machine for systemd out of namespaces"
    programs = [
        "unshare",
        "nsenter",
        "mount",
        "chroot",
        "pivot_root",
        "ip",
        "systemctl",
        "journalctl",
        "systemd-sysusers",
    ]
    for program in programs:
        if shutil.which(program) is None:
            return f"a real systemd needs {program}"
    if not SYSTEMD.exists():
        return f"there is no {SYSTEMD}"
    above = _cgroups()
    if above is None:
        return "a real systemd needs cgroup2, which is not mounted here"
    return _forbidden(above)


def _forbidden(above: Path) -> str | None:
    """What a container's root, who is root by name, may not do: a control group, namespaces and mounts are tried."""
    group = above / f"medledger-attempt-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        return f"a real systemd needs control groups: {error}"
    try:
        with tempfile.TemporaryDirectory() as place:
            done = _unshared(MOUNTS, Path(place), group, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = done.communicate()[1].decode(errors="replace").split("\n")
    finally:
        gone = until(lambda: not _emptied(group))
    if done.returncode or not gone:
        return f"a machine for systemd needs namespaces and mounts: {said[0] or 'they cannot be made here'}"
    return None


def _unshared(script: str, place: Path, group: Path, **streams: Any) -> subprocess.Popen[bytes]:
    """A shell script in new namespaces and this control group, with what `MOUNTS` asks for."""
    environment = {
        **os.environ,
        "PLACE": str(place),
        "PYTHON": sys.base_prefix,
        "SOURCE": str(ROOT),
        "SITE": sysconfig.get_path("platlib"),
        "SCRIPT": script,
    }
    enter = f'echo $$ > "{group}/cgroup.procs" || exit\n'
    enter += 'exec unshare --cgroup --mount --pid --net --uts --ipc --fork --kill-child sh -c "$SCRIPT"'
    return subprocess.Popen(["sh", "-c", enter], env=environment, stdin=subprocess.DEVNULL, **streams)


def _cgroups() -> Path | None:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)


class Machine:
    """It. `run` is a command inside; `files` is its root directory, as seen from outside."""

    def __init__(self, place: Path) -> None:
        above = _cgroups()
        assert above is not None  # `missing` has looked
        self._group = above / f"medledger-trial-{os.getpid()}"
        self._group.mkdir()
        self._said = place.parent / "boot.txt"
        with self._said.open("wb") as said:
            script = BOOT % {"units": UNITS, "systemd": SYSTEMD}
            self._outside = _unshared(script, place, self._group, stdout=subprocess.DEVNULL, stderr=said)
        self.files = Path("/nowhere")

    def boot(self, *units: Path) -> None:
        """Up to the point where units can be started. Raises `AssertionError` where it does not come there."""
        assert until(self._there), self._said.read_text()
        self._install(AGENT, '-m medledger "$@"')
        self._install(PYTHON, '"$@"')
        place = self.files / UNITS[1:]
        place.mkdir()
        for name in TARGETS:
            (place / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        for name in JOURNALD:
            shutil.copy(SYSTEMD.parent / "system" / name, place)
        (place / "trial.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={' '.join(JOURNALD)}\n")
        for unit in units:
            shutil.copy(unit, place)
        self.run("ip", "link", "set", "lo", "up")
        (self.files / "run/go").touch()
        assert until(lambda: self.tried("systemctl", "is-active", "trial.target")[1] == "active"), (
            self._said.read_text()
        )

    def _install(self, program: str, arguments: str) -> None:
        """A program of this project, with the Python and the packages that run the tests."""
        source = "/opt/medledger/source"
        path = ":".join([*(f"{source}{area}" for area in ("", "/agents", "/firmware_bridge", "/tests")), SITE])
        there = self.files / program[1:]
        there.write_text(
            "#!/bin/sh\n"
            "export PYTHONHOME=/opt/python LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1\n"
            f"export PYTHONPATH={path}\n"
            f"exec /opt/python/bin/python{sys.version_info[0]}.{sys.version_info[1]} {arguments}\n"
        )
        there.chmod(0o755)

    def _there(self) -> bool:
        if self._outside.poll() is not None:
            return True
        with suppress(OSError, IndexError):
            children = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children").read_text().split()
            files = Path(f"/proc/{children[0]}/root")
            self._first = children[0]
            if (files / "run").is_dir() and (files / "opt/medledger/source/pyproject.toml").exists():
                self.files = files
                return "/opt/outside" not in Path(f"/proc/{children[0]}/mounts").read_text()
        return False

    def tried(self, *command: str) -> tuple[int, str]:
        """Exit code and output of a command inside."""
        enter = [
            "nsenter",
            "-t",
            self._first,
            "-m",
            "-p",
            "-n",
            "-u",
            "-i",
            "-C",
            f"--root={self.files}",
            f"--wd={self.files}",
        ]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_COLORS": "0", "LANG": "C.UTF-8"}
        done = subprocess.run(
            [*enter, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90
        )
        return done.returncode, done.stdout.strip()

    def run(self, *command: str) -> str:
        """Output of a command inside that must succeed."""
        code, said = self.tried(*command)
        assert code == 0, (command, said)
        return said

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._outside.kill()  # the first process inside dies with it, and all others with that
        self._outside.wait()
        assert until(lambda: not _emptied(self._group))


def _emptied(group: Path) -> bool:
    """Whether anything is left of a control group, after its empty ones were removed."""
    for directory, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(directory).rmdir()
    return group.exists()
