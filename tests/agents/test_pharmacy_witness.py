"""Waste of a controlled drug takes two people: at the counter, and in what an auditor finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from counter_world import NOON, RX_TEXT, Desk, desk, prescribe, scan, sign
from medledger import Identity, Ledger, make_request
from medledger.findings import find
from medledger.records import Stock
from worlds import join, sync

PART = {"quantity": "10", "unit": "{tablet}"}


def test_waste_of_a_controlled_drug_takes_a_witness(founder: Ledger, counter: Desk, tmp_path: Path) -> None:
    """Nothing is logged until the second person has signed what is to be logged; then the entry proves both."""
    with join(founder, tmp_path, "colleague", "witness") as colleague:
        sync(founder, counter.ledger)
        counter.ask("receive", scan=scan(), schedule="II")
        asked = counter.ask("waste", scan=scan(), id="w-1", reason="broken")
        assert asked["result"] == "witness-needed"
        assert counter.steps() == [("receiving", None)]
        assert colleague.identity is not None
        done = counter.ask("witness", id="w-1", **sign(colleague.identity, asked["statement"]))  # type: ignore[arg-type]
        assert (done["result"], done["repeated"]) == ("wasted", False)
        again = counter.ask("waste", scan=scan(), id="w-1", reason="broken")
        assert (again["result"], again["entry"], again["repeated"]) == ("wasted", done["entry"], True)
        assert counter.ask("witness", id="w-1", **sign(colleague.identity, asked["statement"]))["code"] == (  # type: ignore[arg-type]
            "no-such-request"
        )
        assert [finding.kind for finding in find(counter.ledger)] == []


def test_who_may_not_be_a_witness_is_refused(founder: Ledger, counter: Desk, tmp_path: Path) -> None:
    """The pharmacist's own key, one that carries it on, a stranger's, an auditor's, a revoked one; a forgery."""
    stranger, heir = Identity.generate(), Identity.generate()
    asks = make_request(heir, secret=bytes(16), label="heir", roles=["witness"], succeeds=counter.ledger.me)
    founder.enrol(asks)
    with (
        join(founder, tmp_path, "auditor", "auditor") as auditor,
        join(founder, tmp_path, "gone", "witness") as gone,
        join(founder, tmp_path, "colleague", "witness") as colleague,
    ):
        assert gone.me is not None
        founder.revoke(gone.me, reason="left")
        sync(founder, counter.ledger)
        counter.ask("receive", scan=scan(), schedule="II")
        asked = counter.ask("waste", scan=scan(), id="w-1")
        for signer, named in (
            (counter.ledger.identity, "two people"),
            (heir, "two people"),
            (stranger, "not enrolled"),
            (auditor.identity, "may not be a witness"),
            (gone.identity, "revoked"),
        ):
            reply = counter.ask("witness", id="w-1", **sign(signer, asked["statement"]))  # type: ignore[arg-type]
            assert (reply["result"], reply["code"]) == ("refused", "witness")
            assert named in reply["reason"]
        assert colleague.identity is not None
        forged = sign(colleague.identity, "00" + asked["statement"])  # type: ignore[arg-type]
        assert counter.ask("witness", id="w-1", **forged)["code"] == "witness"
        assert counter.steps() == [("receiving", None)]
        counter.now = NOON + timedelta(minutes=16)
        late = counter.ask("witness", id="w-1", **sign(colleague.identity, asked["statement"]))  # type: ignore[arg-type]
        assert late["code"] == "no-such-request"


def test_an_auditor_finds_a_witness_that_is_missing_forged_or_used_twice(
    founder: Ledger, counter: Desk, tmp_path: Path
) -> None:
    """What a pharmacy that does not run this program writes: the entries stand, and each is named with its block."""
    with join(founder, tmp_path, "colleague", "witness") as colleague:
        sync(founder, counter.ledger)
        counter.ask("receive", scan=scan(), schedule="II")
        asked = counter.ask("waste", scan=scan(), id="w-1")
        assert colleague.identity is not None
        assert counter.ask("witness", id="w-1", **sign(colleague.identity, asked["statement"]))["result"] == "wasted"  # type: ignore[arg-type]
        good = list(counter.ledger.entries("stock"))[-1]
        record = Stock.from_content(good.content, time=good.time)
        counter.ledger.append(record)  # the same again, with the same signature
        counter.ledger.append(replace(record, schedule=None, witness=None))  # and without saying that it is controlled
        counter.ledger.append(replace(record, witness=(colleague.identity.public_key, bytes(64))))
        kinds = [finding.kind for finding in find(counter.ledger)]
        assert sorted(kinds) == ["invalid witness", "more left than came", "no witness", "witness used twice"]


def test_a_witness_that_somebody_else_copied_accuses_only_them(founder: Ledger, counter: Desk, tmp_path: Path) -> None:
    """Signatures are there for all to read: in another pharmacy's entry one is invalid, and the first stands."""
    with join(founder, tmp_path, "colleague", "witness") as colleague, desk(founder, tmp_path, "south") as other:
        sync(founder, counter.ledger)
        counter.ask("receive", scan=scan(), schedule="II")
        asked = counter.ask("waste", scan=scan(), id="w-1")
        assert colleague.identity is not None
        counter.ask("witness", id="w-1", **sign(colleague.identity, asked["statement"]))  # type: ignore[arg-type]
        good = list(counter.ledger.entries("stock"))[-1]
        other.ledger.append(Stock.from_content(good.content, time=good.time))
        sync(counter.ledger, other.ledger)
        (finding,) = find(other.ledger)
        assert (finding.kind, finding.places[0].feed) == ("invalid witness", other.ledger.me)


def test_supplying_a_controlled_drug_can_take_a_witness_too(founder: Ledger, tmp_path: Path) -> None:
    """Where the pharmacy wants it; what the prescription says of the schedule is enough."""
    with (
        join(founder, tmp_path, "colleague", "witness") as colleague,
        desk(founder, tmp_path, "north", witness_supply=True) as counter,
    ):
        prescribe(founder, counter.ledger, schedule="II")
        assert counter.ask(scan=scan(), prescription=RX_TEXT, **PART)["code"] == "malformed"  # it needs an id
        asked = counter.ask(scan=scan(), prescription=RX_TEXT, **PART, id="d-1")
        assert asked["result"] == "witness-needed"
        assert colleague.identity is not None
        done = counter.ask("witness", id="d-1", **sign(colleague.identity, asked["statement"]))  # type: ignore[arg-type]
        assert (done["result"], done["remaining"]) == ("dispensed", "20")
        (entry,) = counter.ledger.entries("dispense")
        assert entry.content["witness"][0] == colleague.me
