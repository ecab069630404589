"""Setting up a box on a disk that is full: one sentence, nothing half made that stands in the way, and it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

USAGE, STORE = 2, 3  # the key file, and any other


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]).returncode != 0:
        pytest.skip("needs to mount a file system, which only root may")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def setup(disk: Path) -> subprocess.CompletedProcess[str]:
    """The command, as far as its request."""
    about = ["--kind", "bedside", "--label", "bed 7", "--organisation", "St. Anna", "--broker", "mqtt://127.0.0.1:1"]
    options = [*about, "--yes", "--no-wait", "--no-qr"]
    return subprocess.run(
        [sys.executable, "-m", "medledger", "agent", "setup", "--directory", disk / "box", *options],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("pages", range(4))
def test_setup_on_a_full_disk_is_refused_plainly_and_taken_up(disk: Path, pages: int) -> None:
    """With room for so many pages: an error in one sentence, no traceback; with room, the same command ends well."""
    other = disk / "something-else"
    with other.open("wb") as file:
        while True:
            try:
                os.write(file.fileno(), bytes(4096))
            except OSError:
                break
        file.truncate(file.tell() - 4096 * pages)
    refused = setup(disk)
    assert "Traceback" not in refused.stderr
    if refused.returncode:
        assert refused.returncode in (USAGE, STORE), refused.stderr
        assert refused.stderr.count("Error: ") == 1
        assert "space" in refused.stderr or "full" in refused.stderr
    else:
        assert pages, "there was no room for anything"
    other.unlink()
    done = setup(disk)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mlreq1:")
    assert not [path for path in (disk / "box").iterdir() if path.suffix in (".tmp", ".partial")]
