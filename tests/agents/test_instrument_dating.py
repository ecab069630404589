"""When a device measured, as a box can know it: the true moment is always between the two that it is given."""

from __future__ import annotations

from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from medledger_agents.instruments.dating import SLACK_MS, measured
from medledger_bridge.link.batch import SignedBatch

HOUR: Final = 3_600_000
NOON: Final = 1_767_268_800_000


def batch(first: int, sealed: int, age: int | None) -> SignedBatch:
    """A batch with readings from `first` on, sealed at that uptime, said again so much later."""
    return SignedBatch("PO-1", bytes(32), bytes(8), 1, sealed, [[first, []], [sealed, []]], bytes(64), age)


def test_what_comes_as_it_is_sealed_is_dated_to_the_second() -> None:
    """However long the device has been plugged in."""
    span = measured(batch(50 * HOUR - 9000, 50 * HOUR, 0), quiet=HOUR, now=HOUR + 20, utc=NOON)
    assert span is not None
    assert NOON - 9000 - SLACK_MS - 50 < span[0] < NOON - 9000 < span[1] == NOON


def test_what_does_not_know_its_age_is_of_no_known_time() -> None:
    """It may be of another patient."""
    assert measured(batch(1, 2, None), 0, 1, NOON) is None


def test_what_waited_for_the_box_is_as_old_as_the_line_was_busy() -> None:
    """For two hours nothing could be logged, and nothing was read: what was said meanwhile may be two hours old."""
    span = measured(batch(1000, 10_000, 0), quiet=0, now=2 * HOUR, utc=NOON)
    assert span is not None
    assert span[0] <= NOON - 2 * HOUR


@example(0, HOUR, HOUR, 0, -1000)
@given(
    st.integers(0, 10 * HOUR),
    st.integers(0, HOUR),
    st.integers(0, HOUR),
    st.integers(0, HOUR),
    st.integers(-1000, 1000),
)
def test_the_true_moment_lies_in_the_span(on: int, took: int, kept: int, waited: int, per_million: int) -> None:
    """Whatever was kept and waited how long, although the device's clock is off by one part in a thousand."""

    def count(passed: int) -> int:
        return passed * (1_000_000 + per_million) // 1_000_000

    first, sealed, sent = on, on + took, on + took + kept
    heard = batch(count(first), count(sealed), count(sent) - count(sealed))
    span = measured(heard, quiet=sent, now=sent + waited, utc=NOON + sent + waited)
    assert span is not None
    assert span[0] <= NOON + first
    assert NOON + sealed <= span[1] + 1
