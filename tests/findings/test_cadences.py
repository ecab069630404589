"""Promised entries that did not come: silence is named, whatever the wall clocks say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from medledger import Cadence, DeviceStatus, Reading
from medledger.findings import Finding, find
from medledger.header import Clock, Sync
from worlds import found, join, sync

NOON = 1_767_268_800_000
SECOND = 1000


class Box:
    """A ledger whose clocks the test sets."""

    def __init__(self, directory: Path) -> None:
        self.wall = NOON
        self.monotonic = 5_000
        self.boot = bytes(8)
        self.ledger = found(directory, clock=lambda: (self.wall, Clock(self.monotonic, self.boot, Sync.NONE)))

    def wait(self, seconds: int) -> None:
        """Time passes for both clocks."""
        self.wall += seconds * SECOND
        self.monotonic += seconds * SECOND

    def restart(self) -> None:
        """The monotonic clock begins anew."""
        self.boot = bytes([self.boot[0] + 1]) * 8
        self.monotonic = 0

    def promise(self, seconds: int | None, device: str | None = "MON-7") -> None:
        """An entry at least so often."""
        self.ledger.append(Cadence(device=device, interval=None if seconds is None else seconds * SECOND))

    def measure(self, device: str = "MON-7") -> None:
        """A reading."""
        self.ledger.append(Reading(device=device, samples=[("8867-4", "72", "/min")]))

    def silences(self, now: int | None = None) -> list[Finding]:
        """What is found."""
        return list(find(self.ledger, now=now))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A founder's ledger."""
    made = Box(tmp_path)
    with closing(made.ledger):
        yield made


def test_a_promise_that_is_kept_gives_no_finding(box: Box) -> None:
    """To the second."""
    box.promise(60)
    for _ in range(5):
        box.wait(60)
        box.measure()
    assert box.silences(box.wall) == []


def test_a_silence_is_named_with_both_ends(box: Box) -> None:
    """How long, what was promised, and the entries around it."""
    box.promise(60)
    box.wait(61)
    box.measure()
    (silence,) = box.silences()
    assert (silence.kind, silence.facts["silent_ms"], silence.facts["promised_ms"]) == ("silent", 61_000, 60_000)
    assert silence.facts["measured"] is True
    assert [place.seq for place in silence.places] == [1, 2]


def test_to_say_that_there_is_no_signal_keeps_the_promise(box: Box) -> None:
    """A lost probe is no silence of the agent."""
    box.promise(60)
    for _ in range(3):
        box.wait(50)
        box.ledger.append(DeviceStatus(device="MON-7", state="lost"))
    assert box.silences() == []


def test_another_device_does_not_keep_it(box: Box) -> None:
    """One monitor's readings do not hide that another's are missing; for the author any entry will do."""
    box.promise(60)
    box.promise(60, device=None)
    for _ in range(3):
        box.wait(50)
        box.measure("MON-8")
    (silence,) = box.silences(box.wall)
    assert silence.facts["device"] == "MON-7"


def test_a_wall_clock_that_steps_neither_makes_nor_hides_a_silence(box: Box) -> None:
    """Within one boot the monotonic clock decides: forwards ten years, back to 1970."""
    box.promise(60)
    for wall in (NOON + 315_360_000_000, 0, NOON):
        box.wait(30)
        box.wall = wall
        box.measure()
    assert box.silences() == []
    box.monotonic += 90 * SECOND
    box.wall = NOON - 5
    box.measure()
    assert [each.facts["silent_ms"] for each in box.silences()] == [90_000]


def test_over_a_restart_only_claims_are_left_and_it_says_so(box: Box) -> None:
    """Monotonic clocks of two boots cannot be compared."""
    box.promise(60)
    box.wait(600)
    box.restart()
    box.measure()
    (silence,) = box.silences()
    assert (silence.facts["silent_ms"], silence.facts["measured"]) == (600_000, False)
    assert "by the clocks' claims" in silence.sentence


def test_a_clock_that_was_never_set_makes_no_silence(box: Box) -> None:
    """A box without a battery for its clock, off the network until its next start: 56 years did not pass."""
    box.wall = 60 * SECOND
    box.promise(60)
    assert box.silences(NOON) == []
    box.wall = NOON
    box.restart()
    box.measure()
    assert box.silences(NOON) == []


def test_a_withdrawn_promise_binds_no_more(box: Box) -> None:
    """The entry that withdraws it must itself come in time."""
    box.promise(60)
    box.wait(60)
    box.promise(None)
    box.wait(3600)
    box.measure()
    assert box.silences(box.wall) == []
    box.promise(60)
    box.wait(61)
    box.promise(None)
    assert len(box.silences()) == 1


def test_a_new_promise_takes_the_old_ones_place(box: Box) -> None:
    """From its own position on."""
    box.promise(60)
    box.promise(600)
    box.wait(599)
    box.measure()
    assert box.silences() == []


def test_what_is_silent_still_is_found_by_the_readers_clock_only(box: Box) -> None:
    """Without one, a feed's end says nothing: more may be on its way."""
    box.promise(60)
    assert box.silences() == []
    assert box.silences(box.wall + 60 * SECOND) == []
    (silence,) = box.silences(box.wall + 61 * SECOND)
    assert silence.facts["to"] is None
    assert "silent still" in silence.sentence


def test_an_old_reading_that_is_logged_late_does_not_fill_the_gap(box: Box) -> None:
    """What a block says about an earlier time counts when the block was made."""
    box.promise(60)
    box.wait(300)
    box.ledger.append(Reading(device="MON-7", samples=[("8867-4", "72", "/min")], time=NOON + 30 * SECOND))
    assert [each.facts["silent_ms"] for each in box.silences()] == [300_000]


def test_a_revoked_box_is_not_silent_still(box: Box, tmp_path: Path) -> None:
    """It may not speak: whatever it says since the cut does not count. What it left out before stays found."""
    with closing(join(box.ledger, tmp_path, "bed-7")) as bed:
        assert bed.me is not None
        bed.append(Cadence(interval=60_000, time=NOON))
        sync(bed, box.ledger)
        later = box.wall + 10**12
        assert [each.kind for each in box.silences(later)] == ["silent"]
        box.ledger.revoke(bed.me, reason="replaced")
        assert box.silences(later) == []


def test_the_authors_promise_comes_first_whatever_names_hash_to(box: Box) -> None:
    """Findings come in one order in every process, although Python hashes texts differently in each."""
    names = [f"MON-{number}" for number in range(16)]
    box.promise(60, device=None)
    for name in names:
        box.promise(60, device=name)
        box.wait(61)
        box.measure(name)
    found = [each.facts["device"] for each in box.silences()]
    assert found == [each for name in names for each in (None, name)]
