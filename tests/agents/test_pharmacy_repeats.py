"""Requests and alerts that come again: what was said to be done is on the ledger, once, whatever lay between."""

from __future__ import annotations

import pytest

from counter_world import GTIN, Desk, scan
from medledger.errors import StoreError


def test_a_request_that_was_refused_with_an_alert_is_carried_out_later(
    counter: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept while nothing could be logged, then refused because the pack was out: the alert is not taken for it."""

    def full(*_records: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(counter.ledger, "append", full)
        assert counter.ask(scan=scan(), id="1")["code"] == "not-logged"
    assert counter.ask(scan=scan(), id="2")["result"] == "dispensed"
    assert counter.ask(scan=scan(), id="1")["code"] == "supplied-already"
    assert counter.ask("undo", scan=scan(), id="3")["result"] == "undone"
    done = counter.ask(scan=scan(), id="1")
    assert (done["result"], done["repeated"]) == ("dispensed", False)
    supplies = [entry.content["serial"] for entry in counter.ledger.entries("dispense")]
    assert supplies == ["S1", "S1"]
    again = counter.ask(scan=scan(), id="1")
    assert (again["entry"], again["repeated"]) == (done["entry"], True)


def test_the_same_scan_raises_each_alert(counter: Desk) -> None:
    """A line that was refused for one reason and is refused for another stands on the ledger twice, and no more."""
    line = scan().encode()
    assert counter.counter.handle(line)["result"] == "dispensed"
    for _ in range(2):
        reply = counter.counter.handle(line)
        assert (reply["code"], reply["alert"]) == ("supplied-already", True)
    assert counter.ask("undo", scan=scan())["result"] == "undone"
    assert counter.ask("recall", product=GTIN)["result"] == "recalled"
    for _ in range(2):
        reply = counter.counter.handle(line)
        assert (reply["code"], reply["alert"]) == ("recalled", True)
    assert counter.steps() == [("inspecting", "dispensed"), ("inspecting", "recalled")]
