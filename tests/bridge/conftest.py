"""What the tests of the bridge share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A place for states that need not outlive anything: in memory where there is one, for flushes take long."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir=memory) as place:
        yield Path(place)
