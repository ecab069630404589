"""When a device measured, as a box can know it: the true moment is always between the two that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from medledger_agents.instruments.dating import DRIFT, SLACK_MS, Dating
from medledger_bridge.link.batch import SignedBatch
from medledger_bridge.link.messages import Hello

HOUR: Final = 3_600_000
NOON: Final = 1_767_268_800_000
BOOT, AFTER = bytes(8), bytes(range(8))


def hello(following: int, boot: bytes = BOOT) -> Hello:
    """What a device says first."""
    return Hello("PO-1", bytes(32), boot, following, 1, 0, "reference", "1.0")


def batch(counter: int, first: int, sealed: int, boot: bytes = BOOT) -> SignedBatch:
    """A batch with readings from `first` on, sealed at that uptime."""
    return SignedBatch("PO-1", bytes(32), boot, counter, sealed, [[first, []], [sealed, []]], bytes(64))


def test_a_device_that_said_hello_hours_ago_is_dated_to_the_second() -> None:
    """It says hello once, when it is plugged in; the patient comes hours later, and what it measures then is theirs."""
    dating = Dating()
    dating.greeted(hello(1), 0)
    for counter in range(1, 721):  # two hours, a batch each ten seconds
        sealed = counter * 10_000
        span = dating.span(batch(counter, sealed - 9_000, sealed), sealed, NOON + sealed)
    assert span is not None
    assert NOON + sealed - span[0] <= 9_000 + 10_000 + SLACK_MS + sealed // DRIFT


def test_what_the_device_kept_is_of_no_known_time() -> None:
    """Sealed before the hello: hours ago, or just now, perhaps of another patient."""
    dating = Dating()
    dating.greeted(hello(9), 0)
    assert dating.span(batch(8, 1000, 2000), 5000, NOON) is None
    assert dating.span(batch(9, 3000, 4000), 5000, NOON) is not None
    assert dating.span(batch(10, 1, 2, AFTER), 5000, NOON) is None


def test_what_was_kept_while_the_line_was_cut_is_dated_by_the_boot() -> None:
    """The same boot as before: its uptime still tells when."""
    dating = Dating()
    dating.greeted(hello(1), 0)
    assert dating.span(batch(1, 1000, 10_000), 10_000, NOON) is not None
    dating.greeted(hello(40), HOUR)
    span = dating.span(batch(2, 11_000, 20_000), HOUR, NOON + HOUR)
    assert span is not None
    assert NOON - SLACK_MS * 2 - HOUR // DRIFT < span[0] <= NOON + 1000


def test_a_hello_that_waited_for_the_box_is_as_old_as_the_line_was_busy() -> None:
    """For two hours nothing could be logged, and nothing was read: what was said meanwhile may be two hours old."""
    dating = Dating()
    dating.greeted(hello(5), quiet=0)
    span = dating.span(batch(5, 50_000, 60_000), 2 * HOUR, NOON + 2 * HOUR)
    assert span is not None
    assert span[0] <= NOON


@dataclass(frozen=True)
class Heard:
    """A batch on its way: how long after the one before it was sealed, how long it took to come, a hello before it."""

    after: int
    took: int
    hello: bool


heard = st.builds(Heard, st.integers(1000, HOUR), st.integers(0, HOUR), st.booleans())


@given(st.lists(heard, min_size=1, max_size=20), st.integers(-900, 900), st.integers(0, 24 * HOUR))
def test_the_true_moment_lies_in_the_span(line: list[Heard], per_million: int, on_at: int) -> None:
    """Whatever waited for how long, and although the device's clock is off by up to one part in a thousand."""
    dating = Dating()
    sealed = on_at
    arrived = on_at

    def uptime(at: int) -> int:
        return (at - on_at) * (1_000_000 + per_million) // 1_000_000

    for counter, each in enumerate(line, 1):
        if each.hello:
            dating.greeted(hello(counter), quiet=sealed)
        first, sealed = sealed, sealed + each.after
        arrived = max(arrived, sealed + each.took)
        span = dating.span(batch(counter, uptime(first), uptime(sealed)), arrived, NOON + arrived)
        if span is not None:
            assert span[0] <= NOON + first
            assert NOON + sealed <= span[1]
