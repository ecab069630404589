"""The Trickle timer against RFC 6206, section 4.2."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medledger.sync.trickle import Trickle


def timer(now: float = 0.0, seed: int = 1) -> Trickle:
    """A timer of 1 to 64 seconds that keeps silent after three equal beacons."""
    return Trickle(now, Random(seed), minimum=1.0, maximum=64.0, redundancy=3)


def run(trickle: Trickle, start: float, end: float) -> list[float]:
    """When it sends, polled exactly when it asks to be."""
    sent = []
    now = start
    while (now := max(now, trickle.next)) <= end:
        if trickle.poll(now):
            sent.append(now)
    return sent


@given(st.integers())
def test_each_interval_sends_once_in_its_second_half(seed: int) -> None:
    """Intervals double from 1 to 64 s, and in each the beacon comes in the second half [steps 2 and 5]."""
    sent = run(timer(seed=seed), 0, 127 + 64 * 3)
    starts = [(2**n) - 1 for n in range(7)] + [127 + 64 * n for n in range(3)]
    lengths = [2**n for n in range(7)] + [64] * 3
    assert len(sent) == len(starts)
    for at, start, length in zip(sent, starts, lengths, strict=True):
        assert start + length / 2 <= at <= start + length


@pytest.mark.parametrize(("heard", "silent"), [(0, False), (2, False), (3, True), (10, True)])
def test_enough_equal_beacons_keep_it_silent(heard: int, silent: bool) -> None:
    """With k = 3 heard before its turn the beacon is not sent [step 4]; in the next interval they do not count."""
    trickle = timer()
    for voice in range(heard):
        trickle.heard(bytes([voice]))
    sent = run(trickle, 0, 3)
    assert len(sent) == (1 if silent else 2)


def test_one_voice_does_not_keep_it_silent() -> None:
    """However often it is heard."""
    trickle = timer()
    for _ in range(10):
        trickle.heard(b"one")
        trickle.heard(b"two")
    assert len(run(trickle, 0, 3)) == 2


@pytest.mark.parametrize("many", [2, 500, 10_000])
def test_of_many_only_few_speak(many: int) -> None:
    """All of them are reset at once, and each hears another after a fiftieth of the shortest interval."""
    timers = [timer(seed=seed) for seed in range(many)]
    for trickle in timers:
        trickle.most = many
        for voice in (b"one", b"two", b"three"):
            trickle.heard(voice)
        run(trickle, 0, 1)
        assert trickle.interval == 2
        trickle.reset(1)
    spoken: list[float] = []
    for at in sorted(trickle.next for trickle in timers):
        if sum(other < at - 0.02 for other in spoken) < 3:
            spoken.append(at)
    assert 2 <= len(spoken) <= 8


def test_few_speak_as_soon_as_ever_however_many_there_may_be() -> None:
    """Who hears nobody for an interval knows that nobody else is there to speak first."""
    first = []
    for seed in range(200):
        trickle = timer(seed=seed)
        trickle.most = 10_000
        run(trickle, 0, 200)
        trickle.reset(200, awaited=True)
        first.append(trickle.next - 200)
    assert 0.25 <= min(first) < 0.3
    assert 0.55 < sum(first) / 200 < 0.7


def test_an_inconsistency_starts_again_at_the_minimum() -> None:
    """From a long interval a reset leads to a beacon within Imin [step 6]."""
    trickle = timer()
    run(trickle, 0, 300)
    assert trickle.interval == 64
    trickle.reset(300)
    assert trickle.interval == 1
    assert 300.5 <= run(trickle, 300, 301)[0] <= 301


def test_an_inconsistency_in_the_shortest_interval_changes_nothing() -> None:
    """So that a stream of inconsistencies does not put the beacon off for ever [step 6]."""
    trickle = timer()
    planned = trickle.next
    for now in (0.1, 0.2, 0.3):
        trickle.reset(now)
    assert trickle.next == planned


@given(st.lists(st.floats(-1000, 1_000_000), max_size=30), st.integers())
def test_it_never_stalls_whatever_the_clock_does(times: list[float], seed: int) -> None:
    """After jumps back and forth the next thing to do is at most one longest interval away, and polling gets there."""
    trickle = timer(seed=seed)
    for now in times:
        trickle.poll(now)
        trickle.poll(now)
        assert trickle.next <= now + 64
    last = times[-1] if times else 0.0
    assert run(trickle, last, last + 200)


def test_a_jump_ahead_owes_one_beacon_at_most() -> None:
    """Waking after a week does not send a week's beacons."""
    trickle = timer()
    assert [trickle.poll(604_800) for _ in range(3)] == [True, False, False]
