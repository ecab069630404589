"""Live, stale, lost: the state machine by itself, and what a running agent says of a device that falls silent."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from boxes import Box, World, oru
from medledger.records import Cadence, DeviceStatus
from medledger_agents.bedside.signals import Signals, promised
from waiting import until

STALE, LOST = 2_000, 10_000


def words(records: Any) -> list[str]:
    """Records in a word each."""
    return [
        each.state if isinstance(each, DeviceStatus) else "promise" if each.interval else "no promise"
        for each in records
    ]


def test_a_device_falls_silent_and_comes_back() -> None:
    """Each state is said once; the promise ends with the signal and begins with it."""
    signals = Signals(STALE, LOST)
    assert words(signals.heard("M", 0)) == ["promise"]
    assert words(signals.heard("M", 1_000)) == []
    assert words(signals.tick(2_999)) == []
    assert words(signals.tick(3_000)) == ["stale"]
    assert words(signals.tick(4_000)) == []
    assert words(signals.heard("M", 5_000)) == ["live"]
    assert words(signals.tick(20_000)) == ["stale", "lost", "no promise"]
    assert signals.due() is None
    assert words(signals.heard("M", 60_000)) == ["live", "promise"]
    assert words(signals.ended("M")) == ["no promise"]
    assert words(signals.tick(10**9)) == []


def test_an_orderly_end_takes_back_every_promise_that_holds() -> None:
    """One of a device that is lost has ended already."""
    signals = Signals(STALE, LOST)
    signals.heard("A", 0)
    signals.heard("B", 8_000)
    signals.tick(10_000)
    assert [(each.device, words([each])) for each in signals.end() if isinstance(each, Cadence)] == [
        ("B", ["no promise"])
    ]
    assert signals.due() is None


def test_promises_of_the_last_run_are_watched() -> None:
    """A device that fell silent while the agent was away becomes stale, then lost."""
    entries = [Cadence(device="A", interval=1000), Cadence(device="B", interval=1000), Cadence(device="A")]
    assert promised(entries) == ["B"]
    signals = Signals(STALE, LOST, promised=["B"], now=0)
    assert words(signals.tick(LOST)) == ["stale", "lost", "no promise"]


@given(st.lists(st.tuples(st.sampled_from(("A", "B", "tick", "end A")), st.integers(0, 4_000)), max_size=40))
def test_silence_is_always_accounted_for(steps: list[tuple[str, int]]) -> None:
    """While a promise about a device holds, what the ledger holds of it is never older than promised; no state is said
    twice; and every promise is one of a device that is watched."""
    signals = Signals(STALE, LOST)
    now, last, holds, state = 0, dict[str, int](), dict[str, bool](), dict[str, str]()

    def note(records: Any, at: int) -> None:
        for each in records:
            if isinstance(each, Cadence):
                assert each.device is not None
                holds[each.device] = each.interval is not None
                if each.interval is None:
                    state.pop(each.device, None)
            else:
                assert state.get(each.device) != each.state
                state[each.device] = each.state
            last[each.device] = at

    for what, pause in steps:
        target = now + pause
        while (due := signals.due()) is not None and due <= target:
            now = max(now, due)
            note(signals.tick(now), now)
        now = target
        if what == "end A":
            note(signals.ended("A"), now)
        elif what != "tick":
            note(signals.heard(what, now), now)
            last[what] = now
        for device, promise in holds.items():
            if promise:
                assert now - last[device] <= LOST


# --- the agent -------------------------------------------------------------------------------------------------------


def said(box: Box) -> list[tuple[str, str]]:
    """What the box said of devices, in the order of its feed."""
    with box.ledger() as ledger:
        found = [
            (each.seq, each.index, each.content["device"], each.content.get("state") or each.content.get("interval"))
            for kind in ("device.status", "cadence")
            for each in ledger.entries(kind, author=box.identity.public_key)
            if each.content.get("device") == "MON-7" and "detail" not in each.content
        ]
    return [(device, what) for _, _, device, what in sorted(found)]


def test_an_agent_says_when_a_device_falls_silent(world: World) -> None:
    """By its timer, without another message; the next one says that it is back; the end takes the promise back."""
    box = world.box("bed", "bedside", signals={"stale_seconds": 1, "lost_seconds": 2})
    with box.start() as agent:
        monitor = agent.monitor()
        assert monitor.ask(oru(1))[0] == "AA"
        assert until(lambda: any(each.get("state") == "lost" for each in agent.log))
        assert monitor.ask(oru(2))[0] == "AA"
        agent.stop()
    assert said(box) == [
        ("MON-7", 2000),
        ("MON-7", "stale"),
        ("MON-7", "lost"),
        ("MON-7", None),
        ("MON-7", "live"),
        ("MON-7", 2000),
        ("MON-7", None),
    ]


def test_a_device_that_fell_silent_while_the_agent_was_dead_is_noticed(world: World) -> None:
    """The promise on the ledger says that it was watched."""
    box = world.box("bed", "bedside", signals={"stale_seconds": 1, "lost_seconds": 2})
    with box.start() as agent:
        assert agent.monitor().ask(oru(1))[0] == "AA"
        assert until(lambda: any(each["event"] == "device" for each in agent.log))
        agent.kill()
    with box.start() as agent:
        assert until(lambda: any(each.get("state") == "lost" for each in agent.log))
        agent.stop()
    assert said(box)[-3:] == [("MON-7", "stale"), ("MON-7", "lost"), ("MON-7", None)]
