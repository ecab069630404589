"""Programs that are run in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_beside(packages: Path, program: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, in which what lies in that directory is installed."""
    path = os.pathsep.join((str(packages), os.environ["PYTHONPATH"]))
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
