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
    opens: int
    memory: int  # imported for the smaller of the two peaks; the larger is of four times as many
    threads: int  # appends of each of the eight threads


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
    opens=50,
    memory=50_000,
    threads=500,
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
    opens=20,
    memory=10_000,
    threads=100,
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
    opens=2,
    memory=100,
    threads=2,
)

ROOT = Path(__file__).resolve().parent.parent

Benchmark = Callable[[Path, Scale], Iterator[Line]]
"""Measures in a directory of its own, which is empty, and gives its lines."""
