"""What the folds are given is what the replica holds: every entry that counts, once, with its place and its block."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import closing

import pytest

from medledger import Association, Cadence, DeviceStatus, Ledger, Reading
from medledger.findings import FOLDS, Context, Fold, find, observe
from medledger.findings import reading as pages
from medledger.findings.finding import Observed
from medledger.merkle import leaf_hash
from medledger.records import Prescription
from medledger.writer import Writer
from worlds import found, join, sync

NOON = 1_795_348_800_000
EVERYTHING = frozenset(("reading", "device.status", "association", "cadence", "prescription"))


def whole(types: frozenset[str] | None = EVERYTHING) -> Fold:
    """A fold that looks at all of these types."""
    return Fold("all", ("reading",), types, lambda *_: ())


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Two feeds: blocks of one entry and of many, of several types, with times in no order, and void entries."""
    directory = tmp_path_factory.mktemp("reading")
    with closing(found(directory)) as ledger:
        ledger.append(Cadence(interval=60_000, time=NOON))
        ledger.append(*(Reading(device=f"M-{at % 3}", time=NOON - at) for at in range(40)))
        for at in range(12):
            ledger.append(
                Reading(device="M-1", subject=bytes(16), time=NOON + at), DeviceStatus(device="M", state="on")
            )
        with closing(join(ledger, directory, "box")) as box, pytest.MonkeyPatch.context() as patch:
            box.append(Association(device="M-1", action="begin", subject=bytes(16)), Reading(device="M-1"))
            patch.setattr(Writer, "_check_rights", lambda *_: None)
            box.append(Reading(device="M-9"), Prescription(prescription=bytes(16), quantity=1, unit="mg", atc="N02A"))
            sync(box, ledger)
        yield ledger


def told(each: Observed) -> tuple[object, ...]:
    """All that an entry is, but its block's header."""
    return (each.place.feed, each.place.seq, each.place.index, each.place.block_id, each.type, each.time, each.leaf)


@pytest.mark.parametrize("page", [1, 2, 7, 512])
def test_every_entry_that_counts_is_observed_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Whatever the size of a page, also where it ends within a block; what is void is not."""
    monkeypatch.setattr(pages, "PAGE_ENTRIES", page)
    seen = list(observe(ledger, whole()))
    logged = [entry for entry in ledger.entries() if entry.type in EVERYTHING]
    assert len(logged) == 68
    assert {told(each) for each in seen} == {
        (each.author, each.seq, each.index, each.block_id, each.type, each.time, leaf_hash(each.entry.raw))
        for each in logged
    }
    assert len(seen) == len(logged)
    by_place = {(each.author, each.seq, each.index): each for each in logged}
    for each in seen:
        entry = by_place[each.place.feed, each.place.seq, each.place.index]
        block = ledger.block(each.place.feed, each.place.seq)
        assert block is not None
        assert (each.subject, each.content) == (entry.subject, entry.content)
        assert (each.made, each.clock, each.epoch) == (block.header.time, block.header.clock, block.header.epoch)


def test_without_types_all_of_the_feeds_that_have_one(ledger: Ledger) -> None:
    """The founder promised something: its governance is observed, too, and nothing of the box."""
    fold = Fold("all", ("cadence",), None, lambda *_: ())
    seen = list(observe(ledger, fold))
    assert {each.place.feed for each in seen} == {ledger.me}
    assert len(seen) == len(list(ledger.entries(author=ledger.me)))


def test_nothing_is_read_without_what_a_fold_needs(ledger: Ledger) -> None:
    """An entry that is void is none."""
    assert list(observe(ledger, Fold("none", ("prescription",), None, lambda *_: ()))) == []


@pytest.mark.parametrize("fold", FOLDS, ids=lambda fold: fold.name)
def test_what_a_fold_does_not_keep_changes_nothing(ledger: Ledger, fold: Fold) -> None:
    """Its findings are those of whole contents."""
    entries = list(observe(ledger, Fold(fold.name, fold.needs, fold.types, fold.find)))
    kept = list(observe(ledger, fold))
    context = Context(ledger.id, ledger.membership, NOON * 2)
    assert list(fold.find(kept, context)) == list(fold.find(entries, context))


def test_the_collector_works_again_afterwards(ledger: Ledger) -> None:
    """It rests while entries are read, whoever breaks off."""
    assert gc.isenabled()
    next(find(ledger, now=NOON * 2))
    assert gc.isenabled()
