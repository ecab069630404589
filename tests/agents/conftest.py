"""What the agents' tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from boxes import World
from counter_world import Desk, desk
from failing_syncs import FailingSyncs, build
from medledger import Ledger
from worlds import found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A founded ledger, offline."""
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def founder(tmp_path: Path) -> Iterator[Ledger]:
    """The hospital's ledger."""
    with found(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def counter(founder: Ledger, tmp_path: Path) -> Iterator[Desk]:
    """A pharmacy's counter."""
    with desk(founder, tmp_path, "north") as made:
        yield made


@pytest.fixture(scope="session")
def failing_syncs_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once."""
    return build(tmp_path_factory.mktemp("failing-syncs"))


@pytest.fixture
def failing_syncs(failing_syncs_library: Path, tmp_path: Path) -> FailingSyncs:
    """A disk that can be made to refuse flushes."""
    return FailingSyncs(failing_syncs_library, tmp_path)
