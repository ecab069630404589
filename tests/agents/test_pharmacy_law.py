"""What honest counters do, in any order: alone or connected they never leave anything for an auditor to find; cut off
from each other, only what neither could know.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from counter_world import GTIN, RX_TEXT, Desk, desk, prescribe, scan
from medledger.findings import find
from worlds import found, sync

SERIALS = st.sampled_from(["S1", "S2", "S3"])
AMOUNTS = st.sampled_from(["1", "5", "12.5", "30"])
SCANS = st.builds(lambda serial, lot, expiry: scan(serial=serial, lot=lot, expiry=expiry), SERIALS,
                  st.sampled_from(["L1", "L2"]), st.sampled_from(["280331", "270101"]))  # fmt: skip
TABLETS = st.fixed_dictionaries({"scan": SCANS, "quantity": AMOUNTS, "unit": st.just("{tablet}")})
REQUESTS = st.one_of(
    st.tuples(st.just("dispense"), TABLETS.map(lambda fields: {**fields, "prescription": RX_TEXT})),
    st.tuples(st.sampled_from(["dispense", "receive", "hold", "release", "ship", "lose", "waste"]), TABLETS),
    st.tuples(st.sampled_from(["undo", "return"]), SCANS.map(lambda code: {"scan": code})),
    st.tuples(st.just("return"), st.fixed_dictionaries({"scan": SCANS, "quantity": AMOUNTS})),
    st.tuples(st.just("recall"), st.just({"product": GTIN, "lots": ["L2"]})),
)
CUT_OFF = {"overdispensed", "serial supplied twice", "recalled supplied", "returned twice", "supplied after it left"}


def never(kinds: set[str], till: Desk) -> None:
    """Nothing is found beyond alerts, and supplies that a later recall names."""
    assert {finding.kind for finding in find(till.ledger)} <= kinds | {"pack alert", "recalled supplied"}


def adds_up(till: Desk) -> None:
    """What the till is told of the prescription."""
    told: dict[str, Any] = till.ask("balance", prescription=RX_TEXT)
    if told["known"]:
        numbers = {name: float(told[name]) for name in ("authorised", "remaining", "dispensed", "returned")}
        assert numbers["authorised"] == numbers["remaining"] + numbers["dispensed"] - numbers["returned"]


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "cut off"])
@settings(max_examples=12, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # shrinking takes minutes
@given(asked=st.lists(st.tuples(st.integers(0, 1), REQUESTS), max_size=14))
def test_honest_counters(connected: bool, asked: list[tuple[int, tuple[str, dict[str, Any]]]]) -> None:
    """Two pharmacies, one prescription, three packs; every reply is one, and afterwards both say the same."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        founder = stack.enter_context(found(directory))
        tills = [stack.enter_context(desk(founder, directory, name)) for name in ("north", "south")]
        prescribe(founder, *(till.ledger for till in tills), repeats=1)
        for who, (do, fields) in asked:
            reply = tills[who].ask(do, **fields)
            assert reply["result"] != "refused" or reply["code"] not in ("not-logged", "scan"), reply
            if connected:
                sync(tills[who].ledger, tills[1 - who].ledger)
            adds_up(tills[who])
        for giver, taker in (tills, tills[::-1]):
            sync(giver.ledger, taker.ledger)
        for till in tills:
            adds_up(till)
            never(set() if connected else CUT_OFF, till)
        balances = [till.ask("balance", prescription=RX_TEXT) for till in tills]
        for balance in balances:
            balance.pop("as_of")
            balance.pop("conflicts", None)
        assert balances[0] == balances[1]
