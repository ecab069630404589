"""All folds together, over whatever members may write: the same set of entries, in any order of arrival, gives the same
findings, each with its proof; and nothing that conforms to a schema makes a fold fail.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from devices import Instrument
from medledger import Association, Cadence, DeviceEnrol, DeviceRetire, DeviceStatus, Reading
from medledger.findings import FOLDS, Context, Finding
from medledger.findings.finding import Observed
from medledger.header import Clock
from medledger.limits import MAX_COUNTER, MAX_INT, MIN_INT
from medledger.records import Dispense, DispenseReturn, Prescription, Recall, Stock
from medledger.registry import Record
from medledger.supplies import DISPOSITIONS, STEPS
from supply_entries import GTIN, NOON, Feeds, context

AUTHORS: Final = ("north", "south", "box")
DEVICES: Final = ("PO-1", "PO-2")
SUBJECTS: Final = (None, bytes(16), bytes(range(16)))
INSTRUMENTS: Final = tuple(Instrument(name, seed) for seed, name in enumerate(DEVICES, 1))
COUNTERS: Final = (1, 2, 3, 7, MAX_COUNTER)
BATCHES: Final = tuple(
    each.batch(rate, counter=counter)
    for each in INSTRUMENTS
    for rate, counter in ((72, 1), (99, 1), (72, 2), (72, 7), (72, MAX_COUNTER))
)

times = st.sampled_from([*(NOON + minute * 60_000 for minute in range(6)), 0, MIN_INT, MAX_INT])
devices = st.sampled_from(DEVICES)
subjects = st.sampled_from(SUBJECTS)
amounts: Any = st.sampled_from([1, "0.5", 30, (MAX_INT, 0), (1, -9)])
units = st.sampled_from(["{pack}", "{tablet}"])
keys = st.sampled_from([each.key for each in INSTRUMENTS])
few: Any = st.sampled_from


def fields(make: Any, **given_fields: Any) -> st.SearchStrategy[Any]:
    """A record of these fields; those that are None are left out."""
    found: st.SearchStrategy[Any] = st.builds(make, **given_fields)
    return found


def maybe(strategy: Any) -> st.SearchStrategy[Any]:
    """A field that may be left out."""
    return st.none() | strategy


records: st.SearchStrategy[Record] = st.one_of(
    fields(
        Reading,
        device=devices,
        subject=subjects,
        time=times,
        device_time=maybe(times),
        device_sync=maybe(few([532225, 532224])),
        quarantine=maybe(few(["unassociated"])),
    ),
    st.builds(
        lambda batch, time, subject: type(batch).from_content(batch.to_content(), time=time, subject=subject),
        few(BATCHES),
        times,
        subjects,
    ),
    fields(
        Association,
        device=devices,
        action=few(["begin", "end"]),
        subject=subjects,
        at=maybe(times),
        time=times,
        reason=maybe(few(["manual", "merge"])),
    ),
    fields(DeviceEnrol, device=devices, key=keys, first=maybe(few(COUNTERS)), time=times),
    fields(DeviceRetire, key=keys, last=few([0, *COUNTERS]), time=times),
    fields(Cadence, device=maybe(devices), interval=maybe(few([1000, 2**40])), time=times),
    fields(DeviceStatus, device=devices, state=few(["on"]), time=times, key=maybe(keys), counter=maybe(few(COUNTERS))),
    fields(
        Prescription,
        prescription=few([bytes(16), bytes(range(16))]),
        quantity=amounts,
        unit=units,
        product=few([GTIN]),
        repeats=maybe(few([1, 99])),
        expires=maybe(few(["0001-01-01", "2027-01-14", "9999-12-31"])),
        schedule=maybe(few(["II"])),
        time=times,
    ),
    fields(
        Dispense,
        product=few([GTIN, "09520123456016"]),
        quantity=few([0, 1, 30, (MAX_INT, 0)]),
        unit=units,
        serial=maybe(few(["S", "T"])),
        prescription=maybe(few([bytes(16), bytes(range(16)), "on paper"])),
        refill=maybe(few([1, 99])),
        expiry=maybe(few(["0001-01-01", "9999-12-31"])),
        lot=maybe(few(["L"])),
        status=few(["completed", "declined"]),
        witness=maybe(few([(bytes(32), bytes(64))])),
        time=times,
    ),
    fields(
        Stock,
        step=few(list(STEPS)),
        product=few([GTIN]),
        quantity=amounts,
        unit=units,
        serial=maybe(few(["S"])),
        disposition=maybe(few(list(DISPOSITIONS))),
        schedule=maybe(few(["II"])),
        witness=maybe(few([(bytes(32), bytes(64))])),
        time=times,
    ),
    fields(Recall, product=few([GTIN]), lots=maybe(few([["L"]])), serials=maybe(few([["S"], ["T"]])), time=times),
)


@st.composite
def ledgers(draw: st.DrawFn) -> list[Observed]:
    """What some authors wrote, with what came back of some supplies, and what some copied of others."""
    feeds = Feeds()
    found: list[Observed] = []
    for _ in range(draw(st.integers(0, 24))):
        author = draw(few(AUTHORS))
        supplies = [each for each in found if each.type == "dispense"]
        match draw(st.integers(0, 9)):
            case 0 if supplies:
                action = draw(few(["undo", "return"]))
                issue = draw(few(supplies)).leaf
                entry = feeds.add(author, DispenseReturn(issue=issue, quantity=draw(amounts), action=action))
            case 1 if found:
                entry = feeds.copy(author, draw(few(found)))
            case _:
                entry = feeds.add(author, draw(records))
        clock = Clock(draw(few([0, 5_000, 2**40])), draw(few([bytes(8), bytes(range(8))])), 0)
        found.append(replace(entry, made=draw(times), clock=clock))
    return found


def found_in(entries: list[Observed], judged: Context) -> list[Finding]:
    """What all folds find."""
    return [
        finding
        for fold in FOLDS
        for finding in fold.find([each for each in entries if fold.types is None or each.type in fold.types], judged)
    ]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_order_of_arrival_changes_nothing(data: st.DataObject) -> None:
    """Any order; each finding has its places, of entries that are there, and one line."""
    entries = data.draw(ledgers())
    judged = context(data.draw(few([None, NOON * 2])))
    expected = found_in(entries, judged)
    again = data.draw(st.permutations(entries))
    assert found_in(again, judged) == expected
    places = {entry.place for entry in entries}
    for finding in expected:
        assert finding.places
        assert set(finding.places) <= places
        assert finding.sentence.isprintable()


@settings(max_examples=100, deadline=None)
@given(ledgers())
def test_what_a_fold_does_not_keep_changes_nothing(entries: list[Observed]) -> None:
    """A fold finds the same in what it says that it looks at as in whole contents."""
    for fold in FOLDS:
        if fold.keep is not None:
            whole = [each for each in entries if fold.types is None or each.type in fold.types]
            kept = [replace(each, content=fold.keep(each.type, each.content)) for each in whole]
            assert list(fold.find(kept, context(NOON * 2))) == list(fold.find(whole, context(NOON * 2)))
