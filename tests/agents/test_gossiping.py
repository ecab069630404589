"""Gossip as a part of an agent: it outlives brokers, and its own faults are no secret."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from brokers import Broker
from medledger.errors import ConfigurationError, TransportError
from medledger_agents.config import GossipSection
from medledger_agents.gossiping import Gossiping
from worlds import found


def test_a_fault_of_its_own_ends_the_part(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """When gossip's thread dies, `run` raises, so that the part is started again; and it can be."""

    async def scenario() -> None:
        with found(tmp_path) as ledger:
            part = Gossiping(ledger, broker.url, GossipSection())
            await part.start()
            running = asyncio.create_task(part.run())
            await asyncio.sleep(0)
            with monkeypatch.context() as broken:
                broken.setattr("medledger.transport.gossip.Node.handle", _fail)
                async with asyncio.timeout(60):
                    with pytest.raises(TransportError, match="a fault of its own"):
                        await running
                await part.stop()
            await part.start()
            status = part.status()
            assert status is not None
            assert status["failure"] is None
            await part.stop()
            assert part.status() is None

    asyncio.run(scenario())


def _fail(*_: object) -> None:
    raise RuntimeError("made to fail")


def test_a_broker_that_is_away_is_no_fault(tmp_path: Path) -> None:
    """It starts, and goes on trying."""

    async def scenario() -> None:
        with found(tmp_path) as ledger:
            part = Gossiping(ledger, "mqtt://127.0.0.1:1", GossipSection())
            await part.start()
            running = asyncio.create_task(part.run())
            await asyncio.sleep(0.5)
            assert not running.done()
            running.cancel()
            await part.stop()

    asyncio.run(scenario())


def test_a_password_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    """The error names the key."""

    async def scenario() -> None:
        with found(tmp_path) as ledger:
            part = Gossiping(ledger, "mqtt://127.0.0.1:1", GossipSection(password_file=tmp_path / "none"))
            with pytest.raises(ConfigurationError) as caught:
                await part.start()
            assert "password_file" in (caught.value.hint or "")

    asyncio.run(scenario())
