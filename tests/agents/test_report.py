"""What an agent says of itself while nothing else is to be said: a promise is kept, and what failed is said again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medledger import Ledger
from medledger.errors import StoreError
from medledger.findings import find
from medledger_agents import report
from medledger_agents.bedside.config import BedsideConfig
from medledger_agents.report import Report
from waiting import until
from worlds import join


@pytest.fixture
def ledger(founder: Ledger, tmp_path: Path) -> Any:
    """A bed's."""
    with join(founder, tmp_path, "bed") as made:
        yield made


def states(ledger: Ledger) -> list[str]:
    """What the box has said of itself."""
    return [entry.content["state"] for entry in ledger.entries("device.status", author=ledger.me)]


def live(ledger: Ledger, config: BedsideConfig, until_this: Callable[[], bool]) -> None:
    """The part's life, until something is so."""

    async def run() -> None:
        part = Report(ledger, config, Path("/x"))
        await part.start()
        part.ready()
        running = asyncio.create_task(part.run())
        assert await asyncio.to_thread(until, until_this)
        running.cancel()
        await part.stop()

    asyncio.run(run())


def test_an_idle_box_keeps_its_promise(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """`on` again before each interval is over: an auditor finds no silence. Without a promise it is said once."""
    monkeypatch.setattr(report, "KEEP", 0.0005)
    config = BedsideConfig()
    live(ledger, config, lambda: states(ledger) == ["on"])
    assert states(ledger) == ["on", "off"]
    promising = replace(config, cadence=replace(config.cadence, minutes=1))
    live(ledger, promising, lambda: states(ledger).count("on") >= 4)
    last = max(entry.time for entry in ledger.entries("device.status"))
    assert not [each for each in find(ledger, now=last + 30_000) if each.kind == "silent"]
    assert [each.kind for each in find(ledger, now=last + 90_000)] == ["silent"]


def test_what_the_disk_did_not_take_is_said_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and promise: both are on the ledger as soon as the disk is well, each once."""
    monkeypatch.setattr(report, "AGAIN_SECONDS", 0.01)
    append = ledger.append
    failing = ["on", "again", "a promise"]

    def unwell(record: Any, **how: Any) -> Any:
        if failing:
            failing.pop()
            raise StoreError("the disk is full")
        return append(record, **how)

    monkeypatch.setattr(ledger, "append", unwell)
    config = BedsideConfig()
    promising = replace(config, cadence=replace(config.cadence, minutes=60))
    live(ledger, promising, lambda: bool(list(ledger.entries("cadence"))) and "on" in states(ledger))
    assert states(ledger) == ["on", "off"]
    assert [entry.content for entry in ledger.entries("cadence")] == [{"interval": 3_600_000}]
