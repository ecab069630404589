"""Whether a box may write is told when it changes, also where no block brings the news."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from boxes import World
from medledger import Identity, Ledger, Reading
from medledger_agents import standing
from medledger_agents.health import Health
from medledger_agents.standing import Standing


def test_a_fork_that_is_proved_meanwhile_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof comes alone, and nothing is logged after it: the box is unhealthy all the same."""
    monkeypatch.setattr(standing, "STEADY_SECONDS", 0.01)
    box = world.box("bed-7", "bedside")
    copy = box.home.parent / "cloned"
    shutil.copytree(box.home, copy)

    async def lived(ledger: Ledger, proof: bytes) -> dict[str, str]:
        health, ready = Health(), asyncio.Event()
        part = Standing(ledger, "reading", ready.set, health=health)
        await part.start()
        running = asyncio.create_task(part.run())
        async with asyncio.timeout(60):
            await ready.wait()
            assert health.faults() == {}
            ledger.import_fork_proof(proof)
            while not health.faults():
                await asyncio.sleep(0.01)
        running.cancel()
        await part.stop()
        return dict(health.faults())

    with Ledger.open(copy / "ledger.db", Identity.load(copy / "box.key")) as cloned, box.ledger() as ledger:
        for each, value in ((ledger, "72"), (cloned, "73")):
            each.append(Reading(device="M", samples=[("8867-4", value, "/min")]))
        cloned.import_blocks(ledger.release(box.identity.public_key, 0, 100))
        (proof,) = cloned.fork_proofs().values()
        assert asyncio.run(lived(ledger, proof)) == {"standing": "it cannot write: forked"}
