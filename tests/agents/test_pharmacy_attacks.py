"""What clumsy and hostile people do at a counter: nothing is supplied twice, nothing leaves that is not there, and the
ledger says no more than what happened.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from counter_world import GTIN, NOON, RX_TEXT, Desk, copy, desk, prescribe, scan, sign
from medledger import Ledger
from medledger.errors import StoreError
from medledger.findings import find
from medledger.findings.proof import MAX_PLACES
from medledger.records import Dispense, Recall
from medledger_agents.pharmacy.view import View
from worlds import join, sync

PART = {"quantity": "10", "unit": "{tablet}"}


# --- quantities and units ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["dispense", "verify", "receive", "hold", "waste"])
def test_one_serial_number_is_one_pack(counter: Desk, do: str) -> None:
    """Two packs of one number are refused, whatever is done with them; one is not, nor are two without a number."""
    reply = counter.ask(do, scan=scan(), quantity="2")
    assert (reply["result"], reply["code"]) == ("refused", "one-pack")
    assert counter.ask(do, scan=scan(), quantity="1")["result"] != "refused"
    assert counter.ask(do, scan=scan(serial=""), quantity="2")["result"] != "refused"


def test_parts_of_a_pack_are_in_one_unit(counter: Desk) -> None:
    """Ten tablets of it, and then no millilitres."""
    assert counter.ask(scan=scan(), **PART)["result"] == "dispensed"
    assert counter.ask(scan=scan(), quantity="10", unit="mL")["code"] == "unit"
    assert counter.ask(scan=scan(), **PART)["result"] == "dispensed"


def test_a_repeat_is_one_of_a_prescription(counter: Desk) -> None:
    """A number of a repeat that nobody can hold against anything is not passed over in silence."""
    assert counter.ask(scan=scan(), refill=1)["code"] == "malformed"


def test_stock_of_what_is_no_product(counter: Desk) -> None:
    """A word that was mistyped is refused, and is not a product of which nothing is there."""
    assert counter.ask("stock", product="quantity")["code"] == "malformed"
    assert counter.ask("stock", product=GTIN)["shelves"] == []


# --- packs that are not there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["ship", "lose", "waste"])
def test_what_is_with_a_patient_does_not_leave_the_stock(counter: Desk, do: str) -> None:
    """It has to come back first; a second pack with its number can be held, and then sent away."""
    assert counter.ask(scan=scan())["result"] == "dispensed"
    assert counter.ask(do, scan=scan())["code"] == "supplied-already"
    assert counter.ask("hold", scan=scan(), reason="a second one")["result"] == "held"
    assert counter.ask(do, scan=scan())["result"] != "refused"
    assert counter.ask(do, scan=scan())["code"] == "gone"


def test_what_is_in_quarantine_is_not_supplied_in_another_pack_s_stead(counter: Desk) -> None:
    """Packs without a serial number: of thirty tablets twenty are held, so ten can be supplied and no more."""
    loose = scan(serial="")
    assert counter.ask("receive", scan=loose, quantity="30", unit="{tablet}")["result"] == "received"
    assert counter.ask("hold", scan=loose, quantity="20", unit="{tablet}")["result"] == "held"
    assert counter.ask(scan=loose, quantity="11", unit="{tablet}")["code"] == "not-in-stock"
    assert counter.ask(scan=loose, **PART)["result"] == "dispensed"


def test_what_is_left_of_a_divided_pack_can_be_destroyed(counter: Desk) -> None:
    """In parts, as it was supplied."""
    assert counter.ask("receive", scan=scan(), quantity="30", unit="{tablet}")["result"] == "received"
    assert counter.ask(scan=scan(), **PART)["result"] == "dispensed"
    assert counter.ask("waste", scan=scan(), quantity="20", unit="{tablet}")["result"] == "wasted"
    assert counter.ask("waste", scan=scan(), **PART)["code"] == "not-in-stock"


# --- overrides --------------------------------------------------------------------------------------------------------


def test_only_a_warning_can_be_passed_over(founder: Ledger, tmp_path: Path) -> None:
    """The ledger has a reason where there was a warning, and the reply says which; otherwise it says that there was
    none, and the ledger has nothing.
    """
    with desk(founder, tmp_path, "north", allow_expired=True) as counter:
        words = {"override": "no other", "operator": "7"}
        expired = counter.ask(scan=scan(expiry="270101"), **words)
        assert expired["warnings"] == ["the pack expired on 2027-01-01"]
        needless = counter.ask(scan=scan(serial="S2"), **words)
        assert needless["warnings"] == ["there was no warning to pass over: the reason is not recorded"]
        reasons = [entry.content.get("override") for entry in counter.ledger.entries("dispense")]
        assert reasons == ["no other", None]


# --- prescriptions ----------------------------------------------------------------------------------------------------


def test_a_prescription_that_was_ended_meanwhile(founder: Ledger, counter: Desk) -> None:
    """Its prescriber wrote it again with a last day that is over: no more of it is supplied, and what was stays."""
    prescribe(founder, counter.ledger)
    part = {"prescription": RX_TEXT, **PART}
    assert counter.ask(scan=scan(), **part)["remaining"] == "20"
    prescribe(founder, counter.ledger, quantity=60, expires="2027-03-14")
    reply = counter.ask(scan=scan(serial="S2"), **part)
    assert (reply["code"], reply["reason"]) == (
        "prescription-expired",
        "the prescription could be supplied until 2027-03-14",
    )
    balance = counter.ask("balance", prescription=RX_TEXT)
    assert (balance["authorised"], balance["expires"]) == ("30", "2027-03-14")
    kinds = [finding.kind for finding in find(counter.ledger)]
    assert kinds == ["prescription written twice"]


def test_an_ended_prescription_that_is_supplied_all_the_same_is_found(
    founder: Ledger, counter: Desk, tmp_path: Path
) -> None:
    """By a pharmacy that was cut off: the proof is the order that ended it, and the supply."""
    with desk(founder, tmp_path, "south") as other:
        prescribe(founder, counter.ledger, other.ledger)
        other.now = NOON + timedelta(days=3)
        assert other.ask(scan=scan(), prescription=RX_TEXT, **PART)["result"] == "dispensed"
        prescribe(founder, counter.ledger, expires="2027-03-15")
        sync(counter.ledger, other.ledger)
        (finding,) = (each for each in find(other.ledger) if each.kind == "prescription expired")
        assert {place.feed for place in finding.places} == {founder.me, other.ledger.me}
        ended = founder.block(finding.places[0].feed, finding.places[0].seq)
        assert ended is not None
        assert b"2027-03-15" in ended.body_bytes


# --- repeats, and the second person -----------------------------------------------------------------------------------


def test_a_request_that_is_repeated_after_it_was_undone(counter: Desk) -> None:
    """Its reply says what was logged, and that it came back."""
    first = counter.ask(scan=scan(), id="1")
    assert counter.ask("undo", scan=scan(), id="2")["result"] == "undone"
    again = counter.ask(scan=scan(), id="1")
    assert (again["repeated"], again["entry"], again["warnings"]) == (
        True,
        first["entry"],
        ["all of it came back since"],
    )
    assert len(list(counter.ledger.entries("dispense"))) == 1


def test_a_supply_that_waits_for_its_witness_while_the_pack_is_recalled(founder: Ledger, tmp_path: Path) -> None:
    """The signature comes too late: refused, with the alert of the pack, and the till goes on."""
    with (
        join(founder, tmp_path, "colleague", "witness") as colleague,
        desk(founder, tmp_path, "north", witness_supply=True) as counter,
    ):
        prescribe(founder, counter.ledger, schedule="II")
        asked = counter.ask(scan=scan(), prescription=RX_TEXT, **PART, id="d-1")
        founder.append(Recall(product=GTIN, lots=["L1"]))
        sync(founder, counter.ledger)
        assert colleague.identity is not None
        signed = sign(colleague.identity, asked["statement"])
        reply = counter.ask("witness", id="d-1", **signed)
        assert (reply["result"], reply["code"], reply["alert"]) == ("refused", "recalled", True)
        assert counter.steps() == [("inspecting", "recalled")]
        assert list(counter.ledger.entries("dispense")) == []


def fail_the_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up right after something was logged, when the counter looks at the ledger again."""
    real, looks = View.catch_up, []

    def full(self: View, *args: Any, **named: Any) -> object:
        looks.append(self)
        if len(looks) == 2:
            raise StoreError("the disk is full")
        return real(self, *args, **named)

    monkeypatch.setattr(View, "catch_up", full)


def test_what_is_logged_is_said_to_be_logged(counter: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it cannot be read again, because the disk filled up right after it."""
    fail_the_second_look(monkeypatch)
    reply = counter.ask(scan=scan(), id="1")
    assert (reply["result"], reply["repeated"]) == ("dispensed", False)
    again = counter.ask(scan=scan(), id="1")
    assert (again["result"], again["repeated"]) == ("dispensed", True)
    assert len(list(counter.ledger.entries("dispense"))) == 1


def test_an_alert_is_answered(counter: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the ledger cannot be read again after it; then it stands there once all the same."""
    fail_the_second_look(monkeypatch)
    for _ in range(2):
        reply = counter.ask(scan=scan(expiry="260331"))
        assert (reply["result"], reply["code"], reply["alert"]) == ("refused", "expired", True)
    assert counter.steps() == [("inspecting", "expired")]


# --- copies -----------------------------------------------------------------------------------------------------------


def test_an_entry_that_another_pharmacy_copied(founder: Ledger, counter: Desk, tmp_path: Path) -> None:
    """Its bytes in another feed take nothing away from who wrote it: its stock, its repeats and its right to undo."""
    with desk(founder, tmp_path, "south") as other:
        counter.ask("receive", scan=scan(), quantity="30", unit="{tablet}")
        done = counter.ask(scan=scan(), **PART, id="1")
        sync(counter.ledger, other.ledger)
        assert counter.ledger.me is not None
        for block in list(other.ledger.blocks(counter.ledger.me, 0)):
            for raw in block.body:
                assert isinstance(raw, bytes)
                copy(other.ledger, raw)
        other.counter.look(100)
        sync(other.ledger, counter.ledger)
        again = counter.ask(scan=scan(), **PART, id="1")
        assert (again["entry"], again["repeated"]) == (done["entry"], True)
        (shelf,) = counter.ask("stock", product=GTIN)["shelves"]
        assert (shelf["received"], shelf["supplied"]) == ("30", "10")
        assert counter.ask("undo", supply=done["entry"])["result"] == "undone"
        assert counter.ask("stock", product=GTIN)["shelves"][0]["available"] == "30"


def test_a_conflict_that_somebody_writes_very_much_about(founder: Ledger, tmp_path: Path) -> None:
    """A pack that was supplied here, and in very many parts by another, whose feed comes first: this counter is told,
    and its own supply is in the proof.
    """
    with desk(founder, tmp_path, "north") as one, desk(founder, tmp_path, "south") as two:
        other, mine = sorted((one, two), key=lambda each: each.ledger.me or b"")
        part = Dispense(product=GTIN, quantity=1, unit="{tablet}", serial="S1")
        other.ledger.append(*[part] * (MAX_PLACES + 1))
        assert mine.ask(scan=scan())["result"] == "dispensed"
        sync(other.ledger, mine.ledger)
        (conflict,) = mine.ask("conflicts")["conflicts"]
        assert conflict["kind"] == "serial supplied twice"
        assert mine.ledger.me is not None
        assert any(shown.startswith(mine.ledger.me.hex()[:8]) for shown in conflict["proof"])
