"""Bars that scenarios of their own show, in small: each must hold in every world. `make soak` is the full size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.bars import Bar
from sim.malformed import malformed_frames
from sim.scale import many
from sim.scenarios import cloned_card, hostile_broker, lying_clocks

FRAMES = 20_000


def check(bars: list[Bar]) -> None:
    """Every one of these holds."""
    print("\n".join(f"{bar.name}: {bar.measured} (seed {bar.seed})" for bar in bars))
    assert [f"{bar.name}: {bar.measured}, not {bar.bar} (seed {bar.seed})" for bar in bars if not bar.holds] == []


@pytest.mark.parametrize("scenario", [hostile_broker, lying_clocks])
def test_a_scenario_holds_its_bars(scenario: Callable[[list[int]], list[Bar]]) -> None:
    """A hostile broker convinces nobody and delays what it cannot stop; clocks that lie change nothing."""
    check(scenario([1]))


def test_a_cloned_card_is_proved_everywhere() -> None:
    """Every connected replica holds a small proof that anybody can check, and no other key is accused."""
    check(cloned_card(range(1, 9)))


@pytest.mark.timeout(300)
def test_malformed_frames_change_nothing() -> None:
    """Twenty thousand of them: no exception, no answer, no memory, no change."""
    check(malformed_frames(1, FRAMES))


def test_many_feeds_and_peers_cost_little() -> None:
    """A thousand feeds and forty peers: beacons, answers and overhead keep to what is promised for ten times that."""
    check(many(1, feeds=1000, peers=40, growing=100))
