"""Flushes that fail, as a dying card's do: a few lines of C (failing_syncs.c), preloaded into a program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


class FailingSyncs:
    """Between `begin` and `end`, fsync of the files that `of` names fails in whatever was started with it."""

    def __init__(self, library: Path, directory: Path) -> None:
        self._library = library
        self._flag = directory / "syncs-fail"

    def of(self, files: str) -> dict[str, str]:
        """The environment for a program: all files whose name holds this fail."""
        return {"LD_PRELOAD": str(self._library), "FAIL_SYNCS_OF": files, "FAIL_SYNCS_WHILE": str(self._flag)}

    def begin(self) -> None:
        """From now on."""
        self._flag.touch()

    def end(self) -> None:
        """The disk is well again."""
        self._flag.unlink()


def build(directory: Path) -> Path:
    """The library; without a compiler the test is skipped."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler for fsync that fails")
    library = directory / "failing_syncs.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library
