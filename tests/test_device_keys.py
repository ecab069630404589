"""What an agent asks of each batch: whether its key is enrolled, and up to which counter it counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devices import Instrument
from medledger import DeviceRetire, Ledger
from medledger.device_keys import is_enrolled, last_counter
from medledger.limits import MAX_COUNTER
from medledger.writer import Writer
from worlds import found, join, sync

ONE, OTHER = Instrument("PO-1"), Instrument("PO-2", seed=2)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A founder's."""
    with closing(found(tmp_path)) as made:
        yield made


def test_a_key_that_nobody_named(ledger: Ledger) -> None:
    """It is not enrolled, and has no end."""
    assert not is_enrolled(ledger, ONE.key)
    assert last_counter(ledger, ONE.key) == MAX_COUNTER


def test_each_key_for_itself(ledger: Ledger) -> None:
    """What is said of one is nothing of another."""
    ledger.append(ONE.enrolment(), DeviceRetire(key=OTHER.key, last=7))
    assert (is_enrolled(ledger, ONE.key), is_enrolled(ledger, OTHER.key)) == (True, False)
    assert (last_counter(ledger, ONE.key), last_counter(ledger, OTHER.key)) == (MAX_COUNTER, 7)


def test_of_several_ends_the_first_counts(ledger: Ledger) -> None:
    """Whatever their order; none of it needs the ledger opened again."""
    for last, expected in ((7, 7), (9, 7), (0, 0), (MAX_COUNTER, 0)):
        ledger.append(DeviceRetire(key=ONE.key, last=last))
        assert last_counter(ledger, ONE.key) == expected


def test_the_word_of_who_may_not_say_so_counts_for_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bedside box enrols and retires nothing, whatever its software writes."""
    monkeypatch.setattr(Writer, "_check_rights", lambda *_: None)
    with closing(join(ledger, tmp_path, "box")) as box:
        box.append(DeviceRetire(key=ONE.key, last=1), ONE.enrolment())
        sync(box, ledger)
    assert len(list(ledger.entries("device.retire", void=True))) == 1
    assert last_counter(ledger, ONE.key) == MAX_COUNTER
    assert not is_enrolled(ledger, ONE.key)
