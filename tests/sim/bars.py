"""A bar of reliability and what was measured against it, as the soak's table prints them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """One fault class: what it is held to, what was seen, and the seed that shows it again."""

    name: str
    bar: str  # what it is held to
    measured: str  # what was seen, with the numbers
    holds: bool
    seed: int | str
