"""A pharmacy that demands its scanner's self-test: no scan is taken without one that was passed and still counts."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

from boxes import World
from medledger_agents.scannerrecord import TestRecord, write
from medledger_bridge.scanner.keyboard import KeyedScan
from medledger_bridge.scanner.layouts import LAYOUTS
from medledger_bridge.scanner.selftest import Findings, judge_keys, judge_text
from medledger_bridge.scanner.symbol import MARK, TEXT
from scanner_keys import GS, pressed, typed

US = LAYOUTS["us"]
PACK = f"{MARK}010703206980498817280331" + f"10L1{GS}21S1"


def keys(way: str) -> Findings:
    """The findings of a wedge whose keys are read."""
    return judge_keys(KeyedScan(pressed(MARK + TEXT, US, way), "enter"))


def test_no_scan_is_taken_without_a_self_test_that_counts(world: World) -> None:
    """No record, a failed one, an old one: each scan is refused with what to do; a new test counts at once.

    What a till passes on as a wedge typed it is read as the test found it: `~` is FNC1, and the mark is demanded.
    """
    box = world.box("counter", "pharmacy", scanner={"test_record": "scanner-test.json", "test_days": 30})
    today = datetime.now().astimezone().date()

    def tested(findings: Findings, day: date) -> None:
        write(Path(box.home) / "scanner-test.json", TestRecord("till-1", day, findings))

    with box.start() as agent:
        till = agent.till()

        def refusal(said: str) -> None:
            reply = till.ask({"scan": PACK})
            assert (reply["result"], reply["code"]) == ("refused", "scanner")
            assert said in reply["reason"]
            assert reply["hint"]

        refusal("no record")
        tested(keys("dropped"), today)
        refusal("not passed")
        tested(keys("f8"), today - timedelta(days=32))
        refusal("more than 30 days")
        tested(judge_text(typed(pressed(MARK + TEXT, US, "~"), US)), today)
        assert till.ask({"scan": PACK})["code"] == "scan"
        assert till.ask({"scan": PACK.removeprefix(MARK).replace(GS, "~")})["code"] == "scan"
        reply = till.ask({"scan": PACK.replace(GS, "~")})
        assert (reply["result"], reply["lot"], reply["serial"]) == ("dispensed", "L1", "S1")
        tested(keys("f8"), today)
        reply = till.ask({"scan": PACK.replace("S1", "S2")})  # keys become GS before they come here
        assert (reply["result"], reply["serial"]) == ("dispensed", "S2")
    assert [entry.content["serial"] for entry in box.entries("dispense")] == ["S1", "S2"]
