"""Parts that fail: each is named, counted and started again, and none is silently dead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from medledger.errors import TransportError
from medledger_agents.health import Health
from medledger_agents.meters import Meters
from medledger_agents.supervisor import PartFailedError, Supervisor

Act = Callable[[], Coroutine[Any, Any, None]]


class Fake:
    """A part that notes what is done with it. `starts` and `runs` are what each turn does: the last one stays."""

    def __init__(self, name: str, *, runs: list[str], starts: list[str] | None = None, essential: bool = True) -> None:
        self.name = name
        self.essential = essential
        self._runs = runs
        self._starts = starts or ["well"]
        self.did: list[str] = []

    async def start(self) -> None:
        await self._do("start", self._starts)

    async def run(self) -> None:
        await self._do("run", self._runs)

    async def stop(self) -> None:
        self.did.append("stop")

    async def _do(self, what: str, turns: list[str]) -> None:
        self.did.append(what)
        turn = turns.pop(0) if len(turns) > 1 else turns[0]
        if turn == "hang":
            await asyncio.Event().wait()
        if turn == "fail":
            raise RuntimeError("P-4711 is what it choked on")
        if turn == "no port":
            raise TransportError("the port is taken")


def supervise(*parts: Fake, **options: Any) -> tuple[Supervisor, Health, Meters]:
    """A supervisor in a hurry."""
    health, meters = Health(), Meters()
    settings = {"first_pause": 0.001, "stable": 0.1, "max_failures": 4, **options}
    return Supervisor(parts, health, meters=meters, **settings), health, meters


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("end", ["fail", "return"])
def test_a_part_that_ends_is_started_again(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whether it raises or returns: it is stopped, counted, logged without quoting, a fault until it is stable."""

    async def scenario() -> None:
        part = Fake("link", runs=[end, end, "hang"])
        supervisor, health, meters = supervise(part)
        await supervisor.start()
        await until(lambda: part.did.count("run") == 3)
        assert "part link" in health.faults()
        assert meters.counted("failures")[("link",)] == 2
        await until(lambda: not health.faults())
        await supervisor.stop()
        assert part.did == ["start", "run", "stop"] * 3

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert "part failed" in caplog.messages
    assert "P-4711" not in "".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


def test_an_essential_part_that_keeps_failing_ends_the_agent() -> None:
    """After the bound `failed` raises, so that the process ends and is started anew; the others run on until then."""

    async def scenario() -> None:
        bad, good = Fake("link", runs=["fail"]), Fake("listener", runs=["hang"])
        supervisor, _, meters = supervise(good, bad)
        await supervisor.start()
        async with asyncio.timeout(60):
            with pytest.raises(PartFailedError, match="link failed 4 times"):
                await supervisor.failed()
        assert meters.counted("failures")[("link",)] == 4
        assert good.did == ["start", "run"]
        await supervisor.stop()
        assert good.did == ["start", "run", "stop"]

    asyncio.run(scenario())


def test_failures_far_apart_do_not_add_up() -> None:
    """A part that runs well for a while between two failures is never given up."""

    async def scenario() -> None:
        part = Fake("link", runs=["fail"])
        supervisor, _, _ = supervise(part, stable=0.0)
        await supervisor.start()
        await until(lambda: part.did.count("run") >= 12)
        ended = asyncio.ensure_future(supervisor.failed())
        await asyncio.sleep(0)
        assert not ended.done()
        ended.cancel()
        await supervisor.stop()

    asyncio.run(scenario())


def test_a_part_that_is_not_essential_is_tried_for_ever() -> None:
    """Also where it cannot start at all: that is a fault with its reason, and the agent lives."""

    async def scenario() -> None:
        part = Fake("metrics", runs=["hang"], starts=["no port"] * 9 + ["well"], essential=False)
        supervisor, health, _ = supervise(part)
        await supervisor.start()
        assert "the port is taken" in health.faults()["part metrics"]
        await until(lambda: "run" in part.did)
        assert part.did.count("start") == 10
        await until(lambda: not health.faults())
        await supervisor.stop()

    asyncio.run(scenario())


def test_a_part_that_fails_for_years_is_tried_at_the_same_pace() -> None:
    """The pause doubles up to its bound, and stays there, however often the part has failed: also 5,000 times."""

    async def scenario() -> None:
        part = Fake("metrics", runs=["hang"], starts=["no port"] * 5000 + ["well"], essential=False)
        supervisor, health, meters = supervise(part, first_pause=0.0)
        await supervisor.start()
        async with asyncio.timeout(60):
            await until(lambda: "run" in part.did)
        assert meters.counted("failures")[("metrics",)] == 5000
        assert "the port is taken" in health.faults()["part metrics"]
        await supervisor.stop()

    asyncio.run(scenario())


def test_an_essential_part_that_cannot_start_is_an_error_at_once() -> None:
    """Whoever configured it sees the reason; what was started before is stopped."""

    async def scenario() -> None:
        good = Fake("gossip", runs=["hang"])
        supervisor, _, _ = supervise(good, Fake("listener", runs=["hang"], starts=["no port"]))
        with pytest.raises(TransportError, match="the port is taken"):
            await supervisor.start()
        assert good.did[-1] == "stop"

    asyncio.run(scenario())


def test_parts_stop_in_the_opposite_order() -> None:
    """The last that started is the first to stop, also where one of them fails to."""
    order: list[str] = []

    class Ordered(Fake):
        async def stop(self) -> None:
            order.append(self.name)
            raise RuntimeError("it does not want to")

    async def scenario() -> None:
        supervisor, _, _ = supervise(*(Ordered(name, runs=["hang"]) for name in "abc"))
        await supervisor.start()
        await supervisor.stop()

    asyncio.run(scenario())
    assert order == ["c", "b", "a"]
