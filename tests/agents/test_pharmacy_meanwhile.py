"""What happens at the same time as a request: what comes in while it is logged, the clock that passes a boundary or is
set, and a till that asks again while a witness signs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from counter_world import GTIN, NOON, Desk, scan, sign
from medledger import Ledger
from medledger.records import Dispense, Recall
from medledger_agents.recorder import Recorder
from worlds import join, sync


def just_before_it_is_logged(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Once, when a request was judged, and is about to be written."""
    real, left = Recorder.record, [happens]

    def record(self: Recorder, batch: Any) -> Any:
        if left:
            left.pop()()
        return real(self, batch)

    monkeypatch.setattr(Recorder, "record", record)


# --- while it is logged -----------------------------------------------------------------------------------------------


def test_a_recall_that_comes_in_while_the_pack_is_supplied(
    founder: Ledger, counter: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is supplied, for nobody knew; and this very reply says that the pack is recalled, and stays here. The next
    one is refused, and the request sent again is answered as before.
    """

    def recall() -> None:
        founder.append(Recall(product=GTIN, lots=["L1"], reference="R-7"))
        sync(founder, counter.ledger)

    just_before_it_is_logged(monkeypatch, recall)
    reply = counter.ask(scan=scan(), id="1")
    assert (reply["result"], reply["conflicts"]) == ("dispensed", 1)
    (warning,) = reply["warnings"]
    assert warning.startswith("meanwhile it has come in that ")
    assert "which is recalled (R-7)" in warning
    assert counter.ask(scan=scan(serial="S2"))["code"] == "recalled"
    again = counter.ask(scan=scan(), id="1")
    assert (again["result"], again["repeated"], again["entry"]) == ("dispensed", True, reply["entry"])
    assert counter.ask("undo", scan=scan())["result"] == "undone"
    assert counter.ask("conflicts")["conflicts"] == []


def test_another_pharmacy_s_supply_that_comes_in_meanwhile(
    founder: Ledger, counter: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same serial number: this reply says so. What comes in about other packs is not said here."""
    with join(founder, tmp_path, "south", "pharmacy") as south:
        sync(founder, counter.ledger)

        def supply() -> None:
            for serial in ("S1", "S9"):
                south.append(Dispense(product=GTIN, quantity=1, unit="{pack}", serial=serial))
            sync(south, counter.ledger)

        assert counter.ask(scan=scan(serial="S9"))["result"] == "dispensed"
        just_before_it_is_logged(monkeypatch, supply)
        reply = counter.ask(scan=scan())
        assert (reply["result"], reply["conflicts"]) == ("dispensed", 2)
        (warning,) = reply["warnings"]
        assert "serial S1 of" in warning


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-12, 0, 2, 14])
def test_the_last_day_is_this_place_s(counter: Desk, hours: int) -> None:
    """To its last second by the calendar here, whatever day it is in Greenwich; day 00 is the month's last. A clock
    that is set back over that second judges by what it shows then.
    """
    zone = timezone(timedelta(hours=hours))
    over = datetime(2028, 3, 1, tzinfo=zone)
    pack = {"scan": scan(expiry="280200")}
    for now, code in (
        (over - timedelta(seconds=1), None),
        (over, "expired"),
        (over - timedelta(seconds=1), None),
        (over + timedelta(days=3_650), "expired"),
    ):
        counter.now = now
        reply = counter.ask("verify", **pack)
        assert reply.get("code") == code
        if code is None:
            assert reply["expiry"] == "2028-02-29"
        else:
            assert reply["reason"] == "the pack expired on 2028-02-29"


def test_a_recall_counts_whatever_the_clocks_say(founder: Ledger, counter: Desk) -> None:
    """It was written by a clock that is ten years ahead, and this one goes back: it stops the pack all the same."""
    ahead = int((NOON + timedelta(days=3_650)).timestamp() * 1000)
    founder.append(Recall(product=GTIN, time=ahead))
    sync(founder, counter.ledger)
    for days in (0, -90, 30):
        counter.now = NOON + timedelta(days=days)
        assert counter.ask("verify", scan=scan())["code"] == "recalled"


# --- a till that asks again while a witness signs ---------------------------------------------------------------------


def test_a_till_that_asks_again_while_a_witness_signs(founder: Ledger, counter: Desk, tmp_path: Path) -> None:
    """Over a new connection: the same statement, so that what the witness signs is of use. A till that uses the id for
    something else is told so, and takes nothing from the first.
    """
    with join(founder, tmp_path, "colleague", "witness") as colleague:
        sync(founder, counter.ledger)
        assert colleague.identity is not None
        counter.ask("receive", scan=scan(), schedule="II")
        asked = counter.ask("waste", scan=scan(), id="w-1")
        counter.now += timedelta(minutes=4)
        again = counter.ask("waste", scan=scan(), id="w-1")
        assert (again["statement"], asked["minutes"], again["minutes"]) == (asked["statement"], 15, 11)
        assert counter.ask("waste", scan=scan(serial="S2"), id="w-1")["code"] == "conflict"
        done = counter.ask("witness", id="w-1", **sign(colleague.identity, asked["statement"]))
        assert (done["result"], done["serial"]) == ("wasted", "S1")
        counter.ask("receive", scan=scan(serial="S3"))
        asked = counter.ask("waste", scan=scan(serial="S3"), id="w-2")
        counter.now += timedelta(minutes=16)
        later = counter.ask("waste", scan=scan(serial="S3"), id="w-2")
        assert later["minutes"] == 15
        assert later["statement"] != asked["statement"]
        assert counter.ask("witness", id="w-2", **sign(colleague.identity, asked["statement"]))["code"] == "witness"
        assert counter.ask("witness", id="w-2", **sign(colleague.identity, later["statement"]))["result"] == "wasted"
