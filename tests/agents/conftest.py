"""What the agents' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from boxes import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A founded ledger, offline."""
    found = World(tmp_path)
    yield found
    found.close()
