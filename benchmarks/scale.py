"""How much is measured: full, quick, and small enough for a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .measure import Line


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of a run; counts are of blocks unless the name says otherwise."""

    ledger: int  # one-entry blocks in the large ledger
    measured: int  # of them, the last ones, whose import is measured
    ledger_16: int
    measured_16: int
    interpreted: int  # entries
    live: int  # rounds
    verified: int
    verify_rounds: int
    appends: int
    serial_frames: int
    opens: int
    supplies: int  # entries that a pharmacy starts with
    memory: int  # imported for the smaller of the two peaks; the larger is of four times as many
    threads: int  # appends of each of the eight threads
    synced: int  # in a full replica over MQTT
    synced_feeds: int
    sync_rounds: int
    hypercore_rounds: int
    replicas: int  # that one live block reaches
    live_before: int  # blocks in them already, which came one by one
    live_blocks: int
    settle_seconds: float  # until nodes that have found each other come to rest
    beacon_feeds: int
    beacon_seconds: float
    lagging_feeds: int
    lagging_blocks: int  # that each hundredth of these feeds is behind


FULL = Scale(
    ledger=1_000_000,
    measured=100_000,
    ledger_16=100_000,
    measured_16=20_000,
    interpreted=192_000,
    live=2_000,
    verified=200_000,
    verify_rounds=3,
    appends=4_000,
    serial_frames=5_000,
    opens=50,
    supplies=200_000,
    memory=50_000,
    threads=500,
    synced=100_000,
    synced_feeds=100,
    sync_rounds=5,
    hypercore_rounds=3,
    replicas=20,
    live_before=600,
    live_blocks=300,
    settle_seconds=3.0,
    beacon_feeds=1_000,
    beacon_seconds=400.0,
    lagging_feeds=10_000,
    lagging_blocks=33,
)
QUICK = Scale(
    ledger=100_000,
    measured=20_000,
    ledger_16=10_000,
    measured_16=5_000,
    interpreted=48_000,
    live=500,
    verified=100_000,
    verify_rounds=2,
    appends=1_000,
    serial_frames=2_000,
    opens=20,
    supplies=20_000,
    memory=10_000,
    threads=100,
    synced=100_000,
    synced_feeds=100,
    sync_rounds=3,
    hypercore_rounds=1,
    replicas=20,
    live_before=600,
    live_blocks=100,
    settle_seconds=3.0,
    beacon_feeds=1_000,
    beacon_seconds=30.0,
    lagging_feeds=10_000,
    lagging_blocks=33,
)
SMALL = Scale(
    ledger=300,
    measured=100,
    ledger_16=60,
    measured_16=20,
    interpreted=160,
    live=3,
    verified=130,
    verify_rounds=1,
    appends=5,
    serial_frames=5,
    opens=2,
    supplies=130,
    memory=100,
    threads=2,
    synced=120,
    synced_feeds=3,
    sync_rounds=1,
    hypercore_rounds=1,
    replicas=2,
    live_before=2,
    live_blocks=3,
    settle_seconds=0.2,
    beacon_feeds=5,
    beacon_seconds=0.5,
    lagging_feeds=100,
    lagging_blocks=40,
)

ROOT = Path(__file__).resolve().parent.parent

Benchmark = Callable[[Path, Scale], Iterator[Line]]
"""Measures in a directory of its own, which is empty, and gives its lines."""
