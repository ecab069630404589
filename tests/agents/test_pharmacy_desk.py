"""What a pharmacist does in a day, at the counter: each operation, each refusal, and what is on the ledger after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from counter_world import GTIN, NOON, RX_TEXT, Desk, desk, prescribe, scan
from medledger import Ledger
from medledger.findings import find
from medledger.records import Recall
from worlds import sync

PART = {"quantity": "10", "unit": "{tablet}"}


# --- prescriptions --------------------------------------------------------------------------------------------------


def test_a_prescription_is_supplied_in_parts_until_nothing_is_left(founder: Ledger, counter: Desk) -> None:
    """30 tablets and one repeat: each reply says what remains, repeats follow of themselves, and then it is refused."""
    prescribe(founder, counter.ledger, repeats=1)
    replies = [
        counter.ask(scan=scan(serial=f"S{n}"), prescription=RX_TEXT, quantity="15", unit="{tablet}") for n in range(4)
    ]
    assert [(reply["refill"], reply["remaining"]) for reply in replies] == [(0, "45"), (0, "30"), (1, "15"), (1, "0")]
    more = counter.ask(scan=scan(serial="S9"), prescription=RX_TEXT, quantity="1", unit="{tablet}")
    assert (more["result"], more["code"]) == ("refused", "nothing-left")
    balance = counter.ask("balance", prescription=RX_TEXT)
    assert {name: balance[name] for name in ("authorised", "dispensed", "returned", "remaining", "next")} == {
        "authorised": "60",
        "dispensed": "60",
        "returned": "0",
        "remaining": "0",
        "next": None,
    }
    assert [entry.content.get("refill") for entry in counter.ledger.entries("dispense")] == [None, None, 1, 1]


@pytest.mark.parametrize(
    ("order", "request_fields", "code"),
    [
        ({}, {"quantity": "31"}, "too-much"),
        ({}, {"unit": "{pack}", "quantity": "1"}, "unit"),
        ({"product": "07032069804988"}, {}, "other-product"),
        ({"expires": "2027-03-14"}, {}, "prescription-expired"),
        ({"repeats": 1}, {"refill": 2}, "nothing-left"),
        ({}, {"prescription": "rx:12"}, "malformed"),
        ({}, {"prescription": "rx:" + "ff" * 16}, "unknown-prescription"),
    ],
    ids=["too much", "unit", "product", "expired", "no such repeat", "unreadable", "unknown"],
)
def test_what_a_prescription_does_not_cover_is_refused(
    founder: Ledger, counter: Desk, order: dict[str, object], request_fields: dict[str, object], code: str
) -> None:
    """With its code; nothing is logged."""
    prescribe(founder, counter.ledger, **order)
    fields = {"prescription": RX_TEXT, "quantity": "10", "unit": "{tablet}", **request_fields}
    reply = counter.ask(scan=scan(), **fields)
    assert (reply["result"], reply["code"]) == ("refused", code)
    assert list(counter.ledger.entries("dispense")) == []


def test_blanks_around_a_number_change_nothing(founder: Ledger, counter: Desk) -> None:
    """A prescription that is typed with a blank is the same one, shared or on paper, and so is a patient."""
    prescribe(founder, counter.ledger)
    whole = {"quantity": "30", "unit": "{tablet}"}
    assert counter.ask(scan=scan(serial="S1"), prescription=f" {RX_TEXT}", subject="4711 ", **whole)["remaining"] == "0"
    assert counter.ask(scan=scan(serial="S2"), prescription=f"{RX_TEXT}\t", **whole)["code"] == "nothing-left"
    for serial, number in (("S3", "17"), ("S4", " 17")):
        done = counter.ask(scan=scan(serial=serial), prescription=number, subject=" 4711")
        assert done["result"] == "dispensed"
    supplies = list(counter.ledger.entries("dispense"))
    assert len({entry.subject for entry in supplies}) == 1
    assert len({entry.content["prescription"] for entry in supplies}) == 2


def test_another_product_and_an_unknown_prescription_can_be_decided(founder: Ledger, counter: Desk) -> None:
    """With a reason and who decides; both are on the ledger, and not who it was."""
    prescribe(founder, counter.ledger, product="07032069804988")
    reply = counter.ask(
        scan=scan(), prescription=RX_TEXT, **PART, override="same substance, agreed by telephone", operator="staff-17"
    )
    assert reply["result"] == "dispensed"
    unknown = counter.ask(
        scan=scan(serial="S2"), prescription="rx:" + "ff" * 16, override="seen on paper", operator="staff-17"
    )
    assert unknown["warnings"] == ["the prescription is not known here: nothing was held against it"]
    first, second = counter.ledger.entries("dispense")
    assert len(first.content["operator"]) == 16
    assert first.content["operator"] == second.content["operator"]
    assert b"staff-17" not in first.entry.raw
    nobody = counter.ask(scan=scan(serial="S3"), prescription="rx:" + "fe" * 16, override="seen on paper")
    assert nobody["code"] == "operator"


def test_a_return_credits_the_prescription_and_holds_the_goods(founder: Ledger, counter: Desk) -> None:
    """A part of a supply comes back: the patient may have as much again, and what came back is in quarantine."""
    prescribe(founder, counter.ledger)
    counter.ask("receive", scan=scan(), quantity="100", unit="{tablet}")
    supplied = counter.ask(scan=scan(), prescription=RX_TEXT, quantity="30", unit="{tablet}")
    back = counter.ask("return", supply=supplied["entry"], quantity="12.5", reason="too many")
    assert (back["result"], back["quantity"]) == ("returned", "12.5")
    assert counter.ask("balance", prescription=RX_TEXT)["remaining"] == "12.5"
    (shelf,) = counter.ask("stock", product=GTIN)["shelves"]
    assert (shelf["available"], shelf["held"], shelf["on_hand"]) == ("70", "12.5", "82.5")
    assert counter.ask("return", supply=supplied["entry"], quantity="18")["code"] == "too-much"
    assert counter.ask("return", supply=supplied["entry"])["quantity"] == "17.5"
    assert counter.ask("return", supply=supplied["entry"])["code"] == "returned-already"


def test_a_supply_is_undone_within_ten_days(counter: Desk) -> None:
    """By its pack or by its name; the pack can be supplied again. Later it is a return."""
    first = counter.ask(scan=scan())
    assert counter.ask("undo", scan=scan(), reason="wrong patient")["supply"] == first["entry"]
    assert counter.ask(scan=scan())["result"] == "dispensed"
    counter.now = NOON + timedelta(days=10, minutes=1)
    assert counter.ask("undo", scan=scan())["code"] == "too-late"
    assert counter.ask("return", scan=scan())["result"] == "returned"
    assert [entry.content["action"] for entry in counter.ledger.entries("dispense.return")] == ["undo", "return"]


def test_a_supply_is_undone_after_the_clock_was_set_back(counter: Desk) -> None:
    """By a minute, as when it is synchronised: the supply was of this day all the same."""
    assert counter.ask(scan=scan())["result"] == "dispensed"
    counter.now = NOON - timedelta(minutes=1)
    assert counter.ask("undo", scan=scan())["result"] == "undone"


def test_verify_says_what_dispense_would_say_and_supplies_nothing(founder: Ledger, counter: Desk) -> None:
    """Before the pack is handed over, as often as one likes."""
    prescribe(founder, counter.ledger)
    for _ in range(3):
        reply = counter.ask("verify", scan=scan(), prescription=RX_TEXT, **PART)
        assert (reply["result"], reply["remaining"]) == ("verified", "20")
    assert list(counter.ledger.entries("dispense")) == []


# --- packs ----------------------------------------------------------------------------------------------------------


def test_a_serial_number_is_supplied_once(founder: Ledger, counter: Desk, tmp_path: Path) -> None:
    """Here, and where the other pharmacy's block has arrived; the alert stands on the ledger, once."""
    assert counter.ask(scan=scan())["result"] == "dispensed"
    assert counter.ask(scan=scan())["code"] == "supplied-already"
    again = counter.ask(scan=scan())
    assert (again["code"], again["alert"]) == ("supplied-already", True)
    assert counter.steps() == [("inspecting", "dispensed")]
    with desk(founder, tmp_path, "south") as other:
        sync(counter.ledger, other.ledger)
        reply = other.ask(scan=scan())
        assert (reply["code"], reply["alert"]) == ("supplied-already", True)
        assert "by another pharmacy" in reply["reason"]


def test_a_pack_is_divided_by_one_pharmacy(counter: Desk) -> None:
    """Parts of one serial number for two patients; a whole pack of it is refused then."""
    assert counter.ask(scan=scan(), **PART)["result"] == "dispensed"
    assert counter.ask(scan=scan(), **PART)["result"] == "dispensed"
    assert counter.ask(scan=scan())["code"] == "supplied-already"
    assert [finding.kind for finding in find(counter.ledger)] == ["pack alert"]


def test_expired_and_recalled_packs_are_not_supplied_and_can_be_moved(founder: Ledger, counter: Desk) -> None:
    """Refused, with an alert on the ledger; held, sent back, lost and wasted all the same."""
    founder.append(Recall(product=GTIN, lots=["BAD"], reference="D-1", reason="glass"))
    sync(founder, counter.ledger)
    expired, recalled = scan(expiry="270131", serial="S1"), scan(lot="BAD", serial="S2")
    assert counter.ask(scan=expired)["code"] == "expired"
    reply = counter.ask(scan=recalled, override="no other", operator="7")
    assert (reply["code"], reply["reason"]) == ("recalled", "the pack is recalled (D-1: glass)")
    assert counter.steps() == [("inspecting", "expired"), ("inspecting", "recalled")]
    for do, what, result in (
        ("hold", expired, "held"),
        ("waste", expired, "wasted"),
        ("ship", recalled, "shipped"),
        ("lose", scan(lot="BAD", serial="S3"), "lost"),
    ):
        assert counter.ask(do, scan=what)["result"] == result
    assert counter.ask(scan=scan(serial="S4"))["result"] == "dispensed"
    kinds = [finding.kind for finding in find(counter.ledger)]
    assert kinds == ["pack alert", "pack alert"]


def test_an_override_of_a_recall_is_found_with_its_reason(founder: Ledger, tmp_path: Path) -> None:
    """Where the pharmacy allows it; the finding names the reason, and nothing passes without one."""
    founder.append(Recall(product=GTIN, time=int(NOON.timestamp() * 1000) - 1))
    with desk(founder, tmp_path, "north", allow_recalled=True) as counter:
        sync(founder, counter.ledger)
        assert counter.ask(scan=scan())["code"] == "recalled"
        reply = counter.ask(scan=scan(), override="patient's only supply", operator="7")
        assert reply["result"] == "dispensed"
        (finding,) = (each for each in find(counter.ledger) if each.kind == "recalled supplied")
        assert 'with the reason "patient\'s only supply"' in finding.sentence
        assert finding.facts["before"] is False
        assert {place.feed for place in finding.places} == {founder.me, counter.ledger.me}


def test_a_pack_in_quarantine_is_released_before_it_is_supplied(counter: Desk) -> None:
    """And one that left the stock cannot be supplied at all."""
    counter.ask("receive", scan=scan())
    counter.ask("hold", scan=scan(), reason="dented", disposition="damaged")
    assert counter.ask(scan=scan())["code"] in ("held", "not-in-stock")
    counter.ask("release", scan=scan())
    assert counter.ask("release", scan=scan())["code"] == "not-held"
    counter.ask("waste", scan=scan())
    counter.ask("receive", scan=scan(serial="S2"))
    assert counter.ask(scan=scan())["code"] == "gone"
    assert counter.ask(scan=scan(serial="S2"))["result"] == "dispensed"


# --- stock ----------------------------------------------------------------------------------------------------------


def test_stock_is_counted(counter: Desk) -> None:
    """Received, supplied, wasted, lost: what is on hand follows, and no more can leave than is there."""
    for serial in ("S1", "S2", "S3", "S4"):
        assert counter.ask("receive", scan=scan(serial=serial))["result"] == "received"
    assert counter.ask("receive", scan=scan(serial="S1"))["code"] == "received-already"
    counter.ask(scan=scan(serial="S1"))
    counter.ask("waste", scan=scan(serial="S2"))
    counter.ask("lose", scan=scan(serial="S3"), disposition="stolen")
    stock = counter.ask("stock", scan=scan(serial="S3"))
    assert stock["state"] == "removing"
    (shelf,) = stock["shelves"]
    assert (shelf["received"], shelf["supplied"], shelf["on_hand"]) == ("4", "1", "1")
    assert counter.ask(scan=scan(serial=""), quantity="2")["code"] == "not-in-stock"
    assert counter.ask(scan=scan(serial="S4"), quantity="5", unit="{tablet}")["code"] == "unit"
    assert [finding.kind for finding in find(counter.ledger)] == []


def test_what_came_in_and_is_not_right_goes_into_quarantine(founder: Ledger, counter: Desk) -> None:
    """Expired, recalled, or not what the delivery note says: received and held in one block, with the reason."""
    founder.append(Recall(product=GTIN, serials=["S3"]))
    sync(founder, counter.ledger)
    note = {"lot": "L1", "serial": "S2"}
    for fields, disposition in (
        ({"scan": scan(expiry="270131", serial="S1")}, "expired"),
        ({"scan": scan(serial="S2X"), "expect": note}, "mismatch_serial"),
        ({"scan": scan(serial="S2", lot="L2"), "expect": note}, "mismatch_class"),
        ({"scan": scan(serial="S3")}, "recalled"),
    ):
        reply = counter.ask("receive", **fields)
        assert (reply["result"], reply["held"], reply["disposition"]) == ("received", True, disposition)
    good = counter.ask("receive", scan=scan(serial="S9"), expect={**note, "serial": "S9"}, document="ab" * 32)
    assert "held" not in good
    entries = list(counter.ledger.entries("stock"))
    assert [entry.content["step"] for entry in entries] == ["receiving", "holding"] * 4 + ["receiving"]
    assert entries[0].block_id == entries[1].block_id
    assert entries[-1].content["document"] == b"\xab" * 32
    (shelf,) = counter.ask("stock", product=GTIN)["shelves"]
    assert (shelf["available"], shelf["held"]) == ("1", "4")


def test_a_pharmacy_may_supply_only_what_it_received(founder: Ledger, tmp_path: Path) -> None:
    """A serial number that never came in is refused as falsified, with an alert."""
    with desk(founder, tmp_path, "north", only_received=True) as counter:
        assert counter.ask(scan=scan())["code"] == "unknown-serial"
        counter.ask("receive", scan=scan(serial="S2"))
        assert counter.ask(scan=scan(serial="S2"))["result"] == "dispensed"
        assert counter.ask(scan=scan(serial="S3"))["code"] == "unknown-serial"
        assert counter.steps()[0] == ("inspecting", "mismatch_serial")


# --- others ---------------------------------------------------------------------------------------------------------


def test_two_pharmacies_that_were_cut_off_hear_of_it_at_the_counter(
    founder: Ledger, counter: Desk, tmp_path: Path
) -> None:
    """Each supplied what its replica said was left; after the merge each till is told, with the proof."""
    with desk(founder, tmp_path, "south") as other:
        prescribe(founder, counter.ledger, other.ledger)
        for till in (counter, other):
            reply = till.ask(scan=scan(), prescription=RX_TEXT, quantity="30", unit="{tablet}")
            assert (reply["result"], reply["remaining"]) == ("dispensed", "0")
        assert counter.ask("conflicts")["conflicts"] == []
        sync(other.ledger, counter.ledger)
        told = counter.ask("conflicts")["conflicts"]
        assert sorted(each["kind"] for each in told) == ["overdispensed", "serial supplied twice"]
        over = next(each for each in told if each["kind"] == "overdispensed")
        assert "60 are with the patient, 30 by north" in over["sentence"]
        assert "30 by south" in over["sentence"]
        assert over["sentence"].endswith("each for itself kept to it")
        assert counter.ask("stock")["conflicts"] == 2
        counter.ask("undo", scan=scan())  # its own, which is the one that it can mend
        assert counter.ask("conflicts")["conflicts"] == []


def test_a_recall_by_a_pharmacy_stops_its_own_supplies_alone(founder: Ledger, counter: Desk, tmp_path: Path) -> None:
    """Another one goes on, and nothing is found of it; what a hospital recalls is recalled for both."""
    with desk(founder, tmp_path, "south") as other:
        assert other.ask(scan=scan())["result"] == "dispensed"
        reply = counter.ask("recall", product=GTIN, lots=["L2", "L1"], level="I", reference="D-7")
        assert (reply["result"], reply["lots"]) == ("recalled", ["L1", "L2"])
        assert counter.ask(scan=scan(serial="S5"))["code"] == "recalled"
        sync(founder, other.ledger)
        sync(counter.ledger, other.ledger)
        assert other.ask("conflicts")["conflicts"] == []
        assert other.ask(scan=scan(serial="S6"))["result"] == "dispensed"
        assert {finding.kind for finding in find(other.ledger)} == {"pack alert"}
        founder.append(Recall(product=GTIN))
        sync(founder, other.ledger)
        assert other.ask(scan=scan(serial="S7"))["code"] == "recalled"
        assert len(other.ask("conflicts")["conflicts"]) == 2


def test_a_recalled_supply_that_came_back_is_no_conflict_any_more(founder: Ledger, counter: Desk) -> None:
    """The till names it until the pack is back, and one that was supplied in spite of the recall at once."""
    counter.counter.settings = replace(counter.counter.settings, allow_recalled=True)
    assert counter.ask(scan=scan())["result"] == "dispensed"
    founder.append(Recall(product=GTIN))
    sync(founder, counter.ledger)
    assert counter.ask(scan=scan(serial="S2"), override="no other", operator="7")["result"] == "dispensed"
    assert [each["kind"] for each in counter.ask("conflicts")["conflicts"]] == ["recalled supplied"] * 2
    for serial in ("S1", "S2"):
        assert counter.ask("return", scan=scan(serial=serial))["result"] == "returned"
    assert counter.ask("conflicts")["conflicts"] == []


def test_a_pack_is_divided_into_what_it_held(counter: Desk) -> None:
    """Of a pack that came in with its content no more is supplied, however much of the product there is."""
    for serial in ("S1", "S2"):
        assert counter.ask("receive", scan=scan(serial=serial), quantity="100", unit="{tablet}")["result"] == "received"
    assert counter.ask(scan=scan(), quantity="60", unit="{tablet}")["result"] == "dispensed"
    refused = counter.ask(scan=scan(), quantity="60", unit="{tablet}")
    assert (refused["code"], refused["reason"][:19]) == ("not-in-stock", "of serial S1, 40 {t")
    assert counter.ask(scan=scan(), quantity="40", unit="{tablet}")["result"] == "dispensed"


def test_a_scan_alone_supplies_a_pack_once_in_any_unit(founder: Ledger, tmp_path: Path) -> None:
    """A pharmacy that calls a pack a box does not divide it by scanning it twice."""
    with desk(founder, tmp_path, "boxes", unit="{box}") as counter:
        assert counter.ask(scan=scan())["result"] == "dispensed"
        assert counter.ask(scan=scan())["code"] == "supplied-already"


def test_a_pack_that_came_back_after_it_had_left_is_supplied_honestly(
    founder: Ledger, counter: Desk, tmp_path: Path
) -> None:
    """Sent on to another pharmacy, supplied there, brought back here and released: nothing is found of it."""
    with desk(founder, tmp_path, "south") as other:
        assert counter.ask("ship", scan=scan())["result"] == "shipped"
        assert other.ask(scan=scan())["result"] == "dispensed"
        sync(founder, counter.ledger)
        sync(other.ledger, counter.ledger)
        for do in ("return", "release", "dispense"):
            assert counter.ask(do, scan=scan())["result"] in ("returned", "released", "dispensed")
        assert list(find(counter.ledger)) == []
