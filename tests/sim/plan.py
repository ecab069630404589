"""What a seed has in store: how many machines there are, how bad the network is, and which faults come how often.

Each run has a part of all faults only, at rates of its own. Were all of them on in every run, each would hide what
the others could show.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .broker import Weather

NETWORK = {
    "loss": (0.01, 0.3),
    "sure_loss": (0.01, 0.2),
    "duplication": (0.01, 0.1),
    "reordering": (0.01, 0.2),
    "long_delay": (0.002, 0.05),
    "damage": (0.005, 0.1),
    "misrouting": (0.005, 0.1),
    "replay": (0.01, 0.2),
    "forgery": (0.01, 0.2),
    "retained_lie": (0.1, 0.9),
}
"""Chances for each frame, from and to."""

HAPPENINGS = {
    "process killed": 4,
    "killed amid effects": 4,
    "power cut": 6,
    "wall clock jump": 4,
    "partition": 2,
    "connection lost": 4,
    "broker restart": 2,
    "censorship": 2,
    "restored backup": 4,
    "cloned node": 0.5,
    "disk full": 2,
    "I/O error": 4,
    "revocation": 0.3,
    "key rotation": 0.5,
    "newcomer": 0.5,
    "new epoch": 0.5,
}
"""What happens to machines and people: how often each, beside the others."""


@dataclass
class Plan:
    """One run's circumstances."""

    members: int
    governors: int
    auditor: bool
    enemies: int
    write_seconds: float  # between two blocks of one machine, on average
    burst: int  # blocks at most that are written at once
    weather: Weather
    pace: float  # events between two happenings, on average
    happenings: tuple[str, ...] = ()

    @classmethod
    def draw(cls, rng: Random) -> Plan:
        """The circumstances of a seed."""
        rates = {name: rng.uniform(*limits) for name, limits in NETWORK.items() if rng.random() < 0.5}
        slow = rng.choice([0.02, 0.02, 0.3, 2.0])
        return cls(
            members=rng.choice([1, 2, 2, 3, 3, 4]),
            governors=rng.choice([1, 1, 3]),
            auditor=rng.random() < 0.5,
            enemies=rng.choice([0, 0, 1, 1, 2]),
            write_seconds=rng.choice([0.5, 2.0, 8.0, 30.0]),
            burst=rng.choice([1, 1, 5, 80]),
            weather=Weather(delay=(0.001, slow), **rates),
            pace=rng.choice([50, 150, 500]),
            happenings=tuple(name for name in HAPPENINGS if rng.random() < 0.5),
        )

    def __str__(self) -> str:
        people = f"{self.governors} governors, {self.members} members, {self.enemies} enemies"
        weather = {name: value for name, value in vars(self.weather).items() if value and name != "delay"}
        bad = ", ".join(f"{name} {value:.3f}" for name, value in weather.items())
        writing = f"a block every {self.write_seconds:g} s, {self.burst} at once"
        rare = ", ".join(self.happenings) or "nothing"
        return f"{people}; {writing}; {bad or 'good weather'}; every {self.pace} events {rare}"
